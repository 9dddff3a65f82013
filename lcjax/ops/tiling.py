"""Cuts a scene into overlapping tiles and blends the network's answers on the device, strip by strip.

Images that fit on the device go through `blended_windows`. Of a scene, memory holds one strip (tile rows x width): the
answers of a row of tiles are added to it, the rows that no later tile touches are summarised and yielded, and the rest
moves up. Every row of the scene is read once; the next rows are read while the network works.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Inputs = dict[str, np.ndarray]

# Name of a blend -> weights over the overlap, from the tile's border inwards; two neighbours' weights sum to one.
BLENDS: dict[str, Callable[[int], np.ndarray]] = {
    "linear": lambda overlap: np.arange(1, overlap + 1) / (overlap + 1),
    "cosine": lambda overlap: np.sin(0.5 * np.pi * np.arange(1, overlap + 1) / (overlap + 1)) ** 2,
}


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How a scene is cut into tiles.

    Attributes:
      height: of the scene in pixels.
      width: of the scene in pixels.
      size: side of a tile in pixels; an axis shorter than that is one tile.
      overlap: least number of pixels that neighbours share, at most half a tile.
      blend: a name in `BLENDS`.
    """

    height: int
    width: int
    size: int
    overlap: int
    blend: str = "linear"

    @property
    def tile(self) -> tuple[int, int]:
        """Height and width of each tile."""
        return min(self.size, self.height), min(self.size, self.width)

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
        """Number of tiles."""
        return len(self.rows[0]) * len(self.columns[0])

    def begin(self, first: int) -> int:
        """Returns the index of the first row of tiles that covers row `first` of the scene or a later one."""
        return next(row for row, top in enumerate(self.rows[0]) if top + self.tile[0] > first)


