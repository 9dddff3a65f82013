"""A scene cut into overlapping tiles, and the tiles' answers blended back on the device, strip by strip.

Images that the device holds whole go through `blended_windows`. Of a scene, memory holds one strip (tile rows x width):
the answers of a row of tiles are added to it, the rows that no later tile touches are summed up and handed on, the rest
moves up. Every row of the scene is read once, the next ones while the network works.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Inputs = dict[str, np.ndarray]

# Name of a blend -> weights over the overlap, from its outer to its inner end; two neighbours' weights sum to one.
BLENDS: dict[str, Callable[[int], np.ndarray]] = {
    "linear": lambda overlap: np.arange(1, overlap + 1) / (overlap + 1),
    "cosine": lambda overlap: np.sin(0.5 * np.pi * np.arange(1, overlap + 1) / (overlap + 1)) ** 2,
}


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How a scene is cut.

    Attributes:
      height, width: of the scene, pixels.
      edge: of a tile, pixels; an axis shorter than that is one tile of its own length.
      overlap: pixels that neighbours share at least, at most half a tile.
      blend: of `BLENDS`.
    """

    height: int
    width: int
    edge: int
    overlap: int
    blend: str = "linear"

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of each tile."""
        return min(self.edge, self.height), min(self.edge, self.width)

    @functools.cached_property
    def rows(self) -> tuple[list[int], np.ndarray]:
        """First rows of the tiles, and their weights along the rows (tiles, tile height)."""
        return blend_weights(self.height, self.tile[0], min(self.overlap, self.tile[0] - 1), self.blend)

    @functools.cached_property
    def columns(self) -> tuple[list[int], np.ndarray]:
        """First columns of the tiles, and their weights along the columns (tiles, tile width)."""
        return blend_weights(self.width, self.tile[1], min(self.overlap, self.tile[1] - 1), self.blend)

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.rows[0]) * len(self.columns[0])

    def begin(self, first: int) -> int:
        """The row of tiles from which rows `first` and below can be computed: the first that reaches into them."""
        return next(row for row, top in enumerate(self.rows[0]) if top + self.tile[0] > first)


def blended_windows(network: Callable[[dict], jax.Array], images: dict, edge: int) -> jax.Array:
    """What a network says of images that are larger than what it was trained on: windows that overlap, blended.

    Traced; the windows are `edge` pixels wide, share a quarter at least, and go through the network one after another.

    Args:
      network: {name: (B, h, w, bands)} -> (B, h, w, classes).
      images: {name: (B, H, W, bands)}.
      edge: of a window; an axis that is not longer is one window. 0 shows the network all at once.

    Returns (B, H, W, classes).
    """
    count, height, width = next(iter(images.values())).shape[:3]
    tiling = Tiling(height, width, edge or max(height, width), edge // 4)
    (tops, row_weights), (lefts, column_weights), (h, w) = tiling.rows, tiling.columns, tiling.tile
    if tiling.count == 1:
        return network(images)

    def answer(index: jax.Array) -> tuple[jax.Array, tuple]:
        row, column = index // len(lefts), index % len(lefts)
        at = (0, jnp.asarray(tops)[row], jnp.asarray(lefts)[column], 0)
        shown = {name: jax.lax.dynamic_slice(x, at, (count, h, w, x.shape[-1])) for name, x in images.items()}
        weights = jnp.asarray(row_weights)[row][:, None] * jnp.asarray(column_weights)[column][None]
        return weights[None, :, :, None] * network(shown), at

    def add(index: jax.Array, total: jax.Array) -> jax.Array:
        found, at = answer(index)
        return jax.lax.dynamic_update_slice(total, jax.lax.dynamic_slice(total, at, found.shape) + found, at)

    classes = jax.eval_shape(lambda: answer(jnp.int32(0))[0]).shape[-1]
    return jax.lax.fori_loop(0, tiling.count, add, jnp.zeros((count, height, width, classes), jnp.float32))


def tile_starts(size: int, tile: int, overlap: int) -> list[int]:
    """First pixels of the tiles that cover an axis of `size` pixels; the last tile ends where the scene ends.

    Needs 0 <= overlap < tile <= size. Neighbours share at least `overlap` pixels.
    """
    last = size - tile
    return [*range(0, last, tile - overlap), last]


def blend_weights(size: int, tile: int, overlap: int, blend: str) -> tuple[list[int], np.ndarray]:
    """Starts of the tiles along an axis and their weights, (tiles, tile) float32.

    A weight rises over `overlap` pixels from each edge of its tile, and is divided by the sum of all weights that meet
    in a pixel: at every pixel of the axis the weights sum to one, whatever the last tile's overlap is.
    """
    starts = tile_starts(size, tile, overlap)
    rise = np.ones(tile)
    rise[:overlap] = BLENDS[blend](overlap)
    ramp = np.minimum(rise, rise[::-1])
    total = np.zeros(size)
    for start in starts:
        total[start : start + tile] += ramp
    return starts, np.stack([ramp / total[start : start + tile] for start in starts]).astype(np.float32)


def blended_strips(
    read: Callable[[int, int], tuple[Inputs, np.ndarray]],
    probabilities: Callable[[Inputs], Any],
    summarise: Callable[[jax.Array], jax.Array],
    tiling: Tiling,
    *,
    classes: int,
    batch_size: int,
    multiple: int = 1,
    first: int = 0,
    advance: Callable[[int], None] = lambda tiles: None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """What is made of the class probabilities of a whole scene, in strips of rows from top to bottom.

    Args:
      read: read(first, end) -> ({sensor: (rows, width, bands)}, valid (rows, width) bool); called in another thread,
        once for each row.
      probabilities: {sensor: (B, h, w, bands)} -> (B, h, w, classes) float32 on one device; always called with the same
        B, h, w.
      summarise: (classes, rows, width) float32 -> an array whose first axis is rows; traced, it runs on the device.
      batch_size: most tiles in a call, rounded up to a multiple of `multiple`.
      first: the row to begin with, where a strip begins (0 or one of `tiling.rows`); what comes after it is the same as
        if the scene had been begun at its top.
      advance: told the number of tiles done since it was last told.

    Yields:
      (first row, summary of the strip on the host, valid (rows, width) bool). Where `valid` is False the summary means
      nothing: a tile without a valid pixel is not computed.

    Raises FloatingPointError where the network answers with NaN or infinity.
    """
    (tile_height, tile_width), (tops, row_weights), (lefts, column_weights) = tiling.tile, tiling.rows, tiling.columns
    batch = -(-len(lefts) // -(-len(lefts) // batch_size))  # as few batches as batch_size allows, of equal size
    batch = -(-batch // multiple) * multiple
    finish = jax.jit(functools.partial(_finish, summarise), static_argnums=1, donate_argnums=0)

    begin = tiling.begin(first)
    strip = jnp.zeros((classes, tile_height, tiling.width), jnp.float32)
    late: tuple | None = None
    with concurrent.futures.ThreadPoolExecutor(1, "read") as reader:
        inputs, valid = read(tops[begin], tops[begin] + tile_height)
        for row in range(begin, len(tops)):
            top = tops[row]
            below = tops[row + 1] if row + 1 < len(tops) else tiling.height
            fresh = reader.submit(read, top + tile_height, below + tile_height) if row + 1 < len(tops) else None

            columns = [c for c, left in enumerate(lefts) if valid[:, left : left + tile_width].any()]
            finite = []
            for start in range(0, len(columns), batch):
                chosen = columns[start : start + batch]
                padded = chosen + chosen[-1:] * (batch - len(chosen))  # one shape, so one compilation
                weights = column_weights[padded]
                weights[len(chosen) :] = 0
                at = np.array([lefts[c] for c in padded], np.int32)
                answers = probabilities(
                    {name: np.stack([x[:, left : left + tile_width] for left in at]) for name, x in inputs.items()}
                )
                expected = (batch, tile_height, tile_width, classes)
                if answers.shape != expected:
                    raise ValueError(f"probabilities {answers.shape}, not {expected}")
                strip, right = _add(strip, answers, at, row_weights[row], weights)
                finite.append((at, right))
                advance(len(chosen))
            advance(len(lefts) - len(columns))

            done = below - top
            summary, strip = finish(strip, done)
            if late is not None:  # fetched while the device works on the next strip
                yield _fetch(*late)
            late = (top, summary, valid[:done], finite) if top >= first else None
            if fresh is not None:
                more, more_valid = fresh.result()
                inputs = {name: np.concatenate([x[done:], more[name]]) for name, x in inputs.items()}
                valid = np.concatenate([valid[done:], more_valid])
    if late is not None:
        yield _fetch(*late)


@functools.partial(jax.jit, donate_argnums=0)
def _add(strip_KxHxW, answers_BxHxwxK, left_B, row_weights_H, column_weights_Bxw) -> tuple[jax.Array, jax.Array]:
    """Adds the weighted answers of tiles to a strip, one after the other; and which tiles are finite (B,)."""
    answers_BxKxHxw = jnp.moveaxis(answers_BxHxwxK, -1, 1)

    def add(index: jax.Array, strip: jax.Array) -> jax.Array:
        answer = answers_BxKxHxw[index]
        weights = row_weights_H[:, None] * column_weights_Bxw[index][None]
        at = (0, 0, left_B[index])
        there = jax.lax.dynamic_slice(strip, at, answer.shape)
        return jax.lax.dynamic_update_slice(strip, there + weights[None] * answer, at)

    return jax.lax.fori_loop(0, len(left_B), add, strip_KxHxW), jnp.isfinite(answers_BxHxwxK).all((1, 2, 3))


def _finish(summarise, strip_KxHxW: jax.Array, done: int) -> tuple[jax.Array, jax.Array]:
    """The summary of the first `done` rows; and the strip moved up, with zeros below."""
    return summarise(strip_KxHxW[:, :done]), jnp.pad(strip_KxHxW[:, done:], ((0, 0), (0, done), (0, 0)))


def _fetch(top: int, summary: jax.Array, valid: np.ndarray, finite: list) -> tuple[int, np.ndarray, np.ndarray]:
    for lefts, right in finite:
        for left in lefts[~np.asarray(right)]:
            raise FloatingPointError(f"the network answered NaN or infinity in the tile at row {top}, column {left}")
    return top, np.asarray(summary), valid
