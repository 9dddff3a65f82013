"""GeoTIFFs: what is read is what was written, and what is not whole is refused."""

import concurrent.futures
import pathlib
import struct
import warnings

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rasterio import Affine

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.geo import geotiff, raster_io
from data_pipelines.schema.spec import Extent, Place, Refused

EDGE = 24
UTM = {"crs": "EPSG:32632", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
IMAGE = (np.add.outer(np.arange(EDGE), np.arange(EDGE))[:, :, None] + [0, 7, 90]).astype(np.uint16)


def write(path: pathlib.Path, values: np.ndarray, **profile) -> pathlib.Path:
    """A GeoTIFF of (H, W, bands)."""
    height, width, count = values.shape
    profile = (
        {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": values.dtype} | UTM | profile
    )
    with raster_io.anywhere(), rasterio.open(path, "w", **profile) as file:
        file.write(np.moveaxis(values, -1, 0))
    return path


def read(path: pathlib.Path, **options) -> geotiff.Patch:
    return geotiff.read(path, **{"count": 3, "dtypes": ("uint16",)} | options)


# What files look like inside, by what is told to GDAL.
STORED = {
    "as it is": {},
    "strips of pixels": {"compress": "deflate", "interleave": "pixel", "blockysize": 5},
    "strips of bands": {"compress": "deflate", "interleave": "band", "blockysize": 7, "predictor": 2},
    "tiles": {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16, "predictor": 2},
    "lzw": {"compress": "lzw", "predictor": 2},
    "zstd": {"compress": "zstd"},
    "big-endian": {"compress": "deflate", "ENDIANNESS": "BIG"},
}


@pytest.mark.parametrize("how", STORED)
def test_read_gives_what_was_written(tmp_path, how):
    patch = read(write(tmp_path / "a.tif", IMAGE, **STORED[how]))
    np.testing.assert_array_equal(patch.values, IMAGE)
    assert patch.values.dtype == np.uint16 and patch.values.flags.c_contiguous and patch.valid.all()
    assert patch.names == (None, None, None)
    assert patch.centre == (500_120.0, 4_999_880.0) and patch.place == Place(32632, 500_120.0, 4_999_880.0)
    assert patch.extent == Extent("EPSG:32632", (500_000.0, 4_999_760.0, 500_240.0, 5_000_000.0))
    assert patch.bounds == patch.extent.bounds


def test_bounds_enclose_a_window_of_an_image_that_is_turned():
    turned = Affine.translation(1000, 2000) @ Affine.rotation(45) @ Affine.scale(10, -10)
    half = 5 * np.sqrt(2)  # of the diagonal of a pixel
    np.testing.assert_allclose(geotiff.bounds_of(turned, 0, 0, 1, 1), (1000, 2000 - half, 1000 + 2 * half, 2000 + half))
    # Two pixels down and three to the right the corner is moved by both edges.
    moved = 3 * np.array([half, half]) + 2 * np.array([half, -half])
    left, bottom, right, top = geotiff.bounds_of(turned, 2, 3, 1, 1)
    np.testing.assert_allclose((left - 1000, (bottom + top) / 2 - 2000), moved)
    np.testing.assert_allclose((right - left, top - bottom), 2 * half)


def test_band_names_are_read(tmp_path):
    path = write(tmp_path / "a.tif", IMAGE)
    with rasterio.open(path, "r+") as file:
        file.set_band_description(2, "green")
    assert read(path).names == (None, "green", None)


def test_a_file_that_lies_nowhere_warns_of_nothing_in_any_thread(tmp_path):
    path = write(tmp_path / "a.tif", IMAGE, crs=None, transform=None)
    before = warnings.filters[:]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        patches = list(pool.map(lambda _: read(path), range(64)))
    assert {(patch.place, patch.centre) for patch in patches} == {(None, (12.0, 12.0))}
    assert {(patch.extent, patch.bounds) for patch in patches} == {(None, (0.0, 0.0, 24.0, 24.0))}
    assert warnings.filters == before


def test_a_crs_without_a_code_has_a_centre_and_no_place(tmp_path):
    local = 'LOCAL_CS["unnamed",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    patch = read(write(tmp_path / "a.tif", IMAGE, crs=local))
    assert patch.place is None and patch.centre == (500_120.0, 4_999_880.0)
    assert rasterio.crs.CRS.from_wkt(patch.extent.crs) == rasterio.crs.CRS.from_wkt(local)
    assert patch.extent.bounds == (500_000.0, 4_999_760.0, 500_240.0, 5_000_000.0)


NOT_AS_EXPECTED = {
    "2 bands, expected 3": IMAGE[:, :, :2],
    "dtype int16, expected uint16": IMAGE.astype(np.int16),
    "24 x 20 pixels, expected a square": IMAGE[:20],
    "every value is 7, expected an image": np.full_like(IMAGE, 7),
}


@pytest.mark.parametrize("reason", NOT_AS_EXPECTED)
def test_another_image_than_expected_is_refused(tmp_path, reason):
    path = write(tmp_path / "a.tif", NOT_AS_EXPECTED[reason])
    with pytest.raises(Refused, match=reason) as caught:
        read(path)
    assert caught.value.file == path


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_an_image_whose_predictor_is_lost_is_refused(tmp_path, dtype):
    values = (IMAGE + np.random.default_rng(0).integers(0, 20, IMAGE.shape)).astype(dtype)
    path = write(tmp_path / "a.tif", values, compress="deflate", predictor=2)
    read(path, dtypes=(dtype,))
    tag = struct.pack("<HHI", 317, 3, 1)  # Predictor, one short
    path.write_bytes(path.read_bytes().replace(tag + b"\2", tag + b"\1"))
    with pytest.raises(Refused, match=r"noise: [0-9]+% of neighbouring values differ by half of the range; damaged"):
        read(path, dtypes=(dtype,))


@pytest.mark.parametrize("content", [b"", b"II*\0", b"no image", b"\0" * 1000, b"<VRTDataset/>", b"ncols 2\nnrows 2\n"])
def test_what_is_no_geotiff_is_refused(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(Refused, match=r"cannot be read.*; copy or download it again"):
        read(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path, what in ((tmp_path / "a.tif", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(Refused, match=what):
            read(path)


def test_another_format_under_the_name_of_a_geotiff_is_refused(tmp_path):
    write(tmp_path / "a.png", IMAGE.astype(np.uint8), driver="PNG", crs=None, transform=None)
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    with pytest.raises(Refused, match="PNG, expected GeoTIFF; download it again"):
        read(tmp_path / "a.tif", dtypes=("uint8",))


@pytest.mark.parametrize("how", STORED)
@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_a_truncated_file_is_refused(tmp_path, how, share):
    path = write(tmp_path / "a.tif", IMAGE, **STORED[how])
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(Refused, match="download it again"):
        read(path)


@pytest.mark.parametrize("how", [how for how in STORED if STORED[how].get("compress") == "deflate"])
def test_every_flipped_bit_of_a_deflate_stream_is_refused_or_harmless(tmp_path, how):
    path = write(tmp_path / "a.tif", IMAGE, **STORED[how])
    with rasterio.open(path) as file:
        begin, size = (int(file.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    whole, refused = path.read_bytes(), 0
    for bit in range(0, 8 * size, 3):
        data = bytearray(whole)
        data[begin + bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            np.testing.assert_array_equal(read(path).values, IMAGE)
        except Refused:
            refused += 1
    assert refused > 0.9 * 8 * size / 3


@pytest.mark.parametrize("compress", [None, "lzw", "deflate"])
@pytest.mark.parametrize("begin", ["first", "before", "header"])
def test_a_strip_that_begins_elsewhere_is_refused(tmp_path, compress, begin):
    path = write(tmp_path / "a.tif", IMAGE, compress=compress, interleave="pixel", blockysize=5)
    with rasterio.open(path) as file:
        offsets = [int(file.get_tag_item(f"BLOCK_OFFSET_0_{strip}", "TIFF", bidx=1)) for strip in range(5)]
    moved = offsets.copy()
    moved[2] = {"first": offsets[0], "before": offsets[2] - 16, "header": 0}[begin]
    whole, table = path.read_bytes(), struct.pack("<5I", *offsets)
    assert whole.count(table) == 1
    path.write_bytes(whole.replace(table, struct.pack("<5I", *moved)))
    with pytest.raises(Refused, match="download it again"):
        read(path)


def test_pixels_that_were_never_written_are_refused(tmp_path):
    path = tmp_path / "a.tif"
    sparse = {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16, "SPARSE_OK": True}
    shape = {"driver": "GTiff", "height": 24, "width": 24, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", **shape, **UTM, **sparse) as file:
        file.write(IMAGE[:16, :16, 0], 1, window=((0, 16), (0, 16)))
    with pytest.raises(Refused, match="no pixels at row 0, column 16; download it again"):
        read(path, count=1)


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf, -9999.0])
def test_pixels_without_data_are_refused_beyond_a_share(tmp_path, missing):
    values = IMAGE.astype(np.float32)
    values[3, 4, 1] = values[3, 4, 2] = values[5, 6, 0] = missing
    path = write(tmp_path / "a.tif", values, nodata=-9999)
    with pytest.raises(Refused, match="2 of 576 pixels are NaN, infinite or nodata, expected none"):
        read(path, dtypes=("float32",))
    with pytest.raises(Refused, match=r"2 of 576 .*, expected at most 0\.003 of them"):
        read(path, dtypes=("float32",), max_nodata=0.003)
    patch = read(path, dtypes=("float32",), max_nodata=2 / 576)
    assert {tuple(where) for where in np.argwhere(~patch.valid)} == {(3, 4), (5, 6)}


def test_nodata_that_is_0_is_0_in_every_band(tmp_path):
    """0 is also the height of flat ground, and what a band sees where it is dark."""
    values = IMAGE.copy()
    values[2, 3, 1] = 0
    values[7, 7] = 0
    patch = read(write(tmp_path / "a.tif", values, nodata=0), max_nodata=0.1)
    assert {tuple(where) for where in np.argwhere(~patch.valid)} == {(7, 7)}


def test_an_image_without_any_data_is_refused_whatever_the_share(tmp_path):
    path = write(tmp_path / "a.tif", np.full((EDGE, EDGE, 3), np.nan, np.float32))
    with pytest.raises(Refused, match="576 of 576 pixels"):
        read(path, dtypes=("float32",), max_nodata=1.0)


def test_label_is_one_band_as_bytes(tmp_path):
    values = (np.arange(EDGE * EDGE * 4).reshape(EDGE, EDGE, 4) % 11).astype(np.uint16)
    patch = geotiff.label(write(tmp_path / "a.tif", values), DFC2020, count=4, band=3)
    np.testing.assert_array_equal(patch.values, values[:, :, 2:3])
    assert patch.values.dtype == np.uint8


@pytest.mark.parametrize(
    ("legend", "values", "reason"),
    [
        (
            DFC2020,
            [1, 11, 12],
            r"label 11, 12 is not in the legend dfc2020, expected 0, 1, 2, 3, .*, 10, 255",
        ),
        (DFC2020, [1, 257], "label 257 is not in the legend"),
        (DFC2020, [1, -1], "label -1 is not in the legend"),
        (FLAIR1, range(20, 30), r"label 20, 21, 22, 23, 24, \.\.\. is not"),
        (DFC2020, [0] * 5 + [255] * 4 + [1], r"90\.\d% of the pixels have no label, expected less than 90%"),
    ],
)
def test_other_labels_are_refused(tmp_path, legend, values, reason):
    ids = np.resize(np.array(values, np.int16), (EDGE, EDGE, 1))
    with pytest.raises(Refused, match=reason):
        geotiff.label(write(tmp_path / "a.tif", ids), legend)


def test_one_class_throughout_is_a_label(tmp_path):
    ids = np.full((EDGE, EDGE, 1), 10, np.uint8)
    assert (geotiff.label(write(tmp_path / "a.tif", ids), DFC2020).values == 10).all()


def test_a_label_whose_bits_are_lost_is_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.ones((EDGE, EDGE, 1), np.uint8), nbits=1)
    with pytest.raises(Refused, match="values of 1 bit, expected all bits of uint8"):
        geotiff.label(path, DFC2020)


@settings(deadline=None)
@given(
    arrays.arrays(np.uint16, (5, 5, 3), elements=st.integers(0, 65_535)),
    arrays.arrays(np.bool_, (5, 5)).filter(np.any),
)
def test_filled_is_the_mean_of_what_is_valid(values, valid):
    found = geotiff.filled(values, valid)
    np.testing.assert_array_equal(found[valid], values[valid])
    for band in range(3):
        mean = round(float(np.mean(values[:, :, band][valid], dtype=np.float64)))
        assert found.dtype == np.uint16 and (found[:, :, band][~valid] == mean).all()
