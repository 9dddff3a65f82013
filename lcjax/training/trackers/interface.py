"""What a tracker is: one place that is told what a run logs."""

import abc
import dataclasses
import functools
import pathlib
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

_DRAWING = threading.Lock()  # one figure at a time, whichever trackers ask for it


@dataclasses.dataclass(frozen=True)
class Run:
    """What a tracker is told of the run that it follows.

    Attributes:
      workdir: its folder, from the root.
      config: its fields by dotted name.
      monitor: the validation score that chooses the best checkpoint, such as "mIoU_8".
      step: that this start of the run goes on from; 0 for a new one.
      id: what the tracker called the run at an earlier start (`Tracker.id`); "" where it did not know it.
    """

    workdir: pathlib.Path
    config: Mapping[str, Any]
    monitor: str
    step: int = 0
    id: str = ""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that is drawn when the first tracker asks for it.

    Attributes:
      name: such as "validation/confusion".
      draw: returns it as the bytes of a PNG.
    """

    name: str
    draw: Callable[[], bytes]

    @functools.cached_property
    def _drawn(self) -> bytes:
        return self.draw()

    @property
    def png(self) -> bytes:
        """The bytes of a PNG."""
        with _DRAWING:
            return self._drawn


class Tracker(abc.ABC):
    """One place that is told what a run logs.

    A tracker of your own is a subclass, named by its entry point in the group "lcjax.trackers" or by
    `--config.trackers=package.module:attribute`. Process 0 alone makes one, and calls it in a thread of its own, step
    by step: it may take its time. Whatever it raises is told once, and ends the tracker and not the run.

    Attributes:
      rewinds: whether it forgets by itself what an earlier start logged of steps that are computed again, and keeps
        at once what it is told; at a start it is told what it has missed only where it has no record of the run
        (`has_record`). Any other is not told again what it has been told, and at its start is told what it has missed.
      id: what finds the run again at its next start; "" where nothing need be found.
      begins_anew: whether this start has a record of its own, which is told the whole run.
      holds: of a run that it found again, split -> last step that it knows to hold; empty where it cannot tell.
      where: where a person looks at the run; "" where that need not be said.
    """

    rewinds: ClassVar[bool] = False
    id: str = ""
    begins_anew: bool = False
    holds: Mapping[str, int] = {}
    where: str = ""

    @classmethod
    def check(cls) -> None:
        """Raises InputError where it cannot work on this machine, such as for want of a package."""
        return None

    @classmethod
    def has_record(cls, workdir: pathlib.Path) -> bool:
        """Whether an earlier start of a run left a record; asked of one that rewinds, before it is made."""
        return False

    @abc.abstractmethod
    def __init__(self, run: Run): ...

    @abc.abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the values of a step by name: "train/loss", "validation/IoU/Water", "clock/examples_per_second"."""

    def picture(self, step: int, picture: Picture) -> None:
        """Takes a picture of a step."""
        return None

    def close(self, *, ended: bool) -> None:
        """Sends what is left; `ended` tells whether the run is over, and will not go on."""
        return None
