"""The model card: what a network must know of its input. Every checkpoint carries one, and every use checks it."""

import dataclasses
import json
import pathlib
from importlib import metadata
from typing import Any

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.sensors import Sensor
from lcjax.runs import SCHEMA_VERSION
from lcjax.version import __version__

FILE = "card.json"
_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")


@dataclasses.dataclass(frozen=True)
class Card:
    """Bands by name and order, scaling, legend, tile, split ids and versions of one network.

    Attributes:
      model: name of the network, as in `config.model.name`.
      fusion: which sensors the network takes and how it joins them: a name in lcjax.tasks.fusion.
      sensors: the sensors in order; each names its bands in order and how stored numbers are scaled.
      legend: the classes of the data set; the network's outputs are `legend.scored` in order.
      tile: side in pixels of the square that the network sees at a time when it is evaluated and when it maps.
      dataset: name and version of the data set, e.g. "sample 1.0.0" or "rasters/town 1.0.0".
      splits: role ("train", "validation", "test") -> {"spec": which records (data_pipelines.schema.splits), "records":
        their number, "id": hash of their ids, "class_pixels": label id -> pixels, "warnings": what a reader of scores
        on them must know}. A role without a split is left out.
      versions: library name -> version, of lcjax and of the libraries that made the checkpoint.
      data_in_memory: whether the records were arrays in Python, which no command can open again.
    """

    model: str
    fusion: str
    sensors: tuple[Sensor, ...]
    legend: Legend
    tile: int
    dataset: str
    splits: dict[str, dict[str, Any]]
    versions: dict[str, str]
    data_in_memory: bool = False

    def to_json(self) -> str:
        """Returns the text of card.json."""
        return json.dumps(schema_version.stamp(dataclasses.asdict(self), SCHEMA_VERSION), indent=1)


def from_json(text: str, source: object = "the card of the checkpoint") -> Card:
    """Parses what `Card.to_json` wrote.

    Args:
      text: JSON.
      source: name of the file, for messages.

    Raises:
      InputError: the card is of another schema_version.
      ValueError, TypeError, KeyError, AttributeError: the text is not a card.
    """
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise TypeError(f"{type(fields).__name__} in place of an object")
    fields = schema_version.check(fields, SCHEMA_VERSION, source)
    fields["sensors"] = tuple(map(Sensor.from_dict, fields["sensors"]))
    fields["legend"] = Legend.from_dict(fields["legend"])
    return Card(**fields)


def read(workdir: pathlib.Path) -> Card:
    """Reads the card of a workdir.

    Raises:
      InputError: there is no card, or this version cannot read it.
    """
    path = workdir / FILE
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the workdir of a training run (see `lcjax train --help`)")
    try:
        return from_json(path.read_text(), path)
    except InputError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: no card that this version reads ({error!r}); train again or use its version"
        ) from error


def versions() -> dict[str, str]:
    """Returns the versions of lcjax and of the libraries that a checkpoint depends on."""
    return {"lcjax": __version__} | {name: metadata.version(name) for name in _PACKAGES}
