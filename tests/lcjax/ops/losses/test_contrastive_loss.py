"""NT-Xent and its gradient against plain numpy in float64."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from lcjax.ops import losses
from lcjax.parallel import mesh as meshes

TEMPERATURE = 0.2
nt_xent = jax.jit(losses.nt_xent, static_argnums=2)


def views(size=6, channels=8, seed=0):
    generator = np.random.default_rng(seed)
    both = generator.standard_normal((2, size, channels))
    both[1] += 0.7 * both[0]  # near enough that some find their partner and some do not
    return both / np.linalg.norm(both, axis=-1, keepdims=True)


def nt_xent_by_loops(first, second, valid):
    """(mean loss, hits by view) by the definition, an anchor at a time, in float64."""
    both, size = np.concatenate([first, second]), len(first)
    kept = [i for i in range(2 * size) if valid[i % size]]
    terms, hits = [], [0, 0]
    for anchor in kept:
        partner = (anchor + size) % (2 * size)
        others = [other for other in kept if other != anchor]
        similarity = {other: float(both[anchor] @ both[other]) / TEMPERATURE for other in others}
        terms.append(np.log(sum(np.exp(value) for value in similarity.values())) - similarity[partner])
        in_other_view = [other for other in others if (other < size) != (anchor < size)]
        hits[anchor // size] += max(in_other_view, key=similarity.get) == partner
    return np.mean(terms), hits


VALID = {"all": np.ones(6, bool), "padded": np.array([True] * 4 + [False] * 2)}


@pytest.mark.parametrize("valid", VALID.values(), ids=VALID)
def test_nt_xent_equals_its_definition(valid):
    first, second = views()
    expected, hits = nt_xent_by_loops(first, second, valid)
    loss, sums = nt_xent(
        jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32), TEMPERATURE, jnp.asarray(valid)
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert sums["hits"].tolist() == hits
    assert 0 < sum(hits) < 2 * valid.sum()  # or the test would not tell
    assert int(sums["anchors"]) == 2 * valid.sum()
    np.testing.assert_allclose(sums["loss_sum"], expected * 2 * valid.sum(), rtol=1e-5)


@pytest.mark.parametrize("valid", VALID.values(), ids=VALID)
def test_gradient_of_nt_xent_equals_finite_differences(valid):
    both = views()

    def loss(first, second):
        return losses.nt_xent(first, second, TEMPERATURE, jnp.asarray(valid))[0]

    found = jax.jit(jax.grad(loss, argnums=(0, 1)))(*jnp.asarray(both, jnp.float32))
    step, expected = 1e-6, np.zeros_like(both)
    for place in np.ndindex(both.shape):
        moved = np.zeros_like(both)
        moved[place] = step
        up, down = (nt_xent_by_loops(*(both + sign * moved), valid)[0] for sign in (1, -1))
        expected[place] = (up - down) / (2 * step)
    np.testing.assert_allclose(np.stack(found), expected, atol=1e-5)
    assert not np.any(np.stack(found)[:, ~valid])


def test_nt_xent_without_a_mask_takes_all():
    first, second = jnp.asarray(views(), jnp.float32)
    one, two = nt_xent(first, second, TEMPERATURE), nt_xent(first, second, TEMPERATURE, jnp.ones(6, bool))
    np.testing.assert_allclose(one[0], two[0], rtol=1e-6)
    assert one[1]["hits"].tolist() == two[1]["hits"].tolist()


def test_nt_xent_is_symmetric_in_the_views():
    first, second = jnp.asarray(views(), jnp.float32)
    one, two = nt_xent(first, second, TEMPERATURE), nt_xent(second, first, TEMPERATURE)
    np.testing.assert_allclose(one[0], two[0], rtol=1e-6)
    assert one[1]["hits"].tolist() == two[1]["hits"].tolist()[::-1]


@pytest.mark.parametrize("value", [1e4, np.nan])
def test_padding_is_neither_anchor_nor_negative(value):
    first, second = jnp.asarray(views(), jnp.float32)
    valid = jnp.asarray(VALID["padded"])
    other = first.at[4:].set(value), second.at[4:].set(-value)
    loss, sums = nt_xent(first, second, TEMPERATURE, valid)
    alone, alone_sums = nt_xent(first[:4], second[:4], TEMPERATURE)
    np.testing.assert_allclose(loss, alone, rtol=1e-6)
    assert sums["hits"].tolist() == alone_sums["hits"].tolist()
    np.testing.assert_allclose(nt_xent(*other, TEMPERATURE, valid)[0], loss, rtol=1e-6)


def test_nt_xent_over_eight_devices_is_that_over_one():
    first, second = jnp.asarray(views(size=16), jnp.float32)
    valid = jnp.arange(16) < 13
    mesh = meshes.make_mesh(8, 1, 16)

    def loss(first, second, valid):
        return losses.nt_xent(first, second, TEMPERATURE, valid)

    function = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
    (one, sums), gradient = function(first, second, valid)
    spread = jax.device_put((first, second, valid), meshes.batch_sharding(mesh))
    (eight, spread_sums), spread_gradient = function(*spread)
    assert len(spread[0].sharding.device_set) == 8
    np.testing.assert_allclose(eight, one, rtol=1e-6)
    for key, expected in sums.items():
        np.testing.assert_allclose(spread_sums[key], expected, rtol=1e-6)
    np.testing.assert_allclose(np.stack(spread_gradient), np.stack(gradient), atol=1e-7)
    assert spread_gradient[0].sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec(meshes.AXES)), 2)


def test_no_device_holds_all_logits():
    size, devices = 64, 8
    mesh = meshes.make_mesh(devices, 1, size)
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal((2, size, 16)).astype(np.float32)
    spread = jax.device_put(tuple(drawn), meshes.batch_sharding(mesh))
    function = jax.jit(jax.value_and_grad(lambda *views: losses.nt_xent(*views, TEMPERATURE)[0], argnums=(0, 1)))
    with jax.set_mesh(mesh):
        text = function.lower(*spread).compile().as_text()
    shapes = [tuple(map(int, shape.split(","))) for shape in re.findall(r"f32\[([\d,]+)\]", text)]
    assert max(map(math.prod, shapes)) == (2 * size) ** 2 // devices
    # Embeddings are gathered once, and once are the gradients of all that they did elsewhere added up.
    assert len(re.findall(r"= f32\S* all-gather\(", text)) == 1
    assert not re.findall(r" (all-to-all|collective-permute)\(", text)


@pytest.mark.parametrize("valid", VALID.values(), ids=VALID)
def test_alignment_and_uniformity_equal_their_definitions(valid):
    both = views()
    _, sums = nt_xent(*jnp.asarray(both, jnp.float32), TEMPERATURE, jnp.asarray(valid))
    kept = both[:, valid]
    np.testing.assert_allclose(sums["distance_sum"], np.square(kept[0] - kept[1]).sum(), rtol=1e-5)
    distances = np.square(kept[:, :, None] - kept[:, None]).sum(-1)
    others = ~np.eye(valid.sum(), dtype=bool)
    np.testing.assert_allclose(sums["potential_sum"], np.exp(-2 * distances[:, others]).sum(), rtol=1e-5)
    assert int(sums["pairs"]) == 2 * others.sum()
