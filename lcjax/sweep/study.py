"""A study: what is searched, and the trials so far, on a storage that several workers share."""

import dataclasses
import logging
import math
import pathlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ml_collections
import numpy as np

from data_pipelines.schema import locks, schema_version, typed_json
from data_pipelines.schema.errors import InputError
from lcjax.parallel import nested_diff
from lcjax.runs import config_fields, workdir
from lcjax.sweep import spaces
from lcjax.sweep.storage import FILE as STORAGE
from lcjax.sweep.storage import Place, library

_log = logging.getLogger("lcjax.sweep")

SCHEMA_VERSION = 1
FILE = "study.json"
TRIALS = "trials"
_RANDOM_FIRST = 8  # trials before the sampler learns from what it has seen
_DECLARATION, _FOLDER, _REASON = "declaration", "folder", "reason"  # attributes in the storage
_AGAIN = "put back what it was, or choose another --study"
_PATIENCE = 600  # seconds for another worker that is at the study: it may be trying the config out


@dataclasses.dataclass
class Declaration:
    """What all workers of a study must agree on.

    Attributes:
      config: the fields, as JSON has them.
      space: text of each field that is searched.
      sampler, pruner: by name.
      monitor: the score that trials are compared by.
      evaluations: how often a trial is scored.
      lower_is_better: whether the score is to be low.
    """

    config: dict[str, Any]
    space: dict[str, str]
    sampler: str
    pruner: str
    monitor: str = ""
    evaluations: int = 0
    lower_is_better: bool = False

    def best_of(self, scores: Sequence[float]) -> float | None:
        """The best of some scores, without those that are not finite; None of none."""
        finite = [score for score in scores if math.isfinite(score)]
        return min(finite, default=None) if self.lower_is_better else max(finite, default=None)

    @property
    def sign(self) -> int:
        """What makes a score one that is to be high, as the storage has it."""
        return -1 if self.lower_is_better else 1


