"""The state of a run that a checkpoint keeps beside the arrays, for the run to be resumed."""

import dataclasses
from typing import Annotated

import msgspec

from data_pipelines.schema.typed_json import Count, Positive, Real

DONE = "all steps done"


@dataclasses.dataclass
class Progress:
    """The state of a run; a checkpoint keeps it as JSON.

    Attributes:
      position: examples drawn from the training stream.
      window: sums of the metrics since they were last logged, and "steps", the number of steps summed.
      evaluated: step of the last evaluation; -1 before the first.
      best: highest score of the task's `monitor` so far.
      since_best: number of evaluations since then.
      lr_multiplier: factor of the scheduled learning rate.
      ended: why the run is over; "" while it goes on.
      devices: number of devices that shared each batch.
      card: the card of the run, as JSON.
    """

    position: Count = 0
    window: dict[str, Real] = dataclasses.field(default_factory=dict)
    evaluated: Annotated[int, msgspec.Meta(ge=-1, le=2**53)] = -1
    best: Real | None = None
    since_best: Count = 0
    lr_multiplier: Positive = 1.0
    ended: str = ""
    devices: Count = 0
    card: str = ""
