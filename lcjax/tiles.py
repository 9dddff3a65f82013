"""A scene cut into overlapping tiles, and the tiles' answers blended back, strip by strip.

Memory holds one strip (tile rows x scene width), never the scene: the answers of a row of tiles are added to a strip,
the rows that no later tile touches are handed on, the rest moves up. Every row of the scene is read once.
"""

from collections.abc import Callable, Iterator

import numpy as np

Inputs = dict[str, np.ndarray]


def tile_starts(size: int, tile: int, overlap: int) -> list[int]:
    """First pixels of the tiles that cover an axis of `size` pixels; the last tile ends where the scene ends.

    Needs 0 <= overlap < tile <= size. Neighbours share at least `overlap` pixels.
    """
    last = size - tile
    return [*range(0, last, tile - overlap), last]


def blend_weights(size: int, tile: int, overlap: int) -> tuple[list[int], np.ndarray]:
    """Starts of the tiles along an axis and their weights, (tiles, tile) float32.

    A weight rises linearly over `overlap` pixels from each edge of its tile, and is divided by the sum of all weights
    that meet in a pixel: at every pixel of the axis the weights sum to one, whatever the last tile's overlap is.
    """
    starts = tile_starts(size, tile, overlap)
    inside = np.arange(tile)
    ramp = np.minimum(np.minimum(inside, inside[::-1]) + 1.0, overlap + 1.0)
    total = np.zeros(size)
    for start in starts:
        total[start : start + tile] += ramp
    return starts, np.stack([ramp / total[start : start + tile] for start in starts]).astype(np.float32)


def blended_strips(
    read: Callable[[int, int], tuple[Inputs, np.ndarray]],
    probabilities: Callable[[Inputs], np.ndarray],
    *,
    height: int,
    width: int,
    classes: int,
    tile: int,
    overlap: int,
    batch_size: int,
    advance: Callable[[int], None] = lambda tiles: None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Class probabilities of a whole scene in strips of rows, from top to bottom.

    Args:
      read: read(first, end) -> ({sensor: (rows, width, bands)}, valid (rows, width) bool); called once for each row.
      probabilities: {sensor: (B, h, w, bands)} -> (B, h, w, classes) float32; always called with the same B, h, w.
      height, width: of the scene, pixels. An axis shorter than `tile` is one tile of its own length.
      batch_size: most tiles in a call. The result does not depend on it.
      advance: told the number of tiles done since it was last told.

    Yields:
      (first row, probabilities (rows, width, classes) float32, valid (rows, width) bool). Where `valid` is False the
      probabilities mean nothing: a tile without a valid pixel is not computed.

    Raises FloatingPointError where the network answers with NaN or infinity.
    """
    tile_height, tile_width = min(tile, height), min(tile, width)
    tops, row_weights = blend_weights(height, tile_height, min(overlap, tile_height - 1))
    lefts, column_weights = blend_weights(width, tile_width, min(overlap, tile_width - 1))
    batch = -(-len(lefts) // -(-len(lefts) // batch_size))  # as few batches as batch_size allows, of equal size

    inputs, valid = read(0, tile_height)
    strip = np.zeros((tile_height, width, classes), np.float32)
    for row, top in enumerate(tops):
        columns = [c for c, left in enumerate(lefts) if valid[:, left : left + tile_width].any()]
        for first in range(0, len(columns), batch):
            chosen = columns[first : first + batch]
            padded = chosen + chosen[-1:] * (batch - len(chosen))  # one shape, so one compilation
            answers = probabilities(
                {name: np.stack([x[:, lefts[c] : lefts[c] + tile_width] for c in padded]) for name, x in inputs.items()}
            )
            if answers.shape != (batch, tile_height, tile_width, classes):
                raise ValueError(f"probabilities {answers.shape}, not {(batch, tile_height, tile_width, classes)}")
            for column, answer in zip(chosen, answers, strict=False):
                left = lefts[column]
                if not np.isfinite(answer).all():
                    raise FloatingPointError(
                        f"the network answered NaN or infinity in the tile at row {top}, column {left}"
                    )
                weights = row_weights[row][:, None, None] * column_weights[column][None, :, None]
                strip[:, left : left + tile_width] += weights * answer
            advance(len(chosen))
        advance(len(lefts) - len(columns))

        done = (tops[row + 1] if row + 1 < len(tops) else height) - top
        yield top, strip[:done], valid[:done]
        if row + 1 < len(tops):
            fresh, fresh_valid = read(top + tile_height, top + done + tile_height)
            inputs = {name: np.concatenate([x[done:], fresh[name]]) for name, x in inputs.items()}
            valid = np.concatenate([valid[done:], fresh_valid])
            strip = np.concatenate([strip[done:], np.zeros((done, width, classes), np.float32)])


def tile_count(height: int, width: int, tile: int, overlap: int) -> int:
    """How many tiles `blended_strips` makes of a scene."""
    rows, columns = (tile_starts(size, min(tile, size), min(overlap, min(tile, size) - 1)) for size in (height, width))
    return len(rows) * len(columns)
