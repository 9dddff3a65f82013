"""Losses and their gradients against plain numpy in float64."""

import math
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.ops import losses
from lcjax.parallel import mesh as meshes

TEMPERATURE = 0.2
nt_xent = jax.jit(losses.nt_xent, static_argnums=2)


def softmax(logits):
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_cross_entropy_and_its_gradient(dtype):
    generator = np.random.default_rng(0)
    logits = jnp.asarray(4 * generator.standard_normal((2, 5, 6, 4)), dtype)
    labels = generator.integers(0, 4, (2, 5, 6)).astype(np.uint8)
    labels[generator.random(labels.shape) < 0.3] = IGNORE
    seen = labels != IGNORE
    share = softmax(np.asarray(logits, np.float64))
    of_truth = np.take_along_axis(share, np.where(seen, labels, 0)[..., None].astype(int), -1)[..., 0]
    loss, gradient = jax.jit(jax.value_and_grad(losses.cross_entropy))(logits, jnp.asarray(labels))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, -np.log(of_truth[seen]).mean(), rtol=1e-6)
    expected = np.where(seen[..., None], share - np.eye(4)[np.where(seen, labels, 0)], 0.0) / seen.sum()
    np.testing.assert_allclose(gradient.astype(jnp.float32), expected, atol=1e-6 if dtype == jnp.float32 else 2e-4)


def test_weighted_cross_entropy_is_that_of_scikit_learn():
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((2, 5, 6, 4)).astype(np.float32)
    labels = generator.choice(5, (2, 5, 6), p=[0.6, 0.2, 0.1, 0.05, 0.05])
    pixels, seen = np.bincount(labels.ravel(), minlength=5)[:4], labels < 4
    weights = losses.class_weights(pixels, 1.0)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels[seen])
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    stored = jnp.asarray(np.where(seen, labels, IGNORE).astype(np.uint8))
    loss = jax.jit(losses.cross_entropy)(logits, stored, jnp.asarray(weights))
    expected = log_loss(labels[seen], softmax(logits[seen].astype(np.float64)), sample_weight=weights[labels[seen]])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_class_weights_between_none_and_all():
    pixels = [900, 90, 10, 0]
    for power in (0.0, 0.25, 0.5):
        weights = losses.class_weights(pixels, power)
        np.testing.assert_allclose(weights[1] / weights[0], 10**power, rtol=1e-5)
        np.testing.assert_allclose((weights * np.array(pixels)).sum() / 1000, 1.0, rtol=1e-5)
        assert weights[3] == 0
    assert (losses.class_weights([0, 0], 0.5) == 0).all()  # nothing is labelled: nothing to learn, and no division


def test_cross_entropy_of_ignored_pixels_alone_is_zero_and_moves_nothing():
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((1, 3, 3, 2)), jnp.float32)
    labels = jnp.full((1, 3, 3), IGNORE, jnp.uint8)
    loss, gradient = jax.jit(jax.value_and_grad(losses.cross_entropy))(logits, labels)
    assert float(loss) == 0.0
    assert not np.any(gradient)


def test_cross_entropy_of_a_pixel_does_not_depend_on_what_is_ignored():
    logits = np.random.default_rng(0).standard_normal((1, 2, 2, 3)).astype(np.float32)
    labels = np.array([[[0, IGNORE], [2, IGNORE]]], np.uint8)
    other = logits.copy()
    other[labels == IGNORE] = 1e4
    one, two = (jax.jit(losses.cross_entropy)(x, labels) for x in (logits, other))
    assert float(one) == float(two)


def dice(logits, labels, weights):
    """A loss that is no mean over pixels, written as `losses.PixelLoss` asks: of sums over all replicas."""
    del weights
    truth = jax.nn.one_hot(labels, logits.shape[-1])  # none where a label is IGNORE
    share = jax.nn.softmax(logits) * jnp.any(truth > 0, axis=-1, keepdims=True)
    both, total = meshes.psum((jnp.sum(share * truth, axis=(0, 1, 2)), jnp.sum(share + truth, axis=(0, 1, 2))))
    return (1 - jnp.mean(2 * both / total)) / meshes.psum(1.0)


