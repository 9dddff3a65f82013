"""Losses of the overlap of regions, one class and image at a time. Formulas and sources: docs/losses.md.

Of an image, or of the whole batch, the classes count that its labels hold, each by its weight. Sums over the pixels of
a class are taken class after class: there is no array of targets beside the probabilities.
"""

import functools
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from msgspec import Meta

from data_pipelines.schema.legends import IGNORE
from lcjax.ops.losses.means import class_indices, mean_over_images
from lcjax.parallel import mesh as meshes

Over = Literal["image", "batch"]
WHOLE_BATCH = ("over", "batch")  # the parameter that makes one number of all examples of a batch


def dice(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    smooth: Annotated[float, Meta(ge=0, le=1e6)] = 0.0,
    over: Over = "image",
) -> jax.Array:
    """Soft Dice loss: 1 - the overlap of each class, which a rare one counts in as much as others (Milletari 2016).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      smooth: pixels that are added above and below the fraction.
      over: what the overlap is of: each image, or the whole batch.
    """
    return _overlap_loss(logits_BxHxWxK, labels_BxHxW, weights_K, 0.5, 0.5, smooth / 2, over)


def tversky(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None = None,
    *,
    alpha: Annotated[float, Meta(gt=0, le=100)] = 0.3,
    beta: Annotated[float, Meta(gt=0, le=100)] = 0.7,
    smooth: Annotated[float, Meta(ge=0, le=1e6)] = 0.0,
    over: Over = "image",
) -> jax.Array:
    """Tversky loss: as Dice, with a price each for false and for missed pixels (Salehi et al. 2017).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
      alpha: price of pixels that are falsely given to a class; 0.5 beside beta=0.5 is Dice.
      beta: price of pixels of a class that are missed.
      smooth, over: as of `dice`.
    """
    return _overlap_loss(logits_BxHxWxK, labels_BxHxW, weights_K, alpha, beta, smooth, over)


def _overlap_loss(
    logits_BxHxWxK: jax.Array,
    labels_BxHxW: jax.Array,
    weights_K: jax.Array | None,
    false_price: float,
    missed_price: float,
    smooth: float,
    over: Over,
) -> jax.Array:
    """1 - (hits + smooth) / (hits + prices of what is false and missed + smooth), its mean over the classes."""
    share = jax.nn.softmax(logits_BxHxWxK.astype(jnp.float32))
    valid = (labels_BxHxW != IGNORE).astype(jnp.float32)
    own = jnp.take_along_axis(share, class_indices(labels_BxHxW)[..., None], axis=-1)[..., 0]
    classes = share.shape[-1]
    hits_BxK, truth_BxK = (sum_by_class(values, labels_BxHxW, classes) for values in (own, valid))
    guess_BxK = jnp.einsum("bhwk,bhw->bk", share, valid, precision="highest")
    if over == "batch":
        counts = (jnp.sum(counts, axis=0, keepdims=True) for counts in (hits_BxK, truth_BxK, guess_BxK))
        hits_BxK, truth_BxK, guess_BxK = meshes.psum(tuple(counts))
    wrong_BxK = false_price * (guess_BxK - hits_BxK) + missed_price * (truth_BxK - hits_BxK)
    below = hits_BxK + wrong_BxK + smooth
    losses_B = _mean_over_classes(wrong_BxK / jnp.where(below > 0, below, 1.0), truth_BxK, weights_K)
    if over == "batch":
        loss: jax.Array = losses_B[0] / meshes.psum(1.0)  # what the replicas return is added up
        return loss
    return mean_over_images(losses_B, labels_BxHxW, weights_K)


