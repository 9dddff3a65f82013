"""Goodput: the share of a run's wall time that went into steps that were kept, from WORKDIR/attempts.jsonl."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping
from typing import TypedDict

from data_pipelines.schema import schema_version, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Count, Ordinal, Seconds
from lcjax.parallel import multihost
from lcjax.runs import SCHEMA_VERSION
from lcjax.runs.timer import duration

FILE = "attempts.jsonl"
_REMEDY = "put back what it was, or delete it: it tells of times alone"
# Order of the activities on the terminal, after the steps that were kept.
_ORDER = ("compile", "data", "evaluate", "checkpoint", "start")


class Attempt:
    """Appends to attempts.jsonl what one start of a run spends. Of several processes, only process 0 has one.

    The file is opened and closed for each line: a kill costs at most one line, and a mounted bucket, which stores a
    file when it is closed, has all lines before.
    """

    def __init__(self, path: pathlib.Path, started: float, first_step: int):
        """Appends the first line of an attempt.

        Args:
          path: of attempts.jsonl.
          started: when the process started, unix seconds.
          first_step: number of steps that were done before.
        """
        self._path = path
        text = _content(path) if path.exists() else ""
        self._number = 1 + max((record["attempt"] for record in _records(path, text)), default=0)
        newline = "\n" if text and not text.endswith("\n") else ""  # ends the line that a kill cut in half
        first = {"started": started, "first_step": first_step}
        self._append(schema_version.stamp(first, SCHEMA_VERSION), before=newline)
        # From here on a clock that nobody can set.
        self._begun, self._mark = max(started, time.time()), time.perf_counter()

    def seen(self, step: int, seconds: Mapping[str, float]) -> None:
        """Appends that all steps up to `step` are done, and `seconds` were spent by activity since the start."""
        now = self._begun + time.perf_counter() - self._mark
        self._append({"seen": now, "step": step, "seconds": dict(seconds)})

    def _append(self, record: dict, before: str = "") -> None:
        with self._path.open("a") as file:
            file.write(f"{before}{json.dumps({'attempt': self._number} | record)}\n")


class Unrecorded(Attempt):
    """The attempt of a process that writes nothing."""

    def __init__(self) -> None:
        """Opens no file."""
        self._begun = self._mark = 0.0

    def _append(self, record: dict, before: str = "") -> None:
        pass


def begin(workdir: pathlib.Path, started: float, first_step: int) -> Attempt:
    """Begins an attempt, which process 0 alone records.

    Args:
      workdir: of the run.
      started: when the process started, unix seconds.
      first_step: number of steps that were done before.
    """
    recorded = multihost.is_main_process()
    return Attempt(workdir / FILE, started, first_step) if recorded else Unrecorded()


@dataclasses.dataclass(frozen=True)
class Summary:
    """Seconds that all attempts of a run took; each attempt counts from its start to its last record.

    Attributes:
      wall: from the start to the last record, summed over the attempts.
      seconds: activity -> seconds; "step" includes steps that were computed again.
      again: seconds of steps that a later attempt had to compute again.
      restarts: number of attempts - 1.
      between: from the last record of an attempt to the start of the next; not part of `wall`.
    """

    wall: float
    seconds: dict[str, float]
    again: float
    restarts: int
    between: float

    @property
    def kept(self) -> float:
        """Seconds of steps that count."""
        return self.seconds.get("step", 0.0) - self.again

    @property
    def goodput(self) -> float:
        """Share of the wall time spent on steps that were kept; 0 where no time was recorded."""
        return self.kept / self.wall if self.wall else 0.0

    @property
    def other(self) -> float:
        """Seconds that no activity accounts for."""
        return max(0.0, self.wall - sum(self.seconds.values()))


def summary(path: pathlib.Path) -> Summary:
    """Sums up all attempts of a run.

    Args:
      path: of attempts.jsonl.

    Raises:
      InputError: there is no such file, it is of another schema_version, or a line is not what it must be.
    """
    attempts: dict[int, list[dict]] = {}
    for record in _records(path, _content(path)):
        attempts.setdefault(record["attempt"], []).append(record)
    wall = again = between = 0.0
    seconds: dict[str, float] = {}
    earliest: float | None = None  # lowest first step of all later attempts
    following: float | None = None  # start of the next attempt
    for _, (start, *rest) in sorted(attempts.items(), reverse=True):
        if "started" not in start or any("started" in record for record in rest):
            raise InputError(f"{path}: attempt {start['attempt']}: expected one line of its start, first; {_REMEDY}")
        last = rest[-1] if rest else {"seen": start["started"], "step": start["first_step"], "seconds": {}}
        # Where somebody has set the clock back, what was measured in between counts.
        wall += max(last["seen"] - start["started"], sum(last["seconds"].values()))
        for activity, spent in last["seconds"].items():
            seconds[activity] = seconds.get(activity, 0.0) + spent
        done = last["step"] - start["first_step"]
        kept = done if earliest is None else min(done, max(0, earliest - start["first_step"]))
        again += last["seconds"].get("step", 0.0) * (1 - kept / done if done else 1)
        between += max(0.0, following - last["seen"]) if following is not None else 0.0
        earliest = min(start["first_step"], earliest) if earliest is not None else start["first_step"]
        following = start["started"]
    return Summary(wall, seconds, again, max(0, len(attempts) - 1), between)


def line(total: Summary) -> str:
    """Formats a summary as one line for the terminal, without activities below half a second."""
    others = {name: total.seconds.get(name, 0.0) for name in (*_ORDER, *sorted({*total.seconds} - {*_ORDER, "step"}))}
    spent = others | {"other": total.other, "computed again": total.again}
    shown = [f"steps {duration(total.kept)}", *(f"{name} {duration(s)}" for name, s in spent.items() if round(s))]
    restarts = f"{total.restarts} restart{'' if total.restarts == 1 else 's'}"
    waited = f", {duration(total.between)} between attempts" if round(total.between) else ""
    return f"goodput {total.goodput:.2f}: {', '.join(shown)}; {restarts}{waited}"


class _Start(TypedDict):
    """The first line of an attempt."""

    attempt: Ordinal
    started: Seconds
    first_step: Count


class _Seen(TypedDict):
    """A later one."""

    attempt: Ordinal
    seen: Seconds
    step: Count
    seconds: dict[str, Seconds]


def _content(path: pathlib.Path) -> str:
    try:
        return typed_json.content(path, _REMEDY, f"the {FILE} of a workdir that `lcjax train` wrote").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); {_REMEDY}") from error


def _records(path: pathlib.Path, text: str) -> list[dict]:
    """Returns the records of all complete lines.

    A kill cuts the last line of an attempt in half. Such a line is no JSON and is left out, where nothing follows or a
    new attempt. Raises InputError for other lines that are not what they must be.
    """
    records: list[dict] = []
    cut = ""  # what is wrong with the line before
    for number, line in enumerate(text.splitlines(), 1):
        source = f"{path}, line {number}"
        try:
            fields = typed_json.parse(line, source, _REMEDY)
        except InputError as error:
            if cut:
                raise InputError(cut) from error
            cut = str(error)
            continue
        first = isinstance(fields, dict) and "started" in fields
        if cut and not first:
            raise InputError(cut)
        cut = ""
        if first:
            fields = schema_version.check(fields, SCHEMA_VERSION, source, _REMEDY)
        records.append(typed_json.convert(fields, _Start if first else _Seen, source, _REMEDY))  # type: ignore[arg-type]
    return records
