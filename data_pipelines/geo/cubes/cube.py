"""A Zarr store as GDAL sees it: a virtual raster whose rows are read from the store when they are asked for.

xarray reads the numbers as they are stored, and rioxarray says where they lie. What an array must be like:

- two of its dimensions are of the ground, by their names (x, y; lon, lat; ...), at even steps in the unit of the CRS;
- at most one more has several steps, which are its bands, by their labels where these are texts; of times one is taken
  beforehand;
- `_FillValue` is no data, `scale_factor` and `add_offset` are what GeoTIFFs have as scale and offset.

Of a group of arrays with two dimensions each is a band, by its name, in the order of the names; all lie on one grid.
"""

import collections
import contextlib
import dataclasses
import functools
import importlib.util
import logging
import pathlib
import re
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np
import rasterio

from data_pipelines.geo import quiet, virtual, vrt
from data_pipelines.geo.cubes import store
from data_pipelines.remote.ranges import Bytes, Held
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

_log = logging.getLogger("lcjax.data")

_VRT = "it.vrt"
_PACKAGES = ("xarray", "rioxarray", "zarr")
_GROUND = (("y", "x"), ("lat", "lon"), ("latitude", "longitude"))
_TIMES = ("time", "date", "t")
_METRES = ("m", "metre", "metres", "meter", "meters")
_PLACE = "spatial_ref"  # what rioxarray calls where an array lies
_ROWS = 256  # that are read at a time, of arrays that are not in chunks
_EVEN = 0.01  # of a pixel: by so much a coordinate may be beside its place


def opened(path: pathlib.Path) -> rasterio.DatasetReader:
    """An open raster of a Zarr store: PATH.zarr, or PATH.zarr/ARRAY.

    Raises InputError where a package is missing, or what is there is no raster or cannot be read without a risk.
    """
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise InputError(
            f"{path}: a Zarr store, which needs {', '.join(missing)}, not installed here: pip install 'lcjax[xarray]'"
        )
    store.check(path)
    with _refusing(path), quiet.silently():
        bands = _bands(path)
        description = _description(bands)
    rows = _Rows(bands, path)
    files: dict[str, Bytes] = {f"{number}.raw": _Band(rows, number) for number in range(len(bands))}
    return virtual.opened(path, files | {_VRT: Held(description)}, _VRT, "VRT")


@contextlib.contextmanager
def _refusing(path: pathlib.Path) -> Iterator[None]:
    """Whatever three libraries raise of files from elsewhere, in one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise Refused(
            path, f"cannot be read ({reason:.300}); damaged, not whole, or no raster; copy or write it again"
        ) from error


@dataclasses.dataclass(frozen=True)
class _BandArray:
    """One band.

    Attributes:
      name: empty where it has none.
      array: its numbers, (y, x), an xarray.DataArray that reads when it is asked.
      nodata: None where none is declared.
      chunk: bands and rows that are read at a time.
      stack: the array (bands, y, x) that it is of; None where it is one of its own.
      number: in that, from 0.
    """

    name: str
    array: Any
    nodata: float | None
    chunk: tuple[int, int]
    stack: Any = None
    number: int = 0

    @property
    def grid(self) -> str:
        """Where it lies: CRS, transform and size."""
        crs, (height, width) = self.array.rio.crs, self.array.shape
        numbers = ", ".join(f"{number:.12g}" for number in _transform(self.array)[:6])
        return f"{' '.join(str(crs).split()) if crs else 'no CRS'} [{numbers}] {width} x {height}"


# ---- what a store holds ---------------------------------------------------------------------------------------------


def _bands(path: pathlib.Path) -> list[_BandArray]:
    import rioxarray  # noqa: F401, adds .rio
    import xarray

    group, name = store.group_of(path)
    # As it is stored: neither masked nor scaled. Without the summary of a store, which is not what was checked.
    found = xarray.open_zarr(
        group, consolidated=False, chunks=None, mask_and_scale=False, decode_times=False, decode_coords="all"
    )
    if _PLACE in found.data_vars:  # written without a word in the array that it belongs to it
        found = found.set_coords(_PLACE)
    arrays = {str(key): array for key, array in found.data_vars.items() if name in ("", str(key))}
    chosen = _chosen(path, {key: arrays[key] for key in sorted(arrays, key=_natural)})
    for array in chosen:
        _warn_of_gaps(path, str(array.name), array.rio.nodata is not None)
    bands = [band for array in chosen for band in _taken_apart(path, array)]
    for what, values in (("types", [str(one.array.dtype) for one in bands]), ("places", [one.grid for one in bands])):
        if other := next((k for k, value in enumerate(values) if value != values[0]), 0):
            raise Refused(
                path,
                f"arrays of several {what}: {bands[0].name} {values[0]}, {bands[other].name} {values[other]}; name one "
                f"of them, such as {path}/{bands[0].name}",
            )
    return bands


def _natural(name: str) -> list:
    """B2 before B10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name) if part]


