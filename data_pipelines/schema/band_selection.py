"""Bands by name: which ones are read, and where they stand in a file."""

from collections.abc import Sequence

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import SENSORS, Sensor

# Subsets of bands by name, for the sensors that have them.
SUBSETS: dict[str, dict[str, tuple[str, ...]]] = {
    "rgb": {"s2": ("B4", "B3", "B2"), "aerial": ("R", "G", "B")},
    "rgbn": {"s2": ("B4", "B3", "B2", "B8"), "aerial": ("R", "G", "B", "NIR")},
    "s2-10m": {"s2": ("B2", "B3", "B4", "B8")},
    "s2-no-60m": {"s2": ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")},
}

# Names of bands that see nearly the same light, in capitals, and the one that stands for them.
_SAME = {
    "RED": "R", "B4": "R", "B04": "R", "GREEN": "G", "B3": "G", "B03": "G", "BLUE": "B", "B2": "B", "B02": "B",
    "NEAR_INFRARED": "NIR", "IR": "NIR", "N": "NIR", "B8": "NIR", "B08": "NIR", "B01": "B1", "B05": "B5", "B06": "B6",
    "B07": "B7", "B09": "B9", "HEIGHT": "ELEVATION", "NDSM": "ELEVATION",
}  # fmt: skip

# Common names of bands in STAC (extension eo, version 2.0.0, and those of earth-search), for published sensors.
_COMMON = {
    "s2": {
        "coastal": "B1", "blue": "B2", "green": "B3", "red": "B4", "rededge1": "B5", "rededge071": "B5",
        "rededge2": "B6", "rededge075": "B6", "rededge3": "B7", "rededge078": "B7", "nir": "B8", "nir08": "B8A",
        "nir09": "B9", "cirrus": "B10", "swir16": "B11", "swir22": "B12",
    },
    "aerial": {"red": "R", "green": "G", "blue": "B", "nir": "NIR"},
}  # fmt: skip

_ALL = "all"


def spectral(band: str) -> str:
    """The name under which a band is compared with those of other sensors: "R" of red, B4 and B04."""
    word = (canonical(band) or band).upper()
    return _SAME.get(word, word)


def chosen(sensors: Sequence[Sensor], text: str) -> tuple[Sensor, ...]:
    """The sensors with the bands that a text names; those that it says nothing of keep all of theirs.

    Args:
      text: "all", a name of `SUBSETS`, or names of bands in the order wanted, with + between them: "B8+B4+B3".

    Raises InputError for a name that none of the sensors knows, and for a band that is named twice.
    """
    if text == _ALL:
        return tuple(sensors)
    published = [s for s in sensors if s.is_published]
    subset = {s.name: s_bands for s in published if (s_bands := SUBSETS.get(text, {}).get(s.name))}
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
        named = [name for name, of in SUBSETS.items() if any(s.name in of for s in published)]
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
    if sensor.is_published:
        known = canonical(name)
        return known if known in sensor.bands else None
    return next((band for band in sensor.bands if name and band.casefold() == name.strip().casefold()), None)


def by_common_name(sensor: Sensor, name: str) -> str | None:
    """The band of a published sensor that a common name of STAC ("red", "swir16") means; None where it has none."""
    band = _COMMON.get(sensor.name, {}).get(name.strip().lower()) if sensor.is_published else None
    return band if band in sensor.bands else None


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
