"""The model card: what a network must know of its input. Every checkpoint carries one, and every use checks it."""

import dataclasses
import json
import pathlib
from importlib import metadata
from typing import Annotated, TypedDict

import msgspec

from data_pipelines.reading.group_order import GroupFacts
from data_pipelines.reading.sampling import DrawFacts
from data_pipelines.schema import schema_version, typed_json
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.typed_json import Count, LabelText, Name, Tile
from lcjax.runs import SCHEMA_VERSION
from lcjax.version import __version__

FILE = "card.json"
_REMEDY = "put back what training wrote"
_PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "numpy")


class Split(TypedDict):
    """Which records a role of the run takes: see `Card.splits`."""

    spec: str
    records: Count
    id: str
    class_pixels: dict[LabelText, Count]
    warnings: list[str]


class Origin(TypedDict):
    """Where the initial values of a run came from: see `Card.weights`."""

    source: str
    sha256: str
    origin: str
    bands: str
    arrays: dict[str, Count]


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
      weights: where initial values came from, if they were not random: {"source": what config.init names, "sha256": of
        the file, "" of a workdir, "origin": whose layout, in words, "bands": rule of the first layer, "arrays": how
        many were taken, resized, adapted, replaced and missing}.
      sampling: how training records are drawn and which shares the classes have then; None where every record comes
        once an epoch.
      order: by which groups the training records are ordered in each epoch; None where they are not.
    """

    model: Name
    fusion: Name
    sensors: Annotated[tuple[Sensor, ...], msgspec.Meta(min_length=1, max_length=256)]
    legend: Legend
    tile: Tile
    dataset: Name
    splits: dict[Name, Split]
    versions: dict[str, str]
    data_in_memory: bool = False
    weights: Origin | None = None
    sampling: DrawFacts | None = None
    order: GroupFacts | None = None

    def to_json(self) -> str:
        """Returns the text of card.json."""
        return json.dumps(schema_version.stamp(dataclasses.asdict(self), SCHEMA_VERSION), indent=1)


def from_json(text: bytes | str, source: object = "the card of the checkpoint", remedy: str = _REMEDY) -> Card:
    """Parses what `Card.to_json` wrote.

    Args:
      text: JSON.
      source: name of the file, for messages.
      remedy: what to do about a card that cannot be read.

    Raises:
      InputError: the text is no card, or of another schema_version.
    """
    return schema_version.decode(text, Card, SCHEMA_VERSION, source, remedy)


def read(workdir: pathlib.Path) -> Card:
    """Reads card.json of a workdir or of an exported network.

    Raises:
      InputError: there is no card, or this version cannot read it.
    """
    path = workdir / FILE
    return from_json(typed_json.content(path, _REMEDY, "the card of a trained network"), path)


def versions() -> dict[str, str]:
    """Returns the versions of lcjax and of the libraries that a checkpoint depends on."""
    return {"lcjax": __version__} | {name: metadata.version(name) for name in _PACKAGES}
