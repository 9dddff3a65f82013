"""Own imagery as a data set: images and masks that a CSV pairs, cut into tiles. What it may hold: docs/own_data.md."""

import dataclasses
import functools
import hashlib
import logging
import pathlib
from collections.abc import Iterator

import numpy as np
import rasterio
from rasterio.windows import Window

from data_pipelines.datasets.rasters import inspect, masks, tables
from data_pipelines.datasets.rasters.tables import Block, Pair
from data_pipelines.geo import geotiff, packing, raster_io
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Cut, DatasetFamily, DatasetSpec, Item, Record, Refused

_log = logging.getLogger("lcjax.data")

TILE = 256
_PALETTES = {  # what decided -> what is said
    "colours": "of the legend's colours; read by these",
    "ids": "with none of the legend's colours; their numbers are read as ids",
}
LAYOUT = "FOLDER/rasters.csv with the columns image,mask,split,group; `lcjax prepare --init --source=FOLDER` writes one"


@dataclasses.dataclass(frozen=True)
class Description:
    """What the owner wrote down, before any raster is opened.

    Attributes:
      csv: the CSV of pairs.
      fingerprint: changes with the text of the CSVs, the tile, and the size or time of any image or mask.
    """

    name: str
    csv: pathlib.Path
    pairs: list[Pair]
    legend: Legend
    tile: int
    fingerprint: str


def describe(name: str, source: pathlib.Path, legend: pathlib.Path | None, tile: int) -> Description:
    """Reads the two CSVs; `source` is the one of pairs, or the folder where it is called rasters.csv.

    Raises InputError where either of them cannot be used.
    """
    csv = source / tables.PAIRS if source.is_dir() else source
    if not csv.is_file():
        hint = f"; write one with `lcjax prepare --dataset={name} --init --source={source}`" if source.is_dir() else ""
        raise InputError(f"{csv}: no such file; expected a CSV of images and masks{hint}")
    legend = legend or csv.with_name(tables.LEGEND)
    if not 16 <= tile <= limits.MAX_TILE:
        raise InputError(f"--tile={tile}: expected 16 to {limits.MAX_TILE:,} pixels")
    pairs, classes = tables.read_pairs(csv), tables.read_legend(legend, name)
    digest = hashlib.sha256(f"{tile}\n".encode() + csv.read_bytes() + b"\n" + legend.read_bytes())
    for path in (path for pair in pairs for path in (pair.image, pair.mask)):
        about = path.stat() if path.exists() else None
        digest.update(f"{path} {about and (about.st_size, about.st_mtime_ns)}\n".encode())
    return Description(name, csv, pairs, classes, tile, digest.hexdigest())


def spec(description: Description, family: DatasetFamily) -> DatasetSpec:
    """Returns the data set of a description, as one of its family.

    Opens every file, and says what a reader of the scores should know.
    """
    _log.info(f"{description.csv}: looking at {len(description.pairs)} images and their masks")
    sensor, found = inspect.inspect(description.pairs, description.legend, description.csv)
    size = description.tile**2 * len(sensor.bands) * np.dtype(sensor.dtype).itemsize
    if size > limits.RECORD_BYTES:
        raise InputError(
            f"--tile={description.tile}: a tile of {len(sensor.bands)} bands of {sensor.dtype} has {size:,} bytes, "
            f"expected at most {limits.RECORD_BYTES:,}; give a smaller tile"
        )
    images = [image for image in found if isinstance(image, inspect.Image)]
    small = [size for image in images if (size := min(image.block.height, image.block.width)) < description.tile]
    if small:
        _log.info(
            f"  {len(small)} images are smaller than a tile of {description.tile} px and are filled up by mirroring, "
            f"without labels: much of a batch may hold none; --tile={min(small)} fills none"
        )
    unnamed = sum(not inspect.same_bands(image.names, sensor.bands) for image in images)
    if unnamed:
        _log.info(f"  {unnamed} images do not name their bands; taken as {', '.join(sensor.bands)}, in file order")
    for decided, told in _PALETTES.items():
        if count := sum(image.mask.palette == decided for image in images):
            _log.info(f"  {count} masks have a palette {told}")
    return DatasetSpec(
        name=description.name,
        version=family.version,
        title="Own imagery",
        sensors=(sensor,),
        legends=(description.legend,),
        tile=description.tile,
        licence="",
        homepage="",
        citation="",
        layout=LAYOUT,
        index=lambda _: index(description, found),
        read=functools.partial(read, sensor=sensor, legend=description.legend, tile=description.tile),
        scaled_by="train",
        fingerprint=description.fingerprint,
        overlapping=family.overlapping,
    )


