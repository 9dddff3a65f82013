"""GeoTIFFs of published data sets: read whole, and checked, or refused by name and reason."""

import contextlib
import dataclasses
import functools
import itertools
import math
import pathlib
import zlib
from collections.abc import Iterator

import numpy as np

from data_pipelines.geo import packing
from data_pipelines.geo.grids import Grid
from data_pipelines.schema import limits
from data_pipelines.schema.band_selection import canonical
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Extent, Place, Refused

_LABEL_DTYPES = ("uint8", "uint16", "int16", "int32", "uint32")
_UNLABELLED = 0.9  # share of pixels without a label at which a label is refused
_JUMPS = 0.1  # share of neighbours half the range of the dtype apart at which an image is refused


@dataclasses.dataclass(frozen=True)
class Patch:
    """One file.

    Attributes:
      values: (H, W, bands), in the dtype of the file.
      valid: (H, W) bool, where there is data: `raster_io.read_valid`.
      names: the description of each band, None where it has none.
      place: the centre; None where the file is not georeferenced or its CRS has no EPSG code.
      centre: x, y of the centre in the coordinates of the file, whatever they are.
      bounds: left, bottom, right, top in the same coordinates.
      extent: the same with its CRS; None where the file is not georeferenced.
      grid: where its pixels lie.
      packed: the scale and offset that the file states of each band; empty where it states none.
      tags: of the file, then of each band in file order.
    """

    values: np.ndarray
    valid: np.ndarray
    names: tuple[str | None, ...]
    place: Place | None
    centre: tuple[float, float]
    bounds: tuple[float, float, float, float]
    extent: Extent | None
    grid: Grid
    packed: packing.Packing
    tags: tuple[dict[str, str], ...]


def read(path: pathlib.Path, *, count: int, dtypes: tuple[str, ...], max_nodata: float = 0.0) -> Patch:
    """The image in a file.

    Args:
      path: a GeoTIFF.
      count: of its bands.
      dtypes: one of which it must have.
      max_nodata: share of pixels that may be NaN, infinite or nodata.

    Raises Refused for a file that is not there, truncated or damaged, of another band count or dtype, not square, with
    too many pixels without data, empty (one value throughout) or noise.
    """
    patch = _read(path, count, dtypes)
    check_data(path, patch.valid, max_nodata, "NaN, infinite or nodata")
    values = patch.values if patch.valid.all() else patch.values[patch.valid]
    if values.min() == values.max():
        raise Refused(path, f"every value is {values.max()}, expected an image")
    _check_smooth(path, patch.values)
    return patch


def check_data(path: pathlib.Path, valid: np.ndarray, max_nodata: float, what: str) -> None:
    """Raises Refused where more pixels than the share `max_nodata`, or all, are not `valid` (H, W), but `what`."""
    missing, pixels = np.count_nonzero(~valid), valid.size
    if missing > max_nodata * pixels or missing == pixels:
        most = f"at most {max_nodata:.4g} of them" if max_nodata else "none"
        raise Refused(path, f"{missing:,} of {pixels:,} pixels are {what}, expected {most}")


def label(path: pathlib.Path, legend: Legend, *, count: int = 1, band: int = 1) -> Patch:
    """The labels in a file: `values` (H, W, 1) uint8, from band number `band` (from 1) of `count`.

    Raises Refused as `read` does, and for ids that are not in the legend; one class throughout is a label. A pixel
    without data must carry an id of the legend, too, and counts as valid.
    """
    patch = _read(path, count, _LABEL_DTYPES)
    packing.conversion(path, patch.packed, (), "in a label")
    ids = patch.values[:, :, band - 1 : band]
    labels, counts = np.unique(ids, return_counts=True)
    strange = np.setdiff1d(labels, legend.allowed_ids)
    if strange.size:
        some = ", ".join(map(str, strange[:5])) + (", ..." if strange.size > 5 else "")
        known = ", ".join(map(str, legend.allowed_ids))
        raise Refused(path, f"label {some} is not in the legend {legend.name}, expected {known}")
    unlabelled = counts[~np.isin(labels, [c.id for c in legend.classes])].sum() / ids.size
    if unlabelled >= _UNLABELLED:
        raise Refused(path, f"{unlabelled:.1%} of the pixels have no label, expected less than {_UNLABELLED:.0%}")
    return dataclasses.replace(patch, values=ids.astype(np.uint8), valid=np.ones(ids.shape[:2], bool))


