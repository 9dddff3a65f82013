"""The folder of a run: config, card, checkpoints, clocks."""
