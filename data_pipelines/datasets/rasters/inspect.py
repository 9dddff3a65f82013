"""What the images of a CSV have in common: every file is opened once, and those that do not fit are refused."""

import collections
import concurrent.futures
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import rasterio

from data_pipelines.datasets.rasters import masks, vector_labels
from data_pipelines.datasets.rasters.class_table import same_colour
from data_pipelines.datasets.rasters.columns import IMAGE
from data_pipelines.datasets.rasters.sensor import DTYPES, sensor_of
from data_pipelines.datasets.rasters.tables import Block, Pair
from data_pipelines.datasets.rasters.vector_labels import VectorLabels
from data_pipelines.geo import exclusions, geodesy, grids, packing, raster_io
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Refused

_RESAMPLE = (
    "; if it covers the same ground, `lcjax prepare --resample` brings it onto that grid (bilinearly), and `gdalwarp` "
    "with another method"
)


@dataclasses.dataclass(frozen=True)
class Image:
    """One image that can be opened."""

    path: pathlib.Path
    grid: Grid
    names: tuple[str, ...]  # of the bands, in file order
    dtype: str
    ground_sampling: float | None  # metres per pixel, where the file tells
    packed: packing.Packing  # what the file states of the bands, in file order

    @property
    def format(self) -> tuple[int, str]:
        """Number of bands, and dtype."""
        return len(self.names), self.dtype


@dataclasses.dataclass(frozen=True)
class Opened:
    """One row whose files can be opened, and lie on the same ground.

    Attributes:
      images: of each sensor, in order; all others lie on the grid of the first one, or are brought onto it.
      mask: how its mask is read.
      labels: those that are drawn from polygons; None where the mask is a raster, or where there is none.
    """

    pair: Pair
    images: dict[str, Image]
    mask: masks.Reading
    labels: VectorLabels | None = None

    @property
    def grid(self) -> Grid:
        """That of the first sensor."""
        return next(iter(self.images.values())).grid

    @property
    def block(self) -> Block:
        """The part of it that is used: all of it where its row names none."""
        return self.pair.block or Block(0, 0, self.grid.width, self.grid.height)


def inspect(
    pairs: Sequence[Pair], legend: Legend, csv: pathlib.Path, resample: bool = False
) -> tuple[tuple[Sensor, ...], list[Opened | Refused]]:
    """The sensors that the images are of, and for each pair what was found, or why it is refused.

    Bands, dtype, scale and offset are those of most images of a sensor. Its scaling is not known yet. Raises InputError
    where no pair at all can be used.

    Args:
      resample: whether images of other pixels are brought onto the grid of the first sensor; else they are refused.
    """
    look = functools.partial(_look, legend=legend, resample=resample)
    with raster_io.anywhere(), concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        files = {pair.files: pair for pair in pairs}  # parts of an image are of the same files, drawn alike
        looked = dict(zip(files, pool.map(look, files.values()), strict=True))
    found = [_of_pair(pair, looked[pair.files], csv.name) for pair in pairs]
    opened = [one for one in found if isinstance(one, Opened)]
    if not opened:
        first = next(refusal for refusal in found if isinstance(refusal, Refused))
        raise InputError(
            f"{csv}: none of its {len(found)} rows can be used (the first: {first.file}: {first.reason}); put the "
            "files right, or the paths, which are relative to the CSV"
        )
    _check_255([one.mask.pixels for one in opened if one.pair.mask], legend, csv)
    found = _without_backwards(found)
    sensors = []
    for name in pairs[0].images:
        sensor, found = _sensor(name, found, csv.name)
        sensors.append(sensor)
    return tuple(sensors), found


def _sensor(name: str, found: Sequence[Opened | Refused], csv: str) -> tuple[Sensor, list[Opened | Refused]]:
    """The sensor that most images of this name are of, and what was found, without those that are not."""
    images = [one.images[name] for one in found if isinstance(one, Opened)]
    count, dtype = _commonest([image.format for image in images])
    names = _commonest([image.names for image in images if image.format == (count, dtype)])
    most = f"as most images of {csv}" if name == IMAGE else f"as most of {name} in {csv}"

    def fitting(one: Opened | Refused, check: Callable[[Image], object]) -> Opened | Refused:
        try:
            if isinstance(one, Opened):
                check(one.images[name])
        except Refused as refusal:
            return refusal
        return one

    kept = [fitting(one, lambda image: _check_fits(image, names, dtype, most)) for one in found]
    packed = _commonest([_packing(one.images[name], names) for one in kept if isinstance(one, Opened)])
    kept = [fitting(one, lambda image: packing.conversion(image.path, _packing(image, names), packed)) for one in kept]
    left = [one.images[name] for one in kept if isinstance(one, Opened)]
    return sensor_of(names, dtype, [image.ground_sampling for image in left], name, packed), kept


