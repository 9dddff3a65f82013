"""On the device: from stored integers to floats, and the crop, flips, turns, speckle and jitter of training.

All draws are made once per example for all its sensors and its label: the corner of the crop by the loader, which may
cut it itself (data_pipelines.reading.loader.host_size), flips and turns from a key per example, so that no draw
depends on how a batch is spread over devices. Speckle and jitter come from that key, too, but of each sensor alone.
"""

import functools
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Scaling, Sensor

_DECIBELS = 10 / math.log(10)  # of a natural logarithm
_DISTURBANCE = 2  # tells the keys of speckle and jitter from those of turns and of what networks drop


def scale(stored_BxHxWxC: jax.Array, scaling: Scaling) -> jax.Array:
    """Floats of a stored image, float32; see `Scaling` for the formula."""
    return _scaled(_physical(stored_BxHxWxC, scaling), scaling)


def check_perturbation(sensors: Sequence[Sensor], speckle: int, jitter: float) -> None:
    """Raises InputError for negative numbers, and for speckle where no band is radar."""
    for name, number in (("speckle", speckle), ("jitter", jitter)):
        if number < 0:
            raise InputError(f"config.{name}={number}: expected 0, which is off, or more")
    if speckle and not any("decibels" in sensor.quantities for sensor in sensors):
        held = ", ".join(sensor.name for sensor in sensors)
        raise InputError(f"config.speckle={speckle}: the network sees no radar (s1) but {held}; set config.speckle=0")


def perturb(
    images: Mapping[str, jax.Array], sensors: Sequence[Sensor], keys_B: jax.Array, speckle: int, jitter: float
) -> dict[str, jax.Array]:
    """Floats of stored images {sensor: (B, H, W, bands)} as `scale` gives them, disturbed as measurements are.

    Both act on physical values, before they are clipped. Pixels without data are left alone.

    Args:
      images: as stored; those of `sensors` are taken.
      sensors: what they are of.
      keys_B: one key per example.
      speckle: looks L of the speckle on radar: the intensity of each pixel and band is multiplied by a draw from the
        gamma distribution of shape L and mean 1 (Goodman 1976). 0 is off.
      jitter: deviation of the logarithm of a gain for each example and band, exp(jitter N(0, 1)): bands of light are
        multiplied by it, to those of radar it is added in dB; heights stay. 0 is off.
    """
    if not speckle and not jitter:
        return {sensor.name: scale(images[sensor.name], sensor.scaling) for sensor in sensors}
    floats = {}
    for number, sensor in enumerate(sensors):
        stored = images[sensor.name]
        physical = _physical(stored, sensor.scaling)
        own_B = jax.vmap(jax.random.fold_in, (0, None))(keys_B, _DISTURBANCE + number)
        disturb = functools.partial(_disturbed, quantities=sensor.quantities, speckle=speckle, jitter=jitter)
        empty = sensor.zero_is_nodata & jnp.all(stored == 0, axis=-1, keepdims=True)
        floats[sensor.name] = _scaled(jnp.where(empty, physical, jax.vmap(disturb)(physical, own_B)), sensor.scaling)
    return floats


def _disturbed(
    image_HxWxC: jax.Array, key: jax.Array, *, quantities: Sequence[str], speckle: int, jitter: float
) -> jax.Array:
    light, radar = (np.array([[[of == kind for of in quantities]]]) for kind in ("light", "decibels"))
    of_jitter, of_speckle = jax.random.split(key)
    gain = jitter * jax.random.normal(of_jitter, (1, 1, len(quantities)))
    image = image_HxWxC * jnp.where(light, jnp.exp(gain), 1.0) + jnp.where(radar, _DECIBELS * gain, 0.0)
    if not speckle or not radar.any():
        return image
    return jnp.where(radar, image + _DECIBELS * jnp.log(_gamma(of_speckle, image.shape, speckle)), image)


