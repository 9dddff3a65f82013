"""One network's scores over the other class sets of its data set, such as FLAIR-1 over 12, 13 and 15 classes.

A confusion matrix over many classes holds that over fewer, if each of the many is one of the few or none of them.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.schema.legends import IGNORE, Legend
from lcjax.ops import metrics


@dataclasses.dataclass(frozen=True)
class Regrouped:
    """A confusion matrix over another class set.

    Attributes:
      legend: whose scored classes they are.
      confusion: (N, N) pixels, rows = truth, columns = prediction.
      other: (N,) pixels of each class that were taken for none of them, which is wrong.
    """

    legend: Legend
    confusion: np.ndarray
    other: np.ndarray

    @property
    def fields(self) -> dict[str, Any]:
        """What metrics.json tells of it."""
        names = [land_class.name for land_class in self.legend.scored]
        scores, absent = metrics.scores(self.confusion, names, self.other)
        pixels = int(self.confusion.sum() + self.other.sum())
        return {"scores": scores, "absent": absent, "pixels": pixels, "predicted_other": self.other.tolist()}


def regroup(confusion: np.ndarray, learned: Legend, wanted: Legend, stored: Legend) -> Regrouped | None:
    """Returns a confusion matrix over the classes of another legend; None where it does not follow from this one.

    Args:
      confusion: (K, K) pixels over the scored classes of `learned`.
      learned: legend of the network.
      wanted: another legend of the data set.
      stored: the legend of its labels as they are stored, which both are readings of.
    """
    becomes: dict[int, int] = {}
    for label in stored.allowed_ids:
        before, after = (int(legend.index_of_id()[legend.read_as()[label]]) for legend in (learned, wanted))
        if before == IGNORE and after == IGNORE:
            continue
        # Pixels that the network's legend ignores were not counted; one of its classes may be two of the wanted ones.
        if before == IGNORE or becomes.setdefault(before, after) != after:
            return None
    count = len(wanted.scored)
    groups = np.zeros((count + 1, len(learned.scored)), np.int64)  # the last one: none of them
    for before, after in becomes.items():
        groups[count if after == IGNORE else after, before] = 1
    moved = groups @ np.asarray(confusion, np.int64) @ groups.T
    return Regrouped(wanted, moved[:count, :count], moved[:count, count])


def of_legends(confusion: np.ndarray, learned: Legend, legends: Sequence[Legend]) -> dict[str, Regrouped]:
    """Returns for each other legend of a data set, the first of which is stored, the matrix over its classes.

    Left out are those that have the network's own classes, that do not follow, or that no pixel is of.
    """
    own = [(land_class.id, land_class.name) for land_class in learned.scored]
    found = {}
    for wanted in legends:
        moved = regroup(confusion, learned, wanted, legends[0])
        if moved is None or [(c.id, c.name) for c in wanted.scored] == own:
            continue
        if moved.confusion.any() or moved.other.any():
            found[wanted.name] = moved
    return found


def fields(confusion: np.ndarray, learned: Legend, legends: Sequence[Legend]) -> dict[str, Any]:
    """Returns what metrics.json tells of `of_legends`; nothing where there is none."""
    found = of_legends(confusion, learned, legends)
    return {"class_sets": {name: one.fields for name, one in found.items()}} if found else {}
