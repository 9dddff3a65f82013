"""Sensors: their bands by name and order, what the stored numbers mean, and how they are scaled for a network.

Sources: band order and units of SEN12MS (Schmitt et al. 2019) and of the FLAIR-1 data paper; the fixed scaling of the
DFC2020 baseline (Liebel & Schmitt 2020); means and deviations from the FLAIR-1 reference configuration of IGN.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.schema.errors import InputError


@dataclasses.dataclass(frozen=True)
class Scaling:
    """How stored numbers become the floats that a network sees.

    value = mix @ ((clip(stored * unit, low, high) - offset) / scale). Low, high, offset and scale are each one number
    for all bands, or one per band in the sensor's order; `mix` is a matrix (bands, bands), None where bands stay apart.
    With `by_maximum` each band is at last divided by its largest value in the image that the network is shown (+ 1e-5).
    """

    unit: float
    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    offset: float | tuple[float, ...]
    scale: float | tuple[float, ...]
    mix: tuple[tuple[float, ...], ...] | None = None
    by_maximum: bool = False

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

    name: str
    title: str
    bands: tuple[str, ...]
    dtype: str  # of the numbers in the shards: an integer type, or float32
    meaning: str  # of one stored number
    scaling: Scaling
    display: tuple[str, ...]  # the bands shown as red, green, blue (or one as grey)
    ground_sampling: float | None  # metres; None where the imagery does not tell
    zero_is_nodata: bool = True  # whether a pixel that is 0 in every band holds no data

    @property
    def quantities(self) -> tuple[str, ...]:
        """What each band measures: "light", "decibels" of backscatter, or "height"; of own imagery light is taken."""
        return tuple(_QUANTITIES.get((self.name, band), "light") for band in self.bands)

    def with_bands(self, bands: Sequence[str]) -> "Sensor":
        """The sensor with some of its bands, in this order."""
        indices = [self.bands.index(band) for band in bands]
        shown = self.display if set(self.display) <= set(bands) else tuple(bands[:3] if len(bands) >= 3 else bands[:1])
        return dataclasses.replace(self, bands=tuple(bands), scaling=self.scaling.of_bands(indices), display=shown)

    @staticmethod
    def from_dict(fields: dict) -> "Sensor":
        """The sensor whose `dataclasses.asdict` has been JSON. Raises TypeError or KeyError for others."""
        return Sensor(**{**_tuples(fields), "scaling": Scaling(**_tuples(fields["scaling"]))})


def _tuples(fields: dict) -> dict:
    """JSON's lists as tuples, at any depth."""

    def one(value):
        return tuple(map(one, value)) if isinstance(value, list) else value

    return {key: one(value) for key, value in fields.items()}


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
    """The sensor with a scaling that makes its clipped range 0 to 1: of bytes, a division by 255."""
    del statistics
    low, high = sensor.scaling.low, sensor.scaling.high
    extent = (np.asarray(high, float) - np.asarray(low, float)).tolist()
    scale = tuple(extent) if isinstance(extent, list) else extent
    return dataclasses.replace(sensor, scaling=dataclasses.replace(sensor.scaling, offset=low, scale=scale))


# config.scaling -> how a sensor is scaled, from the sensor and the statistics of the training split.
SCALINGS: dict[str, Callable[[Sensor, dict], Sensor]] = {
    "sensor": lambda sensor, statistics: sensor,
    "standardised": standardised,
    "whitened": whitened,
    "range": in_range,
    "by_maximum": by_maximum,
}


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

# Subsets of bands by name, for the sensors that have them.
SUBSETS: dict[str, dict[str, tuple[str, ...]]] = {
    "rgb": {"s2": ("B4", "B3", "B2"), "aerial": ("R", "G", "B")},
    "rgbn": {"s2": ("B4", "B3", "B2", "B8"), "aerial": ("R", "G", "B", "NIR")},
    "s2-10m": {"s2": ("B2", "B3", "B4", "B8")},
    "s2-no-60m": {"s2": ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")},
}
_ALL = "all"


def chosen(sensors: Sequence[Sensor], text: str) -> tuple[Sensor, ...]:
    """The sensors with the bands that a text names; those that it says nothing of keep all of theirs.

    Args:
      text: "all", a name of `SUBSETS`, or names of bands in the order wanted, with + between them: "B8+B4+B3".

    Raises InputError for a name that none of the sensors knows, and for a band that is named twice.
    """
    if text == _ALL:
        return tuple(sensors)
    subset = {s.name: s_bands for s in sensors if (s_bands := SUBSETS.get(text, {}).get(s.name))}
    if not subset and text not in SUBSETS:
        for word in filter(None, (word.strip() for word in text.split("+"))):
            owner = next((s for s in sensors if spelled(s, word)), None)
            band = owner and spelled(owner, word)
            if not owner or not band or band in subset.get(owner.name, ()):
                subset = {}
                break
            subset[owner.name] = (*subset.get(owner.name, ()), band)
    if not subset:
        held = "; ".join(f"{s.name}: {', '.join(s.bands)}" for s in sensors)
        named = [name for name, of in SUBSETS.items() if any(s.name in of for s in sensors)]
        raise InputError(
            f"config.bands={text!r}: expected {', '.join([_ALL, *named])}, or bands of the data set with + between "
            f"them, each once ({held})"
        )
    return tuple(s.with_bands(subset[s.name]) if s.name in subset else s for s in sensors)


def canonical(name: str | None) -> str | None:
    """The table's spelling of a band name ("b02", "B2", "B02 - blue" are all "B2"), or None where no table knows it."""
    if not name:
        return None
    word = name.replace("-", " ").replace(",", " ").replace(":", " ").split()
    if not word:
        return None
    plain = word[0].upper().replace("SIGMA0_", "")
    if plain.startswith("B") and plain[1:2] == "0":
        plain = "B" + plain[2:]
    return _KNOWN.get(plain)


_KNOWN = {band.upper(): band for sensor in SENSORS.values() for band in sensor.bands}


def spelled(sensor: Sensor, name: str | None) -> str | None:
    """The sensor's spelling of a band name, or None where it has no such band.

    Names of published sensors come in many spellings (`canonical`); own imagery keeps its own, in either case.
    """
    if sensor.name in SENSORS:
        known = canonical(name)
        return known if known in sensor.bands else None
    return next((band for band in sensor.bands if name and band.casefold() == name.strip().casefold()), None)


def band_indices(sensor: Sensor, found: Sequence[str | None], where: str) -> list[int]:
    """Where each of the sensor's bands stands (0-based) in a file whose bands are named `found`.

    Raises InputError when a band is missing or named twice; `where` names the file in the message.
    """
    names = [spelled(sensor, name) for name in found]
    doubled = sorted({name for name in names if name and names.count(name) > 1})
    if doubled:
        raise InputError(
            f"{where}: band {', '.join(doubled)} is named more than once; give the true order with --bands"
        )
    missing = [band for band in sensor.bands if band not in names]
    if missing:
        raise InputError(
            f"{where}: {len(found)} bands named {', '.join(str(name) for name in found)}, but "
            f"{sensor.name} needs {', '.join(sensor.bands)} (missing: {', '.join(missing)}); "
            "if the file holds them under no or other names, list its bands in order with --bands"
        )
    return [names.index(band) for band in sensor.bands]


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
