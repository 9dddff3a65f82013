"""Scenes are opened as the card wants them or refused in one line; maps are whole, named and coloured."""

import json
import os
import pathlib
import re
import warnings

import numpy as np
import pytest
import rasterio

from data_pipelines.bands import S1, S2
from data_pipelines.errors import InputError
from data_pipelines.legends import DFC2020
from lcjax import scene as scenes
from lcjax.card import Card
from lcjax.streams import sensors_of

UTM = "EPSG:32633"


def from_origin(left, top, across, down):
    """As rasterio's, which warns with affine 3."""
    return rasterio.Affine(across, 0, left, 0, -down, top)


GRID = from_origin(500000.25, 5400000.75, 10, 10)


def card(fusion="s2", tile=32):
    return Card("fake", fusion, sensors_of(fusion), DFC2020, tile, "sample 1.0.0", {}, {})


def digital_numbers(height=40, width=50, dtype="uint16"):
    rng = np.random.default_rng(0)
    return (rng.integers(300, 4000, (13, height, width)) // np.linspace(1, 5, 13)[:, None, None]).astype(dtype)


def decibels(height=40, width=50, dtype="float32"):
    return np.random.default_rng(1).uniform(-25, -1, (2, height, width)).astype(dtype)


def write(path, values, names=None, crs=UTM, transform=GRID, tags=None, band_tags=None, **profile):
    profile = {"driver": "GTiff", "crs": crs, "transform": transform} | profile
    count, height, width = values.shape
    with rasterio.open(path, "w", count=count, height=height, width=width, dtype=values.dtype, **profile) as out:
        out.write(values)
        for index, name in enumerate(names or (), 1):
            out.set_band_description(index, name)
        out.update_tags(**(tags or {}))
        for index in range(1, count + 1) if band_tags else ():
            out.update_tags(index, **band_tags)
    return path


def read_all(path, fusion="s2", sensor="s2", **options):
    """Everything a scene of one sensor gives: stored integers, valid, lines said."""
    said = []
    with scenes.open_scene(card(fusion), {sensor: path}, say=said.append, **options) as scene:
        inputs, valid = scene.read(0, scene.grid.height)
    return inputs[sensor], valid, said


def refusal(path, fusion="s2", sensor="s2", **options):
    with pytest.raises(InputError) as caught:
        read_all(path, fusion, sensor, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or path.name in str(caught.value)
    return str(caught.value)


# ---- bands ----------------------------------------------------------------------------------------------------------


def test_named_bands_are_put_in_the_sensors_order(tmp_path):
    values = digital_numbers()
    order = np.random.default_rng(2).permutation(13)
    path = write(tmp_path / "s.tif", values[order], [S2.bands[i].lower() for i in order])
    stored, valid, said = read_all(path)
    np.testing.assert_array_equal(stored, np.moveaxis(values, 0, -1))
    assert stored.dtype == np.uint16 and valid.all() and not said


def test_unnamed_bands_need_the_option_and_follow_it(tmp_path):
    values = digital_numbers()
    path = write(tmp_path / "s.tif", values)
    message = refusal(path)
    assert "13 bands without known names" in message and "--bands=s2" in message
    turned = write(tmp_path / "t.tif", values[::-1])
    np.testing.assert_array_equal(read_all(turned, bands=S2.bands[::-1])[0], np.moveaxis(values, 0, -1))


def test_wrong_band_counts_are_refused(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers()[:12])
    assert "12 bands without known names" in refusal(path) and "13 of s2" in refusal(path)
    assert "12 bands, but --bands lists 13" in refusal(path, bands=S2.bands)
    named = write(tmp_path / "n.tif", digital_numbers()[:12], S2.bands[:12])
    assert "missing: B12" in refusal(named)


def test_bands_that_contradict_the_file_are_followed_and_said(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands)
    _, _, said = read_all(path, bands=S2.bands[::-1])
    assert len(said) == 1 and "--bands has been followed" in said[0]


def test_more_bands_than_needed_are_left_alone(tmp_path):
    values = digital_numbers()
    path = write(tmp_path / "s.tif", np.concatenate([values[:1] * 0 + 7, values]), ["cloud", *S2.bands])
    np.testing.assert_array_equal(read_all(path)[0], np.moveaxis(values, 0, -1))


# ---- files and grids ------------------------------------------------------------------------------------------------


def test_missing_folder_and_text_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.tif")
    assert "a folder" in refusal(tmp_path)
    (tmp_path / "text.tif").write_text("hello")
    assert "not a raster" in refusal(tmp_path / "text.tif")


def test_a_cut_off_file_is_refused(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands)
    path.write_bytes(path.read_bytes()[:-20000])
    assert "cannot be read" in refusal(path) or "not a raster" in refusal(path)


def test_no_place_on_earth_is_refused(tmp_path):
    message = refusal(write(tmp_path / "a.tif", digital_numbers(), S2.bands, crs=None))
    assert "no coordinate reference system" in message and "rio edit-info --crs" in message
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        plain = write(tmp_path / "b.tif", digital_numbers(), S2.bands, transform=None)
    assert "no transform" in refusal(plain)
    local = 'LOCAL_CS["plant",UNIT["metre",1]]'
    assert "neither geographic nor projected" in refusal(
        write(tmp_path / "c.tif", digital_numbers(), S2.bands, crs=local)
    )


def test_tiny_scenes_are_refused_and_small_ones_announced(tmp_path):
    assert "expected at least 16 x 16" in refusal(write(tmp_path / "a.tif", digital_numbers(12, 50), S2.bands))
    _, _, said = read_all(write(tmp_path / "b.tif", digital_numbers(20, 50), S2.bands))
    assert len(said) == 1 and "50 x 20 pixels, smaller than a tile of 32" in said[0]


@pytest.mark.parametrize(
    ("crs", "step", "fits"),
    [
        (UTM, (10, 10), True),
        (UTM, (14, 8), True),
        (UTM, (20, 20), False),
        (UTM, (10, 20), False),
        (UTM, (0.2, 0.2), False),
        ("EPSG:2229", (32.8, 32.8), True),  # US survey feet
        ("EPSG:2229", (10, 10), False),
        ("EPSG:4326", (0.0002, 0.00009), True),  # at 60 degrees north a degree of longitude is half as long
        ("EPSG:4326", (0.0001, 0.0001), False),
    ],
)
def test_ground_sampling(tmp_path, crs, step, fits):
    corner = (16, 60) if crs == "EPSG:4326" else (500000, 5400000)
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands, crs=crs, transform=from_origin(*corner, *step))
    if fits:
        read_all(path)
    else:
        message = refusal(path)
        assert "knows s2 at 10 m" in message and "pixels of" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crs": "EPSG:32634"}, "CRS EPSG:32634 where"),
        ({"transform": from_origin(500010.25, 5400000.75, 10, 10)}, "up to 1 pixels away"),
        ({"transform": from_origin(500000.25, 5400000.75, 10.1, 10)}, "up to 0.5 pixels away"),
        ({"values": digital_numbers(41, 50)}, "50 x 41 pixels where"),
    ],
)
def test_sensors_on_different_grids_are_refused(tmp_path, change, words):
    radar = write(tmp_path / "s1.tif", decibels(), S1.bands)
    optical = write(tmp_path / "s2.tif", **{"values": digital_numbers(), "names": S2.bands} | change)
    with (
        pytest.raises(InputError, match=re.escape(words)) as caught,
        scenes.open_scene(card("late"), {"s1": radar, "s2": optical}),
    ):
        pass
    assert str(radar) in str(caught.value) and str(optical) in str(caught.value)


