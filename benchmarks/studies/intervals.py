"""The interval of a mean over few seeds or tiles."""

import statistics
from collections.abc import Sequence

from scipy import stats


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and both ends of its 95 % interval by Student's t; infinitely wide of one value alone."""
    mean, count = statistics.mean(values), len(values)
    if count < 2:
        return mean, -float("inf"), float("inf")
    half = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(values) / count**0.5
    return mean, mean - half, mean + half
