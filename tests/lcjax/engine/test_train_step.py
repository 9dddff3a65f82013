"""A batch in parts is the batch: gradients, metrics and draws; an encoder's layers step as far as they should."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import batch, card_of, logged, make, smallest

from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.engine import optimizer as optimizers
from lcjax.engine.schedule import LearningRate
from lcjax.engine.state import initial_state
from lcjax.engine.train_step import compile_train_step, train_step
from lcjax.models import params
from lcjax.models.interfaces import ParameterGroups
from lcjax.ops import augment
from lcjax.parallel import mesh as meshes

BATCH = 32
RATE = 0.5


def step_on(config, data, accumulate: int, devices: int, mode: str = "jit"):
    """(values before, state after, metrics) of one step."""
    task, template, values, statistics = make(config)
    mesh = meshes.make_mesh(devices, 1, BATCH, accumulate)
    optimizer = optimizers.make_optimizer(config.optimizer)
    state = initial_state(template, values, statistics, optimizer, mesh)
    arrays = meshes.global_batch(data, meshes.batch_sharding(mesh), by_device=mode == "pmap")
    step = train_step(task, template, optimizer, LearningRate(RATE, 0, 10, "constant"), 0, accumulate)
    return values, *jax.device_get(compile_train_step(step, state, arrays, mode)(state, arrays))


@functools.cache
def after_one_step(accumulate: int, devices: int):
    """(values before, values after, metrics) of one step of plain descent, on data whose pixels all have a label."""
    config = smallest("swin_unet")
    config.optimizer.update({"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": 0.0})
    data = batch(config, BATCH, edge=40)
    scored = [land_class.id for land_class in card_of(config).legend.scored]
    data["label"] = np.where(np.isin(data["label"], scored), data["label"], np.uint8(scored[0]))
    data["corner"] = np.random.default_rng(2).integers(0, 9, (BATCH, 2)).astype(np.int32)
    values, state, metrics = step_on(config, data, accumulate, devices)
    return values, state.trainable, logged(metrics)


def moved(accumulate: int, devices: int) -> dict[str, np.ndarray]:
    before, after, _ = after_one_step(accumulate, devices)
    return {path: (before[path] - after[path]) / RATE for path in before}


@pytest.mark.parametrize(("accumulate", "devices"), [(4, 8), (4, 1)])
def test_a_batch_in_parts_has_the_gradient_and_metrics_of_the_whole(accumulate, devices):
    whole, parts = moved(1, 8), moved(accumulate, devices)
    size = np.sqrt(sum(np.sum(leaf**2) for leaf in whole.values()))
    error = np.sqrt(sum(np.sum((whole[path] - parts[path]) ** 2) for path in whole))
    assert size > 0.01
    assert error < 1e-4 * size
    expected, found = after_one_step(1, 8)[2], after_one_step(accumulate, devices)[2]
    assert found.keys() == expected.keys() >= {"loss", "OA", "learning_rate", "gradient_norm"}
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-5, err_msg=key)


@pytest.mark.parametrize(("accumulate", "devices", "mode"), [(1, 8, "jit"), (4, 4, "jit"), (1, 8, "pmap")])
@pytest.mark.parametrize("labelled", [0, 3])
def test_what_has_no_label_is_no_part_of_the_logged_means(accumulate, devices, mode, labelled):
    config = smallest("swin_unet")
    data = batch(config, BATCH)
    data["label"][labelled:] = 255
    data["label"][:labelled] = card_of(config).legend.scored[0].id  # each a part and a device of its own
    _, _, metrics = step_on(config, data, accumulate, devices, mode)
    pixels = data["label"][:labelled].size
    assert metrics["OA"].count == pixels and metrics["loss"].count == min(labelled, accumulate)
    if labelled:
        config.accumulate = 1
        _, _, alone = step_on(config, data, 1, 1)
        assert logged(metrics)["OA"] == logged(alone)["OA"] > 0
        assert logged(metrics)["loss"] == pytest.approx(logged(alone)["loss"], rel=1e-5)
    else:
        assert not {"OA", "loss"} & logged(metrics).keys()


class Encoder(nnx.Module):
    """A stem and one stage."""

    def __init__(self, rngs):
        self.embed = nnx.Linear(3, 4, rngs=rngs)
        self.stages = nnx.List([nnx.Linear(4, 4, rngs=rngs)])


class Layered(nnx.Module):
    """An encoder and a head."""

    parameter_groups = types.MappingProxyType({"encoders/s2": ParameterGroups(("embed",), (("stages/0",),))})

    def __init__(self, rngs):
        self.encoders = nnx.Dict({"s2": Encoder(rngs)})
        self.head = nnx.Linear(4, 1, rngs=rngs)


class Square:
    """Half the mean square of what comes out."""

    def loss(self, model, batch, keys_B):
        encoder = model.encoders["s2"]
        return 0.5 * jnp.mean(model.head(encoder.stages[0](encoder.embed(batch["x"]))) ** 2), {}


def test_two_states_differ_by_the_logged_rate_times_the_factor_of_the_layer_times_the_gradient():
    template = params.Template(Layered)
    generator = np.random.default_rng(0)
    before = {path: generator.standard_normal(leaf.shape, np.float32) for path, leaf in template.parameters.items()}
    rules = smallest("unet").optimizer
    rules.update({"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": 0.0, "layer_decay": 0.5})
    optimizer = optimizers.make_optimizer(rules, template.groups)
    mesh = meshes.make_mesh(1, 1, 8)
    state = initial_state(template, before, {}, optimizer, mesh)
    x = generator.standard_normal((8, 3), np.float32)
    arrays = meshes.global_batch({"x": x, "example": np.arange(8, dtype=np.uint32)}, meshes.batch_sharding(mesh))
    step = train_step(Square(), template, optimizer, LearningRate(RATE, 2, 10, "cosine"), 0)
    state, metrics = compile_train_step(step, state, arrays)(state, arrays)
    assert float(metrics["learning_rate"]) == pytest.approx(RATE / 2)

    embed, stage, head = (before[f"{path}/kernel"] for path in ("encoders/s2/embed", "encoders/s2/stages/0", "head"))
    first = x @ embed + before["encoders/s2/embed/bias"]
    second = first @ stage + before["encoders/s2/stages/0/bias"]
    error = (second @ head + before["head/bias"]) / 8
    to_second, to_first = error @ head.T, error @ head.T @ stage.T
    moved = {
        "encoders/s2/embed": (0.25, x.T @ to_first, to_first.sum(0)),
        "encoders/s2/stages/0": (0.5, first.T @ to_second, to_second.sum(0)),
        "head": (1.0, second.T @ error, error.sum(0)),
    }
    for path, (factor, *gradients) in moved.items():
        for name, gradient in zip(("kernel", "bias"), gradients, strict=True):
            leaf = f"{path}/{name}"
            expected = metrics["learning_rate"] * factor * gradient
            np.testing.assert_allclose(
                before[leaf] - state.trainable[leaf], expected, rtol=1e-4, atol=1e-5, err_msg=leaf
            )


class Normalised(nnx.Module):
    """One number per example, through batch norm."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(1, momentum=0.9, rngs=rngs)


