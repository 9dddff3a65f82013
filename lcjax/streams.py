"""Fusion as data: which sensors a network takes, and which of them share an encoder."""

from data_pipelines.bands import SENSORS, Sensor
from data_pipelines.errors import InputError

# config.fusion -> the streams of the network, each with an encoder of its own: name -> sensors, bands side by side.
STREAMS: dict[str, dict[str, tuple[str, ...]]] = {
    "s1": {"s1": ("s1",)},
    "s2": {"s2": ("s2",)},
    "aerial": {"aerial": ("aerial",)},
    "early": {"s1_s2": ("s1", "s2")},
    "late": {"s1": ("s1",), "s2": ("s2",)},
}


def sensors_of(fusion: str) -> tuple[Sensor, ...]:
    """The sensors that a fusion takes, in order. Raises InputError for an unknown fusion."""
    if fusion not in STREAMS:
        raise InputError(f"config.fusion={fusion!r}: expected one of {', '.join(STREAMS)}")
    return tuple(SENSORS[name] for sensors in STREAMS[fusion].values() for name in sensors)
