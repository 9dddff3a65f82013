"""Swin blocks against brute force, sizes of the published networks, drop path, precision."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import jaxprs_in_params
from networks import make, smallest

from lcjax import parameters
from lcjax.models import families, layers, segmenter, swin
from lcjax.streams import STREAMS


def test_merge_is_the_inverse_of_partition():
    x = jnp.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    windows = swin.partition(x, 4)
    assert windows.shape == (2, 6, 16, 3)
    np.testing.assert_array_equal(windows[0, 4].reshape(4, 4, 3), x[0, 4:8, 4:8])  # rows of windows, from the left
    np.testing.assert_array_equal(swin.merge(windows, 4, 8, 12), x)


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_relative_index(window):
    index = swin.relative_index(window)
    places = [(row, column) for row in range(window) for column in range(window)]
    offsets = {}
    for one, (r1, c1) in enumerate(places):
        for two, (r2, c2) in enumerate(places):
            offsets.setdefault(int(index[one, two]), set()).add((r1 - r2, c1 - c2))
    # One row of the table for each offset, and every row is used.
    assert all(len(pairs) == 1 for pairs in offsets.values())
    assert sorted(offsets) == list(range((2 * window - 1) ** 2))


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"), [(8, 8, 4, 2), (8, 12, 4, 2), (14, 7, 7, 3), (6, 4, 2, 1)]
)
def test_shift_mask(height, width, window, shift):
    found = swin.shift_mask(height, width, window, shift)
    # Each token knows where it was before the roll; two may attend where they lie to each other as they lay then.
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    was = np.stack([np.roll(axis, (-shift, -shift), (0, 1)) for axis in (rows, columns)], -1)
    windows = np.asarray(swin.partition(jnp.asarray(was)[None], window))[0]
    assert found.shape == (height * width // window**2, window**2, window**2)
    place = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij"), -1).reshape(-1, 2)
    for k, tokens in enumerate(windows):
        for one in range(window**2):
            for two in range(window**2):
                together = np.array_equal(tokens[one] - tokens[two], place[one] - place[two])
                assert found[k, one, two] == (0 if together else swin._MASKED)


def test_attention_does_not_cross_what_the_roll_tore_apart():
    block = swin.SwinBlock(8, 2, 4, 2, 0.0, 0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 8))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(block(x, None)[0, 0, 0])))(x)
    seen = np.argwhere(np.abs(np.asarray(gradient[0])).max(-1) > 1e-9)
    # The corner lies in a window of its own after the shift by two.
    assert seen.max(axis=0).tolist() == [1, 1]


def test_every_second_block_is_shifted_by_half_a_window():
    size = smallest("swin_unet", depths=(2, 3)).model
    known = {"streams": STREAMS["s1"], "channels": {"s1": 2}, "classes": 8, "precision": "f32"}
    network = nnx.eval_shape(lambda: families.segmenter(size, rngs=nnx.Rngs(0), **known))
    modules = nnx.iter_modules(network)
    shifts = {"/".join(map(str, path)): module.shift for path, module in modules if isinstance(module, swin.SwinBlock)}
    assert len(shifts) == 2 + 3 + 2
    assert shifts == {path: 2 * (int(path[-1]) % 2) for path in shifts}


@pytest.mark.parametrize(("height", "width"), [(50, 70), (33, 32), (16, 16), (5, 9)])
def test_any_input_size(height, width):
    task, template, values, statistics = make(smallest("swin_unet"))
    inputs = {"s1": jnp.zeros((2, height, width, 2)), "s2": jnp.zeros((2, height, width, 13))}
    logits = jax.eval_shape(lambda values: template.merge(values, statistics, train=False)(inputs), values)
    assert logits.shape == (2, height, width, len(task.names))


def test_the_pyramid():
    build = encoder(5)
    network = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    assert network.channels == (96, 192, 384, 768)
    assert network.strides == (4, 8, 16, 32)
    pyramid = nnx.eval_shape(lambda network: network(jnp.zeros((1, 224, 224, 5))), network)
    assert [level.shape for level in pyramid] == [(1, 56, 56, 96), (1, 28, 28, 192), (1, 14, 14, 384), (1, 7, 7, 768)]


def count(build):
    template = parameters.Template(build)
    return sum(math.prod(leaf.shape) for leaf in template.parameters.values())


def sized(name, **build):
    size = families.sized(name)
    return lambda rngs: families.segmenter(size, precision="f32", rngs=rngs, **build)


def encoder(inputs):
    size = families.sized("two_stream_swin") | {"remat": False, "dtype": jnp.float32}
    return lambda rngs: families.family("two_stream_swin").encoder(inputs, rngs=rngs, **size)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        # The released Swin-Unet has 27,172,356 with 5 bands and 13 classes; two_stream_swin is in configs/golden.
        (sized("swin_unet", streams=STREAMS["aerial"], channels={"aerial": 5}, classes=13), 27_172_356),
        (sized("swin_unet", streams=STREAMS["early"], channels={"s1": 2, "s2": 13}, classes=8), 27_187_236),
        (sized("unet", streams=STREAMS["aerial"], channels={"aerial": 5}, classes=13), 17_269_325),
        (sized("unet", streams=STREAMS["early"], channels={"s1": 2, "s2": 13}, classes=8), 17_274_760),
        # torchvision's swin_t without its classifier, with 2 and 13 bands for 3.
        (encoder(2), 27_517_818),
        (encoder(13), 27_534_714),
    ],
    ids=["swin_unet aerial", "swin_unet early", "unet aerial", "unet early", "swin_t 2", "swin_t 13"],
)
def test_published_sizes(build, expected):
    assert count(build) == expected


def test_drop_rates_rise_over_all_blocks():
    rates = swin.drop_rates((2, 2, 6, 2), 0.1)
    assert [len(stage) for stage in rates] == [2, 2, 6, 2]
    np.testing.assert_allclose(np.concatenate(rates), np.linspace(0, 0.1, 12))


def dropping(rate=0.25):
    drop = layers.DropPath(rate, branch=3)
    drop.train()
    return drop


def noise(size, first=0):
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(first, first + size))
    return jax.vmap(lambda key: jax.random.uniform(key, (8,)))(keys)


def test_drop_path_keeps_the_expectation():
    x = jnp.ones((4096, 2, 3))
    found = np.asarray(dropping()(x, noise(4096)))
    assert set(np.unique(found).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert found.mean() == pytest.approx(1.0, abs=0.03)
    assert np.all(found == found[:, :1, :1])  # whole examples


@pytest.mark.parametrize("how", ["eval", "rate 0", "no noise"])
def test_drop_path_does_nothing(how):
    x = jnp.ones((64, 3))
    drop = dropping(0.0 if how == "rate 0" else 0.9)
    if how == "eval":
        drop.eval()
    np.testing.assert_array_equal(drop(x, None if how == "no noise" else noise(64)), x)


def test_drop_path_of_an_example_does_not_depend_on_the_batch():
    x = jnp.ones((16, 3))
    parts = [dropping()(x[:4], noise(4, first)) for first in range(0, 16, 4)]
    np.testing.assert_array_equal(dropping()(x, noise(16)), jnp.concatenate(parts))


def test_every_branch_of_a_network_has_a_number_of_its_own():
    for name in ("swin_unet", "two_stream_swin"):
        size = families.sized(name) | {"embed": 24, "heads": (1, 2, 4, 8)}
        network = nnx.eval_shape(
            lambda size=size: families.segmenter(
                size, streams=STREAMS["s1"], channels={"s1": 2}, classes=8, precision="f32", rngs=nnx.Rngs(0)
            )
        )
        branches = [module.branch for _, module in nnx.iter_modules(network) if isinstance(module, layers.DropPath)]
        assert sorted(branches) == list(range(len(branches)))
        assert len(branches) <= segmenter.BRANCHES


def test_training_draws_and_evaluation_does_not():
    _, template, values, statistics = make(smallest("swin_unet", "s1", drop_path=0.5))
    inputs = {"s1": jax.random.normal(jax.random.key(1), (4, 16, 16, 2))}

    def forward(values, keys, train):
        return template.merge(values, statistics, train=train)(inputs, keys)

    run = jax.jit(forward, static_argnums=2)
    one, two = (jax.random.split(jax.random.key(seed), 4) for seed in (0, 1))
    np.testing.assert_array_equal(run(values, one, False), run(values, two, False))
    np.testing.assert_array_equal(run(values, one, True), run(values, one, True))
    assert np.any(run(values, one, True) != run(values, two, True))


@pytest.mark.parametrize("model", ["unet", "two_stream_swin"])
def test_bf16_computes_so_and_keeps_f32_at_both_ends(model):
    config = smallest(model)
    config.precision = "bf16"
    _, template, values, statistics = make(config)
    assert {leaf.dtype for leaf in (template.parameters | template.statistics).values()} == {jnp.dtype("float32")}
    inputs = {"s1": jnp.zeros((1, 32, 32, 2)), "s2": jnp.zeros((1, 32, 32, 13))}

    def forward(values, statistics):
        return template.merge(values, statistics, train=False)(inputs)

    jaxpr = jax.make_jaxpr(forward)(values, statistics)
    assert jaxpr.out_avals[0].dtype == jnp.float32
    *products, last = [
        equation.invars[0].aval.dtype
        for equation in equations(jaxpr.jaxpr)
        if equation.primitive.name in ("dot_general", "conv_general_dilated")
    ]
    # The bilinear upsampling of the UNet is a product too, and stays in the dtype of its input.
    assert len(products) > 15
    assert set(products) == {jnp.dtype("bfloat16")}
    assert last == jnp.float32  # the logits


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)