class Regression:
    """Half the mean square of normalised numbers less those that are wanted, and the first number of the batch."""

    def loss(self, model, batch, keys_B):
        y = model.norm(batch["x"])
        return 0.5 * jnp.mean((y - batch["wanted"]) ** 2), {"mean": jnp.mean(batch["x"])}


def test_parts_normalise_by_themselves_and_hand_their_statistics_on():
    template = params.Template(Normalised)
    values, statistics = (params.init_params(shapes, 0) for shapes in (template.parameters, template.statistics))
    generator = np.random.default_rng(0)
    x, wanted = generator.normal(3.0, 2.0, (2, 16, 1)).astype(np.float32)
    mesh = meshes.make_mesh(8, 1, 16, 2)
    optimizer = optimizers.make_optimizer(smallest("unet").optimizer)
    state = initial_state(template, values, statistics, optimizer, mesh)
    data = {"x": x, "wanted": wanted, "example": np.arange(16, dtype=np.uint32)}
    arrays = meshes.global_batch(data, meshes.batch_sharding(mesh))
    step = train_step(Regression(), template, optimizer, LearningRate(0.1, 0, 10, "constant"), 0, 2)
    compiled = compile_train_step(step, state, arrays)
    assert not re.search(r"all-gather|all-to-all|collective-permute", compiled.as_text())  # no example travels
    state, metrics = compiled(state, arrays)

    mean, variance, losses = 0.0, 1.0, []
    for part in (slice(0, None, 2), slice(1, None, 2)):
        mean = 0.9 * mean + 0.1 * x[part].mean()
        variance = 0.9 * variance + 0.1 * x[part].var()
        normalised = (x[part] - x[part].mean()) / np.sqrt(x[part].var() + 1e-5)
        losses.append(0.5 * np.mean((normalised - wanted[part]) ** 2))
    np.testing.assert_allclose(state.statistics["norm/mean"], [mean], rtol=1e-5)
    np.testing.assert_allclose(state.statistics["norm/var"], [variance], rtol=1e-5)
    assert float(metrics["loss"]) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(metrics["mean"]) == pytest.approx(x.mean(), rel=1e-5)


