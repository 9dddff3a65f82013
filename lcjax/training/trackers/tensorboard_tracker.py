"""TensorBoard: event files in WORKDIR/tensorboard, written without TensorFlow."""

import struct
from collections.abc import Mapping
from typing import Any

from tensorboardX import SummaryWriter
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.summary import hparams

from lcjax.training.trackers.interface import Picture, Run, Tracker


class TensorBoard(Tracker):
    """Event files in WORKDIR/tensorboard; look at them with `tensorboard --logdir`."""

    rewinds = True

    def __init__(self, run: Run):
        self._board = SummaryWriter(str(run.workdir / "tensorboard"), purge_step=run.step + 1)
        experiment, begun, self._over = hparams(_plain(run.config), {f"validation/{run.monitor}": 0})
        if not run.step:
            # In the files of the curves, where the table finds the scores; add_hparams would begin others.
            self._board.file_writer.add_summary(experiment)
            self._board.file_writer.add_summary(begun)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes each as a point of its curve."""
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, picture: Picture) -> None:
        """Writes the PNG as it is."""
        width, height = struct.unpack(">II", picture.png[16:24])  # of its header
        image = Summary.Image(height=height, width=width, colorspace=4, encoded_image_string=picture.png)
        self._board.file_writer.add_summary(Summary(value=[Summary.Value(tag=picture.name, image=image)]), step)

    def close(self, *, ended: bool) -> None:
        """Writes what is left, and that the run is over."""
        if ended:
            self._board.file_writer.add_summary(self._over)
        self._board.close()


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the table of hyperparameters takes them: numbers and text."""
    return {name: value if isinstance(value, bool | int | float) else str(value) for name, value in config.items()}
