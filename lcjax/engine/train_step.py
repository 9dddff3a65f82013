"""One training step: augment, loss, gradient, update; and how it is compiled for a mesh."""

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from lcjax.engine.schedule import LearningRate
from lcjax.engine.state import State
from lcjax.models.interfaces import layer_of
from lcjax.models.kernels import halves
from lcjax.models.params import Flat, Template, norm
from lcjax.ops import augment
from lcjax.parallel import mesh as meshes
from lcjax.tasks import Mean, Task

StepFunction = Callable[[State, dict[str, Any]], tuple[State, dict[str, Any]]]


def train_step(
    task: Task,
    template: Template,
    optimizer: optax.GradientTransformation,
    rate: LearningRate,
    seed: int,
    accumulate: int = 1,
    *,
    head_warmup: int = 0,
    ema_decay: float = 0.0,
    implementation: str = halves.XLA,
) -> StepFunction:
    """The step function (state, batch) -> (state, metrics); the caller compiles it.

    Args:
      task, template, optimizer, rate, seed: of the run.
      accumulate: the batch goes through the network in so many parts, one after the other.
      head_warmup: number of first steps in which the encoders take the rate 0.
      ema_decay: of the averages, for a state that keeps them.
      implementation: of blocks that have several, one of halves.IMPLEMENTATIONS.
    """
    waiting = {path for path in template.parameters if head_warmup and layer_of(path, template.groups)}

    def step(state: State, batch: dict[str, Any]) -> tuple[State, dict[str, Any]]:
        def gradient_of(statistics: Flat, part: dict[str, Any]) -> tuple[Flat, Flat, dict[str, Any]]:
            # Said again, for the compiler loses it between a loop and what is spread over fsdp.
            part = {key: meshes.constrain(value, 0) for key, value in part.items()}
            keys_B = augment.example_keys(seed, state.step, part["example"])

            def loss_of(trainable: Flat) -> tuple[jax.Array, tuple[dict[str, Any], Flat]]:
                # The first example's key is of this seed, step, part and replica: what dropout of a whole batch needs.
                key = keys_B[0] if template.draws else None
                values = trainable | state.frozen
                model = template.merge(values, statistics, train=True, key=key, implementation=implementation)
                loss, extra = task.loss(model, part, keys_B)
                return loss, (extra, template.statistics_of(model))

            (loss, (extra, after)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.trainable)
            return gradient, after, {"loss": meshes.psum(loss)} | extra

        if accumulate == 1:
            gradient, statistics, metrics = gradient_of(state.statistics, batch)
            metrics.pop("weight", None)
        else:
            gradient, statistics, metrics = _mean_over_parts(gradient_of, state, batch, accumulate)
        gradient, statistics = meshes.psum(gradient), meshes.pmean(statistics)
        direction, moments = optimizer.update(gradient, state.opt_state, state.trainable)
        applied = rate(state.step) * state.lr_multiplier
        of_encoders = jnp.where(state.step < head_warmup, 0.0, applied) if waiting else applied
        rates = {path: of_encoders if path in waiting else applied for path in direction}
        trainable = {path: value - rates[path] * direction[path] for path, value in state.trainable.items()}
        average = _averaged(state, trainable | statistics, ema_decay)
        metrics |= {"learning_rate": applied, "gradient_norm": norm(gradient)}
        after = State(state.step + 1, trainable, state.frozen, statistics, moments, state.lr_multiplier, average)
        return after, metrics

    return step


def _averaged(state: State, values: Flat, decay: float) -> Flat:
    """The averages of a state after one more step, `values` being what it has led to; none where none are kept.

    Their decay is min(decay, (1 + t) / (10 + t)) after t steps, so that the initial values are soon forgotten.
    """
    if not state.average:
        return {}
    share = jnp.maximum(1 - decay, 9 / (10 + state.step.astype(jnp.float32)))
    # Written so that what does not move stays the same to the bit.
    return {path: mean + share * (values[path] - mean) for path, mean in state.average.items()}


def _mean_over_parts(
    gradient_of: Callable[[Flat, dict[str, Any]], tuple[Flat, Flat, dict[str, Any]]],
    state: State,
    batch: dict[str, Any],
    count: int,
) -> tuple[Flat, Flat, dict[str, Any]]:
    """Gradient and metrics of `count` parts of a batch: their means, sums of a `Mean`; and the last part's statistics.

    In the mean gradient a part counts by its "weight", where the task tells one: it is that of the whole batch, then.

    A part takes every `count`-th example, so that each device keeps its own, and the parts are the same on any number
    of devices. Each part normalises by itself, and hands its running statistics to the next.
    """
    parts = {
        key: meshes.constrain(value.reshape(-1, count, *value.shape[1:]).swapaxes(0, 1), 1)
        for key, value in batch.items()
    }

    def add(carry: tuple[Flat, Flat], part: dict[str, Any]) -> tuple[tuple[Flat, Flat], dict[str, Any]]:
        total, statistics = carry
        gradient, statistics, metrics = gradient_of(statistics, part)
        weight = metrics.setdefault("weight", jnp.float32(1))
        return (jax.tree.map(lambda sums, more: sums + weight * more, total, gradient), statistics), metrics

    nothing = jax.tree.map(jnp.zeros_like, state.trainable)
    (total, statistics), metrics = jax.lax.scan(add, (nothing, state.statistics), parts)
    whole = jnp.sum(metrics.pop("weight"))
    return (
        jax.tree.map(lambda gradient: gradient / jnp.where(whole > 0, whole, 1), total),
        statistics,
        {key: _over_parts(values) for key, values in metrics.items()},
    )


def _over_parts(values: Any) -> Any:
    """What is logged of a batch, of what its parts have along the first axis."""
    return Mean(*map(jnp.sum, values)) if isinstance(values, Mean) else jnp.mean(values)


def compile_train_step(
    step: StepFunction, state: State, batch: dict[str, Any], mode: str = "jit"
) -> jax.stages.Compiled:
    """The step compiled for the shardings that state and batch have; the state is donated.

    `mode` is of `meshes.MODES`; for "pmap" the batch has a first axis of devices.
    """
    return lower_train_step(step, state, batch, mode).compile()


@contextlib.contextmanager
def _garbage_left() -> Iterator[None]:
    """Python looks for no garbage: among the objects that tracing makes, which stay, that takes a fifth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@_garbage_left()
def lower_train_step(step: StepFunction, state: State, batch: dict[str, Any], mode: str = "jit") -> jax.stages.Lowered:
    """The program of the step before the compiler sees it; arguments as of `compile_train_step`."""
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
        return cast(jax.stages.Lowered, mapped.lower(state, batch))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    with jax.set_mesh(mesh):
        return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None)).lower(state, batch)
