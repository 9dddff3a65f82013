"""The score by which a run chooses its best checkpoint, lowers its rate on a plateau and stops early."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from data_pipelines.schema.errors import InputError, did_you_mean
from lcjax.runs.progress import Progress
from lcjax.tasks import Task

_SHOWN = 12  # names of scores in a message


@dataclasses.dataclass(frozen=True)
class Monitor:
    """A score of the validation split.

    Attributes:
      name: as `Task.scores` names it.
      lower_is_better: as for a loss.
    """

    name: str
    lower_is_better: bool = False

    def of(self, scores: Mapping[str, float]) -> float:
        """Returns the score. Raises InputError where an evaluation has none."""
        if self.name not in scores:
            raise InputError(
                f"config.monitor={self.name!r}: this evaluation has no such score but {', '.join(scores)}; take one "
                "that every evaluation has, in a new --workdir"
            )
        return scores[self.name]

    def better(self, score: float, best: float | None) -> bool:
        """Whether a score is better than the best so far, which is None before the first."""
        return best is None or (score < best if self.lower_is_better else score > best)

    def best(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Returns the row with the best score, of several the first; empty of none."""
        sign = -1 if self.lower_is_better else 1
        return max(rows, key=lambda row: sign * self.of(row), default={})

    def check_goes_on(self, progress: Progress, task: Task, workdir: pathlib.Path) -> None:
        """Raises InputError for a run that has chosen by another score: the two cannot be compared."""
        # Runs that began before there was a choice went by the score of the task.
        before = progress.monitor or task.monitor
        if progress.best is not None and before != self.name:
            raise InputError(
                f"config.monitor: the run in {workdir} has chosen its best checkpoint by {before}, which {self.name} "
                "cannot be compared with; put it back, or take another --workdir"
            )


def of_run(config: ml_collections.ConfigDict, task: Task) -> Monitor:
    """Returns the score that `config.monitor` names, or the task's own.

    Raises:
      InputError: the task has no score of that name in every evaluation, or there is no validation split.
    """
    name = config.monitor or task.monitor
    if config.monitor and not config.split.validation:
        raise InputError(
            f"config.monitor={name!r}: it is a score of the validation split, and config.split.validation is empty; "
            "name a split, or leave config.monitor empty"
        )
    known = task.score_names
    if config.monitor and known and name not in known:
        shown = [*known[:_SHOWN], *(["..."] if len(known) > _SHOWN else [])]
        raise InputError(
            f"config.monitor={name!r}: {did_you_mean(name, known, 0.8)}expected a score that every evaluation of the "
            "validation split has (a class without pixels there has none, and with config.resize none has): "
            f"{', '.join(shown)}"
        )
    return Monitor(name, name in task.lower_is_better)
