"""Weights from elsewhere: files of them, and which of our arrays each array of theirs is."""
