"""Rasters on servers: windows of GeoTIFFs, VRTs and stacks of assets; what fails in the middle spoils the raster."""

import concurrent.futures
import json
import subprocess
import sys

import numpy as np
import pytest
import rasterio
from printed import printed
from range_server import asset, image, item, tiff
from rasterio.windows import Window

from data_pipelines.datasets.rasters import masks
from data_pipelines.geo import composites, exclusions, raster_io, resampling
from data_pipelines.geo.grids import Grid
from data_pipelines.remote import ranges
from data_pipelines.remote.addresses import Address, given
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

IMAGE = image(0)
WHOLE = Window(0, 0, 300, 200)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(ranges, "_cache", ranges._Cache(10**8))


def read(path, window=WHOLE, bands=(1, 2, 3)):
    with raster_io.opened(path) as dataset:
        return raster_io.read_valid(dataset, bands, window, False)


def refusal(path, kind=InputError, window=WHOLE) -> str:
    with pytest.raises(kind) as caught:
        read(path, window)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def address(file_server):
    file_server.files["a.tif"] = tiff(IMAGE)
    return given(file_server.url("a.tif"), "--scene")


# ---- GeoTIFFs -------------------------------------------------------------------------------------------------------


def test_a_window_is_that_of_the_file_and_no_more_is_fetched(file_server):
    large = image(1, 1500, 1500)
    file_server.files["large.tif"] = tiff(large, edge=256)
    raw, valid = read(given(file_server.url("large.tif"), "x"), Window(700, 20, 90, 70))
    np.testing.assert_array_equal(raw, large[:, 20:90, 700:790])
    assert valid.all() and file_server.sent("large.tif") < len(file_server.files["large.tif"]) / 8


@pytest.mark.parametrize(
    "how", [{}, {"compress": "deflate"}, {"compress": "lzw", "interleave": "pixel"}, {"nodata": 7}]
)
def test_it_is_read_as_the_file_here_would_be(file_server, tmp_path, how):
    mask = np.ones(IMAGE.shape[1:], bool)
    mask[30:50, 100:130] = False
    content = tiff(IMAGE, names=("red", "green", "nir"), mask=mask if "nodata" not in how else None, **how)
    (tmp_path / "a.tif").write_bytes(content)
    file_server.files["a.tif"] = content
    address = given(file_server.url("a.tif"), "x")
    for window in (WHOLE, Window(90, 20, 55, 61)):
        for mine, its in zip(read(address, window), read(tmp_path / "a.tif", window), strict=True):
            np.testing.assert_array_equal(mine, its)
    with raster_io.opened(address) as mine, raster_io.opened(tmp_path / "a.tif") as its:
        assert (mine.crs, mine.transform, mine.shape, mine.descriptions) == (
            its.crs,
            its.transform,
            its.shape,
            its.descriptions,
        )


def test_threads_read_what_one_of_them_has_opened(address):
    with raster_io.opened(address) as dataset, concurrent.futures.ThreadPoolExecutor(1) as pool:
        raw, _ = pool.submit(raster_io.read_valid, dataset, (1, 2, 3), WHOLE, False).result()
        np.testing.assert_array_equal(raw, IMAGE)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for raw, _ in pool.map(lambda _: read(address), range(8)):
            np.testing.assert_array_equal(raw, IMAGE)


def test_a_view_of_it_is_that_of_the_file(address, tmp_path, file_server):
    (tmp_path / "a.tif").write_bytes(file_server.files["a.tif"])
    found = []
    for path in (address, tmp_path / "a.tif"):
        with raster_io.opened(path) as dataset, resampling.resampled(dataset, 77, 130) as view:
            found.append(raster_io.read_valid(view, (1, 2), Window(3, 4, 60, 50), False)[0])
    np.testing.assert_array_equal(*found)


