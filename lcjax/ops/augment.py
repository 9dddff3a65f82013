"""Scaling and augmentation on the device: stored integers to floats, crops, flips, rotations, speckle, jitter.

Each draw is made once per example for all its sensors and its label. The loader draws the corner of the crop, and may
cut it itself (data_pipelines.reading.loader.host_size). Flips and rotations come from a key per example, so that no
draw depends on how a batch is split over devices. Speckle and jitter come from the same key, but separately for each
sensor.
"""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Scaling, Sensor
from lcjax.ops import photometric
from lcjax.ops.photometric import Photometric
from lcjax.parallel import mesh as meshes

_NO_STEP = -1  # of evaluations: no step of training is called so

_NOTHING = Photometric()
_PERTURBATION = 2  # first number folded into the keys of speckle and jitter; flips and dropout use smaller ones


def scale(stored_BxHxWxC: jax.Array, scaling: Scaling) -> jax.Array:
    """Scales a stored image to float32; `Scaling` has the formula."""
    return _scaled(_physical(stored_BxHxWxC, scaling), scaling)


def check_perturbation(sensors: Sequence[Sensor], speckle: int, jitter: float) -> None:
    """Checks the options of `perturb`.

    Raises:
      InputError: a number is negative, or speckle is asked for where no band is radar.
    """
    for name, number in (("speckle", speckle), ("jitter", jitter)):
        if number < 0:
            raise InputError(f"config.{name}={number}: expected 0, which is off, or more")
    if speckle and not any("decibels" in sensor.quantities for sensor in sensors):
        held = ", ".join(sensor.name for sensor in sensors)
        raise InputError(f"config.speckle={speckle}: the network sees no radar (s1) but {held}; set config.speckle=0")


def perturb(
    images: Mapping[str, jax.Array],
    sensors: Sequence[Sensor],
    keys_B: jax.Array,
    speckle: int,
    jitter: float,
    how: Photometric = _NOTHING,
) -> dict[str, jax.Array]:
    """Scales stored images as `scale` does, with speckle, jitter and more on them.

    All of it acts on physical values before they are clipped. Pixels without data stay as they are.

    Args:
      images: sensor name -> (B, H, W, bands) as stored.
      sensors: the sensors to take.
      keys_B: one key per example.
      speckle: number of looks L: the intensity of each pixel and band of radar is multiplied by a draw from the gamma
        distribution of shape L and mean 1 (Goodman 1976). 0 is off.
      jitter: standard deviation of the logarithm of a gain per example and band, exp(jitter N(0, 1)). Optical bands are
        multiplied by the gain, radar bands get it added in dB, heights stay. 0 is off.
      how: what photometric.py adds to that.

    Returns:
      sensor name -> (B, H, W, bands) float32.
    """
    if not speckle and not jitter and not how.disturbs:
        return {sensor.name: scale(images[sensor.name], sensor.scaling) for sensor in sensors}
    floats = {}
    for number, sensor in enumerate(sensors):
        stored = images[sensor.name]
        physical = disturbed = _physical(stored, sensor.scaling)
        sensor_keys_B = jax.vmap(jax.random.fold_in, (0, None))(keys_B, _PERTURBATION + number)
        empty = sensor.zero_is_nodata & jnp.all(stored == 0, axis=-1, keepdims=True)
        if how.disturbs:
            disturbed = photometric.disturb(disturbed, ~empty, keys_B, number, sensor, how)
        if speckle or jitter:
            one = functools.partial(_perturb_image, quantities=sensor.quantities, speckle=speckle, jitter=jitter)
            disturbed = jax.vmap(one)(disturbed, sensor_keys_B)
        if how.drop_bands:
            disturbed = photometric.drop_bands(disturbed, keys_B, number, sensor, how.drop_bands)
        floats[sensor.name] = _scaled(jnp.where(empty, physical, disturbed), sensor.scaling)
    return floats


def _perturb_image(
    image_HxWxC: jax.Array, key: jax.Array, *, quantities: Sequence[str], speckle: int, jitter: float
) -> jax.Array:
    light, radar = (photometric.of_kind(quantities, kind) for kind in ("light", "decibels"))
    jitter_key, speckle_key = jax.random.split(key)
    gain = jitter * jax.random.normal(jitter_key, (1, 1, len(quantities)))
    image = photometric.with_gain(image_HxWxC, gain, light, radar)
    if not speckle or not radar.any():
        return image
    return jnp.where(radar, image + photometric.DECIBELS * jnp.log(_gamma(speckle_key, image.shape, speckle)), image)


def _gamma(key: jax.Array, shape: tuple[int, ...], looks: int) -> jax.Array:
    """Draws from the gamma distribution of shape `looks` and mean 1, as the mean of `looks` exponential draws."""

    def add(look: jax.Array, total: jax.Array) -> jax.Array:
        return total + jax.random.exponential(jax.random.fold_in(key, look), shape)

    total: jax.Array = jax.lax.fori_loop(0, looks, add, jnp.zeros(shape, jnp.float32))
    return total / looks


def _physical(stored_BxHxWxC: jax.Array, scaling: Scaling) -> jax.Array:
    physical: jax.Array = stored_BxHxWxC.astype(jnp.float32) * jnp.float32(scaling.unit)
    return physical


def _scaled(physical_BxHxWxC: jax.Array, scaling: Scaling) -> jax.Array:
    low, high, offset, divisor = (
        jnp.asarray(jnp.broadcast_to(jnp.asarray(number, jnp.float32), (physical_BxHxWxC.shape[-1],)))[None, None, None]
        for number in (scaling.low, scaling.high, scaling.offset, scaling.scale)
    )
    scaled: jax.Array = (jnp.clip(physical_BxHxWxC, low, high) - offset) / divisor
    if scaling.by_maximum:
        largest: jax.Array = jnp.max(scaled, axis=(1, 2), keepdims=True) + jnp.float32(1e-5)
        return scaled / largest
    if scaling.mix is None:
        return scaled
    return jnp.einsum("bhwc,dc->bhwd", scaled, jnp.asarray(scaling.mix, jnp.float32), precision="highest")


