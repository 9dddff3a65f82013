"""Features made larger from corner to corner, against numpy's interpolation of rows and columns."""

import jax
import numpy as np
import pytest
from flax import nnx
from jax import export

from lcjax.models import resample


def by_numpy(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Row by row, then column by column: the first and the last place are those of the image."""
    for axis, size in ((1, height), (2, width)):
        old = image.shape[axis]
        places = np.linspace(0, old - 1, size) if size > 1 else np.zeros(1)
        image = np.apply_along_axis(lambda line, at, n: np.interp(at, np.arange(n), line), axis, image, places, old)
    return image


@pytest.mark.parametrize(("old", "new"), [((7, 5), (14, 10)), ((4, 6), (9, 3)), ((1, 3), (2, 1)), ((3, 3), (3, 3))])
def test_corners_stay_at_corners(old, new):
    image = np.random.default_rng(0).standard_normal((2, *old, 3)).astype(np.float32)
    found = np.asarray(resample.resize_corners(image, *new))
    np.testing.assert_allclose(found, by_numpy(image, *new), atol=1e-6)
    if min(new) > 1:
        np.testing.assert_allclose(found[:, [0, -1]][:, :, [0, -1]], image[:, [0, -1]][:, :, [0, -1]], atol=1e-6)


def test_corners_stay_at_corners_of_images_of_any_size():
    b, h, w = export.symbolic_shape("b, h, w")
    shape = jax.ShapeDtypeStruct((b, h, w, 3), np.float32)
    program = export.export(jax.jit(lambda x: resample.resize_corners(x, 2 * x.shape[1], 2 * x.shape[2])))(shape)
    image = np.random.default_rng(0).standard_normal((2, 5, 1, 3)).astype(np.float32)
    np.testing.assert_allclose(program.call(image), by_numpy(image, 10, 2), atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (1, 3)])
@pytest.mark.parametrize("function", ["gradient", "value"])
def test_pooling_of_3x3_is_that_of_windows(size, function):
    """After ReLU many pixels of a window are equal: the first of them has the gradient."""
    generator = np.random.default_rng(0)
    image = np.maximum(generator.normal(size=(2, *size, 3)), 0).astype(np.float32)
    value, pull = jax.vjp(resample.max_pool_3x3, image)
    expected, pull_expected = jax.vjp(lambda x: nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1))), image)
    if function == "value":
        np.testing.assert_array_equal(value, expected)
    else:
        along = generator.normal(size=value.shape).astype(np.float32)
        np.testing.assert_allclose(pull(along)[0], pull_expected(along)[0], rtol=0, atol=1e-6)
