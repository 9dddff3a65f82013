"""CutMix: boxes of the example before, by the law of the article, alike on any number of devices and in both modes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lcjax.ops import augment, mixing
from lcjax.parallel import mesh as meshes

HEIGHT, WIDTH = 24, 32


def keys(size):
    return augment.example_keys(7, jnp.int32(0), jnp.arange(size, dtype=jnp.uint32))


def numbered(size):
    """Images and labels that say which example they are of."""
    number = np.broadcast_to(np.arange(size)[:, None, None], (size, HEIGHT, WIDTH))
    images = {"s1": number[..., None].astype(np.float32), "s2": np.stack([number, -number], -1).astype(np.float32)}
    return images, (number % 251).astype(np.uint8)


def mixed(size, probability):
    function = jax.jit(lambda images, labels, keys: mixing.cutmix(images, labels, keys, probability))
    return jax.tree.map(np.asarray, function(*numbered(size), keys(size)))


def boxes_of_the_article(count, seed=0):
    """Shares of the image that the boxes of Yun et al. 2019 cover: their appendix, with Beta(1, 1)."""
    generator = np.random.default_rng(seed)
    shares = []
    for _ in range(count):
        cut = np.sqrt(1 - generator.beta(1, 1))
        sizes = [int(HEIGHT * cut), int(WIDTH * cut)]
        middles = [generator.integers(HEIGHT), generator.integers(WIDTH)]
        sides = [
            np.clip(middle - size // 2 + size, 0, limit) - np.clip(middle - size // 2, 0, limit)
            for middle, size, limit in zip(middles, sizes, (HEIGHT, WIDTH), strict=True)
        ]
        shares.append(np.prod(sides) / (HEIGHT * WIDTH))
    return shares


def test_a_box_is_of_the_example_before_for_all_sensors_and_labels():
    size = 64
    images, labels = mixed(size, 1.0)
    number, before = np.arange(size), (np.arange(size) - 1) % size
    taken = images["s1"][..., 0] != number[:, None, None]
    expected = np.where(taken, before[:, None, None], number[:, None, None])
    np.testing.assert_array_equal(images["s1"][..., 0], expected)
    np.testing.assert_array_equal(images["s2"], np.stack([expected, -expected], -1))
    np.testing.assert_array_equal(labels, expected)
    for one in taken[taken.any((1, 2))]:
        rows, columns = (np.flatnonzero(one.any(axis)) for axis in (1, 0))
        assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_boxes_are_as_large_as_in_the_article():
    size = 2000
    taken = mixed(size, 1.0)[0]["s1"][..., 0] != np.arange(size)[:, None, None]
    assert stats.ks_2samp(taken.mean((1, 2)), boxes_of_the_article(4000)).pvalue > 1e-3
    heat = taken.mean(0)
    np.testing.assert_allclose(heat, heat[::-1], atol=0.06)  # anywhere, as far above as below
    np.testing.assert_allclose(heat, heat[:, ::-1], atol=0.06)


def test_as_many_get_one_as_the_probability_says():
    size = 2000
    full, some = (mixed(size, probability)[0]["s1"][..., 0] for probability in (1.0, 0.3))
    got = (some != np.arange(size)[:, None, None]).any((1, 2))
    assert got.mean() == pytest.approx(0.3 * (full != np.arange(size)[:, None, None]).any((1, 2)).mean(), abs=0.04)
    np.testing.assert_array_equal(some[got], full[got])


def test_any_number_of_devices_mixes_alike_and_one_example_travels_from_each():
    size = 16
    expected = mixed(size, 1.0)

    def step(images, labels, keys_B):
        return mixing.cutmix(images, labels, keys_B, 1.0)

    for devices in (2, 8):
        mesh = meshes.make_mesh(devices, 1, size)
        arrays = jax.device_put((*numbered(size), keys(size)), meshes.batch_sharding(mesh))
        with jax.set_mesh(mesh):
            compiled = jax.jit(step).lower(*arrays).compile()
        assert not re.search(r"all-gather|all-to-all", compiled.as_text())
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(compiled(*arrays)), expected)

    def by_device(tree):
        return jax.tree.map(lambda x: x.reshape(8, size // 8, *x.shape[1:]), tree)

    replicas = jax.pmap(step, meshes.REPLICAS)(*by_device((*numbered(size), keys(size))))
    found = jax.tree.map(lambda x: np.asarray(x).reshape(size, *x.shape[2:]), replicas)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