def test_a_broken_connection_in_the_middle_is_mended(address, file_server, monkeypatch):
    monkeypatch.setattr(ranges, "_BLOCK", 2**12)
    with printed() as said, raster_io.opened(address) as dataset:
        file_server.cuts, file_server.statuses = [100, None, 5], [0, 0, 500, 0, 0, 503]
        parts = [Window(0, top, 300, 50) for top in range(0, 200, 50)]
        raw = np.concatenate([raster_io.read_valid(dataset, (1, 2, 3), part, False)[0] for part in parts], 1)
        np.testing.assert_array_equal(raw, IMAGE)
    assert said.text.count("trying again") == 4


@pytest.mark.parametrize("after", [1, 2, 3])
def test_what_cannot_be_mended_spoils_the_raster_for_good(address, file_server, monkeypatch, after):
    """With 4 KB blocks the header, a tile, or the last of many is what fails."""
    monkeypatch.setattr(ranges, "_BLOCK", 2**12)
    with raster_io.opened(address) as dataset:
        file_server.statuses = [0] * after + [500] * 99
        with pytest.raises(InputError, match="500 Internal Server Error; expected an answer in 5 tries"):
            for top in range(0, 200, 40):
                raster_io.read_valid(dataset, (1, 2, 3), Window(0, top, 300, 40), False)
        file_server.statuses = []
        with pytest.raises(InputError, match="500 Internal Server Error"):
            raster_io.read_valid(dataset, (1,), Window(0, 0, 5, 5), False)


def test_a_file_that_changes_in_the_middle_is_no_raster(address, file_server, monkeypatch):
    monkeypatch.setattr(ranges, "_BLOCK", 2**12)
    with raster_io.opened(address) as dataset:
        raster_io.read_valid(dataset, (1,), Window(0, 0, 5, 5), False)
        file_server.files["a.tif"] = tiff(image(9))
        with pytest.raises(InputError, match="has changed on its server; run the same command again"):
            raster_io.read_valid(dataset, (1, 2, 3), WHOLE, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "cannot be read by parts: no raster of a known format; expected a GeoTIFF"),
        (b'{"type": "Feature", "stac_version": "1.0.0"}', "a JSON text (a STAC catalogue, say)"),
        (b"<GDAL_WMS>", "a map service (WMS)"),
        (b"<html>no such page</html>", "an XML text"),
        (b"", "an empty file"),
        (b"II*\0" + b"<VRTDataset>", "looks like two formats"),
    ],
)
def test_what_is_no_geotiff_is_refused(file_server, content, said):
    file_server.files["x.tif"] = content
    assert said in refusal(given(file_server.url("x.tif"), "x"), Refused)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_half_a_geotiff_is_refused(file_server, share):
    content = tiff(IMAGE, compress="deflate")
    file_server.files["x.tif"] = content[: int(share * len(content))]
    refusal(given(file_server.url("x.tif"), "x"), Refused)


def test_a_python_that_ends_with_an_open_raster_ends_well(address):
    code = (
        "import sys; from data_pipelines.geo import raster_io, resampling; from data_pipelines.remote import hosts;"
        "from data_pipelines.remote.addresses import given; hosts.allow(sys.argv[2]);"
        "kept = raster_io.opened(given(sys.argv[1], 'x')); view = resampling.resampled(kept, 20, 30)"
    )
    done = subprocess.run([sys.executable, "-c", code, address.text, address.text.split("/")[2]], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


# ---- VRTs -----------------------------------------------------------------------------------------------------------


def vrt(*names: str, width=300) -> bytes:
    """The images side by side."""
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{band}">'
        + "".join(
            f'<SimpleSource><SourceFilename relativeToVRT="{int("://" not in name)}">{name}</SourceFilename>'
            f'<SourceBand>{band}</SourceBand><SrcRect xOff="0" yOff="0" xSize="300" ySize="200"/>'
            f'<DstRect xOff="{300 * place}" yOff="0" xSize="300" ySize="200"/></SimpleSource>'
            for place, name in enumerate(names)
        )
        + "</VRTRasterBand>"
        for band in (1, 2, 3)
    )
    size = f'rasterXSize="{300 * len(names)}" rasterYSize="200"'
    return (
        f"<VRTDataset {size}><SRS>EPSG:32632</SRS><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>{bands}"
        "</VRTDataset>"
    ).encode()


