"""GeoPackages: one layer of points or polygons with columns, written whole and read back, with its style for QGIS.

Written and read by pyogrio, the extra `vector`. Geometries are WKB, as OGC 06-103r4 (8.2) has it.
"""

import contextlib
import hashlib
import logging
import os
import pathlib
import sqlite3
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import open_regular, temporary

_log = logging.getLogger("lcjax.data")

Value = str | int | float | None
_MAGIC = b"SQLite format 3\0"
_APPLICATION = slice(68, 72), (b"GPKG", b"GP10", b"GP11")  # bytes of the file's header, and what they may be
_MOST_ROWS = 5_000_000
_AT_ONCE = 100_000  # features that are read back together
_DTYPES: dict[type, Any] = {str: object, int: np.int64, float: np.float64}
_EMPTY: dict[type, Value] = {str: None, int: 0, float: np.nan}
_STYLES = "layer_styles"  # the table in which QGIS keeps the styles of a GeoPackage's layers


def write(
    path: pathlib.Path,
    layer: str,
    columns: Mapping[str, Sequence[Value]],
    geometries: Sequence[bytes],
    kind: str,
    crs: str | None,
    style: str = "",
) -> None:
    """Writes a GeoPackage of one layer, completely or not at all, and reads it back.

    Args:
      path: to write; a file that is there is replaced.
      layer: its name.
      columns: name -> a value for each feature, all text, whole numbers or numbers; None where there is none.
      geometries: WKB of each feature.
      kind: "Point" or "Polygon", of all of them.
      crs: of the geometries, a code such as "EPSG:32633" or WKT; None where they lie nowhere.
      style: QML that QGIS loads with the layer: symbols and form; "" for none.

    Raises:
      InputError: pyogrio is not installed.
      OSError: the file cannot be written, or does not hold what was written.
    """
    write_parts(path, layer, [(columns, geometries)], kind, crs, style)


def write_parts(
    path: pathlib.Path,
    layer: str,
    parts: Iterable[tuple[Mapping[str, Sequence[Value]], Sequence[bytes]]],
    kind: str,
    crs: str | None,
    style: str = "",
) -> int:
    """Writes a GeoPackage as `write`, of features that come some at a time, and returns how many they are.

    Args:
      path, layer, kind, crs, style: as of `write`.
      parts: columns and geometries of some features, the same columns in each; at least one part, which may hold none.

    Raises:
      InputError, OSError: as `write`.
    """
    pyogrio = installed(path)
    begun = path.with_name(temporary(path).name + path.suffix)  # GDAL warns of names that do not end in .gpkg
    written, names, count = hashlib.sha256(), list[str](), 0
    try:
        begun.unlink(missing_ok=True)  # GDAL adds to what is there
        with warnings_logged(path):
            for columns, geometries in parts:
                names, shapes = list(columns), np.empty(len(geometries), object)
                shapes[:] = geometries
                data, masks = zip(*map(_stored, columns.values()), strict=True)
                pyogrio.raw.write(
                    begun, shapes, list(data), names, list(masks), layer=layer, driver="GPKG", geometry_type=kind,
                    crs=crs, promote_to_multi=False, append=begun.exists(),
                )  # fmt: skip
                _count_in(written, columns, geometries)
                count += len(geometries)
            if style:
                _write_style(pyogrio, begun, layer, style)
        there = hashlib.sha256()
        for first in range(0, max(count, 1), _AT_ONCE):
            _count_in(there, *_read(pyogrio, begun, layer, names, first, min(_AT_ONCE, count)))
        if there.digest() != written.digest():
            raise OSError(f"{path}: what was written cannot be read back")
        begun.replace(path)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise OSError(f"{path}: {' '.join(str(error).split())}") from error
    finally:
        begun.unlink(missing_ok=True)
    return count


def _stored(values: Sequence[Value]) -> tuple[np.ndarray, np.ndarray]:
    """A column as an array, and where there is no value."""
    kind = next((type(value) for value in values if value is not None), str)
    array = np.empty(len(values), _DTYPES[kind])
    array[:] = [_EMPTY[kind] if value is None else value for value in values]
    return array, np.array([value is None for value in values], bool)


