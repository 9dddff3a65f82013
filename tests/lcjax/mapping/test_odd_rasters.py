"""Rasters as other projects keep them for their tests: each is read as GDAL reads it, or refused in one line, and
`prepare` and `predict` agree on it."""

import os
import pathlib

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from data_pipelines.datasets.rasters import inspect
from data_pipelines.datasets.rasters.sensor import sensor_of
from data_pipelines.datasets.rasters.tables import Pair
from data_pipelines.geo import raster_io
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend
from lcjax.mapping import scene as scenes
from lcjax.runs.model_card import Card

REAL = os.environ.get("LCJAX_REAL_DATA", "")
LEGEND = Legend("x", (LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff")))
PALETTE, SMALL, EMPTY = "a palette image", "expected at least 16 x 16", "no valid pixel in 36 windows"
ODD = "geotiff__austrian_capitals_model_tie_point"
# The file, what `prepare` answers to it as an image, and `predict` as a scene: bands that are read, or why not.
TABLE = {
    "crop-mask__410band_17x17.tif": (410, 410),
    "data__cog.tif": (4, 4),
    f"{ODD}_and_pixel_scale_pixel_is_point.tif": (PALETTE, PALETTE),
    f"{ODD}s_pixel_is_area.tif": (PALETTE, "placed by ground control points alone"),
    "image-tiff__int16_zstd.tif": (1, 1),
    "image-tiff__miniswhite-1c-1b.tiff": (PALETTE, PALETTE),
    "image-tiff__planar-rgb-u8.tif": (3, 3),
    "image-tiff__usda_naip_256_webp_z3.tif": (3, 3),
    "odc-geo__au-3577-rotated.tif": (1, 1),
    "rasterio__RGBA.uint16.tif": (3, 3),
    "rasterio__cogeo.tif": (3, 3),
    "rasterio__float_nan.tif": (1, SMALL),
    "rasterio__goes.tif": (3, 3),
    "rasterio__rotated.tif": (1, SMALL),
    "rio-cogeo__image_51px.tif": (3, 3),
    "rio-cogeo__image_webp.tif": (3, 3),
    "rio-tiler__201404_13SED190110_201404_0x1500m_CL_1_extmask.tif": (3, 3),
    "rio-tiler__cog_dateline.tif": (1, 1),
    "rio-tiler__cog_scale_epsg4326.tif": (2, 2),
    "rio-tiler__inverted_lat.tif": (1, EMPTY),
    "rio-tiler__rgb.tif": (3, 3),
    "rio-toa__tiny_LC81390452014295LGN00_B5.TIF": (1, 1),
    "rioxarray__2d_test.tif": (1, SMALL),
    "rioxarray__test_rpcs.tif": (1, "placed by rational polynomial coefficients (RPCs) alone"),
    "stars__lc.tif": (PALETTE, PALETTE),
    "titiler__dem.tif": (1, 1),
}


def as_gdal(path: pathlib.Path, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """The first bands, and where the file's own masks let all of them be: GDAL's, but where 0 is declared."""
    with raster_io.anywhere(), rasterio.open(path) as dataset:
        indices = list(range(1, bands + 1))
        raw, masks = dataset.read(indices), dataset.read_masks(indices) != 0
        valid = masks.any(0) if dataset.nodata == 0 else masks.all(0)
        return raw, valid & np.isfinite(raw).all(0)


def prepared(path: pathlib.Path, folder: pathlib.Path):
    """The sensor that `prepare` sees in one image with a mask of its grid."""
    with raster_io.anywhere(), rasterio.open(path) as dataset:
        ids = 1 + np.arange(dataset.height * dataset.width).reshape(1, *dataset.shape) % 2
        place = {"crs": dataset.crs, "transform": dataset.transform}
        profile = {"driver": "GTiff", "count": 1, "height": dataset.height, "width": dataset.width, "dtype": "uint8"}
        with rasterio.open(folder / "mask.tif", "w", **profile, **place) as file:
            file.write(ids.astype(np.uint8))
    pairs = [Pair("x", {"image": path}, folder / "mask.tif", "train", "")]
    return inspect.inspect(pairs, LEGEND, pathlib.Path("t.csv"))[0][0]


def check(path: pathlib.Path, folder: pathlib.Path, image: int | str, scene: int | str) -> None:
    """What `prepare` and `predict` make of a file; numbers and valid pixels against GDAL."""
    if isinstance(image, int):
        sensor = prepared(path, folder)
        assert len(sensor.bands) == image
        raw, expected = as_gdal(path, image)
        with raster_io.opened(path) as dataset:
            whole = Window(0, 0, dataset.width, dataset.height)
            found, valid = raster_io.read_valid(dataset, raster_io.image_bands(dataset), whole, False)
        np.testing.assert_array_equal(found, raw)
        np.testing.assert_array_equal(valid, expected)
    else:
        with pytest.raises(InputError) as caught:
            prepared(path, folder)
        assert path.name in str(caught.value) and image in str(caught.value)
        with raster_io.opened(path) as dataset:
            sensor = sensor_of(raster_io.band_names(dataset), "float32")
    card = Card("fake", "image", (sensor,), LEGEND, 32, "x", {}, {})
    if isinstance(scene, str):
        with pytest.raises(InputError) as caught, scenes.open_scene(card, {"image": path}):
            pass
        assert str(caught.value).startswith(str(path)) and scene in str(caught.value)
        return
    with scenes.open_scene(card, {"image": path}) as opened:
        stored, valid = opened.read(0, opened.grid.height)
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(stored["image"][valid], np.moveaxis(raw, 0, -1)[valid].astype(sensor.dtype))


@pytest.mark.skipif(not REAL, reason="LCJAX_REAL_DATA names no folder of real imagery")
@pytest.mark.parametrize("name", TABLE)
def test_a_file_of_others_is_read_as_gdal_reads_it_or_refused(tmp_path, name):
    check(pathlib.Path(REAL, "odd_rasters", name), tmp_path, *TABLE[name])


def world(dtype="uint8", bands=3) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 120, (bands, 32, 48)).astype(dtype)


TURNED = rasterio.Affine(20, 5, 500_000, 8, -20, 5_000_000)
KINDS = {  # how the file is written, its numbers, what is expected of image and scene
    "planar": ({"interleave": "band", "crs": None, "transform": None}, world(), 3, 3),
    "turned": ({"transform": TURNED}, world("float64"), 3, 3),
    "south up": ({"transform": rasterio.Affine(10, 0, 500_000, 0, 10, 5_000_000), "nodata": 7}, world("int16"), 3, 3),
    "int8": ({"nodata": -3}, world("int8") - np.int8(60), 3, 3),
    "BGRA": ({"photometric": "RGB", "alpha": "YES", "colours": "blue green red alpha"}, world("uint16", 4), 3, 3),
    "big endian": ({"ENDIANNESS": "BIG"}, world("float64", 4), 4, 4),
    "zstd": ({"compress": "zstd"}, world("int16", 1), 1, 1),
    "webp": ({"compress": "webp", "tiled": True, "webp_lossless": True}, world(), 3, 3),
    "400 bands": ({"compress": "lzw"}, world("float32", 400), 400, 400),
    "nodata 0": ({"nodata": 0}, world() * (world() > 60), 3, 3),
    "NaN": ({"nodata": np.nan}, np.where(world() > 60, np.float32("nan"), world("float32")), 3, 3),
    "one bit": ({"nbits": 1, "photometric": "MINISWHITE"}, world(bands=1) % 2, PALETTE, PALETTE),
    "white is 0": ({"photometric": "MINISWHITE"}, world(bands=1), "0 is white", "0 is white"),
    "complex": ({}, world("complex64", 1), "dtype complex64", "complex numbers"),
    "no transform": ({"transform": None}, world(), 3, 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_such_kinds_of_files_are_read_as_gdal_reads_them_or_refused(tmp_path, kind):
    how, values, image, scene = KINDS[kind]
    if kind == "BGRA":
        values = values.copy()
        values[3] = np.where(values[3] > 60, 65_535, 0)
    colours = how.get("colours", "").split()
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)}
    profile = {"driver": "GTiff", "count": len(values), "height": 32, "width": 48, "dtype": values.dtype}
    profile |= place | {key: value for key, value in how.items() if key != "colours"}
    with raster_io.anywhere(), rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        if colours:
            file.colorinterp = [rasterio.enums.ColorInterp[colour] for colour in colours]
        file.write(values)
    check(tmp_path / "a.tif", tmp_path, image, scene)
