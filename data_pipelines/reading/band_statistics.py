"""Sums over pixels, from which mean, deviation, extremes and correlation of bands follow; they add up over records."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from data_pipelines.schema.sensors import Scaling
from data_pipelines.schema.typed_json import Count, Real


class SumsFields(TypedDict):
    """`BandSums` as JSON has them."""

    count: Count
    total: list[Real]
    products: list[list[Real]]
    low: list[Real] | None
    high: list[Real] | None


@dataclasses.dataclass(frozen=True)
class BandSums:
    """Sums over `count` pixels, float64.

    Attributes:
      total: of the values, (bands,).
      products: of the values of two bands, (bands, bands).
      low, high: their extremes, (bands,).
    """

    count: int
    total: np.ndarray
    products: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @staticmethod
    def of_none(bands: int) -> "BandSums":
        """The sums over no pixel at all."""
        return BandSums(0, np.zeros(bands), np.zeros((bands, bands)), np.full(bands, np.inf), np.full(bands, -np.inf))

    @staticmethod
    def of(image: np.ndarray, counted: np.ndarray | None) -> "BandSums":
        """The sums over an image (H, W, bands), or over the pixels of it that are `counted` (H, W)."""
        values = image.reshape(-1, image.shape[-1]) if counted is None else image[counted]
        if not len(values):
            return BandSums.of_none(image.shape[-1])
        columns = np.ascontiguousarray(values.T, np.float64)
        return BandSums(len(values), columns.sum(1), columns @ columns.T, columns.min(1), columns.max(1))

    def __add__(self, other: "BandSums") -> "BandSums":
        return BandSums(
            self.count + other.count,
            self.total + other.total,
            self.products + other.products,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    def to_json(self) -> dict:
        """What `from_json` takes; extremes of no pixel are null."""
        arrays = {name: getattr(self, name).tolist() for name in ("total", "products", "low", "high")}
        return {"count": self.count} | (arrays if self.count else arrays | {"low": None, "high": None})

    @staticmethod
    def from_json(fields: SumsFields) -> "BandSums":
        """The sums that `to_json` made `fields` of."""
        total, products = (np.array(fields[name], np.float64) for name in ("total", "products"))
        if not fields["count"]:
            return BandSums.of_none(len(total))
        return BandSums(fields["count"], total, products, np.array(fields["low"]), np.array(fields["high"]))

    @staticmethod
    def from_summary(fields: dict) -> "BandSums":
        """The sums that a `summary` tells of."""
        count, std = fields["pixels"], np.asarray(fields.get("std", ()), np.float64)
        if not count:
            raise ValueError("a summary of no pixel does not tell its bands")
        mean = np.asarray(fields["mean"], np.float64)
        products = count * (np.asarray(fields["correlation"]) * np.outer(std, std) + np.outer(mean, mean))
        return BandSums(count, count * mean, products, np.asarray(fields["min"]), np.asarray(fields["max"]))

    @property
    def mean(self) -> np.ndarray:
        """The mean of each band, (bands,)."""
        return self.total / self.count

    @property
    def std(self) -> np.ndarray:
        """The deviation of the pixels themselves (divided by their number); 0 where a band is constant."""
        return np.where(self.high > self.low, np.sqrt(np.maximum(np.diag(self._covariance), 0.0)), 0.0)

    @property
    def _covariance(self) -> np.ndarray:
        return self.products / self.count - np.outer(self.mean, self.mean)

    @property
    def correlation(self) -> np.ndarray:
        """Of each two bands, (bands, bands); of a constant band 0, with itself 1."""
        scale = np.where(self.std > 0, self.std, np.inf)
        matrix = np.clip(self._covariance / np.outer(scale, scale), -1.0, 1.0)
        np.fill_diagonal(matrix, 1.0)
        return matrix

    def summary(self) -> dict:
        """For people: pixels; mean, std, min and max of each band in the sensor's order; correlation of the bands."""
        if not self.count:
            return {"pixels": 0}
        arrays = {"mean": self.mean, "std": self.std, "min": self.low, "max": self.high}
        arrays["correlation"] = self.correlation
        return {"pixels": self.count} | {name: array.tolist() for name, array in arrays.items()}

    def scaling(self) -> Scaling:
        """Clip to what has been seen, then zero mean and unit deviation; a band that is constant becomes 0."""
        if not self.count:
            zeros = (0.0,) * len(self.total)
            return Scaling(unit=1.0, low=zeros, high=zeros, offset=zeros, scale=(1.0,) * len(zeros))
        scale = [deviation if deviation > 0 and math.isfinite(deviation) else 1.0 for deviation in self.std.tolist()]
        low, high, mean = (tuple(array.tolist()) for array in (self.low, self.high, self.mean))
        return Scaling(unit=1.0, low=low, high=high, offset=mean, scale=tuple(scale))


def of_bands(summary: dict, bands: Sequence[int]) -> dict:
    """The `summary` of some of the bands, in this order."""
    if not summary["pixels"]:
        return summary
    of_some = {name: np.asarray(summary[name])[bands].tolist() for name in ("mean", "std", "min", "max")}
    of_some["correlation"] = np.asarray(summary["correlation"])[np.ix_(bands, bands)].tolist()
    return {"pixels": summary["pixels"]} | of_some
