"""Sensors: their bands by name and order, what the stored numbers mean, and how they are scaled for a network.

Sources: band order and units of SEN12MS (Schmitt et al. 2019) and of the FLAIR-1 data paper; the fixed scaling of the
DFC2020 baseline (Liebel & Schmitt 2020); means and deviations from the FLAIR-1 reference configuration of IGN.
"""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Name, Number, Positive

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")  # of stored numbers
# What batches call other things than images, and what configs call several sensors: no sensor has such a name.
_OF_BATCHES = ("id", "label", "corner", "example", "valid", "record")
_OF_CONFIGS = ("all", "own", "early", "late", "early_plus_late", "dates", "as_sentinel")
RESERVED = (*_OF_BATCHES, *_OF_CONFIGS)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """How stored numbers become the floats that a network sees.

    value = mix @ ((clip(stored * unit, low, high) - offset) / scale). Low, high, offset and scale are each one number
    for all bands, or one per band in the sensor's order; `mix` is a matrix (bands, bands), None where bands stay apart.
    With `by_maximum` each band is at last divided by its largest value in the image that the network is shown (+ 1e-5).
    """

    unit: Positive
    low: Number | tuple[Number, ...]
    high: Number | tuple[Number, ...]
    offset: Number | tuple[Number, ...]
    scale: Positive | tuple[Positive, ...]
    mix: tuple[tuple[Number, ...], ...] | None = None
    by_maximum: bool = False

    def check(self, bands: int) -> None:
        """Raises InputError where it is not of so many bands."""
        for name in ("low", "high", "offset", "scale", "mix"):
            numbers = getattr(self, name)
            rows = numbers if name == "mix" and numbers else ()
            if any(len(some) != bands for some in (numbers, *rows) if isinstance(some, tuple)):
                raise InputError(
                    f"scaling.{name}: found another number of them, expected one for each of {bands} bands"
                )

    def of_bands(self, indices: Sequence[int]) -> "Scaling":
        """The scaling of some of the bands, in this order."""
        assert self.mix is None, "mixed bands cannot be parted"

        def some(number: float | tuple[float, ...]) -> float | tuple[float, ...]:
            return tuple(number[i] for i in indices) if isinstance(number, tuple) else number

        return dataclasses.replace(
            self, low=some(self.low), high=some(self.high), offset=some(self.offset), scale=some(self.scale)
        )


@dataclasses.dataclass(frozen=True)
class Sensor:
    """One instrument as it is stored: band names in order, dtype and unit of the stored numbers, default scaling."""

    name: Name
    title: str
    bands: tuple[Name, ...]
    dtype: str  # of the numbers in the shards: an integer type, or float32
    meaning: str  # of one stored number
    scaling: Scaling
    display: tuple[str, ...]  # the bands shown as red, green, blue (or one as grey)
    ground_sampling: Positive | None  # metres; None where the imagery does not tell
    zero_is_nodata: bool = True  # whether a pixel that is 0 in every band holds no data
    # Scale and offset of each band, as the files of own imagery state them; empty where they state none.
    packing: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        """Raises InputError for a sensor that cannot be: of such a card or description no network is made."""
        if self.dtype not in DTYPES:
            raise InputError(f"dtype: found {self.dtype[:40]!a}, expected one of {', '.join(DTYPES)}")
        if not 1 <= len(self.bands) <= limits.MAX_BANDS or len(set(self.bands)) < len(self.bands):
            raise InputError(
                f"bands: found {len(self.bands)} names, {len(set(self.bands))} different; expected 1 to "
                f"{limits.MAX_BANDS}, each once"
            )
        if not set(self.display) <= set(self.bands) or len(self.display) not in (1, 3):
            raise InputError(f"display: found {', '.join(self.display):.60}; expected one or three of the bands")
        self.scaling.check(len(self.bands))

    @property
    def is_published(self) -> bool:
        """Whether it is one of `SENSORS`: own imagery may have its name, and has numbers of its own."""
        known = SENSORS.get(self.name)
        return known is not None and known.meaning == self.meaning

    @property
    def quantities(self) -> tuple[str, ...]:
        """What each band measures: "light", "decibels" of backscatter, or "height"; of own imagery light is taken."""
        known = _QUANTITIES if self.is_published else {}
        return tuple(known.get((self.name, band), "light") for band in self.bands)

    @property
    def groups(self) -> tuple[str, ...]:
        """The part of the spectrum that each band is of, by its quantity and name: what is near is lit and seen alike.

        "visible", "near infrared", "short-wave infrared", "thermal", "radar" or "height". Light under a name that tells
        nothing is taken for visible.
        """
        other = {"decibels": "radar", "height": "height"}
        return tuple(
            other.get(quantity) or _group_of_light(self.name, band)
            for band, quantity in zip(self.bands, self.quantities, strict=True)
        )

    @property
    def empty(self) -> np.ndarray:
        """What a pixel without data is shown to networks as, (bands,): stored numbers that scale to zero."""
        stored = np.asarray(self.scaling.offset) / self.scaling.unit
        if np.issubdtype(self.dtype, np.integer):
            stored = np.rint(stored)
        return np.broadcast_to(stored.astype(self.dtype), len(self.bands))

    def with_bands(self, bands: Sequence[str]) -> "Sensor":
        """The sensor with some of its bands, in this order."""
        indices = [self.bands.index(band) for band in bands]
        shown = self.display if set(self.display) <= set(bands) else tuple(bands[:3] if len(bands) >= 3 else bands[:1])
        packing = tuple(self.packing[i] for i in indices) if self.packing else ()
        scaling = self.scaling.of_bands(indices)
        return dataclasses.replace(self, bands=tuple(bands), scaling=scaling, display=shown, packing=packing)


