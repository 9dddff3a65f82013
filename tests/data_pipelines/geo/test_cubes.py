"""Zarr stores as rasters: the windows are those of the numbers, and what cannot be read without a risk is refused."""

import json
import os
import pathlib
import pickle
import re
import sys

import numpy as np
import pytest
import rasterio
import xarray
from rasterio.windows import Window

from data_pipelines.geo import quiet, raster_io
from data_pipelines.geo.cubes import cube, store
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

HEIGHT, WIDTH = 100, 120
NUMBERS = np.random.default_rng(0).integers(1, 10_000, (3, HEIGHT, WIDTH)).astype(np.uint16)
X, Y = 500_005 + 10.0 * np.arange(WIDTH), 4_999_995 - 10.0 * np.arange(HEIGHT)
PLACE = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
NAMES = ("B4", "B3", "B2")


def array(numbers=NUMBERS, y=Y, x=X, dims=("band", "y", "x"), crs="EPSG:32633", **attributes):
    """An array as rioxarray leaves it."""
    places = {"y": y, "x": x} | ({"band": list(NAMES)} if "band" in dims else {})
    made = xarray.DataArray(numbers, coords=places, dims=dims, name="reflectance", attrs=attributes)
    return made.rio.write_crs(crs) if crs else made


FLAT = array(NUMBERS[0], dims=("y", "x"), crs="")


def write(path: pathlib.Path, found, zarr_format=2, **encoding) -> pathlib.Path:
    import rioxarray  # noqa: F401

    data = found if isinstance(found, xarray.Dataset) else found.to_dataset()
    with quiet.silently():
        data.to_zarr(path, zarr_format=zarr_format, mode="w", encoding={"reflectance": encoding} if encoding else {})
    return path


@pytest.fixture(autouse=True, scope="module")
def rio():
    with quiet.silently():
        import rioxarray  # noqa: F401


def refusal(path, window=None) -> str:
    with pytest.raises(InputError) as caught, raster_io.opened(path) as dataset:
        raster_io.read_valid(dataset, [1], window or Window(0, 0, dataset.width, dataset.height), False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zarr_format", "encoding"),
    [
        (2, {"chunks": (1, 32, 50)}),
        (2, {"chunks": (3, 100, 120)}),
        (2, {"chunks": (2, 7, 120), "dtype": ">u2"}),
        (3, {"chunks": (1, 32, 50)}),
        (3, {"chunks": (1, 16, 30), "shards": (3, 64, 60)}),
        (3, {}),
    ],
)
def test_windows_are_those_of_the_numbers(tmp_path, zarr_format, encoding):
    path = write(tmp_path / "a.zarr", array(_FillValue=0), zarr_format, **encoding)
    with raster_io.opened(path) as dataset:
        assert (dataset.crs, dataset.transform) == (rasterio.crs.CRS.from_epsg(32633), PLACE)
        assert (dataset.count, dataset.shape, set(dataset.dtypes)) == (3, (HEIGHT, WIDTH), {"uint16"})
        assert raster_io.band_names(dataset) == NAMES and set(dataset.nodatavals) == {0}
        for part in (Window(0, 0, WIDTH, HEIGHT), Window(33, 41, 60, 13), Window(119, 99, 1, 1)):
            raw, valid = raster_io.read_valid(dataset, [3, 1], part, False)
            rows, columns = part.toslices()
            np.testing.assert_array_equal(raw, NUMBERS[[2, 0], rows, columns])
            assert valid.all()
        small = raster_io.read_valid(dataset, [1], Window(0, 0, WIDTH, HEIGHT), False, (10, 12))[0]
        assert small.shape == (1, 10, 12)
    with raster_io.opened(path / "reflectance") as dataset:
        assert dataset.count == 3
    assert set(store.files_of(path)) == {file for file in path.rglob("*") if file.is_file()}