def test_two_sensors_share_one_list_of_bands(tmp_path):
    radar = write(tmp_path / "s1.tif", decibels()[::-1], ["bands", "bands"])
    optical = write(tmp_path / "s2.tif", digital_numbers())
    files, bands = {"s1": radar, "s2": optical}, [*S2.bands, "VH", "VV"]
    with scenes.open_scene(card("early"), files, bands=bands) as scene:
        inputs, valid = scene.read(3, 20)
    assert inputs["s1"].dtype == np.int16 and inputs["s1"].shape == (17, 50, 2) and valid.shape == (17, 50)
    np.testing.assert_array_equal(inputs["s1"][..., 0], np.rint(decibels()[0, 3:20] * 100))
    np.testing.assert_array_equal(inputs["s2"], np.moveaxis(digital_numbers()[:, 3:20], 0, -1))


def test_files_for_other_sensors_are_refused(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands)
    with pytest.raises(InputError, match="--scene=s1=FILE,s2=FILE"), scenes.open_scene(card("late"), {"s2": path}):
        pass


# ---- what the numbers mean ------------------------------------------------------------------------------------------


def test_radar_must_be_decibels(tmp_path):
    power = write(tmp_path / "power.tif", 10 ** (decibels() / 10), S1.bands)
    assert "none below 0" in refusal(power, "s1", "s1") and "10*log10" in refusal(power, "s1", "s1")
    hundredths = write(tmp_path / "hundredths.tif", (decibels() * 100).astype("int16"), S1.bands)
    assert "expected backscatter in dB" in refusal(hundredths, "s1", "s1")
    with rasterio.open(hundredths, "r+") as dataset:
        dataset.scales = (0.01, 0.01)
    stored, _, said = read_all(hundredths, "s1", "s1")
    np.testing.assert_array_equal(stored, np.moveaxis((decibels() * 100).astype("int16"), 0, -1))
    assert "band scale" in said[0]
    slc = write(tmp_path / "slc.tif", decibels().astype("complex64"), S1.bands)
    assert "complex" in refusal(slc, "s1", "s1")


