"""What a kernel moves between main and fast memory, found from its grid and its blocks before anything is compiled.

A pipeline fetches a block when the grid comes to another one than in the step before, and writes one back when the grid
leaves it. A block that the grid comes back to moves again. What each operand and result moves goes with the kernel into
the compiled program, where lcjax.profiling.hlo reads it.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import pallas as pl

MOVED = "moved_bytes"  # name of what a kernel says of its operands and results, in order


def moves(grid: Sequence[int], index: Callable[..., Any]) -> Iterator[tuple[int, ...]]:
    """Yields the index of each block that moves, in the order of the grid, whose last axis runs fastest."""
    before = None
    for step in itertools.product(*map(range, grid)):
        now = tuple(int(place) for place in index(*step))
        if now != before:
            yield now
        before = now


def moved_bytes(grid: Sequence[int], spec: pl.BlockSpec, array: jax.ShapeDtypeStruct) -> int:
    """Bytes of one operand or result that move in one call; all of it once where it is not cut into blocks."""
    size: int = np.dtype(array.dtype).itemsize
    if spec.block_shape is None or spec.index_map is None:
        return size * int(np.prod(array.shape))
    block = [int(edge) if isinstance(edge, int) else 1 for edge in spec.block_shape]
    total = 0
    for places in moves(grid, spec.index_map):
        # What lies beyond the array in the last block along an axis is not moved.
        inside = (
            min(edge, whole - edge * place) for edge, whole, place in zip(block, array.shape, places, strict=True)
        )
        total += int(math.prod(inside))
    return size * total
