"""The files of a prepared data set: their names and version, where they lie, and records.csv written and read back."""

import collections
import csv
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from data_pipelines.schema.schema_version import read_json, write_json
from data_pipelines.schema.spec import Extent, Kept

SCHEMA_VERSION = 1  # of its JSON files, and of those that are there while it is being made
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
    *("epsg", "x", "y", "nodata"),
)


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
    """

    by_split: dict[str, list[str]]
    pixels: dict[str, dict[int, int]]
    filled: frozenset[str]
    origins: dict[str, Origin]

    def pixels_of(self, ids: Iterable[str]) -> collections.Counter[int]:
        """Labelled pixels of some records by stored id."""
        total: collections.Counter[int] = collections.Counter()
        for record_id in ids:
            total.update(self.pixels[record_id])
        return total


def read_records(folder: pathlib.Path) -> Records:
    """Reads records.csv."""
    with (folder / RECORDS).open(newline="") as file:
        names, *rows = csv.reader(file)
    labels = [
        (column, int(name.removeprefix(CLASS_PREFIX)))
        for column, name in enumerate(names)
        if name.startswith(CLASS_PREFIX)
    ]
    by_split: dict[str, list[str]] = {}
    for record_id, split, *_ in rows:
        by_split.setdefault(split, []).append(record_id)
    pixels = {row[0]: {label: int(row[column]) for column, label in labels if row[column] != "0"} for row in rows}
    column = names.index("nodata")
    origins = {row[0]: _origin(row) for row in rows}
    return Records(by_split, pixels, frozenset(row[0] for row in rows if row[column] != "0"), origins)


def records_row(split: str, record: Kept, nodata: int) -> list:
    """What stands in `COLUMNS` of records.csv for a record with so many filled pixels."""
    place = (record.place.epsg, record.place.x, record.place.y) if record.place else ("",) * 3
    extent = (record.extent.crs, *record.extent.bounds) if record.extent else ("",) * 5
    return [record.id, split, record.group, record.source, *extent, *place, nodata]


def _origin(row: list[str]) -> Origin:
    _, _, group, source, crs, *rest = row
    left, bottom, right, top = rest[:4]
    extent = Extent(crs, (float(left), float(bottom), float(right), float(top))) if crs else None
    return Origin(group, source, extent)


def folder_of(name: str, version: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Where the prepared data set lies: DATA_DIR/NAME/VERSION, with a folder for each part of "rasters/town"."""
    return data_dir / name / version


def incomplete(folder: pathlib.Path) -> pathlib.Path:
    """Where it lies while it is being made."""
    return folder.with_name(f"{folder.name}.incomplete")


def write_partitions(folder: pathlib.Path, partitions: Mapping[str, Any]) -> None:
    """Writes partitions.json: name of a partition -> {"parts": {part: ids of its records}, "warning": one line}."""
    write_json(folder / PARTITIONS, {"partitions": partitions}, SCHEMA_VERSION)


def read_partitions(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what `write_partitions` wrote. Raises InputError for another schema_version."""
    partitions: dict[str, Any] = read_json(folder / PARTITIONS, SCHEMA_VERSION, ANEW)["partitions"]
    return partitions
