"""Makes configs. What fields there are, and what each may be: lcjax/runs/config_fields.py.

A config file makes its config here and then sets what is its own:

    config = base.make(model="unet", tiny=True)
    config.dataset = "flair1"
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from data_pipelines.datasets import protocols
from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from lcjax.models import registry
from lcjax.runs.config_fields import ALL_FIELDS, FIELDS, MODEL, TASKS, Field, flat, meaning
from lcjax.weights import imagenet

__all__ = [
    "ALL_FIELDS",
    "FIELDS",
    "MODEL",
    "TASKS",
    "Field",
    "assign",
    "flat",
    "follow",
    "fusion_of",
    "make",
    "meaning",
    "nested",
    "rows",
]

_TYPES = {bool: "bool", int: "int", float: "float", str: "text", tuple: "tuple", list: "tuple"}

# They stand no rate as high as convolutions do, and small networks stand a higher one.
_TRANSFORMERS = ("swin_unet", "two_stream_swin", "swin_upernet", "vit_pyramid")
_RATES = {"convolutions": (1e-3, 1e-2), "transformers": (3e-4, 4e-3)}  # in full size, tiny


def rows(config: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Of every field of a config or a dictionary: dotted name, value, type and meaning, as text; in order of FIELDS."""
    places = {name: place for place, name in enumerate(ALL_FIELDS)}
    found = sorted(flat(config).items(), key=lambda item: places.get(item[0], _place_of_group(item[0], places)))
    return [(name, repr(value), _TYPES.get(type(value), ""), meaning(name)) for name, value in found]


def _place_of_group(name: str, places: Mapping[str, int]) -> int:
    """Beside the field of its group that FIELDS names: of model.depths, that of model.name; else the end."""
    group = name.partition(".")[0] + "."
    return next((place for known, place in places.items() if known.startswith(group)), len(places))


def make(
    model: str,
    size: str = "",
    *,
    task: str = "segmentation",
    tiny: bool = False,
    init: str = "random",
    freeze: str = "",
    recipe: str = "ours",
) -> ml_collections.ConfigDict:
    """A config of all FIELDS: the defaults, a network, and the learning rates that suit it.

    Args:
      model: family of the network.
      size: one of the family's sizes; empty takes the first.
      task: with the fields that TASKS has for it.
      tiny: for a run of a minute; a size of its own.
      init, freeze, recipe: the fields of these names.

    Raises:
      InputError: unknown model or size, or a size beside tiny.
    """
    if tiny and size:
        raise InputError(f"size={size},tiny=true: tiny is a size of its own; leave one of them out")
    fields = FIELDS | TASKS.get(task, {})
    config = ml_collections.ConfigDict(nested({name: field.value(tiny) for name, field in fields.items()}))
    plugins.allow_named_in({"model": {"name": model}})  # who makes a config names its network
    config.model = ml_collections.ConfigDict(registry.sized(model, "tiny" if tiny else size))
    config.task, config.init, config.freeze, config.recipe = task, init, freeze, recipe
    config.optimizer.learning_rate = _RATES["transformers" if model in _TRANSFORMERS else "convolutions"][tiny]
    if init == imagenet.NAME:
        config.scaling = imagenet.package(model).scaling
    if init != "random" and not freeze:
        config.optimizer.layer_decay = 0.5  # pre-trained layers move less the nearer they are to the image
    return config


def fusion_of(model: str) -> str:
    """How a network sees two sensors where nothing is asked: one of two streams each by itself, others as one image."""
    return "late" if model == "two_stream_swin" else "early"


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted name as dictionaries in each other: {"a.b": 1} is {"a": {"b": 1}}."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        *folders, key = name.split(".")
        at = found
        for folder in folders:
            at = at.setdefault(folder, {})
        at[key] = value
    return found


def follow(config: ml_collections.ConfigDict, protocol: str, lists: str = "") -> None:
    """Sets what belongs to a published protocol of the config's data set; nothing where it is empty.

    Args:
      config: whose data set is set.
      protocol: its name.
      lists: folder of the files that list its records, where it has such.

    Raises:
      InputError: the data set has no such protocol, lists are missing or given in vain, or the config is a recipe.
    """
    if not protocol:
        if lists:
            raise InputError(f"lists={lists}: are of a protocol; name it, as in protocol=copernicus_bench")
        return
    found = protocols.named(config.dataset, protocol)
    if config.recipe != "ours":
        raise InputError(
            f"protocol={protocol},recipe={config.recipe}: a recipe repeats a cell of the 2024 report on the report's "
            "own splits; leave one of them out"
        )
    config.protocol, config.legend = protocol, found.legend
    config.cell = ""  # of the 2024 report's tables, whose splits are others
    config.split.update(protocols.splits(found, lists))


def assign(config: ml_collections.ConfigDict, values: Mapping[str, Any]) -> None:
    """Sets fields by their dotted names."""
    for name, value in values.items():
        *folders, key = name.split(".")
        at = config
        for folder in folders:
            at = at[folder]
        at[key] = value
