"""FLAIR-1: aerial images of France at 0.2 m with 19 classes of land cover."""
