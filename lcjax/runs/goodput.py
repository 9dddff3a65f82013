"""What each start of a run spent (WORKDIR/attempts.jsonl), and the share of it that went into steps that were kept."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping

from data_pipelines.schema.errors import InputError
from lcjax.parallel import multihost
from lcjax.runs.timer import duration

FILE = "attempts.jsonl"
# As the terminal shows them; "step" stands first, as the steps that were kept.
_ORDER = ("compile", "data", "evaluate", "checkpoint", "start")


class Attempt:
    """Appends what one start of a run spends. Of several processes, only process 0 has one.

    Each record is one line, written at once and closed: a kill costs at most the line that it falls into, and a mounted
    bucket, which stores a file when it is closed, has all lines before.
    """

    def __init__(self, path: pathlib.Path, started: float, first_step: int):
        """An attempt that began at `started` (unix seconds, the start of the process) and goes on from `first_step`."""
        self._path = path
        text = path.read_text() if path.is_file() else ""
        self._number = 1 + max((record["attempt"] for record in _records(text)), default=0)
        half = "\n" if text and not text.endswith("\n") else ""
        self._append({"started": started, "first_step": first_step}, before=half)

    def seen(self, step: int, seconds: Mapping[str, float]) -> None:
        """The attempt has now done all steps up to `step`, and spent `seconds` by activity since it began."""
        self._append({"seen": time.time(), "step": step, "seconds": dict(seconds)})

    def _append(self, record: dict, before: str = "") -> None:
        with self._path.open("a") as file:
            file.write(f"{before}{json.dumps({'attempt': self._number} | record)}\n")


class Unrecorded(Attempt):
    """Stands for the attempt in processes that write nothing."""

    def __init__(self):
        pass

    def _append(self, record: dict, before: str = "") -> None:
        pass


def begin(workdir: pathlib.Path, started: float, first_step: int) -> Attempt:
    """The attempt of a start of a run in this workdir: recorded by process 0 alone."""
    recorded = multihost.is_main_process()
    return Attempt(workdir / FILE, started, first_step) if recorded else Unrecorded()


@dataclasses.dataclass(frozen=True)
class Summary:
    """All attempts of a run, in seconds; of each attempt what lies between its start and its last record.

    Attributes:
      wall: sum over the attempts of last record - start.
      seconds: by activity; "step" holds all steps, those that were computed again included.
      again: of the seconds of steps, those of steps that a later attempt had to compute again.
      restarts: attempts - 1.
      between: from the last record of an attempt to the start of the next; no part of `wall`.
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
        """Share of the wall time that went into steps that were kept; 0 where no time was recorded."""
        return self.kept / self.wall if self.wall else 0.0

    @property
    def other(self) -> float:
        """What no activity accounts for."""
        return max(0.0, self.wall - sum(self.seconds.values()))


def summary(path: pathlib.Path) -> Summary:
    """What all attempts of a run spent. Raises InputError where there is no such file."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the {FILE} of a workdir that `lcjax train` wrote")
    attempts: dict[int, list[dict]] = {}
    for record in _records(path.read_text()):
        attempts.setdefault(record["attempt"], []).append(record)
    wall = again = between = 0.0
    seconds: dict[str, float] = {}
    earliest: float | None = None  # the step that the attempts after this one began at, the lowest of them
    following: float | None = None  # when the next one began
    for _, (start, *rest) in sorted(attempts.items(), reverse=True):
        last = rest[-1] if rest else {"seen": start["started"], "step": start["first_step"], "seconds": {}}
        wall += last["seen"] - start["started"]
        for activity, spent in last["seconds"].items():
            seconds[activity] = seconds.get(activity, 0.0) + spent
        done = last["step"] - start["first_step"]
        kept = done if earliest is None else min(done, max(0, earliest - start["first_step"]))
        again += last["seconds"].get("step", 0.0) * (1 - kept / done if done else 1)
        between += max(0.0, following - last["seen"]) if following is not None else 0.0
        earliest = min(start["first_step"], earliest) if earliest is not None else start["first_step"]
        following = start["started"]
    return Summary(wall, seconds, again, max(0, len(attempts) - 1), between)


def line(found: Summary) -> str:
    """One line for the terminal; activities below half a second are left out."""
    others = {name: found.seconds.get(name, 0.0) for name in (*_ORDER, *sorted({*found.seconds} - {*_ORDER, "step"}))}
    spent = others | {"other": found.other, "computed again": found.again}
    shown = [f"steps {duration(found.kept)}", *(f"{name} {duration(s)}" for name, s in spent.items() if round(s))]
    restarts = f"{found.restarts} restart{'' if found.restarts == 1 else 's'}"
    waited = f", {duration(found.between)} between attempts" if round(found.between) else ""
    return f"goodput {found.goodput:.2f}: {', '.join(shown)}; {restarts}{waited}"


def _records(text: str) -> list[dict]:
    """Its whole lines; one that a kill cut in half is no JSON, and is ignored."""
    found = []
    for row in text.splitlines():
        try:
            found.append(json.loads(row))
        except json.JSONDecodeError:
            continue
    return found
