"""The outlines of the areas of equal numbers in a raster, as polygons that fit together.

An area is what hangs together by edges of pixels. Its outline is smoothed, and each piece that two areas share in the
same way, so that no gap opens between them and nothing overlaps:

- Corners where three areas meet, or two touch crosswise, stay where they are, and so do the corners of the raster.
- Every other corner is cut from the middle of one edge of a pixel to the middle of the next, which turns the stairs of
  a slope into a line.
- Between two corners that stay, points are left out that lie less than `_TOLERANCE` pixels from the line without them
  (Douglas & Peucker 1973). Lines lie 0.7 pixels apart or more after the cutting, so they cannot come to cross.

Memory holds what the outlines take, and some rows of the raster.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import rasterio
import rasterio.features
from rasterio import Affine
from rasterio.crs import CRS

from data_pipelines.geo import geodesy, raster_io
from data_pipelines.geo.geometry import wkb
from data_pipelines.geo.geometry.shapes import Shapes, offsets

_TOLERANCE = 0.35  # pixels: less than half of the distance of two lines, which is the root of a half
_BATCH = 20_000  # polygons that are worked on together
_LONGEST = 256  # pixels of an edge that is taken for straight in another plane


@dataclasses.dataclass(frozen=True)
class Areas:
    """Some areas of a raster.

    Attributes:
      values: (n,) the number of each.
      pixels: (n,) how many it has.
      exact: along the edges of pixels, in columns and rows.
      smooth: the same, smoothed.
    """

    values: np.ndarray
    pixels: np.ndarray
    exact: Shapes
    smooth: Shapes


def areas(path: pathlib.Path, nodata: int) -> Iterator[Areas]:
    """Finds the areas of equal numbers in band 1 of a raster of uint8, some at a time; none of `nodata`.

    Raises Refused where the raster cannot be read.
    """
    with raster_io.opened(path) as dataset:
        nodes = _Nodes.of(dataset)
        # GDAL gives the outlines of a file in its coordinates: they are turned back into columns and rows.
        shapes = rasterio.features.shapes(rasterio.band(dataset, 1), connectivity=4, transform=dataset.transform)
        found = ((geometry["coordinates"], int(value)) for geometry, value in shapes if value != nodata)
        while batch := list(itertools.islice(found, _BATCH)):
            yield _areas(batch, nodes, ~dataset.transform)


def _areas(batch: Sequence[tuple[list, int]], nodes: "_Nodes", to_pixels: Affine) -> Areas:
    rings = [np.array(ring[:-1]) for polygon, _ in batch for ring in polygon]
    count = len(batch)
    points = np.stack(geodesy.positions(to_pixels, *np.concatenate(rings).T), axis=1)
    exact = Shapes(
        np.rint(points).astype(np.int64),
        offsets(np.array([len(ring) for ring in rings])),
        offsets(np.array([len(polygon) for polygon, _ in batch])),
        np.full(count, wkb.POLYGON),
        np.arange(count),
    )
    pixels = np.rint(_polygon_areas(exact, exact.points.astype(np.float64))).astype(np.int64)
    return Areas(np.array([value for _, value in batch]), pixels, exact, _smoothed(exact, nodes))


def square_metres(shapes: Shapes, crs: CRS, transform: Affine) -> np.ndarray:
    """The area of polygons on the ground, (n,); `shapes` are in columns and rows of a raster, rings not closed."""
    after = _next(shapes)
    pieces = np.ceil(np.abs(shapes.points[after] - shapes.points).max(1) / _LONGEST).clip(1).astype(np.int64)
    at = np.repeat(np.arange(len(pieces)), pieces)
    share = (np.arange(len(at)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / pieces[at]
    points = shapes.points[at] + (shapes.points[after] - shapes.points)[at] * share[:, None]
    divided = dataclasses.replace(shapes, points=points, rings=offsets(pieces)[shapes.rings])
    x, y = geodesy.equal_area(crs, *geodesy.positions(transform, points[:, 0], points[:, 1]))
    first = divided.rings[divided.parts[:-1]]
    part = np.repeat(np.arange(len(shapes.kinds)), np.diff(divided.rings[divided.parts]))
    x = (x - x[first][part] + geodesy.AROUND / 2) % geodesy.AROUND - geodesy.AROUND / 2  # the short way round
    return _polygon_areas(divided, np.stack([x, y - y[first][part]], axis=1))


def _next(shapes: Shapes) -> np.ndarray:
    """The index of the point after each one, around its ring."""
    after = np.arange(1, len(shapes.points) + 1)
    after[shapes.rings[1:] - 1] = shapes.rings[:-1]
    return after


def _polygon_areas(shapes: Shapes, points: np.ndarray) -> np.ndarray:
    """The area of each polygon in the plane of `points`, its holes taken off."""
    x, y = points.T
    after = _next(shapes)
    of_ring = np.abs(np.add.reduceat(x * y[after] - x[after] * y, shapes.rings[:-1])) / 2
    outer = np.zeros(len(of_ring), bool)
    outer[shapes.parts[:-1]] = True
    return np.add.reduceat(np.where(outer, of_ring, -of_ring), shapes.parts[:-1])


# ---- corners that stay ----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Nodes:
    """The corners of pixels that stay, as sorted numbers.

    Attributes:
      height, width: of the raster.
      by_rows: row * (width + 1) + column.
      by_columns: column * (height + 1) + row.
    """

    height: int
    width: int
    by_rows: np.ndarray
    by_columns: np.ndarray

    @staticmethod
    def of(dataset: rasterio.DatasetReader) -> "_Nodes":
        """Looks at the four pixels around each corner, some rows at a time."""
        height, width = dataset.shape
        rows = [np.array([0, height])[:, None] * (width + 1) + [0, width]]
        above = np.full((1, width + 2), -1, np.int16)  # beyond the raster lies another area
        for window in raster_io.strips(dataset):
            values = np.pad(dataset.read(1, window=window).astype(np.int16), ((0, 0), (1, 1)), constant_values=-1)
            seen = np.concatenate([above, values])
            rows.append(_meetings(seen) + window.row_off * (width + 1))
            above = values[-1:]
        rows.append(_meetings(np.concatenate([above, np.full_like(above, -1)])) + height * (width + 1))
        by_rows = np.unique(np.concatenate([some.ravel() for some in rows]))
        row, column = np.divmod(by_rows, width + 1)
        return _Nodes(height, width, by_rows, np.sort(column * (height + 1) + row))

    def has(self, points: np.ndarray) -> np.ndarray:
        """Which of some corners stay, (n,) bool; points are (column, row)."""
        numbers = points[:, 1] * (self.width + 1) + points[:, 0]
        at = np.searchsorted(self.by_rows, numbers).clip(max=len(self.by_rows) - 1)
        return self.by_rows[at] == numbers

    def between(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The corners that stay on straight lines, their ends left out.

        Returns:
          How many there are on each line, and all of them (n, 2), from the start to the end of each.
        """
        counts = np.zeros(len(starts), np.int64)
        found = np.empty((0, 2), np.int64)
        places = np.empty(0, np.int64)
        for axis, numbers, size in ((0, self.by_rows, self.width + 1), (1, self.by_columns, self.height + 1)):
            chosen = np.flatnonzero(starts[:, 1 - axis] == ends[:, 1 - axis])
            across = starts[chosen, 1 - axis]
            low, high = np.sort(np.stack([starts[chosen, axis], ends[chosen, axis]]), axis=0)
            first = np.searchsorted(numbers, across * size + low, "right")
            last = np.searchsorted(numbers, across * size + high, "left")
            counts[chosen] = several = (last - first).clip(min=0)
            line = np.repeat(chosen, several)
            step = np.arange(len(line)) - np.repeat(np.cumsum(several) - several, several)
            turned = starts[line, axis] > ends[line, axis]
            at = np.where(turned, np.repeat(last, several) - 1 - step, np.repeat(first, several) + step)
            along, beside = numbers[at] % size, numbers[at] // size
            found = np.concatenate([found, np.stack([along, beside][:: 1 - 2 * axis], axis=1)])
            places = np.concatenate([places, line])
        return counts, found[np.argsort(places, kind="stable")]


