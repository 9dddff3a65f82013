"""What a checkpoint keeps beside the arrays: all that a run must know to go on."""

import dataclasses

DONE = "all steps done"


@dataclasses.dataclass
class Progress:
    """Where a run stands; a checkpoint keeps it as JSON.

    Attributes:
      position: examples drawn from the training stream.
      window: sums of the metrics since they were last logged, and how many "steps" they are of.
      evaluated: step of the last evaluation; -1 before the first.
      best: highest score of the task's `monitor` so far.
      since_best: evaluations since then.
      lr_multiplier: what the scheduled learning rate is multiplied by.
      ended: why the run is over; empty while it is not.
      devices: that shared each batch.
      card: the card of the run, as JSON.
    """

    position: int = 0
    window: dict[str, float] = dataclasses.field(default_factory=dict)
    evaluated: int = -1
    best: float | None = None
    since_best: int = 0
    lr_multiplier: float = 1.0
    ended: str = ""
    devices: int = 0
    card: str = ""
