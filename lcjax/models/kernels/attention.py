"""The first half of a Swin block as one kernel: x + factor * out(attention(qkv(norm(x)))), in (shifted) windows.

Each grid step holds whole images, so that each token is read and written once, and a shift needs no copy: it is only
another order of rows and columns. The backward pass computes the inside again. Heads of up to 128 channels together are
taken in one product: queries of each head, zero in the channels of the others, lie below each other.

Letters: T tokens in rows of windows, N places of a window, K heads of a product, L their channels.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from lcjax.models.kernels.strips import (
    FAST_MEMORY,
    LANES,
    Windows,
    call,
    divisor,
    divisors,
    dot,
    held,
    of_parts,
    standardised,
    standardised_backward,
    summed,
)

_MASKED = -100.0  # added to the logits of token pairs that do not touch, as in lcjax.models.swin
_ABSENT = -1e30  # logit of a place that holds no token
_TOKENS = 512  # that go through a product together, about
_IMAGES = 8  # of a grid step, at most


@dataclasses.dataclass(frozen=True)
class Attention:
    """What is known of the attention of a block before it runs.

    Attributes:
      windows: how its images are cut.
      batch: images.
      channels: of a token.
      heads: of the attention.
      dtype: name of the type of the tokens and of the products' factors.
      interpret: whether the kernel runs in Pallas' interpreter, on any device, for tests.
    """

    windows: Windows
    batch: int
    channels: int
    heads: int
    dtype: str
    interpret: bool = False

    @property
    def size(self) -> int:
        """Channels of a head."""
        return self.channels // self.heads

    @property
    def together(self) -> int:
        """Heads of one product."""
        return max(1, min(self.heads, LANES // self.size))

    def plan(self, *, backward: bool) -> "Plan | None":
        """How the work is cut so that it fits in fast memory; None where it does not fit at all."""
        groups = self.heads // self.together
        even = self.heads % self.together == 0 and self.together * self.size % LANES == 0
        for tiles in divisors(groups) if even else [1]:
            for tokens in (_TOKENS, _TOKENS // 2, _TOKENS // 4):
                for images in reversed(divisors(self.batch)):
                    at_once = tokens // (self.windows.across * self.windows.tokens)
                    plan = Plan(self, tiles, images, divisor(images * self.windows.strips, at_once))
                    if images <= _IMAGES and plan.held(backward=backward) <= FAST_MEMORY:
                        return plan
        return None


@dataclasses.dataclass(frozen=True)
class Plan:
    """How the work of a block is cut.

    Attributes:
      of: the block.
      tiles: parts that the heads are taken in, one after the other.
      images: of a grid step.
      strips: of windows that go through a product together.
    """

    of: Attention
    tiles: int
    images: int
    strips: int

    @property
    def grid(self) -> tuple[int, int]:
        """Parts of the heads, and steps over the batch."""
        return self.tiles, self.of.batch // self.images

    @property
    def rounds(self) -> int:
        """Products of a grid step, one after the other."""
        return self.images * self.of.windows.strips // self.strips

    @property
    def heads(self) -> int:
        """Heads of a part."""
        return self.of.heads // self.tiles

    @property
    def channels(self) -> int:
        """Channels of a part."""
        return self.heads * self.of.size

    @property
    def count(self) -> int:
        """Windows of a product."""
        return self.strips * self.of.windows.across

    @property
    def tokens(self) -> int:
        """Places of a product."""
        return self.count * self.of.windows.tokens

    @property
    def groups(self) -> Iterator[tuple[slice, slice]]:
        """(channels, heads) of each product of queries and keys."""
        for first in range(0, self.heads, self.of.together):
            last = min(first + self.of.together, self.heads)
            yield slice(first * self.of.size, last * self.of.size), slice(first, last)

    def held(self, *, backward: bool) -> int:
        """Bytes of fast memory that it takes, about: blocks are held twice, and numbers on their way once."""
        windows, c, size = self.of.windows, self.of.channels, jnp.dtype(self.of.dtype).itemsize
        images = self.images * held((windows.height, windows.width, c), size)
        result = images if self.tiles == 1 else images * 4 // size
        weights = 3 * held((c, self.channels), size) + held((self.channels, c), size)
        sums = weights * 4 // size
        bias = held((self.heads, windows.tokens, windows.tokens), 4)
        tokens, of_part = held((self.tokens, c), 4), held((self.tokens, self.channels), 4)
        inside = 4 * of_part + held((windows.window, windows.width, c), 4)
        if backward:
            return 2 * (2 * images + result + weights + sums + 2 * bias) + inside + 4 * tokens
        return 2 * (images + result + weights + bias) + inside + 2 * tokens

    def places(self, channels: int) -> pltpu.VMEM:
        """Fast memory for the tokens of a product, by window, row and column."""
        windows = self.of.windows
        return pltpu.VMEM((self.count, windows.window, windows.pitch, channels), jnp.float32)

    def matrix(self, channels: int) -> pltpu.VMEM:
        """Fast memory for the tokens of a product as the rows of a matrix."""
        return pltpu.VMEM((self.tokens, channels), jnp.float32)

    def rows(self) -> pltpu.VMEM:
        """Fast memory for a strip as it lies in the image."""
        return pltpu.VMEM((self.of.windows.window, self.of.windows.width, self.of.channels), jnp.float32)


# ---------------------------------------------------------------------- inside of the kernels
def _place(plan: Plan, round_: jax.Array, strip: int) -> tuple[jax.Array, jax.Array]:
    """Image and strip of it, of one of the strips of a product."""
    number = round_ * plan.strips + strip
    return number // plan.of.windows.strips, number % plan.of.windows.strips


def _strip(ref: Any, windows: Windows, image: jax.Array, strip: jax.Array) -> jax.Array:
    """The rows of a strip, float32; of those below the image its last one."""
    rows = [jnp.minimum(windows.row(strip, place), windows.height - 1) for place in range(windows.window)]
    return jnp.stack([ref[image, row].astype(jnp.float32) for row in rows])


def _inside(x: jax.Array, windows: Windows, strip: jax.Array) -> jax.Array:
    """A strip with zeros in what lies below the image."""
    if windows.height % windows.window == 0:
        return x
    rows = [jnp.where(windows.row(strip, place) < windows.height, x[place], 0.0) for place in range(windows.window)]
    return jnp.stack(rows)


def _cut(places_ref: Any, x: jax.Array, windows: Windows, first: int) -> None:
    """Writes a strip into the windows from the first on."""
    for window, place, column, count in windows.runs:
        places_ref[first + window, :, place : place + count, :] = x[:, column : column + count, :]


def _join(rows_ref: Any, places_ref: Any, windows: Windows, first: int) -> None:
    """The inverse of `_cut`."""
    for window, place, column, count in windows.runs:
        rows_ref[:, column : column + count, :] = places_ref[first + window, :, place : place + count, :]


def _head_mask(heads: int, channels: int, size: int) -> jax.Array:
    """(K, 1, L): 1 in the channels of each head."""
    shape = (heads, 1, channels)
    of_lane = jax.lax.broadcasted_iota(jnp.int32, shape, 2)
    first = jax.lax.broadcasted_iota(jnp.int32, shape, 0) * size
    return ((of_lane >= first) & (of_lane < first + size)).astype(jnp.float32)


def _below(x_NxL: jax.Array, mask_KxL: jax.Array, dtype: str) -> jax.Array:
    """(K N, L): each head below the other, with zeros in the channels of the others."""
    return (x_NxL[None] * mask_KxL).reshape(-1, x_NxL.shape[-1]).astype(dtype)


def _together(x_KNxL: jax.Array, mask_KxL: jax.Array) -> jax.Array:
    """(N, L): of each head its own channels."""
    return jnp.sum(x_KNxL.reshape(mask_KxL.shape[0], -1, x_KNxL.shape[-1]) * mask_KxL, axis=0)


def _torn(windows: Windows, last_row: jax.Array, last_column: jax.Array) -> jax.Array:
    """(N, N): what keeps tokens of a window at the edge apart that the shift has brought together."""
    shape = (windows.tokens, windows.tokens)

    def piece(axis: int) -> jax.Array:
        place = jax.lax.broadcasted_iota(jnp.int32, shape, axis)
        row, column = place // windows.pitch, place % windows.pitch
        edge = windows.window - windows.shift
        below, right = (row >= edge).astype(jnp.int32), (column >= edge).astype(jnp.int32)
        return 2 * below * last_row.astype(jnp.int32) + right * last_column.astype(jnp.int32)

    return jnp.where(piece(0) == piece(1), 0.0, _MASKED)


def _softmax(plan: Plan, logits_KNxN: jax.Array, bias_KxNxN: jax.Array, round_: jax.Array, window: jax.Array):
    """(K N, N) float32: how much each token of a window attends to each; only windows at the edge pay for a mask."""
    windows = plan.of.windows
    logits = logits_KNxN.reshape(bias_KxNxN.shape) + bias_KxNxN
    if windows.shift:
        number = round_ * plan.strips + window // windows.across
        last_row = number % windows.strips == windows.strips - 1
        last_column = window % windows.across == windows.across - 1
        logits = jax.lax.cond(
            last_row | last_column, lambda x: x + _torn(windows, last_row, last_column)[None], lambda x: x, logits
        )
    powers = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    return (powers / jnp.sum(powers, axis=-1, keepdims=True)).reshape(logits_KNxN.shape)


def _normalised(plan: Plan, round_: jax.Array, x_ref, scale_ref, offset_ref, places_ref) -> None:
    """Writes the normalised tokens of a product into windows."""
    windows = plan.of.windows
    for number in range(plan.strips):
        image, strip = _place(plan, round_, number)
        standard, _ = standardised(_strip(x_ref, windows, image, strip))
        normed = standard * scale_ref[...][None] + offset_ref[...][None]
        _cut(places_ref, _inside(normed, windows, strip), windows, number * windows.across)


def _project(plan: Plan, places_ref, qkv_ref, qkv_bias_ref, out_refs) -> jax.Array:
    """Writes queries, keys and values of a product; returns what they are made of, (T, C)."""
    x = places_ref[...].reshape(plan.tokens, plan.of.channels).astype(plan.of.dtype)
    for part, ref in enumerate(out_refs):
        made = dot(x, qkv_ref[part]) + qkv_bias_ref[part]
        ref[...] = made * plan.of.size**-0.5 if part == 0 else made
    return x


def _each_window(plan: Plan, body: Callable[[jax.Array, pl.Slice], None]) -> None:
    """Calls the body with the number of each window of a product, and the rows where its tokens lie."""

    def one(window: jax.Array, nothing: None) -> None:
        body(window, pl.ds(pl.multiple_of(window * plan.of.windows.tokens, 8), plan.of.windows.tokens))

    jax.lax.fori_loop(0, plan.count, one, None)


def _residual(plan: Plan, round_: jax.Array, factor_ref, x_ref, places_ref, rows_ref, result_ref, tile, step) -> None:
    """Writes x + factor * (what lies in the windows of a product); x is added by the first part of the heads."""
    windows = plan.of.windows
    for number in range(plan.strips):
        image, strip = _place(plan, round_, number)
        factor = factor_ref[step * plan.images + image]
        _join(rows_ref, places_ref, windows, number * windows.across)
        for place in range(windows.window):
            row = windows.row(strip, place)

            @pl.when(row < windows.height)
            def _write(row=row, place=place, image=image, factor=factor) -> None:
                identity = x_ref[image, row].astype(jnp.float32)
                if plan.tiles > 1:
                    identity = jnp.where(tile == 0, identity, 0.0)
                result_ref[0, image, row] = (identity + factor * rows_ref[place]).astype(result_ref.dtype)


def _forward_kernel(
    plan: Plan,
    factor_ref,
    x_ref,
    scale_ref,
    offset_ref,
    qkv_ref,
    qkv_bias_ref,
    out_ref,
    out_bias_ref,
    bias_ref,
    result_ref,
    places_ref,
    query_ref,
    key_ref,
    value_ref,
    attended_ref,
    rows_ref,
) -> None:
    places_ref[...] = jnp.zeros(places_ref.shape, jnp.float32)
    dtype = plan.of.dtype
    tile, step = pl.program_id(0), pl.program_id(1)  # the interpreter knows them here alone

    def one_round(round_: jax.Array, nothing: None) -> None:
        _normalised(plan, round_, x_ref, scale_ref, offset_ref, places_ref)
        _project(plan, places_ref, qkv_ref, qkv_bias_ref, (query_ref, key_ref, value_ref))

        def attend(window: jax.Array, rows: pl.Slice) -> None:
            for channels, heads in plan.groups:
                mask = _head_mask(heads.stop - heads.start, channels.stop - channels.start, plan.of.size)
                query = _below(query_ref[rows, channels], mask, dtype)
                logits = dot(query, key_ref[rows, channels].astype(dtype), (1, 1))
                weights = _softmax(plan, logits, bias_ref[heads], round_, window).astype(dtype)
                attended = dot(weights, value_ref[rows, channels].astype(dtype))
                attended_ref[rows, channels] = _together(attended, mask)

        _each_window(plan, attend)
        bias = jnp.where(tile == 0, out_bias_ref[...], 0.0)
        added = dot(attended_ref[...].astype(dtype), out_ref[...]) + bias
        sums = places_ref  # taken as it was read; zeros come back below
        sums[...] = added.reshape(places_ref.shape)
        _residual(plan, round_, factor_ref, x_ref, sums, rows_ref, result_ref, tile, step)
        sums[...] = jnp.zeros(places_ref.shape, jnp.float32)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


def _backward_kernel(
    plan: Plan,
    factor_ref,
    x_ref,
    scale_ref,
    offset_ref,
    qkv_ref,
    qkv_bias_ref,
    out_ref,
    out_bias_ref,
    bias_ref,
    gradient_ref,
    result_ref,
    scale_sum,
    offset_sum,
    qkv_sum,
    qkv_bias_sum,
    out_sum,
    out_bias_sum,
    bias_sum,
    places_ref,
    asked_ref,
    query_ref,
    key_ref,
    value_ref,
    attended_ref,
    rows_ref,
) -> None:
    windows, dtype = plan.of.windows, plan.of.dtype
    tile, step = pl.program_id(0), pl.program_id(1)
    sums = (scale_sum, offset_sum, qkv_sum, qkv_bias_sum, out_sum, out_bias_sum, bias_sum)

    @pl.when(step == 0)
    def _begin() -> None:
        for ref in sums:
            ref[...] = jnp.zeros(ref.shape, jnp.float32)

    def one_round(round_: jax.Array, nothing: None) -> None:
        places_ref[...] = jnp.zeros(places_ref.shape, jnp.float32)
        asked_ref[...] = jnp.zeros(asked_ref.shape, jnp.float32)
        _normalised(plan, round_, x_ref, scale_ref, offset_ref, places_ref)
        for number in range(plan.strips):
            image, strip = _place(plan, round_, number)
            factor = factor_ref[step * plan.images + image]
            asked = _inside(_strip(gradient_ref, windows, image, strip), windows, strip) * factor
            _cut(asked_ref, asked, windows, number * windows.across)
        normed = _project(plan, places_ref, qkv_ref, qkv_bias_ref, (query_ref, key_ref, value_ref))
        asked = asked_ref[...].reshape(plan.tokens, plan.of.channels)
        out_bias_sum[0] += summed(asked)
        asked = asked.astype(dtype)
        attended_ref[...] = dot(asked, out_ref[...], (1, 1))

        def attend(window: jax.Array, rows: pl.Slice) -> None:
            for channels, heads in plan.groups:
                mask = _head_mask(heads.stop - heads.start, channels.stop - channels.start, plan.of.size)
                query = _below(query_ref[rows, channels], mask, dtype)
                key, value = (ref[rows, channels].astype(dtype) for ref in (key_ref, value_ref))
                weights = _softmax(plan, dot(query, key, (1, 1)), bias_ref[heads], round_, window)
                rounded_weights = weights.astype(dtype)
                asked_of_heads = _below(attended_ref[rows, channels], mask, dtype)
                attended_ref[rows, channels] = _together(dot(rounded_weights, value), mask)
                value_ref[rows, channels] = dot(rounded_weights, asked_of_heads, (0, 0))
                of_weights = dot(asked_of_heads, value, (1, 1))
                along = jnp.sum(of_weights * weights, axis=-1, keepdims=True)
                of_logits = weights * (of_weights - along)
                bias_sum[heads] += of_logits.reshape(bias_sum[heads].shape)
                of_logits = of_logits.astype(dtype)
                query_ref[rows, channels] = _together(dot(of_logits, key), mask) * plan.of.size**-0.5
                key_ref[rows, channels] = dot(of_logits, query, (0, 0))

        _each_window(plan, attend)
        out_sum[...] += dot(attended_ref[...].astype(dtype), asked, (0, 0))
        of_normed = jnp.zeros((plan.tokens, plan.of.channels), jnp.float32)
        for part, ref in enumerate((query_ref, key_ref, value_ref)):
            of_part = ref[...]
            qkv_bias_sum[part] += summed(of_part)
            of_part = of_part.astype(dtype)
            qkv_sum[part] += dot(normed, of_part, (0, 0))
            of_normed += dot(of_part, qkv_ref[part], (1, 1))
        asked_ref[...] = of_normed.reshape(asked_ref.shape)
        for number in range(plan.strips):
            image, strip = _place(plan, round_, number)
            _join(rows_ref, asked_ref, windows, number * windows.across)
            of_strip = _inside(rows_ref[...], windows, strip)
            standard, inverse = standardised(_strip(x_ref, windows, image, strip))
            scale_sum[0] += summed(of_strip * standard)
            offset_sum[0] += summed(of_strip)
            rows_ref[...] = standardised_backward(of_strip * scale_ref[...][None], standard, inverse)
            for place in range(windows.window):
                row = windows.row(strip, place)

                @pl.when(row < windows.height)
                def _write(row=row, place=place, image=image) -> None:
                    identity = gradient_ref[image, row].astype(jnp.float32)
                    if plan.tiles > 1:
                        identity = jnp.where(tile == 0, identity, 0.0)
                    result_ref[0, image, row] = (identity + rows_ref[place]).astype(result_ref.dtype)

    jax.lax.fori_loop(0, plan.rounds, one_round, None)


# ---------------------------------------------------------------------- the calls
def _specs(plan: Plan) -> list[pl.BlockSpec]:
    """Of factor, x, scale, offset, qkv, qkv_bias, out, out_bias and bias."""
    c, part = plan.of.channels, plan.channels
    windows = plan.of.windows
    whole = pl.BlockSpec((1, c), lambda tile, step: (0, 0))
    return [
        pl.BlockSpec(memory_space=pltpu.SMEM),
        pl.BlockSpec((plan.images, windows.height, windows.width, c), lambda tile, step: (step, 0, 0, 0)),
        whole,
        whole,
        pl.BlockSpec((3, c, part), lambda tile, step: (0, 0, tile)),
        pl.BlockSpec((3, 1, part), lambda tile, step: (0, 0, tile)),
        pl.BlockSpec((part, c), lambda tile, step: (tile, 0)),
        whole,
        pl.BlockSpec((plan.heads, windows.tokens, windows.tokens), lambda tile, step: (tile, 0, 0)),
    ]


def _image_out(plan: Plan) -> tuple[pl.BlockSpec, jax.ShapeDtypeStruct]:
    """Block and type of an image that each part of the heads makes; parts are summed up in float32."""
    windows = plan.of.windows
    shape = (windows.height, windows.width, plan.of.channels)
    block = pl.BlockSpec((1, plan.images, *shape), lambda tile, step: (tile, step, 0, 0, 0))
    dtype = plan.of.dtype if plan.tiles == 1 else "float32"
    return block, jax.ShapeDtypeStruct((plan.tiles, plan.of.batch, *shape), dtype)


def _costs(attention: Attention, times: int) -> dict[str, int]:
    """FLOPs and transcendentals of the forward pass, so many times."""
    windows = attention.windows
    places = attention.batch * windows.strips * windows.across
    tokens, c = windows.window**2, attention.channels
    flops = 2 * places * tokens * (4 * c * c + 2 * c * tokens)
    return {"flops": times * flops, "transcendentals": places * attention.heads * tokens**2}


def in_float32(attention: Attention) -> Attention:
    """The same, with tokens and weights in float32."""
    return dataclasses.replace(attention, dtype="float32")


Operands = tuple[jax.Array, ...]  # factor, x, scale, offset, qkv, qkv_bias, out, out_bias, bias


def forward(attention: Attention, operands: Operands) -> jax.Array:
    """Returns x + factor * attention: (B, H, W, C).

    Args:
      attention: of the block.
      operands: factor (B,) float32; x (B, H, W, C); scale, offset (1, C) float32; qkv (3, C, C); qkv_bias (3, 1, C)
        float32; out (C, C); out_bias (1, C) float32; bias (heads, N, N) float32, as `padded_bias` makes it.
    """
    plan = attention.plan(backward=False)
    assert plan, "asked for what does not fit"
    block, result = _image_out(plan)
    scratch = [
        plan.places(attention.channels),
        *[plan.matrix(plan.channels) for _ in range(4)],
        plan.rows(),
    ]
    (images,) = call(
        functools.partial(_forward_kernel, plan),
        "swin_attention",
        plan.grid,
        _specs(plan),
        operands,
        [block],
        [result],
        scratch,
        interpret=attention.interpret,
        **_costs(attention, 1),
    )
    return of_parts(images, attention.dtype)


def backward(attention: Attention, operands: Operands, gradient: jax.Array) -> Operands:
    """The gradients of x, scale, offset, qkv, qkv_bias, out, out_bias and bias, given that of what `forward` makes.

    That of x has its type, the others are float32.
    """
    plan = attention.plan(backward=True)
    assert plan, "asked for what does not fit"
    c, part = attention.channels, plan.channels
    windows = attention.windows
    f32 = functools.partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
    block, result = _image_out(plan)
    of_tile = pl.BlockSpec((1, 1, c), lambda tile, step: (tile, 0, 0))
    specs = _specs(plan)
    sums = [
        (of_tile, f32((plan.tiles, 1, c))),
        (of_tile, f32((plan.tiles, 1, c))),
        (specs[4], f32((3, c, c))),
        (specs[5], f32((3, 1, c))),
        (specs[6], f32((c, c))),
        (of_tile, f32((plan.tiles, 1, c))),
        (specs[8], f32((attention.heads, windows.tokens, windows.tokens))),
    ]
    scratch = [plan.places(c), plan.places(c), *[plan.matrix(part) for _ in range(4)], plan.rows()]
    images, scale, offset, qkv, qkv_bias, out, out_bias, bias = call(
        functools.partial(_backward_kernel, plan),
        "swin_attention_backward",
        plan.grid,
        [*specs, specs[1]],
        (*operands, gradient),
        [block, *[spec for spec, _ in sums]],
        [result, *[shape for _, shape in sums]],
        scratch,
        interpret=attention.interpret,
        **_costs(attention, 3),
    )
    of_x = of_parts(images, attention.dtype)
    return of_x, jnp.sum(scale, 0), jnp.sum(offset, 0), qkv, qkv_bias, out, out_bias[0], bias


def padded_bias(windows: Windows, bias_HxNxN: jax.Array) -> jax.Array:
    """The bias of pairs of tokens (heads, window^2, window^2) for the places of a window in fast memory.

    Places without a token are attended to by nobody.
    """
    heads, edge, pitch = bias_HxNxN.shape[0], windows.window, windows.pitch
    pairs = bias_HxNxN.reshape(heads, edge, edge, edge, edge)
    between = pitch - edge
    pairs = jnp.pad(pairs, ((0, 0), (0, 0), (0, between), (0, 0), (0, 0)))
    pairs = jnp.pad(pairs, ((0, 0),) * 4 + ((0, between),), constant_values=_ABSENT)
    return pairs.reshape(heads, windows.tokens, windows.tokens)
