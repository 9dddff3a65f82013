"""Scores of a segmentation, all from one confusion matrix. Definitions: docs/scores.md."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE


def confusion(labels_BxHxW: jax.Array, predictions_BxHxW: jax.Array, classes: int) -> jax.Array:
    """Counts the pixels of a batch by true and predicted class, (classes, classes) int32; see `confusion_of_each`."""
    return jnp.sum(confusion_of_each(labels_BxHxW, predictions_BxHxW, classes), axis=0)


def confusion_of_each(labels_BxHxW: jax.Array, predictions_BxHxW: jax.Array, classes: int) -> jax.Array:
    """Counts the pixels of each example by true and predicted class; pixels labelled IGNORE are left out.

    The counts of an example are a product of indicator matrices, which accelerators compute fast. In float32 they are
    exact up to 2^24 pixels an example.

    Args:
      labels_BxHxW: class indices.
      predictions_BxHxW: class indices.
      classes: number of classes.

    Returns:
      (B, classes, classes) int32: rows = truth, columns = prediction.

    Raises:
      ValueError: an example has 2^24 pixels or more.
    """
    pixels = labels_BxHxW[0].size
    if pixels >= 2**24:
        raise ValueError(f"an example of {pixels} pixels could be miscounted: at most {2**24 - 1}")
    labels = labels_BxHxW.reshape(labels_BxHxW.shape[0], -1)
    predictions = predictions_BxHxW.reshape(labels.shape)
    truth = jax.nn.one_hot(jnp.where(labels == IGNORE, -1, labels.astype(jnp.int32)), classes)
    guess = jax.nn.one_hot(predictions, classes)
    counts = jnp.einsum("bpt,bpg->btg", truth, guess, preferred_element_type=jnp.float32)
    return counts.astype(jnp.int32)


def score_names(classes: int, present: Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the scores of so many classes, of which some, by name, have a true pixel."""
    means = ("OA", f"mCA_{classes}", f"mIoU_{classes}", "kappa")
    return means + tuple(f"{score}/{name}" for score in ("IoU", "Acc", "Precision", "F1") for name in present)


def scores(
    matrix: np.ndarray, names: Sequence[str], other: np.ndarray | None = None
) -> tuple[dict[str, float], list[str]]:
    """Computes all scores of a confusion matrix.

    A class without a true and without a predicted pixel is absent: it has no scores of its own and is left out of the
    means. A class that is predicted but never true scores 0 and counts, and so does one that is true but never
    predicted.

    Args:
      matrix: (N, N) integers, rows = truth, columns = prediction.
      names: the N classes.
      other: (N,), pixels of each true class that were predicted as none of the N; None where there are none.

    Returns:
      {"OA", "mCA_N", "mIoU_N", "kappa", "IoU/<class>", "Acc/<class>" (recall), "Precision/<class>", "F1/<class>"}, and
      the names of the absent classes.

    Raises:
      InputError: the matrix is empty.
    """
    values = score_values(matrix, names, other)
    if np.isnan(values["OA"]):
        raise InputError(
            "no labelled pixel was scored; expected one at least (config.resize makes tiles smaller and thins labels)"
        )
    absent = [name for name in names if np.isnan(values[f"IoU/{name}"])]
    return {key: float(value) for key, value in values.items() if not np.isnan(value)}, absent


def score_values(matrices: np.ndarray, names: Sequence[str], other: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Computes the scores of `scores` of many matrices at once.

    Args:
      matrices: (..., N, N).
      names: the N classes.
      other: (..., N) or None.

    Returns:
      Score -> (...) float64; NaN where the class is absent, and in all scores of an empty matrix.
    """
    counts = np.asarray(matrices, np.float64)
    hits, truth, guess = np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(axis=-1), counts.sum(axis=-2)
    truth = truth if other is None else truth + np.asarray(other, np.float64)
    total = truth.sum(axis=-1)
    present = truth + guess > 0
    # Counts are integers: max(..., 1) only turns the 0 / 0 of a present class into the 0 that the rule asks for.
    by_class = {
        "IoU": hits / np.maximum(truth + guess - hits, 1),
        "Acc": hits / np.maximum(truth, 1),
        "Precision": hits / np.maximum(guess, 1),
        "F1": 2 * hits / np.maximum(truth + guess, 1),
    }
    some = np.where(total > 0, total, np.nan)
    accuracy = hits.sum(axis=-1) / some
    chance = _chance(truth, guess, some)
    below = np.where(chance < 1, 1 - chance, np.nan)
    result = {
        "OA": accuracy,
        f"mCA_{len(names)}": mean_of_present(by_class["Acc"], present),
        f"mIoU_{len(names)}": mean_of_present(by_class["IoU"], present),
        "kappa": np.where(chance >= 1, 1.0, (accuracy - chance) / below),
    }
    for score, values in by_class.items():
        result |= {f"{score}/{name}": np.where(present[..., i], values[..., i], np.nan) for i, name in enumerate(names)}
    return result


def _chance(truth: np.ndarray, guess: np.ndarray, total: np.ndarray) -> np.ndarray:
    """The share of pixels that would be right by chance; matrix by matrix, for products of counts are rounded."""
    rows = zip(*(counts.reshape(-1, counts.shape[-1]) for counts in (truth, guess)), total.flat, strict=True)
    return np.reshape(
        [float(of_rows @ of_columns) / float(pixels) ** 2 for of_rows, of_columns, pixels in rows], total.shape
    )


def mean_of_present(values: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Means over the classes that are present.

    Args:
      values: (..., N).
      present: (..., N) bool.

    Returns:
      (...) float64; NaN where no class is present.
    """
    rows, masks = values.reshape(-1, values.shape[-1]), present.reshape(-1, values.shape[-1])
    means = np.full(len(rows), np.nan)
    # By sets of classes: so a mean is of the same numbers, added in the same order, alone and among many.
    sets, of_row = np.unique(masks, axis=0, return_inverse=True)
    order = np.argsort(of_row.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(of_row.ravel(), minlength=len(sets)))
    for mask, chosen in zip(sets, np.split(order, ends)[:-1], strict=True):
        if mask.any():
            means[chosen] = np.ascontiguousarray(rows[chosen][:, mask]).mean(axis=-1)
    return means.reshape(values.shape[:-1])
