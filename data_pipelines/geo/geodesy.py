"""Where pixels lie on the Earth: longitude and latitude, true ground distances and areas, the outline of a scene."""

import contextlib
import functools
import itertools
import math
from typing import Any

import numpy as np
import rasterio.warp
from rasterio import Affine
from rasterio._err import CPLE_BaseError  # what PROJ refuses is raised as this; it has no public name
from rasterio.crs import CRS
from rasterio.errors import CRSError

Bounds = tuple[float, float, float, float]
LONLAT = CRS.from_string("OGC:CRS84")  # longitude, latitude on WGS84
EQUAL_AREA = CRS.from_epsg(6933)  # cylindrical on the WGS84 ellipsoid: areas in this plane are areas on the ground
# Semi-major axis in metres and squared eccentricity of the WGS84 ellipsoid (NIMA TR8350.2, table 3.1).
_AXIS, _FLATTENING = 6378137.0, 1 / 298.257223563
_E2 = _FLATTENING * (2 - _FLATTENING)
# The plane of EPSG:6933 touches the ellipsoid at 30 degrees: its width is once around that parallel.
AROUND = 2 * math.pi * _AXIS * math.cos(math.radians(30)) / math.sqrt(1 - _E2 * math.sin(math.radians(30)) ** 2)
HECTARE = 10_000  # square metres
_EDGE_POINTS = 33  # points along each edge of an outline: edges that are straight in a CRS are bent on the Earth


def crs_from(text: str) -> CRS:
    """The CRS of a text such as "EPSG:32633", or of WKT. Raises rasterio.errors.CRSError for what is neither."""
    return CRS.from_user_input(text)