def test_optical_must_be_digital_numbers(tmp_path):
    reflectance = write(tmp_path / "r.tif", (digital_numbers() / 1e4).astype("float32"), S2.bands)
    assert "reflectance in 0..1" in refusal(reflectance)
    assert "uint8" in refusal(write(tmp_path / "p.tif", digital_numbers().astype("uint8"), S2.bands))
    for kind in ("float32", "float64", "int16", "int32"):
        stored, _, said = read_all(write(tmp_path / f"{kind}.tif", digital_numbers(dtype=kind), S2.bands))
        np.testing.assert_array_equal(stored, np.moveaxis(digital_numbers(), 0, -1))
        assert stored.dtype == np.uint16 and not said


def test_a_hidden_offset_is_refused_and_the_option_heals(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers() + np.uint16(1000), S2.bands)
    message = refusal(path)
    assert "--offset=-1000" in message and "--offset=0" in message
    stored, _, said = read_all(path, offset=-1000)
    np.testing.assert_array_equal(stored, np.moveaxis(digital_numbers(), 0, -1))
    assert len(said) == 1 and "-1000 added" in said[0] and "--offset" in said[0]
    stored, _, said = read_all(path, offset=0)
    np.testing.assert_array_equal(stored, np.moveaxis(digital_numbers() + 1000, 0, -1))
    assert len(said) == 1 and "0 added" in said[0]


def test_what_is_below_the_offset_becomes_zero(tmp_path):
    values = digital_numbers()
    stored, _, _ = read_all(write(tmp_path / "s.tif", values, S2.bands), offset=-1000)
    np.testing.assert_array_equal(stored, np.moveaxis(np.maximum(values.astype(int) - 1000, 0), 0, -1))


def test_padding_does_not_hide_the_offset(tmp_path):
    values = digital_numbers() + np.uint16(1000)
    values[:, :20] = 0
    assert "--offset=-1000" in refusal(write(tmp_path / "s.tif", values, S2.bands))


@pytest.mark.parametrize(
    "told",
    [
        {"tags": {"BOA_ADD_OFFSET": "-1000"}},
        {"tags": {"RADIO_ADD_OFFSET_B1": "-1000", "RADIO_ADD_OFFSET_B2": "-1000.0"}},
        {"band_tags": {"RADIO_ADD_OFFSET": "-1000"}},
        {"tags": {"PROCESSING_BASELINE": "04.00"}},
        {"tags": {"s2:processing_baseline": "05.09"}},
    ],
)
def test_metadata_that_tells_is_followed_and_said(tmp_path, told):
    path = write(tmp_path / "s.tif", digital_numbers() + np.uint16(1000), S2.bands, **told)
    if len(told.get("tags", {})) == 2:
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(RADIO_ADD_OFFSET_B2="-1000")
    stored, _, said = read_all(path)
    np.testing.assert_array_equal(stored, np.moveaxis(digital_numbers(), 0, -1))
    assert len(said) == 1 and "-1000 added" in said[0] and "tag" in said[0]
    assert "says -1000" in read_all(path, offset=-900)[2][0]  # the option wins, and says what it overrides


