"""Areas against the closed form of the ellipsoid and the scale of projections; sums do not depend on strips."""

import csv
import itertools

import numpy as np
import pytest
from rasterio import Affine, warp
from rasterio.crs import CRS

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.legends import IGNORE
from lcjax.mapping.areas import COLUMNS, Areas

AXIS, FLATTENING = 6378137.0, 1 / 298.257223563  # WGS84, NIMA TR8350.2
FOREST, WATER = 1, 10
UTM = CRS.from_epsg(32633)


def cell(west, south, east, north) -> float:
    """Hectares between two meridians and two parallels of the ellipsoid (Snyder 1987, from equation 3-12)."""
    e = np.sqrt(FLATTENING * (2 - FLATTENING))

    def to_equator(latitude):
        s = np.sin(np.radians(latitude))
        return AXIS**2 * (1 - e**2) / 2 * (s / (1 - e**2 * s**2) + np.log((1 + e * s) / (1 - e * s)) / (2 * e))

    return np.radians(east - west) * (to_equator(north) - to_equator(south)) / 1e4


def table(ids, crs, transform, cuts=()):
    areas = Areas(DFC2020, crs, transform, ids.shape[1])
    edges = [0, *cuts, len(ids)]
    for first, end in itertools.pairwise(edges):
        areas.add(first, ids[first:end])
    return {row["id"]: row for row in areas.rows()}


def forest(height, width):
    return np.full((height, width), FOREST, np.uint8)


def random_map(height, width):
    choice = np.array([*(c.id for c in DFC2020.scored), IGNORE], np.uint8)
    return np.random.default_rng(0).choice(choice, (height, width))


@pytest.mark.parametrize("north", [61.0, 1.0, -33.0])
def test_degrees_against_the_closed_form(north):
    found = table(forest(300, 700), CRS.from_epsg(4326), Affine(0.001, 0, 7, 0, -0.002, north))[FOREST]
    assert found["hectares"] == pytest.approx(cell(7, north - 0.6, 7.7, north), rel=1e-7)
    assert found["hectares_grid"] is None and found["pixels"] == 210_000


def test_the_whole_globe_and_the_pixels_that_reach_over_the_poles():
    # Grids of points have their outer edges half a pixel beyond the poles: 181 rows, 360 columns.
    found = table(forest(181, 360), CRS.from_epsg(4326), Affine(1, 0, -0.5, 0, -1, 90.5))[FOREST]
    assert found["hectares"] == pytest.approx(510_065_621.724 * 100, rel=1e-7)  # km2, Moritz 2000, for GRS80


@pytest.mark.parametrize("easting", [500_000, 750_000, 200_000])
def test_utm_is_the_plane_over_the_square_of_its_scale(easting):
    ids = forest(50, 40)
    found = table(ids, UTM, Affine(10, 0, easting - 200, 0, -10, 5_500_000))[FOREST]
    plane = ids.size * 100 / 1e4
    # Point scale of the transverse Mercator (Snyder 1987, equation 8-7) with the radius of the sphere.
    scale = 0.9996 * (1 + ((easting - 500_000) / 0.9996 / 6_371_009) ** 2 / 2)
    assert found["hectares_grid"] == plane
    assert found["hectares"] == pytest.approx(plane / scale**2, rel=2e-5)
    assert found["hectares"] != pytest.approx(plane, rel=2e-4)


def test_web_mercator_at_60_north_is_four_times_too_large():
    radians = np.array([10, 59.99, 10.02, 60.01]) * np.pi / 180
    west, east = AXIS * radians[[0, 2]]
    south, north = AXIS * np.log(np.tan(np.pi / 4 + radians[[1, 3]] / 2))
    transform = Affine((east - west) / 64, 0, west, 0, (south - north) / 48, north)
    found = table(forest(48, 64), CRS.from_epsg(3857), transform)[FOREST]
    assert found["hectares"] == pytest.approx(cell(10, 59.99, 10.02, 60.01), rel=1e-7)
    assert found["hectares_grid"] / found["hectares"] == pytest.approx(4, rel=0.01)


def test_feet():
    found = table(forest(100, 100), CRS.from_epsg(2263), Affine(30, 0, 980_000, 0, -30, 200_000))[FOREST]
    assert found["hectares_grid"] == pytest.approx(10_000 * (30 * 1200 / 3937) ** 2 / 1e4)  # US survey feet
    assert found["hectares"] == pytest.approx(found["hectares_grid"], rel=1e-3)


