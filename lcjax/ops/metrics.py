"""Scores of a segmentation, all from one confusion matrix. Definitions: docs/scores.md."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE


def confusion(labels_BxHxW: jax.Array, predictions_BxHxW: jax.Array, classes: int) -> jax.Array:
    """Counts pixels by true and predicted class; pixels labelled IGNORE are left out.

    The counts of an example are a product of indicator matrices, which accelerators compute fast. In float32 they are
    exact up to 2^24 pixels an example.

    Args:
      labels_BxHxW: class indices.
      predictions_BxHxW: class indices.
      classes: number of classes.

    Returns:
      (classes, classes) int32: rows = truth, columns = prediction.

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
    return jnp.sum(counts.astype(jnp.int32), axis=0)


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
    matrix = np.asarray(matrix, np.float64)
    hits, truth, guess = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    truth = truth if other is None else truth + np.asarray(other, np.float64)
    total = float(truth.sum())
    present = truth + guess > 0
    if not present.any():
        raise InputError(
            "no labelled pixel was scored; expected one at least (config.resize makes tiles smaller and thins labels)"
        )
    # Counts are integers: max(..., 1) only turns the 0 / 0 of a present class into the 0 that the rule asks for.
    by_class = {
        "IoU": hits / np.maximum(truth + guess - hits, 1),
        "Acc": hits / np.maximum(truth, 1),
        "Precision": hits / np.maximum(guess, 1),
        "F1": 2 * hits / np.maximum(truth + guess, 1),
    }
    chance = float(truth @ guess) / total**2
    accuracy = float(hits.sum() / total)
    result = {
        "OA": accuracy,
        f"mCA_{len(names)}": float(by_class["Acc"][present].mean()),
        f"mIoU_{len(names)}": float(by_class["IoU"][present].mean()),
        "kappa": (accuracy - chance) / (1 - chance) if chance < 1 else 1.0,
    }
    for score, values in by_class.items():
        result |= {f"{score}/{names[i]}": float(values[i]) for i in np.flatnonzero(present).tolist()}
    return result, [names[i] for i in np.flatnonzero(~present).tolist()]
