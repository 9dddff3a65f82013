"""Means over the labelled pixels and over images, right over replicas, with and without weights of the classes."""

import jax
import jax.numpy as jnp

from data_pipelines.schema.legends import IGNORE
from lcjax.parallel import mesh as meshes


def mean_over_pixels(losses_BxHxW: jax.Array, labels_BxHxW: jax.Array, weights_K: jax.Array | None = None) -> jax.Array:
    """Returns the mean over the pixels whose label is not IGNORE, right over replicas; 0 where there is none.

    With `weights_K` it is the weighted mean: a pixel counts as much as the weight of its class.

    Args:
      losses_BxHxW: float32, the loss of each pixel; what is ignored may hold any finite number.
      labels_BxHxW: uint8, the index of the class, or IGNORE.
      weights_K: float32.
    """
    valid = labels_BxHxW != IGNORE
    if weights_K is None:
        return jnp.sum(jnp.where(valid, losses_BxHxW, 0.0)) / jnp.maximum(meshes.psum(jnp.sum(valid)), 1)
    weights = pixel_weights(labels_BxHxW, weights_K)
    total = meshes.psum(jnp.sum(weights))
    return jnp.sum(weights * losses_BxHxW) / jnp.where(total > 0, total, 1.0)


def mean_over_images(losses_B: jax.Array, labels_BxHxW: jax.Array, weights_K: jax.Array | None = None) -> jax.Array:
    """Returns the mean over the images, in which an image counts as much as its pixels do in `mean_over_pixels`.

    So it is the plain mean where all pixels have labels, an image without a label does not count, and a batch in parts
    (config.accumulate) has the same loss as the whole, also in a sum with a mean over pixels.

    Args:
      losses_B: float32, the loss of each image; of one without a label any finite number.
      labels_BxHxW: as of `mean_over_pixels`.
      weights_K: as of `mean_over_pixels`.
    """
    counts_B = image_weights(labels_BxHxW, weights_K)
    total = meshes.psum(jnp.sum(counts_B))
    return jnp.sum(counts_B * losses_B) / jnp.where(total > 0, total, 1.0)


def weighted_mean_of_images(
    losses_BxHxW: jax.Array,
    emphasis_BxHxW: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
) -> jax.Array:
    """Returns `mean_over_images` of the mean of each image in which a pixel counts by its emphasis.

    Args:
      losses_BxHxW: float32, the loss of each pixel; what is ignored may hold any finite number.
      emphasis_BxHxW: float32, 0 or more; is multiplied with the weights of the classes.
      labels_BxHxW, weights_K: as of `mean_over_pixels`.
    """
    counts = emphasis_BxHxW * pixel_weights(labels_BxHxW, weights_K)
    total_B = jnp.sum(counts, axis=(1, 2))
    means_B = jnp.sum(counts * losses_BxHxW, axis=(1, 2)) / jnp.where(total_B > 0, total_B, 1.0)
    return mean_over_images(means_B, labels_BxHxW, weights_K)


def total_weight(labels_BxHxW: jax.Array, weights_K: jax.Array) -> jax.Array:
    """Returns what `mean_over_pixels` divides by, of one replica's examples."""
    return jnp.sum(pixel_weights(labels_BxHxW, weights_K))


def image_weights(labels_BxHxW: jax.Array, weights_K: jax.Array | None) -> jax.Array:
    """Returns the sum of the weights of each image's pixels, (B,) float32; without weights their number."""
    return jnp.sum(pixel_weights(labels_BxHxW, weights_K), axis=(1, 2))


def pixel_weights(labels_BxHxW: jax.Array, weights_K: jax.Array | None) -> jax.Array:
    """Returns the weight of each pixel's class, 1 without weights; 0 where its label is IGNORE."""
    if weights_K is None:
        return (labels_BxHxW != IGNORE).astype(jnp.float32)
    return jnp.where(labels_BxHxW != IGNORE, weights_K[class_indices(labels_BxHxW)], 0.0)


def class_indices(labels_BxHxW: jax.Array) -> jax.Array:
    """Returns class indices, int32; 0 where a label is IGNORE."""
    return jnp.where(labels_BxHxW != IGNORE, labels_BxHxW, 0).astype(jnp.int32)