def test_a_mosaic_here_of_files_there_and_here(address, file_server, tmp_path):
    file_server.files["b.tif"] = tiff(image(2))
    (tmp_path / "c.tif").write_bytes(tiff(image(3)))
    (tmp_path / "m.vrt").write_bytes(vrt(file_server.url("a.tif?k=1"), f"/vsicurl/{file_server.url('b.tif')}", "c.tif"))
    expected = np.concatenate([IMAGE, image(2), image(3)], 2)
    raw, _ = read(tmp_path / "m.vrt", Window(0, 0, 900, 200))
    np.testing.assert_array_equal(raw, expected)
    with raster_io.opened(tmp_path / "m.vrt") as dataset, concurrent.futures.ThreadPoolExecutor(1) as pool:
        window = Window(250, 10, 400, 100)  # its sources are opened in another thread
        raw, _ = pool.submit(raster_io.read_valid, dataset, (1, 2, 3), window, False).result()
    np.testing.assert_array_equal(raw, expected[:, 10:110, 250:650])


def test_a_mosaic_there(address, file_server):
    file_server.files |= {"d/m.vrt": vrt("../a.tif", file_server.url("a.tif"))}
    raw, _ = read(given(file_server.url("d/m.vrt"), "x"), Window(290, 0, 20, 200))
    np.testing.assert_array_equal(raw, np.concatenate([IMAGE[:, :, 290:], IMAGE[:, :, :10]], 2))


def test_a_mosaic_there_is_held_to_what_all_its_files_were(address, file_server):
    file_server.files["m.vrt"] = vrt("a.tif")
    path = given(file_server.url("m.vrt"), "x")
    held = Address.of(path.text, composites.looked_up(path)[0])
    np.testing.assert_array_equal(read(held)[0], IMAGE)
    file_server.etags["a.tif"] = '"other"'
    assert "has changed on its server" in refusal(held)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("http://169.254.169.254/latest/meta-data", "lies on the server 169.254.169.254"),
        ("https://user:pw@127.0.0.1/a.tif", "not an address"),
        ("file:///etc/passwd", "no plain file"),
        ("/vsizip/etc/x.zip", "no plain file"),
        ("/vsicurl?url=http://169.254.169.254/", "no plain file"),
        ("/vsicurl/file:///etc/passwd", "no plain file"),
        ("HDF5:a.h5", "no plain file"),
    ],
)
@pytest.mark.parametrize("here", [True, False])
def test_a_mosaic_names_nothing_else(file_server, tmp_path, name, said, here):
    asked = len(file_server.asked)
    content = vrt(name).replace(b'relativeToVRT="1"', b'relativeToVRT="0"')
    if here:
        (tmp_path / "m.vrt").write_bytes(content)
        assert said in refusal(tmp_path / "m.vrt", Refused)
    else:
        file_server.files["m.vrt"] = content
        assert said in refusal(given(file_server.url("m.vrt"), "x"), Refused)
    assert {path for path, _ in file_server.asked[asked:]} <= {"/m.vrt"}


def test_a_mosaic_there_reads_no_file_here(file_server, tmp_path):
    (tmp_path / "c.tif").write_bytes(tiff(IMAGE))
    for name in (f"{tmp_path}/c.tif", "/etc/passwd"):
        file_server.files["m.vrt"] = vrt(name)
        assert "the server answers 404" in refusal(given(file_server.url("m.vrt"), "x"))
    file_server.files["m.vrt"] = vrt("a.tif").replace(b"SimpleSource", b"PixelFunctionCode")
    assert "a VRT with the element PixelFunctionCode" in refusal(given(file_server.url("m.vrt"), "x"), Refused)


