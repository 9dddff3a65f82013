"""Files of polygons, lines and points for tests, and where pixels lie in them by the letter."""

import itertools
import json
import pathlib
from collections.abc import Sequence

import numpy as np
import pyogrio.raw

from data_pipelines.geo import geopackage

CRS = "EPSG:32633"
ORIGIN, PIXEL = (500_000.0, 5_000_000.0), 0.5  # of `own.write`


def square(column: float, row: float, width: float, height: float | None = None) -> list[tuple[float, float]]:
    """A rectangle in pixels of the images of `own`, its ring closed, in their CRS."""
    height = width if height is None else height
    corners = [(0, 0), (width, 0), (width, height), (0, height), (0, 0)]
    return [at(column + x, row + y) for x, y in corners]


def at(column: float, row: float) -> tuple[float, float]:
    """A place in pixels of the images of `own`, in their CRS."""
    return ORIGIN[0] + PIXEL * column, ORIGIN[1] - PIXEL * row


def geojson(path: pathlib.Path, features: Sequence[tuple[dict, dict | None]], crs: str | None = CRS) -> pathlib.Path:
    """Writes (properties, geometry) as GeoJSON; without a CRS it counts as longitude and latitude."""
    listed = [{"type": "Feature", "properties": p, "geometry": g} for p, g in features]
    whole: dict = {"type": "FeatureCollection", "features": listed}
    if crs:
        whole["crs"] = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs.replace(':', '::')}"}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole))
    return path


def polygon(*rings: Sequence[tuple[float, float]]) -> dict:
    return {"type": "Polygon", "coordinates": [list(map(list, ring)) for ring in rings]}


def written(path: pathlib.Path, classes: Sequence, rings: Sequence, driver: str, crs: str | None = CRS) -> pathlib.Path:
    """Polygons with the column class, in any format."""
    shapes = np.empty(len(rings), object)
    shapes[:] = [geopackage.polygon(ring) for ring in rings]
    values = np.array(classes, object if isinstance(classes[0], str) else np.int64)
    pyogrio.raw.write(
        path, shapes, [values], ["class"], driver=driver, geometry_type="Polygon", crs=crs, layer=path.stem
    )
    return path


def inside(ring: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points a closed ring goes around an odd number of times (float64, edge by edge)."""
    crossed = np.zeros(np.broadcast(x, y).shape, int)
    for (ax, ay), (bx, by) in itertools.pairwise(ring):
        if ay != by:
            at_x = ax + (y - ay) * (bx - ax) / (by - ay)
            crossed += ((ay > y) != (by > y)) & (x < at_x)
    return crossed % 2 == 1


def away(line: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The distance of points from a line of edges."""
    nearest = np.full(np.broadcast(x, y).shape, np.inf)
    for a, b in itertools.pairwise(line):
        edge = b - a
        share = np.clip(((x - a[0]) * edge[0] + (y - a[1]) * edge[1]) / max(edge @ edge, 1e-300), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - a[0] - share * edge[0], y - a[1] - share * edge[1]))
    return nearest