def _of_pair(pair: Pair, found: Opened | Refused, csv: str) -> Opened | Refused:
    """What was found of the files of a row. Refused where the row is of a part that its image does not have.

    Of a file that is not there also the line of the CSV is told that names it.
    """
    if isinstance(found, Refused):
        there = os.path.lexists(found.file)
        return found if there else Refused(found.file, f"{found.reason} (line {pair.line} of {csv})")
    opened, block = dataclasses.replace(found, pair=pair), pair.block
    width, height = opened.grid.width, opened.grid.height
    if block and (block.left + block.width > width or block.top + block.height > height):
        return Refused(
            pair.first,
            f"{width} x {height} pixels; expected at least {block.left + block.width} x {block.top + block.height}, "
            "where the part that its row names ends",
        )
    return opened


def _without_backwards(found: Sequence[Opened | Refused]) -> list[Opened | Refused]:
    """What was found, without masks whose palette contradicts the plain numbers of others."""
    masks_ = [one.mask for one in found if isinstance(one, Opened) and one.pair.mask]
    plain = any(mask.pixels is not None and not mask.palette for mask in masks_)

    def kept(one: Opened | Refused) -> Opened | Refused:
        if not (plain and isinstance(one, Opened) and one.pair.mask and one.mask.backwards):
            return one
        return Refused(
            one.pair.mask,
            "its palette draws the smaller numbers lighter, and other masks have no palette, in which the larger ones "
            "are: they most likely mean the opposite; give the classes in the legend the greys that they have in those "
            "(#000000 to 0, #ffffff to 1), and colours decide; or save the mask without a palette",
        )

    return [kept(one) for one in found]


def _check_255(pixels: Sequence[collections.Counter | None], legend: Legend, csv: pathlib.Path) -> None:
    """Raises InputError where 255, which is no label, is all that masks of one id hold beside it: it may be a class."""
    total: collections.Counter = collections.Counter()
    for one in pixels:
        total.update(one or {})
    if None in pixels or legend.nodata != IGNORE or not total[IGNORE] or len(total) != 2:
        return
    (other,) = (land_class for land_class in legend.classes if total[land_class.id])
    raise InputError(
        f"{csv}: 255 covers {total[IGNORE] / total.total():.0%} of the masks, which else hold {other.value} "
        f"({other.name}) alone, and 255 is no label unless the legend names it; if it is a class, give the legend a "
        "row such as 255,building,#ff0000, (in place of the class that no mask holds); if it is none, one such as "
        "255,not labelled,#9b9b9b,1"
    )


def order(bands: tuple[str, ...], names: tuple[str, ...]) -> list[int]:
    """Where each band of the sensor stands among the bands of a file: by name, else as they come."""
    if not same_bands(names, bands):
        return list(range(len(names)))
    found = [name.casefold() for name in names]
    return [found.index(name.casefold()) for name in bands]


