"""What is not to be used of an image, such as clouds: a second mask, or polygons."""

import functools
import pathlib

import numpy as np
import rasterio
from rasterio.windows import Window

from data_pipelines.datasets.rasters import vector_labels
from data_pipelines.geo import burning, grids, raster_io, vectors
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.spec import Refused


def check(path: pathlib.Path, grid: Grid, image: pathlib.Path) -> None:
    """Raises Refused for a file that does not say which pixels of an image are not to be used."""
    if vectors.are_vectors(path):
        _placed(path, grid, image)
        return
    with raster_io.opened(path) as dataset:
        grids.check_same({image: grid, path: Grid.of(dataset)}, grids.WARP)
        bands = len(raster_io.image_bands(dataset))
        if bands != 1 or not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
            raise Refused(
                path,
                f"{bands} bands of {dataset.dtypes[0]}; expected one of whole numbers: 0 where the image may be used, "
                "another where it may not",
            )


def excluded(path: pathlib.Path, stamp: tuple[int, int], grid: Grid, image: pathlib.Path, window: Window) -> np.ndarray:
    """Which pixels of a window are not to be used, (h, w) bool: any number but 0 and nodata, or in a polygon."""
    if vectors.are_vectors(path):
        return burning.covered(_kept(path, stamp, grid, image), window)
    dataset = opened(path, stamp)
    try:
        values = dataset.read(raster_io.image_bands(dataset)[0], window=window)
    except rasterio.errors.RasterioError as error:
        raise raster_io.unreadable(path, error) from error
    nodata = 0 if dataset.nodata is None else dataset.nodata
    return np.asarray((values != 0) & (values != nodata))


def _placed(path: pathlib.Path, grid: Grid, image: pathlib.Path) -> vectors.Placed:
    return vectors.onto(vector_labels.read(path, vector_labels.Options(column="")), grid, image)


@functools.lru_cache(maxsize=2)  # from tile to tile
def _kept(path: pathlib.Path, stamp: tuple[int, int], grid: Grid, image: pathlib.Path) -> vectors.Placed:
    return _placed(path, grid, image)


@functools.lru_cache(maxsize=2)
def opened(path: pathlib.Path, stamp: tuple[int, int]) -> rasterio.DatasetReader:
    """An open mask, to be kept from tile to tile; the stamp changes with the file."""
    return raster_io.opened(path)
