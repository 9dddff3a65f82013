"""Photometric augmentation on the device: gains by band group, brightness, contrast, gamma, blur, noise, lost bands.

All of it acts on physical values (dB, reflectance, digital numbers) before they are clipped and scaled, on light and on
radar; heights are measured otherwise and stay, unless they are dropped. Pixels without data stay, and nothing of them
is smeared into their neighbours. Each draw has a number of its own that is folded into the key of the example, so that
switching one on changes no other.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from data_pipelines.schema.sensors import Sensor

DECIBELS = 10 / math.log(10)  # dB per unit of the natural logarithm
# Folded into the key of an example, and then the number of the sensor.
DRAWS = {
    "group_jitter": 1101,
    "brightness": 1102,
    "contrast": 1103,
    "gamma": 1104,
    "blur": 1105,
    "noise": 1106,
    "drop_bands": 1107,
}


@dataclasses.dataclass(frozen=True)
class Photometric:
    """How strong each is; 0 is off. U is a uniform draw from -1 to 1, for each example and sensor.

    Attributes:
      group_jitter: deviation s of the logarithm of a gain for each group of bands (`Sensor.groups`), exp(s N(0, 1));
        radar gets it added in dB.
      brightness: b U times the range of the scaling (high - low) is added.
      contrast: the distance of each pixel to the mean of its band in the image is multiplied by 1 + c U.
      gamma: light between low (0) and high (1) of the scaling is raised to the power exp(g U).
      blur: largest deviation of a Gaussian in pixels; an example's is drawn uniformly from 0 to it.
      noise: largest deviation of Gaussian noise, as a share of the range of the scaling; an example's is drawn
        uniformly from 0 to it, its noise for each pixel and band.
      drop_bands: probability of each band to be shown as pixels without data are (`Sensor.empty`); one always stays.
    """

    group_jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    drop_bands: float = 0.0

    @property
    def disturbs(self) -> bool:
        """Whether any of it is on."""
        return any(dataclasses.astuple(self))


def with_gain(image_HxWxC: jax.Array, gain: jax.Array, light: np.ndarray, radar: np.ndarray) -> jax.Array:
    """Multiplies bands of light by exp(gain), and adds the same gain in dB to those of radar; all are (1, 1, bands)."""
    return image_HxWxC * jnp.where(light, jnp.exp(gain), 1.0) + jnp.where(radar, DECIBELS * gain, 0.0)


def disturb(
    physical_BxHxWxC: jax.Array,
    valid_BxHxWx1: jax.Array,
    keys_B: jax.Array,
    number: int,
    sensor: Sensor,
    how: Photometric,
) -> jax.Array:
    """Applies all but the dropping of bands to images of one sensor, in the order of what disturbs real images.

    Args:
      physical_BxHxWxC: values before they are clipped and scaled.
      valid_BxHxWx1: where they hold data.
      keys_B: one key per example.
      number: of the sensor, so that each has draws of its own.
      sensor: for the kinds of its bands and the range of its scaling.
      how: what to apply.
    """
    steps = [(name, step) for name, step in _STEPS.items() if getattr(how, name)]

    def one(image: jax.Array, valid: jax.Array, key: jax.Array) -> jax.Array:
        for name, step in steps:
            image = step(image, valid, _fold(key, DRAWS[name], number), sensor, getattr(how, name))
        return image

    disturbed: jax.Array = jax.vmap(one)(physical_BxHxWxC, valid_BxHxWx1, keys_B)
    return disturbed


def drop_bands(
    physical_BxHxWxC: jax.Array, keys_B: jax.Array, number: int, sensor: Sensor, probability: float
) -> jax.Array:
    """Shows bands as pixels without data are shown, each with a probability; the one of the largest draw stays."""
    shown = jnp.asarray(sensor.empty.astype(np.float32) * np.float32(sensor.scaling.unit))[None, None]

    def one(image: jax.Array, key: jax.Array) -> jax.Array:
        draws = jax.random.uniform(_fold(key, DRAWS["drop_bands"], number), (1, 1, len(sensor.bands)))
        return jnp.where((draws >= probability) | (draws == jnp.max(draws)), image, shown)

    dropped: jax.Array = jax.vmap(one)(physical_BxHxWxC, keys_B)
    return dropped


def _fold(key: jax.Array, draw: int, number: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(key, draw), number)


def of_kind(quantities: Sequence[str], *kinds: str) -> np.ndarray:
    """Which bands measure one of these (`Sensor.quantities`), (1, 1, bands) bool."""
    return np.array([[[quantity in kinds for quantity in quantities]]])


def _range(sensor: Sensor) -> tuple[jax.Array, jax.Array]:
    """Lowest value and extent of the scaling, each (1, 1, bands)."""
    low, high = (
        np.broadcast_to(np.asarray(number, np.float32), (1, 1, len(sensor.bands)))
        for number in (sensor.scaling.low, sensor.scaling.high)
    )
    return jnp.asarray(low), jnp.asarray(high - low)


def _but_heights(sensor: Sensor, changed: jax.Array, image: jax.Array) -> jax.Array:
    return jnp.where(of_kind(sensor.quantities, "light", "decibels"), changed, image)


def _uniform(key: jax.Array) -> jax.Array:
    return jax.random.uniform(key, (1, 1, 1), minval=-1.0)


def _group_gains(image: jax.Array, valid: jax.Array, key: jax.Array, sensor: Sensor, deviation: float) -> jax.Array:
    groups = list(dict.fromkeys(sensor.groups))
    gains = (deviation * jax.random.normal(key, (len(groups),)))[np.array(list(map(groups.index, sensor.groups)))]
    return with_gain(image, gains[None, None], *(of_kind(sensor.quantities, kind) for kind in ("light", "decibels")))


def _brightness(image: jax.Array, valid: jax.Array, key: jax.Array, sensor: Sensor, largest: float) -> jax.Array:
    return _but_heights(sensor, image + largest * _uniform(key) * _range(sensor)[1], image)


def _contrast(image: jax.Array, valid: jax.Array, key: jax.Array, sensor: Sensor, largest: float) -> jax.Array:
    counted = jnp.maximum(jnp.sum(valid), 1)
    mean = jnp.sum(jnp.where(valid, image, 0.0), axis=(0, 1), keepdims=True) / counted
    return _but_heights(sensor, mean + (1.0 + largest * _uniform(key)) * (image - mean), image)


def _gamma(image: jax.Array, valid: jax.Array, key: jax.Array, sensor: Sensor, largest: float) -> jax.Array:
    """What lies below the range of the scaling stays, for it has no power, and so does a band without a range."""
    low, extent = _range(sensor)
    share = (image - low) / jnp.where(extent > 0, extent, 1.0)
    inside = of_kind(sensor.quantities, "light") & (share > 0) & (extent > 0)
    raised = jnp.where(inside, share, 1.0) ** jnp.exp(largest * _uniform(key))
    return jnp.where(inside, low + extent * raised, image)


def _noise(image: jax.Array, valid: jax.Array, key: jax.Array, sensor: Sensor, largest: float) -> jax.Array:
    of_image, of_pixels = jax.random.split(key)
    deviation = jax.random.uniform(of_image, (1, 1, 1), maxval=largest) * _range(sensor)[1]
    return _but_heights(sensor, image + deviation * jax.random.normal(of_pixels, image.shape), image)


def _blur(image: jax.Array, valid: jax.Array, key: jax.Array, sensor: Sensor, largest: float) -> jax.Array:
    """Each pixel with data becomes the mean of those with data around it, by a Gaussian cut off at 3 deviations."""
    deviation = jnp.maximum(jax.random.uniform(key, maxval=largest), 1e-3)
    reach = math.ceil(3 * largest)
    weights = jnp.exp(-0.5 * (jnp.arange(-reach, reach + 1) / deviation) ** 2)
    total = _weighted(jnp.where(valid, image, 0.0), weights)
    share = _weighted(valid.astype(jnp.float32), weights)
    return _but_heights(sensor, jnp.where(valid, total / jnp.where(valid, share, 1.0), image), image)


def _weighted(image_HxWxC: jax.Array, weights: jax.Array) -> jax.Array:
    """Sums each pixel's neighbours with weights by their distance, down and across; there are none outside."""
    reach = len(weights) // 2
    for axis in (0, 1):
        size = image_HxWxC.shape[axis]
        padded = jnp.pad(image_HxWxC, [(reach, reach) if axis == along else (0, 0) for along in range(3)])
        shifted = (jax.lax.slice_in_dim(padded, start, start + size, axis=axis) for start in range(2 * reach + 1))
        image_HxWxC = sum((weight * one for weight, one in zip(weights, shifted, strict=True)), jnp.float32(0.0))
    return image_HxWxC


# In this order: optics, light and calibration, then what the detector adds.
_STEPS = {
    "blur": _blur,
    "group_jitter": _group_gains,
    "gamma": _gamma,
    "contrast": _contrast,
    "brightness": _brightness,
    "noise": _noise,
}
