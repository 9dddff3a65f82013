"""Legends: class ids, names and colours as published, and which ids are scored.

A network's classes are the scored ids of its legend in ascending order (class index 0, 1, ...); every other id is
ignored in training and scoring. Maps carry the ids of the legend, with 255 for no data.

Sources: DFC2020 ids, names and palette (Robinson et al. 2021; Liebel & Schmitt 2020), the eight scored classes of
Scheibenreif et al. 2022; FLAIR-1 ids, names and palette (Garioud et al. 2022).
"""

import dataclasses

import numpy as np

IGNORE = 255  # class index of a pixel that is neither trained on nor scored; also nodata in maps


@dataclasses.dataclass(frozen=True)
class LandClass:
    id: int
    name: str
    colour: str  # "#rrggbb"


@dataclasses.dataclass(frozen=True)
class Legend:
    """The classes of one data set. `ignored` ids may occur in labels but are not classes of the network."""

    name: str
    classes: tuple[LandClass, ...]
    ignored: tuple[int, ...] = ()

    @staticmethod
    def from_dict(fields: dict) -> "Legend":
        """The legend whose `dataclasses.asdict` has been JSON. Raises TypeError or KeyError for others."""
        classes = tuple(LandClass(**land_class) for land_class in fields["classes"])
        return Legend(fields["name"], classes, tuple(fields["ignored"]))

    @property
    def scored(self) -> tuple[LandClass, ...]:
        """The network's classes, in the order of their class index."""
        return tuple(c for c in sorted(self.classes, key=lambda c: c.id) if c.id not in self.ignored)

    @property
    def allowed_ids(self) -> tuple[int, ...]:
        """Every id that a label raster may hold."""
        return tuple(sorted({c.id for c in self.classes} | set(self.ignored) | {IGNORE}))

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

    def palette(self) -> np.ndarray:
        """Colours by label id, (256, 3) uint8; black where the legend names no class."""
        table = np.zeros((256, 3), np.uint8)
        for land_class in self.classes:
            table[land_class.id] = [int(land_class.colour[i : i + 2], 16) for i in (1, 3, 5)]
        return table


DFC2020 = Legend(
    name="dfc2020",
    classes=(
        LandClass(1, "Forest", "#009900"),
        LandClass(2, "Shrubland", "#c6b044"),
        LandClass(3, "Savanna", "#fbff13"),
        LandClass(4, "Grassland", "#b6ff05"),
        LandClass(5, "Wetlands", "#27ff87"),
        LandClass(6, "Croplands", "#c24f44"),
        LandClass(7, "Urban/Built-up", "#a5a5a5"),
        LandClass(8, "Snow/Ice", "#69fff8"),
        LandClass(9, "Barren", "#f9ffa4"),
        LandClass(10, "Water", "#1c0dff"),
    ),
    ignored=(0, 3, 8),
)
FLAIR1 = Legend(
    name="flair1",
    classes=(
        LandClass(1, "building", "#db0e9a"),
        LandClass(2, "pervious surface", "#938e7b"),
        LandClass(3, "impervious surface", "#f80c00"),
        LandClass(4, "bare soil", "#a97101"),
        LandClass(5, "water", "#1553ae"),
        LandClass(6, "coniferous", "#194a26"),
        LandClass(7, "deciduous", "#46e483"),
        LandClass(8, "brushwood", "#f3a60d"),
        LandClass(9, "vineyard", "#660082"),
        LandClass(10, "herbaceous vegetation", "#55ff00"),
        LandClass(11, "agricultural land", "#fff30d"),
        LandClass(12, "plowed land", "#e4df7c"),
        LandClass(13, "swimming pool", "#3de6eb"),
        LandClass(14, "snow", "#ffffff"),
        LandClass(15, "clear cut", "#8ab3a0"),
        LandClass(16, "mixed", "#6b714f"),
        LandClass(17, "ligneous", "#c5dc42"),
        LandClass(18, "greenhouse", "#9999ff"),
        LandClass(19, "other", "#000000"),
    ),
)
LEGENDS = {legend.name: legend for legend in (DFC2020, FLAIR1)}
