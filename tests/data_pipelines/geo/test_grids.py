"""Two grids are the same where each corner lies within half a pixel of its partner; every other relation is told."""

import math

import numpy as np
import pytest
import rasterio
from grid_relations import RELATIONS, farthest, joined, related
from hypothesis import given, settings
from rasterio import Affine
from rasterio.crs import CRS

from data_pipelines.geo import grids
from data_pipelines.geo.grids import Grid, difference
from data_pipelines.schema.spec import Refused

UTM, LONLAT, LAMBERT = CRS.from_epsg(32633), CRS.from_epsg(4326), CRS.from_epsg(2154)
LOCAL = 'LOCAL_CS["{}",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
PLACE = Affine(10, 0, 500_000, 0, -10, 5_000_000)


def grid(transform=PLACE, crs=UTM, height=128, width=128) -> Grid:
    return Grid(crs, transform, height, width)


def found(one: Grid, other: Grid | None = None) -> str:
    return difference(one, other or grid(), "i.tif")


def test_the_same_place_is_no_difference():
    assert found(grid()) == ""
    assert found(grid(Affine(10, 0, 500_004.9, 0, -10, 5_000_004.9))) == ""
    assert found(grid(Affine(10 + 4.9 / 128, 0, 500_000, 0, -10, 5_000_000))) == ""


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        (Affine(10, 0, 500_005, 0, -10, 5_000_000), "corners up to 0.5 pixels (5 m) away from i.tif"),
        (Affine(10, 0, 503_500, 0, -10, 5_000_000), "corners up to 350 pixels (3,500 m) away from i.tif"),
        (
            Affine(10, 0, 500_000, 0, 10, 5_000_000 - 1280),
            "upside down against i.tif: corners up to 128 pixels (1,280 m) away",
        ),
        (Affine(-10, 0, 501_280, 0, -10, 5_000_000), "mirrored against i.tif: corners up to 128 pixels (1,280 m) away"),
        (Affine(-10, 0, 501_280, 0, 10, 4_998_720), "turned by 180 degrees against i.tif"),
        (
            Affine(20, 0, 500_000, 0, -20, 5_000_000),
            "pixels of 20 x 20 m, expected 10 x 10 m as in i.tif: corners up to 128 pixels (1,810 m) away",
        ),
        (joined(PLACE, Affine.rotation(30)), "turned by 30 degrees against i.tif"),
        (joined(PLACE, Affine.translation(0, 128), Affine.rotation(-90)), "turned by -90 degrees against i.tif"),
    ],
)
def test_what_differs_is_told_with_how_far(transform, words):
    assert words in found(grid(transform))


@pytest.mark.parametrize("far", [1e200, 1e304, 1e307])
def test_what_a_damaged_file_says_of_its_place_is_far_away_and_no_warning(far):
    assert "away" in found(grid(Affine(10, 0, far, 0, -10, 5_000_000)))
    assert "away" in found(grid(Affine(far, 0, 500_000, 0, -10, 5_000_000)))


@pytest.mark.parametrize("turn", [(1e-200, 0, 1e200, 1), (1e304, 0, 0, -10), (1, 1, 1, 1 + 1e-15)])
def test_pixels_that_no_raster_has_are_told_and_no_place_is_computed(turn):
    a, b, d, e = turn
    odd = grid(Affine(a, b, 5e5, d, e, -1))
    for one, other in ((odd, grid()), (grid(), odd), (odd, odd)):
        assert "corners farther away than numbers reach" in found(one, other)


def test_degrees_feet_and_grids_of_no_unit_are_measured_in_their_own():
    step = Affine(0.001, 0, 15, 0, -0.001, 45)
    moved = joined(step, Affine.translation(3, 0))
    assert "3 pixels (0.003 degrees) away" in found(grid(moved, LONLAT), grid(step, LONLAT))
    feet, moved = CRS.from_epsg(2229), joined(PLACE, Affine.translation(1, 0))
    assert "1 pixels (10 US survey foot) away" in found(grid(moved, feet), grid(crs=feet))
    assert found(grid(moved, None), grid(crs=None)) == "corners up to 1 pixels (10) away from i.tif"


def test_another_size_is_told_first():
    assert found(grid(height=127)) == "128 x 127 pixels, expected 128 x 128 as in i.tif"
    assert found(grid(Affine.identity(), None, 20, 20)) == "20 x 20 pixels, expected 128 x 128 as in i.tif"


@pytest.mark.parametrize(
    ("transform", "crs"),
    [
        (Affine.identity(), None),
        (Affine.identity(), UTM),
        (Affine(1, 0, 0, 0, -1, 128), None),  # as image programs count, from below
        (Affine(1, 0, 0, 0, -1, 0), LONLAT),
        (Affine(10, 0, math.nan, 0, -10, 0), UTM),
        (Affine(0, 0, 500_000, 0, 0, 5_000_000), UTM),
    ],
)
def test_where_one_part_lies_nowhere_there_is_nothing_to_compare(transform, crs):
    nowhere = grid(transform, crs)
    assert not nowhere.is_placed
    assert found(nowhere) == found(grid(), nowhere) == ""


