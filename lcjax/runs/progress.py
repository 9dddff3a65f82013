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
      window: for each metric its sum since it was last logged, and how much that is a sum of.
      steps: number of steps in the window.
      evaluated: step of the last evaluation; -1 before the first.
      best: best score of the validation split so far.
      monitor: name of that score; "" before the first evaluation.
      since_best: number of evaluations since then.
      lr_multiplier: factor of the scheduled learning rate.
      ended: why the run is over; "" while it goes on.
      devices: number of devices that shared each batch.
      card: the card of the run, as JSON.
    """

    position: Count = 0
    window: dict[str, Annotated[list[Real], msgspec.Meta(min_length=2, max_length=2)]] = dataclasses.field(
        default_factory=dict
    )
    steps: Count = 0
    evaluated: Annotated[int, msgspec.Meta(ge=-1, le=2**53)] = -1
    best: Real | None = None
    monitor: str = ""
    since_best: Count = 0
    lr_multiplier: Positive = 1.0
    ended: str = ""
    devices: Count = 0
    card: str = ""