def test_a_mask_is_no_mosaic_of_files_there(address, file_server, tmp_path):
    """Its server fails after it was opened: it would exclude nothing, and label all pixels 0."""
    (tmp_path / "m.vrt").write_bytes(
        vrt(file_server.url("a.tif")).split(b'<VRTRasterBand dataType="UInt16" band="2"')[0] + b"</VRTDataset>"
    )
    with raster_io.opened(tmp_path / "m.vrt") as dataset:
        with pytest.raises(
            Refused, match=r"m\.vrt: a mask that names files on servers; expected files of this machine"
        ):
            masks.Mask(tmp_path / "m.vrt", dataset)
        grid = Grid.of(dataset)
    excluded = exclusions.parse(str(tmp_path / "m.vrt"), "--mask")
    with pytest.raises(Refused, match="a mask that names files on servers"), exclusions.opened(excluded, grid, address):
        pass


def test_a_mosaic_there_that_names_itself_is_refused(address, file_server):
    for name in ("m.vrt", file_server.url("m.vrt"), f"{file_server.url('m.vrt')}#"):
        file_server.files["m.vrt"] = vrt("a.tif", name)
        path = given(file_server.url("m.vrt"), "x")
        for one in (path, Address.of(path.text, "of before")):
            assert "a VRT that is a source of its own; expected other files" in refusal(one, Refused)


def test_a_mosaic_of_mosaics_there_is_refused(address, file_server, tmp_path):
    (tmp_path / "in.vrt").write_bytes(vrt(file_server.url("a.tif")))
    (tmp_path / "out.vrt").write_bytes(vrt("in.vrt"))
    assert "is named by a VRT itself" in refusal(tmp_path / "out.vrt", Refused)
    file_server.files["in.vrt"] = vrt("a.tif")
    (tmp_path / "out.vrt").write_bytes(vrt(file_server.url("in.vrt")))
    assert "cannot be read by parts: an XML text" in refusal(tmp_path / "out.vrt", Refused)


# ---- STAC items -----------------------------------------------------------------------------------------------------

FINE, COARSE = image(4, 200, 300, 1), image(5, 100, 150, 1)


@pytest.fixture
def stack(file_server):
    """An item of two assets, one of half the pixels."""
    file_server.files |= {"d/fine.tif": tiff(FINE, nodata=0), "d/coarse.tif": tiff(COARSE, pixel=20.0)}
    assets = {
        "fine": asset("./fine.tif", ("B04", "red")),
        "coarse": asset(file_server.url("d/coarse.tif"), ("B11", "")),
    }
    file_server.files["d/item.json"] = item(assets, **{"s2:processing_baseline": "05.09"})
    return given(file_server.url("d/item.json#coarse,red=fine"), "x")


def test_a_stack_of_assets(stack):
    with raster_io.opened(stack) as dataset:
        assert dataset.descriptions == ("B11", "red") and dataset.shape == (200, 300)
        assert dataset.crs == "EPSG:32632" and dataset.transform == rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
        told = {"datetime": "2020-08-23T10:15:59Z", "s2_processing_baseline": "05.09"}
        assert told.items() <= dataset.tags().items()
        assert dataset.nodatavals == (None, 0)
        raw, _ = raster_io.read_valid(dataset, (1, 2), WHOLE, False)
        np.testing.assert_array_equal(raw[1], FINE[0])
        near = np.array([0.75, 0.25])  # bilinear: pixel 81 lies a quarter of a coarse one behind the centre of 40
        assert abs(raw[0, 81, 121] - near @ COARSE[0, 40:42, 60:62] @ near) <= 0.5
        for window in (Window(0, 0, 64, 64), Window(63, 31, 65, 3), Window(299, 199, 1, 1)):
            part, _ = raster_io.read_valid(dataset, (1, 2), window, False)
            top, left = window.row_off, window.col_off
            np.testing.assert_array_equal(part, raw[:, top : top + window.height, left : left + window.width])


