"""What training, evaluation and pictures ask of a data set, wherever its records are: on disk or in memory."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from data_pipelines.schema.legends import Legend
from data_pipelines.schema.on_disk import Origin
from data_pipelines.schema.sensors import Sensor


class Source(Protocol):
    """Random access to some records: len(), and [i] -> {"id": str, sensor name: ..., "label": ..., vectors}.

    Images are (H, W, bands) in the sensor's numbers; labels are (H, W) uint8 in ids of the legend, 255 where there is
    none.
    """

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the records, in order; known without reading a record."""
        ...

    @property
    def tile(self) -> int:
        """Height and width of every record in pixels."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether the records are arrays of this process, which no other process can read."""
        ...

    def __len__(self) -> int:
        """Number of records."""
        ...

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A whole record with its id."""
        ...

    def read(
        self, index: int, keys: Sequence[str], corner: tuple[int, int] = (0, 0), size: int | None = None
    ) -> dict[str, np.ndarray]:
        """Reads the parts of a record that `keys` names.

        Args:
          index: of the record.
          keys: names of sensors and vectors, and "label".
          corner: top and left of the square that is wanted of images and labels.
          size: height and width of that square in pixels; None for the whole record.
        """
        ...

    def has_numbers(self, vector: str) -> bool:
        """Whether a number of this vector is known of at least one of some records, taken evenly from all."""
        ...


class Dataset(Protocol):
    """A data set as it is read: with the bands and the legend that were asked for."""

    @property
    def name(self) -> str:
        """Name of the data set."""
        ...

    @property
    def version(self) -> str:
        """Version of the data set."""
        ...

    @property
    def sensors(self) -> tuple[Sensor, ...]:
        """Its sensors, with the bands that are read."""
        ...

    @property
    def legend(self) -> Legend:
        """What its labels are read as."""
        ...

    @property
    def legends(self) -> Sequence[Legend]:
        """What its labels can be read as; the first one is what is stored."""
        ...

    @property
    def tile(self) -> int:
        """Height and width of every record in pixels."""
        ...

    @property
    def splits(self) -> Mapping[str, int]:
        """Name of each split -> number of its records."""
        ...

    @property
    def folder(self) -> pathlib.Path | None:
        """Where it lies; None where it lies in memory."""
        ...

    @property
    def in_memory(self) -> bool:
        """Whether its records are arrays of this Python process.

        Then only a run of this one process can read them, and no command can open them later.
        """
        ...

    @property
    def partitions(self) -> Mapping[str, int]:
        """The parts of its partitions: "by_scene/train" -> number of records."""
        ...

    def source(self, spec: str) -> Source:
        """Opens the records of a split.

        Args:
          spec: a split, a slice of one ("train[:80%]"), or a sum ("a+b"); see data_pipelines.schema.splits.

        Raises:
          InputError: there is no such split, or it holds no record.
        """
        ...

    def split_id(self, spec: str) -> str:
        """A short hash of ids, images and labels of a split, in order: other ones have another."""
        ...

    def warnings(self, spec: str) -> list[str]:
        """What a reader of scores on a split must know, one line each; empty for most splits."""
        ...

    def class_pixels(self, spec: str) -> dict[str, int]:
        """Labelled pixels of a split by id of the legend; ids as text, as in JSON."""
        ...

    def record_pixels(self, spec: str) -> np.ndarray:
        """Labelled pixels of each record of a split, (records, scored classes) int64, in the order of both."""
        ...

    def origins(self, spec: str) -> list[Origin]:
        """Where each record of a split comes from, in order: its group, its first file, and its place on the ground."""
        ...

    def band_statistics(self, spec: str) -> dict[str, dict]:
        """Statistics of the bands over the records of a split.

        Returns:
          Name of a sensor -> {"pixels": count, "mean", "std", "min", "max": a number for each band, "correlation":
          (bands, bands)}, in the sensor's stored numbers.
        """
        ...


def square(corner: tuple[int, int], size: int) -> tuple[slice, slice]:
    """The rows and columns of a square of `size` pixels whose upper left pixel is `corner` (top, left)."""
    top, left = corner
    return slice(top, top + size), slice(left, left + size)
