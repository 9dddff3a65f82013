"""One worker of a study: asks for trials, trains them, tells how they ended, until there are enough or it is late."""

import dataclasses
import json
import logging
import math
import pathlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import ml_collections

from data_pipelines.schema import locks
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.configs import base
from lcjax.parallel import launcher
from lcjax.runs import storage as run_storage
from lcjax.runs import workdir
from lcjax.sweep import check, config_text, page, process, spaces
from lcjax.sweep.process import Outcome
from lcjax.sweep.storage import Place
from lcjax.sweep.study import Declaration, Running, Study, Trial

_log = logging.getLogger("lcjax.sweep")

BEST = "best.py"
COMPILED = "compiled"
_CHECKPOINTS = "checkpoints"
_PAGE_EVERY = 60  # seconds

# Trains in a folder, as `process.train`: (folder, scores -> enough?, () -> asked to stop?) -> how it ended.
Runner = Callable[[pathlib.Path, Callable[[Sequence[float]], bool], Callable[[], bool]], Outcome]


@dataclasses.dataclass(frozen=True)
class Limits:
    """When a worker ends.

    Attributes:
      trials: that the study is to have, of all workers; None for no limit.
      hours: that this worker may take; None for no limit.
    """

    trials: int | None = None
    hours: float | None = None


class _Clock:
    """What asks a worker to end: SIGTERM, or its time."""

    def __init__(self, hours: float | None):
        self._end = time.monotonic() + hours * 3600 if hours is not None else math.inf
        self.signalled = False

    def is_over(self) -> bool:
        return self.signalled or time.monotonic() >= self._end

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes SIGTERM for a wish, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda *_: setattr(self, "signalled", True))
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def sweep(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    lines: Mapping[str, str],
    limits: Limits,
    *,
    storage: str = "",
    sampler: str = "tpe",
    pruner: str = "median",
    keep: str = "best",
    runner: Runner | None = None,
    look: Callable[..., check.Found] = check.check,
) -> Trial | None:
    """Searches the fields of a config, or goes on where an earlier call with the same arguments was stopped.

    Args:
      config: whose fields are searched.
      folder: of the study; made if it is not there.
      lines: the space, text by field (lcjax/sweep/spaces.py).
      limits: when this worker ends.
      storage: address of a database server; empty for a file in the folder.
      sampler: "tpe" or "random".
      pruner: "median", "hyperband" or "none".
      keep: "best" removes the checkpoints of all other trials that have ended, "all" keeps them.
      runner: trains a trial; by default in a process of its own.
      look: looks whether the config can be searched.

    Returns:
      The best trial so far; None where none is done.

    Raises:
      InputError: something of this does not go together, the storage cannot be reached, or every trial failed.
      launcher.Stopped: the worker was asked to stop by SIGTERM; its trial can go on.
    """
    run_storage.check_name(folder, "--study")
    space = spaces.parse(lines, config)
    check.check_named(config)
    declaration = Declaration(json.loads(config.to_json()), dict(lines), sampler, pruner)
    study = _opened(config, folder, Place(folder, storage), space, declaration, look)
    high = "low" if study.declaration.lower_is_better else "high"
    _log.info(
        f"{folder}: {study.declaration.monitor} of the validation split is to be {high}; trials are told of in "
        f"{study.place.shown}"
    )
    run, clock = runner or _training(study), _Clock(limits.hours)
    with clock.listening():
        while not clock.is_over():
            with _taken(study, limits.trials, config) as trial:
                if trial is None:
                    break
                if _run(study, trial, config, run, clock.is_over).state == "stopped":
                    clock.signalled = clock.signalled or not clock.is_over()  # somebody asked the training alone
                    _log.info(f"trial {trial.number}: stopped; the same command goes on with it")
                    break
            _write(study, config, keep, _PAGE_EVERY)
    best = _write(study, config, keep)
    if clock.signalled:
        raise launcher.Stopped
    trials = study.trials()
    if trials and all(trial.state == "failed" for trial in trials):
        last = trials[-1]
        raise InputError(
            f"{folder}: all {len(trials)} trials failed; the last, trial {last.number}: {last.reason}; what it printed "
            f"is in {study.folder_of(last.number) / process.OUTPUT}"
        )
    _log.info(_ending(study, trials, best))
    return best


def shown(values: Mapping[str, object]) -> str:
    """Values of fields as text."""
    return ", ".join(
        f"{field} {value:.4g}" if isinstance(value, float) else f"{field} {value}" for field, value in values.items()
    )


