"""Which blocks Swin has, drop path, and the head."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from networks import make, smallest

from lcjax.models import layers, registry, segmenter, swin
from lcjax.models.interfaces import whole
from lcjax.models.resample import depth_to_space


def test_every_second_block_is_shifted_by_half_a_window():
    size = smallest("swin_unet", depths=(2, 3)).model
    known = {"streams": whole({"s1": 2}), "classes": 8, "precision": "f32"}
    network = nnx.eval_shape(lambda: registry.segmenter(size, rngs=nnx.Rngs(0), **known))
    modules = nnx.iter_modules(network)
    shifts = {"/".join(map(str, path)): module.shift for path, module in modules if isinstance(module, swin.SwinBlock)}
    assert len(shifts) == 2 + 3 + 2
    assert shifts == {path: 2 * (int(path[-1]) % 2) for path in shifts}


def test_the_pyramid():
    size = registry.sized("two_stream_swin") | {"remat": False, "dtype": jnp.float32}
    network = nnx.eval_shape(lambda: registry.family("two_stream_swin").encoder(5, rngs=nnx.Rngs(0), **size))
    assert network.channels == (96, 192, 384, 768)
    assert network.strides == (4, 8, 16, 32)
    pyramid = nnx.eval_shape(lambda network: network(jnp.zeros((1, 224, 224, 5))), network)
    assert [level.shape for level in pyramid] == [(1, 56, 56, 96), (1, 28, 28, 192), (1, 14, 14, 384), (1, 7, 7, 768)]


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
        size = registry.sized(name) | {"embed": 24, "heads": (1, 2, 4, 8)}
        network = nnx.eval_shape(
            lambda size=size: registry.segmenter(
                size, streams=whole({"s1": 2}), classes=8, precision="f32", rngs=nnx.Rngs(0)
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


@pytest.mark.parametrize(
    ("height", "in_cache", "strips"), [(6, 2**20, 1), (6, 2 * 2 * 5 * 16 * 8, 3), (6, 5 * 2 * 5 * 16 * 8, 2), (7, 1, 7)]
)
def test_the_head_by_strips(height, in_cache, strips, monkeypatch):
    monkeypatch.setattr(swin, "_IN_CACHE", in_cache)
    head = swin.SwinHead(8, 3, patch=4, dtype=jnp.float32, rngs=nnx.Rngs(0))
    keys = iter(jax.random.split(jax.random.key(0), 4))
    layer_norm = head.expand.norm
    layer_norm.scale[...] = jax.random.normal(next(keys), (8,))
    layer_norm.bias[...] = jax.random.normal(next(keys), (8,))
    x, wanted = jax.random.normal(next(keys), (2, height, 5, 8)), jax.random.normal(next(keys), (2, 4 * height, 20, 3))
    assert f"length={strips}" in str(jax.make_jaxpr(head)(x))

    # By hand: pixel (row, column) of a token's block is its own part of what the token is expanded to.
    token, row, column = np.asarray(x, np.float64)[1, height - 1, 2], 3, 1
    pixel = (token @ np.asarray(head.expand.expand.kernel[...], np.float64)).reshape(4, 4, 8)[row, column]
    normed = (pixel - pixel.mean()) / np.sqrt(pixel.var() + 1e-5) * layer_norm.scale[...] + layer_norm.bias[...]
    by_hand = np.asarray(normed @ head.classify.kernel[...])
    np.testing.assert_allclose(head(x)[1, 4 * (height - 1) + row, 4 * 2 + column], by_hand, rtol=1e-4, atol=1e-5)

    def as_a_whole(head, x):
        return depth_to_space(head._logits(x), 4)

    def gradients(call):
        return jax.jit(nnx.grad(lambda head, x: jnp.sum(call(head, x) * wanted), argnums=(0, 1)))(head, x)

    found, expected = gradients(lambda head, x: head(x)), gradients(as_a_whole)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4), found, expected)
