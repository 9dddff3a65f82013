"""Places, distances and outlines against closed forms of the ellipsoid and against coordinates that are published."""

import itertools

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from data_pipelines.geo import geodesy

UTM = CRS.from_epsg(32633)
WGS84 = CRS.from_epsg(4326)
MERCATOR = CRS.from_epsg(3857)
AXIS, E2 = 6378137.0, 0.00669437999014  # WGS84, as NIMA TR8350.2 gives them


def meridian(latitude: float) -> float:
    """Metres for a degree of latitude: M = a (1 - e2) / (1 - e2 sin2)^(3/2)."""
    return np.radians(1) * AXIS * (1 - E2) / (1 - E2 * np.sin(np.radians(latitude)) ** 2) ** 1.5


def parallel(latitude: float) -> float:
    """Metres for a degree of longitude: N cos = a cos / sqrt(1 - e2 sin2)."""
    return np.radians(1) * AXIS * np.cos(np.radians(latitude)) / np.sqrt(1 - E2 * np.sin(np.radians(latitude)) ** 2)


def inside(point, ring) -> bool:
    """Whether a point is in a ring of positions, by the crossings of a ray to the east."""
    x, y = point
    edges = itertools.pairwise(ring)
    return sum((ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax) for (ax, ay), (bx, by) in edges) % 2


def area(ring) -> float:
    x, y = np.array(ring).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def test_lonlat_of_known_points():
    # The example of the IOGP guidance note 373-7-2, transverse Mercator: E 577274.99 m, N 69740.50 m of the British
    # grid is 50.5 N 0.5 E on its own datum, OSGB36.
    own = geodesy.transformed(CRS.from_epsg(27700), CRS.from_epsg(4277), np.array(577274.99), np.array(69740.50))
    np.testing.assert_allclose(own, (0.5, 50.5), atol=2e-7)
    # On the central meridian of a UTM zone the easting is 500 km, and at the equator the northing is 0.
    np.testing.assert_allclose(geodesy.lonlat(UTM, np.array([500000.0]), np.array([0.0])), [[15.0], [0.0]], atol=1e-9)


def test_longitude_comes_first_whatever_the_authority_says():
    x, y = geodesy.lonlat(WGS84, np.array([[10.0, 11.0]]), np.array([[50.0, 51.0]]))
    np.testing.assert_allclose(x, [[10.0, 11.0]])
    np.testing.assert_allclose(y, [[50.0, 51.0]])


def test_the_width_of_the_equal_area_plane():
    x, _ = geodesy.equal_area(WGS84, np.array([-90.0, 90.0]), np.zeros(2))
    assert x[1] - x[0] == pytest.approx(geodesy.AROUND / 2, rel=1e-12)
    # EPSG gives -17367530.44 to 17367530.44 as the projected bounds.
    assert pytest.approx(2 * 17367530.44, abs=0.1) == geodesy.AROUND


def test_beyond_the_pole_is_the_pole():
    _, y = geodesy.equal_area(WGS84, np.zeros(2), np.array([90.0, 90.125]))
    assert np.isfinite(y).all() and y[0] == y[1]


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        (UTM, Affine(10, 0, 499000, 0, -10, 5501000), (10 / 0.9996, 10 / 0.9996)),
        (WGS84, Affine(1e-4, 0, 10, 0, -2e-4, 60.01), (1e-4 * parallel(60), 2e-4 * meridian(60))),
        (CRS.from_epsg(4807), Affine(1e-4, 0, 1, 0, -1e-4, 50.005), (0.9e-4 * parallel(45), 0.9e-4 * meridian(45))),
        (CRS.from_epsg(2263), Affine(10, 0, 980000, 0, -10, 200000), (3.048006, 3.048006)),
        (UTM, Affine(6, -8, 500000, -8, -6, 5500000), (10 / 0.9996, 10 / 0.9996)),
    ],
    ids=["utm", "degrees", "grads", "feet", "rotated"],
)
def test_metres_per_pixel(crs, transform, expected):
    np.testing.assert_allclose(geodesy.metres_per_pixel(crs, transform, 100, 200), expected, rtol=1e-4)


def test_metres_in_web_mercator_are_those_on_the_ground():
    north = 8399737.889818  # 60 N by the formula of the sphere: R ln tan(45 + 60 / 2)
    x, y = geodesy.metres_per_pixel(MERCATOR, Affine(20, 0, 1e6, 0, -20, north + 20), 2, 2)
    # The scale of its axes: parallel and meridian of the ellipsoid over a sphere's degree times sec 60.
    assert x == pytest.approx(20 * parallel(60) / (np.radians(1) * AXIS), rel=1e-6)
    assert y == pytest.approx(20 * meridian(60) * np.cos(np.radians(60)) / (np.radians(1) * AXIS), rel=1e-5)


def test_distances_across_the_antimeridian():
    x, _ = geodesy.metres_per_pixel(WGS84, Affine(1e-3, 0, 179.999, 0, -1e-3, 10), 2, 2)
    assert x == pytest.approx(1e-3 * parallel(10), rel=1e-3)


def test_what_lies_nowhere_is_refused():
    with pytest.raises(ValueError, match="neither geographic nor projected"):
        geodesy.metres_per_pixel(CRS.from_epsg(4978), Affine.identity(), 10, 10)
    with pytest.raises(ValueError, match="does not reach"):
        geodesy.metres_per_pixel(UTM, Affine(10, 0, 1e9, 0, -10, 1e9), 10, 10)


