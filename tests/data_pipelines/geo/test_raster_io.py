"""The one reader of rasters: what it opens, and what it refuses without a request, a written byte or a wait."""

import concurrent.futures
import os
import pathlib
import socket
import struct
import zlib

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import strangers
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from data_pipelines.datasets.rasters import inspect
from data_pipelines.datasets.rasters.tables import Pair
from data_pipelines.geo import formats, geotiff, raster_io
from data_pipelines.schema import limits
from data_pipelines.schema.legends import LandClass, Legend
from data_pipelines.schema.spec import Refused

PLACE = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}
WHOLE = Window(0, 0, 8, 8)
GREY = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) + 1


@pytest.fixture
def server(monkeypatch):
    """An address, and the check that nobody asked there; who does waits for a second, in vain."""
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("GDAL_HTTP_CONNECTTIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(BlockingIOError):
            listening.accept()


def tif(path: pathlib.Path, values=GREY, **how) -> pathlib.Path:
    tags, band_tags = how.pop("tags", {}), how.pop("domain", None)
    count, height, width = values.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype}
    with raster_io.anywhere(), rasterio.open(path, "w", **(profile | PLACE | how)) as file:
        file.write(values)
        file.update_tags(ns=band_tags, **tags)
    return path


def refusal(path: pathlib.Path) -> str:
    with pytest.raises(Refused) as caught:
        raster_io.opened(path).close()
    assert "\n" not in str(caught.value) and path.parent.name in str(caught.value)
    return str(caught.value)


# ---- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", ["GTiff", "PNG", "JPEG", "JP2OpenJPEG", "HFA", "ENVI", "VRT"])
def test_formats_that_people_have_are_read_as_gdal_reads_them(tmp_path, driver):
    source, path = tif(tmp_path / "source.tif", np.tile(GREY, (3, 4, 4))), tmp_path / "image.xyz"
    with rasterio.open(source) as file:
        rasterio.shutil.copy(file, path, driver=driver)
    with rasterio.open(path) as expected, raster_io.opened(path) as dataset:
        assert dataset.driver == expected.driver == driver
        np.testing.assert_array_equal(dataset.read(), expected.read())


def test_pixels_beside_an_imagine_file_count_as_its_own(tmp_path, monkeypatch):
    """Of more than 4 GB they lie in an .ige, and the .img is small: here by an option, and with smaller limits."""
    source, path = tif(tmp_path / "source.tif", np.tile(GREY, (3, 64, 64))), tmp_path / "image.img"
    with rasterio.open(source) as file:
        rasterio.shutil.copy(file, path, driver="HFA", USE_SPILL="YES")
        pixels = file.width * file.height * file.count
    monkeypatch.setattr(limits, "SMALL_BYTES", 1000)
    monkeypatch.setattr(limits, "MAX_EXPANSION", 2)
    assert 2 * path.stat().st_size < pixels < 2 * path.with_suffix(".ige").stat().st_size
    with raster_io.opened(path) as dataset, rasterio.open(source) as expected:
        np.testing.assert_array_equal(dataset.read(), expected.read())
    os.truncate(path.with_suffix(".ige"), 1000)
    assert f"image.img: {pixels:,} bytes of pixels in a file of 1" in refusal(path)  # in 13 kB
    path.with_suffix(".ige").unlink()
    assert "image.ige: no such file; expected a raster" in refusal(path)


