"""CutMix on the device: a box of another example of the global batch, with its labels (Yun et al. 2019)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lcjax.parallel import mesh as meshes

CUTMIX = 1301  # folded into the key of an example


def cutmix(
    images: Mapping[str, jax.Array], labels_BxHxW: jax.Array, keys_B: jax.Array, probability: float
) -> tuple[dict[str, jax.Array], jax.Array]:
    """Pastes into some examples a box of the example before them in the global batch; into the first, of the last.

    The box covers a share of the image that is drawn from Beta(1, 1), which is uniform; its shape is that of the image
    and its middle any pixel, so that it may be cut off at the border. All sensors and the labels get the same box.

    Args:
      images: sensor name -> (B, H, W, bands), of equal B, H and W.
      labels_BxHxW: ids.
      keys_B: one key per example.
      probability: of an example to get a box.

    Returns:
      Images and labels, mixed.
    """
    height, width = labels_BxHxW.shape[1:]
    inside_BxHxW = jax.vmap(lambda key: _box(key, height, width, probability))(keys_B)

    def mixed(image: jax.Array) -> jax.Array:
        inside = inside_BxHxW if image.ndim == 3 else inside_BxHxW[..., None]
        return jnp.where(inside, meshes.example_before(image), image)

    return {name: mixed(image) for name, image in images.items()}, mixed(labels_BxHxW)


def _box(key: jax.Array, height: int, width: int, probability: float) -> jax.Array:
    """Where the box lies, (height, width) bool; nowhere for examples that get none."""
    drawn, share, top, left = jax.random.uniform(jax.random.fold_in(key, CUTMIX), (4,))
    side = jnp.sqrt(share)

    def along(middle: jax.Array, size: int) -> jax.Array:
        length = jnp.floor(size * side)
        start = jnp.floor(middle * size) - jnp.floor(length / 2)
        places = jnp.arange(size)
        return (places >= start) & (places < start + length)

    inside: jax.Array = (drawn < probability) & along(top, height)[:, None] & along(left, width)[None]
    return inside
