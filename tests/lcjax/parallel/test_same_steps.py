"""One device, eight, fsdp, pmap, parts, processes: the same twenty steps. And batch norm by replica, in both modes."""

import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import launched
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict
from networks import batch, logged, make, smallest

from data_pipelines.schema.errors import InputError
from lcjax.engine import optimizer as optimizers
from lcjax.engine.schedule import LearningRate
from lcjax.engine.state import initial_state
from lcjax.engine.train_step import compile_train_step, train_step
from lcjax.models import params
from lcjax.models.layers import BatchNorm
from lcjax.parallel import mesh as meshes

BATCH = 32
STEPS = 20
# name -> (config, learning rate, tolerance of the first step's metrics, of all metrics, of parameters). A deep network
# with batch norms makes much of every rounding: its runs part where sums are taken in another order, the faster the
# higher the rate.
NETWORKS = {
    "swin_unet": (lambda: smallest("swin_unet"), 0.02, 1e-5, 1e-5, 1e-6),
    "resnet50_unet": (lambda: smallest("resnet50_unet"), 1e-4, 1e-4, 1e-2, 1e-4),
    "contrastive": (lambda: smallest("two_stream_swin", task="contrastive"), 0.02, 1e-5, 1e-5, 1e-6),
    # Of one encoder, with everything that draws two views of an image.
    "masked": (lambda: smallest("two_stream_swin", task="masked"), 0.02, 1e-5, 1e-5, 1e-6),
    "vicreg": (lambda: smallest("two_stream_swin", task="vicreg", views="augmentations"), 0.02, 1e-5, 1e-5, 1e-6),
}
# name -> what differs from one device with the whole batch
WAYS = {
    "one": {"data": 1},
    "eight": {},
    "fsdp": {"data": 2, "fsdp": 4},
    # As wide as the run, so that each process holds a part of every parameter.
    "fsdp 4": {"data": 1, "fsdp": 4},
    "fsdp 8": {"data": 1, "fsdp": 8},
    "pmap": {"mode": "pmap"},
    "parts": {"accumulate": 4},
    "parts, fsdp": {"accumulate": 4, "data": 2, "fsdp": 4},
    "parts, pmap": {"accumulate": 4, "mode": "pmap"},
}


@functools.cache
def twenty_steps(network: str, way: str) -> tuple[dict[str, list[float]], dict, dict]:
    """(metrics by step, parameters, statistics) after twenty steps on as many batches."""
    make_config, rate, *_ = NETWORKS[network]
    config = make_config()
    how = {"mode": "jit", "data": -1, "fsdp": 1, "batch_norm": "global", "accumulate": 1} | WAYS[way]
    accumulate = how.pop("accumulate")
    parallel = ConfigDict(how)
    meshes.check(parallel)
    mesh = meshes.make_mesh(parallel.data, parallel.fsdp, BATCH, accumulate)
    task, _, values, statistics = make(config)
    template = params.Template(task.build, "", meshes.batch_norm_attributes(parallel, mesh))
    config.optimizer.update({"name": "sgd", "momentum": 0.9, "clip": 1.0})
    optimizer = optimizers.make_optimizer(config.optimizer)
    state = initial_state(template, values, statistics, optimizer, mesh)
    step = train_step(task, template, optimizer, LearningRate(rate, 2, STEPS, "cosine"), 0, accumulate)
    share = BATCH // jax.process_count()
    mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    batches = [batch(config, BATCH, seed=number) for number in range(STEPS)]
    by_device = parallel.mode == "pmap"
    sharding = meshes.batch_sharding(mesh)
    keys = (*task.keys, "corner", "example")
    seen: dict[str, list[float]] = {}
    compiled = None
    for data in batches:
        arrays = meshes.global_batch({key: data[key][mine] for key in keys}, sharding, by_device=by_device)
        compiled = compiled or compile_train_step(step, state, arrays, parallel.mode)
        state, metrics = compiled(state, arrays)
        for key, value in logged(jax.device_get(metrics)).items():
            seen.setdefault(key, []).append(value)
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    values, statistics = jax.jit(lambda trees: trees, out_shardings=everywhere)((state.trainable, state.statistics))
    return seen, jax.device_get(values), jax.device_get(statistics)


@pytest.fixture(autouse=True, scope="module")
def _small_arrays_are_spread_too():
    """The networks are so small that the rules would leave every array whole."""
    rules, meshes.RULES = meshes.RULES, ((r".*", 64),)
    yield
    meshes.RULES = rules


