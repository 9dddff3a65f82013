"""The learning rate over a run, and the update without it: the step multiplies and logs one and the same number.

What can be chosen, with formulas and sources: docs/optimisation.md.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import optax

from data_pipelines.schema.errors import InputError
from lcjax.models.params import OWN

SCHEDULES = ("cosine", "constant", "plateau")

# What the peak is multiplied by, for a batch that is so many times the reference batch.
_BATCH_RULES = {"none": lambda times: 1.0, "linear": lambda times: times, "sqrt": math.sqrt}

# Where an encoder begins, and where its stages are told by their number; all else comes after the last stage. A path of
# its own took nothing from another run that should be moved with care.
_ENCODER = rf"encoders/(?!{OWN}/)(\w+)/"
_STEM = re.compile(_ENCODER + r"(embed|embed_norm|stem|position|class_token)(/|$)")
_STAGE = re.compile(_ENCODER + r"(stages|merges|norms|levels)/(\d+)/")


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """Linear warm-up from 0 to `peak`, then `schedule` until the last step; "plateau" is constant here (`lowering`)."""

    peak: float
    warmup: int  # steps
    total: int  # steps
    schedule: str

    def __post_init__(self):
        if self.schedule not in SCHEDULES:
            raise InputError(f"config.optimizer.schedule={self.schedule!r}: expected one of {', '.join(SCHEDULES)}")

    def __call__(self, step: jax.Array) -> jax.Array:
        """The rate of the update that follows `step` updates, float32."""
        step = step.astype(jnp.float32)
        rise = (step + 1) / max(self.warmup, 1)
        share = jnp.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0.0, 1.0)
        fall = 0.5 * (1 + jnp.cos(jnp.pi * share)) if self.schedule == "cosine" else jnp.float32(1.0)
        return self.peak * jnp.where(step < self.warmup, rise, fall)


def learning_rate(config, batch_size: int, warmup: int, total: int) -> LearningRate:
    """The rate of a run of `total` steps, by `config.optimizer`, whose peak is fitted to the batch.

    Raises InputError for an unknown schedule or rule, or a reference batch that is none.
    """
    if config.batch_rule not in _BATCH_RULES:
        raise InputError(
            f"config.optimizer.batch_rule={config.batch_rule!r}: expected one of {', '.join(_BATCH_RULES)}"
        )
    if config.reference_batch < 1:
        raise InputError(f"config.optimizer.reference_batch={config.reference_batch}: expected 1 or more examples")
    peak = config.learning_rate * _BATCH_RULES[config.batch_rule](batch_size / config.reference_batch)
    return LearningRate(peak, warmup, total, config.schedule)


def check_plateau(config) -> None:
    """Raises InputError where the schedule "plateau" of a run's config could not do what it says."""
    optimizer = config.optimizer
    if optimizer.schedule != "plateau":
        return
    if not 0 < optimizer.plateau_factor < 1:
        raise InputError(f"config.optimizer.plateau_factor={optimizer.plateau_factor}: expected between 0 and 1")
    if optimizer.plateau_patience < 0:
        raise InputError(f"config.optimizer.plateau_patience={optimizer.plateau_patience}: expected 0 or more")
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


def plateau_factor(config, since_best: int) -> float:
    """What the rate is multiplied by at an evaluation, the `since_best`-th after the best one (0: it is the best).

    As ReduceLROnPlateau of PyTorch with mode "max" and threshold 0: `plateau_patience` evaluations without a better
    score are borne, the next lowers the rate, and the count starts anew.
    """
    due = since_best > 0 and since_best % (config.plateau_patience + 1) == 0
    return config.plateau_factor if config.schedule == "plateau" and due else 1.0


def _decays(path: str) -> bool:
    return path.endswith("/kernel")


def _kernels(parameters: Mapping) -> dict[str, bool]:
    return {path: _decays(path) for path in parameters}


def make_optimizer(config) -> optax.GradientTransformation:
    """What turns gradients into directions; the step takes `parameters - rate * direction`.

    Args:
      config: `config.optimizer`: name ("adamw", "adam", "sgd", "lars" or "lamb"), weight_decay, momentum (of sgd and
        lars), clip (global norm of the gradient; 0 is off), layer_decay. Kernels decay; biases, norms, tables of
        positions and tokens do not, and in lars have no trust ratio.
    """
    decay = optax.add_decayed_weights(config.weight_decay, mask=_kernels)
    momentum = optax.trace(decay=config.momentum)
    trust = optax.masked(optax.scale_by_trust_ratio(trust_coefficient=0.001), _kernels)
    rules = {
        "adamw": (optax.scale_by_adam(), decay),
        "adam": (decay, optax.scale_by_adam()),
        "sgd": (decay, momentum),
        "lars": (decay, trust, momentum),
        "lamb": (optax.scale_by_adam(eps=1e-6), decay, optax.scale_by_trust_ratio()),
    }
    if config.name not in rules:
        raise InputError(f"config.optimizer.name={config.name!r}: expected one of {', '.join(rules)}")
    if not 0 < config.layer_decay <= 1:
        raise InputError(f"config.optimizer.layer_decay={config.layer_decay}: expected above 0 and at most 1")
    clip = optax.clip_by_global_norm(config.clip) if config.clip else optax.identity()
    layers = () if config.layer_decay == 1 else (_by_layer(config.layer_decay),)
    return optax.chain(clip, *rules[config.name], *layers)


def _by_layer(decay: float) -> optax.GradientTransformation:
    def scaled(directions: dict, _) -> dict:
        factors = layerwise_factors(directions, decay)
        return {path: factors[path] * direction for path, direction in directions.items()}

    return optax.stateless(scaled)


def layerwise_factors(paths: Iterable[str], decay: float) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied by: decay ** (n - i) in layer i of n of an encoder.

    Layer 0 is the stem, layers 1 to n - 1 are the stages; after them, and outside of encoders, the factor is 1.
    """
    layers = {path: _layer(path) for path in paths}
    ends: dict[str, int] = {}
    for stream, layer in filter(None, layers.values()):
        ends[stream] = max(ends.get(stream, 0), layer + 1)
    return {path: decay ** (ends[at[0]] - at[1]) if at else 1.0 for path, at in layers.items()}


def _layer(path: str) -> tuple[str, int] | None:
    """The stream of an encoder's parameter, and its layer; None where no rate is discounted."""
    if stem := _STEM.match(path):
        return stem[1], 0
    if stage := _STAGE.match(path):
        return stage[1], int(stage[3]) + 1
    return None
