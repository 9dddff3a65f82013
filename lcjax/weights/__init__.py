"""Weights from elsewhere: read, recognised by tables, and proved on arrival."""

EXPORTED = ("parameters.safetensors", "parameters.npz")  # files of weights of ours, in a folder of `lcjax export`