def dice_by_hand(logits, labels):
    """1 - the mean over classes of 2 sum(p t) / (sum(p) + sum(t)), in float64."""
    seen = labels != IGNORE
    share, truth = softmax(np.asarray(logits, np.float64))[seen], np.eye(logits.shape[-1])[labels[seen]]
    return 1 - np.mean(2 * (share * truth).sum(0) / (share + truth).sum(0))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [losses.cross_entropy, dice])
def test_what_replicas_return_adds_up_to_the_loss_of_the_batch_and_so_do_gradients(loss, weighted):
    """Replicas with most and with none of the labels: a mean of each one's mean would be another number."""
    generator = np.random.default_rng(0)
    scale = jnp.asarray(generator.standard_normal(4), jnp.float32)
    features = generator.standard_normal((8, 1, 3, 5, 4)).astype(np.float32)
    labels = generator.integers(0, 4, (8, 1, 3, 5)).astype(np.uint8)
    labels[generator.random(labels.shape) < np.linspace(0, 1, 8)[:, None, None, None]] = IGNORE
    weights = jnp.asarray([1.0, 2.0, 0.5, 3.0]) if weighted else None

    def step(scale, features, labels):
        value, gradient = jax.value_and_grad(lambda scale: loss(scale.reshape(1, 1, 1, 4) * features, labels, weights))(
            scale
        )
        return meshes.psum(value), meshes.psum(gradient)

    whole = jax.jit(step)(scale, features.reshape(8, 3, 5, 4), labels.reshape(8, 3, 5))
    spread = jax.pmap(step, meshes.REPLICAS, in_axes=(None, 0, 0), out_axes=None)(scale, features, labels)
    np.testing.assert_allclose(spread[0], whole[0], rtol=1e-5)
    np.testing.assert_allclose(spread[1], whole[1], rtol=1e-4, atol=1e-7)
    if loss is dice:
        np.testing.assert_allclose(
            whole[0], dice_by_hand(np.asarray(scale) * features.reshape(-1, 4), labels.ravel()), rtol=1e-5
        )


def test_losses_are_found_by_name_and_what_is_none_is_refused(monkeypatch):
    assert losses.pixel_loss("cross_entropy") is losses.cross_entropy
    with pytest.raises(InputError, match=r"^config\.loss='dice': expected one of cross_entropy, "):
        losses.pixel_loss("dice")
    with pytest.raises(InputError, match=r"^config\.loss='os:system': comes from a file, which may not choose"):
        losses.pixel_loss("os:system")
    monkeypatch.setattr(plugins, "_allowed", set())
    plugins.allow("math")
    with pytest.raises(InputError, match=r"^config\.loss='math:pi': found float, expected a function \(logits"):
        losses.pixel_loss("math:pi")


def test_the_loss_that_the_docs_show_is_what_they_say():
    text = (pathlib.Path(__file__).parents[3] / "docs" / "optimisation.md").read_text()
    shown: dict = {}
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], shown)
    generator = np.random.default_rng(0)
    logits = generator.standard_normal((2, 3, 4, 5)).astype(np.float32)
    labels = np.where(generator.random((2, 3, 4)) < 0.3, IGNORE, generator.integers(0, 5, (2, 3, 4))).astype(np.uint8)
    seen = labels != IGNORE
    targets = 0.9 * np.eye(5)[labels[seen]] + 0.1 / 5
    expected = -(targets * np.log(softmax(logits[seen].astype(np.float64)))).sum(-1).mean()
    np.testing.assert_allclose(jax.jit(shown["smoothed"])(logits, labels, None), expected, rtol=1e-5)


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