def lovasz(logits_BxHxWxK: jax.Array, labels_BxHxW: jax.Array, weights_K: jax.Array | None = None) -> jax.Array:
    """Lovasz-softmax: what stands in for 1 - IoU of each class and has a slope everywhere (Berman et al. 2018).

    Args:
      logits_BxHxWxK, labels_BxHxW, weights_K: as of `PixelLoss`.
    """
    share = jax.nn.softmax(logits_BxHxWxK.astype(jnp.float32))
    batch, classes = len(share), share.shape[-1]
    labels_BxN = labels_BxHxW.reshape(batch, -1)
    shares_KxBxN = jnp.moveaxis(share.reshape(batch, -1, classes), -1, 0)

    @jax.checkpoint  # what is sorted is sorted again, instead of kept of all classes at once
    def of_class(which: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        number, share_BxN = which
        return _lovasz_of_class(share_BxN, labels_BxN == number, labels_BxN != IGNORE)

    numbers = jnp.arange(classes, dtype=labels_BxHxW.dtype)
    losses_KxB, truth_KxB = jax.lax.map(of_class, (numbers, shares_KxBxN))
    losses_B = _mean_over_classes(losses_KxB.T, truth_KxB.T, weights_K)
    return mean_over_images(losses_B, labels_BxHxW, weights_K)


def _lovasz_of_class(share_BxN: jax.Array, truth_BxN: jax.Array, valid_BxN: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The Lovasz extension of 1 - IoU at the errors of one class, and the number of its pixels; (B,) float32 each.

    The errors are sorted, the largest first; what is ignored comes last. Each is multiplied by how much the loss of a
    set of wrong pixels grows by it, after all those before it: written as one fraction, as the difference of two that
    are nearly the same would lose its digits.
    """
    errors = jnp.where(valid_BxN, jnp.where(truth_BxN, 1 - share_BxN, share_BxN), -1.0)
    order = jnp.argsort(-jax.lax.stop_gradient(errors), axis=1)
    errors, truth, valid = (jnp.take_along_axis(values, order, axis=1) for values in (errors, truth_BxN, valid_BxN))
    total = jnp.sum(truth, axis=1, keepdims=True)
    both = total - jnp.cumsum(truth, axis=1)
    either = (total + jnp.cumsum(valid & ~truth, axis=1)).astype(jnp.float32)
    missed = 1 / jnp.maximum(either, 1)
    false = both / jnp.maximum(either * (either - 1), 1)
    growth = jnp.where(valid, jnp.where(truth, missed, false), 0.0)
    return jnp.sum(errors * growth, axis=1), total[:, 0].astype(jnp.float32)


def _mean_over_classes(losses_BxK: jax.Array, truth_BxK: jax.Array, weights_K: jax.Array | None) -> jax.Array:
    """The mean over the classes of which there are pixels, by their weights; 0 where there is none. (B,) float32."""
    counts = (truth_BxK > 0).astype(jnp.float32)
    if weights_K is not None:
        counts = counts * weights_K[None]
    total = jnp.sum(counts, axis=1)
    return jnp.sum(counts * losses_BxK, axis=1) / jnp.where(total > 0, total, 1.0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def sum_by_class(values_BxHxW: jax.Array, labels_BxHxW: jax.Array, classes: int) -> jax.Array:
    """Returns the sum over the pixels of each class in each image, (B, classes).

    Class after class, so that no array of all pixels and classes is made and the order of additions is always the same.
    """

    def of_class(number: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(labels_BxHxW == number, values_BxHxW, 0.0), axis=(1, 2))

    sums_KxB: jax.Array = jax.lax.map(of_class, jnp.arange(classes, dtype=labels_BxHxW.dtype))
    return sums_KxB.T


def _sum_by_class(values_BxHxW: jax.Array, labels_BxHxW: jax.Array, classes: int) -> tuple[jax.Array, jax.Array]:
    return sum_by_class(values_BxHxW, labels_BxHxW, classes), labels_BxHxW


def _slope_of_sum(classes: int, labels_BxHxW: jax.Array, slopes_BxK: jax.Array) -> tuple[jax.Array, None]:
    """A pixel's slope is that of its class."""
    indices = class_indices(labels_BxHxW)
    slopes = jnp.take_along_axis(slopes_BxK, indices.reshape(len(indices), -1), axis=1).reshape(indices.shape)
    return jnp.where(labels_BxHxW != IGNORE, slopes, 0.0), None


sum_by_class.defvjp(_sum_by_class, _slope_of_sum)