def example_keys(seed: int, step: jax.Array, example_B: jax.Array) -> jax.Array:
    """Folds one random key per example from the seed, the step and the example's index in the global batch.

    Args:
      seed: of the run.
      step: number of the step.
      example_B: indices in the global batch.

    Returns:
      (B,) keys.
    """
    key = jax.random.fold_in(jax.random.key(seed), step)
    keys: jax.Array = jax.vmap(lambda example: jax.random.fold_in(key, example))(example_B)
    return keys


def evaluation_keys(seed: int, size: int) -> jax.Array:
    """Folds one random key per example of an evaluation from the seed and its place in the batch, for `size` of them.

    They are the same ones in every evaluation, and none that training has.
    """
    return example_keys(seed, jnp.int32(_NO_STEP), meshes.batch_offset(size) + jnp.arange(size))


def crop_and_dihedral(
    images: Mapping[str, jax.Array], corner_Bx2: jax.Array, keys_B: jax.Array, *, crop: int, flip: bool
) -> dict[str, jax.Array]:
    """Crops each example and, with `flip`, applies one of the eight flips and rotations of a square.

    All images of an example get the same crop and the same flip.

    Args:
      images: name -> (B, H, W, ...); equal B, H and W.
      corner_Bx2: top and left of each crop, int32.
      keys_B: one key per example, for the flip.
      crop: side in pixels, at most H and W; 0 keeps the whole (square) tile.
      flip: whether to flip and rotate.
    """
    height, width = next(iter(images.values())).shape[1:3]
    size = (crop or height), (crop or width)

    def one(corner: jax.Array, key: jax.Array, example: dict[str, jax.Array]) -> dict[str, jax.Array]:
        bits = jax.random.bits(key)

        def cut(image: jax.Array) -> jax.Array:
            rest = image.ndim - 2
            start = [corner[0], corner[1], *[jnp.int32(0)] * rest]
            piece = jax.lax.dynamic_slice(image, start, (*size, *image.shape[2:]))
            return dihedral(piece, bits >> 8) if flip else piece

        return {name: cut(image) for name, image in example.items()}

    cropped: dict[str, jax.Array] = jax.vmap(one)(corner_Bx2, keys_B, dict(images))
    return cropped


def dihedral(image_HxW: jax.Array, which: jax.Array) -> jax.Array:
    """Applies the flip or rotation that the last three bits of `which` name to an image (H, W, ...).

    The bits flip the rows, flip the columns, and swap rows and columns; an image that is not square is not swapped.
    """
    image = jnp.where(which & 1, image_HxW[::-1], image_HxW)
    image = jnp.where((which >> 1) & 1, image[:, ::-1], image)
    square = image.shape[0] == image.shape[1]
    return jnp.where((which >> 2) & 1, image.swapaxes(0, 1), image) if square else image


def dihedral_inverse(image_HxW: jax.Array, which: jax.Array) -> jax.Array:
    """Undoes `dihedral`."""
    square = image_HxW.shape[0] == image_HxW.shape[1]
    image = jnp.where((which >> 2) & 1, image_HxW.swapaxes(0, 1), image_HxW) if square else image_HxW
    image = jnp.where((which >> 1) & 1, image[:, ::-1], image)
    return jnp.where(which & 1, image[::-1], image)


def centre_crop(images: Mapping[str, jax.Array], *, crop: int) -> dict[str, jax.Array]:
    """Cuts the middle square of `crop` pixels out of each image (B, H, W, ...); 0 keeps all."""
    height, width = next(iter(images.values())).shape[1:3]
    top, left = ((height - crop) // 2, (width - crop) // 2) if crop else (0, 0)
    bottom, right = (top + crop, left + crop) if crop else (height, width)
    return {name: image[:, top:bottom, left:right] for name, image in images.items()}


def resize_images(image_BxHxWxC: jax.Array, height: int, width: int) -> jax.Array:
    """Shrinks images to float32: each new pixel is the mean of the area that it covers (OpenCV's INTER_AREA)."""
    if image_BxHxWxC.shape[1:3] == (height, width):
        return image_BxHxWxC
    rows, columns = (
        jnp.asarray(_area(*sizes)) for sizes in zip((height, width), image_BxHxWxC.shape[1:3], strict=True)
    )
    image = image_BxHxWxC.astype(jnp.float32)
    return jnp.einsum("ih,bhwc,jw->bijc", rows, image, columns, precision="highest")


def _area(outputs: int, inputs: int) -> np.ndarray:
    """Returns the share of each new pixel that each old one covers, (outputs, inputs); rows sum to 1."""
    starts = np.arange(outputs)[:, None] * inputs / outputs
    ends = starts + inputs / outputs
    places = np.arange(inputs)[None]
    covered = np.clip(np.minimum(ends, places + 1) - np.maximum(starts, places), 0, None)
    shares: np.ndarray = (covered * outputs / inputs).astype(np.float32)
    return shares


def resize_labels(labels_BxHxW: jax.Array, height: int, width: int) -> jax.Array:
    """Shrinks labels: each new pixel is the old one at its first corner (OpenCV's INTER_NEAREST)."""
    if labels_BxHxW.shape[1:] == (height, width):
        return labels_BxHxW
    rows, columns = (
        np.arange(new) * old // new for new, old in zip((height, width), labels_BxHxW.shape[1:], strict=True)
    )
    return labels_BxHxW[:, rows][:, :, columns]