def _gamma(key: jax.Array, shape: tuple[int, ...], looks: int) -> jax.Array:
    """Draws of mean 1 from the gamma distribution of shape `looks`: means of so many exponential draws."""

    def add(look: jax.Array, total: jax.Array) -> jax.Array:
        return total + jax.random.exponential(jax.random.fold_in(key, look), shape)

    return jax.lax.fori_loop(0, looks, add, jnp.zeros(shape, jnp.float32)) / looks


def _physical(stored_BxHxWxC: jax.Array, scaling: Scaling) -> jax.Array:
    return stored_BxHxWxC.astype(jnp.float32) * jnp.float32(scaling.unit)


def _scaled(physical_BxHxWxC: jax.Array, scaling: Scaling) -> jax.Array:
    low, high, offset, divisor = (
        jnp.asarray(jnp.broadcast_to(jnp.asarray(number, jnp.float32), (physical_BxHxWxC.shape[-1],)))[None, None, None]
        for number in (scaling.low, scaling.high, scaling.offset, scaling.scale)
    )
    scaled = (jnp.clip(physical_BxHxWxC, low, high) - offset) / divisor
    if scaling.by_maximum:
        return scaled / (jnp.max(scaled, axis=(1, 2), keepdims=True) + jnp.float32(1e-5))
    if scaling.mix is None:
        return scaled
    return jnp.einsum("bhwc,dc->bhwd", scaled, jnp.asarray(scaling.mix, jnp.float32), precision="highest")


def example_keys(seed: int, step: jax.Array, example_B: jax.Array) -> jax.Array:
    """One random key per example of a batch, (B,), folded from the seed, the step and the example's position."""
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda example: jax.random.fold_in(key, example))(example_B)


def crop_and_dihedral(
    images: Mapping[str, jax.Array], corner_Bx2: jax.Array, keys_B: jax.Array, *, crop: int, flip: bool
) -> dict:
    """One crop and, with `turn`, one of the eight flips and rotations of a square, for all images alike.

    Args:
      images: name -> (B, H, W, ...); equal B, H and W.
      corner_Bx2: top and left of each crop, int32.
      keys_B: one key per example, for the turn.
      crop: edge in pixels, at most H and W; 0 keeps the whole (square) tile.
      flip: whether to flip and rotate.
    """
    height, width = next(iter(images.values())).shape[1:3]
    edge_h, edge_w = (crop or height), (crop or width)

    def one(corner: jax.Array, key: jax.Array, example: dict) -> dict:
        bits = jax.random.bits(key)

        def cut(image: jax.Array) -> jax.Array:
            rest = image.ndim - 2
            start = [corner[0], corner[1], *[jnp.int32(0)] * rest]
            piece = jax.lax.dynamic_slice(image, start, (edge_h, edge_w, *image.shape[2:]))
            return dihedral(piece, bits >> 8) if flip else piece

        return {name: cut(image) for name, image in example.items()}

    return jax.vmap(one)(corner_Bx2, keys_B, dict(images))


def dihedral(image_HxW: jax.Array, which: jax.Array) -> jax.Array:
    """One of the eight flips and rotations of an image (H, W, ...) by the last three bits of `which`.

    The third bit swaps rows and columns; an image that is not square keeps them.
    """
    image = jnp.where(which & 1, image_HxW[::-1], image_HxW)
    image = jnp.where((which >> 1) & 1, image[:, ::-1], image)
    square = image.shape[0] == image.shape[1]
    return jnp.where((which >> 2) & 1, image.swapaxes(0, 1), image) if square else image


def dihedral_inverse(image_HxW: jax.Array, which: jax.Array) -> jax.Array:
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


def resize_images(image_BxHxWxC: jax.Array, height: int, width: int) -> jax.Array:
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


def resize_labels(labels_BxHxW: jax.Array, height: int, width: int) -> jax.Array:
    """Labels made smaller: every new pixel is the old one at its first corner (OpenCV's INTER_NEAREST)."""
    if labels_BxHxW.shape[1:] == (height, width):
        return labels_BxHxW
    rows, columns = (
        np.arange(new) * old // new for new, old in zip((height, width), labels_BxHxW.shape[1:], strict=True)
    )
    return labels_BxHxW[:, rows][:, :, columns]
