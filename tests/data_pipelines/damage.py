"""Damage by seed: what disks, networks and people do to files.

Every function changes one file in place. Some of what they do is harmless: the place of an image on the ground, or a
wider dtype with the same numbers.
"""

import json
import pathlib
import re
from collections.abc import Callable

import numpy as np
import rasterio

from data_pipelines.geo import raster_io

Damage = Callable[[pathlib.Path, np.random.Generator], None]


def write_raster(path: pathlib.Path, values: np.ndarray, **profile) -> None:
    """A GeoTIFF of (H, W, bands), compressed as data sets are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, count = values.shape
    shape = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": values.dtype}
    packed = {"compress": "deflate", "predictor": 3 if values.dtype.kind == "f" else 2, "interleave": "pixel"}
    with raster_io.anywhere(), rasterio.open(path, "w", **shape | packed | profile) as file:
        file.write(np.moveaxis(values, -1, 0))


def _rewrite(path: pathlib.Path, change: Callable[[np.ndarray], np.ndarray], **profile) -> None:
    with raster_io.anywhere(), rasterio.open(path) as file:
        values, place = np.moveaxis(file.read(), 0, -1), {"crs": file.crs, "transform": file.transform}
    write_raster(path, change(values), **place | profile)


def is_label(path: pathlib.Path) -> bool:
    return re.search("_lc_|_dfc_|MSK", path.name) is not None


# Bytes.


def cut(path: pathlib.Path, rng: np.random.Generator) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(len(data))])


def emptied(path: pathlib.Path, rng: np.random.Generator) -> None:
    path.write_bytes(b"")


def web_page(path: pathlib.Path, rng: np.random.Generator) -> None:
    path.write_text("<html><body>Your session has ended. Please log in.</body></html>")


def removed(path: pathlib.Path, rng: np.random.Generator) -> None:
    path.unlink()


def lost_sector(path: pathlib.Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    start = 512 * rng.integers(-(-len(data) // 512))
    data[start : start + 512] = bytes(len(data[start : start + 512]))
    path.write_bytes(data)


def flipped(path: pathlib.Path, rng: np.random.Generator, where: np.ndarray | None = None) -> None:
    """One to eight bits, anywhere or at the bytes `where`."""
    data = bytearray(path.read_bytes())
    for at in rng.choice(np.arange(len(data)) if where is None else where, rng.integers(1, 9)):
        data[at] ^= 1 << rng.integers(8)
    path.write_bytes(data)


def streams(path: pathlib.Path) -> np.ndarray:
    """(bytes,) bool: whether a byte is of compressed pixels."""
    inside = np.zeros(path.stat().st_size, bool)
    with raster_io.anywhere(), rasterio.open(path) as file:
        for row in range(-(-file.height // file.block_shapes[0][0])):
            offset, size = (int(file.get_tag_item(f"BLOCK_{w}_0_{row}", "TIFF", bidx=1)) for w in ("OFFSET", "SIZE"))
            inside[offset : offset + size] = True
    return inside


def flipped_in_streams(path: pathlib.Path, rng: np.random.Generator) -> None:
    flipped(path, rng, np.flatnonzero(streams(path)))


def flipped_in_tags(path: pathlib.Path, rng: np.random.Generator) -> None:
    flipped(path, rng, np.flatnonzero(~streams(path)))


# What is in a raster.


def other_shape(path: pathlib.Path, rng: np.random.Generator) -> None:
    rows, columns = ((-1, None), (None, -1), (-8, -8))[rng.integers(3)]
    _rewrite(path, lambda values: values[:rows, :columns])


def other_dtype(path: pathlib.Path, rng: np.random.Generator) -> None:
    dtype = rng.choice(["int8", "int16", "uint32", "float32", "float64", "complex64"])
    _rewrite(path, lambda values: values.real.astype(dtype), predictor=1)


def other_band_count(path: pathlib.Path, rng: np.random.Generator) -> None:
    with raster_io.anywhere(), rasterio.open(path) as file:
        count = file.count + 1 if file.count == 1 else file.count + rng.choice([-1, 1])
    _rewrite(path, lambda values: np.resize(values, (*values.shape[:2], count)))


def without_data(path: pathlib.Path, rng: np.random.Generator) -> None:
    """NaN in one pixel of an image of floats, in others a pixel of the value that means nodata."""

    def change(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind == "f":
            values[tuple(rng.integers(values.shape))] = np.nan
        return values

    with raster_io.anywhere(), rasterio.open(path) as file:
        nodata = None if file.dtypes[0].startswith("float") else int(file.read(1).flat[rng.integers(file.width)])
    _rewrite(path, change, nodata=nodata)


def meaningless(path: pathlib.Path, rng: np.random.Generator) -> None:
    """A label that no legend has, or an image of one value."""

    def change(values: np.ndarray) -> np.ndarray:
        if not is_label(path):
            return np.full_like(values, values.flat[0])
        values[(*rng.integers(values.shape[:2]), 0)] = rng.integers(30, 255)
        return values

    _rewrite(path, change)


RASTER: tuple[Damage, ...] = (
    cut, emptied, web_page, removed, lost_sector, flipped, flipped_in_streams, flipped_in_tags, other_shape,
    other_dtype, other_band_count, without_data, meaningless,
)  # fmt: skip
ARCHIVE: tuple[Damage, ...] = (cut, emptied, web_page, lost_sector, flipped)
TEXT: tuple[Damage, ...] = (cut, emptied, web_page, lost_sector, flipped)


# What is in a table of JSON {name: {field: value}}.

_VALUES = (None, [], {}, "", "x", True, -1, 1e300, float("nan"), float("inf"), "2021-02-30", "25h00", "\0", "é" * 1000)


def other_value(path: pathlib.Path, rng: np.random.Generator) -> None:
    table = json.loads(path.read_text())
    entry = table[rng.choice(list(table))]
    entry[rng.choice(list(entry))] = _VALUES[rng.integers(len(_VALUES))]
    path.write_text(json.dumps(table))


def missing_value(path: pathlib.Path, rng: np.random.Generator) -> None:
    table = json.loads(path.read_text())
    entry = table[rng.choice(list(table))]
    del entry[rng.choice(list(entry))]
    path.write_text(json.dumps(table))


def other_entry(path: pathlib.Path, rng: np.random.Generator) -> None:
    table = json.loads(path.read_text())
    table[rng.choice(list(table))] = _VALUES[rng.integers(len(_VALUES))]
    path.write_text(json.dumps(table))


JSON: tuple[Damage, ...] = (*TEXT, other_value, missing_value, other_entry)


# What is in a list of lines.


def doubled_line(path: pathlib.Path, rng: np.random.Generator) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[rng.integers(len(lines))]]))


def other_line(path: pathlib.Path, rng: np.random.Generator) -> None:
    lines = path.read_text().splitlines()
    lines[rng.integers(len(lines))] = str(rng.choice(["nothing", ",,,", '"', "../../etc/passwd", "\ufeff", "\u2028x"]))
    path.write_text("\n".join(lines))


LIST: tuple[Damage, ...] = (*TEXT, doubled_line, other_line)
