import numpy as np
import pytest

from data_pipelines import bands
from data_pipelines.errors import InputError


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
    assert bands.canonical(found) == name


def test_every_band_has_its_own_name():
    for sensor in bands.SENSORS.values():
        assert [bands.canonical(band) for band in sensor.bands] == list(sensor.bands)
        assert len(set(sensor.bands)) == len(sensor.bands)
        assert set(sensor.display) <= set(sensor.bands)


def test_band_indices_finds_any_order_and_ignores_more():
    assert bands.band_indices(bands.S1, ["VH", "angle", "VV"], "a.tif") == [2, 0]


@pytest.mark.parametrize("found", [["VV"], ["VV", "VV", "VH"], [None, None]])
def test_band_indices_refuses(found):
    with pytest.raises(InputError, match=r"^a\.tif: .*--bands"):
        bands.band_indices(bands.S1, found, "a.tif")


def test_to_storage_rounds_and_clips():
    stored = bands.to_storage(bands.S1, np.array([-12.344, -12.346, 0.0, -400.0, 400.0]))
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, [-1234, -1235, 0, -32768, 32767])
    np.testing.assert_array_equal(bands.to_storage(bands.S2, np.array([-5, 70_000])), [0, 65535])