def test_few_rows_are_kept(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zarr", array(), chunks=(1, 10, 120))
    monkeypatch.setattr(limits, "REMOTE_CACHE_BYTES", 2 * 10 * WIDTH * 2)
    with quiet.silently():
        rows = cube._Rows(cube._bands(path), path)
    for first in range(0, HEIGHT, 7):
        end = min(first + 7, HEIGHT)
        assert rows.read(1, first, end) == NUMBERS[1, first:end].tobytes() and len(rows._kept) <= 2


def test_bands_in_one_chunk_are_read_together(tmp_path, monkeypatch):
    last = array(NUMBERS.transpose(1, 2, 0), dims=("y", "x", "band"))
    path = write(tmp_path / "a.zarr", last, chunks=(20, 120, 3))
    with quiet.silently():
        bands = cube._bands(path)
    assert {band.chunk for band in bands} == {(3, 20)}
    rows = cube._Rows(bands, path)
    assert rows.read(2, 30, 41) == NUMBERS[2, 30:41].tobytes() and set(rows._kept) == {
        (band, number) for band in range(3) for number in (1, 2)
    }


def test_arrays_of_two_dimensions_are_bands_by_their_names(tmp_path):
    flat = {name: array(NUMBERS[k].astype("f4") / 7, dims=("y", "x")) for k, name in enumerate(NAMES)}
    path = write(tmp_path / "a.zarr", xarray.Dataset(flat))
    with raster_io.opened(path) as dataset:
        names = raster_io.band_names(dataset)
        assert set(names) == set(NAMES) and dataset.crs.to_epsg() == 32633
        raw = raster_io.read_raw(dataset, Window(5, 6, 70, 80))
        for name, band in zip(names, raw, strict=True):
            np.testing.assert_array_equal(band, NUMBERS[NAMES.index(name), 6:86, 5:75].astype("f4") / 7)
    with raster_io.opened(path / "B3") as dataset:
        assert (dataset.count, raster_io.band_names(dataset)) == (1, ("B3",))


def test_the_order_of_bands_is_that_of_their_names(tmp_path):
    """A store without its summary is listed in another order each time."""
    flat = {f"B{k}": array(np.full((30, 40), k, "u1"), Y[:30], X[:40], ("y", "x")) for k in (10, 1, 12, 2, 8, 11, 9)}
    path = write(tmp_path / "a.zarr", xarray.Dataset(flat))
    for _ in range(20):
        with raster_io.opened(path) as dataset:
            assert raster_io.band_names(dataset) == ("B1", "B2", "B8", "B9", "B10", "B11", "B12")
            assert raster_io.read_raw(dataset, Window(0, 0, 1, 1)).ravel().tolist() == [1, 2, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("names", [("lat", "lon"), ("latitude", "longitude")])
def test_longitude_and_latitude(tmp_path, names):
    places = {"y": 50 - 0.001 * np.arange(HEIGHT), "x": 10 + 0.001 * np.arange(WIDTH)}
    made = array(**{key: value.astype("f4") for key, value in places.items()}, crs="EPSG:4326")
    path = write(tmp_path / "a.zarr", made.rename(dict(zip(("y", "x"), names, strict=True))))
    with raster_io.opened(path) as dataset:
        assert dataset.crs.to_epsg() == 4326
        known = rasterio.Affine(0.001, 0, 10 - 0.0005, 0, -0.001, 50 + 0.0005)
        assert dataset.transform.almost_equals(known, 1e-5)
        np.testing.assert_array_equal(raster_io.read_raw(dataset, Window(0, 0, WIDTH, HEIGHT)), NUMBERS)


def test_coordinates_win_over_what_was_written_of_them(tmp_path):
    made = array()
    made["spatial_ref"].attrs["GeoTransform"] = "0 10 1 0 1 -10"  # of another cut, and rotated
    with raster_io.opened(write(tmp_path / "a.zarr", made)) as dataset:
        assert dataset.transform == PLACE


@pytest.mark.parametrize(("fill", "warned"), [({}, True), ({"_FillValue": 0}, False)])
def test_numbers_that_are_not_there_are_told(tmp_path, caplog, fill, warned):
    path = write(tmp_path / "a.zarr", array(**fill), 3, chunks=(1, 50, 60))
    raster_io.opened(path).close()
    assert not caplog.records
    (path / "reflectance/c/0/0/0").unlink()
    cube._warn_of_gaps.cache_clear()
    with caplog.at_level("WARNING", "lcjax.data"), raster_io.opened(path) as dataset:
        valid = raster_io.read_valid(dataset, [1], Window(0, 0, WIDTH, HEIGHT), False)[1]
    assert ("1 of 12 files of the array reflectance are not there" in caplog.text) == warned == valid.all()


def test_labels_of_bytes_are_names(tmp_path):
    made = array().assign_coords(band=("band", np.array([b"B4", b"B3", b"B2"])))
    with raster_io.opened(write(tmp_path / "a.zarr", made)) as dataset:
        assert raster_io.band_names(dataset) == NAMES


def test_scale_offset_and_no_data_are_told(tmp_path):
    numbers = NUMBERS.copy()
    numbers[:, 3, 4] = 9
    path = write(tmp_path / "a.zarr", array(numbers, scale_factor=0.0001, add_offset=-0.1, _FillValue=9))
    with raster_io.opened(path) as dataset:
        assert set(dataset.scales) == {0.0001} and set(dataset.offsets) == {-0.1} and set(dataset.nodatavals) == {9}
        valid = raster_io.read_valid(dataset, [1, 2], Window(0, 0, WIDTH, HEIGHT), False)[1]
    assert not valid[3, 4] and valid.sum() > 0.99 * valid.size


def test_a_single_step_is_no_dimension_and_rows_may_begin_in_the_south(tmp_path):
    once = array(NUMBERS[None, :, ::-1], y=Y[::-1], dims=("time", "band", "y", "x"))
    path = write(tmp_path / "a.zarr", once)
    with raster_io.opened(path) as dataset:
        assert dataset.transform == rasterio.Affine(10, 0, 500_000, 0, 10, 5_000_000 - 10 * HEIGHT)
        np.testing.assert_array_equal(raster_io.read_raw(dataset, Window(0, 0, WIDTH, HEIGHT)), NUMBERS[:, ::-1])


def test_a_place_that_is_not_told_is_not_made_up(tmp_path):
    with raster_io.opened(write(tmp_path / "a.zarr", array(crs=""))) as dataset:
        assert raster_io.crs_of(dataset) is None
    bare = xarray.DataArray(NUMBERS, dims=("band", "y", "x"), name="reflectance")
    with raster_io.opened(write(tmp_path / "b.zarr", bare)) as dataset:
        assert raster_io.crs_of(dataset) is None and raster_io.band_names(dataset) == ("band1", "band2", "band3")


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: array(NUMBERS[None].repeat(2, 0), dims=("time", "band", "y", "x")), r"dimensions \(time 2, band 3\)"),
        (lambda: array(NUMBERS.astype("i8")), "holds int64; expected one of uint8"),
        (lambda: array(x=np.where(X > 501_000, X + 3, X)), "x of the array reflectance has no even steps"),
        (lambda: array().rename(x="across", y="down"), r"no array with two dimensions of the ground; found reflect"),
        (
            lambda: xarray.Dataset({"reflectance": array(), "other": array()}),
            r"several arrays: .*name one of them, such as .*a\.zarr/",
        ),
        (
            lambda: xarray.Dataset({"a": FLAT, "b": FLAT.astype("u1")}),
            "arrays of several types",
        ),
        (lambda: xarray.Dataset(), "no array with two dimensions"),
        (
            lambda: xarray.Dataset({f"b{k}": FLAT.rio.write_crs(k, grid_mapping_name=f"c{k}") for k in (32633, 32634)}),
            "arrays of several places",
        ),
        (
            lambda: xarray.Dataset({"a": FLAT, "b": FLAT.rename(y="lat", x="lon").assign_coords(lat=Y / 1e5)}),
            "arrays of several places",
        ),
        (lambda: array(x=xarray.DataArray(X, dims="x", attrs={"units": "km"})), "is in 'km', and its CRS in metre"),
        (lambda: array(NUMBERS.astype("i2"), _Unsigned="true"), "says _Unsigned, and holds int16"),
        (lambda: array().drop_vars("band").rename(band="time"), r"further dimensions \(time 3\)"),
        (lambda: array(NUMBERS[:, :0], y=Y[:0]), "has no pixel along y"),
        (lambda: array(scale_factor="abc"), "cannot be read .*ValueError"),
    ],
)  # fmt: skip
def test_what_is_no_raster_is_named(tmp_path, made, words):

    assert re.search(words, refusal(write(tmp_path / "a.zarr", made())))


