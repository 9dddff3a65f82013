"""What a data set is to the rest of the pipeline: a small description, and functions that know its files."""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.typed_json import Real


class Refused(InputError):
    """One file, and so one record, cannot be used: `reason` says what was found and what was expected of `file`.

    Where all of a data set is prepared, the record is left out and counted; where this one file was asked for, it is
    as any other InputError.
    """

    def __init__(self, file: pathlib.Path, reason: str):
        super().__init__(file, reason)  # both, so that it survives pickling
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Cut:
    """Where a record lies in a larger image, in pixels.

    Attributes:
      top, left: its upper left pixel.
      seen_rows, seen_columns: so many of the first ones are in the record before.
      rows, columns: so many of the image it holds; what a tile has more is filled in.
    """

    top: int
    left: int
    seen_rows: int
    seen_columns: int
    rows: int
    columns: int


@dataclasses.dataclass(frozen=True)
class Place:
    """The centre of a record on the ground, in the units of its CRS (metres, for all published data sets here)."""

    epsg: int
    x: Real
    y: Real


@dataclasses.dataclass(frozen=True)
class Extent:
    """The part of the ground that the pixels of a record cover, as its file tells.

    Attributes:
      crs: "EPSG:32633", or WKT where the CRS has no such code.
      bounds: left, bottom, right, top in the units of the CRS, to the outer edges of the pixels.
    """

    crs: str
    bounds: tuple[Real, Real, Real, Real]


@dataclasses.dataclass(frozen=True)
class Item:
    """One record before it is read.

    Attributes:
      id: of the record.
      files: the file of each part ("s1", "s2", "label"), present or not. The first one names the place: records that
        are refused are counted by places.
      vectors: numbers that are known of it, by the name of a `Vector`.
      cut: which part of the files it is; None for all of them.
      group: the scene, zone or area that it shares with its neighbours; empty where that is not known.
      source: its first file, as records.csv names it: relative to --source. Set when the data set is prepared.
      refused: why it cannot be used, where that is known before it is read.
    """

    id: str
    files: dict[str, pathlib.Path]
    vectors: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    cut: Cut | None = None
    group: str = ""
    source: str = ""
    refused: Refused | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """One record as it is stored.

    Attributes:
      parts: sensor name -> (H, W, bands) numbers, "label" -> (H, W) uint8, and the vectors by name.
      counted: (H, W) bool, the pixels that the statistics of bands are of; None for all of them.
      off_legend: labelled pixels that the legend does not know; their label is 255.
      nodata: pixels without data that were filled; their label is 255.
      place: where its centre lies, if its files tell.
      extent: what of the ground its pixels cover, without those that were filled in beyond an image; None where its
        files do not tell.
      doubt: what may be wrong with its numbers, as a phrase; empty where nothing may.
    """

    parts: dict[str, np.ndarray]
    counted: np.ndarray | None = None
    off_legend: int = 0
    nodata: int = 0
    place: Place | None = None
    extent: Extent | None = None
    doubt: str = ""


@dataclasses.dataclass(frozen=True)
class Vector:
    """Numbers beside the images of a record, stored as float64; NaN where one is not known.

    Attributes:
      name: key of the numbers in records and batches.
      numbers: the name of each number, in order.
      meaning: what each number is, with units.
      title: what they tell together, as a phrase: "where, when and how it was taken".
      width: how many floats `encode` returns; 0 for numbers that are stored and never shown to a network.
      encode: (len(numbers),) -> (width,) float32, what a network is shown. It is traced by JAX, one record at a time,
        so it computes with the library of the array that it is given (`numbers.__array_namespace__()`). What is made
        of NaN must be NaN: networks treat it as not known.
    """

    name: str
    numbers: tuple[str, ...]
    meaning: str
    title: str = ""
    width: int = 0
    encode: Callable[[Any], Any] | None = None


@dataclasses.dataclass(frozen=True)
class Kept:
    """A record that was not refused: all that the rule of a partition may look at. Fields as of `Item` and `Record`.

    Attributes:
      digest: of all that is stored of it.
    """

    id: str
    place: Place | None
    group: str = ""
    source: str = ""
    extent: Extent | None = None
    digest: str = ""


