"""Splits for one mosaic or two: blocks of an image, with a margin between those of different splits."""

import collections
import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
from rasterio.windows import Window

from data_pipelines.datasets.rasters import masks
from data_pipelines.datasets.rasters.tables import Block
from data_pipelines.geo import raster_io
from data_pipelines.schema.spec import Refused

_MOST = 5  # blocks along an edge
_COMMON = 0.001  # of the labelled pixels: a class that is rarer need not be in every split
_ENOUGH = 0.2  # of its share of a class: a split that has less lacks it
_SIDES = ((0, -1), (0, 1), (-1, 0), (1, 0))  # left, right, top, bottom: steps in rows and columns
_DRAWN = 500  # random assignments, of which the best is improved


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of the grid that an image is cut into.

    Attributes:
      image: number of the image.
      row, column: in the grid.
      block: its pixels, without margins.
      pixels: labelled pixels by number of the mask, of the nine parts that half a margin on each side leaves of the
        block: from top to bottom, and from left to right.
    """

    image: int
    row: int
    column: int
    block: Block
    pixels: tuple[collections.Counter, ...]


@dataclasses.dataclass(frozen=True)
class Counted:
    """The labels of an image, which can be counted in parts.

    Attributes:
      height, width: in pixels.
      counts: labelled pixels by number in a window.
    """

    height: int
    width: int
    counts: Callable[[Window], collections.Counter]


@contextlib.contextmanager
def of_mask(path: pathlib.Path) -> Iterator[Counted]:
    """The labels of a raster. Raises Refused for a mask that cannot be read."""
    with raster_io.opened(path) as dataset:
        mask = masks.Mask(path, dataset)
        yield Counted(dataset.height, dataset.width, lambda window: mask.counts(window).labelled)


def cells_of(opened: Sequence[AbstractContextManager[Counted]], tile: int) -> list[Cell]:
    """Cuts masks into cells that hold a tile at least, margins taken off; none where there would be fewer than three.

    Raises Refused for a mask that cannot be read.
    """
    cells: list[Cell] = []
    for number, one in enumerate(opened):
        with one as labels:
            for row, column, block in _grid(labels.height, labels.width, tile):
                windows = (Window(part.left, part.top, part.width, part.height) for part in _parts(block, tile))
                counted = tuple(labels.counts(w) if w.width and w.height else collections.Counter() for w in windows)
                cells.append(Cell(number, row, column, block, counted))
    return cells if len(cells) >= 3 else []


def _grid(height: int, width: int, tile: int) -> Iterator[tuple[int, int, Block]]:
    smallest = tile + margin_of(tile)
    edges = []
    for size in (height, width):
        count = max(1, min(_MOST, size // smallest))
        edges.append([size * k // count for k in range(count + 1)])
    for (row, (top, bottom)), (column, (left, right)) in itertools.product(
        *(enumerate(itertools.pairwise(along)) for along in edges)
    ):
        yield row, column, Block(left, top, right - left, bottom - top)


def _parts(block: Block, tile: int) -> Iterator[Block]:
    """The nine parts of a block, as `Cell` has them."""
    half = margin_of(tile) // 2
    edges = ((size, min(half, size // 2)) for size in (block.width, block.height))  # of an image that may be smaller
    across, down = ((0, edge, size - edge, size) for size, edge in edges)
    for (top, bottom), (left, right) in itertools.product(itertools.pairwise(down), itertools.pairwise(across)):
        yield Block(block.left + left, block.top + top, right - left, bottom - top)


def margin_of(tile: int) -> int:
    """Pixels that stay unused between blocks of different splits: half a tile."""
    return tile // 2


def assigned(cells: Sequence[Cell], shares: Mapping[str, float], tile: int) -> list[str]:
    """A split for each cell; the same cells give the same splits.

    What counts, in this order: without the margins every split has enough of every common class; few pixels are lost to
    margins; the splits hold their share of each class.
    """
    names = list(shares)
    counts = [max(1, round(shares[name] * len(cells))) for name in names[1:]]
    base = np.repeat(np.arange(len(names)), [len(cells) - sum(counts), *counts])
    generator, cost_of = np.random.default_rng(0), _cost(cells, shares, tile)
    best = min((generator.permutation(base) for _ in range(_DRAWN)), key=cost_of)
    lowest, improved = cost_of(best), True
    while improved:
        improved = False
        for i, j in itertools.combinations(range(len(cells)), 2):
            swapped = best.copy()
            swapped[[i, j]] = best[[j, i]]
            if best[i] != best[j] and (cost := cost_of(swapped)) < lowest:
                best, lowest, improved = swapped, cost, True
    return [names[number] for number in best]


def _cost(cells: Sequence[Cell], shares: Mapping[str, float], tile: int) -> Callable[[np.ndarray], tuple[int, float]]:
    """Makes the function (number of the split of each cell) -> cost."""
    total = sum((part for cell in cells for part in cell.pixels), collections.Counter())
    common = [number for number, count in total.items() if count >= _COMMON * total.total()]
    parts = (len(cells), 3, 3)  # cells, from top to bottom, from left to right
    held = np.array([[[part[number] for number in common] for part in cell.pixels] for cell in cells], np.float64)
    held = held.reshape(*parts, len(common))
    area = np.array([[part.width * part.height for part in _parts(cell.block, tile)] for cell in cells]).reshape(parts)
    neighbours = np.array([[_neighbour(cells, cell, side) for side in _SIDES] for cell in cells])
    wanted = np.array(list(shares.values()))[:, None]
    of_class = held.sum((0, 1, 2))

    def cost(splits: np.ndarray) -> tuple[int, float]:
        whole = (neighbours < 0) | (splits[neighbours] == splits[:, None])  # (cells, sides): no margin there
        middle = np.ones(len(cells), bool)
        across = np.stack([whole[:, 0], middle, whole[:, 1]], 1)
        down = np.stack([whole[:, 2], middle, whole[:, 3]], 1)
        left = (down[:, :, None] & across[:, None, :])[..., None]
        of_cell = (held * left).sum((1, 2))
        of_split = np.stack([of_cell[splits == number].sum(0) for number in range(len(shares))])
        lacking = of_split < np.maximum(_ENOUGH * wanted * of_class, 1)
        away = np.abs(of_split / np.maximum(of_class, 1) - wanted)
        lost = 1 - (area * left[..., 0]).sum() / area.sum()
        return int(lacking.sum()), float(lost + (away.mean() if away.size else 0))

    return cost


def _neighbour(cells: Sequence[Cell], cell: Cell, side: tuple[int, int]) -> int:
    """Number of the cell beside another one; -1 at the edge of its image."""
    place = (cell.image, cell.row + side[0], cell.column + side[1])
    return next((number for number, one in enumerate(cells) if (one.image, one.row, one.column) == place), -1)


def with_margins(cells: Sequence[Cell], splits: Sequence[str], tile: int) -> list[Block]:
    """The block of each cell, narrower by half a margin where it borders on another split."""
    half = margin_of(tile) // 2
    blocks = []
    for cell, split in zip(cells, splits, strict=True):
        beside = (_neighbour(cells, cell, side) for side in _SIDES)
        left, right, top, bottom = (half * (number >= 0 and splits[number] != split) for number in beside)
        block = cell.block
        blocks.append(
            Block(block.left + left, block.top + top, block.width - left - right, block.height - top - bottom)
        )
    return blocks


def propose(
    opened: Sequence[AbstractContextManager[Counted]], shares: Mapping[str, float], tile: int
) -> list[tuple[int, str, Block]]:
    """For each block the number of its image, its split and its pixels; empty where masks are too small."""
    try:
        cells = cells_of(opened, tile)
    except Refused:
        return []  # `prepare` names it
    if not cells:
        return []
    splits = assigned(cells, shares, tile)
    blocks = with_margins(cells, splits, tile)
    return [(cell.image, split, block) for cell, split, block in zip(cells, splits, blocks, strict=True)]