def index(description: Description, found: list[inspect.Image | Refused]) -> dict[str, list[Item]]:
    """Every tile of every image, by split, in the order of the CSV and by rows; one item for a pair that is refused."""
    splits: dict[str, list[Item]] = {}
    for pair, image in zip(description.pairs, found, strict=True):
        items = splits.setdefault(pair.split, [])
        files = {"image": pair.image, "label": pair.mask}
        if isinstance(image, Refused):
            items.append(Item(pair.name, files, refused=image))
            continue
        for cut in cuts(image.block, description.tile):
            items.append(Item(f"{pair.name}_r{cut.top}_c{cut.left}", files, cut=cut, group=pair.group))
    return splits


def cuts(block: Block, tile: int) -> Iterator[Cut]:
    """The tiles of a part of an image, by rows."""
    for top, seen_rows in starts(block.height, tile):
        for left, seen_columns in starts(block.width, tile):
            yield Cut(
                block.top + top, block.left + left, seen_rows, seen_columns,
                rows=min(tile, block.height), columns=min(tile, block.width),
            )  # fmt: skip


def starts(size: int, tile: int) -> list[tuple[int, int]]:
    """Where tiles start along an edge, and how many of their pixels the tile before holds: 0, tile, 2 tile, ...

    The last one is moved back to end at the image's edge.
    """
    last = max(size - tile, 0)
    return [(min(start, last), start - min(start, last)) for start in range(0, size, tile)]


def read(item: Item, *, sensor: Sensor, legend: Legend, tile: int) -> Record:
    """One tile: image (tile, tile, bands), label (tile, tile) uint8.

    Labels are 255 where the image holds no data, where the tile before holds the pixel, and beyond the image or the
    part of it that is used. Pixels without data hold the mean of the others; what is beyond mirrors it. Raises Refused
    for a file that cannot be read to its end, and where numbers of another scale and offset do not fit into those of
    the others.
    """
    cut = item.cut
    assert cut is not None
    image = _open(item.files["image"], _stamp(item.files["image"]))
    mask = _open_mask(item.files["label"], _stamp(item.files["label"]))
    window = Window(cut.left, cut.top, cut.columns, cut.rows)
    indices = [raster_io.image_bands(image)[k] for k in inspect.order(sensor.bands, raster_io.band_names(image))]
    try:
        # A truncated JPEG is only a warning to GDAL, and grey below.
        with rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING=True):
            raw, valid = raster_io.read_valid(image, indices, window, sensor.zero_is_nodata)
        label, off = masks.labels(mask, legend, window)
    except Refused:
        _open.cache_clear()
        _open_mask.cache_clear()  # what GDAL kept of a read that failed would pass for data the next time
        raise
    stated = packing.stated(item.files["image"], image, indices)
    raw = packing.converted(item.files["image"], raw, valid, stated, sensor.packing, sensor.dtype)
    if sensor.dtype == "float32":
        with np.errstate(over="ignore"):
            raw = raw.astype(np.float32)
        valid &= np.isfinite(raw).all(0)  # numbers beyond float32
    counted = valid.copy()
    counted[: cut.seen_rows] = False
    counted[:, : cut.seen_columns] = False
    label[~counted] = IGNORE
    edges = (0, tile - valid.shape[0]), (0, tile - valid.shape[1])
    image_HxWxC = np.ascontiguousarray(np.moveaxis(raw, 0, -1))
    return Record(
        parts={
            "image": np.pad(geotiff.filled(image_HxWxC, valid), (*edges, (0, 0)), mode="symmetric"),
            "label": np.pad(label, edges, constant_values=IGNORE),
        },
        counted=np.pad(counted, edges, constant_values=False),
        off_legend=int((off & counted).sum()),
        extent=geotiff.extent_of(raster_io.crs_of(image), image.transform, cut.top, cut.left, *valid.shape),
    )


def _stamp(path: pathlib.Path) -> tuple[int, int]:
    try:
        about = path.stat()
    except OSError as error:
        raise raster_io.unreadable(path, error) from error
    return about.st_size, about.st_mtime_ns


@functools.lru_cache(maxsize=2)  # an image and its mask stay open from tile to tile: what GDAL decoded is still there
def _open(path: pathlib.Path, stamp: tuple[int, int]) -> rasterio.DatasetReader:
    return raster_io.opened(path)


@functools.lru_cache(maxsize=2)  # and what the mask says of itself, its palette above all, is read once
def _open_mask(path: pathlib.Path, stamp: tuple[int, int]) -> masks.Mask:
    return masks.Mask(path, raster_io.opened(path))
