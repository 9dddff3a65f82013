"""How many pixels are drawn from each stratum, as Olofsson et al. (2014, doi:10.1016/j.rse.2014.02.015) advise, 5.1."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from data_pipelines.schema.errors import InputError

Shares = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Name -> (share of the area of each stratum, standard deviation within each) -> how the sample is shared out. The last
# is that of Neyman, for which a sample has the smallest standard error of overall accuracy (Cochran 1977, eq. 5.26).
ALLOCATIONS: dict[str, Shares] = {
    "proportional": lambda weights, deviations: weights,
    "equal": lambda weights, deviations: np.ones_like(weights),
    "optimal": lambda weights, deviations: weights * deviations,
}
FEWEST = 2  # of a stratum: of one there is no variance


def deviations(users: np.ndarray) -> np.ndarray:
    """Returns the standard deviation of "is right" within strata with these user's accuracies."""
    return np.sqrt(users * (1 - users))


def size_for(weights: np.ndarray, users: np.ndarray, standard_error: float, pixels: int) -> int:
    """Returns how many pixels give overall accuracy a standard error (Olofsson et al. 2014, eq. 13; Cochran, eq. 5.25).

    Args:
      weights: (H,) share of the area of each stratum.
      users: (H,) user's accuracy that is expected of each.
      standard_error: of overall accuracy, that is wanted.
      pixels: of the map.
    """
    spread = deviations(users)
    return math.ceil((weights @ spread) ** 2 / (standard_error**2 + weights @ spread**2 / pixels))


def expected_error(weights: np.ndarray, users: np.ndarray, counts: np.ndarray, pixels: np.ndarray) -> float:
    """Returns the standard error of overall accuracy of a sample, if the user's accuracies are as expected.

    Args:
      weights: (H,) share of the area of each stratum.
      users: (H,) user's accuracy that is expected of each.
      counts: (H,) pixels that are drawn from each.
      pixels: (H,) that each has.
    """
    return float(np.sqrt((weights**2 * (1 - counts / pixels) * deviations(users) ** 2 / counts).sum()))


def allocate(
    names: Sequence[str],
    pixels: np.ndarray,
    shares: np.ndarray,
    size: int,
    minimum: int,
    fixed: Mapping[str, int],
) -> np.ndarray:
    """Shares a sample out among strata.

    Strata whose share is smaller than the minimum get the minimum, and the others share what is left.

    Args:
      names: (H,) of the strata.
      pixels: (H,) that each has.
      shares: (H,) in proportion to which the sample is shared out.
      size: of the sample.
      minimum: for each stratum that is not fixed.
      fixed: name -> its number of pixels, whatever the rest says.

    Returns:
      (H,) numbers whose sum is `size`.

    Raises:
      InputError: the sample is too small for the minimum, or it is larger than a stratum, or takes less than two of it.
    """
    counts = np.array([fixed.get(name, 0) for name in names], np.int64)
    free = np.array([name not in fixed for name in names])
    left = size - int(counts.sum())
    if left < minimum * int(free.sum()) or (left and not free.any()):
        of_fixed = f" beside the {counts.sum():,} of --points" if fixed else ""
        raise InputError(
            f"--size={size}: {left:,} points{of_fixed} for {free.sum()} strata of at least {minimum} each (--minimum); "
            f"expected at least {counts.sum() + minimum * free.sum():,} in all, or a smaller --minimum"
        )
    while free.any():
        parts = np.where(free, shares, 0) if shares[free].any() else free.astype(np.float64)
        wanted = left * parts / parts.sum()
        small = free & (wanted < minimum)
        if not small.any():
            counts[free] = _rounded(wanted[free], left)
            break
        counts[small], free = minimum, free & ~small
        left -= minimum * int(small.sum())
    for name, count, there in zip(names, counts.tolist(), pixels.tolist(), strict=True):
        if count < min(FEWEST, there):
            raise InputError(
                f"--points={name}={count}: expected {FEWEST} points or more: of one there is no variance, and of none "
                "nothing can be said of the whole map"
            )
        if count > there:
            raise InputError(
                f"{name}: {count:,} points were to be drawn, and it has {there:,} pixels; expected no more than those: "
                f"draw fewer (--size, --minimum), or give it a number of its own: --points={name}={there}"
            )
    return counts


def _rounded(wanted: np.ndarray, total: int) -> np.ndarray:
    """Returns whole numbers with this sum; those with the largest remainders are rounded up."""
    counts = np.floor(wanted).astype(np.int64)
    last = np.argsort(counts - wanted, kind="stable")
    counts[last[: total - int(counts.sum())]] += 1
    return counts