@pytest.mark.parametrize("turned", [Affine(6, -8, 4_321_000, -8, -6, 3_210_000), Affine(6, 8, 0, 8, -6, 0)])
def test_a_turned_grid_in_an_equal_area_plane(turned):
    # Lambert's equal-area projection has the area of the ground everywhere; the grid is turned by 53 degrees.
    found = table(random_map(90, 300), CRS.from_string("+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84"), turned)
    for row in list(found.values())[:-1]:
        assert row["hectares"] == pytest.approx(row["pixels"] * 100 / 1e4, rel=1e-6)
        assert row["hectares_grid"] == pytest.approx(row["pixels"] * 100 / 1e4)


def test_across_the_antimeridian():
    found = table(forest(10, 40), CRS.from_epsg(32660), Affine(1000, 0, 800_000, 0, -1000, 10_000))[FOREST]
    assert found["hectares"] == pytest.approx(found["hectares_grid"], rel=5e-3)


def test_each_class_has_the_area_of_its_own_pixels():
    """Against every pixel as a polygon of its own, where the rows differ most: coarse degrees far north."""
    ids = random_map(70, 40)
    ids[:30] = FOREST
    transform = Affine(0.1, 0.02, 10, 0.01, -0.1, 72)
    found = table(ids, CRS.from_epsg(4326), transform)
    columns, rows = np.meshgrid(np.arange(41), np.arange(71))
    lon, lat = transform.a * columns + transform.b * rows + 10, transform.d * columns + transform.e * rows + 72
    x, y = np.reshape(warp.transform("EPSG:4326", "EPSG:6933", lon.ravel(), lat.ravel()), (2, *lon.shape))
    ring = [(slice(None, -1), slice(None, -1)), (slice(None, -1), slice(1, None)), (slice(1, None), slice(1, None))]
    ring = [*ring, (slice(1, None), slice(None, -1)), ring[0]]
    pixel = sum(x[a] * y[b] - x[b] * y[a] for a, b in itertools.pairwise(ring))
    for c in DFC2020.scored:
        assert found[c.id]["hectares"] == pytest.approx(abs(pixel[ids == c.id].sum()) / 2 / 1e4, rel=1e-4)


@pytest.mark.parametrize("cuts", [(1,), (63, 64, 65), (17, 40, 41, 130), tuple(range(1, 150))])
def test_any_strips_give_the_same_bits(cuts):
    ids = random_map(150, 700)
    transform = Affine(0.001, 0.0001, 7, 0, -0.002, 50)
    assert table(ids, CRS.from_epsg(4267), transform, cuts) == table(ids, CRS.from_epsg(4267), transform)


def test_off_the_earth_the_plane_stands_in():
    # The disc of this projection is 6378 km around its centre: the right half of the map is off it.
    crs = CRS.from_string("+proj=ortho +lat_0=0 +lon_0=0 +datum=WGS84")
    found = table(forest(2, 2), crs, Affine(1000, 0, 6_390_000, 0, -1000, 0))[FOREST]
    assert found["hectares"] == found["hectares_grid"] == 400


LOCAL = 'LOCAL_CS["a field",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]'


@pytest.mark.parametrize("crs", [None, CRS.from_wkt(LOCAL)], ids=["none", "local"])
def test_without_a_crs_there_are_pixels_alone(crs):
    found = table(random_map(20, 30), crs, Affine.identity())
    assert {row["hectares"] for row in found.values()} == {row["hectares_grid"] for row in found.values()} == {None}
    assert sum(row["pixels"] for row in found.values()) == 600


def test_rows_name_every_class_and_end_with_no_data():
    ids = forest(4, 25)
    ids[0], ids[1, :5] = IGNORE, WATER
    found = table(ids, UTM, Affine(10, 0, 500_000, 0, -10, 5_500_000))
    assert list(found) == [*(c.id for c in DFC2020.scored), IGNORE]
    assert found[WATER]["percent"] == pytest.approx(100 * 5 / 75) and found[2]["pixels"] == 0
    assert found[2]["hectares"] == found[2]["percent"] == 0
    assert found[IGNORE] == dict.fromkeys(COLUMNS) | {"id": IGNORE, "name": "no data", "pixels": 25}


def test_ids_outside_the_legend_are_refused():
    with pytest.raises(ValueError, match="row 3 holds ids that are not of the legend dfc2020"):
        Areas(DFC2020, None, Affine.identity(), 5).add(3, np.full((1, 5), 77, np.uint8))


def test_csv(tmp_path):
    areas = Areas(DFC2020, UTM, Affine(10, 0, 500_000, 0, -10, 5_500_000), 30)
    areas.add(0, forest(30, 30))
    areas.write_csv(tmp_path / "map.areas.csv")
    with (tmp_path / "map.areas.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert list(rows[0].values()) == ["1", "Forest", "#009900", "900", "100.0000", "9.0072", "9.0000"]
    assert list(rows[-1].values()) == ["255", "no data", "", "0", "", "", ""]
