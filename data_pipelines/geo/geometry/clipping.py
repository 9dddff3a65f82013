"""Polygons cut to a box, so that of one that reaches around the Earth no more is transformed than an image needs."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from rasterio.crs import CRS

from data_pipelines.geo import geodesy
from data_pipelines.geo.geometry import wkb
from data_pipelines.geo.geometry.shapes import Shapes, offsets
from data_pipelines.geo.grids import Grid

Box = tuple[np.ndarray, np.ndarray]  # least x and y, largest x and y


def boxes_of(crs: CRS, grid: Grid) -> list[Box]:
    """The bounds of an image in a CRS: two boxes across the antimeridian, none where they cannot be told."""
    around = np.linspace(0, 1, 33)
    columns, rows = np.meshgrid(around * grid.width, around * grid.height)
    x, y = geodesy.positions(grid.transform, columns, rows)
    if crs != grid.crs:
        x, y = geodesy.transformed(grid.crs, crs, x, y)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return []
    parts = [x]
    if crs != grid.crs and crs.is_geographic and np.diff(np.sort(x, axis=None)).max() * crs.units_factor[1] > math.pi:
        parts = [x[x < 0], x[x >= 0]]
    return [(np.array([part.min(), y.min()]), np.array([part.max(), y.max()])) for part in parts]


def widened(box: Box, share: float) -> Box:
    """A box with so much of its own width and height beside it, on all sides."""
    low, high = box
    return low - (high - low) * share, high + (high - low) * share


def clipped(shapes: Shapes, boxes: Sequence[Box]) -> Shapes:
    """Cuts polygons to boxes; what lies in one of them as a whole, points and lines stay as they are.

    In each box an odd number of rings goes around the same places as before. A polygon that several boxes cut becomes a
    part for each of them. Along the edges of a box polygons get edges that they did not have.
    """
    bounds = shapes.boxes()
    whole = shapes.kinds != wkb.POLYGON
    for low, high in boxes:
        whole |= (bounds[:, :2] >= low).all(1) & (bounds[:, 2:] <= high).all(1)
    if whole.all():
        return shapes
    rings: list[np.ndarray] = []
    counts, kinds, owners = [], [], []
    for part in range(len(whole)):
        own = [shapes.ring(number) for number in range(shapes.parts[part], shapes.parts[part + 1])]
        for kept in [own] if whole[part] else _cut_to(own, boxes):
            rings += kept
            counts.append(len(kept))
            kinds.append(shapes.kinds[part])
            owners.append(shapes.owners[part])
    return Shapes(
        np.concatenate([shapes.points[:0], *rings]),
        offsets(np.array([len(ring) for ring in rings], np.int64)),
        offsets(np.array(counts, np.int64)),
        np.array(kinds, shapes.kinds.dtype),
        np.array(owners, shapes.owners.dtype),
    )


def _cut_to(rings: Sequence[np.ndarray], boxes: Sequence[Box]) -> Iterator[list[np.ndarray]]:
    """What of a polygon lies in each box, but for boxes that hold none of it."""
    for box in boxes:
        kept = [ring for ring in (_cut(ring, box) for ring in rings) if len(ring)]
        if kept:
            yield kept


def _cut(ring: np.ndarray, box: Box) -> np.ndarray:
    """The part of a ring in a box, closed; (0, 2) where there is none (Sutherland & Hodgman 1974)."""
    for axis, side, limit in ((k, side, box[end][k]) for k in (0, 1) for end, side in ((0, 1), (1, -1))):
        inside = side * ring[:, axis] >= side * limit
        if inside.all():
            continue
        if not inside.any():
            return ring[:0]
        if (ring[0] != ring[-1]).any():
            ring, inside = np.concatenate([ring, ring[:1]]), np.append(inside, inside[0])
        starts, edges = ring[:-1], np.diff(ring, axis=0)
        crosses = inside[:-1] != inside[1:]
        share = np.divide(limit - starts[:, axis], edges[:, axis], out=np.zeros(len(edges)), where=crosses)
        met = starts + share[:, None] * edges
        met[:, axis] = limit
        points = np.stack([starts, met], axis=1).reshape(-1, 2)
        ring = points[np.stack([inside[:-1], crosses], axis=1).ravel()]
        ring = np.concatenate([ring, ring[:1]])
    return ring
