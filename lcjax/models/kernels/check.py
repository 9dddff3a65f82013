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
from lcjax.models.kernels.plans import Attention, Head, Kernel
from lcjax.models.swin import SwinBlock, SwinHead

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


def agreement(half: Kernel, implementation: str, device: jax.Device) -> Agreement:
    """Compares what a kernel makes, and all its gradients, on one device.

    Args:
      half: as one device sees it.
      implementation: what is compared with XLA's.
      device: to run on.
    """
    with jax.default_device(device):
        module = _random_module(half)
        got, wanted = (_results(half, module, how) for how in (implementation, halves.XLA))
    differences = {name: _difference(got[name], wanted[name]) for name in wanted}
    return Agreement(differences.pop("value"), float(np.max(list(differences.values()))))


def _module(half: Kernel) -> SwinBlock | SwinHead:
    how: dict[str, Any] = {"dtype": half.dtype, "rngs": nnx.Rngs(0)}
    if isinstance(half, Head):
        return SwinHead(half.channels, half.classes, patch=half.factor, **how)
    if isinstance(half, Attention):
        return SwinBlock(half.channels, half.heads, half.windows.window, half.windows.shift, 0.0, 0, **how)
    return SwinBlock(half.channels, 1, 1, 0, 0.0, 0, **how)


def _of(half: Kernel, module: Any, x: jax.Array) -> jax.Array:
    """What the part of a module that the kernel stands for makes of x."""
    if isinstance(half, Head):
        made: jax.Array = module(x)
        return made
    added: jax.Array = (module.add_attention if isinstance(half, Attention) else module.add_mlp)(x, None)
    return added


def _random_module(half: Kernel) -> SwinBlock | SwinHead:
    """A module whose weights are random and as large as those of a network that has learned."""
    structure, shapes = nnx.split(nnx.eval_shape(lambda: _module(half)))

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> jax.Array:
        generator = np.random.default_rng(zlib.crc32(jax.tree_util.keystr(path).encode()))
        deviation = leaf.shape[0] ** -0.5 if len(leaf.shape) == 2 else 0.3
        return jnp.asarray(deviation * generator.standard_normal(leaf.shape), leaf.dtype)

    module: SwinBlock | SwinHead = nnx.merge(structure, jax.tree.map_with_path(draw, shapes))
    return module


def _results(half: Kernel, module: SwinBlock | SwinHead, implementation: str) -> Mapping[str, jax.Array]:
    """The value, and the gradients of x and of the parameters, by name; of random x and a random gradient."""
    module.set_attributes(implementation=implementation)
    structure, state = nnx.split(module)
    generator = np.random.default_rng(0)

    def run(state: State, x: jax.Array) -> jax.Array:
        return _of(half, nnx.merge(structure, state), x)

    @jax.jit
    def both(state: State, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array, tuple[State, jax.Array]]:
        value, pull = jax.vjp(run, state, x)
        return value, pull(gradient)

    size = (half.windows.height, half.windows.width) if isinstance(half, Attention) else (half.height, half.width)
    x = jnp.asarray(generator.standard_normal((half.batch, *size, half.channels)), half.dtype)
    made = jax.eval_shape(run, state, x)
    value, (of_state, of_x) = both(state, x, jnp.asarray(generator.standard_normal(made.shape), made.dtype))
    by_path = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(of_state)}
    return {"value": value, "x": of_x} | by_path


def _difference(got: jax.Array, wanted: jax.Array) -> float:
    """The largest difference as a share of the largest number; of what is 0 (the other half's parameters), itself."""
    near, far = (np.asarray(array, np.float64) for array in (got, wanted))
    return float(np.max(np.abs(near - far)) / (np.max(np.abs(far)) or 1.0))