def blended_windows(
    network: Callable[[dict[str, jax.Array]], jax.Array], images: dict[str, jax.Array], size: int
) -> jax.Array:
    """Applies a network to overlapping windows of larger images, and blends the answers. Traced.

    The windows share at least a quarter and go through the network one after another.

    Args:
      network: {name: (B, h, w, bands)} -> (B, h, w, classes).
      images: {name: (B, H, W, bands)}.
      size: side of a window in pixels; an axis that is not longer is one window. 0 takes the whole image at once.

    Returns:
      (B, H, W, classes).
    """
    count, height, width = next(iter(images.values())).shape[:3]
    tiling = Tiling(height, width, size or max(height, width), size // 4)
    (tops, row_weights), (lefts, column_weights), (h, w) = tiling.rows, tiling.columns, tiling.tile
    if tiling.count == 1:
        return network(images)

    def weighted(index: jax.Array) -> tuple[jax.Array, tuple[Any, ...]]:
        row, column = index // len(lefts), index % len(lefts)
        at = (0, jnp.asarray(tops)[row], jnp.asarray(lefts)[column], 0)
        window = {name: jax.lax.dynamic_slice(x, at, (count, h, w, x.shape[-1])) for name, x in images.items()}
        weights = jnp.asarray(row_weights)[row][:, None] * jnp.asarray(column_weights)[column][None]
        return weights[None, :, :, None] * network(window), at

    def add(index: jax.Array, total: jax.Array) -> jax.Array:
        answer, at = weighted(index)
        return jax.lax.dynamic_update_slice(total, jax.lax.dynamic_slice(total, at, answer.shape) + answer, at)

    classes = jax.eval_shape(lambda: weighted(jnp.int32(0))[0]).shape[-1]
    nothing = jnp.zeros((count, height, width, classes), jnp.float32)
    total: jax.Array = jax.lax.fori_loop(0, tiling.count, add, nothing)
    return total


def strip_bytes(tiling: Tiling, dtypes: Sequence[str], classes: int) -> int:
    """Returns about how many bytes `blended_strips` takes at once, beside the network.

    For each pixel of a row of tiles: the sums of the classes, twice while the rows move up; their summary; and each
    band as it is read and masked, as it is stored, in this row and the next, and both joined.

    Args:
      tiling: of the scene.
      dtypes: of each band of all sensors.
      classes: number of classes.
    """
    bands = sum(5 * np.dtype(dtype).itemsize + 2 for dtype in dtypes)
    return tiling.tile[0] * tiling.width * (8 * classes + 8 + bands)


def tile_starts(size: int, tile: int, overlap: int) -> list[int]:
    """Returns the first pixels of the tiles that cover an axis; the last tile ends where the axis ends.

    Args:
      size: of the axis in pixels.
      tile: size of a tile in pixels, at most `size`.
      overlap: least number of pixels that neighbours share, from 0 to tile - 1.
    """
    last = size - tile
    return [*range(0, last, tile - overlap), last]


def blend_weights(size: int, tile: int, overlap: int, blend: str) -> tuple[list[int], np.ndarray]:
    """Returns the starts of the tiles along an axis and their weights, (tiles, tile) float32.

    A weight rises over `overlap` pixels from each border of its tile, and is divided by the sum of all weights at the
    pixel. So the weights sum to one at every pixel of the axis, whatever the last tile's overlap is.

    Args:
      size: of the axis in pixels.
      tile: size of a tile in pixels.
      overlap: least number of pixels that neighbours share.
      blend: a name in `BLENDS`.
    """
    starts = tile_starts(size, tile, overlap)
    rise = np.ones(tile)
    rise[:overlap] = BLENDS[blend](overlap)
    ramp = np.minimum(rise, rise[::-1])
    total = np.zeros(size)
    for start in starts:
        total[start : start + tile] += ramp
    return starts, np.stack([ramp / total[start : start + tile] for start in starts]).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class TileNetwork:
    """A network that answers for batches of tiles.

    Attributes:
      probabilities: {sensor: (B, h, w, bands)} -> (B, h, w, classes) float32 on one device; always called with the same
        B, h, w.
      classes: number of classes.
      batch_size: largest number of tiles in a call, rounded up to a multiple of `multiple`.
      multiple: of the number of tiles in a call: the devices that share it.
    """

    probabilities: Callable[[Inputs], Any]
    classes: int
    batch_size: int
    multiple: int = 1

    def batch(self, tiles: int) -> int:
        """Returns the number of tiles in a call, so that as few calls as possible of equal size do `tiles`."""
        batch = -(-tiles // -(-tiles // self.batch_size))
        return -(-batch // self.multiple) * self.multiple


def blended_strips(
    read: Callable[[int, int], tuple[Inputs, np.ndarray]],
    network: TileNetwork,
    summarise: Callable[[jax.Array], jax.Array],
    tiling: Tiling,
    *,
    first: int = 0,
    advance: Callable[[int], object] = lambda tiles: None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Applies a network to a whole scene and yields a summary of its probabilities in strips from top to bottom.

    Args:
      read: read(first, end) -> ({sensor: (rows, width, bands)}, valid (rows, width) bool); called in another thread,
        once for each row.
      network: the network.
      summarise: (classes, rows, width) float32 -> an array whose first axis is rows; traced, runs on the device.
      tiling: of the scene.
      first: row at which to begin, where a strip begins (0 or one of `tiling.rows`); the rows below come out as if the
        scene had been begun at its top.
      advance: called with the number of tiles that are done since the last call.

    Yields:
      (first row, summary of the strip on the host, valid (rows, width) bool). Where `valid` is False the summary means
      nothing: a tile without a valid pixel is not computed.

    Raises:
      FloatingPointError: the network answers with NaN or infinity.
      ValueError: its answers have another shape.
    """
    tile_height, (tops, row_weights) = tiling.tile[0], tiling.rows
    finish = jax.jit(functools.partial(_finish, summarise), static_argnums=1, donate_argnums=0)
    strip = jnp.zeros((network.classes, tile_height, tiling.width), jnp.float32)
    late: tuple[Any, ...] | None = None
    begin = tiling.begin(first)
    with concurrent.futures.ThreadPoolExecutor(1, "read") as reader:
        inputs, valid = read(tops[begin], tops[begin] + tile_height)
        for row in range(begin, len(tops)):
            top = tops[row]
            below = tops[row + 1] if row + 1 < len(tops) else tiling.height
            fresh = reader.submit(read, top + tile_height, below + tile_height) if row + 1 < len(tops) else None
            strip, finite = _add_row(strip, inputs, valid, row_weights[row], tiling, network, advance)
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


# Left columns of the tiles of a call, and whether each answer is finite: both (B,), the second on the device.
_Finite = tuple[np.ndarray, jax.Array]


def _add_row(
    strip: jax.Array,
    inputs: Inputs,
    valid: np.ndarray,
    row_weights: np.ndarray,
    tiling: Tiling,
    network: TileNetwork,
    advance: Callable[[int], object],
) -> tuple[jax.Array, list[_Finite]]:
    """Adds the answers for a row of tiles to a strip (classes, tile height, width), those without valid pixels not."""
    (height, width), (lefts, column_weights) = tiling.tile, tiling.columns
    batch = network.batch(len(lefts))
    columns = [column for column, left in enumerate(lefts) if valid[:, left : left + width].any()]
    finite = []
    for start in range(0, len(columns), batch):
        chosen = columns[start : start + batch]
        padded = chosen + chosen[-1:] * (batch - len(chosen))  # one shape, so one compilation
        weights = column_weights[padded]
        weights[len(chosen) :] = 0
        at = np.array([lefts[column] for column in padded], np.int32)
        answers = network.probabilities(
            {name: np.stack([x[:, left : left + width] for left in at]) for name, x in inputs.items()}
        )
        expected = (batch, height, width, network.classes)
        if answers.shape != expected:
            raise ValueError(f"probabilities {answers.shape}, not {expected}")
        strip, is_finite = _add(strip, answers, at, row_weights, weights)
        finite.append((at, is_finite))
        advance(len(chosen))
    advance(len(lefts) - len(columns))
    return strip, finite


@functools.partial(jax.jit, donate_argnums=0)
def _add(
    strip_KxHxW: jax.Array,
    answers_BxHxwxK: jax.Array,
    left_B: jax.Array,
    row_weights_H: jax.Array,
    column_weights_Bxw: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Adds the weighted answers of tiles to a strip, one after the other; and returns which are finite, (B,)."""
    answers_BxKxHxw = jnp.moveaxis(answers_BxHxwxK, -1, 1)

    def add(index: jax.Array, strip: jax.Array) -> jax.Array:
        answer = answers_BxKxHxw[index]
        weights = row_weights_H[:, None] * column_weights_Bxw[index][None]
        at = (0, 0, left_B[index])
        before = jax.lax.dynamic_slice(strip, at, answer.shape)
        return jax.lax.dynamic_update_slice(strip, before + weights[None] * answer, at)

    return jax.lax.fori_loop(0, len(left_B), add, strip_KxHxW), jnp.isfinite(answers_BxHxwxK).all((1, 2, 3))


def _finish(
    summarise: Callable[[jax.Array], jax.Array], strip_KxHxW: jax.Array, done: int
) -> tuple[jax.Array, jax.Array]:
    """Returns the summary of the first `done` rows, and the strip moved up, with zeros below."""
    return summarise(strip_KxHxW[:, :done]), jnp.pad(strip_KxHxW[:, done:], ((0, 0), (0, done), (0, 0)))


def _fetch(
    top: int, summary: jax.Array, valid: np.ndarray, finite: list[_Finite]
) -> tuple[int, np.ndarray, np.ndarray]:
    for lefts, is_finite in finite:
        for left in lefts[~np.asarray(is_finite)]:
            raise FloatingPointError(f"the network answered NaN or infinity in the tile at row {top}, column {left}")
    return top, np.asarray(summary), valid
