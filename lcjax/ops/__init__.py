"""Functions over arrays: losses, scores, augmentation, tiles."""