@dataclasses.dataclass
class _Folder:
    """What study.json holds, so that a folder that is moved or renamed is still of its study.

    Attributes:
      id: which of the folders of the study this is.
      study: the study's name in the storage.
      storage: where that is; empty for the file in the folder.
    """

    id: str
    study: str
    storage: str


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a study, as far as it has come.

    Attributes:
      number: from 0.
      drawn: what was drawn for each field.
      state: "done", "pruned", "failed" or "running"; what was stopped is running, and will go on.
      score: the best that its validation split had; None before the first.
      scores: of each evaluation.
      reason: why it failed.
      seconds: between its start and its end; None before that.
      folder: its workdir.
      here: whether that is in this folder of the study, and not in that of a worker elsewhere.
    """

    number: int
    drawn: dict[str, Any]
    state: str
    score: float | None
    scores: tuple[float, ...]
    reason: str
    seconds: float | None
    folder: pathlib.Path
    here: bool


class Study:
    """A study that is open.

    Attributes:
      folder: of the study.
      name: that of its folder, for people.
      place: of its storage.
      space: what is searched.
      declaration: what it is.
    """

    def __init__(self, folder: pathlib.Path, place: Place, space: spaces.Space, declaration: Declaration):
        """Opens the storage, and makes it where there is none. Raises InputError where that does not work."""
        self.folder, self.place, self.space, self.name = folder, place, space, folder.absolute().name
        with self.turn():
            own = self._own()
            self._id = own.id
            self._study = place.open(own.study)
            self.declaration = self._agreed(declaration)
            if not self.is_declared and self._has_trials:
                raise InputError(f"{place.shown}: tells of no trial, and {folder / TRIALS} holds some; {_AGAIN}")

    # ------------------------------------------------------------------ one worker at a time
    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keeps other workers in this folder from asking for trials, and from writing pages, for a moment."""
        with locks.held(self.folder / ".turn", self.folder, doing="asking for a trial of", patience=_PATIENCE):
            yield

    @property
    def _storage(self) -> str:
        return "" if self.place.local else self.place.shown

    @property
    def _has_trials(self) -> bool:
        return any((self.folder / TRIALS).glob("*"))

    def _own(self) -> _Folder:
        path = self.folder / FILE
        if path.is_file():
            own = schema_version.read_json(path, _Folder, SCHEMA_VERSION, _AGAIN)
            if own.storage != self._storage:
                there, given = own.storage or self.folder / STORAGE, self._storage or "no --storage"
                raise InputError(
                    f"{self.folder}: its trials are told of in {there}, and given is {given}; give the same"
                )
            return own
        if self._has_trials:
            raise InputError(f"{self.folder}: holds trials, and no {FILE}; {_AGAIN}")
        own = _Folder(uuid.uuid4().hex, uuid.uuid4().hex if self.place.local else self.name, self._storage)
        schema_version.write_json(path, dataclasses.asdict(own), SCHEMA_VERSION)
        return own

    # ------------------------------------------------------------------ what it is
    @property
    def is_declared(self) -> bool:
        """Whether it is known what the study is: it was tried out, by this worker or another one."""
        return bool(self.declaration.monitor)

    def declare(self, declaration: Declaration) -> None:
        """Keeps what the study is, unless another worker was first; then the two must agree."""
        with self.turn():
            self.declaration = self._agreed(declaration)
            with self.place.told():
                self._study.set_user_attr(_DECLARATION, dataclasses.asdict(self.declaration))

    def _agreed(self, given: Declaration) -> Declaration:
        """What the storage holds, where it agrees with what is given; else what is given."""
        with self.place.told():
            held = self._study.user_attrs.get(_DECLARATION)
        if held is None:
            return given
        there = typed_json.convert(held, Declaration, self.place.shown, _AGAIN)
        parts = [workdir.differences(there.config, given.config)]
        for what in ("space", "sampler", "pruner"):
            one, other = ({what: getattr(each, what)} for each in (there, given))
            parts.append(nested_diff.differences(one, other, ("there", "now")))
        if shown := ", ".join(part for part in parts if part):
            raise InputError(f"{self.folder}: holds another study: {shown}; choose another --study")
        return there

    # ------------------------------------------------------------------ trials
    def trials(self) -> list[Trial]:
        """All trials so far, in order."""
        with self.place.told():
            return [self._trial(one) for one in self._frozen()]

    def best(self) -> Trial | None:
        """The trial with the best score of those that are done; of equal ones the first."""
        done = [trial for trial in self.trials() if trial.state == "done"]
        sign = self.declaration.sign
        return max(done, key=lambda trial: (sign * (trial.score or 0.0), -trial.number), default=None)

    def next(self, most: int | None, config: ml_collections.ConfigDict) -> "Running | None":
        """A trial to run; None where there are as many as are wanted.

        What a worker that is gone left behind comes first. The very first is the config as it is, where it lies in the
        space. The caller is in its `turn`, and takes the trial's lock before that ends.

        Args:
          most: trials that are wanted in all; None for no limit.
          config: as it is.
        """
        with self.place.told():
            frozen = self._frozen()
            for one in frozen:
                if self._is_left(one):
                    return self._running(library().Trial(self._study, one._trial_id), resumed=True)
            begun = [one for one in frozen if one.state.is_finished() or _FOLDER in one.user_attrs]
            if most is not None and len(begun) >= most:
                return None
            drawn, outside = spaces.drawn_for(self.space, config)
            if not frozen and outside:
                _log.warning(
                    f"{self.folder}: the first trial is not the config as it is: {self._outside(outside, config)}"
                )
            elif not frozen:
                self._study.enqueue_trial(drawn, skip_if_exists=True)
            return self._running(self._study.ask())

    def _outside(self, fields: Sequence[str], config: ml_collections.ConfigDict) -> str:
        """Of some fields the value that the config has, and the space that it is not in."""
        now, lines = config_fields.flat(config), self.declaration.space
        return "; ".join(f"{field} {now[field]!r} lies outside of {lines[field]!r}" for field in fields)

    def folder_of(self, number: int) -> pathlib.Path:
        """The workdir of a trial."""
        return self.folder / TRIALS / f"{number:04d}"

    def _frozen(self) -> list[Any]:
        waiting = library().trial.TrialState.WAITING
        return [one for one in self._study.get_trials(deepcopy=False) if one.state != waiting]

    def _is_left(self, one: Any) -> bool:
        """Whether a trial was begun in this folder, and nobody is at it any more."""
        if one.state.is_finished():
            return False
        folder = self.folder_of(one.number)
        mine = one.user_attrs.get(_FOLDER, self._id if self.place.local else "") == self._id
        busy = locks.is_held(self.lock_of(one.number)) or locks.is_held(folder / workdir.LOCK)
        return mine and not busy

    def lock_of(self, number: int) -> pathlib.Path:
        """The file that is locked by the worker that runs a trial."""
        return self.folder / TRIALS / f".{number:04d}.lock"

    def _running(self, trial: Any, *, resumed: bool = False) -> "Running":
        """Makes a trial this folder's own, and draws what was not drawn before."""
        self._study.sampler, self._study.pruner = self._sampler(trial.number), self._pruner()
        trial.set_user_attr(_FOLDER, self._id)
        return Running(self, trial, self._draw(trial), resumed=resumed)

    def _draw(self, trial: Any) -> dict[str, Any]:
        drawn: dict[str, Any] = {}
        for field, one in self.space.items():
            if isinstance(one, spaces.OneOf):
                drawn[field] = trial.suggest_categorical(field, list(one.values))
            elif one.whole:
                how = {"step": int(one.step)} if one.step else {"log": one.log}
                drawn[field] = trial.suggest_int(field, int(one.low), int(one.high), **how)
            else:
                drawn[field] = trial.suggest_float(field, one.low, one.high, log=one.log, step=one.step)
        return drawn

    def _sampler(self, number: int) -> Any:
        """A sampler for one trial: what it draws depends on the seed, the number, and the trials before it alone."""
        seed = int(np.random.SeedSequence([self.declaration.config["seed"], number]).generate_state(1)[0])
        samplers = library().samplers
        if self.declaration.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=_RANDOM_FIRST)

    def _pruner(self) -> Any:
        pruners = library().pruners
        if self.declaration.pruner == "none":
            return pruners.NopPruner()
        if self.declaration.pruner == "median":
            return pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=self.declaration.evaluations // 10)
        return pruners.HyperbandPruner(min_resource=1, max_resource=max(self.declaration.evaluations, 1))

    def _trial(self, one: Any) -> Trial:
        reason = one.user_attrs.get(_REASON, "")
        state = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}[one.state.name]
        declared = self.declaration
        scores = tuple(declared.sign * one.intermediate_values[key] for key in sorted(one.intermediate_values))
        return Trial(
            number=one.number,
            drawn={field: one.params.get(field) for field in self.space},
            state="failed" if reason else state,
            score=declared.best_of(scores),
            scores=scores,
            reason=reason,
            seconds=one.duration.total_seconds() if one.duration else None,
            folder=self.folder_of(one.number),
            here=one.user_attrs.get(_FOLDER) == self._id,
        )


