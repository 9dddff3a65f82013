"""The loss of masked reconstruction."""

import jax
import jax.numpy as jnp

from lcjax.parallel import mesh as meshes


def masked_l1(
    found_BxHxWxC: jax.Array, image_BxHxWxC: jax.Array, hidden_BxHxW: jax.Array, valid_B: jax.Array | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the mean absolute error of hidden pixels over the global batch, as in SimMIM (Xie et al. 2022).

    Args:
      found_BxHxWxC: images as they were imagined.
      image_BxHxWxC: images as they are.
      hidden_BxHxW: True for pixels that were not shown; some of each image, and not all.
      valid_B: False for padding, which counts nowhere.

    Returns:
      The loss; and sums over the whole batch: "error_sum" over "numbers", of pixels and bands, and "reference_sum", the
      error of who answers with the mean of what is shown of an image, band by band.
    """
    found, image = found_BxHxWxC.astype(jnp.float32), image_BxHxWxC.astype(jnp.float32)
    counted_B = jnp.ones(len(image), bool) if valid_B is None else valid_B
    asked = (hidden_BxHxW & counted_B[:, None, None])[..., None]
    shown = ~hidden_BxHxW[..., None]
    mean = jnp.sum(jnp.where(shown, image, 0.0), axis=(1, 2), keepdims=True)
    mean = mean / jnp.maximum(jnp.sum(shown, axis=(1, 2), keepdims=True), 1)
    error = jnp.sum(jnp.where(asked, jnp.abs(found - image), 0.0))
    reference = jnp.sum(jnp.where(asked, jnp.abs(mean - image), 0.0))
    numbers = meshes.psum(jnp.sum(asked) * image.shape[-1]).astype(jnp.float32)
    sums = meshes.psum({"error_sum": error, "reference_sum": reference}) | {"numbers": numbers}
    return error / jnp.maximum(numbers, 1), sums
