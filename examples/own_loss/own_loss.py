"""Losses for lcjax: one that is a mean over pixels, and one that is not."""

import jax
import jax.numpy as jnp

from lcjax.ops.losses import mean_over_pixels
from lcjax.parallel import mesh

_GAMMA = 2.0


def focal(logits_BxHxWxK, labels_BxHxW, weights_K=None):
    """Focal loss (Lin et al. 2017): a pixel counts less the surer the network already is of its class."""
    index = jnp.where(labels_BxHxW == 255, 0, labels_BxHxW)[..., None]
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits_BxHxWxK), index, axis=-1)[..., 0]
    return mean_over_pixels(-((1 - jnp.exp(log_p)) ** _GAMMA) * log_p, labels_BxHxW, weights_K)


def dice(logits_BxHxWxK, labels_BxHxW, weights_K=None):
    """Soft Dice loss of the batch (Milletari et al. 2016): 1 - the mean overlap of the classes that are there."""
    there = (labels_BxHxW != 255).astype(jnp.float32)[..., None]
    truth = jax.nn.one_hot(labels_BxHxW, logits_BxHxWxK.shape[-1]) * there  # 255 is no class: all zeros
    guess = jax.nn.softmax(logits_BxHxWxK) * there
    # A mean of ratios is no sum over pixels, so first the whole batch's counts, from all devices.
    both, sizes = mesh.psum((jnp.sum(truth * guess, (0, 1, 2)), jnp.sum(truth + guess, (0, 1, 2))))
    present = mesh.psum(jnp.sum(truth, (0, 1, 2))) > 0
    weights = present * (1.0 if weights_K is None else weights_K)
    overlap = jnp.sum(weights * 2 * both / jnp.maximum(sizes, 1e-6)) / jnp.maximum(jnp.sum(weights), 1e-6)
    return (1 - overlap) / mesh.psum(1.0)  # what the devices return is added up
