"""Fusion as data: which bands each encoder of a network takes, and what it takes from the encoders of another run.

A fusion is the name of a sensor: one encoder for all of its bands; one of `MODES`, which join all sensors of a data set
in its order; or MODE:SENSOR+SENSOR, which joins those. So data sets whose sensors are not known here need no entry.
What is shown to encoders of other sensors stands in `ADAPTED`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from data_pipelines.schema import names
from data_pipelines.schema.band_selection import spectral
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import AERIAL, RESERVED, S2, SENSORS, Sensor
from lcjax.models.interfaces import OWN, Inputs
from lcjax.models.transfer import Taken

Band = tuple[str, str]  # sensor, band


@dataclasses.dataclass(frozen=True)
class Stream:
    """What one encoder of a fusion takes.

    Attributes:
      sensors: bands side by side, in this order.
      bands: which of theirs, in this order; none are all that the sensors have.
      like: the sensor whose bands the encoder knows in place of these, one for one; "" is none.
      adapted: a learned 1x1 convolution first makes as many bands as `like` has.
      trunk: the encoder that it goes on from where the other run has none of its name.
      in_turn: the encoder is shown one of the sensors at a time, all of which have the same bands.
    """

    sensors: tuple[str, ...]
    bands: tuple[str, ...] = ()
    like: str = ""
    adapted: bool = False
    trunk: str = ""
    in_turn: bool = False


Streams = dict[str, Stream]


def _early(sensors: Sequence[str]) -> Streams:
    return {"_".join(sensors): Stream(tuple(sensors), trunk=sensors[-1])}


def _late(sensors: Sequence[str]) -> Streams:
    return {name: Stream((name,)) for name in sensors}


def _early_plus_late(sensors: Sequence[str]) -> Streams:
    """Whatever pre-training gives, beside a network that learns from scratch."""
    return {OWN: Stream(tuple(sensors), trunk=sensors[-1])} | _late(sensors)


def _dates(sensors: Sequence[str]) -> Streams:
    """One encoder for several dates of a sensor, of the name that theirs begin with; only pre-training has it."""
    return {_shared_name(sensors): Stream(tuple(sensors), in_turn=True)}


# config.fusion -> what makes of the names of two sensors or more, in order, the streams of the network, each with an
# encoder of its own.
MODES: dict[str, Callable[[Sequence[str]], Streams]] = {
    "early": _early,
    "late": _late,
    "early_plus_late": _early_plus_late,
    "dates": _dates,
}

# config.fusion -> streams of certain sensors.
ADAPTED: dict[str, Streams] = {
    "aerial": {"aerial": Stream(("aerial",), trunk="s2")},
    # Aerial images shown to the encoders of Sentinel-1 and Sentinel-2, as the 2024 report did.
    "as_sentinel": {
        "s1": Stream(("aerial",), ("NIR", "elevation"), like="s1"),
        "s2": Stream(("aerial",), ("R", "G", "B"), like="s2", adapted=True),
    },
}

# The bands that see nearly the same; None where there is nothing like it.
_ALIKE: dict[Band, Band | None] = {
    (AERIAL.name, band): next(((S2.name, other) for other in S2.bands if spectral(other) == spectral(band)), None)
    for band in AERIAL.bands
}


def streams_of(fusion: str, sensors: Iterable[Sensor]) -> Streams:
    """Returns the streams of a fusion by name.

    Args:
      fusion: a name that `sensors_of` knows.
      sensors: of the data set, or those that the fusion takes of it, in order.
    """
    mode, _, listed = fusion.partition(":")
    if mode in MODES:
        return MODES[mode](listed.split("+") if listed else [sensor.name for sensor in sensors])
    return ADAPTED.get(fusion) or _late([fusion])


def resolved(fusion: str, sensors: Sequence[Sensor]) -> str:
    """Returns the fusion that a config means: an empty one takes the only sensor, or several as one image."""
    return fusion or (sensors[0].name if len(sensors) == 1 else "early")


def sensors_of(fusion: str, sensors: Iterable[Sensor]) -> tuple[Sensor, ...]:
    """Returns those of a data set's sensors that a fusion takes, in order.

    Raises:
      InputError: the fusion is unknown, or needs a sensor or a band that is not there.
    """
    held = {sensor.name: sensor for sensor in sensors}
    known = {*MODES, *ADAPTED, *SENSORS, *held}
    mode, colon, listed = fusion.partition(":")
    if (mode if colon else fusion) not in (MODES if colon else known) or (colon and not listed):
        raise InputError(
            f"config.fusion={fusion!r}: expected one of {', '.join(_fitting(held))}, or some sensors as in early:A+B"
        )
    wanted = list(dict.fromkeys(n for stream in streams_of(fusion, held.values()).values() for n in stream.sensors))
    if missing := [name for name in wanted if name not in held]:
        raise InputError(
            f"config.fusion={fusion!r}: the data set has no {', '.join(missing)}; it holds {', '.join(held)}; "
            f"expected one of {', '.join(_fitting(held))}"
        )
    if mode in MODES and (len(wanted) < 2 or (colon and len(wanted) < len(listed.split("+")))):
        raise InputError(
            f"config.fusion={fusion!r}: joins two sensors or more, each once; the data set holds {', '.join(held)}; "
            f"expected one of {', '.join(_fitting(held))}"
        )
    found = tuple(held[name] for name in wanted)
    if fusion not in held and fusion in ADAPTED and (own := [s.name for s in found if not s.is_published]):
        raise InputError(
            f"config.fusion={fusion!r}: knows the numbers of published imagery alone, and {', '.join(own)} of the data "
            f"set is imagery of your own; expected one of {', '.join(_fitting(held))}"
        )
    if any(stream.in_turn for stream in streams_of(fusion, found).values()):
        _check_dates(fusion, found)
    for name in (fusion, *streams_of(fusion, found)):  # what cards and checkpoints hold
        if problem := names.wrong(name):
            raise InputError(
                f"config.fusion={fusion[:60]!r}: its name, or that of an encoder: {problem}; join fewer sensors, as in "
                "early:A+B, or take late, which has an encoder for each"
            )
    bands = [band for sensor in found for band in sensor.bands]
    left_out = [b for stream in streams_of(fusion, found).values() for b in stream.bands if b not in bands]
    if left_out:
        raise InputError(
            f"config.fusion={fusion!r}: it needs {', '.join(left_out)}, which config.bands leaves out of "
            f"{', '.join(bands)}; name {'it' if len(left_out) == 1 else 'them'}, too, or set config.bands=all"
        )
    return found


def _fitting(held: Mapping[str, Sensor]) -> list[str]:
    """The fusions that a data set with these sensors can have."""
    published = {sensor.name for sensor in held.values() if sensor.is_published}
    adapted = [name for name, streams in ADAPTED.items() if all(published >= set(s.sensors) for s in streams.values())]
    modes = [mode for mode in MODES if mode != "dates" or _are_dates(list(held.values()))] if len(held) > 1 else []
    return list(dict.fromkeys((*modes, *adapted, *held)))


def beginnings(sensor: str) -> list[str]:
    """Returns what a sensor can be a date of, by its name: of s2_before s2."""
    parts = sensor.split("_")
    return ["_".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def _shared_name(sensors: Sequence[str]) -> str:
    """The longest beginning that the names of all sensors have; empty where there is none."""
    return next((one for one in beginnings(sensors[0]) if all(one in beginnings(name) for name in sensors)), "")


def _are_dates(sensors: Sequence[Sensor]) -> bool:
    shared = _shared_name([sensor.name for sensor in sensors])
    return bool(shared) and shared not in RESERVED and len({sensor.bands for sensor in sensors}) == 1


def _check_dates(fusion: str, sensors: Sequence[Sensor]) -> None:
    """Raises InputError for sensors that are not dates of one, or whose encoder would have a name that is taken."""
    if (shared := _shared_name([sensor.name for sensor in sensors])) in RESERVED:
        raise InputError(
            f"config.fusion={fusion!r}: the names of {', '.join(sensor.name for sensor in sensors)} begin with "
            f"{shared}, which means something else here; expected none of {', '.join(RESERVED)}; name the sensors "
            "otherwise, and prepare again"
        )
    if not _are_dates(sensors):
        held = "; ".join(f"{sensor.name} ({', '.join(sensor.bands)})" for sensor in sensors)
        raise InputError(
            f"config.fusion={fusion!r}: expected dates of one sensor, with the same bands and names that begin alike, "
            f"such as s2_before and s2_after; found {held}; name two such as dates:A+B"
        )


def inputs_of(fusion: str, sensors: Iterable[Sensor]) -> dict[str, Inputs]:
    """Returns the inputs of each encoder of a fusion, by name.

    Raises:
      InputError: as `sensors_of`; or an encoder of it is shown sensors in turn.
    """
    taken_ = sensors_of(fusion, sensors)
    held = {sensor.name: sensor.bands for sensor in taken_}

    def one(stream: Stream) -> Inputs:
        if stream.in_turn:
            raise InputError(
                f"config.fusion={fusion!r}: one encoder for several dates is for pre-training with config.views="
                "'dates'; take late, an encoder for each, or early"
            )
        wanted = {name: stream.bands or held[name] for name in stream.sensors}
        places = tuple((name, tuple(map(held[name].index, bands))) for name, bands in wanted.items())
        return Inputs(places, len(SENSORS[stream.like].bands) if stream.adapted else 0)

    return {name: one(stream) for name, stream in streams_of(fusion, taken_).items()}


def taken(
    fusion: str, sensors: Sequence[Sensor], other_fusion: str, other_sensors: Sequence[Sensor], origin: str
) -> dict[str, Taken]:
    """Returns, for each encoder that starts from another run, which encoder of that run it starts from.

    That is the encoder of the same name, or else the `trunk` of its stream, or else that of the sensor that it, or its
    trunk, is a date of by name. For each of its bands it also holds the place of that band, or of the most similar one,
    among the bands of the other run's encoders.

    Args:
      fusion: of the network that is begun.
      sensors: of its card.
      other_fusion: of the other run.
      other_sensors: of the other run's card.
      origin: names the other run in errors.

    Raises:
      InputError: the other run has no such encoder, or none of its encoders has learned from a band.
    """
    others = {name: bands for name, bands in known_bands(other_fusion, other_sensors).items() if name != OWN}
    places = {band: (name, place, len(bands)) for name, bands in others.items() for place, band in enumerate(bands)}
    streams, result = streams_of(fusion, sensors), {}
    for name, bands in known_bands(fusion, sensors).items():
        if name == OWN:
            continue
        trunk = next((one for one in _trunks(name, streams[name]) if one in others), "")
        if not trunk:
            raise InputError(
                f"config.init={origin}: it holds no encoder for {name}; its encoders are {', '.join(others)}: choose "
                "the config.fusion and config.model that the pre-training run had"
            )
        alike = {band: _most_alike(band, places) for band in bands}
        unknown = [" ".join(band) for band, other in alike.items() if other and other not in places]
        if unknown:
            raise InputError(
                f"config.init={origin}: its encoders know nothing like {', '.join(unknown)}, which {name} is to take; "
                "choose the config.bands that the pre-training run had"
            )
        result[name] = Taken(trunk, tuple(other and places[other] for other in alike.values()))
    return result


def _trunks(name: str, stream: Stream) -> list[str]:
    """The encoders that one can go on from, the best one first."""
    return [name, *filter(None, [stream.trunk]), *beginnings(stream.trunk or stream.sensors[-1])]


def _most_alike(band: Band, places: Mapping[Band, object]) -> Band | None:
    """The band among `places` that sees the same, or the most similar; None where there is nothing like it."""
    if band in places or band in _ALIKE:
        return band if band in places else _ALIKE[band]
    sensor, name = band
    return next(((one, name) for one in beginnings(sensor) if (one, name) in places), band)


def known_bands(fusion: str, sensors: Sequence[Sensor]) -> dict[str, tuple[Band, ...]]:
    """Returns the bands that each encoder knows: those of its stream, or those that they stand for."""
    held = {sensor.name: sensor.bands for sensor in sensors}

    def one(stream: Stream) -> tuple[Band, ...]:
        if stream.like:
            return tuple((stream.like, band) for band in SENSORS[stream.like].bands)
        if stream.in_turn:
            return tuple((_shared_name(stream.sensors), band) for band in held[stream.sensors[0]])
        return tuple((name, band) for name in stream.sensors for band in stream.bands or held[name])

    return {name: one(stream) for name, stream in streams_of(fusion, sensors).items()}
