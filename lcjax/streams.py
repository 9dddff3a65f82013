"""Fusion as data: which sensors a network takes, and which of them share an encoder."""

from collections.abc import Iterable

from data_pipelines.bands import Sensor
from data_pipelines.errors import InputError

# config.fusion -> the streams of the network, each with an encoder of its own: name -> sensors, bands side by side.
STREAMS: dict[str, dict[str, tuple[str, ...]]] = {
    "s1": {"s1": ("s1",)},
    "s2": {"s2": ("s2",)},
    "aerial": {"aerial": ("aerial",)},
    "image": {"image": ("image",)},
    "early": {"s1_s2": ("s1", "s2")},
    "late": {"s1": ("s1",), "s2": ("s2",)},
}


def sensors_of(fusion: str, sensors: Iterable[Sensor]) -> tuple[Sensor, ...]:
    """Those of a data set's sensors that a fusion takes, in order.

    Raises InputError for an unknown fusion, and for one that needs a sensor that is not there.
    """
    if fusion not in STREAMS:
        raise InputError(f"config.fusion={fusion!r}: expected one of {', '.join(STREAMS)}")
    held = {sensor.name: sensor for sensor in sensors}
    wanted = [name for names in STREAMS[fusion].values() for name in names]
    missing = [name for name in wanted if name not in held]
    if missing:
        fitting = [name for name, streams in STREAMS.items() if held.keys() >= {n for s in streams.values() for n in s}]
        raise InputError(
            f"config.fusion={fusion!r}: the data set has no {', '.join(missing)}; it holds {', '.join(held)}; "
            f"expected one of {', '.join(fitting)}"
        )
    return tuple(held[name] for name in wanted)