def test_the_suffix_does_not_matter_and_a_name_is_no_connection(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HDF5:a.tif", "zip:b", "c.png", "d"):
        tif(tmp_path / name)
        with raster_io.opened(pathlib.Path(name)) as dataset:
            assert dataset.driver == "GTiff"


@pytest.mark.parametrize("what", strangers.NAMES)
def test_a_program_is_refused_as_image_mask_sidecar_and_source(tmp_path, server, what):
    text = strangers.programs(server)[what]
    good, bad = tif(tmp_path / "good.tif"), tmp_path / "a.tif"
    bad.write_text(text)
    before = sorted(os.listdir(tmp_path))
    assert "a.tif: " in refusal(bad)
    legend = Legend("x", (LandClass(1, "a", "#000000"), LandClass(2, "b", "#ffffff")))
    for image, mask in ((bad, good), (good, bad)):
        pair = Pair("x", {"image": image}, mask, "train", "")
        found = inspect._look(pair, legend, resample=False)
        assert isinstance(found, Refused) and found.file in (bad, good)
    assert sorted(os.listdir(tmp_path)) == before
    for sidecar in ("good.tif.msk", "good.tif.ovr", "good.tif.OVR"):
        (tmp_path / sidecar).write_text(text)
        assert f"{sidecar}: " in refusal(good)
        (tmp_path / sidecar).unlink()
    mosaic = tmp_path / "m.vrt"
    mosaic.write_text(strangers.vrt(strangers.band("a.tif")))
    assert "a.tif: " in refusal(mosaic)
    assert not (tmp_path / "stolen.py").exists()


@pytest.mark.parametrize("where", ["in the file", "beside it", "of a source", "of a mask"])
def test_overviews_that_lie_elsewhere_are_refused(tmp_path, server, where):
    name = f"/vsicurl/{server}/o.tif"
    inside = {"domain": "OVERVIEWS", "tags": {"OVERVIEW_FILE": name}}
    path = tif(tmp_path / "a.tif", **({} if where in ("beside it", "of a mask") else inside))
    if where == "beside it":
        (tmp_path / "a.tif.aux.xml").write_text(
            f'<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{name}</MDI></Metadata></PAMDataset>'
        )
    elif where == "of a mask":
        tif(tmp_path / "b.tif", **inside).rename(tmp_path / "a.tif.msk")
    elif where == "of a source":
        path = tmp_path / "m.vrt"
        path.write_text(strangers.vrt(strangers.band("a.tif")))
    assert "takes its overviews from" in refusal(path)


def test_a_file_that_is_two_things_is_no_source(tmp_path):
    """GDAL opens what a VRT names as whatever it takes it for, and it takes text in a picture's comment for a VRT."""
    text = strangers.vrt(strangers.band("/etc/hostname", "0")).encode()
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xfe" + struct.pack(">H", 0x2020) + text)
    (tmp_path / "m.vrt").write_text(strangers.vrt(strangers.band("a.jpg")))
    assert "a.jpg: looks like two formats" in refusal(tmp_path / "m.vrt")


def test_what_is_no_regular_file_is_refused_without_a_wait(tmp_path):
    os.mkfifo(tmp_path / "fifo.tif")
    assert "a FIFO" in refusal(tmp_path / "fifo.tif")
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "zero.tif").symlink_to("/dev/zero")
    assert "a device" in refusal(tmp_path / "zero.tif")
    assert "no such file" in refusal(tmp_path / "none.tif")
    assert "cannot be opened" in refusal(tmp_path / ("n" * 300))
    (tmp_path / "loop.tif").symlink_to("loop.tif")
    assert "cannot be opened" in refusal(tmp_path / "loop.tif")
    assert "not UTF-8" in refusal(pathlib.Path(tif(tmp_path / "x.tif").rename(tmp_path / "x\udcff.tif")))
    for sidecar in ("a.tif.msk", "a.tfw", "a.tif.aux.xml"):
        path = tif(tmp_path / "a.tif")
        os.mkfifo(tmp_path / sidecar)
        assert f"{sidecar}: a FIFO" in refusal(path)
        (tmp_path / sidecar).unlink()
    (tmp_path / "m.vrt").write_text(strangers.vrt(strangers.band("fifo.tif")))
    assert "fifo.tif: a FIFO" in refusal(tmp_path / "m.vrt")


def test_each_source_of_vrts_within_vrts_is_looked_at_once(tmp_path, monkeypatch):
    """Levels of VRTs that all name all of the next level are as many looks as files, and a chain too long is told."""
    tif(tmp_path / "a.tif")
    below = ["a.tif"]
    for level in range(4):
        names = [f"level{level}_{k}.vrt" for k in range(8)]
        for name in names:
            (tmp_path / name).write_text(strangers.vrt("".join(map(strangers.band, below))))
        below = names
    looks = []
    sources_of = formats.vrt.sources_of
    monkeypatch.setattr(formats.vrt, "sources_of", lambda path: looks.append(path) or sources_of(path))
    assert formats.drivers_of(tmp_path / below[0]) == ("VRT",)
    assert len(looks) == len(set(looks)) == 3 * 8 + 1
    for number in range(8):  # the first names all others, the shortest chain before the longer ones
        inner = [f"chain{k}.vrt" for k in range(7, number, -1)] or ["a.tif"]
        (tmp_path / f"chain{number}.vrt").write_text(strangers.vrt("".join(map(strangers.band, inner))))
    with pytest.raises(Refused, match=r"a VRT within .* others; expected at most 4"):
        formats.drivers_of(tmp_path / "chain0.vrt")


