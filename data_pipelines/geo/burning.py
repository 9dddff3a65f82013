"""Draws points, lines and polygons into pixels: which pixels a shape covers, and which of several shapes wins.

A pixel belongs to a polygon where its centre is inside it, or with `all_touched` where it is touched at all. A point
belongs to the pixel that it lies in. With a buffer, all pixels belong to a shape whose centres are at most so many
metres away from it; a negative one takes away from a polygon what is nearer than that to its edge.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio.features
from rasterio.windows import Window

from data_pipelines.geo.geometry import wkb
from data_pipelines.geo.geometry.shapes import Shapes
from data_pipelines.geo.vectors import Placed

# Which of several shapes a pixel belongs to: the last or the first in the file, the one of the feature with the
# smallest area, or none of them where their values differ.
LAST, FIRST, SMALLEST, NONE = OVERLAPS = ("last", "first", "smallest", "none")
_FREE = -1  # of pixels that no shape covers
_SCALE = 1.001  # what a plane such as UTM makes of a distance, at most: what is as far as asked for in it is meant
_LONG = 64  # points of rings that are worth trimming


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How shapes are drawn.

    Attributes:
      all_touched: whether pixels belong to a polygon that it touches, not those alone whose centre it holds.
      buffer: metres on the ground around each shape; negative: taken away inside the edges of polygons.
      overlap: one of `OVERLAPS`.
    """

    all_touched: bool = False
    buffer: float = 0.0
    overlap: str = LAST

    def margin(self, pixel: tuple[float, float]) -> float:
        """Pixels around a window in which a shape may still reach into it, or the edge of one take away from it."""
        return abs(self.buffer) * _SCALE / min(pixel) + 1


PLAIN = Drawing()


def covered(placed: Placed, window: Window, drawing: Drawing = PLAIN) -> np.ndarray:
    """Which pixels of a window any of the shapes covers, (h, w) bool."""
    values = np.ones(placed.shapes.owners.max(initial=0) + 1, np.int16)
    return burned(placed, values, window, 0, drawing) == 1


