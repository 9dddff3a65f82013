"""Metrics of training steps: fetched one step late, summed over a window, written and shown."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from lcjax.engine.experiment import Experiment
from lcjax.parallel import multihost
from lcjax.runs.goodput import Attempt
from lcjax.runs.progress import Progress
from lcjax.runs.timer import Timer, duration
from lcjax.tasks import Mean
from lcjax.training.record import Record

_log = multihost.shared_logger(__name__)
_NOT_SHOWN = ("loss", "learning_rate", "gradient_norm")


class NotFinite(FloatingPointError):
    """The metrics of a step are not finite.

    Attributes:
      step: number of the step.
      metrics: its metrics.
    """

    def __init__(self, step: int, metrics: dict[str, float]):
        super().__init__(f"step {step} is not finite")
        self.step, self.metrics = step, metrics


class MetricsWriter:
    """Takes the metrics of each step while they are still computed, and writes those of the step before.

    The sums of a window that is not full yet are part of the run's progress: a run that goes on logs the same means.
    """

    def __init__(self, experiment: Experiment, progress: Progress, record: Record, timer: Timer, attempt: Attempt):
        self._experiment, self._progress = experiment, progress
        self._record, self._timer, self._attempt = record, timer, attempt
        self._pending: tuple[int, dict] | None = None

    def push(self, step: int, metrics: dict) -> None:
        """Writes the metrics of the step before, and keeps those of `step`, which may not be computed yet."""
        self.flush()
        self._pending = (step, metrics)

    def flush(self) -> None:
        """Writes what is kept. Raises NotFinite for metrics that are not finite."""
        if self._pending is None:
            return
        step, arrays = self._pending
        self._pending = None
        counted = {key: _counted(value) for key, value in sorted(jax.device_get(arrays).items())}
        if not all(map(math.isfinite, itertools.chain(*counted.values()))):
            raise NotFinite(step, {key: total / (count or 1) for key, (total, count) in counted.items()})
        window = self._progress.window
        for key, (total, count) in counted.items():
            before = window.get(key, (0.0, 0.0))
            window[key] = [before[0] + total, before[1] + count]
        self._progress.steps += 1
        length = self._experiment.length
        if step % length.log_every == 0 or step == length.total:
            self._write_window(step, counted["learning_rate"].total)

    def _write_window(self, step: int, learning_rate: float) -> None:
        window, number = self._progress.window, self._progress.steps
        self._progress.window, self._progress.steps = {}, 0
        # The rate is no mean but the one that the last step took.
        means = _means(window) | {"learning_rate": learning_rate}
        missing = [key for key in window if key not in means]
        batch_size, total = self._experiment.config.batch_size, self._experiment.length.total
        speed = self._timer.tick(number * batch_size)
        self._attempt.seen(step, self._timer.spent())
        self._record.write(step, "train", means, {"examples_per_second": speed})
        left = duration((total - step) * batch_size / speed)
        names = ("loss", *(key for key in means if key not in _NOT_SHOWN), "learning_rate")
        shown = "  ".join(f"{key} {means[key]:.4g}" for key in names if key in means)
        nothing = f"no {' and no '.join(missing)}, as these {number} steps saw no label  " if missing else ""
        _log.info(f"step {step}/{total}  {nothing}{shown}  {speed:.1f} examples/s  ETA {left}")
        if step > self._experiment.length.warmup and (warning := self._experiment.task.health_warning(means)):
            _log.warning(f"step {step}: {warning}")


def _counted(value: Any) -> Mean:
    """A metric of a step as numbers: a scalar counts once."""
    return Mean(*map(float, value)) if isinstance(value, Mean) else Mean(float(value), 1.0)


def _means(sums: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Sums divided by what they are sums of; one of nothing is left out."""
    return {key: total / count for key, (total, count) in sums.items() if count}
