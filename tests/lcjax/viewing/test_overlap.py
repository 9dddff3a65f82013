"""Whether rasters have ground in common is told wherever they lie, however small it is."""

import pytest
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from data_pipelines.geo.grids import Grid
from lcjax.viewing import overlap

UTM, DEGREES = CRS.from_epsg(32633), CRS.from_epsg(4326)
AT = Affine(10, 0, 500_000, 0, -10, 5_300_000)
MAP = Grid(UTM, AT, 20_000, 20_000)


def part(column: float, row: float, height: int, width: int, angle: float = 0.0) -> Grid:
    """A raster of the pixels of the map."""
    return Grid(UTM, AT @ Affine.translation(column, row) @ Affine.rotation(angle), height, width)


def in_degrees(column: float, row: float, side: int) -> Grid:
    """A raster of as many small pixels in degrees, with its left top there."""
    (x,), (y,) = transform(UTM, DEGREES, *([one] for one in AT @ (column, row)))
    return Grid(DEGREES, Affine(1e-4, 0, x, 0, -1e-4, y), side, side)


@pytest.mark.parametrize(
    "other",
    [
        part(317, 411, 1, 1),
        part(317, 411, 5, 5, angle=40),
        in_degrees(12_345, 6_789, 7),
        part(-990, 411, 1, 1000),  # ten pixels in
        part(19_999, 19_999, 900, 900),  # the last pixel alone
        part(313, -50, 30_000, 3),  # a strip, from edge to edge
    ],
)
def test_a_small_part_is_found(other):
    assert overlap.share(MAP, other) is not None
    assert overlap.share(other, MAP) is not None


def test_narrow_rasters_across_each_other_meet():
    along, down = part(0, 5_003, 4, 10_000), part(6_007, 0, 10_000, 4)
    assert overlap.share(along, down) is not None and overlap.share(down, along) is not None
    assert overlap.share(along, part(10_001, 0, 10_000, 4)) is None


@pytest.mark.parametrize(
    "other",
    [
        part(20_000, 0, 900, 900),  # side by side
        part(-900, 0, 900, 900),
        part(0, 20_001, 900, 20_000),
        part(21_404, -1_614, 2_000, 2_000, angle=45),  # their boxes alone meet
        in_degrees(20_100, 100, 50),
        Grid(CRS.from_epsg(32733), AT, 20_000, 20_000),  # the same numbers on the other half of the Earth
    ],
)
def test_what_lies_elsewhere_is_not_taken(other):
    assert overlap.share(MAP, other) is None and overlap.share(other, MAP) is None


def test_the_share_is_that_of_the_pixels():
    assert overlap.share(MAP, MAP) == 1
    assert overlap.share(MAP, part(0, 0, 20_000, 5_000)) == pytest.approx(0.25, abs=0.03)
    world = Grid(DEGREES, Affine(0.1, 0, -180, 0, -0.1, 90), 1800, 3600)
    assert overlap.share(MAP, world) == 1
    across = Grid(CRS.from_epsg(32601), Affine(10, 0, 165_000, 0, -10, 5_000), 1000, 1000)  # across the antimeridian
    assert overlap.share(across, world) == 1
    west = Grid(DEGREES, Affine(0.1, 0, -180, 0, -0.1, 90), 1800, 1800)
    assert overlap.share(across, west) == pytest.approx(0.9, abs=0.03)  # 180 degrees are 166 km in that zone