def test_dates_are_no_bands(tmp_path):
    dated = array(dims=("time", "y", "x"))
    dated = dated.assign_coords(time=("time", [0, 1, 2], {"units": "days since 2020-01-01"}))
    assert "further dimensions (time 3)" in refusal(write(tmp_path / "a.zarr", dated))


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["MARKER"],)


def spoil(path, name=".zarray", **fields):
    found = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps(found | fields))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("which", ["reflectance", "band"])
def test_no_codec_runs_that_calls_what_a_file_names(tmp_path, monkeypatch, zarr_format, which):
    monkeypatch.setenv("MARKER", str(tmp_path / "marker"))
    path = write(tmp_path / "a.zarr", array(), zarr_format)
    if zarr_format == 2:
        spoil(path / which, dtype="|O", filters=[{"id": "pickle", "protocol": 5}], compressor=None)
        for chunk in (file for file in (path / which).iterdir() if not file.name.startswith(".z")):
            chunk.write_bytes(pickle.dumps(Evil()))
    else:
        known = json.loads((path / which / "zarr.json").read_text())
        spoil(path / which, "zarr.json", codecs=[{"name": "numcodecs.pickle"}, *known["codecs"]])
    said = refusal(path)
    assert "unpacked by 'pickle'; expected plain codecs" in said and which in said
    assert not (tmp_path / "marker").exists()


