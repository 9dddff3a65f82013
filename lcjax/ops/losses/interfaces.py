"""What a loss of pixels is: ours and those of other packages."""

from typing import Protocol

import jax


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
