"""Takes the paths of this machine out of what goes to a hub: of an absolute path its last part stays.

Fields are treated by what they are: paths and splits are known to be such, spaces and all; in prose paths are found by
their looks; names of classes, bands and data sets are never touched, whatever they look like.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from data_pipelines.schema import splits
from lcjax.runs import config_fields
from lcjax.runs.model_card import Card

_DATA = "data"  # what config.data_dir becomes
_ABSOLUTE = re.compile(r"\s*(?:file:|~|[A-Za-z]:[\\/]|[\\/])", re.IGNORECASE)
# In prose; a slash in a unit or an address is none. Only the last part ends at a bracket or a colon.
_WITHIN = re.compile(
    r"(?<![\w.:/~-])(?:file:[\\/]{0,2}|list:)?(?:~|[A-Za-z]:(?=[\\/]))?[\\/](?:[^\s,;'\"|\\/]+[\\/])+[^\s,;:'\"()\[\]|+\\/]*",
    re.IGNORECASE,
)


def of_path(text: str) -> str:
    """The last part of an absolute path, or of an address of a file; any other text as it is."""
    return _last(text) if _ABSOLUTE.match(text) else text


def of_prose(text: str) -> str:
    """A text for people with the last part of each absolute path in it."""
    return _WITHIN.sub(lambda found: _last(found[0]), text)


def of_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A config; of the fields that lcjax knows, only those that hold paths are touched."""
    return {name: _of_field(name, value) for name, value in fields.items()}


def _of_field(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _of_field(f"{name}.{key}", one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_of_field(name, one) for one in value]
    if not isinstance(value, str) or (name in config_fields.ALL_FIELDS and name not in _HOLD_PATHS):
        return value
    return _DATA if name == "data_dir" else of_path(splits.without_folders(value))


_HOLD_PATHS = ("data_dir", "init", "split.train", "split.validation", "split.test")


def of_card(card: Card) -> Card:
    """A card; its legend, its sensors and its data set are not touched."""
    weights = card.weights and card.weights | {"source": of_path(card.weights["source"])}
    return dataclasses.replace(
        card, splits={role: of_split(split) for role, split in card.splits.items()}, weights=weights
    )


def of_split(split: Mapping[str, Any]) -> Any:
    """A split of a card, an evaluation or a calibration."""
    plain = {**split, "spec": splits.without_folders(split["spec"])}
    if "warnings" in split:
        plain["warnings"] = list(map(of_prose, split["warnings"]))
    return plain


def of_evaluation(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation told."""
    plain = {**fields, "split": of_split(fields["split"])}
    return plain | {"note": of_prose(fields["note"])} if "note" in fields else plain


def _last(path: str) -> str:
    return pathlib.PureWindowsPath(path.strip()).name  # takes both slashes
