"""Own imagery as a sensor: whatever bands and numbers the images have."""

from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.sensors import Scaling, Sensor

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")


def sensor_of(
    names: tuple[str, ...],
    dtype: str,
    ground_sampling: Sequence[float | None] = (),
    name: str = "image",
    packing: tuple[tuple[float, float], ...] = (),
) -> Sensor:
    """The sensor of own imagery, with a scaling that changes nothing: its statistics are not known yet.

    Args:
      names: of its bands, in order.
      dtype: of its numbers, one of `DTYPES`.
      ground_sampling: metres per pixel of each image; the sensor has their median where all of them tell one.
      name: what the sensor is called.
      packing: scale and offset of each band, where the images state them.
    """
    known = [metres for metres in ground_sampling if metres is not None]
    everywhere = bool(known) and len(known) == len(ground_sampling)
    return Sensor(
        name=name,
        title="Own imagery",
        bands=names,
        dtype=dtype,
        meaning="as in the files",
        scaling=Scaling(unit=1.0, low=-np.inf, high=np.inf, offset=0.0, scale=1.0),
        display=_display(names),
        ground_sampling=float(f"{np.median(known):.6g}") if everywhere else None,
        zero_is_nodata=False,
        packing=packing,
    )


def _display(names: tuple[str, ...]) -> tuple[str, ...]:
    by_name = {name.casefold(): name for name in names}
    for colours in (("red", "green", "blue"), ("r", "g", "b")):
        if all(colour in by_name for colour in colours):
            return tuple(by_name[colour] for colour in colours)
    return names[:3] if len(names) >= 3 else names[:1]
