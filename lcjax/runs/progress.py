"""What a checkpoint keeps beside the arrays: all that a run must know to go on."""

import dataclasses

from data_pipelines.schema.errors import InputError

DONE = "all steps done"
SCHEMA_VERSION = 1


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
      schema_version: of these fields.
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
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def from_meta(cls, meta: dict, path: object) -> "Progress":
        """Returns what a checkpoint at `path` keeps. Raises InputError for one of a newer version."""
        version = meta.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{path}: a checkpoint of schema_version {version}, and this lcjax reads {SCHEMA_VERSION}; use the "
                "version that wrote it, or take another --workdir"
            )
        return cls(**meta)
