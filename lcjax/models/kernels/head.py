"""The head of Swin-Unet as one kernel: each token becomes factor² pixels, each is normalised and becomes logits.

Pixels have as many channels as tokens, and there are factor² times as many: they stay in fast memory. What leaves the
kernel are the logits of a token's pixels side by side; the classes' matrix of each pixel stands in its own columns of a
matrix of zeros, so that the sum over pixels puts them there.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lcjax.models.kernels.calls import Ref, begin, call, dot, standardised, standardised_backward, summed
from lcjax.models.kernels.plans import Head, HeadPlan


class _Given(NamedTuple):
    """Operands of both passes."""

    x: Ref
    expand: Ref
    scale: Ref
    offset: Ref
    classify: Ref


class _Sums(NamedTuple):
    """Gradients of the weights, summed up over the grid."""

    expand: Ref
    scale: Ref
    offset: Ref
    classify: Ref


def _tokens(plan: HeadPlan, ref: Ref, places: Ref, round_: jax.Array) -> jax.Array:
    """The rows of a product as those of a matrix, float32, with zeros in places without a token."""
    if plan.of.width < plan.pitch:
        places[...] = jnp.zeros(places.shape, jnp.float32)
    places[:, : plan.of.width, :] = ref[pl.ds(round_ * plan.rows, plan.rows)].astype(jnp.float32)
    matrix: jax.Array = places[...].reshape(-1, places.shape[-1])
    return matrix


def _forward_kernel(plan: HeadPlan, *refs: Ref) -> None:
    given, result, tokens, places = _Given(*refs[:5]), *refs[5:]
    dtype = plan.of.dtype

    def one_round(round_: jax.Array, nothing: None) -> None:
        x = _tokens(plan, given.x, tokens, round_).astype(dtype)

        def add(pixel: jax.Array, logits: jax.Array) -> jax.Array:
            standard, _ = standardised(dot(x, given.expand[pixel]))
            normed = standard * given.scale[...] + given.offset[...]
            return logits + dot(normed.astype(dtype), given.classify[pixel])

        logits = jax.lax.fori_loop(0, plan.of.pixels, add, jnp.zeros((x.shape[0], plan.of.logits), jnp.float32))
        places[...] = logits.reshape(places.shape)
        result[pl.ds(round_ * plan.rows, plan.rows)] = places[:, : plan.of.width, :]

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _backward_kernel(plan: HeadPlan, *refs: Ref) -> None:
    given, gradient, result, sums = _Given(*refs[:5]), refs[5], refs[6], _Sums(*refs[7:11])
    tokens, places = refs[11:]
    dtype = plan.of.dtype

    begin(pl.program_id(0), sums)

    def one_round(round_: jax.Array, nothing: None) -> None:
        x = _tokens(plan, given.x, tokens, round_).astype(dtype)
        asked = _tokens(plan, gradient, places, round_).astype(dtype)

        def add(pixel: jax.Array, of_x: jax.Array) -> jax.Array:
            standard, inverse = standardised(dot(x, given.expand[pixel]))
            normed = (standard * given.scale[...] + given.offset[...]).astype(dtype)
            of_normed = dot(asked, given.classify[pixel], (1, 1))
            sums.classify[pixel] += dot(normed, asked, (0, 0))
            sums.scale[...] += summed(of_normed * standard)
            sums.offset[...] += summed(of_normed)
            of_pixel = standardised_backward(of_normed * given.scale[...], standard, inverse).astype(dtype)
            sums.expand[pixel] += dot(x, of_pixel, (0, 0))
            return of_x + dot(of_pixel, given.expand[pixel], (1, 1))

        of_x = jax.lax.fori_loop(0, plan.of.pixels, add, jnp.zeros(x.shape, jnp.float32))
        tokens[...] = of_x.reshape(tokens.shape)
        result[pl.ds(round_ * plan.rows, plan.rows)] = tokens[:, : plan.of.width, :].astype(result.dtype)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _specs(plan: HeadPlan) -> _Given:
    """Blocks of the operands."""
    of = plan.of
    row = pl.BlockSpec((1, of.channels), lambda step: (0, 0))
    return _Given(
        x=_rows(plan, of.inputs),
        expand=pl.BlockSpec((of.pixels, of.inputs, of.channels), lambda step: (0, 0, 0)),
        scale=row,
        offset=row,
        classify=pl.BlockSpec((of.pixels, of.channels, of.logits), lambda step: (0, 0, 0)),
    )


def _rows(plan: HeadPlan, channels: int) -> pl.BlockSpec:
    return pl.BlockSpec((plan.rows * plan.rounds, plan.of.width, channels), lambda step: (step, 0, 0))


def _scratch(plan: HeadPlan) -> list[Ref]:
    shapes = ((plan.rows, plan.pitch, channels) for channels in (plan.of.inputs, plan.of.logits))
    return [pltpu.VMEM(shape, jnp.float32) for shape in shapes]


def _costs(of: Head, times: int) -> dict[str, int]:
    """FLOPs of the forward pass, so many times; those with zeros among them."""
    pixels = of.batch * of.height * of.width * of.pixels
    return {"flops": times * 2 * pixels * of.channels * (of.inputs + of.logits), "transcendentals": pixels}


Operands = tuple[jax.Array, ...]  # in the order of _Given


def forward(of: Head, operands: Operands) -> jax.Array:
    """Returns the logits of each token's pixels side by side: (B, H, W, pixels x classes) float32.

    Args:
      of: the head.
      operands: x (B, H, W, inputs); expand (pixels, inputs, C); scale, offset (1, C) float32; classify (pixels, C,
        pixels x classes), of each pixel zeros but for its own classes.
    """
    plan = of.plan(backward=False)
    assert plan, "asked for what does not fit"
    x, *weights = operands
    shape = (of.batch * of.height, of.width)
    (logits,) = call(
        functools.partial(_forward_kernel, plan),
        "swin_head",
        plan.grid,
        [*_specs(plan)],
        (x.reshape(*shape, of.inputs), *weights),
        [_rows(plan, of.logits)],
        [jax.ShapeDtypeStruct((*shape, of.logits), jnp.float32)],
        _scratch(plan),
        held=plan.held(backward=False),
        interpret=of.interpret,
        **_costs(of, 1),
    )
    return logits.reshape(*x.shape[:3], of.logits)


def backward(of: Head, operands: Operands, gradient: jax.Array) -> Operands:
    """Returns the gradients of the operands, given that of what `forward` makes.

    That of x has its type, the others are float32.
    """
    plan = of.plan(backward=True)
    assert plan, "asked for what does not fit"
    x, *weights = operands
    shape = (of.batch * of.height, of.width)
    specs = _specs(plan)
    f32 = [jax.ShapeDtypeStruct(weight.shape, jnp.float32) for weight in weights]
    rows, *sums = call(
        functools.partial(_backward_kernel, plan),
        "swin_head_backward",
        plan.grid,
        [*specs, _rows(plan, of.logits)],
        (x.reshape(*shape, of.inputs), *weights, gradient.reshape(*shape, of.logits)),
        [specs.x, *specs[1:]],
        [jax.ShapeDtypeStruct((*shape, of.inputs), of.dtype), *f32],
        _scratch(plan),
        held=plan.held(backward=True),
        interpret=of.interpret,
        **_costs(of, 3),
    )
    return (rows.reshape(x.shape), *sums)