def distance(one: dict, other: dict) -> float:
    """Of two sets of arrays, relative to the norm of the first."""
    total = sum(np.sum(np.square(leaf, dtype=np.float64)) for leaf in one.values())
    return float(np.sqrt(sum(np.sum(np.square(one[path] - other[path], dtype=np.float64)) for path in one) / total))


@pytest.mark.parametrize(
    ("network", "way"),
    [
        *(("swin_unet", way) for way in ("eight", "fsdp", "pmap")),
        *(("contrastive", way) for way in ("eight", "pmap")),
        pytest.param("contrastive", "fsdp", marks=pytest.mark.slow),
        *((network, "pmap") for network in ("vicreg", "masked")),
        *(pytest.param(network, "eight", marks=pytest.mark.slow) for network in ("vicreg", "masked")),
        # Half a minute each; what batch norm does in both modes is tested below.
        *(pytest.param("resnet50_unet", way, marks=pytest.mark.slow) for way in ("eight", "fsdp", "pmap")),
    ],
)
def test_twenty_steps_are_those_of_one_device(network, way):
    (expected, values, statistics), (found, *after) = twenty_steps(network, "one"), twenty_steps(network, way)
    assert found.keys() == expected.keys() >= {"loss", "learning_rate", "gradient_norm"}
    assert distance(make(NETWORKS[network][0]())[2], values) > 1e-5  # they did learn
    *_, of_first, of_metrics, of_parameters = NETWORKS[network]
    for key in expected:
        np.testing.assert_allclose(found[key][0], expected[key][0], rtol=of_first, atol=1e-6, err_msg=key)
        np.testing.assert_allclose(found[key], expected[key], rtol=of_metrics, atol=of_metrics, err_msg=key)
    for flat, other in zip((values, statistics), after, strict=True):
        assert not flat or distance(flat, other) < of_parameters


_CHILD = """
import pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}, {here!r}]
import jax, numpy as np
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.distributed.initialize({address!r}, 2, int(sys.argv[1]))
import test_same_steps
test_same_steps.meshes.RULES = ((r".*", 64),)
for network, way in {cases!r}:
    seen, values, statistics = test_same_steps.twenty_steps(network, way)
    if jax.process_index() == 0:
        np.savez(pathlib.Path({out!r}) / f"{{network}} {{way}}.npz", **values)
        np.savez(pathlib.Path({out!r}) / f"{{network}} {{way}} seen.npz", **{{k: np.array(v) for k, v in seen.items()}})
"""


@pytest.mark.parametrize(
    ("devices", "cases"),
    [
        # Four devices in all, of which "eight" takes as many as there are: they wait less for each other.
        (2, [("swin_unet", "fsdp 4"), ("contrastive", "eight")]),
        pytest.param(
            4,
            [("swin_unet", "eight"), ("swin_unet", "pmap"), ("resnet50_unet", "eight")]
            + [(network, "pmap") for network in ("contrastive", "vicreg")],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            4,
            [(network, "fsdp 8") for network in NETWORKS] + [("resnet50_unet", "pmap"), ("contrastive", "eight")],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["few", "rest", "others"],
)
def test_twenty_steps_on_two_processes_are_those_of_one_device(devices, cases, tmp_path):
    """Each process has so many devices."""
    child = _CHILD.format(
        root=str(launched.ROOT),
        tests=str(launched.ROOT / "tests"),
        here=str(pathlib.Path(__file__).parent),
        address=f"localhost:{launched.free_port()}",
        cases=cases,
        out=str(tmp_path),
    )
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)}
    processes = [subprocess.Popen([sys.executable, "-c", child, str(number)], env=environment) for number in (0, 1)]
    assert [process.wait(timeout=550) for process in processes] == [0, 0]
    for network, way in cases:
        *_, of_metrics, of_parameters = NETWORKS[network]
        expected, values, _ = twenty_steps(network, "one")
        found = np.load(tmp_path / f"{network} {way} seen.npz")
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], rtol=of_metrics, atol=of_metrics, err_msg=key)
        assert distance(values, np.load(tmp_path / f"{network} {way}.npz")) < of_parameters


@pytest.mark.parametrize("way", ["parts, fsdp", pytest.param("parts, pmap", marks=pytest.mark.slow)])
def test_twenty_steps_in_parts_are_those_in_parts_on_one_device(way):
    (expected, values, _), (found, after, _) = twenty_steps("swin_unet", "parts"), twenty_steps("swin_unet", way)
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-5)
    assert distance(values, after) < 1e-6


