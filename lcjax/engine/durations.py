"""Durations as people say them: "300 steps", "20 epochs", "5000 examples", "10 percent" (of the whole run)."""

import dataclasses
import math

import ml_collections

from data_pipelines.schema.errors import InputError
from lcjax.runs.config_fields import Duration


def steps(duration: str, *, name: str, batch_size: int, epoch: int, total: int | None = None) -> int:
    """A duration in steps, rounded up; "0 steps" is 0.

    Args:
      duration: a number and a unit.
      name: the config key, for the error.
      batch_size: global.
      epoch: examples in an epoch.
      total: steps of the whole run; None where percent makes no sense.

    Raises:
      InputError: not a number and a known unit.
    """
    allowed = Duration(percent=total is not None)
    if (parsed := allowed.parsed(duration)) is None:
        raise InputError(f"{name}={duration!r}: expected {allowed.text}")
    amount, unit = parsed
    examples = {"steps": amount * batch_size, "epochs": amount * epoch, "examples": amount}
    if unit == "percent" and total is not None:
        # Multiplied first: 7 / 100 * 100 is a little more than 7.
        return math.ceil(amount * total / 100)
    return math.ceil(examples[unit] / batch_size)


@dataclasses.dataclass(frozen=True)
class RunLength:
    """The durations of a run, all in steps.

    Attributes:
      total: of the whole run.
      warmup: in which the learning rate rises.
      log_every, evaluate_every, save_every: at least 1.
      head_warmup: in which the encoders stand still.
    """

    total: int
    warmup: int
    log_every: int
    evaluate_every: int
    save_every: int
    head_warmup: int = 0


def of_run(config: ml_collections.ConfigDict, epoch: int) -> RunLength:
    """The durations of a config, where an epoch has so many examples. Raises InputError for what is no duration."""
    units = {"batch_size": config.batch_size, "epoch": epoch}
    total = steps(config.total, name="config.total", **units)

    def every(name: str) -> int:
        return max(1, steps(config[name], name=f"config.{name}", **units, total=total))

    def of_optimizer(name: str) -> int:
        return steps(config.optimizer[name], name=f"config.optimizer.{name}", **units, total=total)

    rising, alone = of_optimizer("warmup"), of_optimizer("head_warmup")
    if alone >= total > 0:
        raise InputError(
            f"config.optimizer.head_warmup={config.optimizer.head_warmup!r}: {alone} steps of a run of {total}, so "
            "that the encoders would never learn; take fewer, or set config.freeze='encoder'"
        )
    return RunLength(total, rising, every("log_every"), every("evaluate_every"), every("save_every"), alone)


def without_records(config: ml_collections.ConfigDict, total: int) -> RunLength:
    """The durations of a run of `total` steps whose epochs are not known: what a step needs to be the same program."""
    alone = steps(config.optimizer.head_warmup, name="config.optimizer.head_warmup", batch_size=1, epoch=1, total=total)
    return RunLength(total, 0, 1, 1, 1, min(alone, total))
