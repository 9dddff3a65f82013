"""Accuracy of a map and areas of its classes, estimated from a stratified random sample of labelled pixels.

The estimators are those of Stehman (2014, doi:10.1080/01431161.2014.930207), in which strata may be anything; where the
strata are the classes of the map, they are those of Olofsson et al. (2014, doi:10.1016/j.rse.2014.02.015), with the
finite population correction. In their notation, for strata h of N_h pixels of which n_h were labelled:

    proportion of the area   p(y) = sum_h W_h ybar_h
    its variance             V = sum_h W_h^2 (1 - n_h / N_h) s2_yh / n_h
    ratio                    R = p(y) / p(x)
    its variance             V = 1 / p(x)^2 sum_h W_h^2 (1 - n_h / N_h) (s2_yh + R^2 s2_xh - 2 R s_xyh) / n_h

with y = 1 where map and label agree (overall accuracy, Stehman's eq. 12), where the label is class k (area of k,
eq. 14), or where both are k (user's and producer's accuracy, eq. 18 and 22, with x = 1 where the map, or the label, is
k, eq. 19 and 23).

Pixels of a map in degrees, and a little those of any map, differ in size, and what is asked for are areas. So W_h is
the stratum's share of the area, and ybar_h = sum a y / sum a over its labelled pixels of area a: the separate ratio
estimator of Cochran (1977, Sampling Techniques, section 6.10), whose variance is that of the residuals
a (y - ybar_h) / abar_h. For pixels of one size, all this is the above.
"""

import dataclasses
import statistics

import numpy as np

CONFIDENCE = 0.95
_Z = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclasses.dataclass(frozen=True)
class Strata:
    """The parts of a map from which pixels were drawn.

    Attributes:
      pixels: (H,) number of pixels of each.
      areas: (H,) area of each, in any unit.
    """

    pixels: np.ndarray
    areas: np.ndarray

    @property
    def weights(self) -> np.ndarray:
        """Share of the area of each, (H,)."""
        return self.areas / self.areas.sum()


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The labelled pixels, each by its indices.

    Attributes:
      stratum: (n,) index of the stratum that it was drawn from.
      mapped: (n,) index of the class that the map has there.
      reference: (n,) index of the class that was seen there.
      area: (n,) its area on the ground, in any unit.
    """

    stratum: np.ndarray
    mapped: np.ndarray
    reference: np.ndarray
    area: np.ndarray


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An estimated proportion.

    Attributes:
      value: from 0 to 1.
      standard_error: of it.
    """

    value: float
    standard_error: float

    @property
    def half_width(self) -> float:
        """Of the 95 % interval, by the normal distribution."""
        return _Z * self.standard_error

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, cut at 0 and 1."""
        return max(0.0, self.value - self.half_width), min(1.0, self.value + self.half_width)


@dataclasses.dataclass(frozen=True)
class Accuracy:
    """What is estimated of a map with K classes.

    Attributes:
      counts: (K, K) labelled pixels, rows = map, columns = label.
      matrix: (K, K) estimated proportions of the area, rows = map, columns = label.
      overall: share of the area where map and label agree.
      users: for each class, of what is mapped as it, the share that is it; None where none of it was sampled.
      producers: for each class, of what is it, the share that is mapped as it; None where nothing was labelled so.
      areas: for each class its share of the area.
    """

    counts: np.ndarray
    matrix: np.ndarray
    overall: Estimate
    users: tuple[Estimate | None, ...]
    producers: tuple[Estimate | None, ...]
    areas: tuple[Estimate, ...]


def estimate(labelled: Labelled, strata: Strata, classes: int) -> Accuracy:
    """Estimates accuracy and areas.

    Args:
      labelled: of every stratum at least two pixels, or all that it has.
      strata: that they were drawn from.
      classes: K.

    Raises:
      ValueError: a stratum has fewer labelled pixels.
    """
    units, agree = _Units(labelled, strata), labelled.mapped == labelled.reference
    cells = labelled.mapped * classes + labelled.reference
    users, producers, areas = [], [], []
    for k in range(classes):
        mapped, reference = labelled.mapped == k, labelled.reference == k
        users.append(units.ratio(mapped & reference, mapped))
        producers.append(units.ratio(mapped & reference, reference))
        areas.append(units.total(reference))
    return Accuracy(
        np.bincount(cells, minlength=classes**2).reshape(classes, classes),
        np.bincount(cells, units.weights, minlength=classes**2).reshape(classes, classes),
        units.total(agree),
        tuple(users),
        tuple(producers),
        tuple(areas),
    )


def overall(labelled: Labelled, strata: Strata, agree: np.ndarray) -> Estimate:
    """Estimates the share of the area where `agree`, (n,) bool, is true; errors as of `estimate`."""
    return _Units(labelled, strata).total(agree)


class _Units:
    """The labelled pixels with their weights.

    Attributes:
      weights: (n,) share of the area that each stands for; they sum to 1.
    """

    def __init__(self, labelled: Labelled, strata: Strata):
        count = len(strata.pixels)
        self._stratum, self._share = labelled.stratum, strata.weights
        self._numbers = np.bincount(labelled.stratum, minlength=count)
        if ((self._numbers < 2) & (self._numbers < strata.pixels)).any() or (self._numbers == 0).any():
            raise ValueError("a stratum has fewer than two labelled pixels")
        sums = np.bincount(labelled.stratum, labelled.area, minlength=count)
        self._parts = labelled.area / sums[labelled.stratum]  # of the labelled area of its stratum; they sum to 1
        self.weights = self._parts * self._share[labelled.stratum]
        left = 1 - self._numbers / strata.pixels  # the finite population correction
        degrees = np.maximum(self._numbers - 1, 1)  # of a stratum with one pixel, `left` is 0
        self._spread = self._share**2 * left * self._numbers / degrees

    def total(self, y: np.ndarray) -> Estimate:
        """Returns the share of the area where y, (n,) bool, is true."""
        return Estimate(float(self.weights @ y), float(np.sqrt(self._variance(self._residuals(y)))))

    def ratio(self, y: np.ndarray, x: np.ndarray) -> Estimate | None:
        """Returns the share of y in x, (n,) bool each; None where there is no x."""
        if not x.any():
            return None
        of_x = float(self.weights @ x)
        value = float(self.weights @ y) / of_x
        errors = self._residuals(y) - value * self._residuals(x)
        return Estimate(value, float(np.sqrt(self._variance(errors))) / of_x)

    def _residuals(self, y: np.ndarray) -> np.ndarray:
        """Returns a (y - ybar_h) / (n_h abar_h), whose sum over a stratum is 0."""
        means = np.bincount(self._stratum, self._parts * y, minlength=len(self._share))
        return self._parts * (y - means[self._stratum])

    def _variance(self, residuals: np.ndarray) -> float:
        squares = np.bincount(self._stratum, residuals**2, minlength=len(self._share))
        return float(self._spread @ squares)
