"""Cross-entropies in which some pixels of an image count more than others. Formulas and sources: docs/losses.md."""

import math
from typing import Annotated

import jax
import jax.numpy as jnp
from msgspec import Meta

from lcjax.ops.boundaries import near_boundaries
from lcjax.ops.losses.means import pixel_weights, weighted_mean_of_images
from lcjax.ops.losses.pixels import Share, cross_entropies


def boundary_cross_entropy(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    gain: Annotated[float, Meta(ge=0, le=1000)] = 4.0,
    width: Annotated[int, Meta(ge=1, le=64)] = 2,
) -> jax.Array:
    """Cross-entropy in which pixels near the boundaries of classes count more (after Ronneberger et al. 2015).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      gain: what is added to the 1 of each pixel near a boundary.
      width: pixels; near is what has a labelled pixel of another class in the square that reaches so far.
    """
    near = near_boundaries(labels_BxHxW, width)
    losses = cross_entropies(logits_BxHxWxK, labels_BxHxW)
    return weighted_mean_of_images(losses, 1 + gain * near.astype(jnp.float32), labels_BxHxW, weights_K)


def ohem_cross_entropy(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    threshold: Share = 0.7,
    share: Annotated[float, Meta(gt=0, le=1)] = 0.0625,
) -> jax.Array:
    """Cross-entropy of the hard pixels of each image alone (OHEM; after Shrivastava et al. 2016).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      threshold: probability of its class up to which a pixel is hard; at 0 `share` alone decides.
      share: of the pixels of an image that count at all that are taken at least, the hardest.
    """
    losses = cross_entropies(logits_BxHxWxK, labels_BxHxW)
    valid = pixel_weights(labels_BxHxW, weights_K) > 0
    seen_BxN = jax.lax.stop_gradient(jnp.where(valid, losses, -1.0)).reshape(len(losses), -1)
    count_B = jnp.sum(seen_BxN >= 0, axis=1)
    least_B = jnp.clip(jnp.round(share * count_B).astype(jnp.int32), 1, None)
    hardest_first = -jnp.sort(-seen_BxN, axis=1)
    least_hard_B = jnp.take_along_axis(hardest_first, least_B[:, None] - 1, axis=1)[:, 0]
    hard_B = jnp.minimum(least_hard_B, -math.log(threshold) if threshold else math.inf)
    taken = valid & (losses >= hard_B[:, None, None])
    return weighted_mean_of_images(losses, taken.astype(jnp.float32), labels_BxHxW, weights_K)