def _count_in(digest: Any, columns: Mapping[str, Sequence[Value]], geometries: Sequence[bytes | None]) -> None:
    """Adds features to a hash, one after the other: it is the same however they come in parts."""
    for *values, geometry in zip(*columns.values(), geometries, strict=True):
        # Whole numbers of a column with gaps are read as others.
        same = [value if value is None or isinstance(value, str) else float(value) for value in values]
        digest.update(repr((same, geometry)).encode())


def _read(
    pyogrio: Any, path: pathlib.Path, layer: str, columns: Sequence[str], first: int, most: int
) -> tuple[dict[str, list[Value]], list[bytes | None]]:
    """Reads some features: column -> values, and WKB."""
    with warnings_logged(path):
        meta, _, shapes, data = pyogrio.raw.read(
            path, layer=layer, columns=list(columns), skip_features=first, max_features=most
        )
    fields = [str(name) for name in meta["fields"]]
    found = {name: values_of(data[fields.index(name)]) for name in columns}
    count = len(next(iter(found.values()), ()))
    return found, [None if wkb is None else bytes(wkb) for wkb in (shapes if shapes is not None else [None] * count)]


def read(path: pathlib.Path, layer: str, columns: Sequence[str]) -> tuple[dict[str, list[Value]], list[bytes | None]]:
    """Reads a layer of a GeoPackage.

    Args:
      path: of the file.
      layer: the name that the layer has, or the only one may have any other.
      columns: that must be there.

    Returns:
      Column -> its values, None where there is none; and the WKB of each feature, None where it has no geometry.

    Raises:
      InputError: pyogrio is not installed, the file is no GeoPackage, computes what it holds, or lacks the layer or a
        column.
    """
    pyogrio = installed(path)
    if not is_geopackage(path):
        raise InputError(f"{path}: no GeoPackage by its first bytes; expected one, or a CSV whose name ends in .csv")
    check_stored(path, limits.TABLE_BYTES)
    try:
        with warnings_logged(path):
            layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        chosen = layer if layer in layers or len(layers) != 1 else layers[0]
        if chosen not in layers:
            told = ", ".join(layers[:20]) or "none"
            raise InputError(f"{path}: found the layers {told}; expected one called {layer}")
        with warnings_logged(path):
            there = [str(name) for name in pyogrio.read_info(path, layer=chosen)["fields"]]
        if missing := [name for name in columns if name not in there]:
            raise InputError(
                f"{path}: no column {', '.join(missing)} in the layer {chosen}; found "
                f"{', '.join(there)[:200] or 'none'}"
            )
        found, shapes = _read(pyogrio, path, chosen, columns, 0, _MOST_ROWS + 1)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); damaged, or no GeoPackage; copy it anew") from error
    if len(shapes) > _MOST_ROWS:
        raise InputError(f"{path}: more than {_MOST_ROWS:,} features; expected fewer; is it the right file?")
    return found, shapes


def point(x: float, y: float) -> bytes:
    """Returns the WKB of a point."""
    return struct.pack("<BIdd", 1, 1, x, y)


def polygon(*rings: Sequence[tuple[float, float]] | np.ndarray) -> bytes:
    """Returns the WKB of a polygon, its outer ring first, then its holes; each ring ends where it begins."""
    parts = [struct.pack("<I", len(ring)) + np.asarray(ring, "<f8").tobytes() for ring in rings]
    return struct.pack("<BII", 1, 3, len(rings)) + b"".join(parts)


def point_of(wkb: bytes) -> tuple[float, float] | None:
    """Returns x and y of the WKB of a point, or of the only one of a MultiPoint; None for anything else, or empty."""
    for head in ("<BI", ">BI"):
        order, kind = struct.unpack_from(head, wkb) if len(wkb) >= 5 else (-1, 0)
        if order != (head[0] == "<"):
            continue
        if kind % 1000 == 4 and len(wkb) > 14 and struct.unpack_from(f"{head[0]}I", wkb, 5)[0] == 1:
            return point_of(wkb[9:])
        if kind % 1000 == 1 and len(wkb) >= 21:  # 1001, 2001 and 3001 also have z or m
            x, y = struct.unpack_from(f"{head[0]}dd", wkb, 5)
            return (x, y) if np.isfinite([x, y]).all() else None
    return None