def lonlat(crs: CRS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude in degrees on WGS84 of points of a CRS; NaN where the CRS does not reach.

    Args:
      crs: geographic or projected.
      x, y: coordinates in the CRS, of one shape; in a geographic CRS x is the longitude.

    Returns two float64 arrays of that shape.
    """
    return transformed(crs, LONLAT, x, y)


def equal_area(crs: CRS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of a CRS in EPSG:6933, in metres: a planar area there is the area on the WGS84 ellipsoid.

    Longitudes are taken into -180 to 180, so that x jumps by `AROUND` at the antimeridian. Arguments as of `lonlat`.
    """
    return transformed(crs, EQUAL_AREA, x, y)


def transformed(crs: CRS, to: CRS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points of one CRS in another one, two float64 arrays; NaN where either does not reach, or nothing joins them."""
    x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    if crs.is_geographic:  # outer edges of global grids may lie beyond the poles
        pole = math.pi / 2 / crs.units_factor[1]
        y = y.clip(-pole, pole)
    moved = np.empty((2, x.size))
    try:
        moved[:] = rasterio.warp.transform(crs, to, x.ravel(), y.ravel())
    except CPLE_BaseError:  # one of the points: which, does not say
        for i, (a, b) in enumerate(zip(x.flat, y.flat, strict=True)):
            with contextlib.suppress(CPLE_BaseError):
                moved[:, i] = np.nan
                moved[:, i] = np.ravel(rasterio.warp.transform(crs, to, [a], [b]))
    moved[:, ~np.isfinite(moved).all(0)] = np.nan
    return moved[0].reshape(x.shape), moved[1].reshape(x.shape)


def metres_per_pixel(crs: CRS, transform: Affine, height: int, width: int) -> tuple[float, float]:
    """Metres on the ground, at the centre of a scene, from column to column and from row to row.

    These are true distances on the WGS84 ellipsoid: a pixel of 20 m in web mercator at 60 degrees north is 10 m long.

    Raises ValueError for a CRS that is neither geographic nor projected, and where the centre is nowhere on the Earth.
    """
    if not is_earthly(crs):
        raise ValueError(f"CRS {crs.to_string():.60} is neither geographic nor projected")
    # A cross over the centre, half a pixel to each side.
    columns = width / 2 + np.array([-0.5, 0.5, 0, 0])
    rows = height / 2 + np.array([0, 0, -0.5, 0.5])
    longitude, latitude = lonlat(crs, *positions(transform, columns, rows))
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        raise ValueError(f"CRS {crs.to_string():.60} does not reach the scene's centre")
    phi = math.radians(latitude.mean())
    bulge = 1 - _E2 * math.sin(phi) ** 2
    east = _AXIS / math.sqrt(bulge) * math.cos(phi)  # metres for a radian of longitude, and of latitude
    north = _AXIS * (1 - _E2) / bulge**1.5
    around = np.radians((np.diff(longitude)[::2] + 180) % 360 - 180)
    along = np.radians(np.diff(latitude)[::2])
    across, down = np.hypot(east * around, north * along)
    return float(across), float(down)


def footprint(
    crs: CRS, transform: Affine, height: int, width: int
) -> tuple[tuple[float, float, float, float], dict[str, Any]] | tuple[None, None]:
    """The outline of a scene in longitude and latitude, its edges followed point by point.

    Returns:
      (west, south, east, north) in degrees, and a GeoJSON geometry. As RFC 7946 wants it, a scene across the
      antimeridian is a MultiPolygon and its west is larger than its east. Around a pole it is a box over all
      longitudes. Both are None for a CRS that is neither geographic nor projected, and where a part of the outline is
      off the Earth.
    """
    found = _outline(crs, transform, height, width)
    if found is None:
        return None, None
    box, ring = found
    if np.ptp(ring[:, 0]) >= 360:
        return box, {"type": "Polygon", "coordinates": [_ring(ring)]}
    parts = [
        part - (centre, 0)
        for centre in (-360, 0, 360)
        if len(part := _cut(_cut(ring, centre - 180, 1), centre + 180, -1))
    ]
    rings = [[_ring(part)] for part in parts]
    if len(rings) == 1:
        return box, {"type": "Polygon", "coordinates": rings[0]}
    return box, {"type": "MultiPolygon", "coordinates": rings}


def _outline(crs: CRS, transform: Affine, height: int, width: int) -> tuple[Bounds, np.ndarray] | None:
    """The bounds of `footprint`, and its outline (n, 2) before it is cut at the antimeridian, or None."""
    if not is_earthly(crs):
        return None
    along = np.linspace(0, 1, _EDGE_POINTS)[:-1]
    nought, one = np.zeros_like(along), np.ones_like(along)
    columns = width * np.concatenate([nought, along, one, 1 - along, [0]])
    rows = height * np.concatenate([along, one, 1 - along, nought, [0]])
    x, y = positions(transform, columns, rows)
    longitude, latitude = (x, y) if crs == LONLAT else lonlat(crs, x, y)
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        return None
    latitude = latitude.clip(-90, 90)
    longitude = np.unwrap(longitude, period=360)
    south, north = float(latitude.min()), float(latitude.max())
    if around_pole := abs(longitude[-1] - longitude[0]) > 180:
        south, north = (-90.0, north) if abs(south) > abs(north) else (south, 90.0)
    if around_pole or np.ptp(longitude) >= 360:
        ring = np.array([(-180, south), (180, south), (180, north), (-180, north), (-180, south)], float)
        return _rounded((-180, south, 180, north)), ring
    # The outline may have been counted into another turn: its middle decides.
    turn = 360 * math.floor(((longitude.min() + longitude.max()) / 2 + 180) / 360)
    ring = np.stack([longitude - turn, latitude], axis=1)
    west, east = float(ring[:, 0].min()), float(ring[:, 0].max())
    return _rounded((west + 360 if west < -180 else west, south, east - 360 if east > 180 else east, north)), ring


def degrees(crs: str, bounds: Bounds) -> Bounds | None:
    """West, south, east and north in degrees of bounds (left, bottom, right, top) in a CRS that is given as text.

    As of `footprint`; None also for a text that names no CRS.
    """
    known = _named(crs)
    found = None if known is None else _outline(known, _as_pixel(bounds), 1, 1)
    return found[0] if found else None


def hectares(crs: str, bounds: Bounds) -> float | None:
    """Area on the ground of bounds (left, bottom, right, top), as if it were everywhere as in their middle; or None."""
    known = _named(crs)
    try:
        return None if known is None else math.prod(metres_per_pixel(known, _as_pixel(bounds), 1, 1)) / HECTARE
    except ValueError:
        return None


@functools.lru_cache(maxsize=64)
def _named(crs: str) -> CRS | None:
    try:
        return crs_from(crs)
    except CRSError:
        return None


def _as_pixel(bounds: Bounds) -> Affine:
    """The transform of a raster of one pixel that covers these bounds."""
    left, bottom, right, top = bounds
    return Affine(right - left, 0, left, 0, bottom - top, top)


def codes(crs: CRS) -> tuple[str | None, str]:
    """A code such as "EPSG:32633" where an authority knows the CRS, else None; and its WKT2 text."""
    known = crs.to_authority()
    return ":".join(known) if known else None, crs.to_wkt(version="WKT2_2019")


def positions(transform: Affine, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates in the CRS of positions in the raster; (0, 0) is the outer corner of the first pixel."""
    t = transform
    return t.a * columns + t.b * rows + t.c, t.d * columns + t.e * rows + t.f


def is_earthly(crs: CRS | None) -> bool:
    """Whether a CRS ties coordinates to places on the Earth: geographic or projected, not local or geocentric."""
    return crs is not None and (crs.is_geographic or crs.is_projected)


def _cut(ring: np.ndarray, limit: float, side: int) -> np.ndarray:
    """The part of a closed ring (n, 2) with side * longitude >= side * limit (Sutherland & Hodgman 1974), or (0, 2)."""
    kept: list[np.ndarray] = []
    for (ax, ay), (bx, by) in itertools.pairwise(ring):
        a_inside, b_inside = side * ax >= side * limit, side * bx >= side * limit
        if a_inside:
            kept.append(np.array([ax, ay]))
        if a_inside != b_inside:
            kept.append(np.array([limit, ay + (limit - ax) / (bx - ax) * (by - ay)]))
    if not kept or np.ptp([x for x, _ in kept]) == 0:
        return np.empty((0, 2))
    return np.array([*kept, kept[0]])


def _ring(points: np.ndarray) -> list[list[float]]:
    """Positions of a closed GeoJSON ring, counterclockwise, to a centimetre."""
    x, y = points.T
    if (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() < 0:
        points = points[::-1]
    return [list(_rounded(point)) for point in points]


def _rounded(numbers) -> tuple:
    return tuple(round(float(number), 7) for number in numbers)
