"""An order of records in which neighbours on the ground, those of one group, lie as far from each other as they can.

A batch of neighbours is a batch of places that look alike: in contrastive pre-training they are false negatives, and
anywhere they tell less than places from all over. Each epoch puts the records of a group in a random order, and record
j of its n at the place (j + u) / n of the epoch, with one random u from 0 to 1 for the group: evenly, as far apart as
can be. Sorted by place that is a permutation, of which any stretch holds of each group about its share, and no more
than one or two above it. Nothing of it depends on the batch size.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from data_pipelines.reading.interfaces import Dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Count, Name

NAME = "spread_groups"
_ORDER = 3  # tells the draws of an epoch's order from others at a seed and a number (loader.py, sampling.py)


class GroupFacts(TypedDict):
    """What a card tells of such an order; `table` is a hash of which records are of one group.

    Attributes:
      name: NAME.
      groups: of two records or more.
      largest: records of the largest group.
      alone: records that share a group with no other one.
      table: see above.
    """

    name: Name
    groups: Count
    largest: Count
    alone: Count
    table: str


@dataclasses.dataclass(frozen=True, eq=False)  # each is a key of its own in the cache below
class GroupOrder:
    """The order of some records by their groups.

    Attributes:
      labels_N: (N,) int64, the number of each record's group, from 0 on in the order of their first records.
    """

    labels_N: np.ndarray

    def index(self, position: int, seed: int) -> int:
        """Returns which record stands at a position of the training stream."""
        epoch, offset = divmod(position, len(self.labels_N))
        return int(_permutation(self, seed, epoch)[offset])

    @functools.cached_property
    def sizes_G(self) -> np.ndarray:
        """(G,) int64, the records of each group."""
        return np.bincount(self.labels_N)

    @property
    def facts(self) -> GroupFacts:
        """What the card says of it."""
        return {
            "name": NAME,
            "groups": int(np.count_nonzero(self.sizes_G > 1)),
            "largest": int(self.sizes_G.max()),
            "alone": int(np.count_nonzero(self.sizes_G == 1)),
            "table": hashlib.sha256(self.labels_N.astype("<i8").tobytes()).hexdigest()[:12],
        }

    @property
    def on_card(self) -> dict[str, GroupFacts]:
        """The field of a card that tells of it."""
        return {"order": self.facts}

    def pairs(self, batch_size: int, seed: int) -> tuple[float, float]:
        """Returns how many pairs of one group a batch holds, on average: in the first epoch, and in a plain shuffle."""
        count = len(self.labels_N)
        size = min(batch_size, count)
        batches = self.labels_N[_permutation(self, seed, 0)][: count // size * size].reshape(-1, size)
        found = sum(_pairs(np.unique(batch, return_counts=True)[1]) for batch in batches) / len(batches)
        return float(found), float(_pairs(self.sizes_G) * size * (size - 1) / max(count * (count - 1), 1))

    def text(self, batch_size: int, seed: int) -> str:
        """Returns a line of what it does to a batch."""
        facts = self.facts
        size = min(batch_size, len(self.labels_N))
        found, shuffled = self.pairs(batch_size, seed)
        alone = f", and {facts['alone']:,} of none or alone in theirs" if facts["alone"] else ""
        return (
            f"{len(self.labels_N):,} records, of {facts['groups']:,} groups of up to {facts['largest']:,}{alone}, come "
            f"once an epoch, those of a group evenly over it: of the {size * (size - 1) // 2:,} pairs in a batch of "
            f"{size:,}, {found:,.1f} are of one group, and {shuffled:,.1f} in a plain shuffle (table {facts['table']})"
        )


def of_split(dataset: Dataset, spec: str) -> GroupOrder:
    """Returns the order of a split's records.

    Raises:
      InputError: no two of them are known to be of one group.
    """
    labels = group_numbers([origin.group for origin in dataset.origins(spec)])
    if len(labels) == labels.max() + 1:
        raise InputError(
            f"config.sampling.name={NAME!r}: no two records of split {spec!r} of {dataset.name} {dataset.version} are "
            "known to be of one group, so that there is nothing to spread; name the groups where the data are prepared "
            "(docs/own_data.md), or set it to uniform"
        )
    return GroupOrder(labels)


def group_numbers(groups: Sequence[str]) -> np.ndarray:
    """Returns numbers for the groups of records, (N,) int64; a record without a group, "", is one by itself."""
    known: dict[str | int, int] = {}
    return np.array([known.setdefault(group or place, len(known)) for place, group in enumerate(groups)], np.int64)


def _pairs(counts: np.ndarray) -> float:
    """The number of pairs within groups of so many."""
    return float(np.sum(counts * (counts - 1)) / 2)


@functools.lru_cache(maxsize=4)  # threads read ahead into the next epoch
def _permutation(order: GroupOrder, seed: int, epoch: int) -> np.ndarray:
    generator = np.random.default_rng((seed, epoch, _ORDER))
    shuffled_N = generator.permutation(len(order.labels_N))
    phases_G = generator.random(len(order.sizes_G))
    by_group_N = shuffled_N[np.argsort(order.labels_N[shuffled_N], kind="stable")]
    groups_N = order.labels_N[by_group_N]
    first_G = np.cumsum(order.sizes_G) - order.sizes_G
    number_N = np.arange(len(groups_N)) - first_G[groups_N]  # of each record in its group
    places_N = (number_N + phases_G[groups_N]) / order.sizes_G[groups_N]
    return by_group_N[np.argsort(places_N, kind="stable")]
