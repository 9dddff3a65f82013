"""The kernels of a Swin block against its plain form, in Pallas' interpreter."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lcjax.models import swin
from lcjax.models.kernels import halves

# The compiler's effort is not worth it for a program that runs once.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def block(channels, heads, window, shift, *, drop_path=0.0, dtype=jnp.float32):
    """A block whose weights are all at random."""
    made = swin.SwinBlock(channels, heads, window, shift, drop_path, 0, dtype=dtype, rngs=nnx.Rngs(0))
    generator = np.random.default_rng(1)
    state = nnx.state(made, nnx.Param)
    draw = lambda leaf: jnp.asarray(0.3 * generator.standard_normal(leaf.shape), jnp.float32)  # noqa: E731
    nnx.update(made, jax.tree.map(draw, state))
    return made


def value_and_gradients(made, x, gradient, noise, implementation):
    """What a block makes of x, and the gradients of its parameters by path and of x."""
    made.set_attributes(implementation=implementation)
    structure, state = nnx.split(made)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both(state, x, gradient):
        value, pull = jax.vjp(lambda state, x: nnx.merge(structure, state)(x, noise), state, x)
        return value, pull(gradient)

    value, (of_state, of_x) = both(state, x, gradient)
    flat = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(of_state)}
    return {"value": value} | flat | {"x": of_x}


def errors(got, wanted):
    """The largest difference of each, as a share of the largest number that is wanted."""
    f64 = {key: np.asarray(leaf, np.float64) for key, leaf in wanted.items()}
    return {key: np.max(np.abs(np.asarray(got[key], np.float64) - f64[key])) / np.max(np.abs(f64[key])) for key in f64}


# (height, width), channels, heads, window, shift, drop-path.
CASES = {
    "window 7, two strips": ((14, 7), 12, 3, 7, 0, 0.0),
    "window 7, shifted, odd sizes, drop-path": ((13, 17), 12, 3, 7, 3, 0.5),
    "window 8, shifted": ((16, 16), 16, 2, 8, 4, 0.0),
    "window 12, shifted, padded": ((20, 13), 8, 2, 12, 6, 0.0),
    "smaller than its window": ((5, 6), 8, 2, 7, 3, 0.5),
}


def compared(size, channels, heads, window, shift, drop_path, dtype):
    keys = jax.random.split(jax.random.key(2), 3)
    x, gradient = (jax.random.normal(key, (3, *size, channels)).astype(dtype) for key in keys[:2])
    noise = jnp.linspace(0.0, 1.0, 6).reshape(3, 2)  # the middle example keeps one branch of two
    made = block(channels, heads, window, shift, drop_path=drop_path, dtype=dtype)
    made.train()
    plain, kernel = (value_and_gradients(made, x, gradient, noise, how) for how in (halves.XLA, halves.INTERPRET))
    assert all(np.max(np.abs(np.asarray(leaf, np.float32))) > 0 for leaf in plain.values())
    return errors(kernel, plain)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_kernel_is_the_plain_block(case):
    found = compared(*case, jnp.float32)
    assert found.pop("value") < 1e-5
    assert max(found.values()) < 1e-4, found
