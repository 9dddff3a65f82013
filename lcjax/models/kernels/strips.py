"""What both kernels are made of: layer norm, products, and windows of images in fast memory.

A strip is one row of windows. Tokens of a window lie in rows of `pitch` places, which is the window's width rounded up
to 8 (the rows of a TPU's registers), so that cutting windows out moves whole registers. The places between are zeros.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lcjax.models.kernels import traffic

EPSILON = 1e-5  # of the layer norms of lcjax.models.layers
_ROWS = 8  # of a register of float32
LANES = 128  # of a register
FAST_MEMORY = 14 * 2**20  # bytes that a kernel may take; a v5e lets it have 16 MiB if it is not asked for more


def rounded(size: int) -> int:
    """A number of rows, rounded up to whole registers."""
    return -(-size // _ROWS) * _ROWS


def divisors(number: int) -> list[int]:
    """All of them, the smallest first."""
    return [part for part in range(1, number + 1) if number % part == 0]


def divisor(number: int, most: int) -> int:
    """The largest divisor that is at most so large; 1 at least."""
    return max((part for part in divisors(number) if part <= most), default=1)


def of_parts(results: jax.Array, dtype: str) -> jax.Array:
    """The sum over the first axis, of what several parts of a kernel have made; of one it is that."""
    return results[0] if results.shape[0] == 1 else jnp.sum(results, axis=0).astype(dtype)


@dataclasses.dataclass(frozen=True)
class Windows:
    """How an image is cut into windows.

    Attributes:
      height, width: of the image, in tokens.
      window: side of a window.
      shift: by how many tokens the windows are shifted to the right and down; 0 if they are not.
    """

    height: int
    width: int
    window: int
    shift: int

    @property
    def strips(self) -> int:
        """Windows below each other, the last of which may hold padding."""
        return -(-self.height // self.window)

    @property
    def across(self) -> int:
        """Windows side by side, the last of which may hold padding."""
        return -(-self.width // self.window)

    @property
    def pitch(self) -> int:
        """Places of a row of a window in fast memory."""
        return rounded(self.window)

    @property
    def tokens(self) -> int:
        """Places of a window in fast memory, those between its rows among them."""
        return self.window * self.pitch

    def row(self, strip: jax.Array, place: int) -> jax.Array:
        """The row of the padded image that is this one of a strip; below `height` it is one of the image."""
        return (strip * self.window + place + self.shift) % (self.strips * self.window)

    @functools.cached_property
    def runs(self) -> tuple[tuple[int, int, int, int], ...]:
        """(window, place in it, column of the image, columns): what lies side by side in both, without padding."""
        padded = self.across * self.window
        runs: list[list[int]] = []
        for place in range(padded):
            column = (place + self.shift) % padded
            window, inside = divmod(place, self.window)
            if column >= self.width:
                continue
            if runs and runs[-1][0] == window and runs[-1][2] + runs[-1][3] == column:
                runs[-1][3] += 1
            else:
                runs.append([window, inside, column, 1])
        return tuple((a, b, c, d) for a, b, c, d in runs)


def dot(left: jax.Array, right: jax.Array, over: tuple[int, int] = (1, 0)) -> jax.Array:
    """Product of two matrices over these axes, summed in float32."""
    return jax.lax.dot_general(left, right, (((over[0],), (over[1],)), ((), ())), preferred_element_type=jnp.float32)


def standardised(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns x without its mean, divided by its deviation, over the last axis; and what it was divided by, inverted."""
    floats = x.astype(jnp.float32)
    mean = jnp.mean(floats, axis=-1, keepdims=True)
    centred = floats - mean
    inverse = jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + EPSILON)
    return centred * inverse, inverse


def standardised_backward(gradient: jax.Array, standard: jax.Array, inverse: jax.Array) -> jax.Array:
    """The gradient of x, given that of `standardised(x)` and what it returned."""
    mean = jnp.mean(gradient, axis=-1, keepdims=True)
    along = jnp.mean(gradient * standard, axis=-1, keepdims=True)
    return inverse * (gradient - mean - standard * along)


def summed(x: jax.Array) -> jax.Array:
    """Sum over all but the last axis: (1, C)."""
    return jnp.sum(x.reshape(-1, x.shape[-1]), axis=0, keepdims=True)


def held(shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes of a block in fast memory, whose last two axes fill whole registers."""
    *outer, rows, lanes = shape
    return math.prod(outer) * rounded(rows) * -(-lanes // LANES) * LANES * itemsize


def call(
    kernel: Callable[..., None],
    name: str,
    grid: tuple[int, ...],
    in_specs: Sequence[pl.BlockSpec],
    operands: Sequence[jax.Array],
    out_specs: Sequence[pl.BlockSpec],
    results: Sequence[jax.ShapeDtypeStruct],
    scratch: Sequence[Any],
    *,
    interpret: bool,
    flops: int,
    transcendentals: int,
) -> Sequence[jax.Array]:
    """Runs a kernel over a grid whose steps come one after the other; its estimate says what it moves."""
    estimate = traffic.cost(
        grid, [*in_specs, *out_specs], [*operands, *results], flops=flops, transcendentals=transcendentals
    )
    made: Sequence[jax.Array] = pl.pallas_call(
        kernel,
        results,
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        scratch_shapes=scratch,
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",) * len(grid)),
        cost_estimate=estimate,
        interpret=interpret,
        name=name,
    )(*operands)
    return made
