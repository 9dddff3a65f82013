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
      average: moving averages of `trainable` and `statistics`, in one dictionary by path; empty where none are kept.
    """

    step: jax.Array
    trainable: Flat
    frozen: Flat
    statistics: Flat
    opt_state: optax.OptState
    lr_multiplier: jax.Array
    average: Flat = dataclasses.field(default_factory=dict)

    @property
    def evaluated(self) -> tuple[Flat, Flat]:
        """Parameters and statistics that the network is scored and used with: the averages where there are any."""
        parameters, statistics = (
            {path: self.average.get(path, leaf) for path, leaf in flat.items()}
            for flat in (self.trainable | self.frozen, self.statistics)
        )
        return parameters, statistics


def state_shapes(
    template: Template, optimizer: optax.GradientTransformation, mesh: Mesh, *, averaged: bool = False
) -> State:
    """A state as jax.ShapeDtypeStruct, each where it lies on the mesh; `averaged`: it keeps averages."""
    trainable = {path: leaf for path, leaf in template.parameters.items() if not template.is_frozen(path)}
    frozen = {path: leaf for path, leaf in template.parameters.items() if template.is_frozen(path)}
    step, multiplier = (cast(jax.Array, jax.ShapeDtypeStruct((), dtype)) for dtype in (np.int32, np.float32))
    moments = jax.eval_shape(optimizer.init, trainable)
    average = trainable | template.statistics if averaged else {}
    state = State(step, trainable, frozen, template.statistics, moments, multiplier, average)
    return cast(State, meshes.with_shardings(state, meshes.shardings(state, mesh)))


def initial_state(
    template: Template,
    parameters: Mapping[str, Any],
    statistics: Mapping[str, Any],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    averaged: bool = False,
) -> State:
    """A state at step 0 on the mesh, from host values; the averages of a state that keeps them begin as these."""
    shapes = state_shapes(template, optimizer, mesh, averaged=averaged)
    trainable, frozen = (
        cast(Flat, {path: parameters[path] for path in flat}) for flat in (shapes.trainable, shapes.frozen)
    )
    # Every moment starts at zero, so the optimiser's state needs no computation, only its shapes.
    moments = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.opt_state)
    step, multiplier = cast(tuple[jax.Array, jax.Array], (np.int32(0), np.float32(1.0)))
    average = {path: parameters.get(path, statistics.get(path)) for path in shapes.average}
    state = State(step, trainable, frozen, cast(Flat, dict(statistics)), moments, multiplier, cast(Flat, average))
    return cast(State, meshes.place(state, jax.tree.map(lambda leaf: leaf.sharding, shapes)))


def with_lr_multiplier(state: State, value: float) -> State:
    """The state whose steps take the scheduled learning rate times `value`."""
    with jax.transfer_guard("allow"):  # one number, sent on purpose
        return dataclasses.replace(state, lr_multiplier=meshes.place(np.float32(value), state.lr_multiplier.sharding))