class Running:
    """A trial that this worker runs.

    Attributes:
      number: from 0.
      folder: its workdir.
      drawn: what was drawn for each field.
      resumed: whether it was begun before.
      scores: of each evaluation so far.
    """

    def __init__(self, study: Study, trial: Any, drawn: dict[str, Any], *, resumed: bool = False):
        self._study, self._trial, self.drawn, self.resumed = study, trial, drawn, resumed
        self.number: int = trial.number
        self.folder = study.folder_of(self.number)
        self.scores: tuple[float, ...] = ()
        frozen = trial.storage.get_trial(trial._trial_id)
        self._told = len(frozen.intermediate_values)

    def report(self, scores: Sequence[float]) -> bool:
        """Tells the storage of the scores so far; returns whether the trial is to be pruned.

        That depends on the scores, and not on how many of them come at a time. What has had its last evaluation is not
        pruned any more.
        """
        with self._study.place.told():
            for number, score in enumerate(scores, 1):
                self.scores = tuple(scores[:number])
                if number > self._told:
                    self._trial.report(self._study.declaration.sign * score, number)
                    self._told = number
                is_last = number >= self._study.declaration.evaluations
                if number == self._told and not is_last and self._trial.should_prune():
                    return True
        return False

    def end(self, state: str, score: float = math.nan, reason: str = "", *, by_itself: bool = False) -> None:
        """Tells the storage how it ended.

        Args:
          state: "done", "pruned" or "failed".
          score: the best of one that is done.
          reason: why it failed.
          by_itself: whether it failed by what was drawn. The sampler then learns from it, as from one that was pruned.
        """
        states = library().trial.TrialState
        pruned = state == "pruned" or by_itself
        with self._study.place.told():
            if reason:
                self._trial.set_user_attr(_REASON, reason)
            if state == "done":
                self._trial.study.tell(self._trial, self._study.declaration.sign * score)
            else:
                self._trial.study.tell(self._trial, state=states.PRUNED if pruned else states.FAIL)
