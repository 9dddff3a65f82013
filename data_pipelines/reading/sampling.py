"""Which training record stands where, if not in a plain shuffle: by groups (group_order.py), or drawn by classes.

Records are drawn by the classes that they hold. Every method is one table A (records, classes) of how much a record
holds of a class. With n the sums of its columns, a record weighs

    w = sum over classes of A · n ** -strength

which is as if a class were drawn in proportion to n ** (1 - strength), and then one of its records in proportion to
A: at strength 1 every class is drawn alike, as in class-aware sampling (Shen, Lin and Huang 2016).
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypedDict

import numpy as np

from data_pipelines.reading import group_order
from data_pipelines.reading.interfaces import Dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Count, LabelText, Name, Number

UNIFORM = "uniform"
# A record's weight is so many of these: whole and coarse, since machines differ in the last digits of a power, and a
# run may go on elsewhere.
_UNITS = 2**32
_DIGITS = 9  # after the point, of shares in cards, which processes compare
_ALIKE = 1.05  # times an epoch that the most frequent record comes, below which drawing changes next to nothing
_DRAW = 2  # tells this draw at a position from that of its corner (loader.py)


def _presence(pixels_NxK: np.ndarray) -> np.ndarray:
    """1 where a record holds a pixel of a class."""
    return (pixels_NxK > 0).astype(np.float64)


def _shares(pixels_NxK: np.ndarray) -> np.ndarray:
    """The share of each class in the labelled pixels of a record."""
    return pixels_NxK / np.maximum(pixels_NxK.sum(axis=1, keepdims=True), 1)


METHODS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {"class_presence": _presence, "rarity": _shares}
NAMES = (UNIFORM, group_order.NAME, *METHODS)


class Order(Protocol):
    """Which record stands where: what follows from the position, the seed and a table alone."""

    def index(self, position: int, seed: int) -> int:
        """Returns which record stands at a position of the training stream."""
        ...

    @property
    def on_card(self) -> dict[str, Any]:
        """What the card says of it, by field."""
        ...

    def text(self, batch_size: int, seed: int) -> str:
        """Returns what it does, in words and numbers."""
        ...


class ClassDraws(TypedDict):
    """What drawing does to one class.

    Attributes:
      records: that hold it.
      pixels: its share of the labelled pixels, each record once.
      drawn: its share of the labelled pixels of what is drawn, on average.
      held: share of the draws whose record holds it, on average.
    """

    records: Count
    pixels: Number
    drawn: Number
    held: Number


class DrawFacts(TypedDict):
    """What a card tells of how records are drawn; `table` is a hash of the weights of all records in order."""

    name: Name
    strength: Number
    table: str
    never: Count
    most: Number
    classes: dict[LabelText, ClassDraws]


@dataclasses.dataclass(frozen=True)
class Draws:
    """Draws with replacement: position p of the training stream is a record that follows from p and the seed alone.

    Attributes:
      weights: (N,) int64, of each record; a record is drawn with probability weight / sum of all.
      facts: for the card and the log.
      names: of the classes, in the order of `facts`.
    """

    weights: np.ndarray
    facts: DrawFacts
    names: tuple[str, ...]

    def index(self, position: int, seed: int) -> int:
        """Returns which record stands at a position of the training stream."""
        raw = int(np.random.PCG64((seed, position, _DRAW)).random_raw())  # 64 bits, which no version of numpy changes
        return int(np.searchsorted(self._ends, raw * int(self._ends[-1]) >> 64, side="right"))

    @functools.cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.weights)

    @property
    def on_card(self) -> dict[str, Any]:
        """The field of a card that tells of it."""
        return {"sampling": self.facts}

    def text(self, batch_size: int, seed: int) -> str:
        """Returns what is drawn how often, as a line and a table with a line for each class; of any batch and seed."""
        del batch_size, seed
        facts = self.facts
        never = f"; {facts['never']:,} of them without a labelled pixel, never" if facts["never"] else ""
        alike = "; all but uniform: the records hold about the same classes" if facts["most"] < _ALIKE else ""
        width = max(len("class"), *map(len, self.names))
        lines = [
            f"{len(self.weights):,} records are drawn by {facts['name']} of strength {facts['strength']:g}, with "
            f"replacement{never}; the most frequent one {facts['most']:.1f} times an epoch{alike} (table "
            f"{facts['table']})",
            f"  {'class':<{width}}  records  of all pixels  of drawn pixels  in draws",
        ]
        for name, one in zip(self.names, facts["classes"].values(), strict=True):
            shares = f"{one['pixels']:>13.2%}  {one['drawn']:>15.2%}  {one['held']:>8.1%}"
            lines.append(f"  {name:<{width}}  {one['records']:>7,}  {shares}")
        return "\n".join(lines)


def of_split(dataset: Dataset, spec: str, name: str, strength: float) -> Order | None:
    """Returns the order of the records of a split; None for a plain shuffle.

    Args:
      dataset: as it is read: its legend says what is a class.
      spec: the split.
      name: one of NAMES.
      strength: 1 draws every class alike; less, those more that there is much of; more, those that are rare.

    Raises:
      InputError: an unknown name, no record of the split has a labelled pixel to be drawn by, or no two are known to be
        of one group.
    """
    if name == UNIFORM:
        return None
    if name == group_order.NAME:
        return group_order.of_split(dataset, spec)
    if name not in METHODS:
        raise InputError(f"config.sampling.name={name!r}: expected one of {', '.join(NAMES)}")
    return _draws(dataset, spec, name, strength)


def _draws(dataset: Dataset, spec: str, name: str, strength: float) -> Draws:
    pixels = dataset.record_pixels(spec)
    if not pixels.any():
        raise InputError(
            f"config.sampling.name={name!r}: no record of split {spec!r} of {dataset.name} {dataset.version} has a "
            f"labelled pixel to draw it by; set it to {UNIFORM}"
        )
    scored = dataset.legend.scored
    weights = weigh(pixels, name, strength)
    facts = _facts(pixels, weights, [land_class.id for land_class in scored], name, strength)
    return Draws(weights, facts, tuple(land_class.name for land_class in scored))


def weigh(pixels_NxK: np.ndarray, name: str, strength: float) -> np.ndarray:
    """Returns the weights (N,) int64 of records with so many labelled pixels of each class; 0 of one without any."""
    held = METHODS[name](pixels_NxK)
    sums = held.sum(axis=0)
    weights = held @ np.where(sums > 0, sums, 1.0) ** -strength  # of a class without a pixel nothing is held
    units = np.rint(weights / weights.sum() * _UNITS).astype(np.int64)
    return np.where(weights > 0, np.maximum(units, 1), 0)


def _facts(
    pixels_NxK: np.ndarray, weights_N: np.ndarray, ids_K: Sequence[int], name: str, strength: float
) -> DrawFacts:
    chances = weights_N / weights_N.sum()
    before, after = pixels_NxK.sum(axis=0), chances @ pixels_NxK
    present = pixels_NxK > 0
    return {
        "name": name,
        "strength": float(strength),
        "table": hashlib.sha256(weights_N.astype("<i8").tobytes()).hexdigest()[:12],
        "never": int(np.count_nonzero(weights_N == 0)),
        "most": round(float(chances.max() * len(chances)), _DIGITS),
        "classes": {
            str(label): {
                "records": int(np.count_nonzero(present[:, k])),
                "pixels": round(float(before[k] / before.sum()), _DIGITS),
                "drawn": round(float(after[k] / after.sum()), _DIGITS),
                "held": round(float(chances @ present[:, k]), _DIGITS),
            }
            for k, label in enumerate(ids_K)
        },
    }
