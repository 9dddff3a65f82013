"""Raster files as GDAL finds them: which bands are data, what they are called, which pixels are valid."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import holds_data

_UNKNOWN = (ColorInterp.undefined, ColorInterp.palette)


@contextlib.contextmanager
def anywhere() -> Iterator[None]:
    """Opens files without a warning where they do not lie on the Earth.

    Filters of warnings are not of one thread: enter it before threads are started, not in them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def colours_of(dataset: rasterio.DatasetReader) -> tuple[ColorInterp, ...]:
    """What each band is: red, alpha, palette, ..."""
    # After a failed read, of any file, rasterio raises GDAL's last error once more here, and then forgets it.
    with contextlib.suppress(Exception):
        return dataset.colorinterp
    return dataset.colorinterp


def image_bands(dataset: rasterio.DatasetReader) -> tuple[int, ...]:
    """The bands that hold data, from 1: all but alpha."""
    return tuple(
        index for index, what in zip(dataset.indexes, colours_of(dataset), strict=True) if what != ColorInterp.alpha
    )


def band_names(dataset: rasterio.DatasetReader) -> tuple[str, ...]:
    """A name for each of the `image_bands`.

    Their descriptions if all are there and differ; else their colours ("red", "gray", ...) if all are known and
    differ; else "band1", "band2", ...
    """
    indices = image_bands(dataset)
    described = [(dataset.descriptions[index - 1] or "").strip() for index in indices]
    if all(described) and len({name.casefold() for name in described}) == len(indices):
        return tuple(described)
    colours = [colours_of(dataset)[index - 1] for index in indices]
    if len(set(colours)) == len(indices) and not any(colour in _UNKNOWN for colour in colours):
        return tuple(colour.name for colour in colours)
    return tuple(f"band{number}" for number in range(1, len(indices) + 1))


def read_valid(
    dataset: rasterio.DatasetReader, indices: Sequence[int], window: Window, zero_is_nodata: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Raw values (bands, h, w), and where they are data (h, w) bool.

    A pixel is valid when no band is masked (no-data value, mask, alpha 0), NaN or infinite, and, with
    `zero_is_nodata`, not every band is 0. Raises InputError where the file cannot be read to its end.
    """
    try:
        masked = dataset.read(indices, window=window, masked=True)
    except rasterio.errors.RasterioIOError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise InputError(
            f"{dataset.name}: cannot be read to its end ({reason}); fetch or copy the file again"
        ) from error
    raw = masked.data
    return raw, ~np.ma.getmaskarray(masked).any(0) & holds_data(raw, zero_is_nodata, axis=0)
