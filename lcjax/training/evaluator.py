"""Evaluation during training: chooses the best checkpoint, lowers the rate on a plateau, ends the run by patience."""

from lcjax.engine.eval_step import sum_over_batches
from lcjax.engine.experiment import Experiment
from lcjax.engine.schedule import plateau_factor
from lcjax.engine.state import State, with_lr_multiplier
from lcjax.parallel import multihost
from lcjax.runs.progress import Progress
from lcjax.training.pictures import Pictures
from lcjax.training.probes import Probe
from lcjax.training.record import Record
from lcjax.training.saver import Saver
from lcjax.training.trackers.interface import Picture

_log = multihost.shared_logger(__name__)


class Evaluator:
    """Scores the validation split of a run; without one it is never due."""

    def __init__(
        self,
        experiment: Experiment,
        progress: Progress,
        saver: Saver,
        record: Record,
        probe: Probe | None,
        pictures: Pictures | None,
    ):
        self._experiment, self._progress = experiment, progress
        self._saver, self._record, self._probe, self._pictures = saver, record, probe, pictures

    def is_due(self, step: int) -> bool:
        """Returns whether a step is to be evaluated that has not been yet."""
        length = self._experiment.length
        on_schedule = step == length.total or (step > 0 and step % length.evaluate_every == 0)
        return on_schedule and self._experiment.validation_source is not None and self._progress.evaluated != step

    def evaluate(self, step: int, state: State) -> State:
        """Scores a state and keeps a copy of the best; returns it, with a lower learning rate where that is due.

        Notes in the progress of the run when it ends for want of a better score.
        """
        own, probed, pictures = self._scores(state)
        scores = own | probed
        self._record.write(step, "validation", scores, pictures=pictures)
        config, progress, monitor = self._experiment.config, self._progress, self._experiment.monitor
        score = monitor.of(own)  # probes are of other splits, which choose nothing
        better = monitor.better(score, progress.best)
        progress.evaluated, progress.monitor = step, monitor.name
        progress.since_best = 0 if better else progress.since_best + 1
        if (factor := plateau_factor(config.optimizer, progress.since_best)) != 1:
            progress.lr_multiplier *= factor
            state = with_lr_multiplier(state, progress.lr_multiplier)
            multiplier = f"{progress.lr_multiplier:.4g}"
            _log.info(f"{self._at(step)}  the learning rate is lowered to {multiplier} of its schedule")
        if better:
            progress.best = score
            self._saver.save_best(state, step)
        shown = "  ".join(f"{key} {value:.4f}" for key, value in scores.items() if "/" not in key)
        _log.info(f"{self._at(step)}  validation: {shown}{'  (best)' if better else ''}")
        if 0 < config.patience <= progress.since_best and step < self._experiment.length.total:
            progress.ended = f"no better {monitor.name} in {config.patience} evaluations"
        return state

    def _scores(self, state: State) -> tuple[dict[str, float], dict[str, float], list[Picture]]:
        """The scores of the validation split, those of the probe, and pictures."""
        experiment, (parameters, statistics) = self._experiment, state.evaluated
        assert experiment.validation_source is not None
        batches = experiment.evaluation_batches(experiment.validation_source)
        sums = sum_over_batches(experiment.evaluation_step, parameters, statistics, batches, experiment.batch_sharding)
        probed = self._probe(parameters, statistics) if self._probe else {}
        pictures = self._pictures(parameters, statistics, sums) if self._pictures else []
        return experiment.task.scores(sums), probed, pictures

    def _at(self, step: int) -> str:
        return f"step {step}/{self._experiment.length.total}"
