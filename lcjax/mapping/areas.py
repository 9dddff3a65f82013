"""Areas of the classes of a map, counted strip by strip while it is written.

Pixels of equal size in a plane differ in size on the Earth: in web mercator at 60 degrees north a square metre of the
plane is a quarter of one on the ground, and even across a UTM zone the two differ by 0.1 %. So `hectares` is the area
on the WGS84 ellipsoid; `hectares_grid` is the area in the plane of the CRS, which most tools report.
"""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.geo import geodesy
from data_pipelines.geo.geodesy import CRS, HECTARE, Affine
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.legends import Legend

COLUMNS = ("id", "name", "colour", "pixels", "percent", "hectares", "hectares_grid")
_BLOCK = 256  # pixels of a row that share one pixel area: across them it changes by less than 0.01 % in UTM
_ROWS = 64  # rows that are projected together, in fixed groups: rows 0 to 63, 64 to 127, ...


class PixelAreas:
    """Ground area of the pixels of a map, row by row.

    Each row is cut into blocks. The corners of a block, projected to an equal-area plane, give the area of its pixels.

    Attributes:
      columns: (blocks + 1,) first column of each block, and the width.
      plane: square metres of a pixel in the plane of a projected CRS, None for others.
    """

    def __init__(self, crs: CRS | None, transform: Affine, width: int):
        """Computes nothing yet; arguments as of `Areas`. Raises ValueError for a CRS that is not of the Earth."""
        if crs is None or not geodesy.is_earthly(crs):
            raise ValueError("pixels that lie nowhere on the Earth have no area there")
        self._crs, self._transform = crs, transform
        self.columns = _blocks(width)
        self.plane = _plane_area(crs, transform)
        self._projected: tuple[int, np.ndarray] = -1, np.empty(0)  # index of the group of rows, and its pixel areas

    def of_row(self, row: int) -> np.ndarray:
        """Returns square metres on the ground of a pixel in each block of a row, (blocks,).

        Where the ground is not defined, it is the area in the plane.
        """
        group, within = divmod(row, _ROWS)
        if self._projected[0] != group:
            rows = group * _ROWS + np.arange(_ROWS + 1.0)
            corners = geodesy.positions(self._transform, self.columns[None, :], rows[:, None])
            x, y = geodesy.equal_area(self._crs, *corners)
            # The shoelace formula of four corners: twice the area is the cross product of the diagonals.
            (ax, ay), (bx, by) = (
                (_wrapped(x[1:, 1:] - x[:-1, :-1]), y[1:, 1:] - y[:-1, :-1]),
                (_wrapped(x[1:, :-1] - x[:-1, 1:]), y[1:, :-1] - y[:-1, 1:]),
            )
            areas = abs(ax * by - ay * bx) / 2 / np.diff(self.columns)
            self._projected = group, np.where(np.isfinite(areas), areas, self.plane or 0)
        return self._projected[1][within]

    def of_pixel(self, row: int, column: int) -> float:
        """Returns square metres on the ground of one pixel."""
        return float(self.of_row(row)[np.searchsorted(self.columns, column, side="right") - 1])


