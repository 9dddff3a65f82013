"""Scores of a classification of patches, in float64 on the host. Definitions: docs/classification.md."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.ops import metrics


@dataclasses.dataclass(frozen=True)
class Counted:
    """How often each class is a label of a patch and is predicted.

    Attributes:
      hits, wrong, missed: (K,) patches that have the label and are given it, are given it alone, have it alone.
    """

    hits: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """(K,) bool: classes that a patch has or is given; the others are absent, and left out of means."""
        return np.asarray(self.hits + self.wrong + self.missed > 0)

    def by_class(self) -> dict[str, np.ndarray]:
        """Acc (recall), Precision and F1 of each class; 0 where a present class has no true, or no predicted, patch."""
        true, given = self.hits + self.missed, self.hits + self.wrong
        return {
            "Acc": self.hits / np.maximum(true, 1),
            "Precision": self.hits / np.maximum(given, 1),
            "F1": 2 * self.hits / np.maximum(true + given, 1),
        }


def counted(truth_NxK: np.ndarray, given_NxK: np.ndarray) -> Counted:
    """Counts the labels of patches: of two bool arrays, what is true and what is predicted."""
    return Counted(
        *(np.sum(which, axis=0) for which in (truth_NxK & given_NxK, ~truth_NxK & given_NxK, truth_NxK & ~given_NxK))
    )


def given(probabilities_NxK: np.ndarray, *, single: bool) -> np.ndarray:
    """Returns the labels that are predicted, (N, K) bool: the most probable class, or all above one half."""
    if not single:
        return np.asarray(probabilities_NxK > 0.5)
    chosen = probabilities_NxK.argmax(axis=1)
    return np.asarray(chosen[:, None] == np.arange(probabilities_NxK.shape[1]))


def confusion(truth_NxK: np.ndarray, given_NxK: np.ndarray) -> np.ndarray:
    """Returns the confusion matrix of single labels, (K, K) patches: rows = truth, columns = prediction."""
    return np.asarray(truth_NxK.astype(np.int64).T @ given_NxK.astype(np.int64))


def average_precision(scores_N: np.ndarray, truth_N: np.ndarray) -> float:
    """Returns the average precision of a ranking: precision at each distinct score, weighted by the gain in recall.

    Patches of equal score enter together, so that their order does not matter. NaN where no patch has the label.
    """
    order = np.argsort(-scores_N, kind="stable")
    ranked = scores_N[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(truth_N[order], dtype=np.int64)[last]
    if not len(hits) or not hits[-1]:
        return float("nan")
    return float(np.sum(np.diff(hits, prepend=0) / hits[-1] * (hits / (last + 1))))


def score_names(size: int, *, single: bool) -> tuple[str, ...]:
    """Returns the names of the scores of so many classes that `scores` always gives: the means."""
    own = ("OA", "kappa") if single else ("subset_accuracy",)
    return (*own, *(f"{stem}_{size}" for stem in ("mCA", "F1_micro", "F1_macro", "mAP")))


def scores(
    probabilities_NxK: np.ndarray, truth_NxK: np.ndarray, names: Sequence[str], *, single: bool
) -> tuple[dict[str, float], list[str]]:
    """Computes all scores of labelled patches.

    A class that no patch has and none is given is absent: it has no scores and is left out of the means. One that is
    given but that no patch has scores 0 and counts, but in the mean average precision, which it has none of.

    Args:
      probabilities_NxK: of each class; over classes they sum to 1 where each patch has a single label.
      truth_NxK: bool, the labels of each patch; exactly one where they are single.
      names: of the K classes.
      single: whether each patch has a single label.

    Returns:
      {"OA" and "kappa" of single labels, else "subset_accuracy" (all labels of a patch are right), "mCA_K",
      "F1_micro_K", "F1_macro_K", "mAP_K", and by class "Acc/<class>" (recall), "Precision/<class>", "F1/<class>" and
      "AP/<class>"}, and the names of the absent classes.

    Raises:
      InputError: there is no patch.
    """
    if not len(truth_NxK):
        raise InputError(
            "no labelled patch was scored; expected a split in which one patch at least has labelled pixels"
        )
    probabilities_NxK = np.asarray(probabilities_NxK, np.float64)
    predicted = given(probabilities_NxK, single=single)
    counts = counted(truth_NxK, predicted)
    present, by_class = counts.present, counts.by_class()
    precisions = np.array([average_precision(p, t) for p, t in zip(probabilities_NxK.T, truth_NxK.T, strict=True)])
    right = float(np.all(truth_NxK == predicted, axis=1).mean())
    both = 2 * counts.hits.sum()
    size = len(names)
    if single:
        kappa = metrics.score_values(confusion(truth_NxK, predicted), names)["kappa"]
        result = {"OA": right, "kappa": float(kappa)}
    else:
        result = {"subset_accuracy": right}
    result |= {
        f"mCA_{size}": float(by_class["Acc"][present].mean()) if present.any() else 0.0,
        f"F1_micro_{size}": float(both / max(both + counts.wrong.sum() + counts.missed.sum(), 1)),
        f"F1_macro_{size}": float(by_class["F1"][present].mean()) if present.any() else 0.0,
        f"mAP_{size}": float(np.nanmean(precisions)) if truth_NxK.any() else 0.0,
    }
    for score, values in by_class.items():
        result |= {f"{score}/{names[k]}": float(values[k]) for k in np.flatnonzero(present).tolist()}
    result |= {f"AP/{names[k]}": float(precisions[k]) for k in np.flatnonzero(truth_NxK.any(axis=0)).tolist()}
    return result, [names[k] for k in np.flatnonzero(~present).tolist()]
