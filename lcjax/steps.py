"""The state of a run and the compiled functions over it: one training step, one evaluation step."""

import dataclasses
from collections.abc import Iterable

import jax
import numpy as np
import optax

from lcjax import augment
from lcjax.optim import LearningRate
from lcjax.parallel import mesh as meshes
from lcjax.parameters import Flat, Template, norm
from lcjax.tasks import Task


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class State:
    """All that a step reads and replaces.

    Attributes:
      step: updates done, int32.
      trainable, frozen: parameters by path; the optimiser knows of the first only.
      statistics: running statistics of normalisation by path.
      optimizer: optax state.
    """

    step: jax.Array
    trainable: Flat
    frozen: Flat
    statistics: Flat
    optimizer: optax.OptState


def initial_state(template: Template, parameters: dict, statistics: dict, optimizer, mesh) -> State:
    """A state at step 0 on the mesh, from host values."""
    trainable = {path: value for path, value in parameters.items() if not template.is_frozen(path)}
    frozen = {path: value for path, value in parameters.items() if template.is_frozen(path)}
    shapes = jax.eval_shape(optimizer.init, trainable)
    # Every moment starts at zero, so the optimiser's state needs no computation, only its shapes.
    moments = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    state = State(jax.device_put(np.int32(0)), trainable, frozen, statistics, moments)
    return meshes.place(state, meshes.shardings(state, mesh))


def train_step(task: Task, template: Template, optimizer: optax.GradientTransformation, rate: LearningRate, seed: int):
    """The step function (state, batch) -> (state, metrics); the caller compiles it."""

    def step(state: State, batch: dict) -> tuple[State, dict]:
        keys_B = augment.example_keys(seed, state.step, batch["example"])

        def loss_of(trainable: Flat):
            model = template.merge(trainable | state.frozen, state.statistics, train=True)
            loss, extra = task.loss(model, batch, keys_B)
            return loss, (extra, template.statistics_of(model))

        (loss, (extra, statistics)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.trainable)
        direction, moments = optimizer.update(gradient, state.optimizer, state.trainable)
        applied = rate(state.step)
        trainable = {path: value - applied * direction[path] for path, value in state.trainable.items()}
        metrics = extra | {"loss": loss, "learning_rate": applied, "gradient_norm": norm(gradient)}
        return State(state.step + 1, trainable, state.frozen, statistics, moments), metrics

    return step


def compile_train_step(step, state: State, batch: dict) -> jax.stages.Compiled:
    """The step compiled for the shardings that state and batch have; the state is donated."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    with jax.set_mesh(meshes.of(state.step)):
        return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None)).lower(state, batch).compile()


def evaluation_step(task: Task, template: Template):
    """The jitted function (parameters, statistics, batch) -> evaluation sums."""

    def count(parameters: Flat, statistics: Flat, batch: dict) -> dict:
        return task.count(template.merge(parameters, statistics, train=False), batch)

    return jax.jit(count)


def evaluate(count, parameters: Flat, statistics: Flat, batches: Iterable[dict], sharding) -> dict[str, np.ndarray]:
    """Sums over all batches, in int64 or float64; each is fetched while the next one runs."""
    total: dict[str, np.ndarray] = {}
    running = None
    for batch in batches:
        arrays = meshes.global_batch({key: value for key, value in batch.items() if key != "ids"}, sharding)
        with jax.set_mesh(sharding.mesh):
            previous, running = running, count(parameters, statistics, arrays)
        total = _add(total, previous)
    return _add(total, running)


def _add(total: dict, sums: dict | None) -> dict:
    if sums is None:
        return total
    fetched = jax.device_get(sums)
    wide = {key: np.asarray(value, np.result_type(value, np.int64)) for key, value in fetched.items()}
    return {key: total.get(key, 0) + value for key, value in wide.items()}