def burned(
    placed: Placed,
    values: np.ndarray,
    window: Window,
    outside: int,
    drawing: Drawing = PLAIN,
    tie: int = 0,
    areas: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the value of each shape into a window of the image.

    Args:
      placed: as `vectors.onto` gives it, with the margin of the drawing.
      values: of each feature of the layer, (features,) whole numbers from 0.
      window: the part of the image, whole pixels.
      outside: the value of pixels that no shape covers.
      drawing: how.
      tie: the value of pixels that shapes of several values cover, with the overlap "none".
      areas: of each feature of the layer, `Features.areas`: the overlap "smallest" asks for them.

    Returns (h, w) int16.
    """
    size = int(window.height), int(window.width)
    shapes = _near(placed, window, drawing)
    order = list(range(len(shapes.kinds)))
    if drawing.overlap == FIRST:
        order = order[::-1]
    elif drawing.overlap == SMALLEST:
        assert areas is not None
        order = np.argsort(-areas[shapes.owners], kind="stable").tolist()
    if drawing.overlap != NONE and not drawing.buffer:
        drawn = _drawn(shapes, [(part, values[shapes.owners[part]]) for part in order], size, drawing.all_touched)
    else:
        drawn = np.full(size, _FREE, np.int16)
        clashes = np.zeros(size, bool)
        for part in order:
            value = values[shapes.owners[part]]
            rows, columns, inside = _pixels_of(shapes, part, size, placed.pixel, drawing)
            seen = drawn[rows, columns]
            clashes[rows, columns] |= inside & (seen != _FREE) & (seen != value)
            seen[inside] = value
        if drawing.overlap == NONE:
            drawn[clashes] = tie
    drawn[drawn == _FREE] = outside
    return drawn


def _near(placed: Placed, window: Window, drawing: Drawing) -> Shapes:
    """What reaches into a window, in its pixels. Rings lose their turns far from it, which change nothing in it."""
    margin = drawing.margin(placed.pixel)
    size = np.array([window.width, window.height])
    boxes = placed.shapes.boxes() - (window.col_off, window.row_off) * 2
    near = placed.shapes.chosen((boxes[:, :2] <= size + margin).all(1) & (boxes[:, 2:] >= -margin).all(1))
    points = near.points - (window.col_off, window.row_off)
    rings = [_trimmed(points[a:b], size, margin) for a, b in itertools.pairwise(near.rings)]
    ends = np.cumsum([0, *map(len, rings)])
    return dataclasses.replace(near, points=np.concatenate([points[:0], *rings]), rings=ends)


def _trimmed(ring: np.ndarray, size: np.ndarray, margin: float) -> np.ndarray:
    """A ring without the points that lie, with those before and after them, beyond the same side of a window."""
    for axis, sign, limit in ((0, -1, margin), (0, 1, size[0] + margin), (1, -1, margin), (1, 1, size[1] + margin)):
        if len(ring) < _LONG:
            break
        beyond = sign * ring[:, axis] > limit
        kept = ~(beyond[1:-1] & beyond[:-2] & beyond[2:])
        ring = ring[np.concatenate([[True], kept, [True]])]
    return ring


def _geometry(shapes: Shapes, part: int) -> dict[str, Any]:
    """A part as GeoJSON, whose rings have the four points that it asks for."""
    rings = [shapes.ring(number) for number in range(shapes.parts[part], shapes.parts[part + 1])]
    if (kind := shapes.kinds[part]) == wkb.POINT:
        return {"type": "Point", "coordinates": tuple(rings[0][0])}
    if kind == wkb.LINE:
        return {"type": "LineString", "coordinates": rings[0]}
    closed = [np.concatenate([ring, np.repeat(ring[:1], max(1, 4 - len(ring)), axis=0)]) for ring in rings]
    return {"type": "Polygon", "coordinates": closed}


def _drawn(shapes: Shapes, parts: Sequence[tuple[int, int]], size: tuple[int, int], all_touched: bool) -> np.ndarray:
    """Parts with their values, one over the other, (h, w) int16; `_FREE` elsewhere."""
    if not parts:
        return np.full(size, _FREE, np.int16)
    return rasterio.features.rasterize(
        [(_geometry(shapes, part), int(value)) for part, value in parts],
        out_shape=size,
        fill=_FREE,
        all_touched=all_touched,
        dtype="int16",
        skip_invalid=False,
    )


def _pixels_of(
    shapes: Shapes, part: int, size: tuple[int, int], pixel: tuple[float, float], drawing: Drawing
) -> tuple[slice, slice, np.ndarray]:
    """The pixels of one part, its buffer with it: rows and columns of a box, and where in it they are, bool."""
    rings = [shapes.ring(number) for number in range(shapes.parts[part], shapes.parts[part + 1])]
    reach = np.divide(max(drawing.buffer, 0) * _SCALE, pixel) + 1
    points = np.concatenate(rings)
    left, top = np.floor(points.min(0) - reach).clip(0, size[::-1]).astype(int)
    right, bottom = np.ceil(points.max(0) + reach).clip(0, size[::-1]).astype(int)
    box = bottom - top, right - left
    if 0 in box:
        return slice(top, bottom), slice(left, right), np.zeros(box, bool)
    moved = dataclasses.replace(shapes, points=shapes.points - (left, top))
    inside = _drawn(moved, [(part, 1)], box, drawing.all_touched) == 1
    if drawing.buffer:
        at_edge = np.zeros(box, bool)
        for ring in rings:
            _mark_near(at_edge, ring - (left, top), abs(drawing.buffer) * _SCALE, pixel)
        if drawing.buffer > 0:
            inside |= at_edge
        elif shapes.kinds[part] == wkb.POLYGON:
            inside &= ~at_edge
    return slice(top, bottom), slice(left, right), inside


def _mark_near(marked: np.ndarray, line: np.ndarray, distance: float, pixel: tuple[float, float]) -> None:
    """Marks the pixels whose centres are at most so many metres away from a line, or a point, (n, 2)."""
    reach = np.divide(distance, pixel)
    height, width = marked.shape
    for start, end in zip(line[: max(len(line) - 1, 1)], line[1:] if len(line) > 1 else line, strict=True):
        left, top = np.floor(np.minimum(start, end) - reach).clip(0, (width, height)).astype(int)
        right, bottom = np.ceil(np.maximum(start, end) + reach).clip(0, (width, height)).astype(int)
        if left >= right or top >= bottom:
            continue
        x = (np.arange(left, right) + 0.5 - start[0]) * pixel[0]
        y = (np.arange(top, bottom)[:, None] + 0.5 - start[1]) * pixel[1]
        along = (end - start) * pixel
        length = float(along @ along)
        share = ((x * along[0] + y * along[1]) / length).clip(0, 1) if length else 0.0
        marked[top:bottom, left:right] |= (x - share * along[0]) ** 2 + (y - share * along[1]) ** 2 <= distance**2