def same_bands(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether these are the same names, in any order and case."""
    return sorted(map(str.casefold, one)) == sorted(map(str.casefold, other))


def _look(pair: Pair, legend: Legend, resample: bool) -> Opened | Refused:
    try:
        images = {name: _open(path, functools.partial(_look_at_image, path)) for name, path in pair.images.items()}
        images, ground = _on_first(images, resample)
        reading, labels, grid = masks.UNREAD, None, ground[pair.first]
        if pair.exclude:
            with vector_labels.refusing(pair.exclude.path), exclusions.opened(pair.exclude, grid, pair.first) as found:
                exclusions.survey(found, pair.exclude, grid, pair.first)
        if pair.mask and pair.drawn:
            grids.check_same(ground, grids.WARP)
            labels = vector_labels.opened(pair.mask, pair.drawn, legend, grid, pair.first)
        elif path := pair.mask:
            reading = _open(path, lambda dataset: _look_at_mask(path, dataset, ground, legend))
        else:
            grids.check_same(ground, grids.WARP)
        return Opened(pair, images, reading, labels)
    except Refused as refusal:
        return refusal


def _on_first(images: dict[str, Image], resample: bool) -> tuple[dict[str, Image], dict[pathlib.Path, Grid]]:
    """The images as they lie on the grid of the first, and of each file the grid that it has then.

    Raises Refused for an image of other pixels that may not be brought onto that grid, or is of other ground.
    """
    (name, first), *others = images.items()
    brought, ground = {name: first}, {first.path: first.grid}
    size = first.grid.height, first.grid.width
    for name, image in others:
        if grids.same_size(image.grid, first.grid):
            brought[name], ground[image.path] = image, image.grid
            continue
        if found := grids.other_pixels(image.grid, first.grid, first.path.name):
            raise Refused(image.path, found)
        if not resample:
            raise Refused(image.path, grids.difference(image.grid, first.grid, first.path.name) + _RESAMPLE)
        brought[name] = dataclasses.replace(image, ground_sampling=first.ground_sampling)
        ground[image.path] = image.grid.resized(*size)
    return brought, ground


def _open(path: pathlib.Path, look: Callable):
    try:
        with raster_io.opened(path) as dataset:
            return look(dataset)
    except rasterio.errors.RasterioError as error:
        raise raster_io.unreadable(path, error) from error


def _look_at_image(path: pathlib.Path, dataset: rasterio.DatasetReader) -> Image:
    kinds = {dataset.dtypes[index - 1] for index in raster_io.image_bands(dataset)}
    dtype = "float32" if kinds == {"float64"} else ", ".join(sorted(kinds))
    if dtype not in DTYPES:
        raise Refused(path, f"dtype {dtype}; expected one of {', '.join((*DTYPES, 'float64'))}")
    raster_io.check_image(dataset, raster_io.strips(dataset))
    names = raster_io.band_names(dataset)
    packed = packing.stated(path, dataset, raster_io.image_bands(dataset))
    return Image(path, Grid.of(dataset), names, dtype, _metres_per_pixel(dataset), packed)


def _look_at_mask(
    path: pathlib.Path, dataset: rasterio.DatasetReader, ground: dict[pathlib.Path, Grid], legend: Legend
) -> masks.Reading:
    mask = masks.Mask(path, dataset)
    packing.conversion(path, packing.stated(path, dataset, dataset.indexes), (), "in a mask")
    grids.check_same(ground | {path: Grid.of(dataset)}, grids.WARP)
    if mask.coloured and (doubled := same_colour(legend)):
        raise Refused(
            path,
            f"a mask of colours, but {doubled[0].name} and {doubled[1].name} are both {doubled[0].colour} in the "
            "legend; expected a colour for each class",
        )
    return masks.check(mask, legend)


def _check_fits(image: Image, names: tuple[str, ...], dtype: str, most: str) -> None:
    """Raises Refused for an image that is not like most of them, as the phrase `most` calls them."""
    if len(image.names) != len(names):
        raise Refused(image.path, f"{len(image.names)} bands, expected {len(names)} {most}")
    if image.dtype != dtype:
        raise Refused(image.path, f"dtype {image.dtype}, expected {dtype} {most}")
    generic = [tuple(f"band{number}" for number in range(1, len(names) + 1))]
    if not same_bands(image.names, names) and image.names not in generic and names not in generic:
        raise Refused(image.path, f"bands {', '.join(image.names)}, expected {', '.join(names)} {most}")


def _packing(image: Image, names: tuple[str, ...]) -> packing.Packing:
    """What an image states of its bands, in the order of the sensor's."""
    return packing.in_order(image.packed, order(names, image.names))


def _commonest(values: list):
    """What occurs most often; of equals what comes first."""
    return collections.Counter(values).most_common(1)[0][0]


def _metres_per_pixel(dataset: rasterio.DatasetReader) -> float | None:
    """The mean edge of a pixel on the ground; None where the file does not lie on the Earth."""
    if (crs := raster_io.crs_of(dataset)) is None:
        return None
    try:
        return float(np.mean(geodesy.metres_per_pixel(crs, dataset.transform, *dataset.shape)))
    except ValueError:
        return None
