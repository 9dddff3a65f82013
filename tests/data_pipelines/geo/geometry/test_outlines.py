"""Outlines of areas: every pixel counted, nothing overlaps, no gaps, and smooth by the rule."""

import collections
import itertools

import numpy as np
import own
import pytest
import scipy.ndimage
from rasterio import Affine
from rasterio.crs import CRS

from data_pipelines.geo import raster_io
from data_pipelines.geo.geometry import outlines, shapes, wkb
from data_pipelines.geo.geometry.outlines import Areas


def blobs(height, width, classes, sigma, seed):
    rng = np.random.default_rng(seed)
    return np.argmax(
        [scipy.ndimage.gaussian_filter(rng.normal(size=(height, width)), sigma) for _ in range(classes)], axis=0
    ).astype(np.uint8)


def noise(height, width, classes, seed):
    return np.random.default_rng(seed).integers(0, classes, (height, width)).astype(np.uint8)


def found(tmp_path, values, nodata=255, **place) -> list[Areas]:
    own.write(tmp_path / "map.tif", values[None], **place)
    with raster_io.anywhere():
        return list(outlines.areas(tmp_path / "map.tif", nodata))


def rings(shapes) -> list[list[np.ndarray]]:
    return [[shapes.ring(r) for r in range(a, b)] for a, b in itertools.pairwise(shapes.parts)]


def shoelace(ring) -> float:
    after = np.roll(ring, -1, axis=0)
    return abs(float((ring[:, 0] * after[:, 1] - after[:, 0] * ring[:, 1]).sum())) / 2


RAGGED = [noise(40, 50, 2, 0), noise(40, 50, 3, 1), noise(31, 17, 6, 2)]
SMOOTH = [blobs(90, 120, 4, sigma, k) for k, sigma in enumerate((0.8, 1.5, 3, 8))]


@pytest.mark.parametrize("values", [*RAGGED, *SMOOTH], ids=lambda values: f"{values.shape}")
def test_outlines_fit_together(tmp_path, values):
    """Each line is of two areas, or lies on the edge of the raster; together they cover all; none crosses itself."""
    (areas,) = found(tmp_path, values)
    counted = collections.Counter(dict.fromkeys(np.unique(values).tolist(), 0))
    for value, pixels in zip(areas.values.tolist(), areas.pixels.tolist(), strict=True):
        counted[value] += pixels
    assert counted == {v: (values == v).sum() for v in np.unique(values)}
    (height, width), lines, area = values.shape, collections.Counter(), 0.0
    for outer, *holes in rings(areas.smooth):
        area += shoelace(outer) - sum(map(shoelace, holes))
        for ring in (outer, *holes):
            assert len(ring) >= 3 and shoelace(ring) > 0
            for one, other in zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True):
                lines[tuple(sorted([tuple(one), tuple(other)]))] += 1
    assert area == values.size
    alone = [line for line, times in lines.items() if times == 1]
    assert max(lines.values()) == 2
    assert all(any(a[k] == b[k] and a[k] in (0, (width, height)[k]) for k in (0, 1)) for a, b in alone)
    # As one polygon all lines are asked whether they cross: of a partition none do.
    every = np.array(sorted(lines))
    together = shapes.Shapes(
        every.reshape(-1, 2), shapes.offsets(np.full(len(every), 2)), np.array([0, len(every)]),
        np.array([wkb.POLYGON]), np.array([0]),
    )  # fmt: skip
    assert not shapes.crossing(together)


def test_slopes_become_lines_and_fields_keep_their_corners(tmp_path):
    rows, columns = np.mgrid[:60, :80]
    (slope,) = found(tmp_path, (columns > rows + 5).astype(np.uint8))
    assert sorted(len(ring) for polygon in rings(slope.smooth) for ring in polygon) == [6, 6]
    assert len(slope.exact.points) > 200
    field = np.zeros((60, 80), np.uint8)
    field[10:30, 20:50] = 1
    (areas,) = found(tmp_path, field)
    of_field = rings(areas.smooth)[areas.values.tolist().index(1)][0]
    assert of_field.shape == (8, 2) and shoelace(of_field) == 600 - 4 * 0.125


def test_no_data_has_no_outline_and_its_neighbours_fit(tmp_path):
    values = blobs(50, 60, 3, 2, 7)
    values[:, :17] = 255
    (areas,) = found(tmp_path, values)
    assert 255 not in areas.values and areas.pixels.sum() == 50 * 43
    assert found(tmp_path, np.full((5, 6), 255, np.uint8)) == []
    (alone,) = found(tmp_path, np.full((5, 6), 3, np.uint8))
    assert rings(alone.smooth)[0][0].tolist() == rings(alone.exact)[0][0].tolist()


@pytest.mark.parametrize("turn", [0, 31])
def test_columns_and_rows_wherever_the_raster_lies(tmp_path, turn):
    values = blobs(40, 60, 3, 2, 1)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    place = Affine(0.1 * cos, 0.3 * sin, 500_000.3, 0.1 * sin, -0.3 * cos, 5_000_000.7)
    (areas,), (plain,) = found(tmp_path, values, crs="EPSG:32633", transform=place), found(tmp_path, values)
    np.testing.assert_array_equal(areas.exact.points, plain.exact.points)


def test_batches_and_strips_change_nothing(tmp_path, monkeypatch):
    values = blobs(90, 60, 4, 1, 3)
    (whole,) = found(tmp_path, values)
    monkeypatch.setattr(outlines, "_BATCH", 7)
    strips = raster_io.strips
    monkeypatch.setattr(raster_io, "strips", lambda dataset: strips(dataset, rows=11))
    parts = found(tmp_path, values)
    assert len(parts) > 10
    np.testing.assert_array_equal(np.concatenate([one.smooth.points for one in parts]), whole.smooth.points)


def authalic(latitude: float) -> float:
    """q of Snyder, Map Projections (1987), equation 3-12, on WGS84: its difference is twice the area of a zone."""
    e, sine = np.sqrt(0.00669437999014), np.sin(np.radians(latitude))
    return (1 - e**2) * (sine / (1 - (e * sine) ** 2) - np.log((1 - e * sine) / (1 + e * sine)) / (2 * e))


def test_square_metres_are_those_of_the_ground(tmp_path):
    """In degrees, against the area between parallels of the ellipsoid, and in UTM against the plane."""
    values = np.zeros((40, 30), np.uint8)
    values[10:, :] = 1
    values[20:25, 5:9] = 2
    (areas,) = found(tmp_path, values)
    degree = outlines.square_metres(areas.exact, CRS.from_epsg(4326), Affine(0.1, 0, 178, 0, -0.1, 62))
    bands = [(62, 61, 3.0), (61, 58, 3.0), (60, 59.5, 0.4)]
    ground = [6_378_137**2 * np.radians(width) * (authalic(a) - authalic(b)) / 2 for a, b, width in bands]
    ground[1] -= ground[2]
    by_value = dict(zip(areas.values.tolist(), degree.tolist(), strict=True))
    assert [by_value[value] for value in range(3)] == pytest.approx(ground, rel=1e-5)
    metres = outlines.square_metres(areas.exact, CRS.from_epsg(32633), Affine(10, 0, 5e5, 0, -10, 5e6))
    np.testing.assert_allclose(metres, areas.pixels * 100 / 0.9996**2, rtol=1e-5)
