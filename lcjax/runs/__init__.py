"""The folder of a run: config, card, checkpoints, clocks."""

SCHEMA_VERSION = 2  # of the JSON files of a workdir
