"""Many scenes in one map: where each lies in it, and which of them a pixel is taken from."""
