"""The state of a run: all that a training step reads and replaces."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from lcjax.models.params import Flat, Template
from lcjax.parallel import mesh as meshes


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    """All that a step reads and replaces.

    Attributes:
      step: updates done, int32.
      trainable, frozen: parameters by path; the optimiser knows of the first only.
      statistics: running statistics of normalisation by path.
      opt_state: of optax.
      lr_multiplier: what the scheduled learning rate is multiplied by, float32; the host sets it between steps.
    """

    step: jax.Array
    trainable: Flat
    frozen: Flat
    statistics: Flat
    opt_state: optax.OptState
    lr_multiplier: jax.Array


def state_shapes(template: Template, optimizer: optax.GradientTransformation, mesh: Mesh) -> State:
    """A state as jax.ShapeDtypeStruct, each where it lies on the mesh."""
    trainable = {path: leaf for path, leaf in template.parameters.items() if not template.is_frozen(path)}
    frozen = {path: leaf for path, leaf in template.parameters.items() if template.is_frozen(path)}
    step, multiplier = (cast(jax.Array, jax.ShapeDtypeStruct((), dtype)) for dtype in (np.int32, np.float32))
    moments = jax.eval_shape(optimizer.init, trainable)
    state = State(step, trainable, frozen, template.statistics, moments, multiplier)
    return cast(State, meshes.with_shardings(state, meshes.shardings(state, mesh)))


def initial_state(
    template: Template,
    parameters: Mapping[str, Any],
    statistics: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
) -> State:
    """A state at step 0 on the mesh, from host values."""
    shapes = state_shapes(template, optimizer, mesh)
    trainable, frozen = (
        cast(Flat, {path: parameters[path] for path in flat}) for flat in (shapes.trainable, shapes.frozen)
    )
    # Every moment starts at zero, so the optimiser's state needs no computation, only its shapes.
    moments = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.opt_state)
    step, multiplier = cast(tuple[jax.Array, jax.Array], (np.int32(0), np.float32(1.0)))
    state = State(step, trainable, frozen, cast(Flat, dict(statistics)), moments, multiplier)
    return cast(State, meshes.place(state, jax.tree.map(lambda leaf: leaf.sharding, shapes)))


def with_lr_multiplier(state: State, value: float) -> State:
    """The state whose steps take the scheduled learning rate times `value`."""
    with jax.transfer_guard("allow"):  # one number, sent on purpose
        return dataclasses.replace(state, lr_multiplier=meshes.place(np.float32(value), state.lr_multiplier.sharding))