def test_a_crs_that_is_not_told_is_not_asked_but_the_numbers_are():
    assert found(grid(crs=None)) == found(grid(), grid(crs=None)) == ""
    assert "upside down" in found(grid(Affine(10, 0, 500_000, 0, 10, 4_998_720), None))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LAMBERT, CRS.from_wkt(LOCAL.format("RGF93 v1 / Lambert-93"))),  # masks of FLAIR
        (LAMBERT, CRS.from_wkt(LOCAL.format("RGF93 / Lambert-93"))),
        (LAMBERT, CRS.from_wkt(LOCAL.format("RGF93_Lambert_93"))),
        (LAMBERT, CRS.from_wkt(LOCAL.format("unnamed"))),
        (LAMBERT, CRS.from_wkt(LAMBERT.to_wkt(version="WKT1_ESRI"))),
        (LAMBERT, CRS.from_epsg(5698)),  # with heights
        (LAMBERT, CRS.from_string(LAMBERT.to_proj4())),
        (LONLAT, CRS.from_string("OGC:CRS84")),
        (LONLAT, CRS.from_epsg(4979)),
    ],
)
def test_another_name_of_the_same_crs_is_the_same(one, other):
    place = Affine(0.001, 0, 2, 0, -0.001, 47) if one.is_geographic else Affine(0.2, 0, 873_782, 0, -0.2, 6_891_028)
    for a, b in ((one, other), (other, one)):
        assert found(grid(place, a), grid(place, b)) == ""
        assert "3 pixels" in found(grid(joined(place, Affine.translation(3, 0)), a), grid(place, b))


def test_another_crs_is_told_even_over_the_same_ground():
    x, y = rasterio.warp.transform(UTM, LONLAT, [500_640], [4_999_360])
    same_ground = Affine(0.00013, 0, x[0] - 64 * 0.00013, 0, -0.00009, y[0] + 64 * 0.00009)
    text = found(grid(same_ground, LONLAT))
    assert text.startswith("CRS EPSG:4326, expected EPSG:32633 as in i.tif (its centre is ")
    assert float(text.split("its centre is ")[1].split()[0]) < 0.001  # km
    assert "km from that of i.tif" in found(grid(joined(PLACE, Affine.translation(2000, 0)), CRS.from_epsg(32634)))
    text = found(grid(crs=CRS.from_epsg(32634)))
    assert text.startswith("CRS EPSG:32634, expected EPSG:32633") and "rio edit-info --crs EPSG:32633" in text
    plant = CRS.from_wkt(LOCAL.format("plant"))
    assert found(grid(crs=plant)).startswith("CRS plant, expected EPSG:32633")
    assert found(grid(crs=plant), grid(crs=CRS.from_wkt(LOCAL.format("yard")))).startswith("CRS plant, expected yard")


def test_the_file_that_differs_from_most_is_named(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.tif", "b.tif", "c.tif"))
    moved, small = grid(joined(PLACE, Affine.translation(9, 0))), grid(height=20)
    for other, words in ((moved, "corners up to 9 pixels"), (small, "128 x 20 pixels, expected 128 x 128 as in")):
        for odd in (a, b, c):
            with pytest.raises(Refused, match=words) as refusal:
                grids.check_same({path: other if path == odd else grid() for path in (a, b, c)})
            assert refusal.value.file == odd
        with pytest.raises(Refused, match=rf"{words}.*a\.tif") as refusal:
            grids.check_same({a: grid(), b: other}, grids.WARP)
        assert refusal.value.file == b
    with pytest.raises(Refused, match=r"`rio warp b\.tif OUT\.tif --like a\.tif --resampling nearest`"):
        grids.check_same({a: grid(), b: moved}, grids.WARP)
    nowhere = grid(Affine.identity(), None)
    grids.check_same({a: grid(), b: grid(), c: nowhere})
    for order in ((a, b, c), (c, a, b), (b, c, a)):  # what lies nowhere speaks for neither
        placed = {a: grid(), b: moved, c: nowhere}
        with pytest.raises(Refused, match="corners up to 9 pixels"):
            grids.check_same({path: placed[path] for path in order})


# ---- in any relation ------------------------------------------------------------------------------------------------


@settings(max_examples=200, derandomize=True, deadline=None)
@given(RELATIONS)
def test_any_relation_is_judged_as_the_corners_are(relation):
    like = PLACE if relation["upright"] else Affine(10, 0, 500_000, 0, 10, 4_990_000)
    height, width = relation["size"]
    one, code = related(relation, like)
    crs = CRS.from_epsg(code) if code else None
    text = difference(grid(one, crs, height, width), grid(like, UTM, height, width), "i.tif")
    apart = farthest(one, like, height, width)
    assert abs(apart - 0.5) > 1e-5  # no example hangs on rounding
    assert bool(text) == (apart >= 0.5 or code == 32634), text
    if code != 32634 and text:
        told = float(text.split("corners up to ")[1].split(" pixels")[0].replace(",", ""))
        np.testing.assert_allclose(told, apart, rtol=1e-3)
