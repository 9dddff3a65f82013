"""What all kernels are made of: products, the layer norm and its gradient, and the call of a kernel."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lcjax.models.kernels import traffic
from lcjax.models.kernels.plans import EPSILON, FAST_MEMORY

Ref = Any  # an array in fast memory, inside a kernel


def dot(left: jax.Array, right: jax.Array, over: tuple[int, int] = (1, 0)) -> jax.Array:
    """Product of two matrices over these axes, summed in float32."""
    return jax.lax.dot_general(left, right, (((over[0],), (over[1],)), ((), ())), preferred_element_type=jnp.float32)


def standardised(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns x without its mean, divided by its deviation, over the last axis; and the inverse of the divisor."""
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


def begin(step: jax.Array, sums: Sequence[Ref]) -> None:
    """Sets what is summed up over the steps of a grid to zero in the first of them."""

    @pl.when(step == 0)
    def _begin() -> None:
        for ref in sums:
            ref[...] = jnp.zeros(ref.shape, jnp.float32)


def of_parts(results: jax.Array, dtype: str) -> jax.Array:
    """The sum over the first axis, of what several parts of a kernel have made; of one it is that."""
    return results[0] if results.shape[0] == 1 else jnp.sum(results, axis=0).astype(dtype)


def call(
    kernel: Callable[..., None],
    name: str,
    grid: tuple[int, ...],
    in_specs: Sequence[pl.BlockSpec],
    operands: Sequence[jax.Array],
    out_specs: Sequence[pl.BlockSpec],
    results: list[jax.ShapeDtypeStruct],
    scratch: Sequence[Any],
    *,
    held: int,
    interpret: bool,
    flops: int,
    transcendentals: int,
) -> Sequence[jax.Array]:
    """Runs a kernel over a grid whose steps come one after the other.

    Args:
      kernel, name: of what runs.
      grid, in_specs, operands, out_specs, results, scratch: as pl.pallas_call takes them.
      held: bytes of fast memory that it takes, about.
      interpret: whether it runs in Pallas' interpreter.
      flops, transcendentals: of one call.
    """
    shapes = [jax.ShapeDtypeStruct(operand.shape, operand.dtype) for operand in operands]
    of_each = zip([*in_specs, *out_specs], [*shapes, *results], strict=True)
    moved = [traffic.moved_bytes(grid, spec, array) for spec, array in of_each]
    made: Sequence[jax.Array] = pl.pallas_call(
        kernel,
        results,
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        scratch_shapes=scratch,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=["arbitrary" for _ in grid],
            vmem_limit_bytes=held * 5 // 4 if held > FAST_MEMORY[0] else None,
        ),
        cost_estimate=pl.CostEstimate(flops=flops, transcendentals=transcendentals, bytes_accessed=sum(moved)),
        metadata={traffic.MOVED: " ".join(map(str, moved))},
        interpret=interpret,
        name=name,
    )(*operands)
    return made
