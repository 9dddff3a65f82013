"""How far probabilities can be believed: temperature, levels of maps, calibration errors, conformal sets.

Temperature scaling divides logits by one number (Guo et al. 2017, On Calibration of Modern Neural Networks). The
calibration error is measured of what maps hold, which are probabilities rounded to 1/250, of which whole numbers
are summed, so it is exact. Conformal sets are those of Sadinle, Lei and Wasserman 2019 (Least Ambiguous
Set-Valued Classifiers with Bounded Error Levels), with a threshold for each class. Definitions: docs/calibration.md.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.legends import IGNORE

PROBABILITY_SCALE = 250  # a probability p is stored as round(250 p), so that 255 is free for no data
BINS = 15  # of equal width, as Guo et al. take
SMALLEST = 1e-37  # what a probability counts as at least in the logarithmic loss: float32 has no smaller normal numbers
# Log-odds of the probability of the true class are counted in steps of 1/128: a probability moves by 0.002 at most.
_LOWEST, _STEPS, SCORES = -32, 128, 49 * 128


def softmax_at(logits: jax.Array, temperatures_M: jax.Array) -> jax.Array:
    """Returns the class probabilities at each temperature, one after the other: (..., M * K) of logits (..., K)."""
    divisors = temperatures_M.reshape((1,) * (logits.ndim - 1) + (-1, 1))
    probabilities = jax.nn.softmax(logits[..., None, :] / divisors, axis=-1)
    return probabilities.reshape(*logits.shape[:-1], -1)


def levels(probabilities: jax.Array) -> jax.Array:
    """Returns probabilities as maps hold them: uint8, 0 to 250 for 0 to 1."""
    return jnp.rint(probabilities * PROBABILITY_SCALE).clip(0, PROBABILITY_SCALE).astype(jnp.uint8)


def at_class(values: jax.Array, index: jax.Array) -> jax.Array:
    """Returns the values (..., K) at a class of each pixel (...)."""
    return jnp.take_along_axis(values, index[..., None].astype(jnp.int32), axis=-1)[..., 0]


def count(plain_BxHxWxK: jax.Array, told_BxHxWxK: jax.Array, labels_BxHxW: jax.Array) -> dict[str, jax.Array]:
    """Counts pixels by what maps tell of them and by what they are; the counts of batches add up.

    Args:
      plain_BxHxWxK: the probabilities by which a pixel gets its class.
      told_BxHxWxK: those that are written.
      labels_BxHxW: class indices; IGNORE is left out.

    Returns:
      "confidence" (B, 3, 1, BINS) int32: in each bin the pixels, the sum of the levels of their mapped class, and how
      many are right; "classes" (B, 3, K, BINS) int32: the same by the level of each class, and how many are of it; and
      "loss" (H,) float32: sums of the logarithmic loss in rows of pixels.
    """
    labelled, truth = _truth(labels_BxHxW)
    mapped = jnp.argmax(plain_BxHxWxK, axis=-1)
    level_BxHxWxK = levels(told_BxHxWxK).astype(jnp.int32)
    classes = jnp.arange(told_BxHxWxK.shape[-1]).reshape(1, 1, 1, -1)
    loss = logarithmic_loss(at_class(told_BxHxWxK, truth))
    return {
        "confidence": _bins(at_class(level_BxHxWxK, mapped)[..., None], (mapped == truth)[..., None], labelled),
        "classes": _bins(level_BxHxWxK, truth[..., None] == classes, labelled),
        "loss": jnp.sum(jnp.where(labelled, loss, 0), axis=(0, 2)),
    }


def _truth(labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which pixels are labelled, and the class index of each, 0 where there is none."""
    labelled = labels != IGNORE
    return labelled, jnp.where(labelled, labels, 0).astype(jnp.int32)


