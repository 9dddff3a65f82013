"""The embedded default: the same pixels everywhere, in the published layouts, killable, and worth learning from."""

import hashlib
import json
import pathlib

import numpy as np
import pytest
import rasterio

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.datasets.sample import landscape, make, noise, sentinel
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import AERIAL, S1, S2

# Later work measures against these pixels: a change here is a change of make.VERSION (see the sample's README).
GOLDEN = {
    ("validation", 0): "68e837f77417b150b864c6c4c68d016671d4e82c4e8c8fe0a4d259323d37383d",
    ("test", 3): "f22719581497459ad6e9387aef54a952f9291e8ff31141a202d20c536100e2dc",
    ("unlabelled", 5): "5dd9a75c49d3434810ac146b7eded8df123957faccdcbd3842486375bf18b400",
}
GOLDEN_PATCH = {
    0: "c10aa7de1248201683259a6fccac4292d3961d6eff95c9b17f8686abdf03750d",
    3: "ebbcba046583b98e8fa2f0f81a6d683fb196b943f3f5c0048e0ee9d1a5e09359",
}


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over name, dtype, shape and values of each array, by name; little-endian everywhere."""
    sha = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha.update(f"{name} {array.dtype.newbyteorder('<').str} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return sha.hexdigest()


@pytest.mark.parametrize(("part", "index"), GOLDEN)
def test_tiles_are_the_same_pixels_everywhere(part, index):
    assert digest(make.tile_arrays(0, part, index)) == GOLDEN[part, index]


@pytest.mark.parametrize("zone", GOLDEN_PATCH)
def test_patches_are_the_same_pixels_everywhere(zone):
    assert digest(make.patch_arrays(0, zone, 0)) == GOLDEN_PATCH[zone]


def test_seed_part_and_number_each_make_another_tile():
    first = make.tile_arrays(0, "test", 0)["s2"]
    for other in ((1, "test", 0), (0, "validation", 0), (0, "test", 1)):
        assert (make.tile_arrays(*other)["s2"] != first).mean() > 0.9


def test_draws_have_the_moments_they_promise():
    draws = noise.Draws(1, 2, 3)
    normal, speckle = draws.normal(200_000), draws.gamma(4, (200_000,))
    np.testing.assert_allclose([normal.mean(), normal.std()], [0, 1], atol=0.01)
    np.testing.assert_allclose([speckle.mean(), speckle.var()], [1, 0.25], atol=0.01)
    uniform = draws.uniform(2.0, 4.0, (200_000,))
    np.testing.assert_allclose([uniform.mean(), uniform.min(), uniform.max()], [3, 2, 4], atol=0.01)
    assert draws.uniform().shape == ()


def test_every_class_is_frequent_and_every_tile_mixed():
    number = make.PARTS["validation"].number
    places = [landscape.place(noise.Draws(0, number, index, 0)) for index in range(16)]
    counts = np.stack([np.bincount(place.classes.ravel(), minlength=11) for place in places])
    scored = [land_class.id for land_class in DFC2020.scored]
    assert counts.sum() == counts[:, scored].sum()
    assert (counts.sum(axis=0)[scored] / counts.sum()).min() > 0.04
    assert ((counts > 655).sum(axis=1) >= 4).all()


def test_sensors_share_the_place_and_nothing_else():
    place = landscape.place(noise.Draws(0, 0, 0, 0))
    np.testing.assert_allclose(place.cover.sum(axis=2), 1.0, atol=1e-9)
    optical = sentinel.sentinel2(place, noise.Draws(0, 0, 0, 1)).astype(float)
    again = sentinel.sentinel2(place, noise.Draws(9, 0, 0, 1)).astype(float)
    water = place.classes == landscape.WATER
    assert abs(np.corrcoef(optical[water][:, 7], again[water][:, 7])[0, 1]) < 0.9
    assert optical[:, :, 7][water].mean() < 0.3 * optical[:, :, 7][~water].mean()
    assert 5 < optical[:, :, 10].mean() < 20  # B10 sees next to nothing of the ground
    radar = sentinel.sentinel1(place, noise.Draws(0, 0, 0, 2))
    assert radar[:, :, 0][water].mean() < radar[:, :, 0][~water].mean() - 3
    assert (radar[:, :, 0].mean() > radar[:, :, 1].mean() + 4) and -30 < radar.mean() < -10


@pytest.fixture(scope="module")
def sample(tmp_path_factory, request) -> pathlib.Path:
    """A still smaller sample than `tiny`, made in this process."""
    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    patch.setitem(make.SIZES, "tiny", {"validation": 1, "test": 1, "unlabelled": 1, "flair": 1, "scene": 90})
    root = tmp_path_factory.mktemp("sample")
    assert make.make(root, tiles="tiny", workers=1) == 8
    return root


def test_the_scene_is_one_place_for_both_sensors(sample):
    shapes = {}
    for name in ("s1", "s2", "dfc"):
        with rasterio.open(sample / "scenes" / f"scene_{name}.tif") as file:
            shapes[name] = (file.shape, file.crs.to_epsg(), file.transform)
    assert shapes["s1"] == shapes["s2"] == shapes["dfc"]
    assert shapes["s1"][0] == (90, 90)


FILES = {  # path -> bands, dtype, EPSG, pixel
    "ROIs0000_validation/s1_0/ROIs0000_validation_s1_0_p0.tif": (S1.bands, "float32", 32632, 10.0),
    "ROIs0000_validation/s2_0/ROIs0000_validation_s2_0_p0.tif": (S2.bands, "uint16", 32632, 10.0),
    "ROIs0000_validation/lc_0/ROIs0000_validation_lc_0_p0.tif": (make.LC_BANDS, "uint8", 32632, 10.0),
    "ROIs0000_test/dfc_0/ROIs0000_test_dfc_0_p0.tif": (("DFC",), "uint8", 32734, 10.0),
    "ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p0.tif": (S2.bands, "uint16", 32631, 10.0),
    "flair_aerial_train/D004_2021/Z10_AU/img/IMG_000826.tif": (AERIAL.bands, "uint8", None, 0.2),
    "flair_1_labels_test/D012_2019/Z5_UN/msk/MSK_061712.tif": (("MSK",), "uint8", None, 0.2),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_as_published(sample, name):
    bands, dtype, epsg, pixel = FILES[name]
    with rasterio.open(sample / name) as file:
        edge = 256 if epsg else 512
        assert (file.count, file.height, file.width) == (len(bands), edge, edge)
        assert file.descriptions == tuple(bands)
        assert set(file.dtypes) == {dtype}
        assert file.crs.to_epsg() == epsg
        assert epsg or (file.crs.wkt.startswith('LOCAL_CS["unnamed"') and 'UNIT["metre",1' in file.crs.wkt)
        assert (file.transform.a, file.transform.e) == (pixel, -pixel)
        values = file.read()
    assert np.isfinite(values).all()
    allowed = {"dfc": DFC2020.allowed_ids, "msk": FLAIR1.allowed_ids, "lc_": range(256)}
    for word, ids in allowed.items():
        if f"/{word}" in name:
            assert set(np.unique(values)) <= set(ids)


def test_files_hold_what_was_drawn(sample):
    arrays = make.tile_arrays(0, "validation", 0)
    for sensor, array in arrays.items():
        path = sample / f"ROIs0000_validation/{sensor}_0/ROIs0000_validation_{sensor}_0_p0.tif"
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(np.moveaxis(file.read(), 0, 2), array)
    assert not list((sample / "ROIs1158_spring").glob("dfc*"))


def test_coarse_map_is_in_blocks_and_half_right():
    right = []
    table = {1: (1, 2, 3, 4, 5), 2: (6, 7), 4: (10,), 5: (11,), 6: (12, 14), 7: (13,), 9: (16,), 10: (17,)}
    for index in range(8):
        arrays = make.tile_arrays(0, "validation", index)
        igbp, truth = arrays["lc"][:, :, 0], arrays["dfc"][:, :, 0]
        right += [np.isin(igbp[truth == k], table[k]).mean() for k in np.unique(truth)]
        assert (np.diff(igbp.astype(int), axis=0) != 0).any(axis=1).sum() <= 6
    assert 0.2 < np.mean(right) < 0.8


def test_aerial_metadata(sample):
    metadata = json.loads((sample / "flair-1_metadata_aerial.json").read_text())
    images = {path.stem for path in sample.glob("flair*aerial*/**/*.tif")}
    assert set(metadata) == images
    keys = {"domain", "zone", "patch_centroid_x", "patch_centroid_y", "patch_centroid_z", "date", "time", "camera"}
    assert all(set(fields) == keys for fields in metadata.values())
    assert metadata["IMG_000826"]["time"] == "08h06" and metadata["IMG_000826"]["zone"] == "Z10_AU"


def test_second_run_makes_only_what_is_missing(sample):
    paths = sorted(sample.rglob("*.tif"))
    before = {path: path.stat().st_mtime_ns for path in paths}
    lost = sample / "ROIs0000_test/s1_0/ROIs0000_test_s1_0_p0.tif"
    lost.unlink()
    assert make.make(sample, tiles="tiny", workers=1) == 1
    after = {path: path.stat().st_mtime_ns for path in sorted(sample.rglob("*.tif"))}
    assert after.keys() == before.keys()
    assert {path.name for path in paths if after[path] != before[path]} == {
        f"ROIs0000_test_{sensor}_0_p0.tif" for sensor in ("s1", "s2", "lc", "dfc")
    }
    assert make.make(sample, tiles="tiny", workers=1) == 0
    assert not list(sample.rglob(".*"))


def test_wrong_input_is_one_line(sample, tmp_path, capsys):
    with pytest.raises(InputError, match="another folder"):
        make.make(sample, seed=1, tiles="tiny")
    with pytest.raises(InputError, match="expected one of tiny, demo"):
        make.make(tmp_path, tiles="huge")
    (tmp_path / "file").write_text("")
    assert make.main([str(tmp_path / "file"), "--tiles=tiny"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
