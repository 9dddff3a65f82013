"""Sums over pixels from which mean, deviation, minimum and maximum of each band follow; they add up over records."""

import dataclasses
import math

import numpy as np

from data_pipelines.bands import Scaling


@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over `count` pixels, each array (bands,) float64: of the values, of their squares, and their extremes."""

    count: int
    total: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of_none(bands: int) -> "Moments":
        """The sums over no pixel at all."""
        return Moments(0, np.zeros(bands), np.zeros(bands), np.full(bands, np.inf), np.full(bands, -np.inf))

    @staticmethod
    def of(image: np.ndarray, counted: np.ndarray | None) -> "Moments":
        """The sums over an image (H, W, bands), or over the pixels of it that are `counted` (H, W)."""
        values = image.reshape(-1, image.shape[-1]) if counted is None else image[counted]
        if not len(values):
            return Moments.of_none(image.shape[-1])
        columns = [np.ascontiguousarray(column, np.float64) for column in values.T]
        sums = np.array([(c.sum(), np.square(c).sum(), c.min(), c.max()) for c in columns])
        return Moments(len(values), sums[:, 0], sums[:, 1], sums[:, 2], sums[:, 3])

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    def to_json(self) -> dict:
        """What `from_json` takes; extremes of no pixel are null."""
        arrays = {name: getattr(self, name).tolist() for name in ("total", "squares", "low", "high")}
        return {"count": self.count} | (arrays if self.count else arrays | {"low": None, "high": None})

    @staticmethod
    def from_json(fields: dict) -> "Moments":
        total, squares = (np.array(fields[name], np.float64) for name in ("total", "squares"))
        if not fields["count"]:
            return Moments.of_none(len(total))
        return Moments(fields["count"], total, squares, np.array(fields["low"]), np.array(fields["high"]))

    @property
    def mean(self) -> np.ndarray:
        return self.total / self.count

    @property
    def std(self) -> np.ndarray:
        """The deviation of the pixels themselves (divided by their number); 0 where a band is constant."""
        variance = np.maximum(self.squares / self.count - np.square(self.mean), 0.0)
        return np.where(self.high > self.low, np.sqrt(variance), 0.0)

    def summary(self) -> dict:
        """For people: pixels, and mean, std, min and max of each band in the sensor's order."""
        if not self.count:
            return {"pixels": 0}
        arrays = {"mean": self.mean, "std": self.std, "min": self.low, "max": self.high}
        return {"pixels": self.count} | {name: array.tolist() for name, array in arrays.items()}

    def scaling(self) -> Scaling:
        """Clip to what has been seen, then zero mean and unit deviation; a band that is constant becomes 0."""
        if not self.count:
            zeros = (0.0,) * len(self.total)
            return Scaling(unit=1.0, low=zeros, high=zeros, offset=zeros, scale=(1.0,) * len(zeros))
        scale = [deviation if deviation > 0 and math.isfinite(deviation) else 1.0 for deviation in self.std.tolist()]
        low, high, mean = (tuple(array.tolist()) for array in (self.low, self.high, self.mean))
        return Scaling(unit=1.0, low=low, high=high, offset=mean, scale=tuple(scale))
