"""Search spaces: for each field of a config that is searched, a line of text that says between what.

    optimizer.learning_rate=log 1e-5 1e-2       between the two, by its logarithm
    model.drop_path=uniform 0 0.3               between the two, evenly
    crop=uniform 64 256 step 32                 64, 96, ... 256
    loss=choice cross_entropy | focal           one of them

A file of configs holds such lines as SPACE, a dictionary of field and text; the command line as --space.
"""

import ast
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections

from data_pipelines.schema.errors import InputError
from lcjax.runs import config_fields

GRAMMAR = '"log LOW HIGH", "uniform LOW HIGH", "uniform LOW HIGH step STEP" or "choice A | B | C"'
# What a trial must not choose, and why: trials would be scored on something else, or nothing would be learned of it.
NOT_SEARCHED = {
    **dict.fromkeys(
        (
            "data_dir",
            "dataset",
            "legend",
            "resize",
            "split.train",
            "split.validation",
            "split.test",
            "task",
            "protocol",
            "labels",
            "least_share",
        ),
        "trials with other records or labels cannot be compared; make a study of each",
    ),
    **dict.fromkeys(
        ("evaluate_every", "total"),
        "trials are compared at the same evaluation; set it for all with --config.{field}=VALUE",
    ),
    **dict.fromkeys(
        ("probe.train", "probe.test", "log_every", "save_every", "threads", "workers", "cell", "recipe", "remat"),
        "it changes no score",
    ),
    "evaluation_batch_size": "it changes no score, but that of pretrain, which is of the places of one such batch",
    "monitor": "trials are compared by one score",
    "seed": "the best of several seeds is luck; compare seeds in `lcjax report`",
    "model.name": "the other fields of config.model belong to one network; make a study of each",
}
# Beside those, of one task.
_OF_PAIRS = {
    "crop": "places are told apart by their middle of this size; make a study of each",
    "views": "places are told apart by these views; make a study of each",
}
_NOT_SEARCHED_OF = {
    "contrastive": _OF_PAIRS,
    "vicreg": _OF_PAIRS,
    "masked": {"crop": "what is imagined is of this size; make a study of each"},
}
_OF_MASKED = ("masked.square", "masked.share")
_OF_VICREG = ("vicreg.invariance", "vicreg.variance", "vicreg.covariance")
# Fields that make a score another measure, by the score's name up to a "/": what is lower then need not be better.
_MEASURED_BY = {
    "loss": (
        "loss",
        "class_weights",
        "class_weights_rule",
        "class_weights_fixed",
        "temperature",
        *_OF_VICREG,
        *_OF_MASKED,
    ),
    "skill": _OF_MASKED,
    **dict.fromkeys(("alignment", "uniformity"), ("temperature", *_OF_VICREG)),  # which trade one for the other
}
_BOOLEANS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True)
class Span:
    """Numbers from `low` to `high`.

    Attributes:
      low, high: both are included.
      log: whether their logarithms are drawn evenly.
      step: distance of the numbers that are tried; None for all.
      whole: whether they are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    whole: bool = False

    @property
    def ends(self) -> list[Any]:
        """What must be valid, so that all between is."""
        return [self.low, self.high]

    def value(self, drawn: Any) -> Any:
        """The value of the field, for what was drawn."""
        return drawn

    def drawn(self, value: Any) -> Any:
        """What would have to be drawn for this value; None where it is not in the space."""
        if not self.low <= value <= self.high:
            return None
        steps = (value - self.low) / self.step if self.step else 0
        return value if math.isclose(steps, round(steps), abs_tol=1e-9) else None


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Some values, by what the user wrote for each."""

    values: Mapping[str, Any]

    @property
    def ends(self) -> list[Any]:
        """What must be valid."""
        return list(self.values.values())

    def value(self, drawn: Any) -> Any:
        """The value of the field, for what was drawn."""
        return self.values[drawn]

    def drawn(self, value: Any) -> Any:
        """What would have to be drawn for this value; None where it is not in the space."""
        return next((word for word, one in self.values.items() if one == value), None)


Space = dict[str, Span | OneOf]  # by dotted name of the field


def parse(lines: Mapping[str, str], config: ml_collections.ConfigDict) -> Space:
    """The space of some fields of a config.

    Args:
      lines: text by dotted name of the field.
      config: that they are fields of.

    Raises:
      InputError: a field is not there or is not to be searched, a text cannot be read, or a value is none that the
        field takes.
    """
    if not lines:
        raise InputError(f"the space is empty: expected a field or more, each as {GRAMMAR}")
    fields = config_fields.flat(config)
    space: Space = {}
    for field, line in lines.items():
        if field not in fields:
            raise InputError(f"space {field}: there is no such field; {config_fields.unknown(field, list(fields))}")
        if why := why_not(field, config):
            raise InputError(f"space {field}: is not searched: {why}")
        space[field] = _parsed(field, line, fields[field])
        for value in space[field].ends:
            config_fields.check_values({field: value}, "space config")
    return space


def why_not(field: str, config: ml_collections.ConfigDict) -> str:
    """Why a field of a config is not searched; empty where it can be."""
    if field in _MEASURED_BY.get(config.monitor.partition("/")[0], ()):
        return (
            f"config.monitor={config.monitor!r} is no longer the same measure where it differs; take another monitor, "
            "or make a study of each"
        )
    return (NOT_SEARCHED | _NOT_SEARCHED_OF.get(config.task, {})).get(field, "").format(field=field)


