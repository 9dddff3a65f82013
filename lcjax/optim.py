"""The learning rate over a run, and the update without it: the step multiplies and logs one and the same number."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from data_pipelines.errors import InputError

SCHEDULES = ("cosine", "constant")


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """Linear warm-up from 0 to `peak`, then `schedule` until the last step."""

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


def _decays(path: str) -> bool:
    return path.endswith("/kernel")


def transformation(config) -> optax.GradientTransformation:
    """What turns gradients into directions; the step takes `parameters - rate * direction`.

    Args:
      config: `config.optimizer`: name ("adamw" or "sgd"), weight_decay, momentum, clip (global norm; 0 is off).
        Kernels decay; biases, norms, tables of positions and tokens do not.
    """
    rules = {"adamw": lambda: optax.scale_by_adam(), "sgd": lambda: optax.trace(decay=config.momentum)}
    if config.name not in rules:
        raise InputError(f"config.optimizer.name={config.name!r}: expected one of {', '.join(rules)}")
    decay = optax.add_decayed_weights(
        config.weight_decay, mask=lambda parameters: {path: _decays(path) for path in parameters}
    )
    clip = optax.clip_by_global_norm(config.clip) if config.clip else optax.identity()
    return optax.chain(clip, rules[config.name](), decay)
