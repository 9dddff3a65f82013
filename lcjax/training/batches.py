"""Training batches on the devices, one at a time."""

import jax

from lcjax.engine.experiment import Experiment
from lcjax.runs.timer import Timer


class Batches:
    """The endless stream of training batches from a position on."""

    def __init__(self, experiment: Experiment, position: int, timer: Timer):
        self._experiment, self._timer = experiment, timer
        self._stream = experiment.train_batches(position)
        self._next: dict[str, jax.Array] | None = None

    def peek(self) -> dict[str, jax.Array]:
        """Returns the next batch, and leaves it the next one; the time that it is waited for counts as "data"."""
        if self._next is None:
            with self._timer.measure("data"):
                self._next = self._experiment.global_batch(next(self._stream))
        return self._next

    def take(self) -> dict[str, jax.Array]:
        """Returns the next batch, and keeps no hold of its memory."""
        batch, self._next = self.peek(), None
        return batch

    def close(self) -> None:
        """Ends the processes that read."""
        self._stream.close()
