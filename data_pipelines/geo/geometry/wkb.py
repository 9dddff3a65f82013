"""Well-known binary (OGC 06-103r4, 8.2): points, lines and polygons as arrays of coordinates."""

import struct
from collections.abc import Iterator

import numpy as np

POINT, LINE, POLYGON = 1, 2, 3  # the numbers that the standard gives them
KINDS = {POINT: "point", LINE: "line", POLYGON: "polygon"}
_COLLECTIONS = (4, 5, 6, 7)  # of points, of lines, of polygons, of anything
_OTHERS = {8: "curve", 9: "curve", 10: "polygon of curves", 11: "curves", 12: "surface of curves"}
_DEPTH = 8  # collections within each other
_FLAGS = 0xE0000000  # of EWKB: z, m, SRID
_SRID = 0x20000000

Part = tuple[int, list[np.ndarray]]  # POINT, LINE or POLYGON; rings (n, 2), of polygons the outer one first


def parts_of(wkb: bytes) -> list[Part]:
    """Takes a geometry apart: each point, line and polygon of it, without what is empty; z and m are left out.

    Raises:
      ValueError: says what it is, where it is anything else: curves, surfaces, or not WKB at all.
    """
    try:
        return list(_Reader(wkb).parts(0))
    except (struct.error, IndexError) as error:
        raise ValueError("a geometry that ends in the middle") from error


class _Reader:
    """A place in a text of bytes that moves on with what is read."""

    def __init__(self, wkb: bytes):
        self._wkb, self._at, self._order = wkb, 0, "<"

    def parts(self, depth: int) -> Iterator[Part]:
        kind, dimensions = self._head()
        if kind in _COLLECTIONS and depth < _DEPTH:
            for _ in range(self._count(5)):
                yield from self.parts(depth + 1)
            return
        if kind not in KINDS:
            raise ValueError(f"a {_OTHERS.get(kind, f'geometry of the kind {kind}')}")
        rings = [
            self._points(1 if kind == POINT else self._count(8 * dimensions), dimensions)
            for _ in range(self._count(4) if kind == POLYGON else 1)
        ]
        if kind == POINT and np.isnan(rings[0]).all():
            return  # as an empty point is written
        if rings and len(rings[0]):
            yield kind, rings

    def _head(self) -> tuple[int, int]:
        """Reads the kind of a geometry, and how many numbers each of its points has."""
        self._order = "<" if self._wkb[self._at] == 1 else ">"
        (kind,) = struct.unpack_from(f"{self._order}I", self._wkb, self._at + 1)
        self._at += 5 + 4 * bool(kind & _SRID)
        flags = bool(kind & 0x80000000) + bool(kind & 0x40000000)
        kind &= ~_FLAGS
        return kind % 1000, 2 + flags + (0, 1, 1, 2)[kind // 1000 % 4]

    def _count(self, smallest: int) -> int:
        """Reads how many follow, each of so many bytes at least."""
        (count,) = struct.unpack_from(f"{self._order}I", self._wkb, self._at)
        self._at += 4
        if count * smallest > len(self._wkb) - self._at:
            raise struct.error
        return count

    def _points(self, count: int, dimensions: int) -> np.ndarray:
        size = 8 * dimensions * count
        if size > len(self._wkb) - self._at:
            raise struct.error
        numbers = np.frombuffer(self._wkb, f"{self._order}f8", dimensions * count, self._at)
        self._at += size
        return numbers.reshape(count, dimensions)[:, :2].astype(np.float64)
