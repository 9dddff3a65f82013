"""Halves of a Swin block, and the head behind all blocks, as kernels of a TPU: what is inside stays in fast memory."""
