"""The CSV of classes: what the numbers, colours and names of masks mean, and which of them are one class."""

import dataclasses
import pathlib
import re

import numpy as np

from data_pipelines.datasets.rasters.columns import NO, YES
from data_pipelines.schema import csv_rows, names
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.legends import IGNORE, MOST_CLASSES, LandClass, Legend

LEGEND = "legend.csv"
COLUMNS = ("id", "name", "colour", "ignore")
_MERGE = "merge_into"


@dataclasses.dataclass(frozen=True)
class Classes:
    """What masks hold, and what is learned of it.

    Attributes:
      written: every row, as masks hold it.
      legend: the classes that are learned and mapped: without the rows that another one takes in.
      merged: (256,) uint8: id of `written` -> id of `legend`.
    """

    written: Legend
    legend: Legend
    merged: np.ndarray


def meant(text: str, legend: Legend) -> LandClass | None:
    """The class of this name, else of a name that differs in capitals alone, else of this number; None for no one."""
    named = [c for c in legend.classes if c.name == text]
    folded = [c for c in legend.classes if c.name.casefold() == text.casefold()]
    numbered = [c for c in legend.classes if str(c.value) == text]
    return next((found[0] for found in (named, folded, numbered) if len(found) == 1), None)


def plain(legend: Legend) -> Classes:
    """A legend of which no class takes in another one."""
    return Classes(legend, legend, np.arange(256, dtype=np.uint8))


def read(path: pathlib.Path, name: str) -> Classes:
    """Reads the classes from their CSV; `name` is what the legend will be called.

    Raises:
      InputError: names file and line of a row that cannot be.
    """
    classes: list[LandClass] = []
    ignored: list[int] = []
    into: dict[int, tuple[str, str]] = {}  # number of a row -> what it is merged into, and where that stands
    for line, row in csv_rows.read(path, COLUMNS[:3], ",".join(COLUMNS), spelled={"color": "colour"}):
        where = f"{path}, line {line}"
        land_class = _class_of(where, row, classes)
        ignore = row.get("ignore", "").lower()
        if ignore not in (*YES, *NO):
            raise InputError(
                f"{where}: ignore {row['ignore']!r}; expected 1 (not a class of the network), 0 or nothing"
            )
        if target := row.get(_MERGE, ""):
            into[land_class.id] = target, where
        if target and ignore in YES:
            raise InputError(f"{where}: ignore and {_MERGE} both; expected one of them")
        ignored += [land_class.id] if ignore in YES else []
        classes.append(land_class)
    scored = len(classes) - len(ignored) - len(into)
    if scored < 2:
        raise InputError(f"{path}: {scored} classes to tell apart; expected at least two")
    if len(classes) > MOST_CLASSES:
        raise InputError(f"{path}: {len(classes)} classes; expected at most {MOST_CLASSES}")
    written = _stored(Legend(name, tuple(classes), tuple(ignored)))
    if not into:
        return plain(written)
    return _merged(written, {land_class.value: into.get(land_class.value, ("", "")) for land_class in written.classes})


def _class_of(where: str, row: dict[str, str], classes: list[LandClass]) -> LandClass:
    if not re.fullmatch(r"\d{1,3}", row["id"]) or int(row["id"]) > IGNORE:
        raise InputError(f"{where}: id {row['id']!r}; expected a whole number from 0 to 255")
    if not row["name"]:
        raise InputError(f"{where}: no name; expected a name for every class")
    names.check(row["name"], f"{where}: name")
    names.colour(row["colour"], f"{where}: colour")
    land_class = LandClass(int(row["id"]), row["name"], row["colour"].lower())
    for field in ("id", "name"):
        if getattr(land_class, field) in [getattr(other, field) for other in classes]:
            raise InputError(f"{where}: {field} {getattr(land_class, field)} once more; expected each {field} once")
    return land_class


def _merged(written: Legend, into: dict[int, tuple[str, str]]) -> Classes:
    """Takes rows into others. `into` holds for the number of each class the id or name of the other, and its line."""
    table = np.arange(256, dtype=np.uint8)
    for land_class in written.classes:
        text, where = into[land_class.value]
        if not text:
            continue
        target = meant(text, written)
        if target is None:
            near = did_you_mean(text, [other.name for other in written.classes])
            raise InputError(f"{where}: {_MERGE} {text!r}; {near}expected the id or the name of another row")
        if into[target.value][0]:
            raise InputError(
                f"{where}: {_MERGE} {text!r}, which is itself merged into another one; expected a row that stays"
            )
        table[land_class.id] = target.id
    kept = tuple(land_class for land_class in written.classes if not into[land_class.value][0])
    return Classes(written, dataclasses.replace(written, classes=kept), table)


def _stored(legend: Legend) -> Legend:
    """The legend with another id for a class 255, which inside is no label: the next one, so that it stays last."""
    ids = {land_class.id for land_class in legend.classes} - {IGNORE}
    if len(ids) == len(legend.classes):
        return legend
    after = max(ids) + 1
    free = after if after < IGNORE else max(set(range(IGNORE)) - ids)
    classes = tuple(
        dataclasses.replace(land_class, id=free, written=IGNORE) if land_class.id == IGNORE else land_class
        for land_class in legend.classes
    )
    ignored = tuple(free if number == IGNORE else number for number in legend.ignored)
    return dataclasses.replace(legend, classes=classes, ignored=ignored)


def same_colour(legend: Legend) -> tuple[LandClass, LandClass] | None:
    """Two classes of one colour, where there are such."""
    seen: dict[str, LandClass] = {}
    for land_class in legend.classes:
        if land_class.colour in seen:
            return seen[land_class.colour], land_class
        seen[land_class.colour] = land_class
    return None
