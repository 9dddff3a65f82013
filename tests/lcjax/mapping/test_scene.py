"""Scenes are opened as the card wants them or refused in one line."""

import dataclasses
import os
import re
import socket
import warnings

import numpy as np
import pytest
import rasterio
import strangers
import worlds
from printed import printed
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.sample.make import FLAIR_CRS
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S1, S2, Scaling, Sensor
from lcjax.mapping import scene as scenes
from lcjax.mapping import scene_list
from lcjax.runs.model_card import Card
from lcjax.tasks.fusion import sensors_of

UTM = "EPSG:32633"


def from_origin(left, top, across, down):
    """As rasterio's, which warns with affine 3."""
    return rasterio.Affine(across, 0, left, 0, -down, top)


GRID = from_origin(500000.25, 5400000.75, 10, 10)


def card(fusion="s2", tile=32):
    return Card("fake", fusion, sensors_of(fusion, worlds.held(fusion)), DFC2020, tile, "sample 1.0.0", {}, {})


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
    with printed() as said, scenes.open_scene(card(fusion), {sensor: path}, **options) as scene:
        inputs, valid = scene.read(0, scene.grid.height)
    return inputs[sensor], valid, said.lines


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
    np.testing.assert_array_equal(read_all(turned, bands={"s2": S2.bands[::-1]})[0], np.moveaxis(values, 0, -1))


def test_wrong_band_counts_are_refused(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers()[:12])
    assert "12 bands without known names" in refusal(path) and "13 of s2" in refusal(path)
    assert "12 bands, but --bands lists 13" in refusal(path, bands={"s2": S2.bands})
    named = write(tmp_path / "n.tif", digital_numbers()[:12], S2.bands[:12])
    assert "missing: B12" in refusal(named)


def test_bands_that_contradict_the_file_are_followed_and_said(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands)
    _, _, said = read_all(path, bands={"s2": S2.bands[::-1]})
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
    assert "no raster of a known format" in refusal(tmp_path / "text.tif")


@pytest.mark.parametrize("what", strangers.NAMES)
def test_a_program_is_no_scene(tmp_path, monkeypatch, what):
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        text = strangers.programs(f"http://127.0.0.1:{server.getsockname()[1]}")[what]
        write(tmp_path / "good.tif", digital_numbers(), S2.bands)
        (tmp_path / "a.tif").write_text(text)
        assert "a.tif: " in refusal(tmp_path / "a.tif")
        assert sorted(os.listdir(tmp_path)) == ["a.tif", "good.tif"]
        with pytest.raises(BlockingIOError):
            server.accept()


def test_what_prepare_refuses_as_an_image_is_no_scene_either(tmp_path):
    values = np.stack([digital_numbers()[0]] * 14)
    path = write(tmp_path / "s.tif", values, [*S2.bands, "NIR"])
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.undefined] * 13 + [ColorInterp.alpha]
    assert "band 14 is declared alpha but holds values between 0 and 65535" in refusal(path)
    path = write(tmp_path / "p.tif", values[:1].astype(np.uint8), photometric="PALETTE")
    assert "a palette image" in refusal(path)


def test_a_scene_of_control_points_alone_is_refused_with_the_command(tmp_path):
    points = [GroundControlPoint(row, column, 15 + column / 9e3, 45 - row / 9e3) for row in (0, 9) for column in (0, 9)]
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands, crs="EPSG:4326", transform=None, gcps=points)
    assert "`gdalwarp -tps -t_srs EPSG:4326 s.tif warped.tif`" in refusal(path)


def test_a_cut_off_file_is_refused(tmp_path):
    path = write(tmp_path / "s.tif", digital_numbers(), S2.bands)
    path.write_bytes(path.read_bytes()[:-20000])
    assert "cannot be read" in refusal(path)


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