def test_twenty_steps_in_parts_are_those_of_the_whole():
    # The loss that is logged is the mean of those of the parts, which have not all as many labelled pixels.
    whole, parts = twenty_steps("swin_unet", "one"), twenty_steps("swin_unet", "parts")
    np.testing.assert_allclose(whole[0]["loss"], parts[0]["loss"], rtol=1e-3)
    assert distance(whole[1], parts[1]) < 1e-6


class Normalised(nnx.Module):
    """Two numbers per pixel, through batch norm."""

    def __init__(self, rngs):
        self.norm = BatchNorm(2, momentum=0.9, dtype=jnp.float32, rngs=rngs)


class Regression:
    """Half the mean square of normalised numbers less those that are wanted."""

    def loss(self, model, batch, keys_B):
        places = meshes.psum(batch["x"].shape[0])
        difference = model.norm(batch["x"]) - batch["wanted"]
        return 0.5 * jnp.sum(difference**2) / places, {"places": jnp.float32(places)}


@pytest.mark.parametrize("mode", meshes.MODES)
@pytest.mark.parametrize(("batch_norm", "groups"), [("global", 1), ("replica", 8)])
def test_batch_norm_is_of_the_whole_batch_or_of_each_replica(mode, batch_norm, groups):
    parallel = ConfigDict({"mode": mode, "data": -1, "fsdp": 1, "batch_norm": batch_norm})
    mesh = meshes.make_mesh(-1, 1, BATCH)
    template = params.Template(Normalised, "", meshes.batch_norm_attributes(parallel, mesh))
    values, statistics = (params.init_params(shapes, 0) for shapes in (template.parameters, template.statistics))
    generator = np.random.default_rng(0)
    data = {name: generator.normal(3.0, 2.0, (BATCH, 3, 3, 2)).astype(np.float32) for name in ("x", "wanted")}
    data["example"] = np.arange(BATCH, dtype=np.uint32)
    rules = smallest("unet").optimizer
    rules.update({"name": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip": 0.0})
    optimizer = optimizers.make_optimizer(rules)
    state = initial_state(template, values, statistics, optimizer, mesh)
    arrays = meshes.global_batch(data, meshes.batch_sharding(mesh), by_device=mode == "pmap")
    step = train_step(Regression(), template, optimizer, LearningRate(0.5, 0, 9, "constant"), 0)
    state, metrics = compile_train_step(step, state, arrays, mode)(state, arrays)

    x, wanted = (data[name].reshape(groups, -1, 3, 3, 2).astype(np.float64) for name in ("x", "wanted"))
    mean, var = x.mean((1, 2, 3), keepdims=True), x.var((1, 2, 3), keepdims=True)
    normalised = (x - mean) / np.sqrt(var + 1e-5)
    error = (normalised - wanted) / BATCH
    assert float(metrics["places"]) == BATCH
    assert float(metrics["loss"]) == pytest.approx(0.5 * np.sum((normalised - wanted) ** 2) / BATCH, rel=1e-5)
    moved = {"norm/bias": error, "norm/scale": error * normalised}
    for path, gradient in moved.items():
        expected = values[path] - 0.5 * gradient.sum((0, 1, 2, 3))
        np.testing.assert_allclose(state.trainable[path], expected, rtol=1e-4, atol=1e-4, err_msg=path)
    np.testing.assert_allclose(state.statistics["norm/mean"], 0.1 * mean.mean(0).ravel(), rtol=1e-5)
    np.testing.assert_allclose(state.statistics["norm/var"], 0.9 + 0.1 * var.mean(0).ravel(), rtol=1e-5)


def test_groups_learn_as_each_would_alone():
    """The gradient with respect to the input, too: against the batch norm of Flax on each group."""
    x = np.random.default_rng(1).normal(1.0, 2.0, (8, 3, 3, 2)).astype(np.float32)

    def loss(norm, x):
        return jnp.sum(jnp.sin(norm(x)))

    grouped, alone = Normalised(nnx.Rngs(0)).norm, nnx.BatchNorm(2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    grouped.groups = 4
    found = nnx.grad(loss, argnums=1)(grouped, x)
    expected = [nnx.grad(loss, argnums=1)(alone, x[first : first + 2]) for first in range(0, 8, 2)]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_what_does_not_go_together_is_refused():
    with pytest.raises(
        InputError, match=r"config\.parallel: mode='pmap' keeps all parameters on every device, and fsdp=2"
    ):
        meshes.check(ConfigDict({"mode": "pmap", "data": -1, "fsdp": 2, "batch_norm": "global"}))
