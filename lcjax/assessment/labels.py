"""Reads labels back: CSV or GeoPackage, each point once, at its place, with a class of the legend."""

import dataclasses
import math
import pathlib
import re
from collections.abc import Iterator

import numpy as np

from data_pipelines.geo import geodesy, geopackage
from data_pipelines.geo.geodesy import Affine
from data_pipelines.schema import csv_rows, names
from data_pipelines.schema.errors import InputError
from lcjax.assessment.design import Design, Point
from lcjax.assessment.points_files import CANNOT_SAY, LAYER

_COLUMNS = ("point", "label")


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a file of labels.

    Attributes:
      where: file and line, for messages.
      point: text of its number.
      label: text of its label.
      place: x and y in the CRS of the map; None where the file does not tell them.
    """

    where: str
    point: str
    label: str
    place: tuple[float, float] | None


@dataclasses.dataclass(frozen=True)
class Labels:
    """What people saw.

    Attributes:
      classes: number of a point -> number of the class that was seen there.
      cannot_say: points at which it cannot be told.
      open: points that nobody has labelled, or that are not in the file.
      missing: those of them that are not in the file.
    """

    classes: dict[int, int]
    cannot_say: tuple[int, ...]
    open: tuple[int, ...]
    missing: tuple[int, ...]


def read(path: pathlib.Path, design: Design) -> Labels:
    """Reads labels.

    A label is the name of a class (capitals do not matter, unless classes differ in them alone) or its number in the
    map; "cannot say"; or nothing.

    Raises:
      InputError: names the file and line of what is not of the sample: another point, one that stands there twice, lies
        elsewhere or off the map, or has a label that is no class of the legend.
    """
    exact, folded = _spellings(design)
    seen: dict[int, str] = {}
    found: dict[int, int | None] = {}
    for row in _rows(path):
        point = _point(row, design)
        if point.point in seen:
            raise InputError(
                f"{row.where}: point {point.point} once more (also {seen[point.point]}); expected one label for each "
                "point: decide which is right, and take the other row out"
            )
        seen[point.point] = row.where
        if row.place is not None:
            _check_place(row, point, design)
        text = " ".join(row.label.split())
        if not text:
            continue
        label = exact.get(text, folded.get(text.casefold(), -1))
        if label == -1:
            known = ", ".join(one.name for one in design.classes[:20])
            raise InputError(
                f"{row.where}: point {point.point}: found the label {names.printable(text[:60])!r}; expected one of "
                f"{known}, {CANNOT_SAY!r}, or nothing"
            )
        found[point.point] = label
    numbers = [point.point for point in design.points]
    return Labels(
        {point: label for point, label in found.items() if label is not None},
        tuple(point for point in numbers if point in found and found[point] is None),
        tuple(point for point in numbers if point not in found),
        tuple(point for point in numbers if point not in seen),
    )


def _rows(path: pathlib.Path) -> Iterator[Row]:
    if path.is_file() and geopackage.is_geopackage(path):
        columns, shapes = geopackage.read(path, LAYER, _COLUMNS)
        for number, (point, label, shape) in enumerate(zip(*columns.values(), shapes, strict=True), 1):
            where = f"{path}, feature {number}"
            place = geopackage.point_of(shape) if shape is not None else None
            if shape is not None and place is None:
                raise InputError(f"{where}: no point; expected a layer of points")
            yield Row(where, _text(point), _text(label), place)
        return
    for line, row in csv_rows.read(path, _COLUMNS, "point,label"):
        where = f"{path}, line {line}"
        yield Row(where, row["point"], row["label"], _place(where, row.get("x", ""), row.get("y", "")))


def _text(value: geopackage.Value) -> str:
    return "" if value is None else str(value)


def _place(where: str, x: str, y: str) -> tuple[float, float] | None:
    if not x and not y:
        return None
    try:
        place = float(_point_for_comma(x)), float(_point_for_comma(y))
    except ValueError as error:
        raise InputError(
            f"{where}: found x {x[:40]!r} and y {y[:40]!r}; expected numbers, or nothing in both"
        ) from error
    if not all(map(math.isfinite, place)):
        raise InputError(f"{where}: found x {x[:40]!r} and y {y[:40]!r}; expected finite numbers")
    return place


def _point_for_comma(text: str) -> str:
    """Spreadsheets of many countries write 1,5 for 1.5."""
    return text.replace(",", ".") if "." not in text and text.count(",") == 1 else text


def _point(row: Row, design: Design) -> Point:
    number = re.fullmatch(r"(\d{1,9})(?:\.0+)?", row.point)  # spreadsheets also write 17.0
    if not number or not 1 <= int(number[1]) <= len(design.points):
        raise InputError(
            f"{row.where}: found the point {names.printable(row.point[:40])!r}; expected 1 to {len(design.points)}, "
            "those of the sample"
        )
    return design.points[int(number[1]) - 1]


def _check_place(row: Row, point: Point, design: Design) -> None:
    """Raises InputError for a point that does not lie in the pixel that was drawn."""
    assert row.place is not None
    column, line = geodesy.positions(~Affine(*design.map.transform), *np.array(row.place))
    if abs(column - point.column - 0.5) <= 0.5 and abs(line - point.row - 0.5) <= 0.5:
        return
    off = (
        "off the map"
        if not (0 <= column <= design.map.width and 0 <= line <= design.map.height)
        else (f"{math.hypot(column - point.column - 0.5, line - point.row - 0.5):,.1f} pixels away from its pixel")
    )
    raise InputError(
        f"{row.where}: point {point.point} lies at {row.place[0]:.10g}, {row.place[1]:.10g}, {off}; expected "
        f"{point.x:.10g}, {point.y:.10g} in the CRS of the map: put it back, for what is labelled must be what "
        "was drawn"
    )


def _spellings(design: Design) -> tuple[dict[str, int], dict[str, int | None]]:
    """Returns what a label may be -> number of its class: as it is written, and in small letters ("cannot say": None).

    Names go before numbers. Names that differ in capitals alone are told apart by them.
    """
    names_of = {one.value: " ".join(one.name.split()) for one in design.classes}
    exact = {str(value): value for value in names_of} | {name: value for value, name in names_of.items()}
    small = [name.casefold() for name in names_of.values()]
    folded: dict[str, int | None] = {CANNOT_SAY: None}
    folded |= {name: value for value, name in zip(names_of, small, strict=True) if small.count(name) == 1}
    return exact, folded


def beginning(labels: Labels) -> int | None:
    """Returns how many points have been looked at, if they are the first ones without a gap; None if not."""
    looked_at = sorted([*labels.classes, *labels.cannot_say])
    return len(looked_at) if looked_at == [*range(1, len(looked_at) + 1)] else None