def test_a_projection_without_a_name_is_to_be_written_in(tmp_path):
    """As the published files of FLAIR-1 have it."""
    path = write(tmp_path / "a.tif", digital_numbers(), S2.bands, crs=FLAIR_CRS)
    with (
        pytest.raises(InputError, match=r"a\.tif: CRS LOCAL_CS.*`rio edit-info --crs EPSG:2154 a\.tif`"),
        scenes.open_scene(card(), {"s2": path}),
    ):
        pass


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
        ({"crs": "EPSG:32634"}, "CRS EPSG:32634, expected EPSG:32633 as in"),
        ({"transform": from_origin(500010.25, 5400000.75, 10, 10)}, "corners up to 1 pixels (10 m) away from"),
        ({"transform": from_origin(500000.25, 5400000.75, 10.1, 10)}, "pixels of 10.1 x 10 m, expected 10 x 10 m"),
        ({"transform": rasterio.Affine(10, 0, 500000.25, 0, 10, 5399600.75)}, "upside down against"),
        ({"values": digital_numbers(41, 50)}, "50 x 41 pixels, expected 50 x 40 as in"),
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
    files, bands = {"s1": radar, "s2": optical}, scene_list.parse_bands([*S2.bands, "VH", "VV"], (S1, S2))
    with scenes.open_scene(card("early"), files, bands=bands) as scene:
        inputs, valid = scene.read(3, 20)
    assert inputs["s1"].dtype == np.int16 and inputs["s1"].shape == (17, 50, 2) and valid.shape == (17, 50)
    np.testing.assert_array_equal(inputs["s1"][..., 0], np.rint(decibels()[0, 3:20] * 100))
    np.testing.assert_array_equal(inputs["s2"], np.moveaxis(digital_numbers()[:, 3:20], 0, -1))


def test_sensors_named_in_any_order_are_read_by_their_names(tmp_path):
    """The bands of a second date are not those that another order of the sensors would give it."""
    bands = {"after": ("NIR", "R", "G", "B"), "before": ("R", "G", "B")}
    sensors = tuple(dataclasses.replace(own(of, "uint16").sensors[0], name=name) for name, of in bands.items())
    image = np.random.default_rng(0).integers(1, 200, (4, 20, 20)).astype("uint16")
    files = {"after": write(tmp_path / "after.tif", image), "before": write(tmp_path / "before.tif", image[:3])}
    for order in (sensors, sensors[::-1]):
        both = dataclasses.replace(own(), fusion="late", sensors=order)
        for words in ("before,after", "after,before", "R,G,B,after"):
            listed = scene_list.parse_bands(words.split(","), order)
            with scenes.open_scene(both, files, bands=listed) as scene:
                assert {one.sensor.name: one.indices for one in scene.layers} == {
                    "after": (1, 2, 3, 4),
                    "before": (1, 2, 3),
                }


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


def test_a_doubt_is_said_and_a_missing_b10_is_none(tmp_path):
    values = digital_numbers() + np.uint16(1000)
    values[10] = 0  # level 2A has no B10
    message = refusal(write(tmp_path / "s.tif", values, S2.bands))
    assert "every band starts near or above 1000" in message and "--offset=-1000" in message
    values[12, :2] = 700
    stored, _, said = read_all(write(tmp_path / "t.tif", values, S2.bands))
    np.testing.assert_array_equal(stored, np.moveaxis(values, 0, -1))
    assert len(said) == 1 and "11 of 12 bands start near or above 1000" in said[0] and "it may carry" in said[0]
    assert not any("may carry" in line for line in read_all(tmp_path / "t.tif", offset=0)[2])


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
    np.testing.assert_array_equal(read_all(mixed, offset=0)[0], np.moveaxis(digital_numbers(), 0, -1))
    scaled = write(tmp_path / "c.tif", digital_numbers(), S2.bands)
    with rasterio.open(scaled, "r+") as dataset:
        dataset.scales = (2.75e-5,) * 13
    assert "scale 2.75e-05, offset 0; expected a scale of 1 or 0.0001" in refusal(scaled)
    with rasterio.open(scaled, "r+") as dataset:
        dataset.scales = (0.0,) * 13
    assert "expected numbers, and a scale that is not 0" in refusal(scaled)


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


# ---- own imagery, other grids, pictures ------------------------------------------------------------------------------


def own(bands=("red", "green", "blue"), dtype="uint8", ground=None, low=0.0, high=255.0):
    """The card of a network of own imagery."""
    scaling = Scaling(1.0, low, high, (100.0,) * len(bands), (50.0,) * len(bands))
    sensor = Sensor(
        "image",
        "own",
        tuple(bands),
        dtype,
        "number",
        scaling,
        tuple(bands[: 3 if len(bands) > 2 else 1]),
        ground,
        False,
    )
    return Card("fake", "image", (sensor,), DFC2020, 32, "rasters/mine 1.0.0", {}, {})


def open_own(card, path, **options):
    with printed() as said, scenes.open_scene(card, {"image": path}, **options) as scene:
        inputs, valid = scene.read(0, scene.grid.height)
    return inputs["image"], valid, said.lines


def test_a_picture_without_a_place_is_mapped_by_a_network_of_such_pictures(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype("uint8")
    values[:, :3] = 0  # black is a colour there
    values[:, :, 40:44] = 255
    path = tmp_path / "p.png"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        write(path, values, driver="PNG", crs=None, transform=None)
    found, valid, _ = open_own(own(), path)
    assert valid.all() and found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.moveaxis(values, 0, -1))
    with pytest.raises(InputError, match="no coordinate reference system"):
        open_own(own(ground=0.5), path)


