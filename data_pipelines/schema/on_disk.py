"""The files of a prepared data set: their names and version, where they lie, and records.csv written and read back."""

import collections
import csv
import dataclasses
import io
import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from data_pipelines.schema import limits, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.schema_version import read_json, write_json
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Extent, Kept
from data_pipelines.schema.typed_json import Count, LabelText, Name, Number, Tile

SCHEMA_VERSION = 3  # of its JSON files, and of those that are there while it is being made
DESCRIPTION = "description.json"  # name, version, sensors, legends and tile: all that the loader must know
STATISTICS = "statistics.json"
RECORDS = "records.csv"
PARTITIONS = "partitions.json"
ANEW = "delete the folder and prepare it anew"
REFUSED = "refused.csv"


CLASS_PREFIX = "class_"  # begins the column of a label id in records.csv
# The columns of records.csv before those of the classes. What the files of a record do not tell is empty.
COLUMNS = (
    *("id", "split", "group", "source"),
    *("crs", "left", "bottom", "right", "top"),
    *("epsg", "x", "y", "nodata", "digest"),
)
_NODATA, _DIGEST = COLUMNS.index("nodata"), COLUMNS.index("digest")


class NamedNumbers(TypedDict):
    """Numbers that are stored beside the images, as `spec.Vector` declares them."""

    name: Name
    numbers: list[str]
    meaning: str


class Description(TypedDict):
    """What description.json holds."""

    name: Name
    version: Name
    sensors: Annotated[list[Sensor], msgspec.Meta(min_length=1)]
    legends: Annotated[list[Legend], msgspec.Meta(min_length=1)]
    vectors: list[NamedNumbers]
    tile: Tile


class BandSummary(TypedDict):
    """Statistics of the bands of a sensor; of no pixel there are none."""

    pixels: Count
    mean: NotRequired[list[Number]]
    std: NotRequired[list[Annotated[float, msgspec.Meta(ge=0)]]]
    min: NotRequired[list[Number]]
    max: NotRequired[list[Number]]
    correlation: NotRequired[list[list[Annotated[float, msgspec.Meta(ge=-1, le=1)]]]]


class FillValue(TypedDict):
    """One number in every band of much of the pixels, that nobody declared to be no data."""

    value: Number
    share: Annotated[float, msgspec.Meta(ge=0, le=1)]


class Doubts(TypedDict):
    """Records whose numbers may be wrong: how many, the first of them, and what may be wrong with it."""

    records: Count
    first: str
    reason: str


class SplitStatistics(TypedDict):
    """What statistics.json tells of a split."""

    records: Count
    class_pixels: dict[LabelText, Count]
    off_legend_pixels: Count
    nodata_pixels: Count
    sensors: dict[Name, BandSummary]
    fills: dict[Name, FillValue]
    doubts: NotRequired[Doubts]


class Made(TypedDict):
    """What a data set is made from."""

    source: str
    fingerprint: str
    options: dict[str, float]
    tile: Tile


class Statistics(Made):
    """What statistics.json holds."""

    splits: dict[Name, SplitStatistics]


class PartitionIds(TypedDict):
    """One partition: the ids of the records of each part."""

    parts: dict[str, list[str]]
    warning: str


class Partitions(TypedDict):
    """What partitions.json holds."""

    partitions: dict[Name, PartitionIds]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a record comes from.

    Attributes:
      group: the scene, zone or area that it shares with its neighbours; empty where that is not known.
      source: its first file, relative to what the data set was prepared from.
      extent: what of the ground it covers; None where its files do not tell.
    """

    group: str
    source: str
    extent: Extent | None


@dataclasses.dataclass(frozen=True)
class Records:
    """What records.csv tells.

    Attributes:
      by_split: split -> ids of its records, in order.
      pixels: for each record by id, labelled pixels by stored id, without zeros.
      filled: the records that have pixels without data.
      origins: where each record comes from, by id.
      digests: of all that is stored of each record, by id.
    """

    by_split: dict[str, list[str]]
    pixels: dict[str, dict[int, int]]
    filled: frozenset[str]
    origins: dict[str, Origin]
    digests: dict[str, str]

    def pixels_of(self, ids: Iterable[str]) -> collections.Counter[int]:
        """Labelled pixels of some records by stored id."""
        total: collections.Counter[int] = collections.Counter()
        for record_id in ids:
            total.update(self.pixels[record_id])
        return total


def read_description(folder: pathlib.Path, remedy: str = ANEW) -> tuple[Description, dict[str, Any]]:
    """Reads description.json and statistics.json. Raises InputError where they cannot be read or do not agree."""
    description = read_json(folder / DESCRIPTION, Description, SCHEMA_VERSION, remedy)
    statistics: Any = read_json(folder / STATISTICS, Statistics, SCHEMA_VERSION, remedy)
    for split, of_split in statistics["splits"].items():
        check_summaries(
            of_split["sensors"], description["sensors"], f"{folder / STATISTICS}: splits[{split!r}]", remedy
        )
    return description, statistics


def read_summaries(path: pathlib.Path, sensors: Iterable[Sensor], remedy: str) -> dict[str, Any]:
    """Reads band_statistics-ID.json: the statistics of each sensor's bands. Raises InputError."""
    summaries: Any = read_json(path, dict[Name, BandSummary], SCHEMA_VERSION, remedy)
    check_summaries(summaries, sensors, str(path), remedy)
    return summaries