def test_mosaics_stacks_and_warped_views_of_the_own_folder_are_read(tmp_path):
    (tmp_path / "deep").mkdir()
    source = tif(tmp_path / "deep" / "a.tif", np.tile(GREY, (2, 4, 4)))
    with rasterio.open(source) as file, WarpedVRT(file, crs="EPSG:4326") as view:
        rasterio.shutil.copy(view, tmp_path / "warped.vrt", driver="VRT")
        rasterio.shutil.copy(file, tmp_path / "copy.vrt", driver="VRT")
    (tmp_path / "nested.vrt").write_text((tmp_path / "copy.vrt").read_text().replace("deep/a.tif", "copy.vrt"))
    (tmp_path / "absolute.vrt").write_text(strangers.vrt(strangers.band(str(source), "0")))
    for name in ("warped", "copy", "nested", "absolute"):
        path = tmp_path / f"{name}.vrt"
        with raster_io.anywhere(), rasterio.open(path) as expected, raster_io.opened(path) as dataset:
            np.testing.assert_array_equal(dataset.read(), expected.read())


def test_sources_by_links_that_lead_away_are_refused(tmp_path):
    (tmp_path / "in").mkdir()
    tif(tmp_path / "a.tif")
    (tmp_path / "in" / "a.tif").symlink_to(tmp_path / "a.tif")
    (tmp_path / "in" / "m.vrt").write_text(strangers.vrt(strangers.band("a.tif")))
    assert "lies outside its folder" in refusal(tmp_path / "in" / "m.vrt")


def test_many_threads_open_what_lies_nowhere_without_a_warning(tmp_path):
    path = tif(tmp_path / "a.tif", crs=None, transform=None)

    def look(_):
        with raster_io.opened(path) as dataset:
            return dataset.shape

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(64))) == {(8, 8)}
    with raster_io.anywhere(), concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(look, range(64))) == {(8, 8)}


# ---- size -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"width": 1_000_000, "height": 1_000_000, "blockxsize": 16_384, "blockysize": 16_384}, "pixels"),
        (
            {"width": 200_000, "height": 200_000, "blockxsize": 16_384, "blockysize": 16_384},
            "bytes of pixels in a file",
        ),
        ({"width": 65_536, "height": 65_536, "blockxsize": 65_536, "blockysize": 65_536}, "bytes in one strip or tile"),
        ({"width": 16, "height": 16, "count": 2000}, "2,000 bands; expected at most 1,024"),
    ],
    ids=["pixels", "sparse", "block", "bands"],
)
def test_sizes_are_checked_before_pixels_are_read(tmp_path, how, reason):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "SPARSE_OK": True, "tiled": "blockxsize" in how}
    with rasterio.open(path, "w", **(profile | PLACE | how), BIGTIFF="YES"):
        pass
    assert reason in refusal(path)


def test_a_picture_that_is_all_zeros_is_held_to_its_size(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 300_000, 300_000, 8, 0, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(9))))
    assert "a.png" in refusal(tmp_path / "a.png")


def test_sources_are_held_to_the_same_sizes(tmp_path):
    tif(tmp_path / "a.tif", np.zeros((limits.MAX_BANDS + 1, 8, 8), np.uint8))
    (tmp_path / "m.vrt").write_text(strangers.vrt(strangers.band("a.tif")))
    assert "a.tif: 1,025 bands" in refusal(tmp_path / "m.vrt")


# ---- pixels ---------------------------------------------------------------------------------------------------------


def valid(path: pathlib.Path, indices=None, zero=False) -> np.ndarray:
    with raster_io.opened(path) as dataset:
        raw, found = raster_io.read_valid(dataset, indices or raster_io.image_bands(dataset), WHOLE, zero)
        np.testing.assert_array_equal(raw, rasterio.open(path).read(indices or raster_io.image_bands(dataset)))
    return found


def test_a_declared_0_is_no_data_in_all_bands_alone(tmp_path):
    values = np.concatenate([GREY, GREY, GREY])
    values[2, :4] = 0  # a band that sees nothing there
    values[:, 0] = 0
    expected = np.ones((8, 8), bool)
    expected[0] = False
    path = tif(tmp_path / "a.tif", values, nodata=0)
    np.testing.assert_array_equal(valid(path), expected)
    square = geotiff._read(path, 3, ("uint8",))
    np.testing.assert_array_equal(square.valid, expected)  # one rule for published tiles and for all others


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_any_other_declared_value_is_no_data_in_any_band(tmp_path, dtype):
    values = np.concatenate([GREY, GREY]).astype(dtype)
    values[0, 1, 1] = values[1, 2, 2] = -9999
    if dtype != "int16":
        values[0, 3, 3], values[1, 4, 4] = np.nan, np.inf
    path = tif(tmp_path / "a.tif", values, nodata=-9999)
    with rasterio.open(path) as dataset:
        expected = (dataset.read_masks() != 0).all(0) & np.isfinite(values).all(0)
    assert np.count_nonzero(~expected) >= 2
    np.testing.assert_array_equal(valid(path), expected)


