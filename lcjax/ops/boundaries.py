"""Which pixels lie near the boundary of another class."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from data_pipelines.schema.legends import IGNORE


def near_boundaries(labels_BxHxW: jax.Array, width: int) -> jax.Array:
    """Returns where the square of pixels up to `width` away holds a labelled pixel of another class, bool.

    What is ignored is of no class: it makes no boundary, and lies near none.
    """
    labels = labels_BxHxW.astype(jnp.int32)
    valid = labels_BxHxW != IGNORE
    highest = _over_square(jnp.where(valid, labels, -1), jax.lax.max, -1, width)
    lowest = _over_square(labels, jax.lax.min, IGNORE, width)
    return valid & ((highest != labels) | (lowest != labels))


def _over_square(values_BxHxW: jax.Array, reduce: Callable[..., jax.Array], nothing: int, reach: int) -> jax.Array:
    """Reduces the square around each pixel, first along rows, then along columns."""
    side = 2 * reach + 1
    for window in ((1, 1, side), (1, side, 1)):
        values_BxHxW = jax.lax.reduce_window(values_BxHxW, jnp.int32(nothing), reduce, window, (1, 1, 1), "SAME")
    return values_BxHxW
