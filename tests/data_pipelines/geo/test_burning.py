"""Which pixels shapes cover: against the letter of the rule, in float64 and edge by edge."""

import pathlib

import numpy as np
import pytest
import shapes
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from data_pipelines.geo import burning, geopackage, vectors
from data_pipelines.geo.burning import Drawing
from data_pipelines.geo.geometry import wkb
from data_pipelines.geo.grids import Grid
from data_pipelines.geo.vectors import Features, Placed

GRID = Grid(CRS.from_epsg(32633), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), 40, 70)
WHOLE = Window(0, 0, 70, 40)
X, Y = np.arange(70) + 0.5, np.arange(40)[:, None] + 0.5


def read(tmp_path, features) -> Features:
    kinds = (wkb.POLYGON, wkb.LINE, wkb.POINT)
    return vectors.read(shapes.geojson(tmp_path / "a.geojson", features), kinds=kinds)


def placed(tmp_path, features, margin=0.0) -> Placed:
    return vectors.onto(read(tmp_path, features), GRID, pathlib.Path("i.tif"), margin)


def stars(count: int, seed: int = 0) -> list[np.ndarray]:
    """Closed rings in pixels, with edges that cross: each goes to and fro around its middle."""
    rng = np.random.default_rng(seed)
    rings = []
    for _ in range(count):
        points = rng.normal(rng.uniform((0, 0), (70, 40)), rng.uniform(2, 15), (rng.integers(3, 200), 2))
        rings.append(np.round(np.vstack([points, points[:1]]), 3))
    return rings


def polygons(rings) -> list:
    return [({}, shapes.polygon([shapes.at(x, y) for x, y in ring])) for ring in rings]


def test_a_pixel_is_inside_where_an_odd_number_of_rings_go_around_its_centre(tmp_path):
    rings = stars(12)
    for ring in rings:
        found = burning.covered(placed(tmp_path, polygons([ring])), WHOLE)
        np.testing.assert_array_equal(found, shapes.inside(np.round(ring * 1024) / 1024, X, Y))


@pytest.mark.parametrize("overlap", burning.OVERLAPS)
@pytest.mark.parametrize("buffer", [0, 1.3, -0.6])
def test_overlaps_and_buffers(tmp_path, overlap, buffer):
    """Buffers in metres, of pixels of half a metre in a plane that is 0.04 % too small."""
    rings = [np.round(ring * 1024) / 1024 for ring in stars(6, 3)]
    values = np.array([3, 1, 3, 2, 0, 1])
    features = read(tmp_path, polygons(rings))
    there = vectors.onto(features, GRID, pathlib.Path("i.tif"), 5)
    found = burning.burned(there, values, WHOLE, 9, Drawing(buffer=buffer, overlap=overlap), 7, features.areas)
    inside = [shapes.inside(ring, X, Y) for ring in rings]
    near = [shapes.away(ring, X, Y) * 0.5 <= abs(buffer) for ring in rings]
    sure = [np.abs(shapes.away(ring, X, Y) * 0.5 - abs(buffer)) > 0.003 * max(abs(buffer), 1) for ring in rings]
    if buffer:
        inside = [i | n if buffer > 0 else i & ~n for i, n in zip(inside, near, strict=True)]
    areas = [abs(np.sum(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1])) / 2 for r in rings]
    order = {"first": range(5, -1, -1), "smallest": np.argsort(-np.array(areas), kind="stable")}.get(overlap, range(6))
    expected = np.full((40, 70), -1)
    clashes = np.zeros((40, 70), bool)
    for k in order:
        clashes |= inside[k] & (expected >= 0) & (expected != values[k])
        expected[inside[k]] = values[k]
    expected = np.where(expected < 0, 9, np.where(clashes & (overlap == "none"), 7, expected))
    told = np.logical_and.reduce(sure) if buffer else np.ones((40, 70), bool)
    np.testing.assert_array_equal(found[told], expected[told])
    assert told.mean() > 0.9 and len(np.unique(expected)) >= 4


@pytest.mark.parametrize(
    "drawing",
    [
        Drawing(), Drawing(True), Drawing(buffer=2), Drawing(buffer=-2), Drawing(overlap="none"),
        Drawing(overlap="smallest"),
    ],
)  # fmt: skip
def test_a_part_is_drawn_as_the_whole(tmp_path, drawing):
    features = polygons(stars(9, 5)) + [
        ({}, {"type": "Point", "coordinates": shapes.at(*at)}) for at in ((3, 4.5), (66, 9))
    ]
    there = placed(tmp_path, features, drawing.margin((0.5, 0.5)))
    values, areas = np.arange(11) % 4, read(tmp_path, features).areas
    whole = burning.burned(there, values, WHOLE, 9, drawing, 7, areas)
    for top, left, height, width in ((0, 0, 40, 7), (13, 31, 9, 17), (30, 60, 10, 10), (5, 5, 1, 1)):
        part = burning.burned(there, values, Window(left, top, width, height), 9, drawing, 7, areas)
        np.testing.assert_array_equal(part, whole[top : top + height, left : left + width])


