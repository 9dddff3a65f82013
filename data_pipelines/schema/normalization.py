"""How the stored numbers of a sensor are scaled for a network, by name: what config.scaling can be."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.schema.band_selection import spectral
from data_pipelines.schema.sensors import Scaling, Sensor

_FLOOR = 1e-4  # of the variance of a mixture of bands, where theirs is 1: what is flatter is not blown up further


def standardised(sensor: Sensor, statistics: dict) -> Sensor:
    """The sensor with a scaling that gives each band mean 0 and deviation 1; clipped to what the statistics saw.

    Args:
      sensor: whose stored numbers the statistics are of.
      statistics: as statistics.json holds them: mean, std, min, max (bands).
    """
    unit = sensor.scaling.unit
    mean, std, low, high = (unit * np.asarray(statistics[name], float) for name in ("mean", "std", "min", "max"))
    scaling = Scaling(
        unit=unit,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        offset=tuple(mean.tolist()),
        scale=tuple(np.where(std > 0, std, 1.0).tolist()),
    )
    return dataclasses.replace(sensor, scaling=scaling)


def whitened(sensor: Sensor, statistics: dict) -> Sensor:
    """The sensor with a scaling that makes its bands uncorrelated, each with mean 0 and deviation 1 (ZCA).

    Bands of one picture are much alike: what tells classes apart, their small differences, is drowned in the common
    brightness. Whitening gives both the same say. Arguments as of `standardised`, with correlation (bands, bands).

    Source: Bell and Sejnowski (1997), Vision Research 37(23), section 2.1.
    """
    variances, axes = np.linalg.eigh(np.asarray(statistics["correlation"], float))
    mix = axes @ np.diag(np.maximum(variances, _FLOOR) ** -0.5) @ axes.T
    alone = standardised(sensor, statistics)
    return dataclasses.replace(alone, scaling=dataclasses.replace(alone.scaling, mix=tuple(map(tuple, mix.tolist()))))


def by_maximum(sensor: Sensor, statistics: dict) -> Sensor:
    """The sensor with the scaling of the code that came with Scheibenreif et al. 2022, for replication only.

    Clipped as by default, moved to begin at 0, and each band divided by its largest value in the crop. That loses the
    ratio of the bands, and a crop is seen differently as soon as it holds one brighter pixel.
    """
    del statistics
    scaling = dataclasses.replace(sensor.scaling, offset=sensor.scaling.low, scale=1.0, by_maximum=True)
    return dataclasses.replace(sensor, scaling=scaling)


def in_range(sensor: Sensor, statistics: dict) -> Sensor:
    """The sensor with a scaling that makes its clipped range 0 to 1: of bytes, a division by 255.

    A band that is constant becomes 0.
    """
    del statistics
    low, high = sensor.scaling.low, sensor.scaling.high
    span = np.asarray(high, float) - np.asarray(low, float)
    extent = np.where(span > 0, span, 1.0).tolist()
    scale = tuple(extent) if isinstance(extent, list) else extent
    return dataclasses.replace(sensor, scaling=dataclasses.replace(sensor.scaling, offset=low, scale=scale))


def imagenet(sensor: Sensor, statistics: dict) -> Sensor:
    """The sensor with the scaling of most networks trained on ImageNet: `in_range`, then its mean and deviation.

    Red, green and blue are found by name, and three bands of other names are taken for them; every other band is scaled
    by the mean of the three.

    Source: torchvision, mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225) of red, green and blue.
    """
    means = {"R": 0.485, "G": 0.456, "B": 0.406}
    deviations = {"R": 0.229, "G": 0.224, "B": 0.225}
    names = [spectral(band) for band in sensor.bands]
    if len(names) == len(means) and not means.keys() & set(names):
        names = list(means)  # three bands without names: the weights are taken in this order, too
    return _moved(
        in_range(sensor, statistics), [means.get(n, 0.449) for n in names], [deviations.get(n, 0.226) for n in names]
    )


def inception(sensor: Sensor, statistics: dict) -> Sensor:
    """The sensor with a scaling that makes its clipped range -1 to 1, as Google's networks learned from ImageNet."""
    return _moved(in_range(sensor, statistics), [0.5] * len(sensor.bands), [0.5] * len(sensor.bands))


def _moved(ranged: Sensor, means: Sequence[float], deviations: Sequence[float]) -> Sensor:
    """With these means and deviations, of numbers from 0 to 1, made 0 and 1."""
    low, span = (
        np.broadcast_to(np.asarray(number, float), len(ranged.bands))
        for number in (ranged.scaling.offset, ranged.scaling.scale)
    )
    offset, scale = (low + np.asarray(means) * span).tolist(), (np.asarray(deviations) * span).tolist()
    return dataclasses.replace(
        ranged, scaling=dataclasses.replace(ranged.scaling, offset=tuple(offset), scale=tuple(scale))
    )


# config.scaling -> how a sensor is scaled, from the sensor and the statistics of the training split.
SCALINGS: dict[str, Callable[[Sensor, dict], Sensor]] = {
    "sensor": lambda sensor, statistics: sensor,
    "standardised": standardised,
    "whitened": whitened,
    "range": in_range,
    "by_maximum": by_maximum,
    "imagenet": imagenet,
    "inception": inception,
}
