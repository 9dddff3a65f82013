"""Own imagery: pairs of images and masks that a CSV lists, cut into tiles."""
