"""The nearest pixels of a raster, against what numpy picks."""

import numpy as np
import rasterio
from own import write

from data_pipelines.geo import geodesy, raster_io, resampling

PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(2, 0, 500_000, 0, -2, 5_000_000)}


def test_each_place_gets_the_pixel_that_it_lies_in_and_others_nothing(tmp_path):
    values = np.arange(2 * 30 * 40, dtype=np.int16).reshape(2, 30, 40)
    write(tmp_path / "a.tif", values, nodata=7, **PLACE)
    columns, rows = np.array([[-0.1, 0, 7.2, 39.9]]), np.array([[0.5], [29.99], [30]])
    with raster_io.opened(tmp_path / "a.tif") as dataset:
        x, y = np.broadcast_arrays(*geodesy.positions(dataset.transform, columns, rows))
        found, valid = resampling.at_places(dataset, (1, 2), x, y, 256)
    assert found.shape == (2, 3, 4) and found.dtype == np.int16
    assert valid.tolist() == [[False, True, False, True], [False, True, True, True], [False] * 4]  # 7 is no data
    assert found[1, 1].tolist() == [0, *values[1, 29, [0, 7, 39]].tolist()]
    assert not found[:, 2].any()


def test_nowhere_has_no_pixel(tmp_path):
    write(tmp_path / "a.tif", np.ones((1, 4, 4), np.uint8), **PLACE)
    with raster_io.opened(tmp_path / "a.tif") as dataset:
        nowhere = np.full((2, 3), np.nan)
        found, valid = resampling.at_places(dataset, (1,), nowhere, nowhere, 256)
    assert not found.any() and not valid.any()


def test_of_many_pixels_some_are_read(tmp_path):
    """Each answer lies within the step of its place."""
    values = np.arange(600 * 800, dtype=np.uint32).reshape(1, 600, 800)
    write(tmp_path / "a.tif", values, **PLACE)
    columns, rows = np.arange(4, 800, 8)[None] + 0.5, np.arange(4, 600, 8)[:, None] + 0.5
    with raster_io.opened(tmp_path / "a.tif") as dataset:
        x, y = np.broadcast_arrays(*geodesy.positions(dataset.transform, columns, rows))
        found, valid = resampling.at_places(dataset, (1,), x, y, 100)
    assert valid.all()
    row, column = np.divmod(found[0], 800)
    assert abs(row - rows).max() <= 6 and abs(column - columns).max() <= 6
