"""Hands what a run logs to its trackers, each in a thread of its own: none can lose the run, nor slow a step."""

import dataclasses
import json
import logging
import math
import pathlib
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec

from data_pipelines.schema import names, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.typed_json import Count
from lcjax.parallel import launcher
from lcjax.runs import SCHEMA_VERSION
from lcjax.training.trackers.interface import Picture, Run, Tracker

_log = logging.getLogger(__name__)

FILE = "trackers.json"  # of the workdir
PATIENCE = 30.0  # seconds that the end of a run waits for trackers
_MOST_WAITING = 1000  # rows that one of them may be behind
_REMEDY = "put back what it was, or delete it: trackers then begin the run anew"


class Known(TypedDict):
    """What a tracker is known to hold of a run.

    The run's id there, split -> last step that it was told, and whether that is in a record of that start alone.
    """

    id: Annotated[str, msgspec.Meta(max_length=200)]
    told: dict[str, Count]
    alone: bool


class _Fields(TypedDict):
    """What trackers.json holds: name of a tracker -> what it holds."""

    trackers: dict[str, Known]


class _Row(NamedTuple):
    """One step of one split, as metrics.jsonl has it, with rates and pictures that it has not."""

    step: int
    split: str
    values: Mapping[str, float]
    pictures: Sequence[Picture] = ()


class Trackers:
    """All trackers of a run, in process 0; elsewhere there are none."""

    def __init__(self, found: Mapping[str, type[Tracker]], run: Run, history: Sequence[Mapping]):
        """Starts a thread for each.

        Args:
          found: of `registry.named`.
          run: what they follow; each is told its own id.
          history: the rows of metrics.jsonl of earlier starts that still count.

        Raises:
          InputError: trackers.json is damaged.
        """
        self._notes = _Notes(run.workdir / FILE)
        self._lines = [_Line(name, tracker, run, history, self._notes) for name, tracker in found.items()]
        for line in self._lines:
            line.start()

    def write(
        self,
        step: int,
        split: str,
        values: Mapping[str, float],
        times: Mapping[str, float],
        pictures: Sequence[Picture] = (),
    ) -> None:
        """Hands on one step of one split; returns at once.

        Args:
          step: number of steps done.
          split: "train" or "validation".
          values: of metrics.jsonl.
          times: rates and seconds.
          pictures: of this step.
        """
        row = _Row(step, split, _named(split, values) | {f"clock/{name}": one for name, one in times.items()}, pictures)
        for line in self._lines:
            line.take(row)

    def close(self, *, ended: bool) -> None:
        """Waits until they have sent what they have, though not for ever; `ended` tells that the run is over."""
        deadline = time.monotonic() + PATIENCE
        for line in self._lines:
            line.finish(ended=ended)
        for line in self._lines:
            line.join(max(0.0, deadline - time.monotonic()))
            if line.is_alive():
                line.give_up(f"has not taken everything within {PATIENCE:.0f} s")


def behind(found: Mapping[str, type[Tracker]], folder: pathlib.Path, history: Sequence[Mapping]) -> dict[str, Any]:
    """The trackers that were not told all rows of a run, by name.

    Args:
      found: of `registry.named`.
      folder: the workdir.
      history: the rows of metrics.jsonl.

    Raises:
      InputError: trackers.json is damaged.
    """
    notes = _Notes(folder / FILE)
    return {
        name: tracker
        for name, tracker in found.items()
        if (
            not tracker.has_record(folder)
            if tracker.rewinds
            else any(row["step"] > notes.of(name)["told"].get(row["split"], -1) for row in history)
        )
    }


def _named(split: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in values.items()}


class _Notes:
    """trackers.json: what trackers hold that do not tell. Nothing is written where there are none."""

    def __init__(self, path: pathlib.Path):
        self._path, self._lock = path, threading.Lock()
        self._known: dict[str, Known] = {}
        if path.exists():
            self._known = schema_version.read_json(path, _Fields, SCHEMA_VERSION, _REMEDY)["trackers"]

    def of(self, name: str) -> Known:
        """What is noted of a tracker."""
        return self._known.get(name) or Known(id="", told={}, alone=False)

    def note(self, name: str, known: Known) -> None:
        """Writes what a tracker holds now."""
        with self._lock:
            self._known[name] = known
            fields = schema_version.stamp({"trackers": self._known}, SCHEMA_VERSION)
            write_atomically(self._path, json.dumps(fields, indent=1))


