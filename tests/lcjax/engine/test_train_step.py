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


@pytest.mark.parametrize(
    ("accumulate", "devices", "mode", "labelled"),
    [
        (1, 8, "jit", 0),
        (4, 4, "jit", 3),
        (1, 8, "pmap", 3),
        pytest.param(1, 8, "jit", 3, marks=pytest.mark.slow),
        pytest.param(4, 4, "jit", 0, marks=pytest.mark.slow),
        pytest.param(1, 8, "pmap", 0, marks=pytest.mark.slow),
    ],
)
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


def steps_of(model, task, data, count, *, mode="jit", mesh=(8, 1), accumulate=1, averaged=False, how=(), **fields):
    """(initial parameters, state after each step) on one batch, by stochastic gradient descent with momentum."""
    template = params.Template(model, *how)
    generator = np.random.default_rng(0)
    shapes = template.parameters | template.statistics
    drawn = {path: generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32) for path, leaf in shapes.items()}
    values, statistics = ({path: drawn[path] for path in flat} for flat in (template.parameters, template.statistics))
    rules = smallest("unet").optimizer
    rules.update({"name": "sgd", "momentum": 0.9, "weight_decay": 0.1, "clip": 0.0})
    optimizer = optimizers.make_optimizer(rules, template.groups)
    on = meshes.make_mesh(*mesh, len(data["example"]), accumulate)
    state = initial_state(template, values, statistics, optimizer, on, averaged=averaged)
    lies = {path: leaf.sharding for path, leaf in state.average.items()}
    assert lies == {path: leaf.sharding for path, leaf in (state.trainable | state.statistics).items() if averaged}
    arrays = meshes.global_batch(data, meshes.batch_sharding(on), by_device=mode == "pmap")
    step = train_step(task, template, optimizer, LearningRate(0.1, 0, 9, "cosine"), 0, accumulate, **fields)
    compiled, states = compile_train_step(step, state, arrays, mode), []
    for _ in range(count):
        state, _ = compiled(state, arrays)
        states.append(jax.device_get(state))
    return values, states


def layered_data():
    x = np.random.default_rng(1).standard_normal((8, 3), np.float32)
    return {"x": x, "example": np.arange(8, dtype=np.uint32)}


class SumOfSquares:
    """As `Square`, where each replica has its share of the sum."""

    def loss(self, model, batch, keys_B):
        encoder = model.encoders["s2"]
        left = model.head(encoder.stages[0](encoder.embed(batch["x"])))
        return 0.005 * jnp.sum(left**2) / meshes.psum(batch["x"].shape[0]), {}


@pytest.mark.parametrize("mode", meshes.MODES)
def test_encoders_stand_still_until_the_head_is_warm_and_then_go_by_what_they_have_gathered(mode):
    how = {"mode": mode, "head_warmup": 2}
    before, states = steps_of(Layered, SumOfSquares(), layered_data(), 3, **how)
    encoders = {path for path in before if path.startswith("encoders/")}
    assert len(encoders) == 4
    for path in before:
        for number, state in enumerate(states):
            still = np.array_equal(state.trainable[path], before[path])
            assert still == (path in encoders and number < 2), (path, number)
    # The velocity is that of three gradients, taken where encoder and head stood; the rate that of the third step.
    rate, gradient = float(LearningRate(0.1, 0, 9, "cosine")(jnp.float32(2))), jax.grad(by_hand)
    at = [before, *(state.trainable for state in states[:2])]
    velocity = dict.fromkeys(before, 0.0)
    for values in at:
        found = gradient(values, layered_data()["x"])
        decay = {path: 0.1 * values[path] * path.endswith("kernel") for path in values}
        velocity = {path: 0.9 * velocity[path] + found[path] + decay[path] for path in values}
    for path in encoders:
        moved = before[path] - states[2].trainable[path]
        np.testing.assert_allclose(moved, rate * velocity[path], rtol=1e-4, atol=1e-6, err_msg=path)


def by_hand(values, x):
    """The loss of `SumOfSquares` without its network."""
    for layer in ("encoders/s2/embed", "encoders/s2/stages/0", "head"):
        x = x @ values[f"{layer}/kernel"] + values[f"{layer}/bias"][None]
    return 0.005 * jnp.sum(x**2) / len(x)


class Measured:
    """Half the mean square of normalised numbers less those that are wanted."""

    def loss(self, model, batch, keys_B):
        return 0.5 * jnp.sum((model.norm(batch["x"]) - batch["wanted"]) ** 2) / meshes.psum(batch["x"].shape[0]), {}


