"""The one reader of raster files: opens them, and says which bands are data, what they are called, which pixels count.

Every raster that comes from elsewhere goes through `opened`. Its rules, for images, masks, scenes and maps alike:

- Formats. What a file is, its first bytes tell, not its name: `data_pipelines.geo.formats`. No driver of GDAL that goes
  to the network or writes may open it, and nothing that is not a regular file is opened. The same holds for the files
  that GDAL finds beside it, and for the sources of a VRT, which lie in its folder or below it.
- Servers. An `Address` is read by parts, by this process and not by GDAL, and so is a VRT that names files on servers:
  `data_pipelines.geo.composites`. Only servers that the command line names are asked.
- Zarr stores are read through xarray: `data_pipelines.geo.cubes`.
- Size. Pixels, bands and the largest strip or tile are held to `data_pipelines.schema.limits` before they are read.
- Bands. All but alpha are data (`image_bands`); an alpha band with values between none and full is refused, for it is
  most likely data (`check_image`). So are palettes, complex numbers and grey in which 0 is white.
- Pixels. `read_valid` tells which hold data.
- Place. `crs_of` tells in what CRS a raster lies, if it lies anywhere; `check_place` refuses control points alone.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from data_pipelines.geo import composites, formats, quiet, virtual
from data_pipelines.geo.cubes import cube, store
from data_pipelines.remote.addresses import Address
from data_pipelines.schema import limits
from data_pipelines.schema.sensors import holds_data
from data_pipelines.schema.spec import Refused

_UNKNOWN = (ColorInterp.undefined, ColorInterp.palette)
anywhere, unreadable = quiet.anywhere, formats.unreadable


def opened(path: pathlib.Path) -> rasterio.DatasetReader:
    """An open raster, to be closed, or used as a context; the rules are those of the module.

    Threads may call it: they open one file at a time, unless they were started within `anywhere`, and read together.

    Raises Refused, which names the file, for what GDAL cannot open, may not open, or what is too large.
    """
    if store.root_of(path):
        return _opened_virtually(path, cube.opened)
    if isinstance(path, Address) or ((drivers := formats.drivers_of(path)) == ("VRT",) and formats.names_servers(path)):
        return _opened_virtually(path, lambda of: composites.opened(of, _check_size))
    error: Exception | None = None
    for driver in drivers:
        try:
            with quiet.quietly():
                # The whole path, lest a name be taken for something else: "HDF5:a.tif", "zip:..."
                dataset = rasterio.open(path.absolute(), driver=driver)
        except (rasterio.errors.RasterioError, rasterio.errors.CRSError, UnicodeDecodeError) as failed:
            error = error or failed
            continue
        try:
            _check_size(path, dataset)
            _check_others(path, dataset)
        except BaseException:
            dataset.close()
            raise
        return dataset
    raise unreadable(path, error) from error


def _opened_virtually(
    path: pathlib.Path, how: Callable[[pathlib.Path], rasterio.DatasetReader]
) -> rasterio.DatasetReader:
    try:
        dataset = how(path)
    except (rasterio.errors.RasterioError, rasterio.errors.CRSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    try:
        _check_size(path, dataset)
    except BaseException:
        dataset.close()
        raise
    return dataset


def _check_size(path: pathlib.Path, dataset: rasterio.DatasetReader) -> None:
    pixels = dataset.width * dataset.height
    sizes = [4 if kind == "complex_int16" else np.dtype(kind).itemsize for kind in dataset.dtypes]
    together = dataset.count if dataset.interleaving == rasterio.enums.Interleaving.pixel else 1
    block = max(height * width * size for (height, width), size in zip(dataset.block_shapes, sizes, strict=True))
    block, size = block * together, pixels * sum(sizes)
    # The pixels of an ERDAS Imagine file may lie in another one beside it, and those of a VRT do.
    files = map(pathlib.Path, dataset.files) if dataset.driver == "HFA" else [path]
    held = size if dataset.driver == "VRT" else virtual.length(dataset)
    held = sum(formats.check_regular(file).st_size for file in files) if held is None else held
    for most, found, what in (
        (limits.MAX_BANDS, dataset.count, "bands"),
        (limits.MAX_PIXELS, pixels, f"pixels ({dataset.width:,} x {dataset.height:,})"),
        (limits.MAX_BLOCK_BYTES, block, "bytes in one strip or tile"),
        (max(limits.MAX_EXPANSION * held, limits.SMALL_BYTES), size, f"bytes of pixels in a file of {held:,} bytes"),
    ):
        if found > most:
            raise Refused(path, f"{found:,} {what}; expected at most {most:,}; cut it, or write it again in tiles")


def _check_others(path: pathlib.Path, dataset: rasterio.DatasetReader) -> None:
    """Looks at the files that GDAL will open for this one, when it needs them: the same rules hold for each."""
    # An image may name the file that its smaller copies are in.
    if name := dataset.tags(ns="OVERVIEWS").get("OVERVIEW_FILE"):
        raise Refused(path, f"takes its overviews from {name[:80]!r}; expected them in it or beside it; copy it anew")
    if dataset.driver == "HFA":  # it may name the files that its pixels and overviews are in
        for other in map(pathlib.Path, dataset.files):
            formats.check_regular(other)
            if other.resolve().parent not in (path.resolve().parent, path.absolute().parent):
                raise Refused(path, f"takes pixels from {str(other)[:80]!r}; expected files beside it; copy it anew")
    for other in formats.drawn_in(path):
        about = formats.check_regular(other)
        _check_other(other, about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=100_000)
def _check_other(path: pathlib.Path, size: int, mtime_ns: int) -> None:
    del size, mtime_ns  # they change with the file
    opened(path).close()


def colours_of(dataset: rasterio.DatasetReader) -> tuple[ColorInterp, ...]:
    """What each band is: red, alpha, palette, ..."""
    # After a failed read, of any file, rasterio raises GDAL's last error once more here, and then forgets it.
    with contextlib.suppress(Exception):
        return dataset.colorinterp
    return dataset.colorinterp


def check_here(dataset: rasterio.DatasetReader) -> None:
    """Raises Refused for a mask on servers, or in a Zarr store: it is read without a look at what failed."""
    if virtual.is_virtual(dataset):
        path = virtual.path_of(dataset)
        if store.root_of(path):
            raise Refused(path, "a mask in a Zarr store; expected a file: write it, e.g. with `rio.to_raster`")
        raise Refused(
            path,
            "a mask that names files on servers; expected files of this machine: copy it, e.g. with `gdal_translate "
            f"{path.name} mask.tif`",
        )


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


def _expanded(dataset: rasterio.DatasetReader) -> str:
    """What the palette of a raster makes of it: "gray" or "rgb"."""
    palettes = [index for index, what in enumerate(colours_of(dataset), 1) if what == ColorInterp.palette]
    colours = [colour[:3] for index in palettes for colour in dataset.colormap(index).values()]
    return "rgb" if any(len(set(colour)) > 1 for colour in colours) else "gray"


def check_image(dataset: rasterio.DatasetReader, windows: Iterable[Window]) -> None:
    """Raises Refused where the numbers of an image are no intensities, or where a band of data would be lost as alpha.

    Args:
      dataset: an open image.
      windows: the parts in which alpha bands are looked at: `strips` of all of it, or samples.
    """
    virtual.within(dataset, _check_image, dataset, windows)


def _check_image(dataset: rasterio.DatasetReader, windows: Iterable[Window]) -> None:
    path = virtual.path_of(dataset)
    for found, wrong, then in (
        (
            "a palette image, whose numbers are no intensities",
            ColorInterp.palette in colours_of(dataset),
            f"expand it with `gdal_translate -expand {_expanded(dataset)}`",
        ),
        (
            "grey in which 0 is white (MinIsWhite)",
            dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES",
            "turn its numbers over, e.g. with `rio calc '(- 255 (read 1))'`",
        ),
        (
            "complex numbers",
            any(kind.startswith("complex") for kind in dataset.dtypes),
            "write amplitude, or intensity, as a band",
        ),
    ):
        if wrong:
            raise Refused(path, f"{found}; expected bands of intensities; {then}")
    alphas = sorted(set(dataset.indexes) - set(image_bands(dataset)))
    if not alphas:
        return
    for window in windows:
        for index in alphas:
            kind = np.dtype(dataset.dtypes[index - 1])
            full = np.iinfo(kind).max if kind.kind in "iu" else 1
            if not np.isin(_read(dataset, index, window), (0, 255, full)).all():
                raise Refused(
                    path,
                    f"band {index} is declared alpha but holds values between 0 and {full}; expected a mask; GDAL "
                    "marks a 4th 8-bit band as alpha by default: if it is data, say so with "
                    f"`rio edit-info --colorinterp {index}=undefined {path.name}`",
                )


def strips(dataset: rasterio.DatasetReader, part: Window | None = None, rows: int = 512) -> Iterator[Window]:
    """All of a raster, or a part of it, some rows at a time."""
    return parts(part or Window(0, 0, dataset.width, dataset.height), rows)


def parts(whole: Window, rows: int = 512) -> Iterator[Window]:
    """A window, some rows at a time."""
    for top in range(0, whole.height, rows):
        yield Window(whole.col_off, whole.row_off + top, whole.width, min(rows, whole.height - top))


def read_valid(
    dataset: rasterio.DatasetReader,
    indices: Sequence[int],
    window: Window,
    zero_is_nodata: bool,
    shape: tuple[int, int] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Raw values (bands, h, w), and where they are data (h, w) bool.

    With `shape` every so many pixels of the window are read, for a picture of this height and width.

    A pixel holds no data where a mask of the file (in it, or a .msk beside it) or an alpha band is 0; where one of the
    bands that are read is NaN, infinite, or the no-data value that the file declares for it, other than 0; and where
    all of these bands are 0, if the file declares 0 for one of them, or with `zero_is_nodata`. 0 in some of the bands
    alone is a number: of a band that sees nothing there, or of the height of flat ground.

    Raises Refused where the file cannot be read to its end.
    """
    return virtual.within(dataset, _read_valid, dataset, indices, window, zero_is_nodata, shape)


