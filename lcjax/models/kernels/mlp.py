"""The second half of a transformer block as one kernel: x + factor * mlp_out(gelu(mlp_in(norm(x)))).

A grid step holds rows of images. The hidden channels stay in fast memory; the backward pass computes them again, in
parts where the weights and what is summed up for them would not fit.

Letters: R rows of tokens, W tokens of a row, P places of a row (W rounded up to whole registers), C channels.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lcjax.models.kernels.strips import (
    FAST_MEMORY,
    LANES,
    call,
    divisor,
    divisors,
    dot,
    held,
    of_parts,
    rounded,
    standardised,
    standardised_backward,
    summed,
)

_TOKENS = 512  # that go through a product together, about
_HIDDEN = 512  # hidden channels that are held at once, about


@dataclasses.dataclass(frozen=True)
class Mlp:
    """What is known of the MLP of a block before it runs.

    Attributes:
      batch: images.
      height, width: of an image, in tokens.
      channels: of a token; the hidden ones are four times as many.
      dtype: name of the type of the tokens and of the products' factors.
      interpret: whether the kernel runs in Pallas' interpreter, on any device, for tests.
    """

    batch: int
    height: int
    width: int
    channels: int
    dtype: str
    interpret: bool = False

    def plan(self, *, backward: bool) -> "Plan | None":
        """How the work is cut so that it fits in fast memory; None where it does not fit at all."""
        lanes = [LANES * part for part in divisors(4 * self.channels // LANES)] if self.channels % 32 == 0 else []
        for hidden in [4 * self.channels, *(part for part in reversed(lanes) if part < 4 * self.channels)]:
            for tokens in (_TOKENS, _TOKENS // 2, _TOKENS // 4):
                at_once = divisor(self.batch * self.height, max(1, tokens // rounded(self.width)))
                for rounds in (8, 4, 2, 1):
                    blocks = self.batch * self.height // at_once
                    plan = Plan(self, hidden, at_once, divisor(blocks, rounds))
                    if plan.held(backward=backward) <= FAST_MEMORY:
                        return plan
        return None


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the work is cut.

    Attributes:
      of: the MLP.
      hidden: hidden channels of a part; the parts come one after the other.
      rows: that go through a product together.
      rounds: products of a grid step, one after the other.
    """

    of: Mlp
    hidden: int
    rows: int
    rounds: int

    @property
    def parts(self) -> int:
        """Parts of the hidden channels."""
        return 4 * self.of.channels // self.hidden

    @property
    def grid(self) -> tuple[int, int]:
        """Parts of the hidden channels, and steps over the rows of all images."""
        return self.parts, self.of.batch * self.of.height // (self.rows * self.rounds)

    @property
    def pitch(self) -> int:
        """Places of a row in fast memory."""
        return rounded(self.of.width)

    @property
    def slices(self) -> list[slice]:
        """Hidden channels of a part that are held at once."""
        at_once = LANES * divisor(self.hidden // LANES, _HIDDEN // LANES) if self.hidden % LANES == 0 else self.hidden
        return [slice(first, first + at_once) for first in range(0, self.hidden, at_once)]

    def places(self) -> pltpu.VMEM:
        """Fast memory for the tokens of a product."""
        return pltpu.VMEM((self.rows, self.pitch, self.of.channels), jnp.float32)

    def held(self, *, backward: bool) -> int:
        """Bytes of fast memory that it takes, about: blocks are held twice, and numbers on their way once."""
        size = jnp.dtype(self.of.dtype).itemsize
        block = held((self.rows * self.rounds, self.of.width, self.of.channels), size)
        result = block if self.parts == 1 else block * 4 // size
        weights = 2 * held((self.of.channels, self.hidden), size)
        sums = 2 * held((self.of.channels, self.hidden), 4)
        tokens = (self.rows * self.pitch, self.of.channels)
        inside = held(tokens, 4)
        across = held((tokens[0], self.slices[0].stop), 4)
        if backward:
            return 2 * (2 * block + result + weights + sums) + 5 * inside + 3 * across
        return 2 * (block + result + weights) + 3 * inside + 2 * across


_ROOT = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)


