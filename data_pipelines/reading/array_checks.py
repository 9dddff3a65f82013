"""What arrays must be to be read as a data set. Every check says which split, what was found and how to mend it."""

import numbers
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.datasets.rasters.sensor import DTYPES
from data_pipelines.schema import names
from data_pipelines.schema.display import distinct_colours
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, MOST_CLASSES, LandClass, Legend
from data_pipelines.schema.sensors import RESERVED, check_name

_IMAGES = "images"  # what messages call the images of an only sensor
_SHOWN = 5  # values named in a message


def check_shapes(splits: Mapping[str, Any]) -> None:
    """Raises InputError where the splits are not named pairs of arrays that fit each other, of one tile size and dtype.

    Looks at types and shapes alone, not at a single number.
    """
    if not isinstance(splits, Mapping) or not splits:
        raise InputError('splits: expected {"train": (images, masks), ...} with one split or more')
    first: dict[str, tuple[str, np.ndarray]] = {}
    for name, pair in splits.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise InputError(f"split {name!r}: expected a name of letters, digits, _ and -, such as 'train'")
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(
                f"split {name!r}: found {_kind(pair)}; expected a pair (images, masks), with None for no masks"
            )
        by_sensor = images_of(pair[0])
        if first and by_sensor.keys() != first.keys():
            raise InputError(
                f"split {name!r}: images of {_listed(by_sensor)}, but of {_listed(first)} before; expected the same "
                "sensors in all splits"
            )
        for what, images in by_sensor.items():
            _check_images(name, what, images)
            earlier, like = first.setdefault(what, (name, images))
            if (images.shape[1:], images.dtype) != (like.shape[1:], like.dtype):
                raise InputError(
                    f"split {name!r}: {what} of {_format(images)}, but {_format(like)} in split {earlier!r}; expected "
                    "the same size, bands and dtype in all splits"
                )
        _check_partners(name, by_sensor)
        if pair[1] is not None:
            _check_masks(name, next(iter(by_sensor.values())), pair[1])


def images_of(images: Any) -> dict[str, Any]:
    """The images of a split by sensor; those that are not, under the word that messages have for them."""
    return dict(images) if isinstance(images, Mapping) else {_IMAGES: images}


def _check_partners(split: str, images: Mapping[str, np.ndarray]) -> None:
    """Raises InputError where the sensors of a split are none, or not of as many places and pixels."""
    if not images:
        raise InputError(f"split {split!r}: no images; expected {{sensor: images}} with one sensor or more")
    (name, first), *others = images.items()
    for other, array in others:
        if array.shape[:3] != first.shape[:3]:
            raise InputError(
                f"split {split!r}: {other} of shape {array.shape}, but {name} of {first.shape}; expected as many "
                "places, rows and columns of all sensors; resample them before"
            )


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(str, names))


def _check_images(split: str, what: str, images: Any) -> None:
    _check_array(split, what, images)
    if images.ndim != 4:
        hint = "; add a band axis with images[..., None]" if images.ndim == 3 else ""
        raise InputError(f"split {split!r}: {what} of shape {images.shape}; expected (N, H, W, bands){hint}")
    _, height, width, bands = images.shape
    if not images.size:
        raise InputError(f"split {split!r}: {what} of shape {images.shape} hold nothing; leave the split out")
    if height != width:
        channels_first = "; for (N, bands, H, W) pass images.transpose(0, 2, 3, 1)" if width == bands else ""
        raise InputError(
            f"split {split!r}: {what} {height} pixels high and {width} wide; expected squares; cut them{channels_first}"
        )
    if images.dtype.name not in DTYPES:
        fix = "np.uint8" if images.dtype == bool else "np.float32"
        raise InputError(
            f"split {split!r}: {what} are {images.dtype}; expected {', '.join(DTYPES)}; convert them, for example with "
            f"images.astype({fix})"
        )


def _check_masks(split: str, images: np.ndarray, masks: Any) -> None:
    _check_array(split, "masks", masks)
    if masks.shape != images.shape[:3]:
        hint = "; drop the last axis with masks[..., 0]" if masks.shape == (*images.shape[:3], 1) else ""
        raise InputError(
            f"split {split!r}: masks of shape {masks.shape}; expected {images.shape[:3]} as of the images{hint}"
        )
    if not np.issubdtype(masks.dtype, np.integer):
        raise InputError(
            f"split {split!r}: masks are {masks.dtype}; expected integers: an id of the classes for each pixel, "
            f"{IGNORE} where there is no label; convert them with masks.astype(np.uint8)"
        )


def _check_array(split: str, what: str, array: Any) -> None:
    if isinstance(array, np.ma.MaskedArray):
        raise InputError(
            f"split {split!r}: {what} are a masked array; expected a plain one; fill it with {what}.filled(VALUE)"
            + (f", {IGNORE} where there is no label" if what == "masks" else " and pass nodata=VALUE")
        )
    if not isinstance(array, np.ndarray):
        raise InputError(f"split {split!r}: {what} are {_kind(array)}; expected a numpy array; see np.asarray")


def check_finite(split: str, images: np.ndarray, nodata: float | None) -> None:
    """Raises InputError for numbers that are not finite; names the record."""
    for record, image in enumerate(images if images.dtype.kind == "f" else ()):
        _check_finite(split, record, image, nodata)


