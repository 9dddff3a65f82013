"""What a data set is to the rest of the pipeline: a small description, and two functions that know its files."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from data_pipelines.bands import Sensor
from data_pipelines.legends import Legend


class Refused(Exception):
    """One record cannot be used: `file` is the culprit, `reason` says what was found and what was expected."""

    def __init__(self, file: pathlib.Path, reason: str):
        super().__init__(file, reason)  # both, so that it survives pickling
        self.file, self.reason = file, reason


@dataclasses.dataclass(frozen=True)
class Item:
    """One record before it is read: its id, and the file of each part ("s1", "s2", "label"), present or not."""

    id: str
    files: dict[str, pathlib.Path]


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set as published.

    Attributes:
      index: source folder -> {split: items in their final order}; looks at names only. Empty where it finds nothing.
      read: item -> {sensor name: (H, W, bands) integers as stored, "label": (H, W) uint8}. Raises Refused.
      tile: edge in pixels that was published; another one is prepared with a warning.
      layout: the names of files that `index` looks for, as one line for people.
    """

    name: str
    version: str
    title: str
    sensors: tuple[Sensor, ...]
    legend: Legend
    tile: int
    licence: str
    homepage: str
    citation: str
    layout: str
    index: Callable[[pathlib.Path], dict[str, list[Item]]]
    read: Callable[[Item], dict[str, np.ndarray]]
