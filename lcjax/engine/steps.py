"""The state of a run and the compiled functions over it: one training step, one evaluation step."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data_pipelines.reading import loader
from data_pipelines.reading.dataset import Source
from lcjax.engine.optimizer import LearningRate
from lcjax.models.params import Flat, Template, norm
from lcjax.ops import augment
from lcjax.parallel import mesh as meshes
from lcjax.tasks import Task


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


def state_shapes(template: Template, optimizer, mesh) -> State:
    """A state as jax.ShapeDtypeStruct, each where it lies on the mesh."""
    trainable = {path: leaf for path, leaf in template.parameters.items() if not template.is_frozen(path)}
    frozen = {path: leaf for path, leaf in template.parameters.items() if template.is_frozen(path)}
    step, scale = (cast(jax.Array, jax.ShapeDtypeStruct((), dtype)) for dtype in (np.int32, np.float32))
    moments = jax.eval_shape(optimizer.init, trainable)
    state = State(step, trainable, frozen, template.statistics, moments, scale)
    return meshes.with_shardings(state, meshes.shardings(state, mesh))


def initial_state(template: Template, parameters: dict, statistics: dict, optimizer, mesh) -> State:
    """A state at step 0 on the mesh, from host values."""
    shapes = state_shapes(template, optimizer, mesh)
    trainable, frozen = ({path: parameters[path] for path in flat} for flat in (shapes.trainable, shapes.frozen))
    # Every moment starts at zero, so the optimiser's state needs no computation, only its shapes.
    moments = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes.opt_state)
    step, scale = cast(tuple[jax.Array, jax.Array], (np.int32(0), np.float32(1.0)))
    state = State(step, trainable, frozen, statistics, moments, scale)
    return meshes.place(state, jax.tree.map(lambda leaf: leaf.sharding, shapes))


def with_lr_multiplier(state: State, value: float) -> State:
    """The state whose steps take the scheduled learning rate times `value`."""
    with jax.transfer_guard("allow"):  # one number, sent on purpose
        return dataclasses.replace(state, lr_multiplier=meshes.place(np.float32(value), state.lr_multiplier.sharding))


def train_step(
    task: Task,
    template: Template,
    optimizer: optax.GradientTransformation,
    rate: LearningRate,
    seed: int,
    accumulate: int = 1,
):
    """The step function (state, batch) -> (state, metrics); the caller compiles it.

    With `accumulate` the batch goes through the network in so many parts, one after the other.
    """

    def step(state: State, batch: dict) -> tuple[State, dict]:
        def gradient_of(statistics: Flat, part: dict) -> tuple[Flat, Flat, dict]:
            # Said again, for the compiler loses it between a loop and what is spread over fsdp.
            part = {key: meshes.constrain(value, 0) for key, value in part.items()}
            keys_B = augment.example_keys(seed, state.step, part["example"])

            def loss_of(trainable: Flat):
                model = template.merge(trainable | state.frozen, statistics, train=True)
                loss, extra = task.loss(model, part, keys_B)
                return loss, (extra, template.statistics_of(model))

            (loss, (extra, after)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.trainable)
            return gradient, after, extra | {"loss": meshes.psum(loss)}

        if accumulate == 1:
            gradient, statistics, metrics = gradient_of(state.statistics, batch)
        else:
            gradient, statistics, metrics = _mean_over_parts(gradient_of, state, batch, accumulate)
        gradient, statistics = meshes.psum(gradient), meshes.pmean(statistics)
        direction, moments = optimizer.update(gradient, state.opt_state, state.trainable)
        applied = rate(state.step) * state.lr_multiplier
        trainable = {path: value - applied * direction[path] for path, value in state.trainable.items()}
        metrics |= {"learning_rate": applied, "gradient_norm": norm(gradient)}
        return State(state.step + 1, trainable, state.frozen, statistics, moments, state.lr_multiplier), metrics

    return step


def _mean_over_parts(gradient_of, state: State, batch: dict, count: int) -> tuple[Flat, Flat, dict]:
    """Means of gradient and metrics over `count` parts of a batch, and the statistics after the last.

    A part takes every `count`-th example, so that each device keeps its own, and the parts are the same on any number
    of devices. Each part normalises by itself, and hands its running statistics to the next.
    """
    parts = {
        key: meshes.constrain(value.reshape(-1, count, *value.shape[1:]).swapaxes(0, 1), 1)
        for key, value in batch.items()
    }

    def add(carry: tuple[Flat, Flat], part: dict):
        total, statistics = carry
        gradient, statistics, metrics = gradient_of(statistics, part)
        return (jax.tree.map(jnp.add, total, gradient), statistics), metrics

    nothing = jax.tree.map(jnp.zeros_like, state.trainable)
    (total, statistics), metrics = jax.lax.scan(add, (nothing, state.statistics), parts)
    return (
        jax.tree.map(lambda gradient: gradient / count, total),
        statistics,
        {key: jnp.mean(values) for key, values in metrics.items()},
    )


def compile_train_step(step, state: State, batch: dict, mode: str = "jit") -> jax.stages.Compiled:
    """The step compiled for the shardings that state and batch have; the state is donated.

    `mode` is of `meshes.MODES`; for "pmap" the batch has a first axis of devices.
    """
    mesh = meshes.mesh_of(state.step)
    if mode == "pmap":
        mapped = jax.pmap(
            step,
            meshes.REPLICAS,
            in_axes=(None, 0),
            out_axes=None,  # as the state is the same on all
            devices=tuple(mesh.devices.flat),
            axis_size=mesh.size,
            donate_argnums=0,
        )
        return mapped.lower(state, batch).compile()
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    with jax.set_mesh(mesh):
        return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None)).lower(state, batch).compile()


def evaluation_step(task: Task, template: Template):
    """The jitted function (parameters, statistics, batch) -> evaluation sums, on every device."""

    def count(parameters: Flat, statistics: Flat, batch: dict) -> dict:
        sums = task.eval_step(template.merge(parameters, statistics, train=False), batch)
        return jax.tree.map(meshes.replicate, sums)

    return jax.jit(count)


def evaluation_batch(config, devices: int) -> int:
    """The evaluation batch of a config, rounded up to the devices."""
    return math.ceil(config.evaluation_batch_size / devices) * devices


def evaluation_batches(source: Source, batch_size: int, keys: Sequence[str], threads: int) -> Iterator[dict]:
    """This process's part of every record of a source, once (loader.eval_batches)."""
    return loader.eval_batches(
        source,
        batch_size=batch_size,
        keys=keys,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=threads,
    )


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
