"""Labels of whole patches from the labels of their pixels: the most frequent class, or all that cover enough.

Pixels that are ignored count nowhere: shares are of the labelled pixels. A patch without a labelled pixel has no label.
"""

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.legends import IGNORE

STEPS = 1000  # a share is a multiple of 1 / STEPS, so that it is compared in whole numbers
MOST_PIXELS = 2**32 // STEPS  # of a patch, for the same reason


def class_counts(labels_BxHxW: jax.Array, classes: int) -> jax.Array:
    """Counts the pixels of each class in each patch.

    Args:
      labels_BxHxW: uint8, class indices; IGNORE where a pixel has no label.
      classes: number of classes.

    Returns:
      (B, classes) int32.
    """
    pixels_BxP = labels_BxHxW.reshape(labels_BxHxW.shape[0], -1)
    return jnp.sum(pixels_BxP[:, :, None] == jnp.arange(classes, dtype=jnp.uint8)[None, None], axis=1, dtype=jnp.int32)


def most_frequent(counts_BxK: jax.Array | np.ndarray) -> jax.Array:
    """Returns the class of most pixels of each patch, (B,) uint8; IGNORE where no pixel is labelled.

    Of classes that are equally frequent the first counts.
    """
    counts_BxK = jnp.asarray(counts_BxK)
    first = jnp.argmax(counts_BxK, axis=-1).astype(jnp.uint8)
    return jnp.where(jnp.any(counts_BxK > 0, axis=-1), first, jnp.uint8(IGNORE))


def table(labels_B: jax.Array, classes: int) -> jax.Array:
    """Returns single labels in the form of several, (B, classes) uint8: 1 for the class, else 0; all IGNORE of none."""
    is_class = labels_B[:, None] == jnp.arange(classes, dtype=jnp.uint8)[None]
    return jnp.where(labels_B[:, None] == IGNORE, jnp.uint8(IGNORE), is_class.astype(jnp.uint8))


def covering(counts_BxK: jax.Array | np.ndarray, least_share: float) -> jax.Array:
    """Returns which classes cover at least this share of a patch's labelled pixels, (B, K) uint8: 1, or else 0.

    All of a patch without a labelled pixel is IGNORE. The comparison is exact.

    Args:
      counts_BxK: pixels of each class.
      least_share: above 0, a multiple of 1 / STEPS.
    """
    counts_BxK = jnp.asarray(counts_BxK)
    labelled = jnp.sum(counts_BxK, axis=-1, keepdims=True).astype(jnp.uint32)
    enough = counts_BxK.astype(jnp.uint32) * STEPS >= labelled * jnp.uint32(round(least_share * STEPS))
    return jnp.where(labelled > 0, enough.astype(jnp.uint8), jnp.uint8(IGNORE))
