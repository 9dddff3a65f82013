"""The card: what a network must be told about its input, carried by every checkpoint and checked on use."""

import dataclasses
import json
import pathlib
from importlib import metadata

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.sensors import Sensor
from lcjax import __version__

FILE = "card.json"
_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclasses.dataclass(frozen=True)
class Card:
    """Bands by name and order, scaling, legend, tile, split ids and versions of one network.

    Attributes:
      model: name of the network, as in `config.model.name`.
      fusion: which sensors it takes and how: a name in `streams.STREAMS`.
      sensors: the sensors it takes, in order; each names its bands in order and how stored numbers are scaled.
      legend: the classes of the data set; the network's outputs are `legend.scored` in order.
      tile: edge in pixels of what it is shown at a time when it is evaluated and when it maps.
      dataset: name and version of the data set, e.g. "sample 1.0.0" or "rasters/town 1.0.0".
      splits: role ("train", "validation", "test") -> {"spec": which records (schema/splits.py), "records": count,
        "id": hash of record ids, "class_pixels": by label id, "warnings": what a reader of scores on them must know};
        without the roles that the run has no split for.
      versions: of lcjax and of the libraries that made the checkpoint.
    """

    model: str
    fusion: str
    sensors: tuple[Sensor, ...]
    legend: Legend
    tile: int
    dataset: str
    splits: dict[str, dict]
    versions: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1)


def from_json(text: str) -> Card:
    """The card that `Card.to_json` wrote."""
    fields = json.loads(text)
    fields["sensors"] = tuple(map(Sensor.from_dict, fields["sensors"]))
    fields["legend"] = Legend.from_dict(fields["legend"])
    return Card(**fields)


def read(workdir: pathlib.Path) -> Card:
    """The card of a workdir. Raises InputError where there is none."""
    path = workdir / FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the workdir of a training run (see `lcjax train --help`)")
    try:
        return from_json(path.read_text())
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: no card that this version reads ({error!r}); train again or use its version"
        ) from error


def versions() -> dict[str, str]:
    """Versions of lcjax and of the libraries whose behaviour a checkpoint depends on."""
    return {"lcjax": __version__} | {name: metadata.version(name) for name in _PACKAGES}
