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
_DRAWN = 500  # random assignments, of which the best is improved


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of the grid that an image is cut into.

    Attributes:
      image: number of the image.
      row, column: in the grid.
      block: its pixels, without margins.
      pixels: labelled pixels by number of the mask.
    """

    image: int
    row: int
    column: int
    block: Block
    pixels: collections.Counter


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
                found = labels.counts(Window(block.left, block.top, block.width, block.height))
                cells.append(Cell(number, row, column, block, found))
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


def margin_of(tile: int) -> int:
    """Pixels that stay unused between blocks of different splits: half a tile."""
    return tile // 2


def assigned(cells: Sequence[Cell], shares: Mapping[str, float], tile: int) -> list[str]:
    """A split for each cell; the same cells give the same splits.

    What counts, in this order: every common class is in every split; few pixels are lost to margins; the splits hold
    their share of each class.
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
    total = sum((cell.pixels for cell in cells), collections.Counter())
    common = [number for number, count in total.items() if count >= _COMMON * total.total()]
    held = np.array([[cell.pixels[number] for number in common] for cell in cells], np.float64).reshape(len(cells), -1)
    wanted = np.array(list(shares.values()))[:, None]
    pixels = sum(cell.block.width * cell.block.height for cell in cells)
    borders = [
        (i, j, margin_of(tile) * (one.block.width if one.column == other.column else one.block.height) / pixels)
        for (i, one), (j, other) in itertools.combinations(enumerate(cells), 2)
        if _adjacent(one, other)
    ]

    def cost(splits: np.ndarray) -> tuple[int, float]:
        of_split = np.stack([held[splits == number].sum(0) for number in range(len(shares))])
        away = np.abs(of_split / np.maximum(held.sum(0), 1) - wanted)
        lost = sum(share for i, j, share in borders if splits[i] != splits[j])
        return int((of_split == 0).sum()), lost + float(away.mean() if away.size else 0)

    return cost


def _adjacent(one: Cell, other: Cell) -> bool:
    return one.image == other.image and abs(one.row - other.row) + abs(one.column - other.column) == 1


def with_margins(cells: Sequence[Cell], splits: Sequence[str], tile: int) -> list[Block]:
    """The block of each cell, narrower by half a margin where it borders on another split."""
    half = margin_of(tile) // 2
    blocks = []
    for cell, split in zip(cells, splits, strict=True):
        others = [other for other, of in zip(cells, splits, strict=True) if of != split and _adjacent(cell, other)]
        left, right = (half * any(other.column - cell.column == step for other in others) for step in (-1, 1))
        top, bottom = (half * any(other.row - cell.row == step for other in others) for step in (-1, 1))
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
