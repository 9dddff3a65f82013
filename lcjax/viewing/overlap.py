"""Whether two rasters have ground in common, in whatever CRS they lie, and how much of it."""

import numpy as np

from data_pipelines.geo import geodesy
from data_pipelines.geo.grids import Grid

_PROBES = 33  # places along each side of a raster where it is looked whether another one lies there


def share(grid: Grid, other: Grid) -> float | None:
    """The share of a raster that another one covers, about.

    Args:
      grid: of the raster.
      other: of the other one, in any CRS; both are placed, and their pixels have two sides.

    Returns:
      0 to 1, of so many places; 0 for less than these tell, and None where the two have no ground in common.
    """
    covered = _inside(other, *_carried(grid, other, *_probes(0, 0, grid.width, grid.height))).mean()
    return float(covered) if covered or _meet(grid, other) else None


def _meet(mine: Grid, other: Grid) -> bool:
    """Whether another raster lies on a part of one, however small that is."""
    columns, rows = _carried(other, mine, *_probes(0, 0, other.width, other.height))
    if _inside(mine, columns, rows).any():
        return True
    known = np.isfinite(columns) & np.isfinite(rows)
    if not known.any():
        return False
    box = []
    for one, side in ((columns[known], mine.width), (rows[known], mine.height)):
        if one.max() < 0 or one.min() > side:
            return False
        box.append((max(one.min(), 0), min(one.max(), side)))
    (left, right), (top, bottom) = box  # two narrow rasters may lie across each other
    return bool(_inside(other, *_carried(mine, other, *_probes(left, top, right, bottom))).any())


def _probes(left: float, top: float, right: float, bottom: float) -> tuple[np.ndarray, np.ndarray]:
    """Places all over a part of a raster and at its edges: columns (1, n) and rows (n, 1)."""
    columns, rows = (
        np.linspace(first + inset, last - inset, _PROBES)
        for first, last in ((left, right), (top, bottom))
        for inset in [min(0.5, (last - first) / 2)]  # middles of the outer pixels
    )
    return columns[None, :], rows[:, None]


def _carried(grid: Grid, to: Grid, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of one raster as those of another; NaN where the CRS of the other does not reach."""
    x, y = geodesy.positions(grid.transform, columns, rows)
    if grid.crs is not None and to.crs is not None and grid.crs != to.crs:
        x, y = geodesy.transformed(grid.crs, to.crs, x, y)
    return geodesy.positions(~to.transform, x, y)


def _inside(grid: Grid, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Whether places lie on a raster."""
    return (columns >= 0) & (columns < grid.width) & (rows >= 0) & (rows < grid.height)
