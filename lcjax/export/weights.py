"""The arrays of an exported network as .safetensors: by our names, and by those of other libraries."""

import dataclasses
import logging
import pathlib
from collections.abc import Mapping

import jax
import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.engine import initial, restore
from lcjax.weights import arrival, inverse, safetensors_format
from lcjax.weights.layout import Layout
from lcjax.weights.layouts import ALL

_log = logging.getLogger(__name__)

OURS = "parameters.safetensors"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which files are wanted beside the program.

    Attributes:
      ours: whether one by our names.
      layout: of the origin by whose names one is wanted; None for none.
    """

    ours: bool
    layout: Layout | None


@dataclasses.dataclass(frozen=True)
class _File:
    """What a file holds: arrays by name, and the key and text of its metadata."""

    arrays: Mapping[str, np.ndarray]
    key: str
    text: str


def wanted(ours: bool, layout: str) -> Wanted:
    """What two flags ask for. Raises InputError for a layout that is not known; "" is none."""
    known = {one.name: one for one in ALL if not one.refused}
    if layout and layout not in known:
        raise InputError(f"--layout={layout}: expected one of {', '.join(known)}")
    return Wanted(ours, known.get(layout))


def files(trained: restore.Trained, asked: Wanted, where: str) -> dict[str, _File]:
    """The wanted files of a network by name: ours with the card in it, theirs as PyTorch's libraries have them.

    Raises:
      InputError: the layout is not of such a network; `where` begins the message.
    """
    found = {}
    arrays = jax.device_get(trained.parameters | trained.statistics) if asked.ours or asked.layout else {}
    if asked.ours:
        found[OURS] = _File(arrays, initial.CARD, trained.card.to_json())
    if asked.layout:
        if (model := trained.config.model.name) not in asked.layout.models:
            raise InputError(
                f"{where}, --layout={asked.layout.name}: is of {', '.join(asked.layout.models)}, and this network is "
                f"{model}; `lcjax info weights` lists the layouts"
            )
        theirs, left = inverse.theirs(arrays, asked.layout, f"{where}, --layout={asked.layout.name}")
        parts = ", ".join(dict.fromkeys(arrival.part_of(path) for path in left))
        name = f"{asked.layout.name}.safetensors"
        _log.info("%s: %d arrays; left out, as it has no names for them: %s", name, len(theirs), parts or "none")
        found[name] = _File(theirs, "format", "pt")
    return found


def write(folder: pathlib.Path, found: Mapping[str, _File]) -> None:
    """Writes files by name."""
    for name, one in found.items():
        safetensors_format.write(folder / name, one.arrays, one.key, one.text)
