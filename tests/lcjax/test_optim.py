"""The rate that is logged is the rate that is applied; what decays; what is refused."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from flax import nnx

from data_pipelines.errors import InputError
from lcjax import optim, parameters, steps
from lcjax.parallel import mesh as meshes


def config(**changes):
    fields = {"name": "adamw", "weight_decay": 0.0, "momentum": 0.0, "clip": 0.0}
    return ml_collections.ConfigDict(fields | changes)


def rates(rate, count):
    return np.array([float(rate(jnp.int32(step))) for step in range(count)])


def test_warm_up_rises_linearly_to_the_peak():
    found = rates(optim.LearningRate(0.1, warmup=4, total=20, schedule="cosine"), 5)
    np.testing.assert_allclose(found, [0.025, 0.05, 0.075, 0.1, 0.1], rtol=1e-6)


def test_cosine_falls_to_zero_at_the_end():
    rate = optim.LearningRate(0.1, warmup=4, total=20, schedule="cosine")
    found = rates(rate, 21)
    np.testing.assert_allclose(found[4:], 0.05 * (1 + np.cos(np.pi * np.arange(17) / 16)), atol=1e-8)
    assert found[12] == pytest.approx(0.05)
    assert found[20] == pytest.approx(0.0, abs=1e-8)
    assert found[19] > 0  # the last update still moves
    assert float(rate(jnp.int32(1000))) == pytest.approx(0.0, abs=1e-8)


def test_constant_stays_at_the_peak():
    found = rates(optim.LearningRate(0.1, warmup=2, total=10, schedule="constant"), 10)
    np.testing.assert_allclose(found, [0.05, *[0.1] * 9], rtol=1e-6)


def test_without_warm_up_the_first_step_has_the_peak():
    assert float(optim.LearningRate(0.1, 0, 10, "cosine")(jnp.int32(0))) == pytest.approx(0.1)


class Line(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Linear(3, 1, rngs=rngs)


class Regression:
    """The smallest task: a dense layer and half the mean square."""

    def loss(self, model, batch, keys_B):
        return 0.5 * jnp.mean(model.conv1(batch["x"]) ** 2), {}


def first_step(**changes):
    """(values before, values after, gradient, metrics) of one step of the real step function."""
    template = parameters.Template(Line)
    values = parameters.initial(template.parameters, 0) | {"conv1/bias": np.full(1, 0.5, np.float32)}
    optimizer = optim.transformation(config(**changes))
    rate = optim.LearningRate(0.3, warmup=3, total=10, schedule="cosine")
    mesh = meshes.make(1, 1, 4)
    state = steps.initial_state(template, values, {}, optimizer, mesh)
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    batch = meshes.global_batch({"x": x, "example": np.arange(4, dtype=np.uint32)}, meshes.batch_sharding(mesh))
    step = steps.train_step(Regression(), template, optimizer, rate, 0)
    state, metrics = steps.compile_train_step(step, state, batch)(state, batch)
    y = x @ values["conv1/kernel"] + values["conv1/bias"]
    gradient = {"conv1/kernel": x.T @ y / 4, "conv1/bias": y.mean(0)}
    return values, jax.device_get(state.trainable), gradient, jax.device_get(metrics)


def test_the_rate_that_is_logged_is_the_rate_that_is_applied():
    before, after, gradient, metrics = first_step(name="sgd")
    assert metrics["learning_rate"] == pytest.approx(0.1)  # a third of the way up
    for path in before:
        moved = before[path] - after[path]
        np.testing.assert_allclose(moved, metrics["learning_rate"] * gradient[path], rtol=1e-5)
    assert metrics["gradient_norm"] == pytest.approx(np.sqrt(sum((g**2).sum() for g in gradient.values())), rel=1e-5)


def test_the_first_step_of_adam_has_the_length_of_the_rate():
    before, after, gradient, metrics = first_step()
    for path in before:
        np.testing.assert_allclose(
            before[path] - after[path], metrics["learning_rate"] * np.sign(gradient[path]), rtol=1e-4
        )


def direction(gradient, values, **changes):
    transformation = optim.transformation(config(**changes))
    return transformation.update(gradient, transformation.init(values), values)[0]


PATHS = ("a/kernel", "a/bias", "norm/scale", "norm/bias", "attention/bias_table", "embed/kernel")


def test_kernels_alone_decay():
    values = {path: jnp.full(3, 2.0) for path in PATHS}
    found = direction({path: jnp.zeros(3) for path in PATHS}, values, name="sgd", weight_decay=0.1)
    decayed = {path for path in PATHS if np.any(found[path])}
    assert decayed == {"a/kernel", "embed/kernel"}
    np.testing.assert_allclose(found["a/kernel"], 0.2, rtol=1e-6)


def test_every_parameter_of_a_network_is_on_the_right_side():
    from networks import make, smallest

    tables = ("bias_table", "position", "class_token")
    for model in ("unet", "two_stream_swin", "resnet50_unet", "efficientnet_lite0_unet", "vit_pyramid"):
        _, template, _, _ = make(smallest(model))
        for path, shape in template.parameters.items():
            assert optim._decays(path) == (len(shape.shape) >= 2 and not path.endswith(tables)), path


def test_the_clip_is_of_the_global_norm():
    values = {path: jnp.zeros(3) for path in PATHS}
    gradient = {path: jnp.full(3, 4.0) for path in PATHS}
    found = direction(gradient, values, name="sgd", clip=1.0)
    assert float(parameters.norm(found)) == pytest.approx(1.0)
    assert float(parameters.norm(direction(gradient, values, name="sgd", clip=0.0))) == pytest.approx(4 * 18**0.5)


def test_momentum_adds_up():
    transformation = optim.transformation(config(name="sgd", momentum=0.9))
    values = {"a/kernel": jnp.zeros(1)}
    state = transformation.init(values)
    found = []
    for _ in range(3):
        step, state = transformation.update({"a/kernel": jnp.ones(1)}, state, values)
        found.append(float(step["a/kernel"][0]))
    assert found == pytest.approx([1.0, 1.9, 2.71])


def test_unknown_names_are_refused():
    with pytest.raises(InputError, match=r"config\.optimizer\.name='lion': expected one of adamw, sgd"):
        optim.transformation(config(name="lion"))
    with pytest.raises(InputError, match=r"config\.optimizer\.schedule='linear': expected one of cosine, constant"):
        optim.LearningRate(0.1, 0, 10, "linear")