@pytest.mark.parametrize(("scale", "shift"), [(1e-4, -0.1), (1.0, -1000.0)])
def test_the_files_own_band_offset_is_followed(tmp_path, scale, shift):
    path = write(tmp_path / "s.tif", digital_numbers() + np.uint16(1000), S2.bands)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (scale,) * 13, (shift,) * 13
    stored, _, said = read_all(path)
    np.testing.assert_array_equal(stored, np.moveaxis(digital_numbers(), 0, -1))
    assert "band offset" in said[0]


def test_metadata_that_cannot_be_true_is_refused(tmp_path):
    removed = write(tmp_path / "a.tif", digital_numbers(), S2.bands, tags={"PROCESSING_BASELINE": "05.00"})
    assert "seems added" in refusal(removed) and "--offset=0" in refusal(removed)
    np.testing.assert_array_equal(read_all(removed, offset=0)[0], np.moveaxis(digital_numbers(), 0, -1))
    mixed = write(tmp_path / "b.tif", digital_numbers(), S2.bands, tags={"BOA_ADD_OFFSET": "-1000 or so"})
    assert "expected one number" in refusal(mixed)
    scaled = write(tmp_path / "c.tif", digital_numbers(), S2.bands)
    with rasterio.open(scaled, "r+") as dataset:
        dataset.scales = (2.75e-5,) * 13
    assert "band scale 2.75e-05" in refusal(scaled)


def test_an_old_baseline_says_nothing(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands, tags={"PROCESSING_BASELINE": "03.01"})
    assert not read_all(path)[2]


def test_the_offset_is_only_for_sentinel_2(tmp_path):
    path = write(tmp_path / "s.tif", decibels(), S1.bands)
    with pytest.raises(InputError, match="only for Sentinel-2"):
        read_all(path, "s1", "s1", offset=-1000)


# ---- no data --------------------------------------------------------------------------------------------------------


def test_nodata_nan_infinity_and_padding_are_invalid_and_never_reach_the_network(tmp_path):
    values = decibels()
    values[0, 1, 1] = np.nan
    values[1, 2, 2] = -np.inf
    values[1, 3, 3] = -9999
    values[:, 4, 4] = 0
    values[0, 5, 5] = 0  # one band alone may be 0
    stored, valid, _ = read_all(write(tmp_path / "s.tif", values, S1.bands, nodata=-9999), "s1", "s1")
    assert sorted(map(tuple, np.argwhere(~valid).tolist())) == [(1, 1), (2, 2), (3, 3), (4, 4)]
    assert (stored[~valid] == -2500).all()  # what scales to zero
    assert (stored[valid] <= 0).all() and (stored[valid] >= -2500).all()


def test_the_datasets_mask_counts(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands)
    mask = np.full((40, 50), 255, np.uint8)
    mask[:7] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    stored, valid, _ = read_all(path)
    np.testing.assert_array_equal(valid, mask > 0)
    assert (stored[~valid] == 0).all()


def test_a_scene_of_nothing_is_refused(tmp_path):
    assert "no valid pixel" in refusal(write(tmp_path / "s.tif", digital_numbers() * 0, S2.bands))