def _opened(
    config: ml_collections.ConfigDict,
    folder: pathlib.Path,
    place: Place,
    space: spaces.Space,
    declaration: Declaration,
    look: Callable[..., check.Found],
) -> Study:
    """The study, after a first worker has looked whether the config can be searched."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / workdir.CONFIG).is_file():
            raise InputError(f"{folder}: the workdir of a run; choose another --study")
        study = Study(folder, place, space, declaration)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); choose another --study") from error
    if not study.is_declared:
        _log.info(f"{folder}: the config is tried out, with each end and choice of the space")
        found = look(config, declaration.space, folder / COMPILED)
        study.declare(dataclasses.replace(declaration, **dataclasses.asdict(found)))
    return study


def _training(study: Study) -> Runner:
    def run(folder: pathlib.Path, seen: Callable[[Sequence[float]], bool], stop: Callable[[], bool]) -> Outcome:
        return process.train(folder, study.folder / COMPILED, study.declaration.monitor, seen, stop)

    return run


@contextmanager
def _taken(study: Study, most: int | None, config: ml_collections.ConfigDict) -> Iterator[Running | None]:
    """A trial that is this worker's alone within the context; None where there are enough."""
    with ExitStack() as lock:
        with study.turn():
            if (trial := study.next(most, config)) is not None:
                lock.enter_context(locks.held(study.lock_of(trial.number), trial.folder, doing="running"))
        yield trial


def _run(
    study: Study, trial: Running, config: ml_collections.ConfigDict, run: Runner, is_over: Callable[[], bool]
) -> Outcome:
    """Runs a trial, and tells the study how it ended unless it was stopped."""
    _log.info(f"trial {trial.number}{' goes on' if trial.resumed else ''}: {shown(trial.drawn)}")
    trial.folder.mkdir(parents=True, exist_ok=True)
    of_trial = _config_of(study, trial.drawn, config)
    config_text.write(trial.folder / process.CONFIG, of_trial, f"Trial {trial.number} of {study.name}.")
    outcome = run(trial.folder, trial.report, is_over)
    best = study.declaration.best_of(trial.scores)
    if outcome.state == "done" and best is None:
        outcome = Outcome("failed", f"it ended without a {study.declaration.monitor}")
    if outcome.state != "stopped":
        trial.end(outcome.state, math.nan if best is None else best, outcome.reason, by_itself=outcome.by_itself)
        score = "no score" if best is None else f"{study.declaration.monitor} {best:.4f}"
        told = {"done": score, "pruned": f"pruned at evaluation {len(trial.scores)}, {score}"}
        _log.info(f"trial {trial.number}: {told.get(outcome.state, f'failed: {outcome.reason}')}")
    return outcome


def _config_of(
    study: Study, drawn: Mapping[str, object], config: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    changed = config.copy_and_resolve_references()
    base.assign(changed, spaces.values(study.space, drawn))
    return changed


def _write(study: Study, config: ml_collections.ConfigDict, keep: str, every: float = 0) -> Trial | None:
    """Writes what there is to see of a study so far, and removes the checkpoints that nobody needs.

    Args:
      study: of which the best trial is returned.
      config: that it is of.
      keep: as of `sweep`.
      every: seconds in which the page, whose pictures take some, is not written again.
    """
    shown_in = study.folder / page.FILE
    with study.turn():
        trials, best = study.trials(), study.best()
        if not shown_in.exists() or time.time() - shown_in.stat().st_mtime >= every:
            for name, text in page.render(study, trials, best).items():
                write_atomically(study.folder / name, text)
        if best is not None:
            config_text.write(study.folder / BEST, _config_of(study, best.drawn, config), _doc(study, best))
        for trial in trials:
            needed = (
                keep == "all"
                or trial.state == "running"
                or not trial.here
                or (best is not None and trial.number == best.number)
            )
            if not needed:
                shutil.rmtree(study.folder_of(trial.number) / _CHECKPOINTS, ignore_errors=True)
    return best


def _doc(study: Study, best: Trial) -> str:
    score = f"{study.declaration.monitor} {best.score:.4f}"
    return f"The best of {study.name}: trial {best.number}, {score} on the validation split.\n\n  {shown(best.drawn)}\n"


def _ending(study: Study, trials: Sequence[Trial], best: Trial | None) -> str:
    states = [trial.state for trial in trials]
    counted = ", ".join(f"{states.count(state)} {state}" for state in page.STATES if state in states)
    lines = [f"{study.folder}: {len(trials)} trials: {counted or 'none'}; page: {study.folder / page.FILE}"]
    if best is not None:
        monitor = study.declaration.monitor
        where = best.folder if best.here else "in the folder of another worker"
        lines.append(f"best: trial {best.number}, {monitor} {best.score:.4f}: {shown(best.drawn)}")
        lines.append(f"its config: {study.folder / BEST}, for `lcjax train --config=`; its workdir: {where}")
    return "\n".join(lines)