def is_geopackage(path: pathlib.Path) -> bool:
    """Whether a file is a GeoPackage by its first bytes, whatever its name. Raises InputError as `open_regular`."""
    with open_regular(path) as file:
        head = file.read(100)
    where, known = _APPLICATION
    return head.startswith(_MAGIC) and head[where] in known


def installed(path: pathlib.Path, what: str = "a GeoPackage", instead: str = ", or use a CSV") -> Any:
    """The package that reads and writes vectors.

    Args:
      path: what is to be read or written, `what` it is, and how one may go without, for the message.

    Raises:
      InputError: it is not installed.
    """
    try:
        import pyogrio.errors
        import pyogrio.raw
    except ImportError as error:
        raise InputError(f"{path}: {what} needs the package pyogrio: pip install 'lcjax[vector]'{instead}") from error
    return pyogrio


@contextlib.contextmanager
def warnings_logged(path: pathlib.Path) -> Iterator[None]:
    """Logs what GDAL warns of, unless it ends in an error, which says more."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(" ".join(str(one.message).split()) for one in heard):
        if not text.startswith("'crs' was not provided"):  # of what lies nowhere
            _log.warning(f"{path}: {text}")


def check_stored(path: pathlib.Path, most: int) -> None:
    """Raises InputError for a GeoPackage of more than `most` bytes, and for one that computes what it holds."""
    if (size := path.stat().st_size) > most:
        raise InputError(f"{path}: {size:,} bytes; expected at most {most:,}; is it the right file?")
    try:  # not its log, and no file is made beside it
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True)) as base:
            computed = next(_computed(base), None)
    except sqlite3.Error as error:
        raise InputError(f"{path}: cannot be read ({error}); damaged, or no GeoPackage; copy it anew") from error
    if computed:
        raise InputError(f"{path}: holds {computed}; expected tables of stored values alone: export the layer anew")
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and os.path.getsize(log):
        _log.warning(f"{path}: is open in another program, which may hold back what was written last; close it there")


def _computed(base: sqlite3.Connection) -> Iterator[str]:
    """Names what a file computes when it is read, which may take any time and memory: views and generated columns."""
    for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'view'"):
        yield f"the view {str(name)[:60]!a}"
    # A virtual table, which has no root page, would run the code of its module.
    for (table,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0"):
        # 2 and 3 are generated, when they are read and when they are written (sqlite.org/pragma.html).
        for (name,) in base.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden IN (2, 3)", (table,)):
            yield f"the generated column {str(name)[:60]!a} of the table {str(table)[:60]!a}"


def values_of(array: np.ndarray) -> list[Value]:
    """The values of a column as Python has them, None where there is none."""
    missing = (array != array) if array.dtype.kind == "f" else np.zeros(len(array), bool)
    return [None if absent else value for value, absent in zip(array.tolist(), missing, strict=True)]


def _write_style(pyogrio: Any, path: pathlib.Path, layer: str, style: str) -> None:
    """Writes the table that QGIS looks into when it opens a layer: the columns are those that it makes itself."""
    texts = {
        "f_table_catalog": "",
        "f_table_schema": "",
        "f_table_name": layer,
        "f_geometry_column": "geom",
        "styleName": layer,
        "styleQML": style,
        "styleSLD": "",
    }
    data = [np.array([text], object) for text in texts.values()] + [np.array([True])]
    data += [np.array([text], object) for text in ("", "", "")]
    pyogrio.raw.write(
        path, None, data, [*texts, "useAsDefault", "description", "owner", "ui"], layer=_STYLES, driver="GPKG",
        geometry_type=None, crs=None, append=True,
    )  # fmt: skip
