"""Legends: what the class ids of a data set mean, and which of them are scored.

A network's classes are the scored ids of its legend in ascending order (class index 0, 1, ...); every other id is
ignored in training and scoring. Maps carry the ids of the legend, with 255 for no data, unless a class is written as
another number: 255 itself may be a class of masks and maps, which inside (labels in shards, statistics, scores) has
another id, for there it is no label. The tables of published data sets are in their folders: sen12ms/legend.py,
dfc2020/legend.py, flair1/legend.py.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.schema import names
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import LabelId, Name

MOST_CLASSES = 255  # so that one of the numbers of a byte is left for no data
IGNORE = 255  # class index of a pixel that is neither trained on nor scored; also nodata in maps, mostly


@dataclasses.dataclass(frozen=True)
class LandClass:
    """One class of a legend: the id in labels and maps, and how it is shown.

    Attributes:
      id: in labels, statistics and scores: 0 to 254.
      colour: "#rrggbb".
      written: the number that masks and maps hold in place of the id; None where they hold the id.
    """

    id: LabelId
    name: Name
    colour: str
    written: LabelId | None = None

    @property
    def value(self) -> int:
        """The number of the class in masks and maps."""
        return self.id if self.written is None else self.written

    def __post_init__(self) -> None:
        """Raises InputError for a name or a colour that cannot be: both go into pages, styles and tables."""
        names.check(self.name, "name")
        names.colour(self.colour)


@dataclasses.dataclass(frozen=True)
class Legend:
    """The classes of one data set.

    Attributes:
      ignored: ids that may occur in labels but are not classes of the network.
      merges: (stored id, id) of the stored ids that this legend reads as another one of its own; the others stay.
    """

    name: Name
    classes: tuple[LandClass, ...]
    ignored: tuple[LabelId, ...] = ()
    merges: tuple[tuple[LabelId, LabelId], ...] = ()

    def __post_init__(self) -> None:
        """Raises InputError for a legend that cannot be."""
        for field in ("id", "name", "value"):
            values = [getattr(land_class, field) for land_class in self.classes]
            if twice := [value for place, value in enumerate(values) if value in values[:place]]:
                raise InputError(f"classes: the {field} {twice[0]} stands there twice; expected each {field} once")
        if not self.scored:
            raise InputError(f"classes: found {len(self.classes)}, none of which is scored; expected at least one")

    @property
    def scored(self) -> tuple[LandClass, ...]:
        """The network's classes, in the order of their class index."""
        return tuple(c for c in sorted(self.classes, key=lambda c: c.id) if c.id not in self.ignored)

    @property
    def nodata(self) -> int:
        """The number of maps where there is no data: 255, or the largest below that no class is written as."""
        taken = {land_class.value for land_class in self.classes}
        return max(set(range(IGNORE + 1)) - taken)

    @property
    def allowed_ids(self) -> tuple[int, ...]:
        """Every id that labels may hold."""
        return tuple(sorted({c.id for c in self.classes} | set(self.ignored) | {IGNORE}))

    @property
    def allowed_values(self) -> tuple[int, ...]:
        """Every number that masks may hold."""
        nameless = set(self.ignored) - {c.id for c in self.classes}
        return tuple(sorted({c.value for c in self.classes} | nameless | {self.nodata}))

    def read_as(self) -> np.ndarray:
        """A table (256,) uint8: stored id -> id of this legend."""
        table = np.arange(256, dtype=np.uint8)
        for stored, merged in self.merges:
            table[stored] = merged
        return table

    def index_of_id(self) -> np.ndarray:
        """A table (256,) uint8: label id -> class index, or IGNORE."""
        table = np.full(256, IGNORE, np.uint8)
        for index, land_class in enumerate(self.scored):
            table[land_class.id] = index
        return table

    def id_of_index(self) -> np.ndarray:
        """A table (256,) uint8: class index -> label id; IGNORE stays IGNORE."""
        table = np.full(256, IGNORE, np.uint8)
        for index, land_class in enumerate(self.scored):
            table[index] = land_class.id
        return table

    def value_of_index(self) -> np.ndarray:
        """A table (256,) uint8: class index -> number in maps; `nodata` where there is no class."""
        table = np.full(256, self.nodata, np.uint8)
        for index, land_class in enumerate(self.scored):
            table[index] = land_class.value
        return table

    def id_of_value(self) -> np.ndarray:
        """A table (256,) uint8: number in masks -> label id; numbers that are not written stay, those left are IGNORE.

        Where 255 is a class, the number that stands for no label is `nodata`.
        """
        table = np.arange(256, dtype=np.uint8)
        if self.nodata != IGNORE:
            table[[self.nodata, *(c.id for c in self.classes if c.written is not None)]] = IGNORE
        for land_class in self.classes:
            table[land_class.value] = land_class.id
        return table

    def palette(self) -> np.ndarray:
        """Colours by label id, (256, 3) uint8; black where the legend names no class."""
        return self._colours({land_class.id: land_class for land_class in self.classes})

    def map_palette(self) -> np.ndarray:
        """Colours by number in maps, (256, 3) uint8; black where the legend names no class."""
        return self._colours({land_class.value: land_class for land_class in self.classes})

    def _colours(self, classes: Mapping[int, LandClass]) -> np.ndarray:
        table = np.zeros((256, 3), np.uint8)
        for number, land_class in classes.items():
            table[number] = [int(land_class.colour[i : i + 2], 16) for i in (1, 3, 5)]
        return table


def named(legends: Sequence[Legend], name: str) -> Legend:
    """The legend of this name, or the first one where it is empty. Raises InputError for a name that none has."""
    found = [legend for legend in legends if name in ("", legend.name)]
    if not found:
        names = ", ".join(legend.name for legend in legends)
        raise InputError(f"config.legend={name!r}: the data set has no such legend; expected one of {names}")
    return found[0]
