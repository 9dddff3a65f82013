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
    """

    total: int
    warmup: int
    log_every: int
    evaluate_every: int
    save_every: int


def of_run(config: ml_collections.ConfigDict, epoch: int) -> RunLength:
    """The durations of a config, where an epoch has so many examples. Raises InputError for what is no duration."""
    units = {"batch_size": config.batch_size, "epoch": epoch}
    total = steps(config.total, name="config.total", **units)

    def every(name: str) -> int:
        return max(1, steps(config[name], name=f"config.{name}", **units, total=total))

    warmup = steps(config.optimizer.warmup, name="config.optimizer.warmup", **units, total=total)
    return RunLength(total, warmup, every("log_every"), every("evaluate_every"), every("save_every"))
