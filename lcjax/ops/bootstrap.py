"""Intervals of scores by the bootstrap: blocks of records are drawn again with replacement, many times.

A draw weights each block by how often it was drawn, and counts of a draw are weighted sums of the counts of the blocks:
no pixel is looked at again. Sources: Efron (1979), "Bootstrap methods: another look at the jackknife"; of blocks,
Davison & Hinkley (1997), "Bootstrap methods and their application", section 3.8. The percentiles are widened for few
blocks as Hesterberg (2015), "What teachers should know about the bootstrap", section 4.1.3, has it ("expanded
percentile interval"): the plain ones of 5 blocks are a third too narrow.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import numpy as np

LEVEL = 0.95
DRAWS = 2000
SEED = 0
METHOD = "bootstrap, expanded percentiles"
_AT_ONCE = 1 << 22  # weights in memory


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """Which records are drawn together.

    Attributes:
      of_record: (R,) the block of each record, from 0.
      names: of the blocks: those of groups, or ids of records.
      kind: what the blocks are: "group" or "record".
      note: what a reader of the intervals must know; empty where there is nothing.
    """

    of_record: np.ndarray
    names: tuple[str, ...]
    kind: str
    note: str

    def __len__(self) -> int:
        """Number of blocks."""
        return len(self.names)

    def sums(self, counts: np.ndarray) -> np.ndarray:
        """Adds up counts of records (R, ...) by block: (blocks, ...) float64, exact below 2^53."""
        total = np.zeros((len(self), *counts.shape[1:]))
        np.add.at(total, self.of_record, counts)
        return total


def blocks(ids: Iterable[str], groups: Iterable[str]) -> Blocks:
    """Makes blocks of groups where records have them; a record without a group is a block of its own.

    Where all records are of one group, each is a block, and the note says that nothing is known of other places.

    Args:
      ids: of the records.
      groups: of each record the group, or "".
    """
    ids, groups = list(map(str, ids)), list(map(str, groups))
    named = set(groups) - {""}
    alone = len(named) == 1 and "" not in groups
    if not named or alone:
        note = f"all records are of one group ({next(iter(named))}): nothing is known of other places" if alone else ""
        return Blocks(np.arange(len(ids)), tuple(ids), "record", note)
    keys = [(group, "") if group else ("", record) for record, group in zip(ids, groups, strict=True)]
    number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    return Blocks(
        np.array([number[key] for key in keys]), tuple(group or record for group, record in number), "group", ""
    )


def weights(count: int, draws: int = DRAWS, seed: int = SEED) -> Iterator[np.ndarray]:
    """Draws `count` of `count` blocks with replacement: how often each was drawn, (n, count) float64, many n times."""
    generator = np.random.default_rng(seed)
    for begin in range(0, draws, step := max(1, _AT_ONCE // count)):
        several = min(step, draws - begin)
        drawn = generator.integers(count, size=(several, count)) + count * np.arange(several)[:, None]
        yield np.bincount(drawn.ravel(), minlength=several * count).reshape(several, count).astype(np.float64)


def resample(counts: np.ndarray, draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Counts of each draw, (draws, ...), from those of the blocks (blocks, ...). Equal seeds draw equal blocks."""
    flat = counts.reshape(len(counts), -1)
    several = [drawn @ flat for drawn in weights(len(counts), draws, seed)]
    return np.concatenate(several).reshape(draws, *counts.shape[1:])


def interval(values: np.ndarray, blocks: int, level: float = LEVEL) -> tuple[float, float] | None:
    """The interval of a score.

    Args:
      values: (draws,) the score of each draw; NaN where it has none.
      blocks: how many there are.
      level: how often such intervals hold the true score.

    Returns:
      The lower and the upper end; None where there are no two blocks, or half of the draws have no score.
    """
    from scipy import special  # takes a moment to import, and most who import this draw nothing

    known = values[~np.isnan(values)]
    if blocks < 2 or 2 * len(known) < len(values):
        return None
    tail = special.ndtr(-math.sqrt(blocks / (blocks - 1)) * special.stdtrit(blocks - 1, (1 + level) / 2))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)
