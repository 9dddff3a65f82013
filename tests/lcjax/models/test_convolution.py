"""Convolutions: the same function as XLA's, and which platform computes it how."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export, lax

from lcjax.models import convolution

NUMBERS = ("NHWC", "HWIO", "NHWC")


def both(stride: int, padding):
    how = {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "dimension_numbers": NUMBERS, "feature_group_count": 6}
    return tuple(
        functools.partial(function, window_strides=(stride, stride), padding=padding, **how)
        for function in (convolution.conv_general_dilated, lax.conv_general_dilated)
    )


@pytest.mark.parametrize("padding", ["SAME", ((1, 1), (2, 0))])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("edge", "size"), [(3, (8, 8)), (3, (7, 10)), (5, (9, 6)), (5, (4, 4))])
def test_function_and_gradients_are_those_of_the_convolution(edge, size, stride, padding):
    generator = np.random.default_rng(0)
    image, kernel = (generator.standard_normal(shape, np.float32) for shape in ((3, *size, 6), (edge, edge, 1, 6)))
    (ours, pull), (theirs, pull_theirs) = (jax.vjp(one, image, kernel) for one in both(stride, padding))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    along = generator.standard_normal(ours.shape, np.float32)
    for found, expected in zip(pull(along), pull_theirs(along), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=3e-5)


def test_sums_are_float32_where_images_are_not():
    ours, _ = both(1, "SAME")
    image, kernel = jnp.ones((1, 8, 8, 6), jnp.bfloat16), jnp.full((5, 5, 1, 6), 1 / 64, jnp.bfloat16)
    assert ours(image, kernel).dtype == jnp.bfloat16
    assert float(ours(image, kernel)[0, 4, 4, 0]) == 25 / 64
    assert jax.grad(lambda image: ours(image, kernel).sum().astype(jnp.float32))(image).dtype == jnp.bfloat16


@pytest.mark.parametrize(("platform", "convolutions"), [("cpu", 0), ("tpu", 3), ("cuda", 3)])
def test_accelerators_keep_the_convolution(platform, convolutions):
    ours, _ = both(2, "SAME")

    def values(image, kernel):
        answer, pull = jax.vjp(ours, image, kernel)
        return answer, pull(answer)

    shapes = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 8, 8, 6), (3, 3, 1, 6)))
    program = export.export(jax.jit(values), platforms=[platform])(*shapes).mlir_module()
    assert program.count("stablehlo.convolution") == convolutions


def dense(stride: int, padding):
    how = {"lhs_dilation": (1, 1), "rhs_dilation": (1, 1), "dimension_numbers": NUMBERS, "feature_group_count": 1}
    return tuple(
        functools.partial(function, window_strides=(stride, stride), padding=padding, **how)
        for function in (convolution.conv_general_dilated, lax.conv_general_dilated)
    )


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((1, 1), (2, 0))])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("edge", "size", "outputs"),
    [(1, (8, 8), 5), (1, (7, 10), 7), (1, (7, 9), 6), (3, (8, 8), 5), (3, (7, 10), 5), (7, (9, 12), 5)],
)
def test_gradients_over_all_channels_are_those_of_the_convolution(edge, size, outputs, stride, padding):
    generator = np.random.default_rng(0)
    shapes = (3, *size, 6), (edge, edge, 6, outputs)
    image, kernel = (generator.standard_normal(shape, np.float32) for shape in shapes)
    (ours, pull), (theirs, pull_theirs) = (jax.vjp(one, image, kernel) for one in dense(stride, padding))
    np.testing.assert_array_equal(ours, theirs)
    along = generator.standard_normal(ours.shape, np.float32)
    for found, expected in zip(pull(along), pull_theirs(along), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize(
    "other",
    [
        {"feature_group_count": 3},
        {"feature_group_count": 6, "kernel": (3, 3, 1, 12)},
        {"window_strides": (1, 2)},
        {"rhs_dilation": (2, 2), "kernel": (1, 1, 6, 5)},
    ],
)
def test_what_has_no_form_of_its_own_is_the_convolution(other):
    """A network of somebody else may have groups, several filters a channel, or strides of two sizes."""
    groups = other.get("feature_group_count", 1)
    shape = other.pop("kernel", (3, 3, 6 // groups, 6))
    how = {"window_strides": (1, 1), "padding": "SAME", "lhs_dilation": (1, 1), "rhs_dilation": (1, 1)}
    how |= {"dimension_numbers": NUMBERS, "feature_group_count": 1} | other
    generator = np.random.default_rng(0)
    image, kernel = (generator.standard_normal(one, np.float32) for one in ((2, 9, 8, 6), shape))
    found = convolution.conv_general_dilated(image, kernel, **how)
    np.testing.assert_array_equal(found, lax.conv_general_dilated(image, kernel, **how))


def test_gradient_of_a_1x1_kernel_is_summed_in_float32():
    ours, _ = dense(1, "SAME")
    image, kernel = jnp.ones((1, 40, 40, 1), jnp.bfloat16), jnp.ones((1, 1, 1, 1), jnp.bfloat16)
    gradient = jax.grad(lambda kernel: ours(image, kernel).astype(jnp.float32).sum())(kernel)
    assert gradient.dtype == jnp.bfloat16
    assert float(gradient[0, 0, 0, 0]) == 1600.0  # in bfloat16 ones add up to 256