@functools.lru_cache(maxsize=1000)  # once, and not at every opening
def _warn_of_gaps(path: pathlib.Path, array: str, declared: bool) -> None:
    there, whole = store.chunks_of(path, array)
    if there < whole and not declared:
        _log.warning(
            f"{path}: {whole - there:,} of {whole:,} files of the array {array} are not there, and count as what it is "
            "filled with; is it whole? If it is, declare that value as `_FillValue`"
        )


def _chosen(path: pathlib.Path, arrays: dict[str, Any]) -> list[Any]:
    """The arrays that are the raster, (further dimensions, y, x): the only one, or several of two dimensions."""
    there = [flat for array in arrays.values() if (flat := _on_ground(array)) is not None]
    told = ", ".join(f"{name} ({', '.join(map(str, array.dims))})" for name, array in list(arrays.items())[:10])
    if not there:
        raise Refused(
            path,
            f"no array with two dimensions of the ground; found {told or 'no array'}; expected dimensions x and y, or "
            "lon and lat",
        )
    if len(there) > 1 and any(array.ndim > 2 for array in there):
        raise Refused(path, f"several arrays: {told}; name one of them, such as {path}/{there[0].name}")
    return there


def _on_ground(array: Any) -> Any:
    """An array whose last dimensions are called y and x, without others of a single step; None where it has none."""
    names = next((pair for pair in _GROUND if set(pair) <= set(array.dims)), None)
    if names is None:
        try:
            names = array.rio.y_dim, array.rio.x_dim
        except Exception:  # rioxarray's MissingSpatialDimensionError, which it keeps to itself
            return None
    array = array.rename({old: new for old, new in zip(names, ("y", "x"), strict=True) if old != new})
    array.encoding["dims"] = array.dims  # of its chunks, in whatever order the dimensions are later
    once = [dim for dim in array.dims if dim not in ("y", "x") and array.sizes[dim] == 1]
    return array.squeeze(once).transpose(..., "y", "x")


def _taken_apart(path: pathlib.Path, array: Any) -> list[_BandArray]:
    """The bands of an array of `_on_ground`."""
    for name in ("y", "x"):
        _check_coordinate(path, array, name)
    more = list(array.dims[:-2])
    if len(more) > 1 or any(_is_time(array, dim) for dim in more):
        sizes = ", ".join(f"{dim} {array.sizes[dim]}" for dim in more)
        raise Refused(
            path,
            f"the array {array.name} has further dimensions ({sizes}); expected bands alone; take one step of the "
            f"others, e.g. `array.isel({more[0]}=0).to_zarr(...)`",
        )
    if str(array.dtype.newbyteorder("=")) not in vrt.TYPES:
        raise Refused(path, f"the array {array.name} holds {array.dtype}; expected one of {', '.join(vrt.TYPES)}")
    if str(array.attrs.get("_Unsigned", "false")).lower() != "false":
        raise Refused(path, f"the array {array.name} says _Unsigned, and holds {array.dtype}; write unsigned numbers")
    chunks = dict(zip(array.encoding["dims"], array.encoding.get("chunks") or (), strict=False))
    nodata = None if array.rio.nodata is None else float(array.rio.nodata)
    rows = chunks.get("y", _ROWS)
    if not more:
        return [_BandArray(str(array.name), array, nodata, (1, rows))]
    chunk = chunks.get(more[0], 1), rows
    return [
        _BandArray(name, array[number], nodata, chunk, array, number)
        for number, name in enumerate(_labels(array, more[0]))
    ]


def _labels(array: Any, dim: str) -> list[str]:
    """Names of the bands, empty where there are none."""
    labels = array[dim].to_numpy() if dim in array.coords else np.arange(array.sizes[dim])
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind not in "UO" and "T" not in str(labels.dtype):  # numbers name no band
        told = array.attrs.get("long_name", ())
        labels = told if not isinstance(told, str) and len(told) == len(labels) else [""] * len(labels)
    return [str(label) for label in labels]


def _is_time(array: Any, dim: str) -> bool:
    if dim.lower() in _TIMES:
        return True
    return dim in array.coords and (
        array[dim].dtype.kind in "mM" or " since " in str(array[dim].attrs.get("units", ""))
    )


def _check_coordinate(path: pathlib.Path, array: Any, dim: str) -> None:
    """Raises Refused where the pixels do not lie at even steps, or not in the unit of the CRS."""
    if not array.sizes[dim]:
        raise Refused(path, f"the array {array.name} has no pixel along {dim}; expected some")
    if dim not in array.coords:
        return
    unit, crs = str(array[dim].attrs.get("units", "")), array.rio.crs
    own = str(crs.linear_units) if crs is not None and crs.is_projected else ""
    known = unit in ("", own) or (unit in _METRES and own in ("", *_METRES)) or (unit.startswith("deg") and not own)
    if not known:
        raise Refused(
            path,
            f"{dim} of the array {array.name} is in {unit[:40]!r}, and its CRS in {own or 'degrees'}; write it in the "
            "unit of the CRS",
        )
    if array.sizes[dim] < 2:
        return
    places = array[dim].to_numpy()
    rounding = 2 * float(np.spacing(np.abs(places).max())) if places.dtype.kind == "f" else 0.0
    places = places.astype(float)
    step = (places[-1] - places[0]) / (len(places) - 1)
    away = np.abs(places - (places[0] + step * np.arange(len(places)))).max()
    if not away < max(_EVEN * abs(step), min(rounding, 20 * _EVEN * abs(step))):
        raise Refused(
            path, f"{dim} of the array {array.name} has no even steps; expected a grid; resample it first, e.g. "
            "with `rio.reproject` of rioxarray"
        )  # fmt: skip


