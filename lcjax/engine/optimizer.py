"""The update without the learning rate: what turns gradients into directions.

What can be chosen, with formulas and sources: docs/optimisation.md.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import optax

from data_pipelines.schema.errors import InputError
from lcjax.models.interfaces import ParameterGroups, layer_of


def _decays(path: str) -> bool:
    return path.endswith("/kernel")


def _kernels(parameters: Mapping[str, Any]) -> dict[str, bool]:
    return {path: _decays(path) for path in parameters}


def _decay_mask(config: ml_collections.ConfigDict) -> Callable[[Mapping[str, Any]], dict[str, bool]]:
    """Which parameters decay: kernels or all, without what `config.no_decay` finds in a path."""
    spared = re.compile(config.no_decay) if config.no_decay else None

    def mask(parameters: Mapping[str, Any]) -> dict[str, bool]:
        return {
            path: (config.decay_all or _decays(path)) and not (spared and spared.search(path)) for path in parameters
        }

    return mask


# What `config.clip` is the largest of.
_CLIPS: Mapping[str, Callable[[float], optax.GradientTransformation]] = {
    "global_norm": optax.clip_by_global_norm,
    "norm": lambda largest: optax.stateless(
        lambda gradient, _: {p: _shortened(g, largest) for p, g in gradient.items()}
    ),
    "value": optax.clip,
    "adaptive": optax.adaptive_grad_clip,
}


def _shortened(gradient: jax.Array, largest: float) -> jax.Array:
    """The gradient of one parameter, of a Euclidean norm of at most `largest`."""
    norm = jnp.sqrt(jnp.sum(jnp.square(gradient)))
    return gradient * jnp.where(norm > largest, largest / jnp.where(norm > 0, norm, 1.0), 1.0)


def make_optimizer(
    config: ml_collections.ConfigDict, groups: Mapping[str, ParameterGroups] | None = None
) -> optax.GradientTransformation:
    """Returns what turns gradients into directions; the step takes `parameters - rate * direction`.

    Args:
      config: `config.optimizer`: name ("adamw", "adam", "sgd", "lars" or "lamb"), weight_decay, momentum (of sgd and
        lars), clip (of the gradient, by what clip_by says; 0 is off), layer_decay. Kernels decay; biases, norms, tables
        of positions and tokens do not, unless decay_all, and in lars have no trust ratio. What the regular expression
        no_decay finds in its path does not decay either way.
      groups: stem and stages of the network's encoders (Template.groups), which layer_decay asks for.

    Raises:
      InputError: an unknown name, or a layer_decay that is no share or that the network has no layers for.
    """
    decay = optax.add_decayed_weights(config.weight_decay, mask=_decay_mask(config))
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
    if config.layer_decay != 1 and not groups:
        raise InputError(
            f"config.optimizer.layer_decay={config.layer_decay}: the network declares no parameter_groups, so that "
            "nobody knows its layers; declare its stem and stages, or set config.optimizer.layer_decay=1"
        )
    clip = _CLIPS[config.clip_by](config.clip) if config.clip else optax.identity()
    layers = (_by_layer(groups, config.layer_decay),) if groups and config.layer_decay != 1 else ()
    return optax.chain(clip, *rules[config.name], *layers)


def check_no_decay(config: ml_collections.ConfigDict, paths: Iterable[str]) -> None:
    """Raises InputError where `config.optimizer.no_decay` is no regular expression, or finds no parameter.

    Args:
      config: of the run.
      paths: of the parameters that are trained.
    """
    asked, paths = f"config.optimizer.no_decay={config.optimizer.no_decay!r}", list(paths)
    example = 'expected a regular expression of paths, such as "head/|/bias_table$"'
    try:
        spared = re.compile(config.optimizer.no_decay)
    except re.error as error:
        raise InputError(f"{asked}: {error}; {example}") from error
    if config.optimizer.no_decay and not any(map(spared.search, paths)):
        raise InputError(f"{asked}: finds none of the {len(paths)} trained parameters, such as {paths[0]}; {example}")


def check_head_warmup(config: ml_collections.ConfigDict, groups: Mapping[str, ParameterGroups], steps: int) -> None:
    """Raises InputError where a run's encoders cannot stand still for its first `steps`, and then learn.

    Args:
      config: of the run.
      groups: as of `make_optimizer`.
      steps: what config.optimizer.head_warmup is in steps.
    """
    asked = f"config.optimizer.head_warmup={config.optimizer.head_warmup!r}"
    if steps and not groups:
        raise InputError(
            f"{asked}: the network declares no parameter_groups, which say what of it is an encoder; declare its stem "
            "and stages, or set config.optimizer.head_warmup='0 steps'"
        )
    if steps and config.freeze:
        raise InputError(f"{asked}: config.freeze={config.freeze!r} lets no encoder learn; leave one of them out")


def _by_layer(groups: Mapping[str, ParameterGroups], decay: float) -> optax.GradientTransformation:
    def scaled(directions: dict[str, Any], _: object) -> dict[str, Any]:
        factors = layerwise_factors(directions, groups, decay)
        return {path: factors[path] * direction for path, direction in directions.items()}

    return optax.stateless(scaled)


def layerwise_factors(paths: Iterable[str], groups: Mapping[str, ParameterGroups], decay: float) -> dict[str, float]:
    """What the learning rate of each parameter is multiplied by: decay ** (n - i) in layer i of n of an encoder.

    Layer 0 is the stem, layers 1 to n - 1 are the stages; after them, and outside of encoders, the factor is 1.

    Args:
      paths: of the parameters.
      groups: path of each encoder -> its stem and stages (Template.groups).
      decay: above 0 and at most 1.
    """
    layers = {path: layer_of(path, groups) for path in paths}
    last = {encoder: len(own.stages) + 1 for encoder, own in groups.items()}
    return {path: decay ** (last[at[0]] - at[1]) if at else 1.0 for path, at in layers.items()}