def _meetings(values: np.ndarray) -> np.ndarray:
    """Numbers, row by row, of the corners in rows of pixels (rows + 1, width + 2) where areas meet or touch crosswise.

    Of two areas around a corner that is no meeting, one has one pixel or two side by side.
    """
    a, b, c, d = values[:-1, :-1], values[:-1, 1:], values[1:, :-1], values[1:, 1:]
    # Around a corner the number changes twice where two areas lie there, and more often where more do.
    changes = sum((one != other).astype(np.int8) for one, other in ((a, b), (b, d), (d, c), (c, a)))
    return np.flatnonzero(changes > 2)


# ---- smoothing ------------------------------------------------------------------------------------------------------


def _smoothed(exact: Shapes, nodes: _Nodes) -> Shapes:
    """Cuts corners and leaves out points; rings are not closed, before and after."""
    after = _next(exact)
    counts, between = nodes.between(exact.points, exact.points[after])
    points = np.insert(exact.points, np.repeat(np.arange(1, len(counts) + 1), counts), between, axis=0)
    shapes = dataclasses.replace(exact, points=points, rings=offsets(counts + 1)[exact.rings])
    stays = nodes.has(points)
    after = _next(shapes)
    before = np.empty_like(after)
    before[after] = np.arange(len(after))
    half = np.where(stays, 0, 1)[:, None]  # coordinates are doubled, so that all are whole
    cut = [2 * points + half * np.sign(points[other] - points) for other in (before, after)]
    doubled = np.stack(cut, axis=1).reshape(-1, 2)
    shapes = dataclasses.replace(shapes, points=doubled, rings=2 * shapes.rings)
    stays = np.repeat(stays, 2)
    kept = (doubled != doubled[_next(shapes)]).any(1)  # a corner that stays stands there twice
    shapes, stays = _with(shapes, kept), stays[kept]
    shapes = _with(shapes, _needed(shapes, stays))
    return dataclasses.replace(shapes, points=shapes.points / 2)