# ---- the map --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_the_map_keeps_place_and_carries_names_and_colours(tmp_path, crs):
    turned = rasterio.Affine(9.9, 1.1, 500000.123456789, 1.1, -9.9, 5400000.987654321)
    transform = turned if crs == UTM else from_origin(16.123456789, 47.987654321, 0.00013, 0.00009)
    path = write(tmp_path / "s.tif", digital_numbers(600, 700), S2.bands, crs=crs, transform=transform)
    ids = np.random.default_rng(3).choice(np.array([1, 2, 6, 10, 255], np.uint8), (600, 700))
    ids[:, 350:] = 10
    output = tmp_path / "map.tif"
    with scenes.open_scene(card(), {"s2": path}) as scene:
        strips = ((first, ids[first : first + 130]) for first in range(0, 600, 130))
        counts = scenes.write_map(output, scene, DFC2020, strips, {"LCJAX_MODEL": "fake"})
    assert counts.tolist() == np.bincount(ids.ravel(), minlength=256).tolist()
    assert sorted(os.listdir(tmp_path)) == ["map.tif", "map.tif.aux.xml", "s.tif"]  # no temporary file stays

    with rasterio.open(path) as source, rasterio.open(output) as result:
        np.testing.assert_array_equal(result.read(1), ids)
        assert result.crs == source.crs and result.transform == source.transform
        assert result.dtypes == ("uint8",) and result.nodata == 255 and result.descriptions == ("land cover",)
        assert result.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and result.block_shapes == [(512, 512)]
        assert result.overviews(1) == [2]
        colours = result.colormap(1)
        assert colours[1] == (0, 0x99, 0, 255) and colours[10] == (0x1C, 0x0D, 0xFF, 255) and colours[255][3] == 0
        classes = {c.id: c.name for c in DFC2020.scored}
        assert json.loads(result.tags()["LCJAX_CLASSES"]) == {str(i): name for i, name in classes.items()}
        assert result.tags(1) == {f"CLASS_{i}": name for i, name in classes.items()}
        assert result.tags()["LCJAX_LEGEND"] == "dfc2020" and result.tags()["LCJAX_MODEL"] == "fake"
    with rasterio.open(output, overview_level=0) as overview:
        assert set(np.unique(overview.read(1))) <= {1, 2, 6, 10, 255}  # classes, not their means
    listed = re.findall("<Category>(.*)</Category>", (tmp_path / "map.tif.aux.xml").read_text())
    assert {i: name for i, name in enumerate(listed) if name} == classes
    assert scenes.read_map(output, 100).shape == (86, 100)


def test_a_broken_run_leaves_no_map_and_keeps_the_old_one(tmp_path):
    path, output = write(tmp_path / "s.tif", digital_numbers(), S2.bands), tmp_path / "map.tif"
    output.write_text("the old map")

    def strips():
        yield 0, np.ones((10, 50), np.uint8)
        raise FloatingPointError("network")

    with pytest.raises(FloatingPointError), scenes.open_scene(card(), {"s2": path}) as scene:
        scenes.write_map(output, scene, DFC2020, strips(), {})
    assert sorted(os.listdir(tmp_path)) == ["map.tif", "s.tif"] and output.read_text() == "the old map"


def test_outputs_that_cannot_be_are_refused_before_work(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.tif").mkdir()
    scene = tmp_path / "scene.tif"
    for output, words in (
        (tmp_path / "map.png", "ends in .tif"),
        (tmp_path / "map", "ends in .tif"),
        (tmp_path / "folder.tif", "a folder"),
        (tmp_path / "folder.tif" / ".." / "scene.tif", "the scene itself"),
        (tmp_path / "file" / "map.tif", "cannot write there"),
        (pathlib.Path("/proc/nowhere/map.tif"), "cannot write there"),
    ):
        with pytest.raises(InputError, match=words):
            scenes.prepare_output(output, [scene])
    scenes.prepare_output(tmp_path / "a" / "b" / "map.tif", [scene])
    assert (tmp_path / "a" / "b").is_dir() and not os.listdir(tmp_path / "a" / "b")


def test_the_picture_is_8_bit_and_small(tmp_path):
    values = decibels()
    values[:, :5] = np.nan
    with scenes.open_scene(card("s1"), {"s1": write(tmp_path / "s.tif", values, S1.bands)}) as scene:
        picture = scene.picture(25)
    assert picture.shape == (20, 25, 3) and picture.dtype == np.uint8
    assert (picture[0] == 255).all() and picture[5:].std() > 20
