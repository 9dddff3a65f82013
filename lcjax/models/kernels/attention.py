"""The first half of a Swin block as one kernel: x + factor * out(attention(qkv(norm(x)))), in (shifted) windows.

Each grid step holds whole images, so that each token is read and written once, and a shift needs no copy: it is only
another order of rows and columns. The backward pass computes the inside again. Heads of up to 128 channels together are
taken in one product: queries of each head, zero in the channels of the others, lie below each other.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lcjax.models.kernels import windows as inside
from lcjax.models.kernels.calls import Ref, begin, call, dot, of_parts, standardised, standardised_backward, summed
from lcjax.models.kernels.plans import Attention, AttentionPlan


class _Given(NamedTuple):
    """Operands of both passes."""

    factor: Ref
    x: Ref
    scale: Ref
    offset: Ref
    qkv: Ref
    qkv_bias: Ref
    out: Ref
    out_bias: Ref
    bias: Ref


class _Sums(NamedTuple):
    """Gradients of the weights, summed up over the grid."""

    scale: Ref
    offset: Ref
    qkv: Ref
    qkv_bias: Ref
    out: Ref
    out_bias: Ref
    bias: Ref


class _Inside(NamedTuple):
    """What a product is made of: tokens in windows, as rows of matrices, and a strip as it lies in the image."""

    places: Ref
    query: Ref
    key: Ref
    value: Ref
    attended: Ref
    rows: Ref


def _project(plan: AttentionPlan, round_: jax.Array, given: _Given, own: _Inside) -> jax.Array:
    """Writes queries, keys and values of a product; returns the normalised tokens that they are made of, (T, C)."""
    windows = plan.of.windows
    own.places[...] = jnp.zeros(own.places.shape, jnp.float32)
    for number in range(plan.strips):
        image, strip = inside.place_of(plan, round_, number)
        standard, _ = standardised(inside.strip_rows(given.x, windows, image, strip))
        normed = standard * given.scale[...][None] + given.offset[...][None]
        inside.cut(own.places, inside.inside(normed, windows, strip), windows, number * windows.across)
    x: jax.Array = own.places[...].reshape(plan.tokens, plan.of.channels).astype(plan.of.dtype)
    for part, ref in enumerate((own.query, own.key, own.value)):
        made = dot(x, given.qkv[part]) + given.qkv_bias[part]
        ref[...] = made * plan.of.size**-0.5 if part == 0 else made
    return x


def _each_row(plan: AttentionPlan, strip: jax.Array, write: Callable[[int, jax.Array], None]) -> None:
    """Calls write(place in the strip, row) for the rows of a strip that are of the image."""
    windows = plan.of.windows
    for place in range(windows.window):
        row = windows.row(strip, place)
        pl.when(row < windows.height)(functools.partial(write, place, row))


def _forward_kernel(plan: AttentionPlan, *refs: Ref) -> None:
    given, result, own = _Given(*refs[:9]), refs[9], _Inside(*refs[10:])
    tile, step = pl.program_id(0), pl.program_id(1)  # the interpreter knows them here alone
    dtype, windows = plan.of.dtype, plan.of.windows

    def one_round(round_: jax.Array, nothing: None) -> None:
        _project(plan, round_, given, own)

        def attend(window: jax.Array, rows: inside.Rows) -> None:
            for channels, heads in plan.groups:
                mask = inside.head_mask(heads.stop - heads.start, channels.stop - channels.start, plan.of.size)
                query = inside.below(own.query[rows, channels], mask, dtype)
                logits = dot(query, own.key[rows, channels].astype(dtype), (1, 1))
                weights = inside.softmax(plan, logits, given.bias[heads], round_, window).astype(dtype)
                attended = dot(weights, own.value[rows, channels].astype(dtype))
                own.attended[rows, channels] = inside.joined(attended, mask)

        inside.each_window(plan, attend)
        added = dot(own.attended[...].astype(dtype), given.out[...])
        added += given.out_bias[...] if plan.tiles == 1 else jnp.where(tile == 0, given.out_bias[...], 0.0)
        own.places[...] = added.reshape(own.places.shape)
        for number in range(plan.strips):
            image, strip = inside.place_of(plan, round_, number)
            factor = given.factor[step * plan.images + image]
            inside.join(own.rows, own.places, windows, number * windows.across)

            def write(place: int, row: jax.Array, image: jax.Array = image, factor: jax.Array = factor) -> None:
                identity = _of_first(plan, tile, given.x[image, row])
                result[0, image, row] = (identity + factor * own.rows[place]).astype(result.dtype)

            _each_row(plan, strip, write)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _of_first(plan: AttentionPlan, tile: jax.Array, x: jax.Array) -> jax.Array:
    """What the first part of the heads alone adds to its result, float32."""
    floats = x.astype(jnp.float32)
    return floats if plan.tiles == 1 else jnp.where(tile == 0, floats, 0.0)


def _backward_kernel(plan: AttentionPlan, *refs: Ref) -> None:
    given, gradient, result = _Given(*refs[:9]), refs[9], refs[10]
    sums, asked_ref, own = _Sums(*refs[11:18]), refs[18], _Inside(*refs[19:])
    tile, step = pl.program_id(0), pl.program_id(1)
    dtype, windows = plan.of.dtype, plan.of.windows

    begin(step, sums)

    def one_round(round_: jax.Array, nothing: None) -> None:
        normed = _project(plan, round_, given, own)
        asked_ref[...] = jnp.zeros(asked_ref.shape, jnp.float32)
        for number in range(plan.strips):
            image, strip = inside.place_of(plan, round_, number)
            asked = inside.inside(inside.strip_rows(gradient, windows, image, strip), windows, strip)
            factor = given.factor[step * plan.images + image]
            inside.cut(asked_ref, asked * factor, windows, number * windows.across)
        asked = asked_ref[...].reshape(plan.tokens, plan.of.channels)
        sums.out_bias[0] += summed(asked)
        asked = asked.astype(dtype)
        own.attended[...] = dot(asked, given.out[...], (1, 1))
        inside.each_window(plan, functools.partial(_window_backward, plan, round_, given, sums, own))
        sums.out[...] += dot(own.attended[...].astype(dtype), asked, (0, 0))
        own.places[...] = _project_backward(plan, given, sums, own, normed).reshape(own.places.shape)
        for number in range(plan.strips):
            image, strip = inside.place_of(plan, round_, number)
            inside.join(own.rows, own.places, windows, number * windows.across)
            of_strip = inside.inside(own.rows[...], windows, strip)
            standard, inverse = standardised(inside.strip_rows(given.x, windows, image, strip))
            sums.scale[0] += summed(of_strip * standard)
            sums.offset[0] += summed(of_strip)
            own.rows[...] = standardised_backward(of_strip * given.scale[...][None], standard, inverse)

            def write(place: int, row: jax.Array, image: jax.Array = image) -> None:
                identity = _of_first(plan, tile, gradient[image, row])
                result[0, image, row] = (identity + own.rows[place]).astype(result.dtype)

            _each_row(plan, strip, write)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _window_backward(
    plan: AttentionPlan,
    round_: jax.Array,
    given: _Given,
    sums: _Sums,
    own: _Inside,
    window: jax.Array,
    rows: inside.Rows,
) -> None:
    """Writes the gradients of queries, keys and values of a window over them, and what is attended over its own."""
    dtype = plan.of.dtype
    for channels, heads in plan.groups:
        mask = inside.head_mask(heads.stop - heads.start, channels.stop - channels.start, plan.of.size)
        query = inside.below(own.query[rows, channels], mask, dtype)
        key, value = (ref[rows, channels].astype(dtype) for ref in (own.key, own.value))
        weights = inside.softmax(plan, dot(query, key, (1, 1)), given.bias[heads], round_, window)
        of_attended = inside.below(own.attended[rows, channels], mask, dtype)
        own.attended[rows, channels] = inside.joined(dot(weights.astype(dtype), value), mask)
        own.value[rows, channels] = dot(weights.astype(dtype), of_attended, (0, 0))
        of_weights = dot(of_attended, value, (1, 1))
        of_logits = weights * (of_weights - jnp.sum(of_weights * weights, axis=-1, keepdims=True))
        sums.bias[heads] += of_logits.reshape(-1, *of_logits.shape[-1:] * 2)
        of_logits = of_logits.astype(dtype)
        own.query[rows, channels] = inside.joined(dot(of_logits, key), mask) * plan.of.size**-0.5
        own.key[rows, channels] = dot(of_logits, query, (0, 0))


def _project_backward(plan: AttentionPlan, given: _Given, sums: _Sums, own: _Inside, normed: jax.Array) -> jax.Array:
    """The gradient of the normalised tokens (T, C); sums up that of what made queries, keys and values of them."""
    of_normed = jnp.zeros(normed.shape, jnp.float32)
    for part, ref in enumerate((own.query, own.key, own.value)):
        of_part = ref[...]
        sums.qkv_bias[part] += summed(of_part)
        of_part = of_part.astype(plan.of.dtype)
        sums.qkv[part] += dot(normed, of_part, (0, 0))
        of_normed += dot(of_part, given.qkv[part], (1, 1))
    return of_normed


def _specs(plan: AttentionPlan) -> _Given:
    """Blocks of the operands."""
    c, part, windows = plan.of.channels, plan.channels, plan.of.windows
    whole = pl.BlockSpec((1, c), lambda tile, step: (0, 0))
    return _Given(
        factor=pl.BlockSpec(memory_space=pltpu.SMEM),
        x=pl.BlockSpec((plan.images, windows.height, windows.width, c), lambda tile, step: (step, 0, 0, 0)),
        scale=whole,
        offset=whole,
        qkv=pl.BlockSpec((3, c, part), lambda tile, step: (0, 0, tile)),
        qkv_bias=pl.BlockSpec((3, 1, part), lambda tile, step: (0, 0, tile)),
        out=pl.BlockSpec((part, c), lambda tile, step: (tile, 0)),
        out_bias=whole,
        bias=pl.BlockSpec((plan.heads, windows.tokens, windows.tokens), lambda tile, step: (tile, 0, 0)),
    )


def _image_out(plan: AttentionPlan) -> tuple[pl.BlockSpec, jax.ShapeDtypeStruct]:
    """Block and type of an image that each part of the heads makes; parts are summed up in float32."""
    shape = (plan.of.windows.height, plan.of.windows.width, plan.of.channels)
    block = pl.BlockSpec((1, plan.images, *shape), lambda tile, step: (tile, step, 0, 0, 0))
    dtype = plan.of.dtype if plan.tiles == 1 else "float32"
    return block, jax.ShapeDtypeStruct((plan.tiles, plan.of.batch, *shape), dtype)


def _scratch(plan: AttentionPlan) -> list[Any]:
    matrix = pltpu.VMEM((plan.tokens, plan.channels), jnp.float32)
    places = pltpu.VMEM(plan.places, jnp.float32)
    return [places, matrix, matrix, matrix, matrix, pltpu.VMEM(plan.rows, jnp.float32)]


def _costs(attention: Attention, times: int) -> dict[str, int]:
    """FLOPs and transcendentals of the forward pass, so many times."""
    windows = attention.windows
    count = attention.batch * windows.strips * windows.across
    tokens, c = windows.window**2, attention.channels
    flops = 2 * count * tokens * (4 * c * c + 2 * c * tokens)
    return {"flops": times * flops, "transcendentals": count * attention.heads * tokens**2}


Operands = tuple[jax.Array, ...]  # in the order of _Given


def forward(attention: Attention, operands: Operands) -> jax.Array:
    """Returns x + factor * attention: (B, H, W, C).

    Args:
      attention: of the block.
      operands: factor (B,) float32; x (B, H, W, C); scale, offset (1, C) float32; qkv (3, C, C); qkv_bias (3, 1, C)
        float32; out (C, C); out_bias (1, C) float32; bias (heads, N, N) float32, as `Windows.padded` makes it.
    """
    plan = attention.plan(backward=False)
    assert plan, "asked for what does not fit"
    block, result = _image_out(plan)
    (images,) = call(
        functools.partial(_forward_kernel, plan),
        "swin_attention",
        plan.grid,
        [*_specs(plan)],
        operands,
        [block],
        [result],
        _scratch(plan),
        held=plan.held(backward=False),
        interpret=attention.interpret,
        **_costs(attention, 1),
    )
    return of_parts(images, attention.dtype)


def backward(attention: Attention, operands: Operands, gradient: jax.Array) -> Operands:
    """Returns the gradients of the operands but factor, given that of what `forward` makes.

    That of x has its type, the others are float32.
    """
    plan = attention.plan(backward=True)
    assert plan, "asked for what does not fit"
    c, tokens = attention.channels, attention.windows.tokens
    f32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    block, result = _image_out(plan)
    row = pl.BlockSpec((1, 1, c), lambda tile, step: (tile, 0, 0))
    specs = _specs(plan)
    blocks = _Sums(row, row, specs.qkv, specs.qkv_bias, specs.out, row, specs.bias)
    rows = f32((plan.tiles, 1, c))
    sums = _Sums(rows, rows, f32((3, c, c)), f32((3, 1, c)), f32((c, c)), rows, f32((attention.heads, tokens, tokens)))
    images, *made = call(
        functools.partial(_backward_kernel, plan),
        "swin_attention_backward",
        plan.grid,
        [*specs, specs.x],
        (*operands, gradient),
        [block, *blocks],
        [result, *sums],
        [pltpu.VMEM(plan.places, jnp.float32), *_scratch(plan)],
        held=plan.held(backward=True),
        interpret=attention.interpret,
        **_costs(attention, 3),
    )
    of = _Sums(*made)
    # Each part of the heads asks something of the norm; of what is added behind all of them each knows the whole.
    of = of._replace(scale=jnp.sum(of.scale, 0), offset=jnp.sum(of.offset, 0), out_bias=of.out_bias[0])
    return (of_parts(images, attention.dtype), *of)
