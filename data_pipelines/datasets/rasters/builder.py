"""Own imagery as a data set: images and masks that a CSV pairs, cut into tiles. What it may hold: docs/own_data.md."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import logging
import pathlib
import types
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import rasterio
from rasterio.windows import Window

from data_pipelines.datasets.rasters import class_table, inspect, masks, tables, vector_labels
from data_pipelines.datasets.rasters.class_table import Classes
from data_pipelines.datasets.rasters.columns import EXCLUDE, IMAGE
from data_pipelines.datasets.rasters.tables import Block, Pair
from data_pipelines.datasets.rasters.vector_labels import Options, VectorLabels
from data_pipelines.geo import composites, exclusions, geotiff, grids, packing, raster_io, resampling, vectors
from data_pipelines.geo.cubes import store
from data_pipelines.geo.exclusions import Excluded, Exclusion
from data_pipelines.geo.grids import Grid
from data_pipelines.remote.addresses import Address
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, LandClass, Legend
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Cut, DatasetFamily, DatasetSpec, Item, Record, Refused

_log = logging.getLogger("lcjax.data")

TILE = 256
_PALETTES = {  # what decided -> what is said
    "colours": "of the legend's colours; read by these",
    "ids": "with none of the legend's colours; their numbers are read as ids",
}
LAYOUT = (
    "FOLDER/rasters.csv with the columns image,mask,split,group, or one for each sensor in place of image; "
    "`lcjax prepare --init --source=FOLDER` writes one"
)
_TRAIN = "train"
_AT_ONCE = 8  # servers' files that are asked for
_OPEN = limits.MAX_SENSORS  # files that stay open from tile to tile: one for each sensor of a place
_UNLABELLED = LandClass(0, "unlabelled", "#808080")  # all that the legend of a data set without masks can hold


@dataclasses.dataclass(frozen=True)
class Description:
    """What the owner wrote down, before any raster is opened.

    Attributes:
      csv: the CSV of pairs.
      fingerprint: changes with the text of the CSVs, the tile, and the size or time of any image or mask.
      resample: whether images of other pixels are brought onto the grid of the first sensor.
    """

    name: str
    csv: pathlib.Path
    pairs: list[Pair]
    classes: Classes
    tile: int
    fingerprint: str
    resample: bool = False


def describe(
    name: str, source: pathlib.Path, legend: pathlib.Path | None, tile: int, resample: bool = False
) -> Description:
    """Reads the two CSVs; `source` is the one of pairs, or the folder where it is called rasters.csv.

    Where no row has a mask the one of classes need not be there.

    Raises InputError where either of them cannot be used.
    """
    csv = source / tables.PAIRS if source.is_dir() else source
    if not csv.is_file():
        size = "" if tile == TILE else f" --tile={tile}"
        command = f"lcjax prepare --dataset={name} --init --source={source}{size}"
        hint = f"; write one with `{command}`" if source.is_dir() else ""
        raise InputError(f"{csv}: no such file; expected a CSV of images and masks{hint}")
    if not 16 <= tile <= limits.MAX_TILE:
        raise InputError(f"--tile={tile}: expected 16 to {limits.MAX_TILE:,} pixels")
    table = tables.read_table(csv)
    pairs = table.pairs
    if table.unread:
        _log.info(f"{csv}: columns that are not read: {', '.join(table.unread)}")
    path = legend or csv.with_name(class_table.LEGEND)
    is_needed = legend is not None or path.exists() or any(pair.mask for pair in pairs)
    known = class_table.read(path, name) if is_needed else class_table.plain(Legend(name, (_UNLABELLED,)))
    described = csv.read_bytes() + b"\n" + (path.read_bytes() if is_needed else b"")
    digest = hashlib.sha256(f"{tile}{' resampled' if resample else ''}\n".encode() + described)
    addresses = list(dict.fromkeys(path for pair in pairs for path in pair.files if isinstance(path, Address)))
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        found = dict(zip(addresses, pool.map(_looked_up, addresses), strict=True))
    held = {path: one for path, (one, _) in found.items()}
    if found:
        tables.check_files(csv, pairs, {path: places for path, (_, places) in found.items()})
    for file in (file for pair in pairs for path in pair.files for file in _files_of(path)):
        if isinstance(file, Address):
            told: object = held[file].version
        else:
            about = file.stat() if file.exists() else None
            told = about and (about.st_size, about.st_mtime_ns)
        digest.update(f"{file} {told}\n".encode())
    # What is read of a server later must be what was looked at here.
    pairs = [
        dataclasses.replace(
            pair, images={k: held[path] if isinstance(path, Address) else path for k, path in pair.images.items()}
        )
        for pair in pairs
    ]
    return Description(name, csv, pairs, known, tile, digest.hexdigest(), resample)


def _files_of(path: pathlib.Path) -> list[pathlib.Path]:
    if isinstance(path, Address):
        return [path]
    return store.files_of(path) if store.root_of(path) else vectors.files_of(path)


def _looked_up(path: Address) -> tuple[Address, list[pathlib.Path]]:
    """The address, held to what it is now, and the files that it stands for.

    One that cannot be used stays as it is, to be refused by name.
    """
    try:
        version, places = composites.looked_up(path)
    except Refused:
        return path, [path]
    return Address.of(path.text, version), places


def spec(description: Description, family: DatasetFamily) -> DatasetSpec:
    """Returns the data set of a description, as one of its family.

    Opens every file, and says what a reader of the scores should know.
    """
    pairs = description.pairs
    names = list(pairs[0].images)
    what = "images" if names == [IMAGE] else f"images of each of {', '.join(names)}"
    _log.info(f"{description.csv}: looking at {len({pair.files for pair in pairs})} {what} and their masks")
    sensors, found = inspect.inspect(pairs, description.classes.written, description.csv, description.resample)
    _check_size(sensors, description.tile)
    opened = [one for one in found if isinstance(one, inspect.Opened)]
    small = [size for one in opened if (size := min(one.block.height, one.block.width)) < description.tile]
    if small:
        _log.info(
            f"  {len(small)} images are smaller than a tile of {description.tile} px and are filled up by mirroring, "
            f"without labels: much of a batch may hold none; --tile={min(small)} fills none"
        )
    for sensor in sensors:
        images = [one.images[sensor.name] for one in opened]
        of = "" if sensor.name == IMAGE else f" of {sensor.name}"
        if unnamed := sum(not inspect.same_bands(image.names, sensor.bands) for image in images):
            bands = ", ".join(sensor.bands)
            _log.info(f"  {unnamed} images{of} do not name their bands; taken as {bands}, in file order")
        if resampled := sum(
            not grids.same_size(image.grid, one.grid) for image, one in zip(images, opened, strict=True)
        ):
            _log.info(f"  {resampled} images{of} are resampled onto the grid of {names[0]} (bilinear)")
    for decided, told in _PALETTES.items():
        if count := sum(one.mask.palette == decided for one in opened):
            _log.info(f"  {count} masks have a palette {told}")
    _tell_of_vectors(opened, description.tile)
    for split in dict.fromkeys(pair.split for pair in pairs if pair.mask is None):
        _log.info(f"  {split}: no masks, so a split without labels")
    ways = {pair.key: pair for pair in pairs if pair.drawn or pair.exclude}
    return DatasetSpec(
        name=description.name,
        version=family.version,
        title="Own imagery",
        sensors=sensors,
        legends=(description.classes.legend,),
        tile=description.tile,
        licence="",
        homepage="",
        citation="",
        layout=LAYOUT,
        index=lambda _: index(description, found),
        read=functools.partial(read, sensors=sensors, classes=description.classes, tile=description.tile, ways=ways),
        scaled_by=_TRAIN if any(pair.split == _TRAIN for pair in pairs) else pairs[0].split,
        fingerprint=description.fingerprint,
        overlapping=family.overlapping,
    )


def _tell_of_vectors(opened: Sequence[inspect.Opened], tile: int) -> None:
    """Logs what was found of files of polygons, each once, and what is left out because no polygon is near."""
    drawn = [one for one in opened if one.labels]
    remarks = {(one.pair.mask, remark) for one in drawn for remark in (one.labels.remarks if one.labels else ())}
    for path, remark in sorted(remarks, key=str):
        _log.info(f"  {path and path.name}: {remark}")
    if free := [one.pair.name for one in drawn if one.labels and not len(one.labels.placed.shapes.kinds)]:
        _log.info(f"  {len(free)} images meet no feature of their file (the first: {free[0]})")
    tiles, kept = (sum(len(list(of(one, tile))) for one in drawn) for of in (_all_cuts, _cuts))
    if kept < tiles:
        _log.info(f"  {tiles - kept} of {tiles} tiles are left out: no feature is near them, so they hold no label")


def _check_size(sensors: Sequence[Sensor], tile: int) -> None:
    """Raises InputError where a tile would be more than a record can hold."""
    size = tile**2 * sum(len(sensor.bands) * np.dtype(sensor.dtype).itemsize for sensor in sensors)
    if size > limits.RECORD_BYTES:
        bands = " and ".join(f"{len(sensor.bands)} bands of {sensor.dtype}" for sensor in sensors)
        raise InputError(
            f"--tile={tile}: a tile of {bands} has {size:,} bytes, expected at most {limits.RECORD_BYTES:,}; give a "
            "smaller tile"
        )


def index(description: Description, found: list[inspect.Opened | Refused]) -> dict[str, list[Item]]:
    """Every tile of every image, by split, in the order of the CSV and by rows; one item for a pair that is refused."""
    splits: dict[str, list[Item]] = {}
    for pair, one in zip(description.pairs, found, strict=True):
        items = splits.setdefault(pair.split, [])
        files = pair.images | ({"label": pair.mask} if pair.mask else {})
        files |= {EXCLUDE: pair.exclude.path} if pair.exclude else {}
        if isinstance(one, Refused):
            items.append(Item(pair.name, files, refused=one))
            continue
        for cut in _cuts(one, description.tile):
            items.append(Item(f"{pair.name}_r{cut.top}_c{cut.left}", files, cut=cut, group=pair.group))
    return splits


def _all_cuts(one: inspect.Opened, tile: int) -> list[Cut]:
    return list(cuts(one.block, tile))


def _cuts(one: inspect.Opened, tile: int) -> list[Cut]:
    """The tiles of a row: of polygons without an outside those that may hold a label, or the first where none does."""
    found, labels = _all_cuts(one, tile), one.labels
    if labels is None:
        return found
    return [cut for cut in found if labels.may_label(_window(cut))] or found[:1]


def _window(cut: Cut) -> Window:
    return Window(cut.left, cut.top, cut.columns, cut.rows)


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


def read(
    item: Item,
    *,
    sensors: Sequence[Sensor],
    classes: Classes,
    tile: int,
    ways: Mapping[tuple[pathlib.Path, pathlib.Path | None], Pair] = types.MappingProxyType({}),
) -> Record:
    """One tile: of each sensor an image (tile, tile, bands), and the label (tile, tile) uint8.

    Labels are 255 where there is no mask, where an image holds no data or is not to be used, where the tile before
    holds the pixel, and beyond the image or the part of it that is used. Pixels without data hold the mean of the
    others of their image; what is beyond mirrors it. Raises Refused for a file that cannot be read to its end, and
    where numbers of another scale and offset do not fit into those of the others.
    """
    cut = item.cut
    assert cut is not None
    window, path, mask = _window(cut), item.files[sensors[0].name], item.files.get("label")
    way = ways.get((path, mask))
    first = _open(path, _stamp(path))
    try:
        # A truncated JPEG is only a warning to GDAL, and grey below.
        with rasterio.Env(GDAL_ERROR_ON_LIBJPEG_WARNING=True):
            images = {sensor.name: _image(item.files[sensor.name], sensor, window, first.shape) for sensor in sensors}
            label, off = _label(mask, classes, window, path, way.drawn if way else None)
            if way and way.exclude:
                of_file = _stamp(way.exclude.path)
                usable = ~_open_excluded(way.exclude, of_file, path, _stamp(path))[0].read(window)[0]
                images = {name: (image, valid & usable) for name, (image, valid) in images.items()}
    except Refused:
        for kept in (_open, _open_resampled, _open_mask, _open_excluded):
            kept.cache_clear()  # what GDAL kept of a read that failed would pass for data the next time
        raise
    counted = np.logical_and.reduce([valid for _, valid in images.values()])
    counted[: cut.seen_rows] = False
    counted[:, : cut.seen_columns] = False
    label[~counted] = IGNORE
    edges = (0, tile - cut.rows), (0, tile - cut.columns)
    parts = {
        name: np.pad(geotiff.filled(image, valid), (*edges, (0, 0)), mode="symmetric")
        for name, (image, valid) in images.items()
    }
    return Record(
        parts=parts | {"label": np.pad(label, edges, constant_values=IGNORE)},
        counted=np.pad(counted, edges, constant_values=False),
        off_legend=int((off & counted).sum()),
        extent=geotiff.extent_of(raster_io.crs_of(first), first.transform, cut.top, cut.left, cut.rows, cut.columns),
    )


def _image(path: pathlib.Path, sensor: Sensor, window: Window, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A window of an image, (h, w, bands) in the sensor's numbers, and where it holds data, (h, w) bool.

    Args:
      shape: rows and columns of the first sensor's image, in which the window is.
    """
    dataset = _open(path, _stamp(path))
    indices = [raster_io.image_bands(dataset)[k] for k in inspect.order(sensor.bands, raster_io.band_names(dataset))]
    seen = dataset if dataset.shape == shape else _open_resampled(path, _stamp(path), shape)
    raw, valid = raster_io.read_valid(seen, indices, window, sensor.zero_is_nodata)
    stated = packing.stated(path, dataset, indices)
    raw = packing.converted(path, raw, valid, stated, sensor.packing, sensor.dtype)
    if sensor.dtype == "float32":
        with np.errstate(over="ignore"):
            raw = raw.astype(np.float32)
        valid &= np.isfinite(raw).all(0)  # numbers beyond float32
    return np.ascontiguousarray(np.moveaxis(raw, 0, -1)), valid