def _read_valid(
    dataset: rasterio.DatasetReader,
    indices: Sequence[int],
    window: Window,
    zero_is_nodata: bool,
    shape: tuple[int, int] | None,
) -> tuple[np.ndarray, np.ndarray]:
    raw = _read(dataset, list(indices), window, shape)
    declared = [dataset.nodatavals[index - 1] for index in indices]
    valid = holds_data(raw, zero_is_nodata or 0 in declared, axis=0)
    for band, nodata in zip(raw, declared, strict=True):
        if nodata:
            valid &= ~_is(band, nodata)
    flags = {flag for index in indices for flag in dataset.mask_flag_enums[index - 1]}
    alphas = set(dataset.indexes) - set(image_bands(dataset)) - set(indices)
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        valid &= _read(dataset, indices[0], window, shape, masks=True) != 0
    for index in alphas:
        valid &= _read(dataset, index, window, shape) != 0
    return raw, valid


def read_raw(dataset: rasterio.DatasetReader, window: Window) -> np.ndarray:
    """All bands of a window as they are stored, (bands, h, w). Raises Refused where they cannot be read to the end."""
    return _read(dataset, list(dataset.indexes), window)


def _is(band: np.ndarray, nodata: float) -> np.ndarray:
    """Where a band holds this value, as near as its numbers can hold it (as GDAL: to two steps of float32)."""
    if band.dtype != np.float32 or not np.isfinite(nodata):
        return band == nodata
    value = np.clip(nodata, np.finfo(np.float32).min, np.finfo(np.float32).max).astype(np.float32)
    step = np.abs(value - np.nextafter(value, np.float32(0)))
    with np.errstate(over="ignore"):
        return np.abs(band - value) <= 2 * step


