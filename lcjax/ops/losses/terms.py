"""The loss that `config.loss` says in words: a loss by name, with its parameters, or a weighted sum of several.

    loss   ::= term ("+" term)*
    term   ::= [weight "*"] name ["(" parameter "=" value ("," parameter "=" value)* ")"]

such as "cross_entropy + 0.5 * tversky(alpha=0.3, beta=0.7)". A name is one of ours, that of an entry point, or
package.module:attribute; parameters are the keyword arguments of its function.
"""

import dataclasses
import functools
import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import msgspec

from data_pipelines.schema import plugins
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.names import meant
from lcjax.ops.losses import emphasis, pixels, regions
from lcjax.ops.losses.interfaces import PixelLoss

PIXEL_LOSSES: Mapping[str, PixelLoss] = {
    "cross_entropy": pixels.cross_entropy,
    "focal": pixels.focal,
    "dice": regions.dice,
    "tversky": regions.tversky,
    "lovasz": regions.lovasz,
    "boundary_cross_entropy": emphasis.boundary_cross_entropy,
    "ohem_cross_entropy": emphasis.ohem_cross_entropy,
    "generalised_cross_entropy": pixels.generalised_cross_entropy,
    "symmetric_cross_entropy": pixels.symmetric_cross_entropy,
}
REGISTRY = plugins.Registry("config.loss", "lcjax.losses", PIXEL_LOSSES)

_EXPECTED = 'expected a loss such as "cross_entropy + 0.5 * tversky(alpha=0.3, beta=0.7)"'
_TERM = re.compile(
    r"""\s*(?:(?P<weight>[^\s*+()=,:]+(?:e[+-]?\d+)?)\s*\*\s*)?   # what is no number is refused by name
    (?P<name>[A-Za-z_][\w.:-]*)\s*
    (?:\((?P<parameters>[^()]*)\))?\s*""",
    re.VERBOSE,
)
_HEAVIEST = 1e6


@dataclasses.dataclass(frozen=True)
class Term:
    """One loss of a sum.

    Attributes:
      weight: that it is multiplied by.
      name: of the loss, and of its metric ("loss/dice").
      loss: the function, with its parameters.
      whole_batch: whether it is one number of all examples of a batch, which parts of the batch do not add up to.
    """

    weight: float
    name: str
    loss: PixelLoss
    whole_batch: bool


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """A `PixelLoss` that adds up others.

    Attributes:
      text: as `config.loss` says it.
      terms: in the same order.
    """

    text: str
    terms: tuple[Term, ...]

    def values(
        self, logits_BxHxWxK: jax.Array, labels_BxHxW: jax.Array, weights_K: jax.Array | None = None
    ) -> dict[str, jax.Array]:
        """Returns the loss of each term by its name, without its weight.

        Raises:
          InputError: a loss of another package returns no float32 scalar.
        """
        found = {term.name: term.loss(logits_BxHxWxK, labels_BxHxW, weights_K) for term in self.terms}
        for name, value in found.items():
            if jnp.shape(value) or jnp.result_type(value) != jnp.float32:
                raise InputError(
                    f"config.loss={name!r}: returned {jnp.result_type(value)} of shape {jnp.shape(value)}, expected a "
                    "float32 scalar, the mean over the batch (lcjax/ops/losses/interfaces.py: PixelLoss)"
                )
        return found

    def total(self, values: Mapping[str, jax.Array]) -> jax.Array:
        """Returns the sum of the terms, each by its weight."""
        weighted = [values[t.name] if t.weight == 1 else t.weight * values[t.name] for t in self.terms]
        return functools.reduce(jnp.add, weighted)

    def __call__(
        self, logits_BxHxWxK: jax.Array, labels_BxHxW: jax.Array, weights_K: jax.Array | None = None, /
    ) -> jax.Array:
        """Returns the sum; as of `PixelLoss`."""
        return self.total(self.values(logits_BxHxWxK, labels_BxHxW, weights_K))


def pixel_loss(text: str) -> WeightedSum:
    """Returns the loss that `config.loss` says. Raises InputError for what is no loss, with what was meant."""
    return WeightedSum(text, tuple(_term(text, *said) for said in _parsed(text)))


def check_names(name: str) -> None:
    """Looks whether there is something of each name in a `config.loss`, and imports nothing.

    Raises:
      InputError: the text says no loss, or a name is unknown or not allowed (plugins.Registry.check).
    """
    for _, one, _ in _parsed(name):
        REGISTRY.check(one)


