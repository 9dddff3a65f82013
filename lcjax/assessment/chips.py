"""Pictures of the surroundings of each point, cut from images: near and far, with the pixel of the map marked."""

import contextlib
import dataclasses
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import geodesy, raster_io, resampling
from data_pipelines.geo.geodesy import CRS, Affine
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

_SIDE = 480  # pixels of a picture
_GAP = 8  # between pictures
_SPANS = (15, 75)  # pixels of the map across: near, and far
_SAMPLE_GRID, _SAMPLE_SIZE = 5, 128  # the stretch comes from 5 x 5 windows of 128 x 128 pixels
_TRUE_COLOUR = (("red", "green", "blue"), ("b4", "b3", "b2"), ("b04", "b03", "b02"))
_NO_DATA = (235, 235, 240)


@dataclasses.dataclass(frozen=True)
class Image:
    """An open image.

    Attributes:
      path: of the file.
      dataset: of the file.
      crs: it lies in.
      bands: three that are shown as red, green and blue.
      low, high: (3,) what is shown black and white.
    """

    path: pathlib.Path
    dataset: Any
    crs: CRS
    bands: tuple[int, int, int]
    low: np.ndarray
    high: np.ndarray

    def shows(self, crs: CRS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether points of a CRS lie in the image, (n,) bool."""
        columns, rows = geodesy.positions(~self.dataset.transform, *geodesy.transformed(crs, self.crs, x, y))
        return (columns >= 0) & (columns < self.dataset.width) & (rows >= 0) & (rows < self.dataset.height)


@contextlib.contextmanager
def opened(files: Sequence[pathlib.Path], bands: Sequence[str]) -> Iterator[list[Image]]:
    """Opens images for the time of the context.

    Args:
      files: of the images.
      bands: names of the one or three bands that are shown; () for true colour where the names tell it, else the first
        three.

    Raises:
      InputError: an image cannot be read, lies nowhere, or has no such bands.
    """
    with contextlib.ExitStack() as stack:
        yield [_image(path, bands, stack) for path in files]


def _image(path: pathlib.Path, bands: Sequence[str], stack: contextlib.ExitStack) -> Image:
    if not path.is_file():
        raise InputError(f"--scene={path}: {'a folder' if path.is_dir() else 'no such file'}; expected an image")
    try:
        dataset = stack.enter_context(raster_io.opened(path))
        raster_io.check_place(dataset)
        raster_io.check_image(dataset, ())
    except Refused as refusal:
        raise InputError(f"--scene={path}: {refusal.reason}") from refusal
    crs = raster_io.crs_of(dataset)
    if crs is None:
        raise InputError(f"--scene={path}: has no place (CRS and transform); expected an image of the map's ground")
    indices = _bands(path, dataset, bands)
    parts = []
    for top in np.linspace(0, max(0, dataset.height - _SAMPLE_SIZE), _SAMPLE_GRID).astype(int):
        for left in np.linspace(0, max(0, dataset.width - _SAMPLE_SIZE), _SAMPLE_GRID).astype(int):
            size = min(_SAMPLE_SIZE, dataset.width), min(_SAMPLE_SIZE, dataset.height)
            raw, valid = _read(path, dataset, indices, raster_io.Window(int(left), int(top), *size))
            parts.append(raw[:, valid])
    values = np.concatenate(parts, axis=1).astype(np.float64)
    if not values.size:
        raise InputError(f"--scene={path}: no pixel with data in {len(parts)} windows over it; expected an image")
    low, high = np.percentile(values, (2, 98), axis=1)
    return Image(path, dataset, crs, indices, low, np.maximum(high, low + 1e-9))


def _bands(path: pathlib.Path, dataset: Any, wanted: Sequence[str]) -> tuple[int, int, int]:
    indices, names = raster_io.image_bands(dataset), [name.lower() for name in raster_io.band_names(dataset)]
    known = [one for one in _TRUE_COLOUR if set(one) <= set(names)]
    chosen = [name.lower() for name in wanted] or (known[0] if known else names[:3] if len(names) > 2 else names[:1])
    if len(chosen) not in (1, 3) or not set(chosen) <= set(names):
        raise InputError(
            f"--bands={','.join(wanted)}: expected one band of {path}, or three for red, green and blue, of: "
            f"{', '.join(names)[:300]}"
        )
    red, green, blue = (indices[names.index(name)] for name in (chosen if len(chosen) == 3 else chosen[:1] * 3))
    return red, green, blue


def chip(images: Sequence[Image], crs: CRS, transform: Affine, row: int, column: int) -> bytes:
    """Draws the chip of one pixel of a map: a row for each image, near and far.

    Args:
      images: that show the ground.
      crs: of the map.
      transform: of the map.
      row, column: of the pixel.

    Returns:
      A PNG.
    """
    rows = [
        np.concatenate(_spaced([_picture(one, crs, transform, row, column, span) for span in _SPANS], 1), axis=1)
        for one in images
    ]
    return _png(np.concatenate(_spaced(rows, 0), axis=0))


def _picture(image: Image, crs: CRS, transform: Affine, row: int, column: int, span: int) -> np.ndarray:
    """Draws the ground around a pixel as the map's grid has it, (side, side, 3) uint8: nearest pixels of the image."""
    steps = (np.arange(_SIDE) + 0.5) / _SIDE * span - span / 2
    x, y = geodesy.positions(transform, column + 0.5 + steps[None, :], row + 0.5 + steps[:, None])
    if crs != image.crs:
        x, y = geodesy.transformed(crs, image.crs, x, y)
    try:
        raw, valid = resampling.at_places(image.dataset, image.bands, x, y, 2 * _SIDE, zero_is_nodata=True)
    except Refused as refusal:
        raise InputError(f"--scene={image.path}: {refusal.reason}") from refusal
    grey = (np.moveaxis(raw, 0, -1).astype(np.float64) - image.low) / (image.high - image.low)
    shown = np.where(valid[..., None], np.rint(255 * np.nan_to_num(grey).clip(0, 1) ** 0.8), _NO_DATA)
    drawn = shown.astype(np.uint8)
    half = _SIDE / span / 2
    _mark(drawn, int(_SIDE / 2 - half), int(np.ceil(_SIDE / 2 + half)))
    return drawn


def _mark(drawn: np.ndarray, first: int, end: int) -> None:
    """Draws a frame around the rows and columns from `first` up to `end`: yellow, with black on both sides."""
    for inset, colour in ((-4, (0, 0, 0)), (-3, (255, 220, 0)), (-2, (255, 220, 0)), (-1, (0, 0, 0))):
        low, high = first + inset, end - 1 - inset
        for line in (low, high):
            drawn[line, low : high + 1] = drawn[low : high + 1, line] = colour


def _spaced(pictures: list[np.ndarray], axis: int) -> list[np.ndarray]:
    """Puts white space between pictures."""
    shape = list(pictures[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    return [part for picture in pictures for part in (gap, picture)][1:]


def _read(path: pathlib.Path, dataset: Any, bands: Sequence[int], window: Any) -> tuple[np.ndarray, np.ndarray]:
    try:
        return raster_io.read_valid(dataset, bands, window, True)
    except Refused as refusal:
        raise InputError(f"--scene={path}: {refusal.reason}") from refusal


def _png(picture: np.ndarray) -> bytes:
    from matplotlib import image

    stream = io.BytesIO()
    image.imsave(stream, picture, format="png")
    return stream.getvalue()