def in_order(path: pathlib.Path, patch: Patch, sensor: Sensor) -> Patch:
    """The image with the bands of a sensor in its order: by their names, or as published where none is named.

    Raises Refused where the names are not those of the sensor's bands.
    """
    known = [canonical(name) for name in patch.names]
    if not any(name in sensor.bands for name in known):
        return patch
    if sorted(map(str, known)) != sorted(sensor.bands):
        raise Refused(path, f"bands named {', '.join(map(str, patch.names))}, expected {', '.join(sensor.bands)}")
    order = [known.index(band) for band in sensor.bands]
    packed = packing.in_order(patch.packed, order)
    return dataclasses.replace(patch, values=patch.values[:, :, order], names=sensor.bands, packed=packed)


def filled(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`values` (H, W, C) with the mean of the valid pixels of each band where `valid` (H, W) is false.

    Means of integers are rounded; where no pixel is valid they are 0.
    """
    if valid.all():
        return values
    mean = values[valid].mean(axis=0, dtype=np.float64) if valid.any() else np.zeros(values.shape[2])
    mean = mean if values.dtype.kind == "f" else np.rint(mean)
    return np.where(valid[:, :, None], values, mean.astype(values.dtype))


def _read(path: pathlib.Path, count: int, dtypes: tuple[str, ...]) -> Patch:
    """A whole file that is what it says it is, whatever its values are."""
    # Not at the top: training reads shards and needs no GeoTIFF library.
    from rasterio.windows import Window

    from data_pipelines.geo import raster_io

    with _refusing(path), raster_io.opened(path) as file:
        if file.driver != "GTiff":
            raise Refused(path, f"{file.driver}, expected GeoTIFF; download it again")
        if file.count != count:
            raise Refused(path, f"{file.count} bands, expected {count}")
        if file.dtypes[0] not in dtypes:
            raise Refused(path, f"dtype {file.dtypes[0]}, expected {' or '.join(dtypes)}")
        if bits := file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS"):  # it is 1 where the tag is lost
            raise Refused(path, f"values of {bits} bit, expected all bits of {file.dtypes[0]}")
        if file.height != file.width:
            raise Refused(path, f"{file.width} x {file.height} pixels, expected a square")
        if file.width > limits.TILE_EDGE:
            raise Refused(path, f"{file.width:,} pixels wide, expected at most {limits.TILE_EDGE:,}")
        _check_streams(path, file)
        raw, valid = raster_io.read_valid(file, file.indexes, Window(0, 0, file.width, file.height), False)
        t, x, y = file.transform, file.width / 2, file.height / 2
        centre = (t.a * x + t.b * y + t.c, t.d * x + t.e * y + t.f)
        return Patch(
            values=np.ascontiguousarray(np.moveaxis(raw, 0, -1)),
            valid=valid,
            names=file.descriptions,
            place=_place(raster_io.crs_of(file), centre),
            centre=centre,
            bounds=bounds_of(t, 0, 0, file.height, file.width),
            extent=extent_of(raster_io.crs_of(file), t, 0, 0, file.height, file.width),
            grid=Grid.of(file),
            packed=packing.stated(path, file, file.indexes),
            tags=tuple(dict(file.tags(index)) for index in (0, *file.indexes)),
        )


@contextlib.contextmanager
def _refusing(path: pathlib.Path) -> Iterator[None]:
    """Turns what rasterio raises for damaged files into Refused."""
    from rasterio._err import CPLE_BaseError  # what GDAL refuses may come out as this; it has no public name
    from rasterio.errors import CRSError, RasterioError

    try:
        yield
    except (OSError, RasterioError, CRSError, CPLE_BaseError, UnicodeDecodeError) as error:
        from data_pipelines.geo import raster_io

        raise raster_io.unreadable(path, error) from error


def _check_streams(path: pathlib.Path, file) -> None:
    """Raises Refused where strips or tiles are missing, overlap, have another size than the tags say, or are damaged.

    GDAL stops at the last pixel of a deflate stream and does not look at the Adler-32 behind it (RFC 1950): of 300
    single flipped bits 24 ended in other pixels without an error. Other compressions carry no checksum.
    """
    structure = file.tags(ns="IMAGE_STRUCTURE")
    compression, apart = structure.get("COMPRESSION"), structure.get("INTERLEAVE") == "BAND"
    content = path.read_bytes()
    pixel = np.dtype(file.dtypes[0]).itemsize * (1 if apart else file.count)
    blocks = [(0, 8)]  # offset and size in bytes, of the header for a start
    for band in file.indexes if apart else (1,):
        height, width = file.block_shapes[band - 1]
        for row, column in np.ndindex(math.ceil(file.height / height), math.ceil(file.width / width)):
            tags = [file.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")]
            if not all(tags):
                raise Refused(path, f"no pixels at row {row * height}, column {column * width}; download it again")
            offset, size = map(int, tags)
            blocks.append((offset, size))
            rows = min(height, file.height - row * height)  # the last strip ends with the image, tiles go on
            length = _length(path, content[offset : offset + size], compression)
            if length not in (None, rows * width * pixel, height * width * pixel):
                raise Refused(path, f"damaged at row {row * height}, column {column * width}; download it again")
    if any(offset + size > after for (offset, size), (after, _) in itertools.pairwise(sorted(blocks))):
        raise Refused(path, "strips or tiles of its pixels overlap; damaged, download it again")


def _length(path: pathlib.Path, block: bytes, compression: str | None) -> int | None:
    """Bytes in a block when it is decompressed, None where that is left to GDAL; raises Refused where it cannot be."""
    if compression != "DEFLATE":
        return len(block) if compression is None else None
    try:
        return len(zlib.decompress(block))
    except zlib.error as error:
        raise Refused(path, f"a compressed stream is damaged ({error}); download it again") from error


def _check_smooth(path: pathlib.Path, values: np.ndarray) -> None:
    """Raises Refused for an image of 8 or 16 bits that is noise, as it is when its tag of the predictor is lost.

    The differences that are stored are small numbers, up and down: read as pixels they are near 0 and near the end of
    the range in turn. Photographs have such jumps at few edges. Every eighth row is enough to see it.
    """
    if values.dtype.name not in ("uint8", "uint16"):
        return
    jumps = np.abs(np.diff(values[::8].astype(np.int32), axis=1)) > np.iinfo(values.dtype).max // 2
    if jumps.mean() > _JUMPS:
        raise Refused(path, f"noise: {jumps.mean():.0%} of neighbouring values differ by half of the range; damaged")


def bounds_of(transform, top: int, left: int, height: int, width: int) -> tuple[float, float, float, float]:
    """Left, bottom, right and top of a window of an image, in the coordinates of its affine transform.

    Of an image that is turned they enclose it.
    """
    t = transform
    corners = [(column, row) for column in (left, left + width) for row in (top, top + height)]
    x = [t.a * column + t.b * row + t.c for column, row in corners]
    y = [t.d * column + t.e * row + t.f for column, row in corners]
    return min(x), min(y), max(x), max(y)


def extent_of(crs, transform, top: int, left: int, height: int, width: int) -> Extent | None:
    """What a window of an image covers; None where the image has no CRS (rasterio's) or no place in it."""
    bounds = bounds_of(transform, top, left, height, width)
    if not crs or not np.isfinite(bounds).all():
        return None
    wkt = crs.to_wkt()
    epsg = _epsg(wkt)
    return Extent(f"EPSG:{epsg}" if epsg else wkt, bounds)


def _place(crs, centre: tuple[float, float]) -> Place | None:
    epsg = _epsg(crs.to_wkt()) if crs else None
    return Place(epsg, *centre) if epsg and np.isfinite(centre).all() else None


@functools.lru_cache(maxsize=1024)  # a search through PROJ's database; there are few systems, and many files
def _epsg(wkt: str) -> int | None:
    from rasterio.crs import CRS

    return CRS.from_wkt(wkt).to_epsg()