@pytest.mark.parametrize("nodata", [-3.4028234663852886e38, 1e-7, 0.1, np.nan])
def test_a_declared_float_is_found_as_gdal_finds_it(tmp_path, nodata):
    values = np.full((1, 8, 8), 7, np.float32)
    values[0, 1] = nodata
    path = tif(tmp_path / "a.tif", values, nodata=nodata)
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(valid(path), dataset.read_masks(1) != 0)


@pytest.mark.parametrize("internal", [True, False])
def test_a_mask_in_the_file_or_beside_it_and_nodata_count_both(tmp_path, internal):
    values = GREY.copy()
    values[0, 7, 7] = 200
    path = tif(tmp_path / "a.tif", values, nodata=200)
    mask = np.full((8, 8), 255, np.uint8)
    mask[:2] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    assert (tmp_path / "a.tif.msk").exists() != internal
    expected = mask != 0
    expected[7, 7] = False
    np.testing.assert_array_equal(valid(path), expected)


def test_alpha_0_is_no_data_and_what_is_data_is_no_alpha(tmp_path):
    values = np.concatenate([GREY] * 4)
    values[3] = 255
    values[3, 5] = 0
    path = tif(tmp_path / "a.tif", values, photometric="RGB", alpha="YES")
    np.testing.assert_array_equal(valid(path), values[3] != 0)
    with raster_io.opened(path) as dataset:
        raster_io.check_image(dataset, raster_io.strips(dataset))
    np.testing.assert_array_equal(valid(path, [1, 2, 3, 4]), np.ones((8, 8), bool))  # read as data it masks nothing
    values[3] = GREY
    with (
        raster_io.opened(tif(tmp_path / "b.tif", values, photometric="RGB", alpha="YES")) as dataset,
        pytest.raises(Refused, match=r"band 4 is declared alpha but holds values between 0 and 255"),
    ):
        raster_io.check_image(dataset, raster_io.strips(dataset))


@pytest.mark.parametrize("what", ["palette", "MinIsWhite", "complex"])
def test_what_is_no_intensity_is_no_image(tmp_path, what):
    values = GREY.astype(np.complex64) if what == "complex" else GREY
    path = tif(tmp_path / "a.tif", values, **({"photometric": "MINISWHITE"} if what == "MinIsWhite" else {}))
    if what == "palette":
        with rasterio.open(path, "w", driver="GTiff", count=1, height=8, width=8, dtype="uint8", **PLACE) as file:
            file.write_colormap(1, {1: (255, 0, 0, 255)})
    with raster_io.opened(path) as dataset, pytest.raises(Refused, match=f"{what}.*; expected bands of intensities"):
        raster_io.check_image(dataset, raster_io.strips(dataset))


def test_bands_by_their_colours(tmp_path):
    path = tif(tmp_path / "a.tif", np.concatenate([GREY] * 4).astype(np.uint16), photometric="RGB")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.alpha)
    with raster_io.opened(path) as dataset:
        assert raster_io.band_names(dataset) == ("blue", "green", "red")


# ---- place ----------------------------------------------------------------------------------------------------------


def test_a_raster_lies_where_crs_and_transform_say(tmp_path):
    with raster_io.opened(tif(tmp_path / "a.tif")) as dataset:
        assert raster_io.crs_of(dataset) == dataset.crs
        raster_io.check_place(dataset)
    for name, missing in (
        ("b.tif", {"transform": None}),
        ("c.tif", {"crs": None}),
        ("d.tif", {"transform": Affine.identity()}),
    ):
        with raster_io.opened(tif(tmp_path / name, **missing)) as dataset:
            assert raster_io.crs_of(dataset) is None
            raster_io.check_place(dataset)


def test_control_points_and_rpcs_alone_are_refused_with_the_command(tmp_path):
    points = [GroundControlPoint(row, column, 15 + column / 9e3, 45 - row / 9e3) for row in (0, 8) for column in (0, 8)]
    path = tif(tmp_path / "a.tif", transform=None, crs="EPSG:4326", gcps=points)
    with (
        raster_io.opened(path) as dataset,
        pytest.raises(Refused, match=r"control points alone.*`gdalwarp -tps .*a\.tif"),
    ):
        raster_io.check_place(dataset)
    numbers = {
        f"{what}_{which}": 1.0 for what in ("height", "lat", "line", "long", "samp") for which in ("off", "scale")
    }
    terms = {f"{what}_{which}_coeff": [1.0] * 20 for what in ("line", "samp") for which in ("num", "den")}
    rpcs = rasterio.rpc.RPC(**numbers, **terms)
    path = tif(tmp_path / "b.tif", transform=None, rpcs=rpcs)
    with raster_io.opened(path) as dataset, pytest.raises(Refused, match=r"\(RPCs\) alone.*`gdalwarp -rpc .*b\.tif"):
        raster_io.check_place(dataset)