@pytest.mark.parametrize(
    ("mode", "mesh", "accumulate"), [("jit", (8, 1), 1), ("pmap", (8, 1), 1), ("jit", (2, 4), 1), ("jit", (4, 1), 2)]
)
def test_averages_are_those_of_the_recursion(mode, mesh, accumulate, monkeypatch):
    """Of parameters and of running statistics, wherever they lie and however a batch is computed."""
    monkeypatch.setattr(meshes, "RULES", ((r".*", 1),))
    x, wanted = np.random.default_rng(0).normal(3.0, 2.0, (2, 16, 4)).astype(np.float32)
    data = {"x": x, "wanted": wanted, "example": np.arange(16, dtype=np.uint32)}
    how = {"mode": mode, "mesh": mesh, "accumulate": accumulate}
    attributes = {"axis_name": meshes.REPLICAS} if mode == "pmap" else {}
    _, plain = steps_of(Wide, Measured(), data, 5, how=("", attributes), **how)
    before, states = steps_of(Wide, Measured(), data, 5, how=("", attributes), averaged=True, ema_decay=0.3, **how)
    assert states[0].average.keys() == {"norm/scale", "norm/bias", "norm/mean", "norm/var"}
    start = np.random.default_rng(0)
    average = {path: start.uniform(0.5, 1.5, 4).astype(np.float32) for path in (*before, "norm/mean", "norm/var")}
    assert all(np.array_equal(average[path], before[path]) for path in before)
    for count, (state, same) in enumerate(zip(states, plain, strict=True)):
        latest = state.trainable | state.statistics
        for path, value in (same.trainable | same.statistics).items():
            np.testing.assert_array_equal(latest[path], value)  # that somebody averages them is nothing to them
        decay = min(0.3, (1 + count) / (10 + count))
        average = {path: decay * average[path] + (1 - decay) * latest[path] for path in average}
        for path, mean in average.items():
            np.testing.assert_allclose(state.average[path], mean, rtol=1e-6, err_msg=path)
    assert decay == 0.3  # the last ones have the whole of it
    parameters, statistics = states[-1].evaluated
    assert parameters.keys() == before.keys()
    for path, value in (parameters | statistics).items():
        np.testing.assert_array_equal(value, states[-1].average[path])
        assert not np.array_equal(value, latest[path])


class Wide(nnx.Module):
    """Four numbers per example, through batch norm."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(4, momentum=0.9, rngs=rngs)


def test_without_averages_a_state_holds_what_it_held():
    _, (state,) = steps_of(Wide, Measured(), unequal(), 1, mesh=(1, 1))
    assert state.average == {} and len(jax.tree.leaves(state)) == 8  # step, rate, and thrice a scale and a bias


def unequal():
    x, wanted = np.random.default_rng(0).normal(3.0, 2.0, (2, 16, 4)).astype(np.float32)
    return {"x": x, "wanted": wanted, "example": np.arange(16, dtype=np.uint32)}


class Encoding(nnx.Module):
    """An encoder and a head of batch norms alone."""

    parameter_groups = types.MappingProxyType({"encoder": ParameterGroups(stages=(("norm",),))})

    def __init__(self, rngs):
        self.encoder, self.norm = Wide(rngs), nnx.BatchNorm(4, momentum=0.9, rngs=rngs)


class Twice:
    """Both norms, side by side."""

    def loss(self, model, batch, keys_B):
        return 0.5 * jnp.mean((model.norm(batch["x"]) + model.encoder.norm(batch["x"]) - batch["wanted"]) ** 2), {}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_statistics_that_are_frozen_never_move_nor_do_their_averages(accumulate):
    how = {"how": ("", {}, "encoder"), "mesh": (1, 1), "accumulate": accumulate, "averaged": True, "ema_decay": 0.9}
    before, states = steps_of(Encoding, Twice(), unequal(), 4, **how)
    start = np.random.default_rng(0)
    drawn = {path: start.uniform(0.5, 1.5, 4).astype(np.float32) for path in [*before, *states[0].statistics]}
    for state in states:
        for name in ("mean", "var"):
            frozen, moving = f"encoder/norm/{name}", f"norm/{name}"
            np.testing.assert_array_equal(state.statistics[frozen], drawn[frozen])
            np.testing.assert_array_equal(state.average[frozen], drawn[frozen])
            assert not np.array_equal(state.statistics[moving], drawn[moving])
        assert not any(np.array_equal(state.trainable[path], before[path]) for path in before)  # all of them learn
    if accumulate > 1:
        return
    # And they are what is normalised by: the first step says so.
    x, wanted = (unequal()[name].astype(np.float64) for name in ("x", "wanted"))
    normal = (x - drawn["encoder/norm/mean"]) / np.sqrt(drawn["encoder/norm/var"] + 1e-5)
    own = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
    error = normal * before["encoder/norm/scale"] + before["encoder/norm/bias"] - wanted
    error += own * before["norm/scale"] + before["norm/bias"]
    expected = before["encoder/norm/scale"] - 0.1 * (error * normal).sum(0) / error.size
    np.testing.assert_allclose(states[0].trainable["encoder/norm/scale"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("mode", "devices", "power", "loss"),
    [("jit", 4, 0.0, "cross_entropy"), ("pmap", 4, 0.5, "cross_entropy + 2 * dice")],
)
def test_a_part_counts_by_what_is_labelled_in_it(mode, devices, power, loss):
    """The second part has no labelled pixel, the third few of them, and others than the first."""
    config = smallest("swin_unet")
    config.loss = loss
    config.optimizer.update({"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": 0.0})
    config.class_weights = power
    data = batch(config, BATCH)
    data["label"][1::4] = 255
    data["label"][2::4, 4:] = 255
    found = {}
    for accumulate in (1, 4):
        task, template, values, statistics = make(config)
        if power:
            task.weights = np.linspace(0.2, 3.0, len(task.names)).astype(np.float32)
        mesh = meshes.make_mesh(devices, 1, BATCH, accumulate)
        optimizer = optimizers.make_optimizer(config.optimizer)
        state = initial_state(template, values, statistics, optimizer, mesh)
        arrays = meshes.global_batch(data, meshes.batch_sharding(mesh), by_device=mode == "pmap")
        step = train_step(task, template, optimizer, LearningRate(RATE, 0, 10, "constant"), 0, accumulate)
        state, metrics = jax.device_get(compile_train_step(step, state, arrays, mode)(state, arrays))
        assert "weight" not in metrics
        found[accumulate] = {path: values[path] - state.trainable[path] for path in values}
    size = np.sqrt(sum(np.sum(leaf**2) for leaf in found[1].values()))
    error = np.sqrt(sum(np.sum((found[1][path] - found[4][path]) ** 2) for path in found[1]))
    assert size > 0.01 and error < 1e-4 * size
