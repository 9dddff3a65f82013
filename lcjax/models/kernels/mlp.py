"""The second half of a transformer block as one kernel: x + factor * mlp_out(gelu(mlp_in(norm(x)))).

A grid step holds rows of images. The hidden channels stay in fast memory; the backward pass computes them again, in
parts where the weights and what is summed up for them would not fit.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lcjax.models.kernels import gelu
from lcjax.models.kernels.calls import Ref, begin, call, dot, of_parts, standardised, standardised_backward, summed
from lcjax.models.kernels.plans import Mlp, MlpPlan


class _Given(NamedTuple):
    """Operands of both passes."""

    factor: Ref
    x: Ref
    scale: Ref
    offset: Ref
    into: Ref
    in_bias: Ref
    out: Ref
    out_bias: Ref


class _Sums(NamedTuple):
    """Gradients of the weights, summed up over the grid."""

    scale: Ref
    offset: Ref
    into: Ref
    in_bias: Ref
    out: Ref
    out_bias: Ref


def _factors(plan: MlpPlan, factor_ref: Ref, first: jax.Array) -> jax.Array:
    """(R, 1, 1): the factor of each row, from the first on of all images."""
    of_row = [factor_ref[(first + row) // plan.of.height] for row in range(plan.rows)]
    shape = (plan.rows, 1, 1)
    number = jax.lax.broadcasted_iota(jnp.int32, shape, 0)
    factors = jnp.full(shape, of_row[0], jnp.float32)
    for row, factor in enumerate(of_row[1:], 1):
        factors = jnp.where(number == row, factor, factors)
    return factors


def _forward_kernel(plan: MlpPlan, *refs: Ref) -> None:
    given, result, places = _Given(*refs[:8]), refs[8], refs[9]
    part, step = pl.program_id(0), pl.program_id(1)
    dtype, width = plan.of.dtype, plan.of.width
    places[...] = jnp.zeros(places.shape, jnp.float32)

    def one_round(round_: jax.Array, nothing: None) -> None:
        rows = pl.ds(round_ * plan.rows, plan.rows)
        x = given.x[rows].astype(jnp.float32)
        places[:, :width, :] = standardised(x)[0] * given.scale[...][None] + given.offset[...][None]
        normed = places[...].reshape(-1, plan.of.channels).astype(dtype)
        added = jnp.zeros(normed.shape, jnp.float32)
        for hidden in plan.slices:
            made = gelu.gelu(dot(normed, given.into[:, hidden]) + given.in_bias[:, hidden])
            added += dot(made.astype(dtype), given.out[hidden, :])
        identity, bias = x, given.out_bias[...]
        if plan.parts > 1:
            identity, bias = jnp.where(part == 0, x, 0.0), jnp.where(part == 0, bias, 0.0)
        places[...] = (added + bias).reshape(places.shape)
        factors = _factors(plan, given.factor, (step * plan.rounds + round_) * plan.rows)
        result[0, rows] = (identity + factors * places[:, :width, :]).astype(result.dtype)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _backward_kernel(plan: MlpPlan, *refs: Ref) -> None:
    given, gradient_ref, result = _Given(*refs[:8]), refs[8], refs[9]
    sums, places, asked_ref = _Sums(*refs[10:16]), refs[16], refs[17]
    part, step = pl.program_id(0), pl.program_id(1)
    dtype, width = plan.of.dtype, plan.of.width
    places[...] = jnp.zeros(places.shape, jnp.float32)

    begin(step, sums)

    def one_round(round_: jax.Array, nothing: None) -> None:
        rows = pl.ds(round_ * plan.rows, plan.rows)
        standard, inverse = standardised(given.x[rows])
        gradient = gradient_ref[rows].astype(jnp.float32)
        places[:, :width, :] = standard * given.scale[...][None] + given.offset[...][None]
        if width < plan.pitch:  # places without a token ask for nothing
            asked_ref[...] = jnp.zeros(asked_ref.shape, jnp.float32)
        factors = _factors(plan, given.factor, (step * plan.rounds + round_) * plan.rows)
        asked_ref[:, :width, :] = gradient * factors
        normed = places[...].reshape(-1, plan.of.channels).astype(dtype)
        asked = asked_ref[...].reshape(-1, plan.of.channels)
        sums.out_bias[0] += summed(asked)
        asked_ref[...] = _hidden_backward(plan, given, sums, normed, asked.astype(dtype)).reshape(asked_ref.shape)
        of_rows = asked_ref[:, :width, :]
        sums.scale[0] += summed(of_rows * standard)
        sums.offset[0] += summed(of_rows)
        identity = gradient if plan.parts == 1 else jnp.where(part == 0, gradient, 0.0)
        of_x = identity + standardised_backward(of_rows * given.scale[...][None], standard, inverse)
        result[0, rows] = of_x.astype(result.dtype)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _hidden_backward(plan: MlpPlan, given: _Given, sums: _Sums, normed: jax.Array, asked: jax.Array) -> jax.Array:
    """The gradient of the normalised tokens (T, C); sums up those of the weights around the hidden channels."""
    of_normed = jnp.zeros(normed.shape, jnp.float32)
    for hidden in plan.slices:
        before = dot(normed, given.into[:, hidden]) + given.in_bias[:, hidden]
        share = gelu.share(before)
        made = before * share
        sums.out[hidden, :] += dot(made.astype(plan.of.dtype), asked, (0, 0))
        of_before = dot(asked, given.out[hidden, :], (1, 1)) * gelu.slope(before, share)
        sums.in_bias[:, hidden] += summed(of_before)
        of_before = of_before.astype(plan.of.dtype)
        sums.into[:, hidden] += dot(normed, of_before, (0, 0))
        of_normed += dot(of_before, given.into[:, hidden], (1, 1))
    return of_normed


def _specs(plan: MlpPlan) -> _Given:
    """Blocks of the operands."""
    c, hidden = plan.of.channels, plan.hidden
    whole = pl.BlockSpec((1, c), lambda part, step: (0, 0))
    return _Given(
        factor=pl.BlockSpec(memory_space=pltpu.SMEM),
        x=pl.BlockSpec((plan.rows * plan.rounds, plan.of.width, c), lambda part, step: (step, 0, 0)),
        scale=whole,
        offset=whole,
        into=pl.BlockSpec((c, hidden), lambda part, step: (0, part)),
        in_bias=pl.BlockSpec((1, hidden), lambda part, step: (0, part)),
        out=pl.BlockSpec((hidden, c), lambda part, step: (part, 0)),
        out_bias=whole,
    )


def _rows_out(plan: MlpPlan) -> tuple[pl.BlockSpec, jax.ShapeDtypeStruct]:
    """Block and type of the rows that each part of the hidden channels makes; parts are summed up in float32."""
    c, width = plan.of.channels, plan.of.width
    block = pl.BlockSpec((1, plan.rows * plan.rounds, width, c), lambda part, step: (part, step, 0, 0))
    shape = (plan.parts, plan.of.batch * plan.of.height, width, c)
    return block, jax.ShapeDtypeStruct(shape, plan.of.dtype if plan.parts == 1 else "float32")


def _costs(mlp: Mlp, times: int) -> dict[str, int]:
    """FLOPs and transcendentals of the forward pass, so many times."""
    tokens = mlp.batch * mlp.height * mlp.width
    return {"flops": times * 16 * tokens * mlp.channels**2, "transcendentals": 4 * tokens * mlp.channels}


Operands = tuple[jax.Array, ...]  # in the order of _Given


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
        [*_specs(plan)],
        (factor, x.reshape(-1, *x.shape[2:]), *weights),
        [block],
        [result],
        [pltpu.VMEM(plan.places, jnp.float32)],
        held=plan.held(backward=False),
        interpret=mlp.interpret,
        **_costs(mlp, 1),
    )
    return of_parts(rows, mlp.dtype).reshape(x.shape)


def backward(mlp: Mlp, operands: Operands, gradient: jax.Array) -> Operands:
    """Returns the gradients of the operands but factor, given that of what `forward` makes.

    That of x has its type, the others are float32.
    """
    plan = mlp.plan(backward=True)
    assert plan, "asked for what does not fit"
    factor, x, *weights = operands
    c = mlp.channels
    f32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    block, result = _rows_out(plan)
    row = pl.BlockSpec((1, 1, c), lambda part, step: (part, 0, 0))
    specs = _specs(plan)
    blocks = _Sums(row, row, specs.into, specs.in_bias, specs.out, row)
    rows_of = f32((plan.parts, 1, c))
    sums = _Sums(rows_of, rows_of, f32((c, 4 * c)), f32((1, 4 * c)), f32((4 * c, c)), rows_of)
    rows, *made = call(
        functools.partial(_backward_kernel, plan),
        "transformer_mlp_backward",
        plan.grid,
        [*specs, specs.x],
        (factor, x.reshape(-1, *x.shape[2:]), *weights, gradient.reshape(-1, *x.shape[2:])),
        [block, *blocks],
        [result, *sums],
        [pltpu.VMEM(plan.places, jnp.float32)] * 2,
        held=plan.held(backward=True),
        interpret=mlp.interpret,
        **_costs(mlp, 3),
    )
    of = _Sums(*made)
    # Each part of the hidden channels asks something of the norm; of what is added behind all of them each knows all.
    of = of._replace(scale=jnp.sum(of.scale, 0), offset=jnp.sum(of.offset, 0), out_bias=of.out_bias[0])
    return (of_parts(rows, mlp.dtype).reshape(x.shape), *of)
