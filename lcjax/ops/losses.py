"""Losses, in float32.

Each is of one replica's examples, divided by what the whole batch holds: over replicas they add up to the loss of the
batch (lcjax/parallel/mesh.py).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.parallel import mesh as meshes


class PixelLoss(Protocol):
    """What `config.loss` names: a loss between the logits and the labels of pixels.

    A loss of your own is a function with this signature, named by its entry point in the group "lcjax.losses" or by
    `--config.loss=package.module:attribute`. It is traced by JAX and differentiated by the logits.

    Over replicas a batch is in several pieces (config.parallel.mode="pmap"), each of which calls the function with its
    own examples; what they return is added up. So divide by a count of the whole batch, which `meshes.psum` of a count
    is, and not by a count of the examples at hand:

        losses_BxHxW = ...                                         # of each pixel
        return losses.mean_over_pixels(losses_BxHxW, labels_BxHxW, weights_K)

    does all of that. A loss that is no mean over pixels, such as one of the counts of each class, sums them with
    `meshes.psum`, computes the loss of the batch from the sums, and returns it divided by `meshes.psum(1.0)`, the
    number of pieces.
    """

    def __call__(
        self, logits_BxHxWxK: jax.Array, labels_BxHxW: jax.Array, weights_K: jax.Array | None = None, /
    ) -> jax.Array:
        """Returns the loss, a float32 scalar.

        Args:
          logits_BxHxWxK: float32.
          labels_BxHxW: uint8, the index of the class; 255 (`legends.IGNORE`) where a pixel must not count.
          weights_K: float32, how much a pixel of each class counts (config.class_weights); None: all alike.
        """
        ...


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
    weights = _pixel_weights(labels_BxHxW, weights_K)
    total = meshes.psum(jnp.sum(weights))
    return jnp.sum(weights * losses_BxHxW) / jnp.where(total > 0, total, 1.0)


def total_weight(labels_BxHxW: jax.Array, weights_K: jax.Array) -> jax.Array:
    """Returns what `mean_over_pixels` divides by, of one replica's examples."""
    return jnp.sum(_pixel_weights(labels_BxHxW, weights_K))


def _pixel_weights(labels_BxHxW: jax.Array, weights_K: jax.Array) -> jax.Array:
    """The weight of each pixel's class; 0 where its label is IGNORE."""
    return jnp.where(labels_BxHxW != IGNORE, weights_K[_indices(labels_BxHxW)], 0.0)


def cross_entropy(logits_BxHxWxK: jax.Array, labels_BxHxW: jax.Array, weights_K: jax.Array | None = None) -> jax.Array:
    """Cross-entropy, its mean over the labelled pixels; a `PixelLoss`."""
    indices = _indices(labels_BxHxW)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits_BxHxWxK.astype(jnp.float32), indices)
    return mean_over_pixels(losses, labels_BxHxW, weights_K)


def _indices(labels_BxHxW: jax.Array) -> jax.Array:
    """Class indices, int32; 0 where a label is IGNORE."""
    return jnp.where(labels_BxHxW != IGNORE, labels_BxHxW, 0).astype(jnp.int32)


PIXEL_LOSSES: Mapping[str, PixelLoss] = {"cross_entropy": cross_entropy}
REGISTRY = plugins.Registry("config.loss", "lcjax.losses", PIXEL_LOSSES)


def pixel_loss(name: str) -> PixelLoss:
    """Returns the loss that `config.loss` names. Raises InputError where there is none."""
    loss: PixelLoss = REGISTRY.find(name)
    if not callable(loss):
        raise InputError(
            f"config.loss={name!r}: found {type(loss).__name__}, expected a function (logits, labels, weights) -> loss"
        )
    return loss


def class_weights(pixels_K: Sequence[int], power: float) -> np.ndarray:
    """Returns weights (K,) float32 of classes that have so many pixels: share of all pixels, to the power of -`power`.

    0 weighs all pixels alike, 0.5 is the inverse square root, 1 gives every class the same say. The mean over all
    pixels is 1; a class without pixels weighs nothing.
    """
    pixels = np.asarray(pixels_K, np.float64)
    share = pixels / max(pixels.sum(), 1)
    weights = np.where(pixels > 0, np.maximum(share, 1e-9) ** -power, 0.0)
    return np.asarray(weights / max((weights * share).sum(), 1e-9), np.float32)


def nt_xent(
    first_BxC: jax.Array, second_BxC: jax.Array, temperature: float, valid_B: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns NT-Xent (Chen et al. 2020) between two views of the same places, symmetric, over the global batch.

    The positive of an embedding is the other view of its place; its 2B-2 negatives are all other embeddings, of both
    views.

    Args:
      first_BxC: embeddings of unit length, of the first view.
      second_BxC: the same of the second view, place by place.
      temperature: divides the cosine similarities.
      valid_B: False for padding, which is neither an anchor nor a negative.

    Returns:
      The sum over the 2B anchors divided by their number, and sums: "loss_sum" over "anchors"; "hits", (2,): how many
      embeddings of the first view find their place first among those of the second, and the other way round;
      "distance_sum": squared distances of the two views of each place; "potential_sum" over "pairs": exp(-2 d²) of the
      ordered pairs of different places in one view, d their distance.
    """
    size = first_BxC.shape[0]
    valid = jnp.ones(size, bool) if valid_B is None else valid_B
    # Anchors stay on the devices that computed them; only embeddings travel. Dimensions: V, W the two views, K keys.
    views_VxBxC = meshes.constrain(jnp.stack([first_BxC, second_BxC]).astype(jnp.float32), 1)
    keys_WxKxC = meshes.all_gather(views_VxBxC, 1)
    products = jnp.einsum("vbc,wkc->vbwk", views_VxBxC, keys_WxKxC, precision="highest")
    logits = meshes.constrain(products / temperature, 1)
    all_valid = meshes.all_gather(valid, 0)
    place = meshes.batch_offset(size) + jnp.arange(size)
    same_place = (place[:, None] == jnp.arange(len(all_valid))[None])[None, :, None]
    itself = jnp.eye(2, dtype=bool)[:, None, :, None] & same_place
    logits = jnp.where(itself | ~all_valid[None, None, None], -jnp.inf, logits)
    positive = jnp.sum(views_VxBxC * views_VxBxC[::-1], axis=-1) / temperature
    losses = jax.nn.logsumexp(logits, axis=(2, 3)) - positive
    loss_sum = jnp.sum(jnp.where(valid[None], losses, 0.0))
    anchors = meshes.psum(2 * jnp.sum(valid))
    other_view = jnp.stack([logits[0, :, 1], logits[1, :, 0]])
    found = jnp.argmax(other_view, axis=-1) == place[None]
    # Of unit vectors d² = 2 - 2 x'y.
    same_view = jnp.stack([products[0, :, 0], products[1, :, 1]])
    pairs = (valid[:, None] & all_valid[None])[None] & ~same_place[0, :, 0][None]
    sums = meshes.psum(
        {
            "loss_sum": loss_sum,
            "hits": jnp.sum(found & valid[None], axis=1),
            "distance_sum": jnp.sum(jnp.where(valid, 2 - 2 * temperature * positive[0], 0.0)),
            "potential_sum": jnp.sum(jnp.where(pairs, jnp.exp(4 * same_view - 4), 0.0)),
            "pairs": 2 * jnp.sum(pairs),
        }
    )
    return loss_sum / jnp.maximum(anchors, 1), sums | {"anchors": anchors}
