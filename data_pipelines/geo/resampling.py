"""Rasters as if they had other pixels: views of them on another grid, bilinear, and of masks the nearest number."""

import contextlib
import pathlib

import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from data_pipelines.geo import grids, raster_io, virtual
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
