"""The loss of several labels a patch, in float32; of a single label it is `losses.cross_entropy`."""

import jax
import jax.numpy as jnp
import optax

from data_pipelines.schema.legends import IGNORE
from lcjax.parallel import mesh as meshes


def binary_cross_entropy(logits_BxK: jax.Array, labels_BxK: jax.Array, weights_K: jax.Array | None = None) -> jax.Array:
    """Returns the mean binary cross-entropy over labelled patches and classes, right over replicas; 0 where is none.

    Args:
      logits_BxK: of each class by itself.
      labels_BxK: uint8, 1 where a class is a label of a patch, else 0; IGNORE where a patch must not count.
      weights_K: float32, how much each class counts in the mean; None: all alike.
    """
    valid = labels_BxK != IGNORE
    truth = jnp.where(valid, labels_BxK, 0).astype(jnp.float32)
    losses = optax.sigmoid_binary_cross_entropy(logits_BxK.astype(jnp.float32), truth)
    weights = jnp.ones(logits_BxK.shape[-1], jnp.float32) if weights_K is None else weights_K
    counted = jnp.where(valid, weights[None], 0.0)
    total = meshes.psum(jnp.sum(counted))
    return jnp.sum(jnp.where(valid, losses, 0.0) * counted) / jnp.where(total > 0, total, 1.0)
