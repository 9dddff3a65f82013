"""A value that fills much of an image without being declared is seen, whatever it is; what is data is left alone."""

import numpy as np
import pytest

from data_pipelines.geo.fill_values import MUCH, fill_share, warning


def image(dtype="int16", low=100, high=200, bands=3):
    return np.random.default_rng(0).integers(low, high, (3000, bands)).astype(dtype)


@pytest.mark.parametrize(
    ("dtype", "fill"),
    [("int16", -9999), ("uint8", 0), ("uint8", 255), ("uint16", 65535), ("float32", -3.4e38), ("int8", -128)],
)
@pytest.mark.parametrize("bands", [1, 3])
def test_a_third_of_one_extreme_value_is_told_with_its_share(dtype, fill, bands):
    values = image(dtype, 10, 100, bands)
    assert fill_share(values) is None
    values[:1000] = fill
    value, share = fill_share(values)
    assert value == np.array(fill, dtype) and share == pytest.approx(1 / 3)
    assert "33% of the pixels" in warning(value, share) and f"--nodata {value:g}" in warning(value, share)


def test_what_is_data_is_left_alone():
    values = image()
    values[:1000] = 150  # in the middle: a lake, say
    assert fill_share(values) is None
    values = image()
    values[:1000, 1] = 0  # one band that sees nothing there
    assert fill_share(values) is None
    values = image()
    values[: int(MUCH * 3000)] = 0
    assert fill_share(values) is None
    assert fill_share(values[:0]) is None


def test_what_is_not_finite_does_not_count():
    values = image("float32")
    values[:1500, 0] = np.nan
    values[1500:2000] = -9999
    assert fill_share(values) == (-9999, pytest.approx(1 / 3))
    assert fill_share(np.full((10, 2), np.inf)) is None
