"""Rasters as if they had other pixels: views of them on another grid, bilinear, and of masks the nearest number.

For looking at, `at_places` reads the nearest pixels at places of any distance, from overviews.
"""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from data_pipelines.geo import geodesy, grids, raster_io, virtual
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.spec import Refused

_PIXELS = CRS.from_epsg(3857)  # any plane will do where only rows and columns count


def warped(dataset: rasterio.DatasetReader, grid: Grid) -> WarpedVRT:
    """A view of an open raster on another grid, wherever that lies. Both have a CRS."""
    return _bilinear(dataset, **_placed(grid))


def resampled(dataset: rasterio.DatasetReader, height: int, width: int) -> WarpedVRT:
    """A view of an open raster in so many rows and columns of the same ground, whether it tells its place or not."""
    return _bilinear(dataset, **_sized(dataset, height, width))


def nearest(
    dataset: rasterio.DatasetReader, grid: Grid, image: pathlib.Path
) -> contextlib.AbstractContextManager[rasterio.DatasetReader]:
    """A view of an open raster on the grid of an image: each pixel holds the number at its centre, and no other.

    A second band says with 0 where the raster holds nothing: beyond its edges. Where both have one grid, it is the
    raster itself, which has no second band.

    Args:
      dataset: of one band; its no-data value counts as any other number.
      grid: of the image.
      image: its file, for messages.

    Raises:
      Refused: one of the two lies nowhere, and their proportions differ.
    """
    own, path = Grid.of(dataset), pathlib.Path(dataset.name)
    if None in (raster_io.crs_of(dataset), grid.crs) or grid.transform.is_identity:
        if found := grids.other_pixels(own, grid, image.name):
            raise Refused(path, f"{found}; expected the same ground, for without a place it cannot be brought onto it")
        if grids.same_size(own, grid):
            return contextlib.nullcontext(dataset)
        place = _sized(dataset, grid.height, grid.width)
    elif grids.difference(own, grid, image.name):
        place = _placed(grid)
    else:
        return contextlib.nullcontext(dataset)
    view: WarpedVRT = WarpedVRT(
        dataset, resampling=Resampling.nearest, src_nodata=None, nodata=None, add_alpha=True, **place
    )
    return view


def _placed(grid: Grid) -> dict:
    return {"crs": grid.crs, "transform": grid.transform, "height": grid.height, "width": grid.width}


def _sized(dataset: rasterio.DatasetReader, height: int, width: int) -> dict:
    """So many rows and columns of the same ground, in a plane that is none of the Earth."""
    # Upside down, as rasters in a plane are: a plain count of pixels is no place to GDAL.
    step = Affine(dataset.width / width, 0, 0, 0, -dataset.height / height, dataset.height)
    own = {"src_crs": _PIXELS, "src_transform": Affine(1, 0, 0, 0, -1, dataset.height)}
    return own | {"crs": _PIXELS, "transform": step, "height": height, "width": width}


def _bilinear(dataset: rasterio.DatasetReader, **grid) -> WarpedVRT:
    no_alpha = len(raster_io.image_bands(dataset)) == dataset.count
    add_alpha = dataset.nodata is None and no_alpha
    view = virtual.within(
        dataset, lambda: WarpedVRT(dataset, resampling=Resampling.bilinear, add_alpha=add_alpha, **grid)
    )
    virtual.follow(view, dataset)
    return view


def at_places(
    dataset: Any, bands: Sequence[int], x: np.ndarray, y: np.ndarray, most: int, zero_is_nodata: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Reads the pixel of a raster at each place.

    Args:
      dataset: an open raster.
      bands: from 1.
      x, y: places (h, w) in its CRS; NaN for nowhere.
      most: pixels that are read along the shorter side, about: of more, every so many are enough (from overviews).
      zero_is_nodata: as of `raster_io.read_valid`.

    Returns:
      Values (bands, h, w), 0 outside of the raster, and whether each place has data, (h, w) bool.

    Raises:
      Refused: the file cannot be read to its end.
    """
    columns, rows = geodesy.positions(~dataset.transform, x, y)
    there = np.isfinite(columns) & np.isfinite(rows)
    columns, rows = (np.floor(np.where(there, one, -1)).astype(np.int64) for one in (columns, rows))
    there &= (columns >= 0) & (columns < dataset.width) & (rows >= 0) & (rows < dataset.height)
    kind = np.result_type(*(dataset.dtypes[band - 1] for band in bands))
    values, valid = np.zeros((len(bands), *there.shape), kind), np.zeros(there.shape, bool)
    if there.any():
        columns, rows = columns[there], rows[there]
        left, top = int(columns.min()), int(rows.min())
        size = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
        step = max(1, min(size) // most)
        shape = -(-size[1] // step), -(-size[0] // step)
        found, known = raster_io.read_valid(dataset, bands, Window(left, top, *size), zero_is_nodata, shape)
        at = (rows - top) * shape[0] // size[1], (columns - left) * shape[1] // size[0]
        values[:, there], valid[there] = found[:, *at], known[at]
    return values, valid
