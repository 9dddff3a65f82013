"""One band alone neither hides the offset of +1000 nor makes one up."""

import pathlib

import numpy as np
import pytest

from data_pipelines.geo.sentinel2 import below_zero, carries_offset, floors, stated, why
from data_pipelines.schema.sensors import S2
from data_pipelines.schema.spec import Refused

# First percentiles of real tiles without the offset: lake and forest, savanna, snow, fields, fields under clouds.
REAL = (
    (1210, 851, 576, 359, 286, 216, 200, 159, 144, 60, 5, 31, 17),
    (1268, 1007, 965, 1025, 1341, 1689, 1935, 1860, 2254, 656, 55, 2646, 1654),
    (3839, 2976, 2030, 1819, 1903, 2047, 2020, 1796, 1867, 1159, 42, 281, 246),
    (1406, 1149, 1053, 785, 955, 1797, 2124, 1885, 2220, 334, 7, 1288, 670),
    (1462, 1128, 926, 608, 695, 1218, 1504, 1243, 1469, 140, 6, 537, 245),
)
WITHOUT_B10 = [band for band in S2.bands if band != "B10"]


def of(values, offset=0):
    return {band: value + offset for band, value in zip(S2.bands, values, strict=True)}


@pytest.mark.parametrize("tile", REAL)
def test_real_floors_are_told_apart(tile):
    assert carries_offset(of(tile)) is False
    assert carries_offset(of(tile, 1000)) is True and "B10 (cirrus)" in why(of(tile, 1000))
    assert below_zero(of(tile)) == "" and below_zero(of(tile, -1000)) == "B10"
    assert below_zero(of(tile, 1000 - 1000)) == ""


@pytest.mark.parametrize("tile", REAL)
def test_one_dark_band_hides_nothing(tile):
    for band in WITHOUT_B10:
        assert carries_offset(of(tile, 1000) | {band: 930}) is True
        assert carries_offset(of(tile, 1000) | {band: 0}) is True
    with_offset = {band: floor for band, floor in of(tile, 1000).items() if band != "B10"}
    assert carries_offset(with_offset) is True and "every band starts near or above 1000" in why(with_offset)
    for band in WITHOUT_B10:
        assert carries_offset(with_offset | {band: 930}) is None
        assert why(with_offset | {band: 0}).startswith("11 of 12 bands start near or above 1000")
        assert carries_offset(with_offset | {band: 0}) is None
    assert carries_offset(dict.fromkeys(WITHOUT_B10, 860)) is None  # dark water of level 2A, in every band


@pytest.mark.parametrize("tile", REAL)
def test_without_the_offset_a_missing_b10_is_no_alarm(tile):
    # The savanna alone, where one band of twelve is dark, is in doubt.
    without = {band: floor for band, floor in of(tile).items() if band != "B10"}
    assert carries_offset(without) is (None if tile == REAL[1] else False)


def test_bands_of_one_number_have_no_floor():
    values = np.random.default_rng(0).integers(1000, 4000, (5000, 13))
    values[:, 10] = 0
    values[:, 3] = 7
    values[:25, 3] = 9  # half a per cent of stray pixels
    assert set(floors(values, S2.bands)) == set(S2.bands) - {"B4", "B10"}
    np.testing.assert_allclose(floors(values, S2.bands)["B2"], np.percentile(values[:, 1], 1))
    assert carries_offset(floors(values, S2.bands)) is True
    assert carries_offset(floors(np.zeros((10, 13)), S2.bands)) is False


@pytest.mark.parametrize(
    ("packed", "tags"),
    [
        (((1e-4, 1e306),), ({},)),
        ((), ({"BOA_ADD_OFFSET": "9" * 401},)),
        ((), ({"BOA_ADD_OFFSET": "-70000"},)),
    ],
)
def test_an_offset_that_no_product_has_is_refused(packed, tags):
    with pytest.raises(Refused, match=r"states an offset of .*; expected one within 65,535"):
        stated(pathlib.Path("s2.tif"), packed, tags)
