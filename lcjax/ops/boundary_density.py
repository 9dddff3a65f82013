"""Boundary density of masks: the share of neighbouring pixels of different classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CROP = 80  # side in pixels of the square that reports show enlarged


class BoundaryDensity(NamedTuple):
    """Shares of neighbouring pairs of pixels whose classes differ."""

    truth: float
    prediction: float

    @property
    def ratio(self) -> float | None:
        """Below 1 where the prediction is smoother than the truth; None where the truth has no boundary."""
        return self.prediction / self.truth if self.truth else None


def boundary_density(truth: np.ndarray, prediction: np.ndarray, scored: Sequence[int]) -> BoundaryDensity | None:
    """Measures two masks over the same pairs of pixels.

    Args:
      truth: (N, H, W) legend ids.
      prediction: (N, H, W) legend ids.
      scored: ids that are scored; a pair counts where the truth of both its pixels is among them.

    Returns:
      The densities, or None where no two neighbours are scored.
    """
    counted = _pairs(np.isin(truth, scored), np.logical_and)
    total = sum(int(pairs.sum()) for pairs in counted)
    if not total:
        return None

    def share(mask: np.ndarray) -> float:
        differing = zip(_pairs(mask, np.not_equal), counted, strict=True)
        return sum(int((differ & pairs).sum()) for differ, pairs in differing) / total

    return BoundaryDensity(share(truth), share(prediction))


def densest_square(truth: np.ndarray, scored: Sequence[int]) -> tuple[int, slice, slice]:
    """Finds the square of CROP pixels (less in smaller masks) in which most scored neighbours differ.

    Args:
      truth: (N, H, W) legend ids.
      scored: ids that are scored.

    Returns:
      Index of the mask, rows and columns; of several equal squares the first.
    """
    counted = _pairs(np.isin(truth, scored), np.logical_and)
    right, below = (differ & pairs for differ, pairs in zip(_pairs(truth, np.not_equal), counted, strict=True))
    number, height, width = truth.shape
    sums = np.zeros((number, height + 1, width + 1), np.int64)  # over all pixels above and to the left
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
    """Compares each pixel with the one to its right, (N, H, W - 1), and with the one below, (N, H - 1, W)."""
    return compare(mask[:, :, :-1], mask[:, :, 1:]), compare(mask[:, :-1], mask[:, 1:])