def test_an_item_here_names_files_here_and_there(stack, file_server, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/fine.tif").write_bytes(tiff(FINE))
    local = item({"a": asset("d/fine.tif", ("x", "")), "b": asset(file_server.url("d/coarse.tif"), ("y", ""))})
    (tmp_path / "item.json").write_text(json.dumps(local))
    raw, _ = read(given(str(tmp_path / "item.json#a,b"), "x"), bands=(1, 2))
    np.testing.assert_array_equal(raw[0], FINE[0])
    for href in ("../x.tif", "/etc/passwd", "file:///etc/passwd", "d/../../x.tif", "", "/vsizip/a.zip"):
        local["assets"]["a"]["href"] = href
        (tmp_path / "item.json").write_text(json.dumps(local))
        assert "a STAC item whose asset a" in refusal(given(str(tmp_path / "item.json#a"), "x"), Refused)


@pytest.mark.parametrize(
    ("href", "said"),
    [
        (
            "http://169.254.169.254/a.tif",
            "a STAC item whose asset fine http://169.254.169.254/a.tif: lies on the server",
        ),
        ("http://localhost:1/a.tif", "lies on the server localhost:1"),
        ("file:///etc/passwd", "a STAC item whose asset fine is 'file:///etc/passwd', no plain file"),
        ("/vsizip/x.zip", "no plain file"),
        ("/etc/passwd", "/etc/passwd: the server answers 404 Not Found"),
        ("%2e%2e/%2e%2e/etc/passwd", "holds . or .. as the name of a folder"),
        ("gs://other/a.tif", "lies on the server storage.googleapis.com"),
        ("nowhere.tif", "d/nowhere.tif: the server answers 404 Not Found"),
    ],
)
def test_an_item_there_names_nothing_else(stack, file_server, href, said):
    file_server.files["d/item.json"]["assets"]["fine"]["href"] = href
    assert said in refusal(stack)


def test_assets_that_do_not_fit(stack, file_server):
    file_server.files["d/coarse.tif"] = tiff(COARSE, pixel=30.0)
    assert "expected assets of the same ground" in refusal(stack, Refused)
    file_server.files["d/coarse.tif"] = tiff(COARSE, pixel=20.0, mask=COARSE[0] > 9)
    assert "has a mask or an alpha band" in refusal(stack, Refused)
    file_server.files["d/coarse.tif"] = tiff(image(5, 100, 150, 2), pixel=20.0)
    other = Address.of(stack.text.replace("#coarse", "#a+b+c=coarse"))
    assert "asset coarse has 2 bands; expected 3, as named in a+b+c=coarse" in refusal(other, Refused)
    assert "no asset 'none'; expected some of fine, coarse" in refusal(Address.of(stack.text + ",none"), Refused)


def test_one_asset_keeps_its_mask(stack, file_server):
    mask = np.ones(IMAGE.shape[1:], bool)
    mask[30:50, 100:130] = False
    file_server.files["d/fine.tif"] = tiff(IMAGE, mask=mask)
    _, valid = read(Address.of(stack.text.replace("coarse,red=", "")))
    np.testing.assert_array_equal(valid, mask)


def test_versions_tell_what_changed(stack, file_server):
    before, places = composites.looked_up(stack)
    assert composites.looked_up(stack) == (before, places) and [place.name for place in places] == [
        "coarse.tif",
        "fine.tif",
    ]
    held = Address.of(stack.text, before)
    read(held, bands=(1, 2))
    file_server.files["d/item.json"]["properties"]["updated"] = "now"  # what the item says beside is no change
    read(held, bands=(1, 2))
    file_server.etags["d/fine.tif"] = '"other"'
    assert "has changed on its server" in refusal(held)
