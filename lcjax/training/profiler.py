"""Traces of single steps, for XProf and Perfetto: what the devices and the host did when."""

import pathlib
import re

import jax

from data_pipelines.schema.errors import InputError
from lcjax.parallel import multihost

_log = multihost.shared_logger(__name__)

FOLDER = "profile"  # in the workdir


class Trace:
    """A trace of the steps FIRST to LAST, of process 0; of no step where none is asked for."""

    def __init__(self, asked: str, folder: pathlib.Path):
        """`asked` is "FIRST:LAST", steps from 1, or ""; raises InputError for anything else."""
        found = re.fullmatch(r"(\d+):(\d+)", asked)
        if asked and not (found and 1 <= int(found[1]) <= int(found[2])):
            raise InputError(f"--profile={asked}: expected FIRST:LAST, steps from 1, e.g. --profile=10:14")
        self._first, self._last = (int(found[1]), int(found[2])) if found and multihost.is_main_process() else (0, 0)
        self._asked, self._folder = asked, folder / FOLDER
        self._running, self._begun = False, False

    def before(self, step: int) -> None:
        """To be called before the step of this number is started."""
        if step == self._first:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # calls in Python are so many that steps fall out of the trace
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True, profiler_options=options)
            self._running = self._begun = True

    def after(self, step: int, results) -> None:
        """To be called when it was started; `results` are what the trace waits for before it ends."""
        if self._running and step == self._last:
            jax.block_until_ready(results)
            self._stop()

    def _stop(self) -> None:
        self._running = False
        jax.profiler.stop_trace()
        _log.info(f"traced: {self._folder}; how to look at it: docs/launching.md")

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *_) -> None:
        if self._running:  # the run ended before the last step that was asked for
            self._stop()
        if self._asked and not self._begun:
            _log.warning(f"--profile={self._asked}: nothing is traced; this start of the run had no such step")
