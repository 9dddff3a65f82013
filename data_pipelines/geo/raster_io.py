"""The one reader of raster files: opens them, and says which bands are data, what they are called, which pixels count.

Every raster that comes from elsewhere goes through `opened`. Its rules, for images, masks, scenes and maps alike:

- Formats. What a file is, its first bytes tell, not its name: `data_pipelines.geo.formats`. No driver of GDAL that goes
  to the network or writes may open it, and nothing that is not a regular file is opened. The same holds for the files
  that GDAL finds beside it, and for the sources of a VRT, which lie in its folder or below it.
- Size. Pixels, bands and the largest strip or tile are held to `data_pipelines.schema.limits` before they are read.
- Bands. All but alpha are data (`image_bands`); an alpha band with values between none and full is refused, for it is
  most likely data (`check_image`). So are palettes, complex numbers and grey in which 0 is white.
- Pixels. `read_valid` tells which hold data.
- Place. `place_of` tells where a raster lies, if it does.
"""

import contextlib
import pathlib
import threading
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window

from data_pipelines.geo import formats
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import holds_data
from data_pipelines.schema.spec import Refused

_UNKNOWN = (ColorInterp.undefined, ColorInterp.palette)
_OPENING = threading.Lock()


@contextlib.contextmanager
def anywhere() -> Iterator[None]:
    """Opens files without a warning where they do not lie on the Earth.

    Filters of warnings are not of one thread: enter it before threads are started, not in them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def opened(path: pathlib.Path) -> rasterio.DatasetReader:
    """An open raster, to be closed, or used as a context; the rules are those of the module.

    Threads may call it: they open one file at a time, unless they were started within `anywhere`, and read together.

    Raises Refused, which names the file, for what GDAL cannot open, may not open, or what is too large.
    """
    drivers = formats.drivers_of(path)
    error: Exception | None = None
    for driver in drivers:
        try:
            with _quietly():
                # The whole path, lest a name be taken for something else: "HDF5:a.tif", "zip:..."
                dataset = rasterio.open(path.absolute(), driver=driver)
        except (rasterio.errors.RasterioError, rasterio.errors.CRSError, UnicodeDecodeError) as failed:
            error = error or failed
            continue
        try:
            _check_size(path, dataset)
            _check_overviews(path, dataset)
        except BaseException:
            dataset.close()
            raise
        return dataset
    raise unreadable(path, error) from error


def unreadable(path: pathlib.Path, error: BaseException | None) -> Refused:
    """What to say of a file that GDAL cannot open, or not read to its end."""
    reason = " ".join(str((error and error.__cause__) or error).split())
    return Refused(path, f"cannot be read ({reason}); damaged, truncated or no raster; copy it again")


def _quietly() -> contextlib.AbstractContextManager:
    """Without the warning of rasters that lie nowhere; in turn, unless it is off for the whole process."""
    off = ("ignore", None, rasterio.errors.NotGeoreferencedWarning, None, 0)
    return contextlib.nullcontext() if warnings.filters[:1] == [off] else _one_at_a_time()


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    with _OPENING, anywhere():
        yield


def _check_size(path: pathlib.Path, dataset: rasterio.DatasetReader) -> None:
    pixels, sizes = dataset.width * dataset.height, [np.dtype(kind).itemsize for kind in dataset.dtypes]
    together = dataset.count if dataset.interleaving == rasterio.enums.Interleaving.pixel else 1
    block = max(height * width * size for (height, width), size in zip(dataset.block_shapes, sizes, strict=True))
    block, size = block * together, pixels * sum(sizes)
    held = path.stat().st_size if dataset.driver != "VRT" else size
    for most, found, what in (
        (limits.MAX_BANDS, dataset.count, "bands"),
        (limits.MAX_PIXELS, pixels, f"pixels ({dataset.width:,} x {dataset.height:,})"),
        (limits.MAX_BLOCK_BYTES, block, "bytes in one strip or tile"),
        (max(limits.MAX_EXPANSION * held, limits.SMALL_BYTES), size, f"bytes of pixels in a file of {held:,} bytes"),
    ):
        if found > most:
            raise Refused(path, f"{found:,} {what}; expected at most {most:,}; cut it, or write it again in tiles")


def _check_overviews(path: pathlib.Path, dataset: rasterio.DatasetReader) -> None:
    """Smaller copies of the image may lie in another file, which the image names; GDAL opens it when it needs it."""
    if name := dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raise Refused(
            path, f"takes its overviews from {name[:80]!r}; expected them in the file or beside it; copy it anew"
        )


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
