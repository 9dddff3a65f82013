"""Radiometry of scenes: finds the unit of radar and the offset of Sentinel-2 products, or refuses the file.

`conversion_of` gives the function of a sensor: (sensor, dataset, indices, sample, path, offset) -> gain and shift, each
(bands,), such that raw * gain + shift is dB or a digital number. `dataset` is an open rasterio dataset, `indices` are
the sensor's bands in it (from 1), `sample` holds valid raw values (pixels, bands), `offset` is the option or None. They
raise InputError where the numbers do not fit.
"""

import logging
from collections.abc import Callable

import numpy as np

from data_pipelines.geo import packing, sentinel2
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Sensor

_log = logging.getLogger(__name__)

_MAX_OUTSIDE = 0.25  # of own imagery: with a larger share outside the range of training a scene is another product


def _conversion_of_s1(sensor, dataset, indices, sample, path, offset) -> tuple[np.ndarray, np.ndarray]:
    gain, shift = _gdal_scaling(dataset, indices)
    if np.iscomplexobj(sample):
        raise InputError(
            f"{path}: {sample.dtype} (single look complex); expected backscatter in dB; process it to sigma0 first"
        )
    decibel = sample * gain + shift
    if decibel.min() >= 0:
        raise InputError(
            f"{path}: values from {decibel.min():.4g} to {decibel.max():.4g}, none below 0, so linear power or digital "
            "numbers; expected backscatter in dB; convert power with 10*log10(x) first"
        )
    if not -60 < np.median(decibel) < 20:
        raise InputError(
            f"{path}: median {np.median(decibel):.4g}; expected backscatter in dB, about -30 to 0; "
            "divide by what it was multiplied with (e.g. 100) first"
        )
    if (gain != 1).any() or (shift != 0).any():
        _log.info("%s: dB = value * %g + %g, as the file's band scale and offset say", path, gain[0], shift[0])
    return gain, shift


def _conversion_of_s2(sensor, dataset, indices, sample, path, offset) -> tuple[np.ndarray, np.ndarray]:
    kind = dataset.dtypes[indices[0] - 1]
    highest = np.percentile(sample, 99)
    if kind in ("uint8", "int8") or kind.startswith("complex"):
        raise InputError(
            f"{path}: {kind}; expected Sentinel-2 digital numbers (reflectance x 10000, uint16); a picture will not do"
        )
    if highest <= 10:
        raise InputError(
            f"{path}: {kind} values up to about {highest:.3g}, so reflectance in 0..1; expected Sentinel-2 digital "
            "numbers (reflectance x 10000); multiply by 10000 first"
        )
    found = packing.stated(path, dataset, indices)
    added, source = sentinel2.stated(path, found, sentinel2.tags_of(dataset, indices), overruled=offset is not None)
    stated = np.full(len(indices), added) if added else None
    floors = sentinel2.floors(sample, sensor.bands)
    if offset is not None:
        overruled = "" if stated is None else f" ({source} says {_listed(stated)})"
        stated, source = np.full(len(indices), float(offset)), "--offset" + overruled
    elif stated is not None:
        after = {band: floors[band] + more for band, more in zip(sensor.bands, stated, strict=True) if band in floors}
        if band := sentinel2.below_zero(after):
            raise InputError(
                f"{path}: {source} asks to add {_listed(stated)}, but the 1st percentile of {band} is already "
                f"{floors[band]:.0f}, so it seems added; say so with --offset=0, or insist with --offset={stated[0]:g}"
            )
    elif carries := sentinel2.carries_offset(floors):
        raise InputError(
            f"{path}: {sentinel2.why(floors)}, as products of processing baseline 04.00 and later do; expected digital "
            "numbers without that offset; give --offset=-1000 to take it off, or --offset=0 if the numbers are right"
        )
    elif carries is None:
        _log.warning(
            f"{path}: {sentinel2.why(floors)}: it {sentinel2.MAY_CARRY}; if it does, give --offset=-1000; mapped as it "
            "is"
        )
    if stated is None:
        return np.ones(len(indices)), np.zeros(len(indices))
    _log.info("%s: %s added to the digital numbers, from %s; negative ones become 0", path, _listed(stated), source)
    return np.ones(len(indices)), stated


def _conversion_of_aerial(sensor, dataset, indices, sample, path, offset) -> tuple[np.ndarray, np.ndarray]:
    kinds = {dataset.dtypes[index - 1] for index in indices}
    if kinds != {"uint8"}:
        raise InputError(
            f"{path}: {', '.join(sorted(kinds))}; expected uint8 digital numbers; convert it as FLAIR-1 does"
        )
    return _conversion_as_stated(sensor, dataset, indices, path)


def _conversion_of_image(sensor, dataset, indices, sample, path, offset) -> tuple[np.ndarray, np.ndarray]:
    kinds = {dataset.dtypes[index - 1].replace("float64", "float32") for index in indices}
    if kinds != {sensor.dtype}:
        raise InputError(
            f"{path}: {', '.join(sorted(kinds))}; expected {sensor.dtype} as in the images of the training; "
            "bring its numbers to the same scale first"
        )
    gain, shift = _conversion_as_stated(sensor, dataset, indices, path)
    sample = sample * gain + shift
    outside = ((sample < np.asarray(sensor.scaling.low)) | (sample > np.asarray(sensor.scaling.high))).mean(0)
    worst = int(outside.argmax())
    if outside[worst] > _MAX_OUTSIDE:
        lows, highs = (np.broadcast_to(limit, len(indices)) for limit in (sensor.scaling.low, sensor.scaling.high))
        raise InputError(
            f"{path}: {100 * outside[worst]:.0f} % of band {sensor.bands[worst]} lie outside {lows[worst]:g} to "
            f"{highs[worst]:g}, all that the training images hold; expected numbers of the same scale (is it another "
            "product, or another unit?)"
        )
    return gain, shift


_CONVERSIONS = {"s1": _conversion_of_s1, "s2": _conversion_of_s2, "aerial": _conversion_of_aerial}


def conversion_of(sensor: Sensor) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Returns the function that finds what the numbers of a scene mean; own imagery has any name."""
    return _CONVERSIONS.get(sensor.name, _conversion_of_image) if sensor.is_published else _conversion_of_image


def _conversion_as_stated(sensor, dataset, indices, path) -> tuple[np.ndarray, np.ndarray]:
    """From what the file states of its numbers to what the images of the training stated of theirs."""
    found = packing.stated(path, dataset, indices)
    converted = packing.conversion(path, found, sensor.packing)
    if converted is None:
        return np.ones(len(indices)), np.zeros(len(indices))
    _log.info("%s: %s, converted to %s %s", path, packing.told(found), packing.told(sensor.packing), packing.TRAINING)
    return converted


def _gdal_scaling(dataset, indices) -> tuple[np.ndarray, np.ndarray]:
    gain, shift = (np.array([values[i - 1] for i in indices], float) for values in (dataset.scales, dataset.offsets))
    return gain, shift


def _listed(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))