def test_points_are_their_pixel_or_what_is_near(tmp_path):
    there = placed(tmp_path, [({}, {"type": "MultiPoint", "coordinates": [shapes.at(3.5, 4.5), shapes.at(20.1, 8.9)]})])
    rows, columns = np.nonzero(burning.covered(there, WHOLE))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(4, 3), (8, 20)]
    round_ = burning.covered(there, WHOLE, Drawing(buffer=1))  # two pixels: the plane's own distance counts as meant
    expected = (np.hypot(X - 3.5, Y - 4.5) <= 2) | (np.hypot(X - 20.1, Y - 8.9) <= 2)
    np.testing.assert_array_equal(round_, expected)


def test_lines_take_a_buffer_and_touched_pixels_are_more(tmp_path):
    line = {"type": "LineString", "coordinates": [shapes.at(5, 5), shapes.at(40, 22)]}
    found = burning.covered(placed(tmp_path, [({}, line)], 4), WHOLE, Drawing(buffer=1.2))
    np.testing.assert_array_equal(found, shapes.away(np.array([(5.0, 5), (40, 22)]), X, Y) <= 2.4)
    thin = placed(tmp_path, polygons([np.array([(5.6, 5.1), (5.9, 5.1), (5.9, 20), (5.6, 5.1)])]))
    assert not burning.covered(thin, WHOLE).any()
    assert burning.covered(thin, WHOLE, Drawing(all_touched=True)).sum() == 15


def test_parts_of_one_feature_and_holes(tmp_path):
    outer, hole = shapes.square(5, 5, 20), shapes.square(10, 10, 5)
    other = shapes.square(20, 20, 15)  # of the same feature, over the first part: it is no hole
    both = {"type": "MultiPolygon", "coordinates": [[outer, hole], [other]]}
    found = burning.covered(placed(tmp_path, [({}, both)]), WHOLE)
    assert found.sum() == 400 - 25 + 225 - 25
    assert geopackage.polygon(outer)  # the ring is closed


def test_the_smallest_feature_is_so_with_the_parts_that_meet_no_image(tmp_path):
    """The first is small on this image, and large elsewhere."""
    near, far, other = shapes.square(5, 5, 10), shapes.square(900, 900, 80), shapes.square(8, 8, 20)
    both = {"type": "MultiPolygon", "coordinates": [[near], [far]]}
    features = read(tmp_path, [({}, both), ({}, shapes.polygon(other))])
    np.testing.assert_allclose(features.areas, [1625, 100], rtol=2e-3)  # square metres; UTM makes them smaller
    there = vectors.onto(features, GRID, pathlib.Path("i.tif"))
    found = burning.burned(there, np.array([1, 2]), WHOLE, 0, Drawing(overlap="smallest"), areas=features.areas)
    assert found[10, 10] == 2 and (found == 1).sum() == 100 - 49 and (found == 2).sum() == 400


def test_a_negative_buffer_knows_edges_far_beyond_a_window(tmp_path):
    """A long ring whose far turns are trimmed has no edge where it had none."""
    right = np.stack([np.linspace(90, 400, 80), np.where(np.arange(80) % 2, 19.0, 20.5)], axis=1)
    ring = np.vstack(
        [[(-300, -300), (400, -300)], right[::-1], [(85, 20)], np.add(right, (0, 2)), [(400, 300), (-300, 300)]]
    )
    ring = np.round(np.vstack([ring, ring[:1]]) * 1024) / 1024
    found = burning.covered(placed(tmp_path, polygons([ring]), 40), WHOLE, Drawing(buffer=-20))
    far = shapes.away(ring, X, Y) * 0.5
    sure = abs(far - 20) > 0.1
    np.testing.assert_array_equal(found[sure], (shapes.inside(ring, X, Y) & (far > 20))[sure])
    assert 0.1 < found.mean() < 0.95


def test_far_turns_of_a_long_ring_change_nothing(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 5000)
    wide = np.stack([35 + 400 * np.cos(angle) * (1 + 0.3 * np.sin(40 * angle)), 20 + 60 * np.sin(angle)], axis=1)
    wide = np.round(np.vstack([wide, wide[:1]]) * 1024) / 1024
    there = placed(tmp_path, polygons([wide]))
    for window in (WHOLE, Window(60, 0, 10, 40), Window(0, 35, 70, 5)):
        rows, columns = (
            slice(int(a), int(a + n)) for a, n in ((window.row_off, window.height), (window.col_off, window.width))
        )
        np.testing.assert_array_equal(burning.covered(there, window), shapes.inside(wide, X, Y)[rows, columns])
