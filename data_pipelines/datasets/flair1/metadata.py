"""flair-1_metadata_aerial.json: where, when and with which camera each patch was taken.

{"IMG_000826": {"patch_centroid_x": 953051.2, "patch_centroid_y": 6345948.8, "patch_centroid_z": 280.0,
                "date": "2021-06-14", "time": "08h06", "camera": "UCE-M3-f100-s04", ...}, ...}
"""

import datetime
import math
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from data_pipelines.schema import typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Vector

NAME = re.compile(r"flair.*metadata.*\.json", re.IGNORECASE)  # flair-1_metadata_aerial, flair_aerial_metadata
# Cameras have names such as "UCE-M3-f120-s06" and "CAMERA#030", of which no list is published: stored is, as the
# baseline does it, whether the name has UCE (UltraCam Eagle) in it.
_EAGLE = "UCE"
_NUMBERS = ("x", "y", "z", "camera", "year", "month", "day", "minute")
UNKNOWN = (math.nan,) * len(_NUMBERS)
ENCODED = 45  # numbers that `encode` makes of them

_PLACE = ("patch_centroid_x", "patch_centroid_y", "patch_centroid_z")
_TIME = re.compile(r"(?P<hour>\d{1,2})h(?P<minute>\d{2})")
_FAR = 1e8  # metres: no coordinate is; NaN is not less, either
_YEARS = (2018, 2019, 2020, 2021)
_HIGHEST = 3164.9099121094  # metres, of all patches
_LONGEST, _WAVES = 1e8, 8  # metres, and how many sines of each coordinate


def read(path: pathlib.Path) -> dict[str, object]:
    """Image name -> its entry. Raises InputError for a file that is not such a table."""
    remedy = "damaged or cut short: download it again, or move it out of --source to go without"
    text = typed_json.content(path, remedy, "the metadata of FLAIR images")
    entries = typed_json.parse(text, path, remedy, finite=False)
    if not isinstance(entries, dict) or not any(name.startswith("IMG_") for name in entries):
        raise InputError(
            f'{path}: expected an object {{"IMG_000826": {{...}}, ...}}, the metadata of FLAIR images; download it '
            "again, or move it out of --source to go without"
        )
    return entries


def numbers(entry: object) -> tuple[float, ...]:
    """The numbers of `VECTOR` in one entry. Raises ValueError that says what was found and what was expected."""
    if not isinstance(entry, dict):
        raise ValueError(f"found {entry!r:.40}, expected an object")
    missing = [key for key in (*_PLACE, "camera", "date", "time") if key not in entry]
    if missing:
        raise ValueError(f"no {', '.join(missing)}, expected all of {', '.join(_PLACE)}, camera, date, time")
    place = [_number(key, entry[key]) for key in _PLACE]
    date, time = str(entry["date"]), _TIME.fullmatch(str(entry["time"]))
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError:
        raise ValueError(f"date {date!r}, expected one such as '2021-06-14'") from None
    if not time or int(time["hour"]) > 23 or int(time["minute"]) > 59:
        raise ValueError(f"time {entry['time']!r}, expected one such as '08h06'")
    camera = 0 if _EAGLE in str(entry["camera"]) else 1
    minute = 60 * int(time["hour"]) + int(time["minute"])
    return (*place, *map(float, (camera, day.year, day.month, day.day, minute)))


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _FAR:
        raise ValueError(f"{key} {value!r:.40}, expected a number of metres")
    return float(value)


def encode(vector: Any) -> Any:
    """The (45,) float32 that the baseline gives to its network, from the (8,) numbers of `VECTOR`.

      0-31   of x, then of y: sin and cos in turn of u * f_k, where u = metres / 1e8, f_k = 1e8 ** (-k / 8), k = 0 to 7
      32     altitude / 3164.91 m, the highest of the data set
      33-34  one-hot: UltraCam Eagle, another camera
      35-38  one-hot: 2018 to 2021; zeros for another year
      39-44  sin and cos of the month, of the day and of the time of day as angles, moved from [-1, 1] to [0, 1]

    What is made of a number that is not known is NaN. A JAX array is encoded where it lies, by its own library, and a
    batch by jax.vmap; from float32 numbers what comes is at most 4e-7 from what it is from float64. Anything else is
    encoded by numpy.

    Source: parsing_metadata in src/flair/tasks_utils.py of github.com/IGNF/FLAIR-1-AI-Challenge, commit c7c2f20. But
    for the month: there, 2 pi (month - 1/12) gives every month the same angle; here it is 2 pi (month - 1) / 12.
    """
    numbers = vector if hasattr(vector, "__array_namespace__") else np.asarray(vector, np.float64)
    xp = numbers.__array_namespace__()
    x, y, z, camera, year, month, day, minute = numbers
    waves = xp.outer(xp.stack([x, y]), _LONGEST ** (-np.arange(_WAVES) / _WAVES)) / _LONGEST
    angles = 2 * np.pi * xp.stack([(month - 1) / 12, day / 31, minute / (24 * 60)])
    return xp.concat(
        [
            xp.stack([xp.sin(waves), xp.cos(waves)], axis=-1).ravel(),
            xp.stack([z / _HIGHEST]),
            _one_hot(xp, camera, range(2)),
            _one_hot(xp, year, _YEARS),
            (xp.stack([xp.sin(angles), xp.cos(angles)], axis=-1).ravel() + 1) / 2,
        ]
    ).astype(np.float32)


def _one_hot(xp: Any, value: Any, values: Sequence[int]) -> Any:
    return xp.where(xp.isnan(value), np.nan, value == np.array(values))


VECTOR = Vector(
    name="metadata",
    numbers=_NUMBERS,
    meaning="centre x, y in EPSG:2154 (m), altitude of the ground (m), camera (0: UltraCam Eagle, 1: another), date of "
    "the flight, minute of the day; NaN where not known",
    title="where, when and how it was taken",
    width=ENCODED,
    encode=encode,
)