def test_own_scenes_of_another_kind_are_refused(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 255, (3, 40, 50))
    for values, fits, words in (
        (rgb[:2].astype("uint8"), own(), r"2 bands without known names; expected the 3 of image \(red, green, blue"),
        (digital_numbers(), own(), "13 bands without known names; expected the 3 of image"),
        (rgb.astype("uint16"), own(), "uint16; expected uint8 as in the images of the training"),
        (rgb.astype("float32") * 40, own(dtype="float32"), "% of band red lie outside 0 to 255"),
    ):
        path = write(tmp_path / "s.tif", values, photometric="minisblack")
        with pytest.raises(InputError, match=words) as caught:
            open_own(fits, path, bands={"image": fits.sensors[0].bands} if len(values) == 3 else None)
        assert "\n" not in str(caught.value)


def test_bands_of_own_imagery_are_found_by_name(tmp_path):
    values = np.random.default_rng(0).integers(1, 200, (4, 40, 50)).astype("float32")
    values[2, 5, 6] = np.nan
    fits = own(("NIR", "Height"), "float32")
    found, valid, _ = open_own(fits, write(tmp_path / "s.tif", values, ("a", "height", "nir", "b")))
    assert not valid[5, 6] and valid.sum() == valid.size - 1
    np.testing.assert_array_equal(found[5, 6], [100, 100])  # what scales to zero
    np.testing.assert_array_equal(found[valid], np.moveaxis(values[[2, 1]], 0, -1)[valid])


def test_a_map_of_rasters_without_a_place_lies_nowhere_whatever_the_grid(tmp_path):
    """Of the other sensor there is a view in more or fewer pixels, in a plane that is no place."""
    sensors = tuple(dataclasses.replace(own().sensors[0], name=name) for name in ("fine", "coarse"))
    both = dataclasses.replace(own(), fusion="late", sensors=sensors)
    image = np.random.default_rng(0).integers(1, 200, (3, 80, 96)).astype("uint8")
    files = {}
    for name, values in {"fine": image, "coarse": image[:, ::2, ::2]}.items():
        files[name] = tmp_path / f"{name}.png"
        with warnings.catch_warnings(action="ignore"):
            profile = {"driver": "PNG", "count": 3, "height": values.shape[1], "width": values.shape[2]}
            with rasterio.open(files[name], "w", dtype="uint8", **profile) as png:
                png.write(values)
    with (
        pytest.raises(InputError, match=r"coarse\.png: 48 x 40 pixels, .* e\.g\. with --grid=fine"),
        scenes.open_scene(both, files),
    ):
        pass
    for name, shape, told in (("fine", (80, 96), False), ("coarse", (40, 48), True)):
        with printed() as said, scenes.open_scene(both, files, grid=name) as scene:
            assert scene.grid.crs is None and scene.grid.transform.is_identity
            inputs, valid = scene.read(0, shape[0])
            assert valid.all() and {one.shape for one in inputs.values()} == {(*shape, 3)}
            np.testing.assert_array_equal(
                inputs[name], np.moveaxis(image if name == "fine" else image[:, ::2, ::2], 0, -1)
            )
        assert ("nothing tells whether the network learned from pixels of that size" in said.text) == told


def test_the_other_sensor_is_warped_where_told(tmp_path):
    """A plane is warped to a plane: its values at the pixel centres are known."""
    slope = np.array([0.05, 0.02])
    columns, rows = np.meshgrid(np.arange(80) + 0.5, np.arange(70) + 0.5)
    fine = -25 + slope[0] * columns + slope[1] * rows  # dB on a grid of 10 m, shifted by 103 m and -57 m
    radar = write(
        tmp_path / "s1.tif",
        np.stack([fine, fine - 1]).astype("float32"),
        S1.bands,
        transform=from_origin(500000.25 - 103, 5400000.75 + 57, 10, 10),
    )
    optical = write(tmp_path / "s2.tif", digital_numbers(), S2.bands)
    files = {"s1": radar, "s2": optical}
    with (
        pytest.raises(InputError, match=r"warped onto the grid of one of them, e.g. with --grid=s2"),
        scenes.open_scene(card("late"), files),
    ):
        pass
    with printed() as said, scenes.open_scene(card("late"), files, grid="s2") as scene:
        inputs, valid = scene.read(0, 40)
        assert scene.grid.transform == GRID and scene.grid.shape == (40, 50)
    assert "warped onto the grid of" in said.lines[0] and valid.all()
    columns, rows = np.meshgrid(np.arange(50) + 0.5 + 10.3, np.arange(40) + 0.5 + 5.7)
    expected = -25 + slope[0] * columns + slope[1] * rows
    np.testing.assert_allclose(inputs["s1"][..., 0] / 100, expected, atol=0.0051)  # stored in 0.01 dB
    np.testing.assert_array_equal(inputs["s2"], np.moveaxis(digital_numbers(), 0, -1))
    for grid, words in (("s3", "expected one of several sensors"),):
        with pytest.raises(InputError, match=words), scenes.open_scene(card("late"), files, grid=grid):
            pass