def check_labels(split: str, masks: np.ndarray, legend: Legend) -> None:
    """Raises InputError for labels outside the legend; names the record."""
    stored = (stored for stored, _ in legend.merges)
    known = [*sorted({*legend.allowed_values, *stored} - {legend.nodata}), legend.nodata]
    for record, mask in enumerate(masks):
        if (strange := np.setdiff1d(mask, known)).size:
            raise InputError(
                f"split {split!r}: the mask of record {record} holds {_some(strange)}; expected ids of the classes "
                f"({', '.join(map(str, known[:-1]))}), and {legend.nodata} where there is no label"
            )


def _check_finite(split: str, record: int, image: np.ndarray, nodata: float | None) -> None:
    strange = ~np.isfinite(image)
    if nodata is not None and np.isnan(nodata):
        strange &= ~np.isnan(image)
    if strange.any():
        raise InputError(
            f"split {split!r}: record {record} holds {np.count_nonzero(strange):,} numbers that are NaN or infinite; "
            "expected finite ones; pass nodata=float('nan') where NaN means no data"
        )


def _some(values: np.ndarray) -> str:
    return ", ".join(map(str, values[:_SHOWN])) + (", ..." if values.size > _SHOWN else "")


def check_nodata(nodata: float | None, dtype: np.dtype) -> None:
    """Raises InputError for a number that arrays of this dtype cannot hold."""
    if nodata is None:
        return
    if isinstance(nodata, bool) or not isinstance(nodata, numbers.Real):
        raise InputError(f"nodata={nodata!r}: expected a number, or None where all pixels hold data")
    if dtype.kind == "f":
        return
    limits = np.iinfo(dtype)
    if not (limits.min <= nodata <= limits.max and nodata == int(nodata)):
        raise InputError(f"nodata={nodata}: expected a whole number from {limits.min} to {limits.max}, as in {dtype}")


def band_names(bands: Sequence[str] | None, count: int) -> tuple[str, ...]:
    """The names of `count` bands: those given, else "band1", "band2", ... Raises InputError where they do not fit."""
    if bands is None:
        return tuple(f"band{number}" for number in range(1, count + 1))
    if isinstance(bands, str) or not all(isinstance(band, str) and band.strip() for band in bands):
        raise InputError(f"bands={bands!r}: expected a list of {count} names, such as ['red', 'green', 'blue']")
    if len(bands) != count or len({band.casefold() for band in bands}) != count:
        raise InputError(f"bands={list(bands)}: expected {count} different names, one for each band of the images")
    return tuple(bands)


def sensor_name(name: str) -> str:
    """The name of the sensor. Raises InputError for one that batches use for something else."""
    if not isinstance(name, str) or not name.isidentifier() or name in RESERVED:
        raise InputError(f"sensor={name!r}: expected a word other than {', '.join(RESERVED)}, such as 'image'")
    return name


def sensor_names(images: Any, only: str) -> tuple[str, ...]:
    """The names of the sensors of a split: its keys, or `only`. Raises InputError for one that no sensor can have."""
    if not isinstance(images, Mapping):
        return (sensor_name(only),)
    return tuple(check_name(str(name), f"sensor {name!r}") for name in images)


def of_sensors(value: Any, sensors: Sequence[str], what: str) -> dict[str, Any]:
    """What was given for each sensor: of several a dictionary, or None for all; `what` is the argument.

    Raises InputError for another value, and for a sensor that is not there.
    """
    if len(sensors) == 1 and not isinstance(value, Mapping):
        return {sensors[0]: value}
    found = {} if value is None else value
    if not isinstance(found, Mapping) or not found.keys() <= set(sensors):
        raise InputError(f"{what}={value!r}: expected a dictionary by sensor, of {', '.join(sensors)}")
    return {name: found.get(name) for name in sensors}


def legend_of(classes: Legend | Sequence[str | tuple[str, str]], name: str) -> Legend:
    """The legend that `classes` describes: itself, or ids 0, 1, ... for names or pairs of a name and a colour.

    Raises InputError for fewer than two classes or too many, names that are not there or twice, and other colours than
    #rrggbb.
    """
    if isinstance(classes, Legend):
        return classes
    if isinstance(classes, str | Mapping) or not isinstance(classes, Sequence):
        raise InputError(f"classes: found {_kind(classes)}; expected a list of names such as ['water', 'road']")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InputError(f"classes: found {len(classes)}; expected 2 to {MOST_CLASSES} classes to tell apart")
    named: list[LandClass] = []
    for number, (entry, colour) in enumerate(zip(classes, distinct_colours(len(classes)), strict=True)):
        title, shade = (entry, colour) if isinstance(entry, str) else entry if _is_pair(entry) else ("", "")
        if not title.strip() or not re.search(names.COLOUR, shade):
            raise InputError(
                f"classes[{number}]={entry!r}: expected a name, or a name and a colour such as ('water', '#1c0dff')"
            )
        if title in [other.name for other in named]:
            raise InputError(f"classes[{number}]={entry!r}: this name once more; expected each name once")
        named.append(LandClass(number, title, shade.lower()))
    return Legend(name, tuple(named))


def _is_pair(entry: Any) -> bool:
    return isinstance(entry, tuple | list) and len(entry) == 2 and all(isinstance(text, str) for text in entry)


def _format(images: np.ndarray) -> str:
    _, height, width, bands = images.shape
    return f"{height} x {width} pixels with {bands} bands of {images.dtype}"


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"
