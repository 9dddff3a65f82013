"""Shapes of one CRS in the pixels of another one, in which straight edges are bent."""

import dataclasses

import numpy as np
from rasterio.crs import CRS

from data_pipelines.geo import geodesy
from data_pipelines.geo.geometry.shapes import Shapes, offsets
from data_pipelines.geo.grids import Grid

_BEND = 0.1  # pixels by which an edge may be bent before it is divided
_PIECES = 64  # that an edge is divided into at once, at most
_TIMES = 4  # that what is still bent is divided again, at most


def in_pixels(crs: CRS, grid: Grid, points: np.ndarray) -> np.ndarray:
    """Points (n, 2) of a CRS as columns and rows of a grid; NaN where its CRS does not reach."""
    x, y = points.T if crs == grid.crs else geodesy.transformed(crs, grid.crs, *points.T)
    return np.stack(geodesy.positions(~grid.transform, x, y), axis=1)


def divided(near: Shapes, shapes: Shapes, crs: CRS, grid: Grid) -> Shapes:
    """Divides edges that are straight in one CRS and bent in the other, until they are bent no more.

    Args:
      near: in the CRS `crs`.
      shapes: the same, in pixels of the grid.
    """
    for _ in range(_TIMES):
        before = len(near.points)
        near, shapes = _once(near, shapes, crs, grid)
        if len(near.points) == before:
            break
    return shapes


def _once(near: Shapes, shapes: Shapes, crs: CRS, grid: Grid) -> tuple[Shapes, Shapes]:
    """Both with each bent edge divided once."""
    if len(near.points) < 2:
        return near, shapes
    begins = np.ones(len(near.points) - 1, bool)  # an edge begins at each point but the last ones of rings
    begins[near.rings[1:-1] - 1] = False
    middle = in_pixels(crs, grid, (near.points[:-1] + near.points[1:]) / 2)
    bend = np.hypot(*(middle - (shapes.points[:-1] + shapes.points[1:]) / 2).T)
    pieces = np.ones(len(near.points), np.int64)
    bent = begins & (bend > _BEND)  # NaN is not
    pieces[:-1][bent] = np.ceil(np.sqrt(bend[bent] / _BEND)).clip(max=_PIECES)  # it falls with the square
    if (pieces == 1).all():
        return near, shapes
    at = np.repeat(np.arange(len(pieces)), pieces)
    step = np.arange(len(at)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = (step / pieces[at])[:, None]
    after = np.minimum(at + 1, len(pieces) - 1)
    points, placed = near.points[at], shapes.points[at]
    new = step > 0
    points[new] = near.points[at[new]] * (1 - share[new]) + near.points[after[new]] * share[new]
    moved = in_pixels(crs, grid, points[new])
    placed[new] = np.where(np.isnan(moved), placed[new], moved)
    rings = offsets(pieces)[shapes.rings]
    return dataclasses.replace(near, points=points, rings=rings), dataclasses.replace(
        shapes, points=placed, rings=rings
    )