S1 = Sensor(
    name="s1",
    title="Sentinel-1 C-band SAR",
    bands=("VV", "VH"),
    dtype="int16",
    meaning="backscatter sigma0, 0.01 dB",
    scaling=Scaling(unit=0.01, low=-25.0, high=0.0, offset=-25.0, scale=25.0),
    display=("VV",),
    ground_sampling=10.0,
)
S2 = Sensor(
    name="s2",
    title="Sentinel-2 MSI, level 1C",
    bands=("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"),
    dtype="uint16",
    meaning="top-of-atmosphere reflectance, 1e-4",
    scaling=Scaling(unit=1.0, low=0.0, high=1e4, offset=0.0, scale=1e4),
    display=("B4", "B3", "B2"),
    ground_sampling=10.0,
)
AERIAL = Sensor(
    name="aerial",
    title="Aerial orthophoto and height above ground (FLAIR-1)",
    bands=("R", "G", "B", "NIR", "elevation"),
    dtype="uint8",
    meaning="digital number",
    scaling=Scaling(
        unit=1.0,
        low=0.0,
        high=255.0,
        offset=(105.08, 110.87, 101.82, 106.38, 53.26),
        scale=(52.17, 45.38, 44.0, 39.69, 79.3),
    ),
    display=("R", "G", "B"),
    ground_sampling=0.2,
)
SENSORS = {sensor.name: sensor for sensor in (S1, S2, AERIAL)}

# Sensor and band -> what the physical value is, where it is not an amount of light.
_QUANTITIES = {("s1", "VV"): "decibels", ("s1", "VH"): "decibels", ("aerial", "elevation"): "height"}
# Beginning of the name of a band, in small letters -> its part of the spectrum; of Sentinel-2 by number.
_SPECTRUM = (
    (r"nir|near.?infra.?red|red.?edge", "near infrared"),
    (r"swir|mir|short.?wave", "short-wave infrared"),
    (r"tir|lwir|thermal", "thermal"),
)
_S2_GROUPS = dict.fromkeys(("B5", "B6", "B7", "B8", "B8A", "B9"), "near infrared") | dict.fromkeys(
    ("B10", "B11", "B12"), "short-wave infrared"
)


def is_name(name: str) -> bool:
    """Whether a sensor of own imagery may have this name."""
    return bool(re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name)) and name not in RESERVED


def check_name(name: str, what: str) -> str:
    """Returns a name for a sensor of own imagery. Raises InputError for one that cannot be; `what` says whose it is."""
    if not is_name(name):
        raise InputError(
            f"{what}: found {name[:60]!a}, expected small letters, digits and _, a letter first, at most 40, and "
            f"none of {', '.join(RESERVED)}"
        )
    return name


def _group_of_light(sensor: str, band: str) -> str:
    named = next((group for start, group in _SPECTRUM if re.match(start, band.lower())), "visible")
    return _S2_GROUPS.get(band, named) if sensor == S2.name else named


def holds_data(values: np.ndarray, zero_is_nodata: bool, axis: int) -> np.ndarray:
    """Returns where pixels hold data: finite in every band and, with `zero_is_nodata`, not 0 in every band.

    Args:
      values: numbers of one image.
      zero_is_nodata: of its sensor.
      axis: of the bands; the result lacks it.
    """
    finite: np.ndarray = np.isfinite(values).all(axis)
    return finite & (values != 0).any(axis) if zero_is_nodata else finite


def to_storage(sensor: Sensor, values: np.ndarray) -> np.ndarray:
    """Physical values (dB, or digital numbers) as the numbers that are stored.

    Integers are rounded, and clipped to the dtype. `values` must be finite: what NaN or nodata means is the caller's
    to decide.
    """
    if values.dtype == np.dtype(sensor.dtype) and sensor.scaling.unit == 1.0:
        return values
    if np.issubdtype(sensor.dtype, np.floating):
        return (values / sensor.scaling.unit).astype(sensor.dtype)
    limits = np.iinfo(sensor.dtype)
    stored = np.rint(np.asarray(values, np.float64) / sensor.scaling.unit)
    return np.clip(stored, limits.min, limits.max).astype(sensor.dtype)