def _with(shapes: Shapes, kept: np.ndarray) -> Shapes:
    """The same rings with some of their points alone."""
    before = np.concatenate([[0], np.cumsum(kept)])
    return dataclasses.replace(shapes, points=shapes.points[kept], rings=before[shapes.rings])


def _needed(shapes: Shapes, stays: np.ndarray) -> np.ndarray:
    """Which points are needed, (N,) bool: Douglas and Peucker's between those that stay, of all rings together.

    Every decision is the same in whichever direction a line is followed, for the area on its other side follows it the
    other way: distances are computed from whole numbers, and of points as far away the one that lies first in the
    raster is taken. A ring without a point that stays is held by its first and its last one in the raster.
    """
    points = shapes.points
    place = points[:, 1] * (int(points[:, 0].max(initial=0)) + 1) + points[:, 0]
    ring = np.repeat(np.arange(len(shapes.rings) - 1), np.diff(shapes.rings))
    kept = stays.copy()
    free = np.add.reduceat(stays.astype(np.int64), shapes.rings[:-1]) == 0
    for end in (np.minimum, np.maximum):
        kept |= free[ring] & (place == end.reduceat(place, shapes.rings[:-1])[ring])
    # Rings are turned so that each begins with a kept point, and closed by it.
    first = np.minimum.reduceat(np.where(kept, np.arange(len(points)), len(points)), shapes.rings[:-1])
    begin, size = shapes.rings[:-1][ring], np.diff(shapes.rings)[ring]
    turned = begin + (np.arange(len(points)) - begin + first[ring] - begin) % size
    order = np.insert(turned, shapes.rings[1:], first)
    line, at, is_kept = points[order], place[order], kept[order]
    last = np.zeros(len(order), bool)
    last[shapes.rings[1:] + np.arange(len(shapes.rings) - 1)] = True  # from here no line leads on
    while True:
        begins = np.flatnonzero(is_kept & ~last)
        ends = np.flatnonzero(is_kept & np.concatenate([[False], ~last[:-1]]))
        inside = np.flatnonzero(~is_kept)
        span = np.searchsorted(begins, inside, "right") - 1
        away = _squares(line[inside], line[begins[span]], line[ends[span]])
        if not (far := away >= (2 * _TOLERANCE) ** 2).any():
            break
        inside, span, away = inside[far], span[far], away[far]
        starts = np.flatnonzero(np.diff(span, prepend=-1))
        most = np.repeat(np.maximum.reduceat(away, starts), np.diff(starts, append=len(span)))
        order_of = np.where(away == most, at[inside], np.iinfo(np.int64).max)
        least = np.repeat(np.minimum.reduceat(order_of, starts), np.diff(starts, append=len(span)))
        is_kept[inside[order_of == least]] = True
    kept[order] |= is_kept
    return kept


def _squares(points: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Squares of the distances of points from lines between two ends, (n,); all are whole numbers."""
    line, from_start, from_end = ends - starts, points - starts, points - ends
    length = (line * line).sum(1)
    along = (line * from_start).sum(1)
    across = (line[:, 0] * from_start[:, 1] - line[:, 1] * from_start[:, 0]).astype(np.float64)
    beside = across**2 / np.maximum(length, 1)
    near = np.minimum((from_start**2).sum(1), (from_end**2).sum(1))
    return np.where((along > 0) & (along < length), beside, near)
