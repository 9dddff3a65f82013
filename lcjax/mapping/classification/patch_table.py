"""The table of classified patches: CSV always, and a GeoPackage with the outline of each where one is asked for."""

import contextlib
import csv
import dataclasses
import io
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import geodesy, geopackage
from data_pipelines.schema import locks
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.spec import Extent
from lcjax.mapping import outputs
from lcjax.parallel import multihost
from lcjax.tasks import Task

_log = logging.getLogger(__name__)

LAYER = "patches"
_BEGIN = ("id", "group", "source", "crs", "left", "bottom", "right", "top", "data_share", "truth", "predicted")
NONE = "(none)"  # of a patch of which no class covers, or is given, enough
_BETWEEN = "; "  # the names of several labels
_SUFFIXES = (".csv", ".gpkg")
_LONLAT = "EPSG:4326"  # of outlines that lie in several systems


@dataclasses.dataclass(frozen=True)
class Row:
    """One patch.

    Attributes:
      id: of the record, or scene_top_left of a tile.
      group: scene, zone or area.
      source: its file.
      extent: what of the ground it covers; None where that is not known.
      data: the share of its pixels that hold data.
      given: indices of the classes that it is given; none where it holds no data, or no class is probable enough.
      true: of its labels; None where they are not known.
      probabilities: of each class.
    """

    id: str
    group: str
    source: str
    extent: Extent | None
    data: float
    given: tuple[int, ...]
    true: tuple[int, ...] | None
    probabilities: tuple[float, ...]


@contextlib.contextmanager
def alone(output: pathlib.Path) -> Iterator[None]:
    """Checks before any work that a table can be written, and keeps other processes from it during the context.

    Raises:
      InputError: the name ends otherwise, something that is no such table is there, nothing can be written there, the
        package for GeoPackages is missing, or another process is writing it.
    """
    with contextlib.ExitStack() as held:
        with multihost.raise_on_all() as is_main:
            if is_main:
                _check(output)
                lock = output.with_name(f".{files_of(output)[0].name}.lock")  # of the CSV, which both kinds write
                held.enter_context(
                    locks.held(lock, f"--output={output}", doing="writing", instead="give another --output")
                )
        yield


def files_of(output: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a table: the CSV, and the GeoPackage where the name is that of one."""
    return [output.with_suffix(".csv"), *([output] if output.suffix == ".gpkg" else [])]


def write(output: pathlib.Path, rows: Sequence[Row], task: Task) -> None:
    """Writes the files of a table.

    Args:
      output: as `alone` was given.
      rows: in order.
      task: whose answers they are.

    Raises:
      InputError: as `check_places`.
      OSError: a file cannot be written.
    """
    check_places(output, [row.extent for row in rows])
    columns = _columns(rows, task)
    placed = [row for row in rows if row.extent]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_atomically(output.with_suffix(".csv"), text.getvalue())
    if output.suffix == ".gpkg":
        _write_outlines(output, placed, task)
        if left_out := len(rows) - len(placed):
            _log.warning("%s: %d of %d patches know no place, and stand in the CSV alone", output, left_out, len(rows))
    _log.info("written: %s (%d patches)", ", ".join(map(str, files_of(output))), len(rows))


def check_places(output: pathlib.Path, extents: Sequence[Extent | None]) -> None:
    """Raises InputError where a GeoPackage is asked for, and none of the patches has a place."""
    if output.suffix == ".gpkg" and not any(extents):
        raise InputError(
            f"--output={output}: no patch knows its place, so that a GeoPackage would show nothing; give a name that "
            "ends in .csv"
        )


def _check(output: pathlib.Path) -> None:
    if output.suffix not in _SUFFIXES:
        raise InputError(
            f"--output={output}: a classification run gives whole patches classes, and draws no map; expected a name "
            f"that ends in {' or '.join(_SUFFIXES)}, e.g. --output={output.with_suffix('.csv').name or 'patches.csv'}"
        )
    if output.suffix == ".gpkg":
        geopackage.installed(output)
    for path in files_of(output):
        if os.path.lexists(path) and not _is_table(path):
            raise InputError(f"{path}: is there, and is no table of patches; move it away, or give another --output")
    outputs.make_folder(output)


def _is_table(path: pathlib.Path) -> bool:
    """Whether a file is a table that `write` wrote, which may be replaced."""
    if not path.is_file():
        return False
    if path.suffix == ".gpkg":
        try:
            geopackage.read(path, LAYER, _BEGIN[:3])
        except InputError:
            return False
        return True
    with path.open("rb") as file:
        return file.read(200).startswith(",".join(_BEGIN).encode())


def _columns(rows: Sequence[Row], task: Task) -> dict[str, list[Any]]:
    """The columns of a table by name."""
    bounds = [row.extent.bounds if row.extent else ("",) * 4 for row in rows]
    start = [
        [row.id for row in rows],
        [row.group for row in rows],
        [row.source for row in rows],
        [row.extent.crs if row.extent else "" for row in rows],
        *map(list, zip(*bounds, strict=True)),
        [round(row.data, 6) for row in rows],
        [_named(row.true, task) for row in rows],
        [_named(row.given if row.data else None, task) for row in rows],
    ]
    columns = dict(zip(_BEGIN, start, strict=True))
    for index, name in enumerate(task.names):
        columns[f"p_{name}"] = [round(row.probabilities[index], 6) for row in rows]
    return columns


def _named(classes: tuple[int, ...] | None, task: Task) -> str:
    """The labels of a patch: empty where they are not known, and `NONE` where it has none."""
    if classes is None:
        return ""
    return _BETWEEN.join(task.names[index] for index in classes) or NONE


def _write_outlines(output: pathlib.Path, rows: Sequence[Row], task: Task) -> None:
    """Writes the GeoPackage: in the CRS of the patches where they have one, else in longitude and latitude."""
    extents = [row.extent for row in rows if row.extent]
    systems = {extent.crs for extent in extents}
    crs = systems.pop() if len(systems) == 1 else _LONLAT
    rings = [_ring(extent, crs) for extent in extents]
    geopackage.write(output, LAYER, _columns(rows, task), [geopackage.polygon(ring) for ring in rings], "Polygon", crs)


def _ring(extent: Extent, crs: str) -> list[tuple[float, float]]:
    """The outline of a patch, counterclockwise, in another system where one is asked for."""
    left, bottom, right, top = extent.bounds
    x, y = np.array([left, right, right, left, left]), np.array([bottom, bottom, top, top, bottom])
    if extent.crs != crs:
        x, y = geodesy.lonlat(geodesy.crs_from(extent.crs), x, y)
    return list(zip(x.tolist(), y.tolist(), strict=True))