def check_summaries(summaries: Mapping[str, Any], sensors: Iterable[Sensor], where: str, remedy: str) -> None:
    """Raises InputError where statistics are not those of these sensors, each with all its bands."""
    for sensor in sensors:
        of_sensor = summaries.get(sensor.name)
        count = len(sensor.bands)
        if of_sensor is None:
            raise InputError(f"{where}: no statistics of {sensor.name}; expected those of every sensor; {remedy}")
        for name in ("mean", "std", "min", "max", "correlation") if of_sensor["pixels"] else ():
            rows = of_sensor.get(name, [])
            of_rows = rows if name == "correlation" else []
            if len(rows) != count or any(len(row) != count for row in of_rows):
                raise InputError(
                    f"{where}: {sensor.name}.{name}: found {len(rows)} numbers, expected one for each of {count} "
                    f"bands; {remedy}"
                )


def read_records(folder: pathlib.Path) -> Records:
    """Reads records.csv. Raises InputError that names the line of what is not as `records_row` writes it."""
    path = folder / RECORDS
    text = typed_json.content(path, ANEW, "the table of the records", limits.TABLE_BYTES)
    by_split: dict[str, list[str]] = {}
    pixels: dict[str, dict[int, int]] = {}
    filled: set[str] = set()
    origins: dict[str, Origin] = {}
    digests: dict[str, str] = {}
    line = 1
    try:
        rows = csv.reader(io.StringIO(text.decode("utf-8"), newline=""))
        header = next(rows, [])
        if tuple(header[: len(COLUMNS)]) != COLUMNS:
            raise ValueError(f"found the columns {','.join(header)!a:.80}, expected {','.join(COLUMNS)}")
        labels = [_label_of(name) for name in header[len(COLUMNS) :]]
        for row in rows:
            line = rows.line_num
            if len(row) != len(header):
                raise ValueError(f"found {len(row)} values, expected {len(header)}")
            record, split, nodata = row[0], row[1], _count(row[_NODATA])
            if record in origins:
                raise ValueError(f"the record {record!a:.80} once more, expected each once")
            by_split.setdefault(split, []).append(record)
            counts = map(_count, row[len(COLUMNS) :])
            pixels[record] = {label: count for label, count in zip(labels, counts, strict=True) if count}
            origins[record] = _origin(row)
            digests[record] = _digest(row[_DIGEST])
            if nodata:
                filled.add(record)
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}, line {line}: {error}; {ANEW}") from error
    return Records(by_split, pixels, frozenset(filled), origins, digests)


def _label_of(column: str) -> int:
    label = re.fullmatch(rf"{CLASS_PREFIX}(\d{{1,3}})", column)
    if not label or int(label[1]) > 255:
        raise ValueError(f"found the column {column!a:.40}, expected {CLASS_PREFIX} and an id from 0 to 255")
    return int(label[1])


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise ValueError(f"found {text!a:.40}, expected a number of pixels")
    return int(text)


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{16}", text):
        raise ValueError(f"found the digest {text!a:.40}, expected 16 digits of 0 to f")
    return text


def records_row(split: str, record: Kept, nodata: int) -> list:
    """What stands in `COLUMNS` of records.csv for a record with so many filled pixels."""
    place = (record.place.epsg, record.place.x, record.place.y) if record.place else ("",) * 3
    extent = (record.extent.crs, *record.extent.bounds) if record.extent else ("",) * 5
    return [record.id, split, record.group, record.source, *extent, *place, nodata, record.digest]


def _origin(row: list[str]) -> Origin:
    _, _, group, source, crs, *rest = row
    if not crs:
        return Origin(group, source, None)
    left, bottom, right, top = map(float, rest[:4])
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise ValueError(f"found the bounds {','.join(rest[:4])!a:.80}, expected finite numbers")
    return Origin(group, source, Extent(crs, (left, bottom, right, top)))


def folder_of(name: str, version: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Where the prepared data set lies: DATA_DIR/NAME/VERSION, with a folder for each part of "rasters/town"."""
    return data_dir / name / version


def incomplete(folder: pathlib.Path) -> pathlib.Path:
    """Where it lies while it is being made."""
    return folder.with_name(f"{folder.name}.incomplete")


def write_partitions(folder: pathlib.Path, partitions: Mapping[str, Any]) -> None:
    """Writes partitions.json: name of a partition -> {"parts": {part: ids of its records}, "warning": one line}."""
    write_json(folder / PARTITIONS, {"partitions": partitions}, SCHEMA_VERSION)


def read_partitions(folder: pathlib.Path) -> dict[str, PartitionIds]:
    """Returns what `write_partitions` wrote. Raises InputError where it cannot be read."""
    return read_json(folder / PARTITIONS, Partitions, SCHEMA_VERSION, ANEW)["partitions"]
