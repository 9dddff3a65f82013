"""GELU against the definition, in float64, and its derivative against differences."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lcjax.models.kernels import gelu

X = np.linspace(-9, 9, 721)
EXPECTED = np.array([x * 0.5 * (1 + math.erf(x / math.sqrt(2))) for x in X])


@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float32, 1e-6), (jnp.bfloat16, 0.03)])
def test_values(dtype, atol):
    found = gelu.gelu(jnp.asarray(X, dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, np.float64), EXPECTED, rtol=0, atol=atol)


def test_derivative():
    x = jnp.asarray(X, jnp.float32)
    expected = np.gradient(EXPECTED, X)[1:-1]
    np.testing.assert_allclose(jax.vmap(jax.grad(gelu.gelu))(x)[1:-1], expected, rtol=0, atol=2e-4)
    np.testing.assert_allclose(gelu.slope(x, gelu.share(x))[1:-1], expected, rtol=0, atol=2e-4)
