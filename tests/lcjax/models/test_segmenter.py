"""Every network on every fusion: shape, padding, devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import worlds
from flax import nnx
from networks import RGB, make, smallest

from data_pipelines.schema.sensors import S2
from lcjax.models import registry, resample
from lcjax.parallel import mesh as meshes
from lcjax.tasks.fusion import ADAPTED, MODES, inputs_of

SHAPES = {"s1": 2, "s2": 13, "aerial": 5, "image": 3}


def images(size, edge):
    generator = np.random.default_rng(0)
    return {name: generator.standard_normal((size, *edge, bands)).astype(np.float32) for name, bands in SHAPES.items()}


@pytest.mark.parametrize("fusion", [*(mode for mode in MODES if mode != "dates"), *ADAPTED, "s1", "s2", "image"])
@pytest.mark.parametrize("model", registry.FAMILIES)
def test_shape_of_the_logits(model, fusion):
    size = smallest(model).model
    known = {
        "streams": inputs_of(fusion, (RGB,) if fusion == "image" else worlds.held(fusion)),
        "classes": 8,
        "precision": "f32",
    }

    def forward(inputs):
        return registry.segmenter(size, rngs=nnx.Rngs(0), **known)(inputs)

    logits = jax.eval_shape(forward, images(2, (24, 40)))
    assert logits.shape == (2, 24, 40, 8)
    assert logits.dtype == jnp.float32


@pytest.mark.parametrize("patch", [2, 4])
def test_a_unet_on_patches_sees_each_pixel_once_and_answers_for_each(patch):
    size = smallest("unet", patch=patch).model
    known = {"streams": inputs_of("s2", (S2,)), "classes": 8, "precision": "f32"}

    def forward(inputs):
        network = registry.segmenter(size, rngs=nnx.Rngs(0), **known)
        assert network.stride == 16 * patch
        return network(inputs)

    assert jax.eval_shape(forward, images(2, (24, 40))).shape == (2, 24, 40, 8)
    image = jnp.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    found = resample.space_to_depth(image, patch)
    for row, column in ((0, 0), (1, 2)):
        expected = image[:, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        np.testing.assert_array_equal(found[:, row, column], expected.reshape(2, patch**2, 3))


def test_pooling_and_its_gradient_are_those_of_windows():
    image = np.random.default_rng(0).standard_normal((2, 8, 12, 3)).astype(np.float32)
    weights = np.random.default_rng(1).standard_normal((2, 4, 6, 3)).astype(np.float32)

    def by_windows(x):
        return nnx.max_pool(x, (2, 2), (2, 2))

    np.testing.assert_array_equal(resample.max_pool(image), by_windows(image))
    one, other = (
        jax.grad(lambda x, pool=pool: jnp.sum(pool(x) * weights))(image) for pool in (resample.max_pool, by_windows)
    )
    np.testing.assert_array_equal(one, other)
    # Ties, as after a ReLU: one of the pixels gets the whole gradient.
    flat = jax.grad(lambda x: jnp.sum(resample.max_pool(x)))(jnp.zeros((1, 2, 2, 1)))
    assert sorted(flat.ravel().tolist()) == [0, 0, 0, 1]


def network_of(model):
    _, template, values, statistics = make(smallest(model))
    return lambda: template.merge(values, statistics, train=False)


@pytest.mark.parametrize("model", ["unet", "swin_unet"])
def test_padding_is_by_reflection_and_only_where_it_is_needed(model):
    network = network_of(model)
    inputs = images(1, (29, 32))
    padded = {name: np.pad(image, ((0, 0), (0, 3), (0, 0), (0, 0)), mode="symmetric") for name, image in inputs.items()}

    @jax.jit
    def without_padding(inputs):
        parts = network()
        image = jnp.concatenate([inputs["s1"], inputs["s2"]], axis=-1)
        return parts.head(parts.decoders["s1_s2"](parts.encoders["s1_s2"](image))[-1])

    run = jax.jit(lambda inputs: network()(inputs))
    expected = without_padding(padded)
    assert expected.shape == (1, 32, 32, 8)  # both strides divide 32
    np.testing.assert_allclose(run(padded), expected, atol=1e-6)
    np.testing.assert_allclose(run(inputs), expected[:, :29], atol=1e-6)


# The others are the same program as one of these in the size that is used here: see test_overfit.py.
@pytest.mark.parametrize(
    "model", sorted(registry.FAMILIES.keys() - {"resnet34_unet", "resnet101_unet", "two_stream_swin"})
)
def test_logits_over_eight_devices_are_those_over_one(model):
    network = network_of(model)
    run = jax.jit(lambda inputs: network()(inputs))
    inputs = {name: image for name, image in images(8, (32, 32)).items() if name != "aerial"}
    spread = meshes.global_batch(inputs, meshes.batch_sharding(meshes.make_mesh(8, 1, 8)))
    one, eight = run(inputs), run(spread)
    assert len(eight.sharding.device_set) == 8
    assert float(jnp.abs(one).max()) > 1e-3
    # Logits are as large as 10 here and 0.1 there: rounding is relative to the largest.
    np.testing.assert_allclose(eight, one, rtol=0, atol=3e-6 * float(jnp.abs(one).max()))
