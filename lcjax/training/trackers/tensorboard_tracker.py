"""TensorBoard: event files in WORKDIR/tensorboard, written without TensorFlow."""

import pathlib
import struct
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams, scalar

from lcjax.training.trackers.interface import Picture, Run, Tracker

_FOLDER, _FILES = "tensorboard", "events"
_VERSION = "brain.Event:2"  # of the format


class TensorBoard(Tracker):
    """Event files in WORKDIR/tensorboard; look at them with `tensorboard --logdir`."""

    rewinds = True

    @classmethod
    def has_record(cls, workdir: pathlib.Path) -> bool:
        """Whether there are event files."""
        return any((workdir / _FOLDER).glob(f"{_FILES}.*"))

    def __init__(self, run: Run):
        self.begins_anew = not self.has_record(run.workdir)
        (run.workdir / _FOLDER).mkdir(exist_ok=True)
        # The file itself: the writer around it has a thread and a queue of its own, and a kill would lose what waits.
        # Its name has seconds; of two starts within one second, the nanoseconds too.
        self._file = EventsWriter(str(run.workdir / _FOLDER / _FILES), f".{time.time_ns() % 10**9:09}")
        # With these two the board forgets what earlier files hold from this step on.
        first = run.step + 1
        for begun in ({"file_version": _VERSION}, {"session_log": SessionLog(status=SessionLog.START)}):
            self._file.write_event(Event(wall_time=time.time(), step=first, **begun))
        experiment, session, self._over = hparams(_plain(run.config), {f"validation/{run.monitor}": 0})
        if self.begins_anew or not run.step:
            # In the files of the curves, where the table finds the scores.
            self._add(experiment)
            self._add(session)
        self._file.flush()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes each as a point of its curve."""
        for name, value in values.items():
            self._add(scalar(name, value), step)
        self._file.flush()

    def picture(self, step: int, picture: Picture) -> None:
        """Writes the PNG as it is."""
        width, height = struct.unpack(">II", picture.png[16:24])  # of its header
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=picture.png)
        self._add(Summary(value=[Summary.Value(tag=picture.name, image=image)]), step)
        self._file.flush()

    def close(self, *, ended: bool) -> None:
        """Writes what is left, and that the run is over."""
        if ended:
            self._add(self._over)
        self._file.close()

    def _add(self, summary: Summary, step: int = 0) -> None:
        self._file.write_event(Event(wall_time=time.time(), step=step, summary=summary))


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the table of hyperparameters takes them: numbers and text."""
    return {name: value if isinstance(value, bool | int | float) else str(value) for name, value in config.items()}