def from_flags(texts: Sequence[str]) -> dict[str, str]:
    """FIELD=TEXT of the command line as text by field. Raises InputError for what is not of this form, or twice."""
    lines: dict[str, str] = {}
    for one in texts:
        field, equals, line = one.partition("=")
        field = field.strip().removeprefix("config.")
        if not equals or not field:
            raise InputError(f"--space={one!r}: expected FIELD=TEXT, where TEXT is {GRAMMAR}")
        if field in lines:
            raise InputError(f"--space={one!r}: {field} was given before; expected each field once")
        lines[field] = line.strip()
    return lines


def default(config: ml_collections.ConfigDict) -> dict[str, str]:
    """The lines for a config whose file has no SPACE: rate, decay, loss, and what holds a network back."""
    rate, decay = config.optimizer.learning_rate, config.optimizer.weight_decay
    lines = {
        "optimizer.learning_rate": f"log {rate / 10:g} {rate * 10:g}" if rate else "log 0.0001 0.01",
        "optimizer.weight_decay": f"log {decay / 30:g} {min(decay * 30, 1000):g}" if decay else "uniform 0 0.1",
        "model.drop_path": "uniform 0 0.4",
        "augmentation.cutmix": "uniform 0 0.5",
        "class_weights": "uniform 0 1",
        "loss": "choice cross_entropy | cross_entropy + dice",
        "temperature": "log 0.05 1",
    }
    fields = config_fields.flat(config)
    if fields["class_weights_rule"] != "power" or fields["class_weights_fixed"]:
        del lines["class_weights"]
    # Pre-training takes no labels: neither weights of classes nor mixed images.
    labels = "probe.train" not in fields
    of_labels = ("augmentation.cutmix", "class_weights")
    taken = (name for name in lines if name in fields and (labels or name not in of_labels))
    return {name: lines[name] for name in taken if not why_not(name, config)}


def values(space: Space, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the fields by dotted name, for what was drawn of each."""
    return {field: one.value(drawn[field]) for field, one in space.items()}


def drawn_for(space: Space, config: ml_collections.ConfigDict) -> tuple[dict[str, Any], list[str]]:
    """What would have to be drawn for a config as it is, and the fields whose value is not in the space."""
    fields = config_fields.flat(config)
    drawn = {field: one.drawn(fields[field]) for field, one in space.items()}
    return drawn, [field for field, value in drawn.items() if value is None]


def _parsed(field: str, line: str, now: Any) -> Span | OneOf:
    """Raises InputError where the line cannot be read, or is not for a value such as `now`."""
    kind, _, rest = line.strip().partition(" ")
    where = f"space {field}={line!r:.100}"
    if kind == "choice":
        return _one_of(where, rest, now)
    if kind not in ("log", "uniform"):
        raise InputError(f"{where}: expected {GRAMMAR}")
    if isinstance(now, bool) or not isinstance(now, int | float):
        raise InputError(f'{where}: the field is no number (now {now!r:.60}); expected "choice A | B | C"')
    words = rest.split()
    if len(words) not in (2, 4) or (len(words) == 4 and words[2] != "step"):
        raise InputError(f"{where}: expected {GRAMMAR}")
    numbers = [_value(where, word, now) for word in (words if len(words) == 2 else (*words[:2], words[3]))]
    low, high, step = *numbers[:2], (numbers[2] if len(numbers) == 3 else None)
    if not low < high:
        raise InputError(f"{where}: LOW {low:g} is not below HIGH {high:g}; expected the smaller one first")
    if kind == "log" and low <= 0:
        raise InputError(f"{where}: LOW {low:g} has no logarithm; expected one above 0, or uniform")
    if kind == "log" and step is not None:
        raise InputError(f'{where}: log takes no step; expected "log LOW HIGH", or uniform')
    if step is not None and not 0 < step <= high - low:
        raise InputError(f"{where}: STEP {step:g}; expected one above 0 and at most {high - low:g}")
    if step is not None and not math.isclose((steps := (high - low) / step), round(steps), abs_tol=1e-9):
        last = low + step * math.floor(steps)
        raise InputError(f"{where}: HIGH {high:g} is no whole number of steps from LOW; expected such as {last:g}")
    return Span(low, high, kind == "log", step, isinstance(now, int))


def _one_of(where: str, rest: str, now: Any) -> OneOf:
    words = [word.strip() for word in rest.split("|")]
    if len(words) < 2 or not all(words):
        raise InputError(f"{where}: expected two values or more, as in \"choice A | B\"; write '' for an empty one")
    if len(set(words)) < len(words):
        raise InputError(f"{where}: a value stands there twice; expected each once")
    return OneOf({word: _value(where, word, now) for word in words})


def _value(where: str, word: str, now: Any) -> Any:
    """A word as a value of the type of `now`; InputError where it is none."""
    if isinstance(now, str):
        return "" if word in ("''", '""') else word
    try:
        if isinstance(now, bool):
            return _BOOLEANS[word.lower()]
        if isinstance(now, tuple | list):
            return type(now)(ast.literal_eval(f"({word.strip('()')},)"))
        number = type(now)(word)
    except (KeyError, ValueError, SyntaxError) as error:
        kinds = {bool: "true or false", int: "a whole number", float: "a number"}
        expected = kinds.get(type(now), "numbers with commas between them")
        found = f"found {word!r:.60}, expected {expected}, as the field is now {now!r:.60}"
        raise InputError(f"{where}: {found}") from error
    if not math.isfinite(number):
        raise InputError(f"{where}: found {word}, expected a finite number")
    return number
