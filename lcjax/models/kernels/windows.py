"""Windows inside a kernel: cut out of an image and joined again, their heads, and their softmax.

Letters: T tokens in rows of windows, N places of a window, K heads of a product, L their channels.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from lcjax.models.kernels.calls import Ref
from lcjax.models.kernels.plans import MASKED, AttentionPlan, Windows

Rows = Any  # of the tokens of a window among those of a product


def place_of(plan: AttentionPlan, round_: jax.Array, strip: int) -> tuple[jax.Array, jax.Array]:
    """Image and strip of it, of one of the strips of a product."""
    number = round_ * plan.strips + strip
    return number // plan.of.windows.strips, number % plan.of.windows.strips


def strip_rows(ref: Ref, windows: Windows, image: jax.Array, strip: jax.Array) -> jax.Array:
    """The rows of a strip, float32; of those below the image its last one."""
    rows = [jnp.minimum(windows.row(strip, place), windows.height - 1) for place in range(windows.window)]
    return jnp.stack([ref[image, row].astype(jnp.float32) for row in rows])


def inside(x: jax.Array, windows: Windows, strip: jax.Array) -> jax.Array:
    """A strip with zeros in what lies below the image."""
    if windows.height % windows.window == 0:
        return x
    rows = [jnp.where(windows.row(strip, place) < windows.height, x[place], 0.0) for place in range(windows.window)]
    return jnp.stack(rows)


def cut(places_ref: Ref, x: jax.Array, windows: Windows, first: int) -> None:
    """Writes a strip into the windows from the first on."""
    for window, place, column, count in windows.runs:
        places_ref[first + window, :, place : place + count, :] = x[:, column : column + count, :]


def join(rows_ref: Ref, places_ref: Ref, windows: Windows, first: int) -> None:
    """The inverse of `cut`."""
    for window, place, column, count in windows.runs:
        rows_ref[:, column : column + count, :] = places_ref[first + window, :, place : place + count, :]


def head_mask(heads: int, channels: int, size: int) -> jax.Array:
    """(K, 1, L): 1 in the channels of each head."""
    shape = (heads, 1, channels)
    of_lane = jax.lax.broadcasted_iota(jnp.int32, shape, 2)
    first = jax.lax.broadcasted_iota(jnp.int32, shape, 0) * size
    return ((of_lane >= first) & (of_lane < first + size)).astype(jnp.float32)


def below(x_NxL: jax.Array, mask_KxL: jax.Array, dtype: str) -> jax.Array:
    """(K N, L): each head below the other, with zeros in the channels of the others."""
    return (x_NxL[None] * mask_KxL).reshape(-1, x_NxL.shape[-1]).astype(dtype)


def joined(x_KNxL: jax.Array, mask_KxL: jax.Array) -> jax.Array:
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

    return jnp.where(piece(0) == piece(1), 0.0, MASKED)


def softmax(
    plan: AttentionPlan, logits_KNxN: jax.Array, bias_KxNxN: jax.Array, round_: jax.Array, window: jax.Array
) -> jax.Array:
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


def each_window(plan: AttentionPlan, body: Callable[[jax.Array, Rows], None]) -> None:
    """Calls the body with the number of each window of a product, and the rows where its tokens lie."""

    def one(window: jax.Array, nothing: None) -> None:
        body(window, pl.ds(pl.multiple_of(window * plan.of.windows.tokens, 8), plan.of.windows.tokens))

    jax.lax.fori_loop(0, plan.count, one, None)
