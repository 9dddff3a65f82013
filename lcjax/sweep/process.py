"""Trials as processes of their own: `lcjax train` with a config file, watched by the metrics that it writes.

A process for each trial, so that what one leaves in memory, or how one ends, is nothing to the next. The training knows
nothing of the study: scores are read from its metrics.jsonl.
"""

import dataclasses
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from data_pipelines.schema.errors import InputError
from lcjax.parallel import launcher
from lcjax.runs import workdir

OUTPUT = "output.log"
CONFIG = "config.py"
_POLL = 0.3  # seconds
_TAIL = 2**16  # bytes of the output that its end is looked for in
_SAID = re.compile(r"^lcjax train: (.+)$", re.MULTILINE)
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(?:Error|Exception|Interrupt)\b.*$", re.MULTILINE)
_NO_MEMORY = re.compile(r"RESOURCE_EXHAUSTED|MemoryError|Out of memory|out of memory")
_DIVERGED = 3  # exit code of `lcjax train`


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
      state: "done"; "pruned", as its scores were too low; "failed"; or "stopped", and it can go on.
      reason: why it failed.
      by_itself: whether it failed by what was tried in it: it diverged, or took too much memory.
    """

    state: Literal["done", "pruned", "failed", "stopped"]
    reason: str = ""
    by_itself: bool = False


def start(module: str, arguments: Sequence[str], compiled: pathlib.Path, **how) -> subprocess.Popen:
    """Starts `python -m MODULE`, which ends with this process, and imports what this process would.

    Args:
      module: to run.
      arguments: of it.
      compiled: folder for what JAX compiles, unless the environment names one.
      how: further arguments of subprocess.Popen.
    """
    cache = {"JAX_COMPILATION_CACHE_DIR": str(compiled.absolute() / platform.node())}
    path = {"PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path)}
    environment: Mapping[str, str] = cache | os.environ | path | launcher.with_parent()
    # In a session of its own: Ctrl-C at the terminal is for this process alone, which then asks it to save.
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments], env=environment, start_new_session=True, **how
    )


def train(
    folder: pathlib.Path,
    compiled: pathlib.Path,
    monitor: str,
    seen: Callable[[Sequence[float]], bool],
    asked_to_stop: Callable[[], bool],
) -> Outcome:
    """Trains the config in a folder, which is its workdir, to the end; or goes on where an earlier call was stopped.

    Args:
      folder: holds config.py.
      compiled: folder for what JAX compiles.
      monitor: the score that is looked at.
      seen: is given all scores of the run so far, whenever there is a new one, and says whether that is enough of it.
      asked_to_stop: whether the trial is to save and end, to go on later.
    """
    arguments = ["train", f"--config={folder / CONFIG}", f"--workdir={folder}", "--distributed=off"]
    known, file = 0, _Changes(folder / workdir.METRICS)
    with (folder / OUTPUT).open("ab") as output:
        begun = output.tell()
        process = start("lcjax", arguments, compiled, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while True:
                code = process.poll()
                scores = read_scores(folder, monitor) if file.has_changed() else []
                if len(scores) > known:
                    known = len(scores)
                    if seen(scores):
                        return Outcome("pruned")
                if code is not None:
                    return _outcome(code, folder / OUTPUT, begun)
                if asked_to_stop():
                    process.send_signal(signal.SIGTERM)
                    process.wait()
                    continue
                time.sleep(_POLL)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
        finally:
            process.kill()
            process.wait()


class _Changes:
    """Whether a file is another one than when it was last asked."""

    def __init__(self, path: pathlib.Path):
        self._path, self._seen = path, (0, 0, 0)

    def has_changed(self) -> bool:
        try:
            about = self._path.stat()
        except FileNotFoundError:
            return False
        before, self._seen = self._seen, (about.st_ino, about.st_size, about.st_mtime_ns)
        return self._seen != before


def read_scores(folder: pathlib.Path, monitor: str) -> list[float]:
    """The scores of a run, one for each evaluation so far; NaN where one was not finite."""
    rows = [row for row in workdir.read_metrics(folder) if row["split"] == "validation"]
    return [float("nan") if row.get(monitor) is None else float(row[monitor]) for row in rows]


def _outcome(code: int, output: pathlib.Path, begun: int) -> Outcome:
    if code == 0:
        return Outcome("done")
    if code in (launcher.STOPPED, -signal.SIGTERM):  # the latter before the training took the signal over
        return Outcome("stopped")
    with output.open("rb") as file:
        file.seek(max(begun, file.seek(0, os.SEEK_END) - _TAIL))
        said = file.read().decode(errors="replace")
    if code == -signal.SIGKILL:
        return Outcome("failed", "killed by SIGKILL, most often for want of memory", by_itself=True)
    if code < 0:
        return Outcome("failed", f"ended by {signal.Signals(-code).name}: {_last(said)}")
    if code == _DIVERGED:
        return Outcome("failed", f"diverged: {_last(said)}", by_itself=True)
    if code == 1 and _NO_MEMORY.search(said):
        return Outcome("failed", f"out of memory: {_last(said)}", by_itself=True)
    return Outcome("failed", _last(said))


def _last(said: str) -> str:
    """What a process said last of why it ended."""
    found = _SAID.findall(said) or _RAISED.findall(said) or [line for line in said.splitlines() if line.strip()]
    return " ".join(found[-1].split())[:500] if found else "it said nothing"


def output(module: str, arguments: Sequence[str], compiled: pathlib.Path, timeout: float) -> bytes:
    """What `python -m MODULE` writes to stdout; arguments as of `start`.

    Raises:
      InputError: it has not ended well, or not within `timeout` seconds.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(module, arguments, compiled, **pipes)
    try:
        said, cried = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"the config could not be tried out within {timeout:g} s") from error
    finally:
        process.kill()
        process.wait()
    if process.returncode:
        raise InputError(f"the config could not be tried out: {_last(cried.decode(errors='replace'))}")
    return said