def test_the_summary_of_a_store_is_not_believed(tmp_path):
    """`.zmetadata` repeats all descriptions: what it says was not looked at."""
    path = write(tmp_path / "a.zarr", array())
    summary = json.loads((path / ".zmetadata").read_text())
    for key, fields in summary["metadata"].items():
        if key.endswith(".zarray"):
            fields["filters"] = [{"id": "pickle"}]
    (path / ".zmetadata").write_text(json.dumps(summary))
    with raster_io.opened(path) as dataset:
        np.testing.assert_array_equal(raster_io.read_raw(dataset, Window(0, 0, WIDTH, HEIGHT)), NUMBERS)


@pytest.mark.parametrize(
    ("which", "fields", "words"),
    [
        ("reflectance", {"chunks": [3, 60_000, 60_000], "shape": [3, 60_000, 60_000]}, "bytes in one chunk"),
        ("reflectance", {"shape": [3, 90_000_000, 90_000_000]}, "bytes of numbers in files of"),
        ("x", {"shape": [2**40], "chunks": [100]}, "bytes of a coordinate"),
        ("reflectance", {"shape": [3, -1, 5]}, "not a description of an array"),
        ("reflectance", {"shape": 7}, "not a description of an array"),
        ("reflectance", {"dtype": [["a", "<u2"]]}, "not a description of an array"),
        ("reflectance", {"compressor": {"id": 5}}, "unpacked by 5"),
        ("reflectance", {"compressor": "blosc"}, "not a description of an array"),
    ],
)
def test_descriptions_that_ask_too_much_or_are_none(tmp_path, which, fields, words):
    path = write(tmp_path / "a.zarr", array())
    spoil(path / which, **fields)
    said = refusal(path)
    assert words in said and f"{which}/.zarray" in said, said


@pytest.mark.parametrize("said", ["nonsense", 5, {}])
def test_a_place_that_is_none_is_named(tmp_path, said):
    path = write(tmp_path / "a.zarr", array())
    spoil(path / "spatial_ref", ".zattrs", crs_wkt=said, spatial_ref=said)
    assert "a.zarr: cannot be read (" in refusal(path)