def parameters(loss: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns what can be said in brackets after the name of a loss: its keyword arguments with defaults."""
    try:
        found = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # a callable that does not tell
        return {}
    return {one.name: one for one in found if one.kind is one.KEYWORD_ONLY and one.default is not one.empty}


def _parsed(text: str) -> list[tuple[float, str, dict[str, str]]]:
    """(weight, name, parameters as text) of each term."""
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{_asked(text)}: {_EXPECTED}")
    found: list[tuple[float, str, dict[str, str]]] = []
    at = 0
    while True:
        said = _TERM.match(text, at)
        if said is None or text[said.end() : said.end() + 1] not in ("+", ""):
            rest = text[at if said is None else said.end() :].strip()
            what = f"cannot read {rest!r}" if rest else "a loss is missing after the last +"
            raise InputError(f"{_asked(text)}: {what}; {_EXPECTED}")
        found.append((_weight(text, said["weight"]), said["name"], _assignments(text, said["parameters"])))
        at = said.end() + 1
        if at > len(text):
            break
    names = [name for _, name, _ in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"{_asked(text)}: names {twice[0]!r} twice; say each loss once, with one weight")
    return found


def _asked(text: object) -> str:
    return f"config.loss={text!r:.160}"


def _weight(text: str, said: str | None) -> float:
    weight = 1.0 if said is None else _number(said)
    if not 0 < weight <= _HEAVIEST:
        raise InputError(f"{_asked(text)}: the weight {said!r}: expected a number above 0 and at most {_HEAVIEST:,.0f}")
    return weight


def _number(said: str) -> float:
    """NaN where it is none."""
    try:
        return float(said)
    except ValueError:
        return math.nan


def _assignments(text: str, said: str | None) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, (said or "").split(","))):
        key, equals, value = (word.strip() for word in part.partition("="))
        if not key or not equals or not value or key in found:
            what = f"says {key!r} twice" if key in found else f"cannot read {part!r}"
            raise InputError(f"{_asked(text)}: {what}; expected parameter=value, each once")
        found[key] = value
    return found


def _term(text: str, weight: float, name: str, said: Mapping[str, str]) -> Term:
    loss = REGISTRY.find(name)
    if not callable(loss):
        raise InputError(
            f"config.loss={name!r}: found {type(loss).__name__}, expected a function (logits, labels, weights) -> loss"
        )
    known = parameters(loss) if said else {}
    values = {key: _value(f"{_asked(text)}: {name}", key, value, known) for key, value in said.items()}
    key, word = regions.WHOLE_BATCH
    return Term(weight, name, functools.partial(loss, **values) if values else loss, values.get(key) == word)


def _value(where: str, key: str, said: str, known: Mapping[str, inspect.Parameter]) -> Any:
    """The value of a parameter, of the type that the function declares."""
    if key not in known:
        has = f"it has {', '.join(f'{k}={p.default}' for k, p in known.items())}" if known else "it has none"
        raise InputError(f"{where} has no parameter {key!r}: {meant(key, known)}{has}")
    kind = known[key].annotation
    if isinstance(kind, str) or kind is inspect.Parameter.empty:
        kind = type(known[key].default)
    try:
        value = msgspec.convert(said, kind, strict=False)
    except (msgspec.ValidationError, TypeError) as error:  # the latter of a type that nothing can be read as
        raise InputError(f"{where}({key}={said}): expected {_wanted(kind)}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}({key}={said}): expected {_wanted(kind)}")
    return value


_KINDS: Mapping[Any, str] = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}
_LIMITS = (("ge", "at least {:g}"), ("gt", "above {:g}"), ("le", "at most {:g}"), ("lt", "below {:g}"))


def _wanted(kind: Any) -> str:
    """Such as "a number, at least 0 and at most 1", "image or batch"."""
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(typing.get_args(kind))
    kind, *more = typing.get_args(kind) or (kind,)
    limits = [
        words.format(limit)
        for meta in more
        for name, words in _LIMITS
        if (limit := getattr(meta, name, None)) is not None
    ]
    return ", ".join(filter(None, [_KINDS.get(kind, "another value"), " and ".join(limits)]))


def shown(loss: Callable[..., Any]) -> str:
    """Returns the parameters of a loss with their defaults, such as "(alpha=0.3, beta=0.7)"; empty for none."""
    known = parameters(loss)
    return f"({', '.join(f'{key}={one.default}' for key, one in known.items())})" if known else ""
