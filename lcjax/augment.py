"""On the device: from stored integers to floats, and the crop, flips and turns of training.

All draws are made once per example for all its sensors and its label: the corner of the crop by the loader, which may
cut it itself (data_pipelines.loader.shipped), flips and turns from a key per example, so that no draw depends on how a
batch is spread over devices.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.bands import Scaling


def scale(stored_BxHxWxC: jax.Array, scaling: Scaling) -> jax.Array:
    """Floats of a stored image, float32; see `Scaling` for the formula."""
    low, high, offset, divisor = (
        jnp.asarray(jnp.broadcast_to(jnp.asarray(number, jnp.float32), (stored_BxHxWxC.shape[-1],)))[None, None, None]
        for number in (scaling.low, scaling.high, scaling.offset, scaling.scale)
    )
    physical = stored_BxHxWxC.astype(jnp.float32) * jnp.float32(scaling.unit)
    scaled = (jnp.clip(physical, low, high) - offset) / divisor
    if scaling.by_maximum:
        return scaled / (jnp.max(scaled, axis=(1, 2), keepdims=True) + jnp.float32(1e-5))
    if scaling.mix is None:
        return scaled
    return jnp.einsum("bhwc,dc->bhwd", scaled, jnp.asarray(scaling.mix, jnp.float32), precision="highest")


def example_keys(seed: int, step: jax.Array, example_B: jax.Array) -> jax.Array:
    """One random key per example of a batch, (B,), folded from the seed, the step and the example's position."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda example: jax.random.fold_in(key, example))(example_B)


def crop_and_turn(
    images: Mapping[str, jax.Array], corner_Bx2: jax.Array, keys_B: jax.Array, *, crop: int, turn: bool
) -> dict:
    """One crop and, with `turn`, one of the eight flips and rotations of a square, for all images alike.

    Args:
      images: name -> (B, H, W, ...); equal B, H and W.
      corner_Bx2: top and left of each crop, int32.
      keys_B: one key per example, for the turn.
      crop: edge in pixels, at most H and W; 0 keeps the whole (square) tile.
      turn: whether to flip and rotate.
    """
    height, width = next(iter(images.values())).shape[1:3]
    edge_h, edge_w = (crop or height), (crop or width)

    def one(corner: jax.Array, key: jax.Array, example: dict) -> dict:
        bits = jax.random.bits(key)

        def cut(image: jax.Array) -> jax.Array:
            rest = image.ndim - 2
            start = [corner[0], corner[1], *[jnp.int32(0)] * rest]
            piece = jax.lax.dynamic_slice(image, start, (edge_h, edge_w, *image.shape[2:]))
            return turned(piece, bits >> 8) if turn else piece

        return {name: cut(image) for name, image in example.items()}

    return jax.vmap(one)(corner_Bx2, keys_B, dict(images))


def turned(image_HxW: jax.Array, which: jax.Array) -> jax.Array:
    """One of the eight flips and rotations of an image (H, W, ...) by the last three bits of `which`.

    The third bit swaps rows and columns; an image that is not square keeps them.
    """
    image = jnp.where(which & 1, image_HxW[::-1], image_HxW)
    image = jnp.where((which >> 1) & 1, image[:, ::-1], image)
    square = image.shape[0] == image.shape[1]
    return jnp.where((which >> 2) & 1, image.swapaxes(0, 1), image) if square else image


def turned_back(image_HxW: jax.Array, which: jax.Array) -> jax.Array:
    """The image that `turned` made this one of."""
    square = image_HxW.shape[0] == image_HxW.shape[1]
    image = jnp.where((which >> 2) & 1, image_HxW.swapaxes(0, 1), image_HxW) if square else image_HxW
    image = jnp.where((which >> 1) & 1, image[:, ::-1], image)
    return jnp.where(which & 1, image[::-1], image)


def centre_crop(images: Mapping[str, jax.Array], *, crop: int) -> dict:
    """The middle of each image, `crop` pixels wide; 0 keeps all. Deterministic, for evaluation."""
    height, width = next(iter(images.values())).shape[1:3]
    top, left = ((height - crop) // 2, (width - crop) // 2) if crop else (0, 0)
    bottom, right = (top + crop, left + crop) if crop else (height, width)
    return {name: image[:, top:bottom, left:right] for name, image in images.items()}


def shrunk(image_BxHxWxC: jax.Array, height: int, width: int) -> jax.Array:
    """An image made smaller, each new pixel the mean of the area that it covers (OpenCV's INTER_AREA); float32."""
    if image_BxHxWxC.shape[1:3] == (height, width):
        return image_BxHxWxC
    rows, columns = (
        jnp.asarray(_area(*edges)) for edges in zip((height, width), image_BxHxWxC.shape[1:3], strict=True)
    )
    image = image_BxHxWxC.astype(jnp.float32)
    return jnp.einsum("ih,bhwc,jw->bijc", rows, image, columns, precision="highest")


def _area(outputs: int, inputs: int) -> np.ndarray:
    """What share of each new pixel each old one covers, (outputs, inputs); rows sum to 1."""
    starts = np.arange(outputs)[:, None] * inputs / outputs
    ends = starts + inputs / outputs
    places = np.arange(inputs)[None]
    covered = np.clip(np.minimum(ends, places + 1) - np.maximum(starts, places), 0, None)
    return (covered * outputs / inputs).astype(np.float32)


def thinned(labels_BxHxW: jax.Array, height: int, width: int) -> jax.Array:
    """Labels made smaller: every new pixel is the old one at its first corner (OpenCV's INTER_NEAREST)."""
    if labels_BxHxW.shape[1:] == (height, width):
        return labels_BxHxW
    rows, columns = (
        np.arange(new) * old // new for new, old in zip((height, width), labels_BxHxW.shape[1:], strict=True)
    )
    return labels_BxHxW[:, rows][:, :, columns]