class _Line(threading.Thread):
    """One tracker, and the rows that wait for it."""

    def __init__(self, name: str, tracker: type[Tracker], run: Run, history: Sequence[Mapping], notes: _Notes):
        # Daemons: one that hangs keeps no process from ending.
        super().__init__(name=f"tracker {name}", daemon=True)
        self._tracker, self._followed, self._history, self._notes = tracker, run, history, notes
        self._label = name
        self._waiting: queue.Queue[_Row | None] = queue.Queue(_MOST_WAITING)
        self._gone = False
        self._ended = False

    def take(self, row: _Row) -> None:
        """Lets a row wait, unless the tracker is gone."""
        if self._gone:
            return
        try:
            self._waiting.put_nowait(row)
        except queue.Full:
            self.give_up(f"is {_MOST_WAITING:,} rows behind")

    def finish(self, *, ended: bool) -> None:
        """Asks for the end, after what waits."""
        self._ended = ended
        if not self._gone:
            try:
                self._waiting.put_nowait(None)
            except queue.Full:
                self.give_up(f"is {_MOST_WAITING:,} rows behind")

    def give_up(self, why: str) -> None:
        """Says once that the run goes on without the tracker."""
        if not self._gone:
            self._gone = True
            launcher.wait_for_nobody()
            again = "" if self._tracker.rewinds else "; the next start of the run tells it what it has missed"
            _log.warning(f"tracker {self._label}: {why}; the run goes on without it, metrics.jsonl has all{again}")

    def run(self) -> None:
        """Makes the tracker, and tells it row by row."""
        try:
            self._follow()
        except InputError as error:
            self.give_up(str(error))
        # Libraries of others, and their HTTP clients, have an error for each way of not answering.
        except Exception as error:
            said = names.printable(str(error).strip().partition("\n")[0])[:200]
            self.give_up(f"{type(error).__name__}: {said}" if said else type(error).__name__)

    def _follow(self) -> None:
        known = self._notes.of(self._label)
        tracker = self._tracker(dataclasses.replace(self._followed, id=known["id"]))
        same = tracker.id == known["id"] and not (tracker.begins_anew or known["alone"])
        told = {**known["told"], **tracker.holds} if same else {}
        if tracker.where:
            _log.info(f"tracker {self._label}: {tracker.where}")
        if (most := max(told.values(), default=0)) > self._followed.step:
            _log.info(f"tracker {self._label}: holds steps to {most} already, which it is not told again")
        if not tracker.rewinds:
            self._note(tracker, told)
        if not tracker.rewinds or tracker.begins_anew:
            for row in self._history:
                self._tell(tracker, told, _of_history(row))
        while not self._gone and (next_row := self._waiting.get()) is not None:
            self._tell(tracker, told, next_row)
        if not self._gone:
            tracker.close(ended=self._ended)

    def _tell(self, tracker: Tracker, told: dict[str, int], row: _Row) -> None:
        """Tells a row, unless the tracker holds it from an earlier start."""
        if self._gone or (not tracker.rewinds and row.step <= told.get(row.split, -1)):
            return
        finite = {name: value for name, value in row.values.items() if tracker.rewinds or math.isfinite(value)}
        tracker.scalars(row.step, finite)
        if not tracker.rewinds:
            told[row.split] = row.step
            self._note(tracker, told)
        for picture in row.pictures:
            tracker.picture(row.step, picture)

    def _note(self, tracker: Tracker, told: Mapping[str, int]) -> None:
        self._notes.note(self._label, Known(id=tracker.id, told=dict(told), alone=tracker.begins_anew))


def _of_history(row: Mapping) -> _Row:
    """A row of metrics.jsonl; a value that was not finite is null there."""
    values = {key: one for key, one in row.items() if key not in ("step", "split") and one is not None}
    return _Row(row["step"], row["split"], _named(row["split"], values))
