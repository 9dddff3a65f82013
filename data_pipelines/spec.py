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
class Cut:
    """Where a record lies in a larger image, in pixels; the first `seen` rows and columns are in the record before."""

    top: int
    left: int
    seen_rows: int
    seen_columns: int


@dataclasses.dataclass(frozen=True)
class Item:
    """One record before it is read.

    Attributes:
      id: of the record.
      files: the file of each part ("s1", "s2", "label"), present or not. The first one names the place: records that
        are refused are counted by places.
      cut: which part of the files it is; None for all of them.
      refused: why it cannot be used, where that is known before it is read.
    """

    id: str
    files: dict[str, pathlib.Path]
    cut: Cut | None = None
    refused: Refused | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """One record as it is stored.

    Attributes:
      parts: sensor name -> (H, W, bands) numbers, and "label" -> (H, W) uint8.
      counted: (H, W) bool, the pixels that the statistics of bands are of; None for all of them.
      off_legend: labelled pixels that the legend does not know; their label is 255.
    """

    parts: dict[str, np.ndarray]
    counted: np.ndarray | None = None
    off_legend: int = 0


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set as published, or as its owner describes it.

    Attributes:
      name: "sample", or with a slash what TFDS calls a config: "rasters/town".
      index: source -> {split: items in their final order}. Empty where it finds nothing.
      read: item -> record. Raises Refused.
      tile: edge in pixels that was published; another one is prepared with a warning.
      layout: the names of files that `index` looks for, as one line for people.
      scaled_by: the split whose mean and deviation become the scaling of the sensors; empty where they have theirs.
      fingerprint: of all that the data set is made from, where that may change; empty for published files.
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
    read: Callable[[Item], Record]
    scaled_by: str = ""
    fingerprint: str = ""
