"""The checkpoints of a run: `last`, to go on from, and `best`, to use."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.engine.experiment import Experiment
from lcjax.engine.state import State, with_lr_multiplier
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost
from lcjax.runs import model_card as cards
from lcjax.runs import workdir as workdirs
from lcjax.runs.checkpoints import Checkpoints
from lcjax.runs.progress import DONE, Progress

_log = multihost.shared_logger(__name__)

# Parts of the config that decide on the arrays of a network, and on those of an optimiser.
_OF_MODEL = ("model", "fusion", "bands", "legend", "dataset", "task")
_OF_OPTIMIZER = ("optimizer", "freeze")


class Saver:
    """Saves copies of the state, one at a time, and finds the state that an earlier start of the run left.

    Attributes:
      workdir: folder of the run.
      first: step that this start of the run begins at; 0 for a new run.
      progress: of the run; the saver keeps the position in it.
      card: of the run, with where its initial values came from.
    """

    def __init__(self, workdir: pathlib.Path, experiment: Experiment):
        self.workdir, self._experiment = workdir, experiment
        self._last, self._best = Checkpoints(workdir, "last"), Checkpoints(workdir, "best")
        self.first, self.progress, self.card = 0, Progress(), experiment.card

    def init_or_restore(self, *, allow_other_config: bool = False) -> State:
        """Returns the state to begin with, and sets `first` and `progress`.

        Raises InputError where all checkpoints are damaged, where config.init does not fit, for a run that has gone
        farther than the config asks for, and, unless another config is allowed, where the splits hold other records.
        """
        step, damaged = self._last.latest_undamaged()
        if damaged and step is None:
            raise InputError(
                f"{damaged[0]}, and so is every other in {self._last.folder}; put back what it was, or take another "
                "--workdir"
            )
        for damage in damaged:
            _log.warning(f"{damage}; an earlier one is taken")
        state = self._begin() if step is None else self._restore(step, allow_other_config)
        self.progress.card, self.progress.devices = self.card.to_json(), self._experiment.mesh.size
        return state

    def _begin(self) -> State:
        """The state of a new run; says what of it came from elsewhere."""
        start = self._experiment.start()
        if start.arrival:
            _log.info(start.arrival.text())
        self.card = dataclasses.replace(self._experiment.card, weights=start.origin)
        return self._experiment.initial_state(start.parameters, start.statistics)

    def _restore(self, step: int, allow_other_config: bool) -> State:
        config, total = self._experiment.config, self._experiment.length.total
        self.first = step
        self.progress = self._last.restore_meta(step)
        began = cards.from_json(self.progress.card).weights
        self.card = dataclasses.replace(self._experiment.card, weights=began)
        if not allow_other_config:
            self._check_records()
        self._experiment.monitor.check_goes_on(self.progress, self._experiment.task, self.workdir)
        if self.progress.ended == DONE and step < total:
            self.progress.ended = ""  # with another config.total there is more to do
        if not self.progress.ended and step > total:
            raise InputError(
                f"config.total={config.total}: {total} steps, and the run in {self.workdir} has gone {step}; take "
                "more, or another --workdir"
            )
        devices = self._experiment.mesh.size
        if config.parallel.batch_norm == "replica" and self.progress.devices != devices:
            _log.warning(
                f"config.parallel.batch_norm='replica': {self.progress.devices} devices shared a batch before, and "
                f"{devices} do now, so that each normalises by another number of examples"
            )
        like, _ = self._experiment.shapes()
        model_like, optimizer_like = _items(like)
        self._check_fits(step, model_like, optimizer_like)
        model, optimizer = (
            self._last.restore_model(step, model_like),
            self._last.restore_optimizer(step, optimizer_like),
        )
        state = _state(like, model, optimizer)
        state = dataclasses.replace(state, step=meshes.place(np.int32(step), like.step.sharding))
        return with_lr_multiplier(state, self.progress.lr_multiplier)

    def _check_fits(self, step: int, model: dict, optimizer) -> None:
        """Raises InputError where the network or the optimiser is another than that of the checkpoint."""
        for item, like, fields in (("model", model, _OF_MODEL), ("optimizer", optimizer, _OF_OPTIMIZER)):
            if misfit := self._last.misfit(step, item, like):
                changed = workdirs.changed(self.workdir, self._experiment.config, fields)
                cause = f"with config.{changed}" if changed else "as it is now"
                raise InputError(
                    f"{self.workdir}: the run cannot go on {cause}, as its checkpoint of step {step} holds other "
                    f"arrays, the first: {misfit}; put that back, or begin in another --workdir"
                )

    def _check_records(self) -> None:
        began, card = cards.from_json(self.progress.card), self._experiment.card
        for before, now, what in (
            (began.sampling, card.sampling, "drew its records by the table {}, which is {} now: the labels are others"),
            (began.order, card.order, "ordered its records by the table {}, which is {} now: the groups are others"),
        ):
            if before and now and before["table"] != now["table"]:
                raise InputError(
                    f"{self.workdir}: holds a run that {what.format(before['table'], now['table'])}; put back the data "
                    "that it began with, or choose another --workdir"
                )
        for role in began.splits.keys() & card.splits.keys():
            held, holds = began.splits[role], card.splits[role]
            if held["id"] != holds["id"]:
                raise InputError(
                    f"{self.workdir}: holds a run whose {role} split {held['spec']!r} held other records, images or "
                    f"labels ({held['records']} records, id {held['id']}) than now ({holds['records']}, id "
                    f"{holds['id']}); put back the data that it began with, or choose another --workdir"
                )

    def forget_later(self) -> None:
        """Deletes the checkpoints of steps after `first`: they will be computed again."""
        for kind in (self._last, self._best):
            kind.forget_after(self.first)

    def is_due(self, step: int) -> bool:
        """Returns whether config.save_every asks for a checkpoint at a step."""
        return step % self._experiment.length.save_every == 0

    def save_best(self, state: State, step: int) -> None:
        """Saves the state as the best so far."""
        self._save(self._best, state, step)

    def save_last(self, state: State, step: int) -> None:
        """Saves the state as the one to go on from; once the run has ended, sees that there is a best one, too."""
        if self.progress.ended:
            validated = self._experiment.validation_source is not None
            lost = validated and self._best.latest() is None
            if lost:
                # It was of steps that were computed again, and otherwise than before: on another device, say.
                _log.warning(f"{self.workdir}: the best checkpoint was lost in a restart; the last is kept")
            if lost or not validated:
                self.save_best(state, step)
        self._save(self._last, state, step)

    def mend_best(self, state: State) -> None:
        """Sees to a run that has ended and whose best checkpoint is gone: it is the last, or cannot be had again."""
        if self._best.latest() is not None:
            return
        progress = self.progress
        if self._experiment.validation_source is None or (
            progress.since_best == 0 and progress.evaluated == self.first
        ):
            self.save_best(state, self.first)
            self.wait()
            _log.warning(f"{self.workdir}: the best checkpoint was gone; it is that of the last step, and was put back")
        else:
            _log.warning(
                f"{self.workdir}: the best checkpoint is gone, and was of an earlier step than the last; put it back, "
                "or take the last with --checkpoint=last"
            )

    def _save(self, kind: Checkpoints, state: State, step: int) -> None:
        model, optimizer = _items(state)
        self.progress.position = step * self._experiment.config.batch_size
        # One at a time: `last` says which state was the best, and must not be there before that state is; and of
        # several processes two savings at once would take each other's signals.
        self.wait()
        kind.save(step, model=model, optimizer=optimizer, meta=self.progress)

    def saved(self) -> int | None:
        """Returns the step of the newest whole checkpoint to go on from."""
        return self._last.latest()

    def wait(self) -> None:
        """Returns when everything that was saved is on disk."""
        for kind in (self._last, self._best):
            kind.wait()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Waits, and lets go of the folders.

        After an error, too: what still saves and deletes in the background would do so below a folder that the same
        process may open again, as one does in a notebook. Only of several processes nobody is waited for then, for the
        others may be gone; their programs end.
        """
        if error is None or jax.process_count() == 1:
            for opened in (self._last, self._best):
                opened.wait()
                opened.close()


def _items(state: State) -> tuple[dict[str, Any], Any]:
    """The items "model" and "optimizer" of a state's checkpoint.

    "model" is what the network is used with. Where that are averages, "optimizer" also holds what they are averages of,
    which only the training asks for.
    """
    parameters, statistics = state.evaluated
    model = {"parameters": parameters, "statistics": statistics}
    if not state.average:
        return model, state.opt_state
    return model, {"opt_state": state.opt_state, "latest": state.trainable | state.statistics}


def _state(like: State, model: dict[str, Any], optimizer: Any) -> State:
    """The state whose items these are, with step and rate of `like`."""
    kept = model["parameters"] | model["statistics"]
    latest, moments = (optimizer["latest"], optimizer["opt_state"]) if like.average else (kept, optimizer)
    return dataclasses.replace(
        like,
        trainable={path: latest[path] for path in like.trainable},
        frozen={path: kept[path] for path in like.frozen},
        statistics={path: latest[path] for path in like.statistics},
        opt_state=moments,
        average={path: kept[path] for path in like.average},
    )
