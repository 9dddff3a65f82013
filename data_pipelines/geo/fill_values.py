"""Fill values that nobody declared: one extreme value in much of an image, such as -9999, 0, 255 or 65535."""

import dataclasses

import numpy as np

from data_pipelines.schema.typed_json import Count, Real

MUCH = 0.2  # share of the pixels that one value fills: snow, shadow and glare seldom saturate so many in every band


@dataclasses.dataclass(frozen=True)
class Extremes:
    """How many pixels hold the least number of all in every band, and how many the largest; they add up over images.

    Attributes:
      pixels: all of them, without those that are not finite.
      low, high: the least and the largest number; 0 where there is no pixel.
      at_low, at_high: pixels that hold it in every band.
    """

    pixels: Count = 0
    low: Real = 0.0
    high: Real = 0.0
    at_low: Count = 0
    at_high: Count = 0

    @staticmethod
    def of(values: np.ndarray) -> "Extremes":
        """Those of (pixels, bands) numbers."""
        values = values[np.isfinite(values).all(1)]
        if not len(values):
            return Extremes()
        low, high = values.min(), values.max()
        at_low, at_high = (int(np.count_nonzero((values == extreme).all(1))) for extreme in (low, high))
        return Extremes(len(values), float(low), float(high), at_low, at_high)

    def __add__(self, other: "Extremes") -> "Extremes":
        both = [one for one in (self, other) if one.pixels]
        if len(both) < 2:
            return both[0] if both else self
        low, high = min(one.low for one in both), max(one.high for one in both)
        return Extremes(
            self.pixels + other.pixels,
            low,
            high,
            sum(one.at_low for one in both if one.low == low),
            sum(one.at_high for one in both if one.high == high),
        )

    @property
    def fill(self) -> tuple[float, float] | None:
        """The extreme that more than `MUCH` of the pixels hold in every band, and its share; None where none does."""
        held, value = max((self.at_low, self.low), (self.at_high, self.high))
        return (value, held / self.pixels) if held > MUCH * self.pixels else None


def fill_share(values: np.ndarray) -> tuple[float, float] | None:
    """The value that looks like a fill, and its share of the pixels; None where there is none.

    It is the least or the largest number of all, and more than `MUCH` of the pixels hold it in every band. It may be
    data for all that: warn, and drop nothing.

    Args:
      values: (pixels, bands) numbers that count as data so far. What is not finite is left out.
    """
    return Extremes.of(values).fill


def warning(value: float, share: float) -> str:
    """What to say of a fill value, as a phrase that follows the name of a file."""
    return (
        f"{share:.0%} of the pixels are {value:g} in every band; if that means no data, declare it, "
        f"e.g. `rio edit-info --nodata {value:g} FILE`: until then it counts as data"
    )
