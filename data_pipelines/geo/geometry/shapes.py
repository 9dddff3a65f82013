"""Points, lines and polygons as one list of coordinates, and whether edges of polygons cross."""

import dataclasses
import functools

import numpy as np

from data_pipelines.geo.geometry import wkb

_PAIRS = 20_000_000  # of edges that are asked whether they cross


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Points, lines and polygons as one list of coordinates, cut by offsets.

    Attributes:
      points: (N, 2) float64.
      rings: (R + 1,) where each ring begins in `points`, and the end.
      parts: (P + 1,) where each part begins in `rings`, and the end. A part is a point, a line or a polygon.
      kinds: (P,) `wkb.POINT`, `wkb.LINE` or `wkb.POLYGON`.
      owners: (P,) the feature that each part is of, from 0, in order.
    """

    points: np.ndarray
    rings: np.ndarray
    parts: np.ndarray
    kinds: np.ndarray
    owners: np.ndarray

    def ring(self, number: int) -> np.ndarray:
        """The points of a ring, (n, 2)."""
        return self.points[self.rings[number] : self.rings[number + 1]]

    def boxes(self) -> np.ndarray:
        """Least x and y, and largest x and y, of each part, (P, 4)."""
        return self._boxes

    @functools.cached_property
    def _boxes(self) -> np.ndarray:
        begins = self.rings[self.parts[:-1]]
        if not len(begins):
            return np.empty((0, 4))
        return np.hstack([np.minimum.reduceat(self.points, begins), np.maximum.reduceat(self.points, begins)])

    def areas(self) -> np.ndarray:
        """The area in the plane of the coordinates of each feature, of all its polygons, (owners,); of others 0."""
        if not len(self.kinds):
            return np.empty(0)
        of_point = np.repeat(self.rings[:-1], np.diff(self.rings))
        x, y = (
            self.points - self.points[of_point]
        ).T  # from the first of its ring: products of small numbers are exact
        turns = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0)
        turns[self.rings[1:] - 1] = 0  # from one ring to the next; back to the first is nothing
        of_ring = np.abs(np.add.reduceat(turns, self.rings[:-1])) / 2
        outer = np.zeros(len(of_ring), bool)
        outer[self.parts[:-1]] = True
        part = np.repeat(np.arange(len(self.kinds)), np.diff(self.parts))
        signed = np.where(outer, of_ring, -of_ring) * (self.kinds[part] == wkb.POLYGON)
        return np.bincount(self.owners[part], signed)

    def chosen(self, parts: np.ndarray) -> "Shapes":
        """Some of the parts, (P,) bool."""
        rings = np.repeat(parts, np.diff(self.parts))
        points = np.repeat(rings, np.diff(self.rings))
        return Shapes(
            self.points[points],
            offsets(np.diff(self.rings)[rings]),
            offsets(np.diff(self.parts)[parts]),
            self.kinds[parts],
            self.owners[parts],
        )


def offsets(lengths: np.ndarray) -> np.ndarray:
    """Where each of several runs begins, and the end, (n + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def crossing(shapes: Shapes) -> list[str]:
    """A sentence on polygons with edges that cross each other; empty where none do, or it would take long to tell."""
    starts, ends, part = _edges(shapes)
    left, right = np.minimum(starts[:, 0], ends[:, 0]), np.maximum(starts[:, 0], ends[:, 0])
    order = np.lexsort((left, part))
    starts, ends, part, left, right = starts[order], ends[order], part[order], left[order], right[order]
    found, step, asked = np.zeros(len(shapes.kinds), bool), 1, 0
    active = np.arange(len(part))
    while asked < _PAIRS:  # each edge is asked with the next ones of its part, until they begin right of its end
        active = active[active + step < len(part)]
        active = active[(part[active + step] == part[active]) & (left[active + step] <= right[active])]
        active = active[~found[part[active]]]
        if not len(active):
            break
        other, asked, step = active + step, asked + len(active), step + 1
        crossed = _cross(starts[active], ends[active], starts[other], ends[other])
        found[part[active[crossed]]] = True
    if not found.any():
        return []
    first = shapes.owners[found.argmax()] + 1
    return [
        f"{found.sum()} polygons have edges that cross (the first: feature {first}): what an odd number of rings go "
        "around is inside"
    ]


def _edges(shapes: Shapes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where edges of polygons start and end, (E, 2) each, less a point of their part, and which part they are of."""
    part_of_ring = np.repeat(np.arange(len(shapes.kinds)), np.diff(shapes.parts))
    part = np.repeat(part_of_ring, np.diff(shapes.rings))
    near = shapes.points - shapes.points[shapes.rings[shapes.parts[:-1]]][part]  # products of small numbers are exact
    last = np.zeros(len(near), bool)
    last[shapes.rings[1:] - 1] = True
    from_ = np.flatnonzero(~last & (shapes.kinds[part] == wkb.POLYGON))
    return near[from_], near[from_ + 1], part[from_]


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Whether the edges from a to b and from c to d cross in a point that is no end of either, (n,) bool."""

    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.sign((q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0]))

    return (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
