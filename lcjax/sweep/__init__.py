"""Searching the fields of a config for a better validation score: a study of trials, each of them a training."""
