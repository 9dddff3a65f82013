"""Times of a call that is repeated, and whether the machine was quiet enough for them to mean anything."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

WARMUP = 3  # calls that are not counted
NOISY = 0.2  # the spread from which on times say more of the machine than of the program


def repeated(call: Callable[[], Any], count: int) -> list[float]:
    """Milliseconds of each of `count` calls after warm-up; a call ends when what it returns is there."""
    milliseconds = []
    for _ in range(WARMUP + count):
        start = time.perf_counter()
        jax.block_until_ready(call())
        milliseconds.append(1e3 * (time.perf_counter() - start))
    return milliseconds[WARMUP:]


def summary(milliseconds: Sequence[float]) -> dict[str, float]:
    """Median, and the tenth and ninetieth percentiles, in the unit of the times."""
    p10, median, p90 = (float(value) for value in np.percentile(milliseconds, (10, 50, 90)))
    return {"median": median, "p10": p10, "p90": p90}


def spread(summary: dict[str, float]) -> float:
    """How far the tenth and the ninetieth percentile lie apart, as a share of the median."""
    return (summary["p90"] - summary["p10"]) / summary["median"]


def noise(times: dict[str, float]) -> str:
    """A line that warns of times that vary too much; empty where they do not."""
    if (found := spread(times)) <= NOISY:
        return ""
    return (
        f"the times vary by {found:.0%} of their median (from {times['p10']:.3g} to {times['p90']:.3g} ms, tenth to "
        "ninetieth percentile): something else runs on this machine, or there are too few of them; measure again when "
        "it is quiet, or with more --steps"
    )
