"""The learning rate over a run: the step multiplies and logs one and the same number.

What can be chosen, with formulas and sources: docs/optimisation.md.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import ml_collections

from data_pipelines.schema.errors import InputError

# What the peak is multiplied by after the warm-up, at a share of the steps that are left.
_FALLS = {
    "cosine": lambda share: 0.5 * (1 + jnp.cos(jnp.pi * share)),
    "constant": lambda share: jnp.float32(1.0),
    "plateau": lambda share: jnp.float32(1.0),  # `plateau_factor` lowers it at evaluations
}
SCHEDULES = tuple(_FALLS)
# What the peak is multiplied by, for a batch that is so many times the reference batch.
_BATCH_RULES = {"none": lambda times: 1.0, "linear": lambda times: times, "sqrt": math.sqrt}


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """Linear warm-up from 0 to `peak`, then `schedule` until the last step; "plateau" is constant here."""

    peak: float
    warmup: int  # steps
    total: int  # steps
    schedule: str

    def __call__(self, step: jax.Array) -> jax.Array:
        """The rate of the update that follows `step` updates, float32."""
        step = step.astype(jnp.float32)
        rise = (step + 1) / max(self.warmup, 1)
        share = jnp.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0.0, 1.0)
        return self.peak * jnp.where(step < self.warmup, rise, _FALLS[self.schedule](share))


def learning_rate(config: ml_collections.ConfigDict, batch_size: int, warmup: int, total: int) -> LearningRate:
    """The rate of a run of `total` steps, by `config.optimizer`, whose peak is fitted to the batch."""
    peak = config.learning_rate * _BATCH_RULES[config.batch_rule](batch_size / config.reference_batch)
    return LearningRate(peak, warmup, total, config.schedule)


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
