import dataclasses

import numpy as np
import pytest

from data_pipelines.schema import band_selection, normalization, sensors
from data_pipelines.schema.errors import InputError


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ("B2", "B2"),
        ("b02", "B2"),
        ("B02 - blue", "B2"),
        ("B8A", "B8A"),
        ("B08", "B8"),
        ("B10", "B10"),
        ("Sigma0_VV", "VV"),
        ("vh", "VH"),
        ("bands", None),
        ("", None),
        (None, None),
        ("-", None),
    ],
)
def test_canonical(found, name):
    assert band_selection.canonical(found) == name


def test_every_band_has_its_own_name():
    for sensor in sensors.SENSORS.values():
        assert [band_selection.canonical(band) for band in sensor.bands] == list(sensor.bands)
        assert len(set(sensor.bands)) == len(sensor.bands)
        assert set(sensor.display) <= set(sensor.bands)


def test_what_is_not_light_is_known_by_sensor_and_band():
    assert sensors.S1.with_bands(["VH"]).quantities == ("decibels",)
    assert set(sensors.S2.quantities) == {"light"}
    assert sensors.AERIAL.quantities == ("light",) * 4 + ("height",)
    # What own files hold under such a name is not known: backscatter may be linear there.
    assert dataclasses.replace(sensors.S1, name="image").quantities == ("light", "light")


def test_groups_are_parts_of_the_spectrum():
    assert sensors.S1.groups == ("radar", "radar")
    by_group = {
        group: [b for b, g in zip(sensors.S2.bands, sensors.S2.groups, strict=True) if g == group]
        for group in sensors.S2.groups
    }
    assert by_group == {
        "visible": ["B1", "B2", "B3", "B4"],
        "near infrared": ["B5", "B6", "B7", "B8", "B8A", "B9"],
        "short-wave infrared": ["B10", "B11", "B12"],
    }
    assert sensors.AERIAL.groups == ("visible",) * 3 + ("near infrared", "height")
    names = ("Red", "band_5", "B8", "NIR", "nir08", "red edge 1", "SWIR2", "Thermal")
    scaling = dataclasses.replace(sensors.S2.scaling)
    own = dataclasses.replace(sensors.S2, name="image", bands=names, display=("Red",), scaling=scaling)
    # "B8" is near infrared of Sentinel-2, and anything of an own image.
    assert own.groups == ("visible",) * 3 + ("near infrared",) * 3 + ("short-wave infrared", "thermal")


def test_band_indices_finds_any_order_and_ignores_more():
    assert band_selection.band_indices(sensors.S1, ["VH", "angle", "VV"], "a.tif") == [2, 0]


@pytest.mark.parametrize("found", [["VV"], ["VV", "VV", "VH"], [None, None]])
def test_band_indices_refuses(found):
    with pytest.raises(InputError, match=r"^a\.tif: .*--bands"):
        band_selection.band_indices(sensors.S1, found, "a.tif")


def test_to_storage_rounds_and_clips():
    stored = sensors.to_storage(sensors.S1, np.array([-12.344, -12.346, 0.0, -400.0, 400.0]))
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, [-1234, -1235, 0, -32768, 32767])
    np.testing.assert_array_equal(sensors.to_storage(sensors.S2, np.array([-5, 70_000])), [0, 65535])


SENTINELS = (sensors.S1, sensors.S2)


@pytest.mark.parametrize(
    ("text", "s1", "s2"),
    [
        ("all", ("VV", "VH"), sensors.S2.bands),
        ("rgb", ("VV", "VH"), ("B4", "B3", "B2")),
        ("s2-10m", ("VV", "VH"), ("B2", "B3", "B4", "B8")),
        ("s2-no-60m", ("VV", "VH"), tuple(b for b in sensors.S2.bands if b not in ("B1", "B9", "B10"))),
        ("B8 + b04+VH", ("VH",), ("B8", "B4")),
    ],
)
def test_bands_are_chosen_by_name(text, s1, s2):
    found = band_selection.chosen(SENTINELS, text)
    assert [sensor.bands for sensor in found] == [s1, s2]
    assert [sensor.name for sensor in found] == ["s1", "s2"]
    assert all(set(sensor.display) <= set(sensor.bands) for sensor in found)


def test_chosen_bands_keep_their_scaling():
    (aerial,) = band_selection.chosen([sensors.AERIAL], "elevation+G")
    assert aerial.scaling.offset == (53.26, 110.87)
    assert aerial.scaling.scale == (79.3, 45.38)
    assert aerial.scaling.low == 0.0
    (rgb,) = band_selection.chosen([sensors.AERIAL], "rgb")
    assert rgb.display == ("R", "G", "B")


@pytest.mark.parametrize("text", ["", "B4+B4", "B4+B99", "rgb+B4", "infrared"])
def test_bands_that_are_not_there(text):
    with pytest.raises(
        InputError, match=r"config\.bands=.*expected all, rgb, rgbn, s2-10m, s2-no-60m, or .*s1: VV, VH"
    ):
        band_selection.chosen(SENTINELS, text)
    with pytest.raises(InputError, match="expected all, or bands"):
        band_selection.chosen([sensors.S1], "rgb")


def test_standardised_bands_have_mean_0_and_deviation_1():
    statistics = {"mean": [-1200.0, -1900.0], "std": [300.0, 0.0], "min": [-3000.0, -1900.0], "max": [0.0, -1900.0]}
    scaling = normalization.standardised(sensors.S1, statistics).scaling
    np.testing.assert_allclose(scaling.offset, (-12.0, -19.0))
    np.testing.assert_allclose(scaling.scale, (3.0, 1.0))  # a constant band becomes 0
    np.testing.assert_allclose((scaling.low, scaling.high), ((-30.0, -19.0), (0.0, -19.0)))
    assert scaling.unit == 0.01
