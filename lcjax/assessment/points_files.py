"""The files that the interpreter gets: the points as CSV and GeoPackage, the form for QGIS, the classes.

Nothing here tells what the map says at a point. A file that is there already is never replaced: it may hold labels.
"""

import csv
import io
import logging
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from data_pipelines.geo import geodesy, geopackage
from data_pipelines.geo.geodesy import Affine
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.assessment import qgis_form
from lcjax.assessment.design import Design

_log = logging.getLogger(__name__)

POINTS_CSV, POINTS_GPKG, POINTS_QML = "points.csv", "points.gpkg", "points.qml"
CLASSES_CSV, CHIPS = "classes.csv", "chips"
LAYER = "points"
CANNOT_SAY = "cannot say"
_DECIMALS = 3  # of coordinates, at least; more where a thousandth of a pixel needs them


def chip_name(point: int) -> str:
    """Returns the file name of the chip of a point."""
    return f"{point:05d}.png"


def write(folder: pathlib.Path, design: Design, chips: bool) -> list[pathlib.Path]:
    """Writes the files that are missing.

    Args:
      folder: of the sample.
      design: of the sample.
      chips: whether there are chips, which the points then name.

    Returns:
      The files that are there now.

    Raises:
      InputError: a file cannot be written.
    """
    columns = _columns(design, chips)
    shapes = [geopackage.point(point.x, point.y) for point in design.points]
    style = qgis_form.qml([(one.name, one.colour) for one in design.classes], CANNOT_SAY, list(columns))
    jobs = {
        CLASSES_CSV: lambda path: write_atomically(path, _classes(design)),
        POINTS_QML: lambda path: write_atomically(path, style),
        POINTS_GPKG: lambda path: geopackage.write(
            path, LAYER, columns, shapes, "Point", design.map.crs or None, style=style
        ),
        POINTS_CSV: lambda path: write_atomically(path, _csv(columns)),
    }
    written = []
    for name, job in jobs.items():
        path = folder / name
        if os.path.lexists(path):
            written.append(path)
            continue
        try:
            job(path)
            written.append(path)
        except OSError as error:
            reason = error.strerror or " ".join(str(error).split())
            raise InputError(
                f"{path}: cannot be written ({reason}); when that is put right, the same command goes on where it was"
            ) from error
        except InputError as error:
            if name != POINTS_GPKG:
                raise
            _log.info(f"{error}: {POINTS_CSV} has the same points")
    return written


def _columns(design: Design, chips: bool) -> dict[str, list[str | int | float | None]]:
    x, y = (np.array([getattr(point, axis) for point in design.points]) for axis in ("x", "y"))
    crs = design.map.parsed_crs
    degrees: list[list[float | None]] = [[None] * len(x)] * 2
    if crs is not None and geodesy.is_earthly(crs):
        degrees = [
            [round(float(one), 7) if np.isfinite(one) else None for one in axis] for axis in geodesy.lonlat(crs, x, y)
        ]
    decimals = _decimals(Affine(*design.map.transform))
    numbers = [point.point for point in design.points]
    columns: dict[str, list[str | int | float | None]] = {
        "point": [*numbers],
        "x": [round(float(one), decimals) for one in x],
        "y": [round(float(one), decimals) for one in y],
        "longitude": [*degrees[0]],
        "latitude": [*degrees[1]],
        "label": [None] * len(numbers),
        "comment": [None] * len(numbers),
    }
    if chips:
        columns["chip"] = [f"{CHIPS}/{chip_name(number)}" for number in numbers]
    return columns


def _decimals(transform: Affine) -> int:
    """Returns how many decimals of x and y tell a thousandth of a pixel."""
    back = ~transform
    pixels = max(abs(back.a) + abs(back.b), abs(back.d) + abs(back.e))  # that one unit of x and y may be
    return max(_DECIMALS, math.ceil(math.log10(1000 * pixels)))


def _csv(columns: dict[str, list[str | int | float | None]]) -> str:
    return _table(list(columns), zip(*columns.values(), strict=True))


def _classes(design: Design) -> str:
    rows = [(one.value, one.name, one.colour) for one in design.classes]
    return _table(["id", "name", "colour"], [*rows, ("", CANNOT_SAY, "")])


def _table(header: Sequence[str], rows) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
