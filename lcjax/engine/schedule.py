"""The learning rate over a run: the step multiplies and logs one and the same number.

What can be chosen, with formulas and sources: docs/optimisation.md.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import ml_collections

from data_pipelines.schema.errors import InputError

_ONE_CYCLE = 1 / 25, 1e-4 / 25  # of the peak: where the cycle begins and ends, as OneCycleLR of PyTorch


def _half_cosine(share: jax.Array, first: float, last: float) -> jax.Array:
    return last + (first - last) * 0.5 * (1 + jnp.cos(jnp.pi * share))


# What the peak is multiplied by after the warm-up, at a share of the steps that are left, and the power of "poly".
_FALLS = {
    "cosine": lambda share, power: 0.5 * (1 + jnp.cos(jnp.pi * share)),
    "constant": lambda share, power: jnp.float32(1.0),
    "plateau": lambda share, power: jnp.float32(1.0),  # `plateau_factor` lowers it at evaluations
    "poly": lambda share, power: (1 - share) ** power,
    "one_cycle": lambda share, power: _half_cosine(share, 1.0, _ONE_CYCLE[1]),
}
SCHEDULES = tuple(_FALLS)
# What the peak is multiplied by, for a batch that is so many times the reference batch.
_BATCH_RULES = {"none": lambda times: 1.0, "linear": lambda times: times, "sqrt": math.sqrt}


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """Linear warm-up from 0 to `peak`, then `schedule` until the last step; "plateau" is constant here.

    "one_cycle" rises and falls by half a cosine each: its last step has the lowest rate, where others end after it.
    """

    peak: float
    warmup: int  # steps
    total: int  # steps
    schedule: str
    power: float = 0.9  # of "poly"

    def __call__(self, step: jax.Array) -> jax.Array:
        """The rate of the update that follows `step` updates, float32."""
        step = step.astype(jnp.float32)
        fall = _FALLS[self.schedule]
        if self.schedule == "one_cycle":
            top = max(self.warmup - 1, 0)  # the step of the peak
            rise = _half_cosine(step / max(top, 1), _ONE_CYCLE[0], 1.0)
            share = jnp.clip((step - top) / max(self.total - 1 - top, 1), 0.0, 1.0)
            return self.peak * jnp.where(step < top, rise, fall(share, self.power))
        rise = (step + 1) / max(self.warmup, 1)
        share = jnp.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0.0, 1.0)
        return self.peak * jnp.where(step < self.warmup, rise, fall(share, self.power))


def learning_rate(config: ml_collections.ConfigDict, batch_size: int, warmup: int, total: int) -> LearningRate:
    """The rate of a run of `total` steps, by `config.optimizer`, whose peak is fitted to the batch."""
    peak = config.learning_rate * _BATCH_RULES[config.batch_rule](batch_size / config.reference_batch)
    return LearningRate(peak, warmup, total, config.schedule, config.poly_power)


def check_plateau(config: ml_collections.ConfigDict) -> None:
    """Raises InputError where the schedule "plateau" of a run's config could not do what it says."""
    optimizer = config.optimizer
    if optimizer.schedule != "plateau":
        return
    if not config.split.validation:
        raise InputError(
            "config.optimizer.schedule='plateau': it lowers the rate by validation scores, and config.split.validation "
            "is empty; name a split, or take cosine or constant"
        )
    lowered = optimizer.plateau_patience + 1
    if 0 < config.patience <= lowered:
        raise InputError(
            f"config.patience={config.patience}: the run would end before a step at a lowered rate, which comes after "
            f"{lowered} evaluations (config.optimizer.plateau_patience + 1); take a higher config.patience, or 0"
        )


def plateau_factor(config: ml_collections.ConfigDict, since_best: int) -> float:
    """What the rate is multiplied by at an evaluation, the `since_best`-th after the best one (0: it is the best).

    As ReduceLROnPlateau of PyTorch with mode "max" and threshold 0: `plateau_patience` evaluations without a better
    score are borne, the next lowers the rate, and the count starts anew.
    """
    due = since_best > 0 and since_best % (config.plateau_patience + 1) == 0
    return config.plateau_factor if config.schedule == "plateau" and due else 1.0
