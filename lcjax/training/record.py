"""What a run logs: metrics.jsonl, and what the trackers of its config make of it."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from types import TracebackType

from lcjax.engine.experiment import Experiment
from lcjax.parallel import multihost
from lcjax.runs import config_fields, workdir
from lcjax.runs.progress import Progress
from lcjax.training.trackers import dispatch
from lcjax.training.trackers.interface import Picture, Run, Tracker


def tell_missed(folder: pathlib.Path, experiment: Experiment, step: int, found: Mapping[str, type[Tracker]]) -> None:
    """Tells the trackers of a run that has ended what they have missed; all processes call it.

    Args:
      folder: the workdir.
      experiment: of the run.
      step: its last.
      found: its trackers by name.

    Raises:
      InputError: what the run left is damaged.
    """
    with multihost.raise_on_all() as is_main:
        history = workdir.read_metrics(folder) if is_main else []
        missing = dispatch.behind(found, folder, history)
        dispatch.Trackers(missing, _followed(folder, experiment, step), history).close(ended=True)


def _followed(folder: pathlib.Path, experiment: Experiment, step: int) -> Run:
    """What trackers are told of a run."""
    fields = {name: one for name, one in config_fields.flat(experiment.config).items() if name != "data_dir"}
    return Run(folder.absolute(), fields, experiment.monitor.name, step)


class Record:
    """The record of a run: each step of each split goes to metrics.jsonl, then to the trackers."""

    def __init__(
        self,
        folder: pathlib.Path,
        experiment: Experiment,
        step: int,
        progress: Progress,
        found: Mapping[str, type[Tracker]],
    ):
        """Opens it, and drops what the run writes again; all processes call it, and process 0 writes.

        Args:
          folder: the workdir.
          experiment: of the run.
          step: that the run goes on from.
          progress: of the run.
          found: its trackers by name.

        Raises:
          InputError: what an earlier start left is damaged.
        """
        self._progress, self._held = progress, contextlib.ExitStack()
        run = _followed(folder, experiment, step)
        with multihost.raise_on_all() as is_main:
            self._log = self._held.enter_context(workdir.Log(folder, step, progress.evaluated))
            self._trackers = dispatch.Trackers(found if is_main else {}, run, self._log.kept)

    def write(
        self,
        step: int,
        split: str,
        values: dict[str, float],
        times: Mapping[str, float] | None = None,
        pictures: Sequence[Picture] = (),
    ) -> None:
        """Records one step of one split.

        Args:
          step: number of steps done.
          split: "train" or "validation".
          values: by name.
          times: rates and seconds, for trackers alone.
          pictures: for trackers alone.
        """
        self._log.write(step, split, values)
        self._trackers.write(step, split, values, times or {}, pictures)

    def __enter__(self) -> "Record":
        """Returns itself."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Closes the file, and lets the trackers send what they have."""
        self._held.close()
        self._trackers.close(ended=bool(self._progress.ended))
