"""Losses that are a mean over pixels. Formulas and sources: docs/losses.md.

All but the probability of a pixel's own class is summed over the classes as soon as it is computed: there is no array
of targets beside the logits.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import optax
from msgspec import Meta

from lcjax.ops.losses.means import class_indices, mean_over_pixels

Share = Annotated[float, Meta(ge=0, le=1)]
_LOG_OF_0 = -4.0  # what symmetric cross-entropy takes for the logarithm of 0, as Wang et al. 2019


def cross_entropies(logits_BxHxWxK: jax.Array, labels_BxHxW: jax.Array) -> jax.Array:
    """Returns -log p of each pixel's class, (B, H, W) float32; of class 0 where a label is IGNORE."""
    indices = class_indices(labels_BxHxW)
    losses: jax.Array = optax.softmax_cross_entropy_with_integer_labels(logits_BxHxWxK.astype(jnp.float32), indices)
    return losses


def cross_entropy(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0,
) -> jax.Array:
    """Cross-entropy of the labelled pixels, on request with smoothed labels.

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      smoothing: share of the target that is spread evenly over all classes.
    """
    losses = cross_entropies(logits_BxHxWxK, labels_BxHxW)
    if smoothing:
        logits = logits_BxHxWxK.astype(jnp.float32)
        of_all_classes = jax.nn.logsumexp(logits, axis=-1) - jnp.mean(logits, axis=-1)
        losses = (1 - smoothing) * losses + smoothing * of_all_classes
    return mean_over_pixels(losses, labels_BxHxW, weights_K)


def focal(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    gamma: Annotated[float, Meta(ge=0, le=10)] = 2.0,
) -> jax.Array:
    """Focal loss: a pixel counts less the surer the network is of its class (Lin et al. 2017).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      gamma: 0 is cross-entropy; more looks at hard pixels more.
    """
    losses = cross_entropies(logits_BxHxWxK, labels_BxHxW)
    unsure = -jnp.expm1(-losses)
    # A power below 1 has no slope at 0, where the loss has none either.
    factor = jnp.where(unsure > 0, jnp.where(unsure > 0, unsure, 1.0) ** gamma, 0.0)
    return mean_over_pixels(factor * losses, labels_BxHxW, weights_K)


def generalised_cross_entropy(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    q: Annotated[float, Meta(gt=0, le=1)] = 0.7,
) -> jax.Array:
    """Generalised cross-entropy: wrong labels pull less than in cross-entropy (Zhang and Sabuncu 2018).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      q: near 0 it is cross-entropy; at 1 the mean absolute error, which noise moves least and which learns slowest.
    """
    losses = -jnp.expm1(-q * cross_entropies(logits_BxHxWxK, labels_BxHxW)) / q
    return mean_over_pixels(losses, labels_BxHxW, weights_K)


def symmetric_cross_entropy(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    alpha: Annotated[float, Meta(gt=0, le=100)] = 0.1,
    beta: Annotated[float, Meta(ge=0, le=100)] = 1.0,
) -> jax.Array:
    """Symmetric cross-entropy: cross-entropy both ways round, against wrong labels (Wang et al. 2019).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      alpha: of the cross-entropy of the labels.
      beta: of the reverse, which counts 4 (1 - p) of the pixel's class.
    """
    losses = cross_entropies(logits_BxHxWxK, labels_BxHxW)
    reverse = _LOG_OF_0 * jnp.expm1(-losses)
    return mean_over_pixels(alpha * losses + beta * reverse, labels_BxHxW, weights_K)