def _read(
    dataset: rasterio.DatasetReader,
    indices: int | list[int],
    window: Window,
    shape: tuple[int, int] | None = None,
    masks: bool = False,
) -> np.ndarray:
    bands = (len(indices),) if isinstance(indices, list) else ()
    try:
        return (dataset.read_masks if masks else dataset.read)(
            indices, window=window, out_shape=shape and (*bands, *shape)
        )
    except rasterio.errors.RasterioError as error:
        raise unreadable(virtual.path_of(dataset), error) from error


def crs_of(dataset: rasterio.DatasetReader) -> CRS | None:
    """The CRS in which a raster lies; None where it lies nowhere: it has no CRS, or no transform but the identity.

    The identity is what GDAL gives a file that lacks a transform. It would make each pixel a metre, or a degree.
    """
    return dataset.crs if dataset.crs and not dataset.transform.is_identity else None


def check_place(dataset: rasterio.DatasetReader) -> None:
    """Raises Refused for a raster that is placed by ground control points or RPCs alone.

    What is made of it pixel by pixel would lie nowhere, although the file says where it lies.
    """
    path = virtual.path_of(dataset)
    for how, has, option in (
        ("ground control points", dataset.gcps[0], "-tps"),
        ("rational polynomial coefficients (RPCs)", dataset.rpcs, "-rpc"),
    ):
        if has and dataset.transform.is_identity:
            raise Refused(
                path,
                f"placed by {how} alone; expected a transform from pixels to coordinates; warp it first, e.g. with "
                f"`gdalwarp {option} -t_srs EPSG:4326 {path.name} warped.tif`",
            )