def test_what_lies_nowhere_has_no_outline():
    local = CRS.from_wkt('LOCAL_CS["a field",UNIT["metre",1],AXIS["X",EAST],AXIS["Y",NORTH]]')
    assert geodesy.footprint(local, Affine(1, 0, 0, 0, -1, 0), 10, 10) == (None, None)
    # The corners of a picture of the whole disc are beside it.
    disc = CRS.from_string("+proj=ortho +lat_0=0 +lon_0=0 +datum=WGS84")
    assert geodesy.footprint(disc, Affine(13000, 0, -6.5e6, 0, -13000, 6.5e6), 1000, 1000) == (None, None)


def test_outline_follows_bent_edges():
    # A strip 600 km wide: its upper edge, level in UTM, lies farther north at its middle than at its corners.
    transform = Affine(1000, 0, 200000, 0, -1000, 6500000)
    box, shape = geodesy.footprint(UTM, transform, 100, 600)
    ring = shape["coordinates"][0]
    assert shape["type"] == "Polygon" and ring[0] == ring[-1] and area(ring) > 0
    middle = [float(v[0]) for v in geodesy.lonlat(UTM, np.array([500000.0]), np.array([6500000.0]))]
    corners = geodesy.lonlat(UTM, np.array([200000.0, 800000]), np.array([6500000.0, 6500000]))[1]
    assert box[3] == pytest.approx(middle[1], abs=1e-6) and box[3] > corners.max() + 0.05
    assert inside((middle[0], middle[1] - 1e-4), ring) and not inside((middle[0], middle[1] + 1e-4), ring)


def test_outline_of_degrees_is_the_box():
    box, shape = geodesy.footprint(WGS84, Affine(0.5, 0, 10, 0, -0.25, 50), 8, 4)
    assert box == (10, 48, 12, 50)
    assert area(shape["coordinates"][0]) == pytest.approx(4)


@pytest.mark.parametrize("crs", ["degrees", "utm"])
def test_outline_across_the_antimeridian_has_two_parts(crs):
    if crs == "degrees":
        box, shape = geodesy.footprint(WGS84, Affine(0.5, 0, 179, 0, -0.5, 10), 4, 4)
        assert box == (179, 8, -179, 10)
        assert sum(area(part[0]) for part in shape["coordinates"]) == pytest.approx(4)
    else:
        box, shape = geodesy.footprint(CRS.from_epsg(32660), Affine(1000, 0, 750000, 0, -1000, 20000), 10, 180)
        assert 179 < box[0] < 180 and -180 < box[2] < -179
    assert shape["type"] == "MultiPolygon" and len(shape["coordinates"]) == 2
    for part in shape["coordinates"]:
        x = np.array(part[0])[:, 0]
        assert area(part[0]) > 0 and (abs(x) <= 180).all() and (np.sign(x) == np.sign(x[0])).all()


@pytest.mark.parametrize("west", [-180, 0], ids=["from -180", "from 0"])
def test_outline_of_the_whole_globe(west):
    box, shape = geodesy.footprint(WGS84, Affine(1, 0, west, 0, -1, 90), 180, 360)
    assert box == (-180, -90, 180, 90) and area(shape["coordinates"][0]) == pytest.approx(360 * 180)


def test_outline_around_a_pole():
    box, shape = geodesy.footprint(CRS.from_epsg(3031), Affine(1000, 0, -1e6, 0, -1000, 1e6), 2000, 2000)
    assert box[:2] == (-180, -90) and box[2] == 180 and -82 < box[3] < -76
    assert shape["type"] == "Polygon"


def test_codes():
    assert geodesy.codes(UTM)[0] == "EPSG:32633" and geodesy.codes(UTM)[1].startswith("PROJCRS[")
    code, text = geodesy.codes(CRS.from_string("+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84 +units=m"))
    assert code is None and "Lambert Azimuthal Equal Area" in text


def test_bounds_in_a_crs_by_its_text_are_degrees_and_hectares():
    west, south, east, north = geodesy.degrees("EPSG:32633", (499_000, 5_000_000, 501_000, 5_002_000))
    assert west < 15 < east and west + east == pytest.approx(30, abs=1e-6)  # the middle of zone 33
    assert south == pytest.approx(45.15, abs=0.01) and north - south == pytest.approx(0.018, abs=1e-4)
    assert geodesy.hectares("EPSG:32633", (499_000, 5_000_000, 501_000, 5_002_000)) == pytest.approx(400, rel=1e-3)
    # A minute of arc at the equator: about a nautical mile each way.
    assert geodesy.hectares("EPSG:4326", (0, 0, 1 / 60, 1 / 60)) == pytest.approx(1855.3 * 1842.9 / 1e4, rel=1e-3)


@pytest.mark.parametrize("crs", ["", "nonsense", "EPSG:999999", 'LOCAL_CS["a wall",UNIT["metre",1]]'])
def test_a_crs_that_is_none_or_nowhere_has_neither(crs):
    assert geodesy.degrees(crs, (0, 0, 1, 1)) is None and geodesy.hectares(crs, (0, 0, 1, 1)) is None


def test_bounds_beyond_the_reach_of_a_crs_have_neither():
    assert geodesy.degrees("EPSG:32633", (1e30, 0, 2e30, 1)) is None
    assert geodesy.hectares("EPSG:32633", (1e30, 0, 2e30, 1)) is None