@dataclasses.dataclass(frozen=True)
class Partition:
    """A published or sensible way to part a data set: its parts are read as splits NAME/PART.

    Attributes:
      parts: part ("train", "validation", "test") -> ids of its records.
      warning: what a reader of scores must know, as one line; empty where there is nothing to warn of.
    """

    parts: Mapping[str, Sequence[str]]
    warning: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """A published way to use a data set: which records are learned from and scored, over which classes.

    Attributes:
      name: as `config.protocol` has it.
      title: what it is, as one line.
      train, validation, test: splits of the data set; empty where the protocol has none. "list:FILE" is a file that its
        authors publish and users have.
      legend: that its scores are over; empty for what is stored.
      records: of train, validation and test, 0 where there are none; a run with others does not follow the protocol.
      source: who published it.
      lists_from: where the files of its lists come from; empty where it has no lists.
      warning: what a reader of its scores must know; empty where there is nothing.
    """

    name: str
    title: str
    train: str
    validation: str = ""
    test: str
    legend: str = ""
    records: tuple[int, int, int]
    source: str
    lists_from: str = ""
    warning: str = ""

    @property
    def splits(self) -> dict[str, str]:
        """Role of a run -> split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def no_partitions(records: dict[str, list[Kept]]) -> dict[str, Partition]:
    """For data sets whose splits are all there is."""
    del records
    return {}


def no_groups(records: dict[str, list[Kept]]) -> dict[str, str]:
    """For data sets whose items know their groups, or that have none."""
    del records
    return {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file at its provider.

    Attributes:
      part: what people call it, with a slash where parts have parts: "spring/s1" is also a part of "spring".
      url: address, https, http or ftp; user and password stand in it where the provider publishes them.
      size: as the provider says it, for people; the server is asked for the bytes.
      sha256: as the provider publishes it; empty where it does not.
      on_request: whether it is left out unless it is named.
    """

    part: str
    url: str
    size: str = ""
    sha256: str = ""
    on_request: bool = False

    @property
    def name(self) -> str:
        """Of the file, without folders."""
        return re.split("[?#]", self._rest)[0].rpartition("/")[2] if "/" in self._rest else ""

    @property
    def shown(self) -> str:
        """The address without user, password and query, which may be secrets; with its signs that cannot be shown."""
        text = f"{self.url.partition('://')[0]}://{re.split('[?#]', self._rest)[0]}"
        return "".join(letter if letter.isprintable() else "?" for letter in text)

    @property
    def _rest(self) -> str:
        """From the host on."""
        return paths.from_host(self.url.partition("://")[2])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downloads:
    """How a data set is downloaded.

    Attributes:
      files: what can be fetched; none where the provider asks for an account.
      source: the page that lists the addresses.
      listed: day on which they were read there, as "2026-11-29".
      fetched: day on which a download by them was last seen to succeed; empty where none has been.
      steps: what people do by hand, in order, where nothing can be fetched.
      note: what else they should know.
    """

    files: tuple[RemoteFile, ...] = ()
    source: str
    listed: str
    fetched: str = ""
    steps: tuple[str, ...] = ()
    note: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set: what it is, and the functions that know its files.

    Attributes:
      name: also the folder of the prepared data set: "sample", or with a slash "rasters/town".
      legends: what labels can be read as; the first one is what is stored, the others merge or ignore ids of it.
      index: folders -> {split: items in their final order}. Empty where it finds nothing. A file in an earlier folder
        hides the same file of a later one.
      read: item -> record. Raises Refused. It also takes the keyword arguments that `options` names.
      tile: edge in pixels that was published; another one is prepared with a warning.
      layout: the names of files that `index` looks for, as one line for people.
      members: matches the names of files (without folders) that are wanted from archives; None: no archives.
      vectors: what is stored beside the images.
      partitions: {split: its records in order} -> partitions by name.
      groups: {split: its records in order} -> group by id, where that is known only of all records together.
      protocols: published ways to use it.
      downloads: where its files can be had; None where that is not known.
      scaled_by: the split whose mean and deviation become the scaling of the sensors; empty where they have theirs.
      fingerprint: of all that the data set is made from, where that may change; empty for published files.
      options: flags of `lcjax prepare` that `read` takes, from "max_nodata" (share of pixels without data that one
        file may have) and "offset" (added to Sentinel-2).
      overlapping: whether tiles overlap or reach beyond their image. Pixels that the statistics must not count twice,
        or at all, have no label then.
    """

    needs_preparation: ClassVar[bool] = False

    name: str
    version: str
    title: str
    sensors: tuple[Sensor, ...]
    legends: tuple[Legend, ...]
    tile: int
    licence: str = ""
    homepage: str = ""
    citation: str = ""
    layout: str
    index: Callable[[Sequence[pathlib.Path]], dict[str, list[Item]]]
    read: Callable[..., Record]
    members: re.Pattern[str] | None = None
    vectors: tuple[Vector, ...] = ()
    partitions: Callable[[dict[str, list[Kept]]], dict[str, Partition]] = no_partitions
    groups: Callable[[dict[str, list[Kept]]], dict[str, str]] = no_groups
    protocols: tuple[Protocol, ...] = ()
    downloads: Downloads | None = None
    scaled_by: str = ""
    fingerprint: str = ""
    options: tuple[str, ...] = ()
    overlapping: bool = False

    @property
    def legend(self) -> Legend:
        """What is stored."""
        return self.legends[0]


@dataclasses.dataclass(frozen=True)
class Described:
    """A data set that is about to be prepared, before any image of it is opened.

    Attributes:
      source: the folder or the file that describes it.
      fingerprint: of all that it is made from, where that may change; empty for published files.
      open: looks into the files and returns the data set. Raises InputError.
    """

    source: pathlib.Path
    fingerprint: str
    open: Callable[[], DatasetSpec]


@dataclasses.dataclass(frozen=True)
class DatasetFamily:
    """Data sets that their owners describe: NAME, or NAME/ANYTHING for more than one of them.

    Their sensors and classes are in the files, so generic code learns them from what was prepared
    (`needs_preparation`), where it asks a `DatasetSpec` directly.

    Attributes:
      name: of the family, or of one of its data sets: "rasters/town".
      version: of the way in which they are prepared.
      describe: (name, source, CSV of classes or None, edge of a tile or None, whether sensors of other pixels are
        resampled) -> what its owner wrote down. Raises InputError.
      begin: (name, folder, edge of a tile or None) -> None; writes what the owner then edits. Raises InputError.
      vectors, options, overlapping: as of a `DatasetSpec`.
    """

    needs_preparation: ClassVar[bool] = True

    name: str
    version: str
    describe: Callable[[str, pathlib.Path, pathlib.Path | None, int | None, bool], Described]
    begin: Callable[[str, pathlib.Path, int | None], None]
    vectors: tuple[Vector, ...] = ()
    options: tuple[str, ...] = ()
    overlapping: bool = False