@pytest.mark.parametrize("filters", [[{"id": "astype"}], [{"id": "zlib"}, {"id": "zlib"}], [{"id": "packbits"}]])
def test_what_makes_much_of_little_is_refused(tmp_path, filters):
    path = write(tmp_path / "a.zarr", array())
    spoil(path / "reflectance", filters=filters, compressor={"id": "gzip"})
    assert re.search("unpacked by '|a codec comes twice", refusal(path))


def test_a_shard_that_is_packed_once_more_is_one_chunk(tmp_path):
    path = write(tmp_path / "a.zarr", array(), 3, chunks=(1, 16, 30), shards=(3, 64, 60))
    known = json.loads((path / "reflectance/zarr.json").read_text())
    known["chunk_grid"]["configuration"]["chunk_shape"] = [3, 20_000, 20_000]
    known["codecs"].append({"name": "gzip", "configuration": {"level": 5}})
    (path / "reflectance/zarr.json").write_text(json.dumps(known))
    assert "bytes in one chunk" in refusal(path)


def test_one_array_without_a_group_has_no_place(tmp_path):
    import zarr

    (tmp_path / "private.txt").touch()
    zarr.save(str(tmp_path / "a.zarr"), NUMBERS)
    assert "one array, with nothing that says where it lies" in refusal(tmp_path / "a.zarr")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"zarr_format": 2, "zarr_format": 2}'])
def test_broken_descriptions(tmp_path, text):
    path = write(tmp_path / "a.zarr", array())
    (path / "reflectance" / ".zarray").write_text(text)
    assert ".zarray" in refusal(path)


def test_damaged_numbers(tmp_path):
    path = write(tmp_path / "a.zarr", array(), chunks=(1, 50, 120))
    (path / "reflectance" / "0.1.0").write_bytes(b"no numbers")
    with raster_io.opened(path) as dataset:
        np.testing.assert_array_equal(
            raster_io.read_valid(dataset, [1], Window(0, 0, 9, 9), False)[0][0], NUMBERS[0, :9, :9]
        )
        with pytest.raises(Refused, match=r"a\.zarr: cannot be read \(.*damaged, not whole"):
            raster_io.read_valid(dataset, [1], Window(0, 60, 9, 9), False)


def test_links_pipes_and_folders_that_are_no_store(tmp_path):
    path = write(tmp_path / "a.zarr", array())
    (path / "reflectance" / "0.9.9").symlink_to("/etc/hostname")
    assert "0.9.9 is a link; expected plain files" in refusal(path)
    (path / "reflectance" / "0.9.9").unlink()
    elsewhere = write(tmp_path / "b.zarr", array())
    (path / "more").symlink_to(elsewhere / "reflectance")
    assert "more is a link; expected plain files" in refusal(path)
    (path / "more").unlink()
    os.mkfifo(path / "x" / "9")
    assert "9 is a pipe; expected plain files" in refusal(path)
    (path / "x" / "9").unlink()
    (path / "typo").mkdir()
    assert "expected an array of" in refusal(path / "typo") and "such as band, reflectance" in refusal(path / "typo")
    (tmp_path / "c.zarr").mkdir()
    assert "no Zarr store" in refusal(tmp_path / "c.zarr")
    assert store.root_of(path / ".." / "x.tif") is None
    (tmp_path / "file.zarr").write_bytes(b"II*\0")
    assert store.root_of(tmp_path / "file.zarr") is None


def test_missing_packages_are_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.zarr", array())
    monkeypatch.setitem(sys.modules, "rioxarray", None)
    monkeypatch.setattr(cube.importlib.util, "find_spec", lambda name: None if name == "rioxarray" else True)
    assert "needs rioxarray, not installed here: pip install 'lcjax[xarray]'" in refusal(path)


def test_masks_are_files(tmp_path):
    path = write(tmp_path / "a.zarr", array())
    with raster_io.opened(path) as dataset, pytest.raises(Refused, match="a mask in a Zarr store; expected a file"):
        raster_io.check_here(dataset)
