"""How rough a mask is: the share of neighbouring pixels that are of different classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CROP = 80  # pixels, of the picture that shows masks enlarged


class Edges(NamedTuple):
    """Shares of the neighbouring pairs of pixels whose class differs."""

    truth: float
    prediction: float

    @property
    def ratio(self) -> float | None:
        """Below 1 where the prediction is smoother than the truth; None where the truth has no edge."""
        return self.prediction / self.truth if self.truth else None


def edges(truth: np.ndarray, prediction: np.ndarray, scored: Sequence[int]) -> Edges | None:
    """Edges of two masks over the same pairs of pixels, or None where no two neighbours are scored.

    Args:
      truth, prediction: (N, H, W) legend ids.
      scored: the ids that are scored: a pair counts where the truth of both its pixels is among them.
    """
    counted = _pairs(np.isin(truth, scored), np.logical_and)
    total = sum(int(pairs.sum()) for pairs in counted)
    if not total:
        return None

    def share(mask: np.ndarray) -> float:
        differing = zip(_pairs(mask, np.not_equal), counted, strict=True)
        return sum(int((differ & pairs).sum()) for differ, pairs in differing) / total

    return Edges(share(truth), share(prediction))


def busiest(truth: np.ndarray, scored: Sequence[int]) -> tuple[int, slice, slice]:
    """The square of CROP pixels in which most scored neighbours differ: number of the mask, its rows, its columns.

    It is smaller where the masks are. The first of several equal ones is taken.

    Args:
      truth: (N, H, W) legend ids; `scored` as of `edges`.
    """
    counted = _pairs(np.isin(truth, scored), np.logical_and)
    right, below = (differ & pairs for differ, pairs in zip(_pairs(truth, np.not_equal), counted, strict=True))
    number, height, width = truth.shape
    sums = np.zeros((number, height + 1, width + 1), np.int64)  # of all pixels above and to the left
    sums[:, 1:, 1:-1] += right
    sums[:, 1:-1, 1:] += below
    sums = sums.cumsum(axis=1).cumsum(axis=2)
    rows, columns = min(CROP, height), min(CROP, width)
    inside = (
        sums[:, rows:, columns:] - sums[:, :-rows, columns:] - sums[:, rows:, :-columns] + sums[:, :-rows, :-columns]
    )
    mask, top, left = map(int, np.unravel_index(inside.argmax(), inside.shape))
    return mask, slice(top, top + rows), slice(left, left + columns)


def _pairs(mask: np.ndarray, compare: np.ufunc) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel compared with the one to its right, (N, H, W - 1), and with the one below, (N, H - 1, W)."""
    return compare(mask[:, :, :-1], mask[:, :, 1:]), compare(mask[:, :-1], mask[:, 1:])
