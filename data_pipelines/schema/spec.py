"""What a data set is to the rest of the pipeline: a small description, and functions that know its files."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data_pipelines.schema.legends import Legend
from data_pipelines.schema.sensors import Sensor


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
class Place:
    """The centre of a record on the ground, in the units of its CRS (metres, for all published data sets here)."""

    epsg: int
    x: float
    y: float


@dataclasses.dataclass(frozen=True)
class Item:
    """One record before it is read.

    Attributes:
      id: of the record.
      files: the file of each part ("s1", "s2", "label"), present or not. The first one names the place: records that
        are refused are counted by places.
      vectors: numbers that are known of it, by the name of a `Vector`.
      cut: which part of the files it is; None for all of them.
      refused: why it cannot be used, where that is known before it is read.
    """

    id: str
    files: dict[str, pathlib.Path]
    vectors: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    cut: Cut | None = None
    refused: Refused | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """One record as it is stored.

    Attributes:
      parts: sensor name -> (H, W, bands) numbers, "label" -> (H, W) uint8, and the vectors by name.
      counted: (H, W) bool, the pixels that the statistics of bands are of; None for all of them.
      off_legend: labelled pixels that the legend does not know; their label is 255.
      nodata: pixels without data that were filled; their label is 255.
      place: where it lies, if its files tell.
    """

    parts: dict[str, np.ndarray]
    counted: np.ndarray | None = None
    off_legend: int = 0
    nodata: int = 0
    place: Place | None = None


@dataclasses.dataclass(frozen=True)
class Vector:
    """Numbers beside the images of a record, float64; NaN where one is not known."""

    name: str
    numbers: tuple[str, ...]
    meaning: str  # with units


@dataclasses.dataclass(frozen=True)
class Kept:
    """A record that was not refused: all that the rule of a partition may look at."""

    id: str
    place: Place | None


@dataclasses.dataclass(frozen=True)
class Partition:
    """A published or sensible way to part a data set: its parts are read as splits NAME/PART.

    Attributes:
      parts: part ("train", "validation", "test") -> ids of its records.
      warning: what a reader of scores must know, as one line; empty where there is nothing to warn of.
    """

    parts: Mapping[str, Sequence[str]]
    warning: str = ""


def no_partitions(records: dict[str, list[Kept]]) -> dict[str, Partition]:
    """For data sets whose splits are all there is."""
    del records
    return {}


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """A data set as published, or as its owner describes it.

    Attributes:
      name: "sample", or with a slash what TFDS calls a config: "rasters/town".
      legends: what labels can be read as; the first one is what is stored, the others merge or ignore ids of it.
      index: folders -> {split: items in their final order}. Empty where it finds nothing. A file in an earlier folder
        hides the same file of a later one.
      read: item -> record. Raises Refused. Those of published data sets also take `max_nodata` (share of pixels).
      tile: edge in pixels that was published; another one is prepared with a warning.
      layout: the names of files that `index` looks for, as one line for people.
      members: matches the names of files (without folders) that are wanted from archives; None: no archives.
      vectors: what is stored beside the images.
      partitions: {split: its records in order} -> partitions by name.
      scaled_by: the split whose mean and deviation become the scaling of the sensors; empty where they have theirs.
      fingerprint: of all that the data set is made from, where that may change; empty for published files.
    """

    name: str
    version: str
    title: str
    sensors: tuple[Sensor, ...]
    legends: tuple[Legend, ...]
    tile: int
    licence: str
    homepage: str
    citation: str
    layout: str
    index: Callable[[Sequence[pathlib.Path]], dict[str, list[Item]]]
    read: Callable[..., Record]
    members: re.Pattern[str] | None = None
    vectors: tuple[Vector, ...] = ()
    partitions: Callable[[dict[str, list[Kept]]], dict[str, Partition]] = no_partitions
    scaled_by: str = ""
    fingerprint: str = ""

    @property
    def legend(self) -> Legend:
        """What is stored."""
        return self.legends[0]
