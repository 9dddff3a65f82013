"""Fields of a config that do nothing beside others. Who sets one of them is told before the first step.

It is a warning and no refusal: a search over two fields (`lcjax sweep`) tries one where the other leaves it out.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_collections

from data_pipelines.reading import sampling
from lcjax.runs import config_fields


@dataclasses.dataclass(frozen=True)
class Need:
    """What a field needs of another one to do anything.

    Attributes:
      field: that does nothing else; at its default it is not spoken of.
      other: field that decides.
      acts: whether it does something with a value of `other`.
      text: such values in words.
    """

    field: str
    other: str
    acts: Callable[[Any], bool]
    text: str


def _is_positive(value: float) -> bool:
    return value > 0


_NEEDS = (
    Need("sampling.strength", "sampling.name", lambda name: name in sampling.METHODS, " or ".join(sampling.METHODS)),
    Need("class_weights_rule", "class_weights", _is_positive, "a number above 0"),
    Need("optimizer.clip_by", "optimizer.clip", _is_positive, "a number above 0"),
    Need("optimizer.no_decay", "optimizer.weight_decay", _is_positive, "a number above 0"),
    Need("optimizer.poly_power", "optimizer.schedule", lambda name: name == "poly", "poly"),
    Need("optimizer.plateau_factor", "optimizer.schedule", lambda name: name == "plateau", "plateau"),
    Need("optimizer.plateau_patience", "optimizer.schedule", lambda name: name == "plateau", "plateau"),
    Need("optimizer.reference_batch", "optimizer.batch_rule", lambda name: name != "none", "linear or sqrt"),
)
_OF_LABELS = ("class_weights", "class_weights_rule", "class_weights_fixed")  # what a task without labels never asks for


def warnings(config: ml_collections.ConfigDict, *, reads_labels: bool) -> list[str]:
    """Returns a line for each field that is set and does nothing.

    Args:
      config: of a run, checked.
      reads_labels: whether its task learns from labels.
    """
    values = config_fields.flat(config)
    fields = config_fields.FIELDS
    set_fields = {name for name in fields.keys() & values.keys() if _plain(values[name]) != fields[name].default}
    lines = [
        f"config.{need.field}={values[need.field]!r} does nothing with config.{need.other}={values[need.other]!r}; it "
        f"needs {need.text} there"
        for need in _NEEDS
        if need.field in set_fields and not need.acts(values[need.other])
    ]
    if not reads_labels:
        lines += [
            f"config.{name}={values[name]!r} does nothing: a {values['task']} run reads no labels"
            for name in _OF_LABELS
            if name in set_fields
        ]
    return lines


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
