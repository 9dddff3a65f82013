"""The files of a prepared data set: their names, where they lie, and records.csv read back."""

import collections
import csv
import dataclasses
import pathlib
from collections.abc import Iterable

DESCRIPTION = "description.json"  # name, version, sensors, legends and tile: all that the loader must know


STATISTICS = "statistics.json"


RECORDS = "records.csv"


PARTITIONS = "partitions.json"


REFUSED = "refused.csv"


CLASS_PREFIX = "class_"  # begins the column of a label id in records.csv


@dataclasses.dataclass(frozen=True)
class Records:
    """What records.csv tells.

    Attributes:
      by_split: split -> ids of its records, in order.
      pixels: for each record by id, labelled pixels by stored id, without zeros.
      filled: the records that have pixels without data.
    """

    by_split: dict[str, list[str]]
    pixels: dict[str, dict[int, int]]
    filled: frozenset[str]

    def pixels_of(self, ids: Iterable[str]) -> collections.Counter[int]:
        """Labelled pixels of some records by stored id."""
        found: collections.Counter[int] = collections.Counter()
        for record_id in ids:
            found.update(self.pixels[record_id])
        return found


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
    return Records(by_split, pixels, frozenset(row[0] for row in rows if row[column] != "0"))


def folder_of(name: str, version: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Where the prepared data set lies: DATA_DIR/NAME/VERSION, with a folder for each part of "rasters/town"."""
    return data_dir / name / version


def incomplete(folder: pathlib.Path) -> pathlib.Path:
    """Where it lies while it is being made."""
    return folder.with_name(f"{folder.name}.incomplete")