def _gelu(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The exact GELU, and the share of x that it lets through."""
    share = 0.5 * (1.0 + jax.lax.erf(x * _ROOT))
    return x * share, share


def _gelu_slope(x: jax.Array, share: jax.Array) -> jax.Array:
    """The derivative of the exact GELU."""
    return share + x * _DENSITY * jnp.exp(-0.5 * x * x)


def _factors(plan: Plan, factor_ref: Any, first: jax.Array) -> jax.Array:
    """(R, 1, 1): the factor of each row, from the first on of all images."""
    of_row = [factor_ref[(first + row) // plan.of.height] for row in range(plan.rows)]
    shape = (plan.rows, 1, 1)
    number = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    factors = jnp.full(shape, of_row[0], jnp.float32)
    for row, factor in enumerate(of_row[1:], 1):
        factors = jnp.where(number == row, factor, factors)
    return factors


def _forward_kernel(
    plan: Plan,
    factor_ref,
    x_ref,
    scale_ref,
    offset_ref,
    in_ref,
    in_bias_ref,
    out_ref,
    out_bias_ref,
    result_ref,
    places_ref,
) -> None:
    part, step = pl.program_id(0), pl.program_id(1)
    dtype, width = plan.of.dtype, plan.of.width
    places_ref[...] = jnp.zeros(places_ref.shape, jnp.float32)

    def one_round(round_: jax.Array, nothing: None) -> None:
        rows = pl.ds(round_ * plan.rows, plan.rows)
        x = x_ref[rows].astype(jnp.float32)
        places_ref[:, :width, :] = standardised(x)[0] * scale_ref[...][None] + offset_ref[...][None]
        normed = places_ref[...].reshape(-1, plan.of.channels).astype(dtype)
        added = jnp.zeros((normed.shape[0], plan.of.channels), jnp.float32)
        for hidden in plan.slices:
            made, _ = _gelu(dot(normed, in_ref[:, hidden]) + in_bias_ref[:, hidden])
            added += dot(made.astype(dtype), out_ref[hidden, :])
        identity = x
        bias = out_bias_ref[...]
        if plan.parts > 1:
            identity, bias = jnp.where(part == 0, x, 0.0), jnp.where(part == 0, bias, 0.0)
        places_ref[...] = (added + bias).reshape(places_ref.shape)
        factors = _factors(plan, factor_ref, (step * plan.rounds + round_) * plan.rows)
        result_ref[0, rows] = (identity + factors * places_ref[:, :width, :]).astype(result_ref.dtype)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _backward_kernel(
    plan: Plan,
    factor_ref,
    x_ref,
    scale_ref,
    offset_ref,
    in_ref,
    in_bias_ref,
    out_ref,
    out_bias_ref,
    gradient_ref,
    result_ref,
    scale_sum,
    offset_sum,
    in_sum,
    in_bias_sum,
    out_sum,
    out_bias_sum,
    places_ref,
    asked_ref,
) -> None:
    part, step = pl.program_id(0), pl.program_id(1)
    dtype, width, channels = plan.of.dtype, plan.of.width, plan.of.channels
    sums = (scale_sum, offset_sum, in_sum, in_bias_sum, out_sum, out_bias_sum)
    places_ref[...] = jnp.zeros(places_ref.shape, jnp.float32)

    @pl.when(step == 0)
    def _begin() -> None:
        for ref in sums:
            ref[...] = jnp.zeros(ref.shape, jnp.float32)

    def one_round(round_: jax.Array, nothing: None) -> None:
        rows = pl.ds(round_ * plan.rows, plan.rows)
        standard, inverse = standardised(x_ref[rows])
        gradient = gradient_ref[rows].astype(jnp.float32)
        factors = _factors(plan, factor_ref, (step * plan.rounds + round_) * plan.rows)
        places_ref[:, :width, :] = standard * scale_ref[...][None] + offset_ref[...][None]
        if width < plan.pitch:  # places without a token ask for nothing
            asked_ref[...] = jnp.zeros(asked_ref.shape, jnp.float32)
        asked_ref[:, :width, :] = gradient * factors
        normed = places_ref[...].reshape(-1, channels).astype(dtype)
        asked = asked_ref[...].reshape(-1, channels)
        out_bias_sum[0] += summed(asked)
        asked = asked.astype(dtype)
        of_normed = jnp.zeros((normed.shape[0], channels), jnp.float32)
        for hidden in plan.slices:
            before = dot(normed, in_ref[:, hidden]) + in_bias_ref[:, hidden]
            made, share = _gelu(before)
            out_sum[hidden, :] += dot(made.astype(dtype), asked, (0, 0))
            of_before = dot(asked, out_ref[hidden, :], (1, 1)) * _gelu_slope(before, share)
            in_bias_sum[:, hidden] += summed(of_before)
            of_before = of_before.astype(dtype)
            in_sum[:, hidden] += dot(normed, of_before, (0, 0))
            of_normed += dot(of_before, in_ref[:, hidden], (1, 1))
        asked_ref[...] = of_normed.reshape(asked_ref.shape)
        of_rows = asked_ref[:, :width, :]
        scale_sum[0] += summed(of_rows * standard)
        offset_sum[0] += summed(of_rows)
        identity = gradient if plan.parts == 1 else jnp.where(part == 0, gradient, 0.0)
        of_x = identity + standardised_backward(of_rows * scale_ref[...][None], standard, inverse)
        result_ref[0, rows] = of_x.astype(result_ref.dtype)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _specs(plan: Plan) -> list[pl.BlockSpec]:
    """Of factor, x, scale, offset, in, in_bias, out and out_bias."""
    c, hidden = plan.of.channels, plan.hidden
    whole = pl.BlockSpec((1, c), lambda part, step: (0, 0))
    return [
        pl.BlockSpec(memory_space=pltpu.SMEM),
        pl.BlockSpec((plan.rows * plan.rounds, plan.of.width, c), lambda part, step: (step, 0, 0)),
        whole,
        whole,
        pl.BlockSpec((c, hidden), lambda part, step: (0, part)),
        pl.BlockSpec((1, hidden), lambda part, step: (0, part)),
        pl.BlockSpec((hidden, c), lambda part, step: (part, 0)),
        whole,
    ]


def _rows_out(plan: Plan) -> tuple[pl.BlockSpec, jax.ShapeDtypeStruct]:
    """Block and type of the rows that each part of the hidden channels makes; parts are summed up in float32."""
    c, width = plan.of.channels, plan.of.width
    block = pl.BlockSpec((1, plan.rows * plan.rounds, width, c), lambda part, step: (part, step, 0, 0))
    shape = (plan.parts, plan.of.batch * plan.of.height, width, c)
    return block, jax.ShapeDtypeStruct(shape, plan.of.dtype if plan.parts == 1 else "float32")


def _costs(mlp: Mlp, times: int) -> dict[str, int]:
    """FLOPs and transcendentals of the forward pass, so many times."""
    tokens = mlp.batch * mlp.height * mlp.width
    return {"flops": times * 16 * tokens * mlp.channels**2, "transcendentals": 4 * tokens * mlp.channels}


Operands = tuple[jax.Array, ...]  # factor, x, scale, offset, in, in_bias, out, out_bias


def forward(mlp: Mlp, operands: Operands) -> jax.Array:
    """Returns x + factor * mlp: (B, H, W, C).

    Args:
      mlp: of the block.
      operands: factor (B,) float32; x (B, H, W, C); scale, offset (1, C) float32; in (C, 4 C); in_bias (1, 4 C)
        float32; out (4 C, C); out_bias (1, C) float32.
    """
    plan = mlp.plan(backward=False)
    assert plan, "asked for what does not fit"
    factor, x, *weights = operands
    block, result = _rows_out(plan)
    (rows,) = call(
        functools.partial(_forward_kernel, plan),
        "transformer_mlp",
        plan.grid,
        _specs(plan),
        (factor, x.reshape(-1, *x.shape[2:]), *weights),
        [block],
        [result],
        [plan.places()],
        interpret=mlp.interpret,
        **_costs(mlp, 1),
    )
    return of_parts(rows, mlp.dtype).reshape(x.shape)


def backward(mlp: Mlp, operands: Operands, gradient: jax.Array) -> Operands:
    """The gradients of x, scale, offset, in, in_bias, out and out_bias, given that of what `forward` makes.

    That of x has its type, the others are float32.
    """
    plan = mlp.plan(backward=True)
    assert plan, "asked for what does not fit"
    factor, x, *weights = operands
    c = mlp.channels
    f32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    block, result = _rows_out(plan)
    of_part = (pl.BlockSpec((1, 1, c), lambda part, step: (part, 0, 0)), f32((plan.parts, 1, c)))
    specs = _specs(plan)
    sums = [
        of_part,
        of_part,
        (specs[4], f32((c, 4 * c))),
        (specs[5], f32((1, 4 * c))),
        (specs[6], f32((4 * c, c))),
        of_part,
    ]
    rows, scale, offset, into, in_bias, out, out_bias = call(
        functools.partial(_backward_kernel, plan),
        "transformer_mlp_backward",
        plan.grid,
        [*specs, specs[1]],
        (factor, x.reshape(-1, *x.shape[2:]), *weights, gradient.reshape(-1, *x.shape[2:])),
        [block, *[spec for spec, _ in sums]],
        [result, *[shape for _, shape in sums]],
        [plan.places(), plan.places()],
        interpret=mlp.interpret,
        **_costs(mlp, 3),
    )
    of_x = of_parts(rows, mlp.dtype).reshape(x.shape)
    return of_x, jnp.sum(scale, 0), jnp.sum(offset, 0), into, in_bias, out, out_bias[0]
