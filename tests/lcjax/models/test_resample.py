"""Features made larger from corner to corner, against numpy's interpolation of rows and columns."""

import jax
import numpy as np
import pytest
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
