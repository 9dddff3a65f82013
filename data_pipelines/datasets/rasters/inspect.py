"""What the images of a CSV have in common: every file is opened once, and those that do not fit are refused."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import rasterio

from data_pipelines.datasets.rasters import masks, vectors
from data_pipelines.datasets.rasters.sensor import DTYPES, sensor_of
from data_pipelines.datasets.rasters.tables import Block, Pair, same_colour
from data_pipelines.geo import geodesy, grids, packing, raster_io
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Refused


@dataclasses.dataclass(frozen=True)
class Image:
    """One pair of files that can be opened."""

    pair: Pair
    grid: Grid
    names: tuple[str, ...]  # of the bands, in file order
    dtype: str
    ground_sampling: float | None  # metres per pixel, where the file tells
    packed: packing.Packing  # what the file states of the bands, in file order
    mask: masks.Reading

    @property
    def block(self) -> Block:
        """The part of it that is used: all of it where its row names none."""
        return self.pair.block or Block(0, 0, self.grid.width, self.grid.height)

    @property
    def format(self) -> tuple[int, str]:
        """Number of bands, and dtype."""
        return len(self.names), self.dtype


def inspect(pairs: Sequence[Pair], legend: Legend, csv: pathlib.Path) -> tuple[Sensor, list[Image | Refused]]:
    """The sensor that the images are of, and for each pair its image, or why it is refused.

    Bands, dtype, scale and offset are those of most images. The sensor's scaling is not known yet. Raises InputError
    where no image at all can be used.
    """
    with raster_io.anywhere(), concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        files = {(pair.image, pair.mask): pair for pair in pairs}  # parts of an image are of the same files
        looked = dict(zip(files, pool.map(lambda pair: _look(pair, legend), files.values()), strict=True))
    found = [_of_pair(pair, looked[pair.image, pair.mask], csv.name) for pair in pairs]
    images = [image for image in found if isinstance(image, Image)]
    if not images:
        first = next(refusal for refusal in found if isinstance(refusal, Refused))
        raise InputError(
            f"{csv}: none of its {len(found)} pairs can be used (the first: {first.file}: {first.reason}); put the "
            "files right, or the paths, which are relative to the CSV"
        )
    _check_255([image.mask.pixels for image in images], legend, csv)
    count, dtype = _commonest([image.format for image in images])
    names = _commonest([image.names for image in images if image.format == (count, dtype)])
    fitting = [_fits(image, names, dtype, csv.name) if isinstance(image, Image) else image for image in found]
    packed = _commonest([_packing(image, names) for image in fitting if isinstance(image, Image)])
    fitting = [_is_comparable(image, names, packed) if isinstance(image, Image) else image for image in fitting]
    ground_sampling = [image.ground_sampling for image in fitting if isinstance(image, Image)]
    return sensor_of(names, dtype, ground_sampling, packing=packed), fitting


def _of_pair(pair: Pair, found: Image | Refused, csv: str) -> Image | Refused:
    """What was found of the files of a row. Refused where the row is of a part that its image does not have.

    Of a file that is not there also the line of the CSV is told that names it.
    """
    if isinstance(found, Refused):
        there = os.path.lexists(found.file)
        return found if there else Refused(found.file, f"{found.reason} (line {pair.line} of {csv})")
    image, block = dataclasses.replace(found, pair=pair), pair.block
    width, height = image.grid.width, image.grid.height
    if block and (block.left + block.width > width or block.top + block.height > height):
        return Refused(
            pair.image,
            f"{width} x {height} pixels; expected at least {block.left + block.width} x {block.top + block.height}, "
            "where the part that its row names ends",
        )
    return image


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


def _look(pair: Pair, legend: Legend) -> Image | Refused:
    try:
        if vectors.are_vectors(pair.mask):
            told = vectors.how_to_rasterise(pair.mask, pair.image)
            raise Refused(pair.mask, f"vectors; expected a raster of ids or colours; {told}")
        image = _open(pair.image, lambda dataset: _look_at_image(pair, dataset))
        reading = _open(pair.mask, lambda dataset: _look_at_mask(pair, dataset, image, legend))
        return dataclasses.replace(image, mask=reading)
    except Refused as refusal:
        return refusal


def _open(path: pathlib.Path, look: Callable):
    try:
        with raster_io.opened(path) as dataset:
            return look(dataset)
    except rasterio.errors.RasterioError as error:
        raise raster_io.unreadable(path, error) from error


def _look_at_image(pair: Pair, dataset: rasterio.DatasetReader) -> Image:
    kinds = {dataset.dtypes[index - 1] for index in raster_io.image_bands(dataset)}
    dtype = "float32" if kinds == {"float64"} else ", ".join(sorted(kinds))
    if dtype not in DTYPES:
        raise Refused(pair.image, f"dtype {dtype}; expected one of {', '.join((*DTYPES, 'float64'))}")
    raster_io.check_image(dataset, raster_io.strips(dataset))
    names = raster_io.band_names(dataset)
    packed = packing.stated(pair.image, dataset, raster_io.image_bands(dataset))
    return Image(pair, Grid.of(dataset), names, dtype, _metres_per_pixel(dataset), packed, masks.UNREAD)


def _look_at_mask(pair: Pair, dataset: rasterio.DatasetReader, image: Image, legend: Legend) -> masks.Reading:
    mask = masks.Mask(pair.mask, dataset)
    packing.conversion(pair.mask, packing.stated(pair.mask, dataset, dataset.indexes), (), "in a mask")
    grids.check_same({pair.image: image.grid, pair.mask: Grid.of(dataset)}, grids.WARP)
    if mask.coloured and (doubled := same_colour(legend)):
        raise Refused(
            pair.mask,
            f"a mask of colours, but {doubled[0].name} and {doubled[1].name} are both {doubled[0].colour} in the "
            "legend; expected a colour for each class",
        )
    return masks.check(mask, legend)


def _fits(image: Image, names: tuple[str, ...], dtype: str, csv: str) -> Image | Refused:
    """The image, or why it is not like most of them."""
    most = f"as most images of {csv}"
    if len(image.names) != len(names):
        return Refused(image.pair.image, f"{len(image.names)} bands, expected {len(names)} {most}")
    if image.dtype != dtype:
        return Refused(image.pair.image, f"dtype {image.dtype}, expected {dtype} {most}")
    generic = [tuple(f"band{number}" for number in range(1, len(names) + 1))]
    if not same_bands(image.names, names) and image.names not in generic and names not in generic:
        return Refused(image.pair.image, f"bands {', '.join(image.names)}, expected {', '.join(names)} {most}")
    return image


def _packing(image: Image, names: tuple[str, ...]) -> packing.Packing:
    """What an image states of its bands, in the order of the sensor's."""
    return packing.in_order(image.packed, order(names, image.names))


def _is_comparable(image: Image, names: tuple[str, ...], packed: packing.Packing) -> Image | Refused:
    """The image, or why its numbers cannot be compared with those of most of them."""
    try:
        packing.conversion(image.pair.image, _packing(image, names), packed)
    except Refused as refusal:
        return refusal
    return image


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