def _bins(level_BxHxWxN: jax.Array, true_BxHxWxN: jax.Array, labelled_BxHxW: jax.Array) -> jax.Array:
    """In each bin of an example the pixels, the sum of their levels, and how many are true: (B, 3, N, BINS) int32."""
    bins = jnp.maximum(-(-level_BxHxWxN * BINS // PROBABILITY_SCALE) - 1, 0)
    inside = (bins[..., None] == jnp.arange(BINS).reshape(1, 1, 1, 1, -1)) & labelled_BxHxW[..., None, None]
    counted = (inside, jnp.where(inside, level_BxHxWxN[..., None], 0), inside & true_BxHxWxN[..., None])
    return jnp.stack([jnp.sum(each, axis=(1, 2), dtype=jnp.int32) for each in counted], axis=1)


def scores(told_BxHxWxK: jax.Array, labels_BxHxW: jax.Array) -> jax.Array:
    """Counts the pixels of each class by the log-odds of its probability: (K, SCORES) int32."""
    labelled, truth = _truth(labels_BxHxW)
    probability, classes = at_class(told_BxHxWxK, truth), told_BxHxWxK.shape[-1]
    odds = jnp.log(probability) - jnp.log1p(-probability)
    score = ((odds - _LOWEST) * _STEPS).clip(0, SCORES - 1).astype(jnp.int32)
    return histogram(truth * SCORES + score, labelled, classes * SCORES).reshape(classes, SCORES)


def sets(members_BxHxWxK: jax.Array, labels_BxHxW: jax.Array) -> dict[str, jax.Array]:
    """Counts labelled pixels: "covered" (K,), those of each class whose set holds it; "sizes" (K + 1,), by set size."""
    labelled, truth = _truth(labels_BxHxW)
    classes = members_BxHxWxK.shape[-1]
    return {
        "covered": histogram(truth, at_class(members_BxHxWxK, truth) & labelled, classes),
        "sizes": histogram(jnp.sum(members_BxHxWxK, axis=-1), labelled, classes + 1),
    }


def logarithmic_loss(probability: jax.Array) -> jax.Array:
    """Returns minus the natural logarithm of probabilities of the true class."""
    return -jnp.log(jnp.maximum(probability, SMALLEST))


def histogram(indices: jax.Array, counted: jax.Array, size: int) -> jax.Array:
    """Counts each index from 0 to size - 1, where `counted` is true: (size,) int32."""
    return jnp.zeros(size, jnp.int32).at[indices.reshape(-1)].add(counted.reshape(-1).astype(jnp.int32))


def mutual_information(members_MxK: jax.Array) -> jax.Array:
    """Returns how far the members of an ensemble disagree, (...) of their probabilities (M, ..., K), from 0 to 1.

    It is the mutual information of the class and the member (Houlsby et al. 2011, Bayesian Active Learning for
    Classification; Depeweg et al. 2018): the entropy of the mean minus the mean entropy of the members, here divided by
    the most that it can be, ln(min(M, K)). It is 0 where all members say the same, however unsure they are, and 1 where
    each is sure of another class.
    """
    members, classes = members_MxK.shape[0], members_MxK.shape[-1]
    together = jnp.sum(jax.scipy.special.entr(jnp.mean(members_MxK, axis=0)), axis=-1)
    each = jnp.mean(jnp.sum(jax.scipy.special.entr(members_MxK), axis=-1), axis=0)
    most = math.log(min(members, classes))
    return ((together - each) / most).clip(0, 1) if most else jnp.zeros_like(together)


# ---- calibration errors ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Diagram:
    """A reliability diagram: what was told of pixels, and how many of them it was true of.

    Attributes:
      pixels: (BINS,) in each bin ((i / BINS, (i + 1) / BINS], and 0 in the first).
      told: (BINS,) mean probability; 0 where there is no pixel.
      true: (BINS,) share of the pixels that are right, or of the class.
    """

    pixels: np.ndarray
    told: np.ndarray
    true: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of |told - true| over pixels."""
        return float(np.sum(self.pixels * np.abs(self.told - self.true)) / max(self.pixels.sum(), 1))


def diagram(sums_3xB: np.ndarray) -> Diagram:
    """Makes the reliability diagram of what `count` has for each bin: pixels, sum of levels, how many are true."""
    pixels, level, true = np.asarray(sums_3xB, np.int64)
    return Diagram(pixels, level / PROBABILITY_SCALE / np.maximum(pixels, 1), true / np.maximum(pixels, 1))


# ---- conformal sets -------------------------------------------------------------------------------------------------


def thresholds(scores_KxS: np.ndarray, coverage: float) -> list[float]:
    """Returns for each class the least probability with which it belongs to the set of a pixel.

    Of the n pixels of a class at least ceil((n + 1) * coverage) reach it, which is the quantile that holds in finite
    samples; where n is too small for that, the class belongs to every set.

    Args:
      scores_KxS: of `scores`, summed.
      coverage: wanted share of the pixels of a class whose set holds it.
    """
    found = []
    for pixels in np.asarray(scores_KxS, np.int64):
        total = int(pixels.sum())
        # Rounded, lest 0.9 * 10 in binary be taken for more than 9.
        needed = int(np.ceil(round((total + 1) * coverage, 6)))
        reached = np.cumsum(pixels[::-1])[::-1]  # pixels with this score or a higher one
        edge = int(np.flatnonzero(reached >= needed)[-1]) if needed <= total else 0
        found.append(1 / (1 + float(np.exp(-(edge / _STEPS + _LOWEST)))) if edge else 0.0)
    return found


def members(probabilities: jax.Array, least_K: np.ndarray) -> jax.Array:
    """Returns which classes belong to the set of each pixel: (..., K) bool of probabilities (..., K)."""
    return probabilities >= jnp.asarray(least_K, jnp.float32).reshape((1,) * (probabilities.ndim - 1) + (-1,))