class Areas:
    """Counts pixels and ground area of each class of a map that comes in strips.

    The sums run row by row, so they do not depend on how the rows are cut into strips.
    """

    def __init__(self, legend: Legend, crs: CRS | None, transform: Affine, width: int):
        """Starts with no pixels.

        Args:
          legend: ids, names and colours of the classes.
          crs: of the map; without one, or with a local one, there are no hectares.
          transform: from (column, row) to the CRS.
          width: pixels in a row of the map.
        """
        self._legend = legend
        self._sizes = PixelAreas(crs, transform, width) if geodesy.is_earthly(crs) else None
        self._blocks = _blocks(width)
        self._bins = 256 * np.repeat(np.arange(len(self._blocks) - 1), np.diff(self._blocks))
        self._ids = np.array([*(c.value for c in legend.scored), legend.nodata])
        self._pixels = np.zeros(len(self._ids), np.int64)
        self._square_metres = np.zeros(len(self._ids))

    def add(self, first_row: int, ids: np.ndarray) -> None:
        """Counts a strip of the map.

        Args:
          first_row: number of the strip's first row.
          ids: (rows, width) uint8 ids of the legend.

        Raises:
          ValueError: an id is neither scored by the legend nor its number of no data.
        """
        blocks = len(self._blocks) - 1
        for row, values in enumerate(ids, first_row):
            counts = np.bincount(self._bins + values, minlength=256 * blocks).reshape(blocks, 256)[:, self._ids]
            if counts.sum() != values.size:
                raise ValueError(f"row {row} holds ids that are not of the legend {self._legend.name}")
            self._pixels += counts.sum(0)
            if self._sizes is not None:
                self._square_metres += (counts * self._sizes.of_row(row)[:, None]).sum(0)

    def rows(self) -> list[dict[str, Any]]:
        """Returns a row for each class in the order of ids, also where it has no pixel, and one for no data.

        Keys are `COLUMNS`. `percent` refers to the mapped pixels. `hectares` is None without a CRS, `hectares_grid`
        without a projected one. The row of no data has only its pixels, so that the columns add up to what is mapped.
        """
        counted = zip(self._legend.scored, self._pixels.tolist(), self._square_metres.tolist(), strict=False)
        mapped = max(1, int(self._pixels[:-1].sum()))
        plane = self._sizes.plane if self._sizes else None
        rows: list[dict[str, Any]] = [
            {
                "id": c.value,
                "name": c.name,
                "colour": c.colour,
                "pixels": pixels,
                "percent": 100 * pixels / mapped,
                "hectares": None if self._sizes is None else square_metres / HECTARE,
                "hectares_grid": None if plane is None else pixels * plane / HECTARE,
            }
            for c, pixels, square_metres in counted
        ]
        rows.append(
            dict.fromkeys(COLUMNS) | {"id": self._legend.nodata, "name": "no data", "pixels": int(self._pixels[-1])}
        )
        return rows

    def write_csv(self, path: pathlib.Path) -> None:
        """Writes `rows` as CSV: four decimals for percent and hectares (a square metre), an empty cell for None."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows():
            writer.writerow(f"{value:.4f}" if isinstance(value, float) else value for value in row.values())
        write_atomically(path, text.getvalue())


def decimals(total: float) -> int:
    """Returns how many decimals give a total area about five digits; 0.0001 hectares are a square metre."""
    return 4 if total < 10 else 2 if total < 1000 else 1 if total < 10_000 else 0


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Formats class, pixels, percent of the mapped pixels and hectares as a table of text."""
    cells = [("class", "pixels", "percent", "hectares")]
    shown = decimals(sum(row["hectares"] or 0 for row in rows))
    for row in rows:
        pairs = ((row["percent"], 1), (row["hectares"], shown))
        share, hectares = (("" if x is None else f"{x:,.{n}f}") for x, n in pairs)
        cells.append((row["name"], f"{row['pixels']:,}", share, hectares))
    width = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (f"{a:{width[0]}}  {b:>{width[1]}}  {c:>{width[2]}}  {d:>{width[3]}}" for a, b, c, d in cells)
    return "\n".join(line.rstrip() for line in lines)


def _plane_area(crs: CRS, transform: Affine) -> float | None:
    """Returns square metres of a pixel in the plane of a projected CRS, None for other CRS."""
    return abs(transform.determinant) * crs.linear_units_factor[1] ** 2 if crs.is_projected else None


def _blocks(width: int) -> np.ndarray:
    """Returns the first column of each block, and the width: (blocks + 1,)."""
    # At least 16 blocks, if there are as many pixels, so that no block spans half of the globe.
    return np.append(np.arange(0, width, max(1, min(_BLOCK, width // 16))), width)


def _wrapped(x: np.ndarray) -> np.ndarray:
    """Returns differences in x, taken the short way round the Earth."""
    return (x + geodesy.AROUND / 2) % geodesy.AROUND - geodesy.AROUND / 2