def test_what_does_not_divide_is_refused():
    says = r"batch_size=8: does not divide over 8 devices, in 4 parts each .*; take a multiple of 32"
    with pytest.raises(InputError, match=says):
        meshes.make_mesh(8, 1, 8, 4)


def test_places_that_are_compared_stay_in_one_batch():
    config = smallest("two_stream_swin", task="contrastive")
    config.accumulate = 2
    with pytest.raises(InputError, match=r"config\.accumulate=2: the contrastive loss compares all places"):
        tasks.make(config, card_of(config))


class Dropping(nnx.Module):
    """What dropout leaves of sixteen powers of two: a sum that tells which."""

    def __init__(self, rngs):
        self.conv1 = nnx.Linear(1, 1, rngs=rngs)
        # Outside of tests networks of other packages alone have it, and they are built with real nnx.Rngs.
        self.dropout = nnx.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self):
        return jnp.sum(self.dropout(2.0 ** jnp.arange(16)))


class Dropped:
    """Logs the sum."""

    def loss(self, model, batch, keys_B):
        return jnp.mean(model.conv1(batch["x"])), {"left": model()}


def dropped(accumulate, devices=1, count=2):
    """The sums of the first steps, and the last state."""
    template = params.Template(Dropping)
    mesh = meshes.make_mesh(devices, 1, 16, accumulate)
    optimizer = optimizers.make_optimizer(smallest("unet").optimizer)
    state = initial_state(template, params.init_params(template.parameters, 0), {}, optimizer, mesh)
    step = train_step(Dropped(), template, optimizer, LearningRate(0.1, 0, 10, "constant"), 3, accumulate)
    data = {"x": np.ones((16, 1), np.float32), "example": np.arange(16, dtype=np.uint32)}
    arrays = meshes.global_batch(data, meshes.batch_sharding(mesh))
    compiled, sums = compile_train_step(step, state, arrays), []
    for _ in range(count):
        state, metrics = compiled(state, arrays)
        sums.append(float(metrics["left"]))
    return sums, state


def test_dropout_draws_anew_in_each_step_and_part_and_alike_on_any_number_of_devices():
    template = params.Template(Dropping)
    values = params.init_params(template.parameters, 0)

    def left(step, example):
        key = augment.example_keys(3, jnp.int32(step), jnp.uint32([example]))[0]
        return float(template.merge(jax.device_put(values), {}, train=True, key=key)())

    alone = [left(0, 0), left(1, 0)]
    assert len({*alone, left(0, 1)}) == 3
    assert dropped(1)[0] == alone == dropped(1, devices=8)[0]
    assert dropped(2, count=1)[0] == [(left(0, 0) + left(0, 1)) / 2]  # every second example is of the second part


def test_nothing_of_dropout_is_kept():
    _, state = dropped(1, count=1)
    paths = {"conv1/kernel", "conv1/bias"}
    assert (state.trainable.keys(), state.frozen, state.statistics) == (paths, {}, {})
    assert not any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(state))