def _label(
    path: pathlib.Path | None,
    classes: Classes,
    window: Window,
    image: pathlib.Path,
    how: Options | None,
) -> tuple[np.ndarray, np.ndarray]:
    """A window of a mask, as `masks.labels` reads it or polygons are drawn; without a mask no pixel has a label."""
    size = int(window.height), int(window.width)
    if path is None:
        return np.full(size, IGNORE, np.uint8), np.zeros(size, bool)
    if how:
        label = _draw(path, _stamp(path), how, classes.written, image, _stamp(image)).read(window)
        return classes.merged[label], np.zeros(size, bool)
    label, off = masks.labels(_open_mask(path, _stamp(path)), classes.written, window)
    return classes.merged[label], off


def _stamp(path: pathlib.Path) -> tuple[int, int]:
    if isinstance(path, Address):  # each part of it is held to its version
        return 0, 0
    try:
        about = path.stat()
    except OSError as error:
        raise raster_io.unreadable(path, error) from error
    return about.st_size, about.st_mtime_ns


@functools.lru_cache(maxsize=_OPEN)  # images stay open from tile to tile: what GDAL decoded is still there
def _open(path: pathlib.Path, stamp: tuple[int, int]) -> rasterio.DatasetReader:
    return raster_io.opened(path)


@functools.lru_cache(maxsize=_OPEN)
def _open_resampled(path: pathlib.Path, stamp: tuple[int, int], shape: tuple[int, int]) -> rasterio.DatasetReader:
    return resampling.resampled(_open(path, stamp), *shape)


@functools.lru_cache(maxsize=2)  # and what the mask says of itself, its palette above all, is read once
def _open_mask(path: pathlib.Path, stamp: tuple[int, int]) -> masks.Mask:
    return masks.Mask(path, raster_io.opened(path))


@functools.lru_cache(maxsize=2)
def _draw(
    path: pathlib.Path,
    stamp: tuple[int, int],
    how: Options,
    legend: Legend,
    image: pathlib.Path,
    stamp_of_image: tuple[int, int],
) -> VectorLabels:
    return vector_labels.opened(path, how, legend, Grid.of(_open(image, stamp_of_image)), image)


@functools.lru_cache(maxsize=2)
def _open_excluded(
    exclusion: Exclusion, stamp: tuple[int, int], image: pathlib.Path, stamp_of_image: tuple[int, int]
) -> tuple[Excluded, contextlib.ExitStack]:
    """What is not to be used of an image, and what keeps it open."""
    stack = contextlib.ExitStack()
    with vector_labels.refusing(exclusion.path):
        return stack.enter_context(exclusions.opened(exclusion, Grid.of(_open(image, stamp_of_image)), image)), stack
