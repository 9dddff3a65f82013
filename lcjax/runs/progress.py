"""The state of a run that a checkpoint keeps beside the arrays, for the run to be resumed."""

import dataclasses

DONE = "all steps done"


@dataclasses.dataclass
class Progress:
    """The state of a run; a checkpoint keeps it as JSON.

    Attributes:
      position: examples drawn from the training stream.
      window: for each metric its sum since it was last logged, and how much that is a sum of.
      steps: number of steps in the window.
      evaluated: step of the last evaluation; -1 before the first.
      best: highest score of the task's `monitor` so far.
      since_best: number of evaluations since then.
      lr_multiplier: factor of the scheduled learning rate.
      ended: why the run is over; "" while it goes on.
      devices: number of devices that shared each batch.
      card: the card of the run, as JSON.
    """

    position: int = 0
    window: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    steps: int = 0
    evaluated: int = -1
    best: float | None = None
    since_best: int = 0
    lr_multiplier: float = 1.0
    ended: str = ""
    devices: int = 0
    card: str = ""