def _transform(array: Any) -> rasterio.Affine:
    """From pixels to coordinates: by the coordinates where they are there, else as rioxarray wrote it."""
    if any(dim not in array.coords or array.sizes[dim] < 2 for dim in ("y", "x")):
        return array.rio.transform()
    (top, down), (left, right) = (
        (float(places[0]), (float(places[-1]) - float(places[0])) / (len(places) - 1))
        for places in (array[dim].to_numpy() for dim in ("y", "x"))
    )
    return rasterio.Affine(right, 0, left - right / 2, 0, down, top - down / 2)


# ---- as GDAL sees it ------------------------------------------------------------------------------------------------


def _description(bands: Sequence[_BandArray]) -> bytes:
    """The VRT of all bands, each a file of plain numbers."""
    first = bands[0].array
    height, width = first.shape
    whole = ElementTree.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if (crs := first.rio.crs) is not None:
        ElementTree.SubElement(whole, "SRS").text = crs.to_wkt()
    transform = _transform(first)
    if not transform.is_identity:
        ElementTree.SubElement(whole, "GeoTransform").text = ",".join(map(repr, transform.to_gdal()))
    for number, band in enumerate(bands):
        kind = str(band.array.dtype.newbyteorder("="))
        size = np.dtype(kind).itemsize
        told = ElementTree.SubElement(
            whole, "VRTRasterBand", dataType=vrt.TYPES[kind], band=str(number + 1), subClass="VRTRawRasterBand"
        )
        ElementTree.SubElement(told, "Description").text = band.name
        if band.nodata is not None:
            ElementTree.SubElement(told, "NoDataValue").text = repr(band.nodata)
        for key, name in (("Scale", "scale_factor"), ("Offset", "add_offset")):
            if name in band.array.attrs:
                ElementTree.SubElement(told, key).text = repr(float(band.array.attrs[name]))
        ElementTree.SubElement(told, "SourceFilename", relativeToVRT="1").text = f"{number}.raw"
        for key, value in (("ImageOffset", "0"), ("PixelOffset", str(size)), ("LineOffset", str(size * width))):
            ElementTree.SubElement(told, key).text = value
        ElementTree.SubElement(told, "ByteOrder").text = "LSB"
    return ElementTree.tostring(whole)


class _Rows:
    """The rows of all bands, some at a time; those that were read last are kept."""

    def __init__(self, bands: Sequence[_BandArray], path: pathlib.Path):
        self._bands, self._path, self._lock = bands, path, threading.Lock()
        self.height, self.width = bands[0].array.shape
        self.kind = bands[0].array.dtype.newbyteorder("<")
        line = self.width * self.kind.itemsize
        together, rows = bands[0].chunk
        self._step = max(1, min(rows, limits.MAX_BLOCK_BYTES // max(line * together, 1)))
        self._most = max(together, limits.REMOTE_CACHE_BYTES // max(self._step * line, 1))
        self._kept: collections.OrderedDict[tuple[int, int], np.ndarray] = collections.OrderedDict()

    def read(self, band: int, first: int, end: int) -> bytes:
        """Bytes of the rows of a band from `first` up to `end`."""
        parts = [self._part(band, number) for number in range(first // self._step, -(-end // self._step))]
        rows = np.concatenate(parts) if len(parts) > 1 else parts[0]
        begin = first - first // self._step * self._step
        return rows[begin : begin + end - first].tobytes()

    def _part(self, band: int, number: int) -> np.ndarray:
        with self._lock:
            if (band, number) not in self._kept:
                self._read(band, number)
            self._kept.move_to_end((band, number))
            part = self._kept[band, number]
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return part

    def _read(self, band: int, number: int) -> None:
        """Reads some rows, of all bands that lie in one chunk with this one."""
        one, rows = self._bands[band], slice(number * self._step, (number + 1) * self._step)
        together = one.chunk[0]
        first = one.number // together * together
        with _refusing(self._path):
            if one.stack is None:
                block = one.array[rows].to_numpy()[None]
            else:
                block = one.stack[first : first + together, rows].to_numpy()
            for k, part in enumerate(block):
                self._kept[band - one.number + first + k, number] = np.ascontiguousarray(part, self.kind)


class _Band:
    """A band as a file of plain numbers, row by row."""

    def __init__(self, rows: _Rows, band: int):
        self._rows, self._band = rows, band
        self._line = rows.width * rows.kind.itemsize
        self.length, self.version = rows.height * self._line, ""

    def parts(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """As of `Bytes`."""
        found = []
        for offset, size in wanted:
            first, end = offset // self._line, min(-(-(offset + size) // self._line), self._rows.height)
            begin = offset - first * self._line
            found.append(self._rows.read(self._band, first, end)[begin : begin + size] if end > first else b"")
        return found