def test_a_sensor_of_coarser_pixels_is_to_be_warped_as_preparation_did(tmp_path):
    sensors = tuple(dataclasses.replace(own(ground=10.0).sensors[0], name=name) for name in ("fine", "coarse"))
    both = dataclasses.replace(own(), fusion="late", sensors=sensors)
    image = np.random.default_rng(0).integers(1, 200, (3, 80, 80)).astype("uint8")
    names = ("red", "green", "blue")
    files = {"fine": write(tmp_path / "fine.tif", image, names)}
    wide = from_origin(GRID.c, GRID.f, 20, 20)
    files["coarse"] = write(tmp_path / "coarse.tif", image[:, ::2, ::2], names, transform=wide)
    for grid in ("", "coarse"):
        with (
            pytest.raises(
                InputError, match=r"knows coarse at 10 m; have it warped onto the grid of fine .*--grid=fine$"
            ),
            scenes.open_scene(both, files, grid=grid),
        ):
            pass
    with scenes.open_scene(both, files, grid="fine") as scene:
        assert scene.grid.shape == (80, 80)


def test_beyond_the_warped_sensor_there_is_no_data(tmp_path):
    radar = write(tmp_path / "s1.tif", decibels(40, 30), S1.bands)
    elsewhere = write(tmp_path / "far.tif", decibels(), S1.bands, transform=from_origin(600000, 5400000, 10, 10))
    optical = write(tmp_path / "s2.tif", digital_numbers(), S2.bands)
    with scenes.open_scene(card("late"), {"s1": radar, "s2": optical}, grid="s2") as scene:
        _, valid = scene.read(0, 40)
    assert valid[:, :30].all() and not valid[:, 31:].any()
    with (
        pytest.raises(InputError, match="see that all sensors cover the same ground"),
        scenes.open_scene(card("late"), {"s1": elsewhere, "s2": optical}, grid="s2"),
    ):
        pass


def test_the_fingerprint_is_of_what_is_shown(tmp_path):
    values = digital_numbers()

    def fingerprint(path, **options):
        with scenes.open_scene(card(), {"s2": path}, **options) as scene:
            return scene.fingerprint

    first = fingerprint(write(tmp_path / "a.tif", values, S2.bands))
    assert first == fingerprint(write(tmp_path / "b.tif", values, S2.bands, compress="lzw", tiled=True))
    assert first != fingerprint(tmp_path / "a.tif", offset=-10)
    assert first != fingerprint(write(tmp_path / "c.tif", values, S2.bands, crs="EPSG:32634"))
    values[3, 20, 20] += 1
    assert first != fingerprint(write(tmp_path / "d.tif", values, S2.bands))


def test_gdal_keeps_enough_blocks_for_a_strip_and_not_gigabytes(tmp_path):
    with scenes.open_scene(card(), {"s2": write(tmp_path / "s.tif", digital_numbers(), S2.bands)}):
        assert 2 * 146e6 < rasterio.env.getenv()["GDAL_CACHEMAX"] < 1e9  # bytes


def test_the_picture_is_8_bit_and_small(tmp_path):
    values = decibels()
    values[:, :5] = np.nan
    with scenes.open_scene(card("s1"), {"s1": write(tmp_path / "s.tif", values, S1.bands)}) as scene:
        picture = scene.picture(20, 25)
    assert picture.shape == (20, 25, 3) and picture.dtype == np.uint8
    assert (picture[0] == 255).all() and picture[5:].std() > 20


def test_the_picture_leaves_white_what_the_map_leaves_empty(tmp_path):
    """One rule tells which pixels hold data: a declared 0 in one band alone is a number, in all bands it is none."""
    values = np.random.default_rng(0).integers(50, 200, (3, 40, 50)).astype("uint8")
    values[2, :8] = 0
    values[:, 20:24] = 0
    path = write(tmp_path / "s.tif", values, ("red", "green", "blue"), nodata=0)
    with scenes.open_scene(own(), {"image": path}) as scene:
        _, valid = scene.read(0, 40)
        picture = scene.picture(40, 50)
    assert valid[:20].all() and not valid[20:24].any()
    assert (picture[~valid] == 255).all() and (picture[:8, :, 2] == 0).all()
