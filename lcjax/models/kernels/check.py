"""Compares a kernel with the plain block on the device at hand, on random numbers of the shapes that it will meet."""

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lcjax.models.kernels import halves
from lcjax.models.kernels.plans import Attention, Mlp
from lcjax.models.swin import SwinBlock

State = Any  # of a module, as Flax splits it

# The largest difference that passes, as a share of the largest number. The interpreter's sums differ by rounding alone;
# on a TPU factors of products are rounded to bfloat16 whatever the type, and numbers between products in other places.
# In the interpreter values in bfloat16 differ by 0.005 and gradients by 0.016.
TOLERANCE = {halves.PALLAS: 0.05, halves.INTERPRET: 1e-4}


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far a kernel is from the plain block.

    Attributes:
      value: largest difference of what it makes, as a share of the largest number.
      gradient: the same of the gradients, of the worst of them.
    """

    value: float
    gradient: float

    @property
    def worst(self) -> float:
        """The larger of both; NaN where one is NaN."""
        return float(np.max([self.value, self.gradient]))


def agreement(half: Attention | Mlp, implementation: str, device: jax.Device) -> Agreement:
    """Compares a half of a block, its value and all its gradients, on one device.

    Args:
      half: as one device sees it.
      implementation: what is compared with XLA's.
      device: to run on.
    """
    block = _random_block(half)
    size = (half.windows.height, half.windows.width) if isinstance(half, Attention) else (half.height, half.width)
    generator = np.random.default_rng(0)
    with jax.default_device(device):
        x, gradient = (
            jnp.asarray(generator.standard_normal((half.batch, *size, half.channels)), half.dtype) for _ in range(2)
        )
        got, wanted = (_results(half, block, how, x, gradient) for how in (implementation, halves.XLA))
    differences = {name: _difference(got[name], wanted[name]) for name in wanted}
    return Agreement(differences.pop("value"), float(np.max(list(differences.values()))))


def _random_block(half: Attention | Mlp) -> SwinBlock:
    """A block whose weights are random and as large as those of a network that has learned."""
    heads, window, shift = (
        (half.heads, half.windows.window, half.windows.shift) if isinstance(half, Attention) else (1, 1, 0)
    )
    make = lambda: SwinBlock(half.channels, heads, window, shift, 0.0, 0, dtype=half.dtype, rngs=nnx.Rngs(0))  # noqa: E731
    structure, shapes = nnx.split(nnx.eval_shape(make))

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        generator = np.random.default_rng(zlib.crc32(jax.tree_util.keystr(path).encode()))
        deviation = leaf.shape[0] ** -0.5 if len(leaf.shape) == 2 else 0.3
        return jnp.asarray(deviation * generator.standard_normal(leaf.shape), leaf.dtype)

    block: SwinBlock = nnx.merge(structure, jax.tree.map_with_path(draw, shapes))
    return block


def _results(
    half: Attention | Mlp, block: SwinBlock, implementation: str, x: jax.Array, gradient: jax.Array
) -> Mapping[str, jax.Array]:
    """The value of a half, and the gradients of x and of its parameters, by name."""
    block.set_attributes(implementation=implementation)
    structure, state = nnx.split(block)

    def run(state: State, x: jax.Array) -> jax.Array:
        merged = nnx.merge(structure, state)
        return (merged.add_attention if isinstance(half, Attention) else merged.add_mlp)(x, None)

    @jax.jit
    def both(state: State, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array, tuple[State, jax.Array]]:
        value, pull = jax.vjp(run, state, x)
        return value, pull(gradient)

    value, (of_state, of_x) = both(state, x, gradient)
    by_path = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(of_state)}
    return {"value": value, "x": of_x} | by_path


def _difference(got: jax.Array, wanted: jax.Array) -> float:
    """The largest difference as a share of the largest number; of what is 0 (the other half's parameters), itself."""
    near, far = (np.asarray(array, np.float64) for array in (got, wanted))
    return float(np.max(np.abs(near - far)) / (np.max(np.abs(far)) or 1.0))
