"""Rasters as if they had other pixels: views of them on another grid, always bilinear."""

import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from data_pipelines.geo import raster_io, virtual
from data_pipelines.geo.grids import Grid

_PIXELS = CRS.from_epsg(3857)  # any plane will do where only rows and columns count


def warped(dataset: rasterio.DatasetReader, grid: Grid) -> WarpedVRT:
    """A view of an open raster on another grid, wherever that lies. Both have a CRS."""
    return _view(dataset, crs=grid.crs, transform=grid.transform, height=grid.height, width=grid.width)


def resampled(dataset: rasterio.DatasetReader, height: int, width: int) -> WarpedVRT:
    """A view of an open raster in so many rows and columns of the same ground, whether it tells its place or not."""
    # Upside down, as rasters in a plane are: a plain count of pixels is no place to GDAL.
    step = Affine(dataset.width / width, 0, 0, 0, -dataset.height / height, dataset.height)
    return _view(
        dataset,
        src_crs=_PIXELS,
        src_transform=Affine(1, 0, 0, 0, -1, dataset.height),
        crs=_PIXELS,
        transform=step,
        height=height,
        width=width,
    )


def _view(dataset: rasterio.DatasetReader, **grid) -> WarpedVRT:
    no_alpha = len(raster_io.image_bands(dataset)) == dataset.count
    add_alpha = dataset.nodata is None and no_alpha
    view = virtual.within(
        dataset, lambda: WarpedVRT(dataset, resampling=Resampling.bilinear, add_alpha=add_alpha, **grid)
    )
    virtual.follow(view, dataset)
    return view
