"""One place: fractal terrain, the land cover that follows it, and what the ground is made of.

Nothing here knows a sensor. Land cover carries the ids of DFC2020. Below the classes lies what they are made of: each
pixel is a mixture of a few materials, and classes share materials. Shrubland is clumps of trees in grass, a wetland is
pools in grass, a town and a rocky height have the same bright and dark parts on average; what tells them apart is
the pattern: clump size, pools, parcels with rows, street grid, smoothness.
"""

import dataclasses

import numpy as np
from scipy import ndimage

from data_pipelines.datasets.sample.noise import Draws, fractal, rank, smooth

MATERIALS = ("tree", "grass", "straw", "soil", "rock", "asphalt", "roof", "water", "reed")
FOREST, SHRUBLAND, GRASSLAND, WETLANDS, CROPLANDS, URBAN, BARREN, WATER = 1, 2, 4, 5, 6, 7, 9, 10


@dataclasses.dataclass(frozen=True)
class Place:
    """height: (H, W) metres; classes: (H, W) uint8 DFC2020 ids; cover: (H, W, len(MATERIALS)) shares that sum to 1."""

    height: np.ndarray
    classes: np.ndarray
    cover: np.ndarray


@dataclasses.dataclass(frozen=True)
class Grid:
    """A grid of rectangles turned by some angle: parcels or town blocks.

    cell: (H, W) int, the number of each pixel's rectangle; edge: (H, W) pixels to the nearest side; along, across:
    (H, W) coordinates in pixels; cells: how many numbers there are.
    """

    cell: np.ndarray
    edge: np.ndarray
    along: np.ndarray
    across: np.ndarray
    cells: int

    def mean(self, field: np.ndarray) -> np.ndarray:
        """The mean of a field over each pixel's rectangle, (H, W)."""
        count = np.maximum(np.bincount(self.cell.ravel(), minlength=self.cells), 1)
        return (np.bincount(self.cell.ravel(), field.ravel(), self.cells) / count)[self.cell]

    def draw(self, draws: Draws) -> np.ndarray:
        """One uniform number per rectangle, (H, W)."""
        return draws.uniform(shape=self.cells)[self.cell]


def place(draws: Draws, size: int = 256) -> Place:
    """One landscape of size x size pixels of 10 m."""
    height, river = _terrain(draws, size)
    level = rank(smooth(height, 4.0))
    slope = rank(np.hypot(*np.gradient(smooth(height, 8.0))))
    water = (rank(smooth(height, 2.5)) < draws.number(0.01, 0.2)) | (river < draws.number(0.0, 3.5))
    parcels = _grid(draws, size, (22.0, 48.0), (16.0, 34.0))
    blocks = _grid(draws, size, (9.0, 15.0), (7.0, 12.0))
    classes = _land_cover(draws, level, slope, water, parcels, blocks)
    still = np.where(water, smooth(np.where(water, height, 0.0), 6.0) / smooth(water + 1e-9, 6.0), height)
    return Place(still * draws.number(20.0, 75.0), classes, _cover(draws, classes, parcels, blocks))


def _terrain(draws: Draws, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Height (deviation about 1) with a valley carved into it, and the distance in pixels to the river in it."""
    course = fractal(draws, size, 4.2)
    away = np.abs(course) / np.maximum(np.hypot(*np.gradient(course)), 1e-3)
    height = fractal(draws, size, 3.6) - 0.8 * np.exp(-np.minimum(away, 200.0) / 18.0)
    return height, away


def _grid(draws: Draws, size: int, length: tuple[float, float], width: tuple[float, float]) -> Grid:
    """A turned grid whose columns are shifted against each other; side lengths are drawn from the two ranges."""
    angle = draws.number(0.0, np.pi)
    rows, columns = np.mgrid[:size, :size] - size / 2.0
    across = columns * np.cos(angle) + rows * np.sin(angle) + size
    along = rows * np.cos(angle) - columns * np.sin(angle) + size
    number = 2 * size
    sides_across = np.cumsum(draws.uniform(*width, shape=number))
    sides_along = np.cumsum(draws.uniform(*length, shape=number))
    column = np.searchsorted(sides_across, across)
    shifted = along + draws.uniform(0.0, length[1], shape=number)[column]
    row = np.searchsorted(sides_along, shifted)
    edge = np.minimum(sides_across[column] - across, sides_along[row] - shifted)
    cell = column * number + row
    names, cell = np.unique(cell, return_inverse=True)
    return Grid(cell.reshape(size, size), edge, along, across, len(names))


def _land_cover(
    draws: Draws, level: np.ndarray, slope: np.ndarray, water: np.ndarray, parcels: Grid, blocks: Grid
) -> np.ndarray:
    """The class that suits each pixel best; fields are decided parcel by parcel and towns block by block."""
    size = level.shape[0]
    taste = lambda deviation: deviation * float(draws.normal())  # what this tile has more or less of  # noqa: E731
    patch = lambda: fractal(draws, size, 4.4, largest=110.0)  # noqa: E731
    shore = ndimage.distance_transform_edt(~water)
    suits = {
        FOREST: 0.3 + 1.2 * (slope - 0.5) + 0.75 * patch() + taste(0.5),
        SHRUBLAND: 0.15 + 1.2 * (level - 0.5) + 0.75 * patch() + taste(0.5),
        GRASSLAND: 0.05 + 0.5 * (0.5 - slope) + 0.75 * patch() + taste(0.4),
        WETLANDS: 1.35 - np.minimum(shore, 60.0) / 12.0 + 0.7 * patch() + taste(0.3),
        BARREN: 0.25 + 3.2 * (level - 0.7) + 0.75 * patch() + taste(0.4),
    }
    ids = np.array(list(suits), np.uint8)
    fields = np.stack(list(suits.values()))
    classes = ids[np.argmax(fields, axis=0)]
    best = np.max(fields, axis=0)

    farmed = 0.75 + 1.3 * (0.6 - slope) + 0.6 * patch() + taste(0.5) - best
    fields_here = (parcels.mean(farmed) > 0) & (parcels.mean(water) < 0.2)
    meadow = parcels.draw(draws) < 0.2
    classes = np.where(fields_here, np.where(meadow, GRASSLAND, CROPLANDS), classes)

    town = np.full(level.shape, -9.0)
    rows, columns = np.mgrid[:size, :size]
    for _ in range(int(draws.whole(1, 4))):
        row, column = draws.uniform(0, size, shape=2)
        radius = draws.number(12.0, 52.0)
        town = np.maximum(town, 1.0 - np.hypot(rows - row, columns - column) / radius)
    built = blocks.mean(town + 0.25 * patch() - 0.5 * (slope > 0.85) - 0.6 * water) > 0.0
    classes = np.where(built, URBAN, classes)
    return np.where(water, WATER, classes).astype(np.uint8)


def _cover(draws: Draws, classes: np.ndarray, parcels: Grid, blocks: Grid) -> np.ndarray:
    """Shares of MATERIALS by class and pattern, with edges mixed over about one pixel."""
    size = classes.shape[0]
    field = lambda exponent, largest: fractal(draws, size, exponent, largest)  # noqa: E731
    share = lambda x: np.clip(x, 0.0, 1.0)  # noqa: E731
    dryness = share(draws.number(0.2, 0.5) + 0.18 * field(3.4, 64.0))  # of grass, the same for all that grows here
    clumps = field(3.8, 5.0)
    pools = field(3.8, 5.0)
    fine = draws.normal(classes.shape)

    # Every class as {material: share field}; what is left over is grass and straw by dryness.
    closed = share(0.82 + 0.10 * field(3.0, 24.0) + 0.08 * fine)
    bush = share(0.42 + 0.9 * clumps)
    pool = share(0.38 + 0.75 * pools)
    state, period = parcels.draw(draws), 4.0 + 2.5 * parcels.draw(draws)
    rows = 0.5 + 0.5 * np.sin(2 * np.pi * np.where(parcels.draw(draws) < 0.5, parcels.along, parcels.across) / period)
    ripe = share(4.0 * (state - 0.42))
    bare = share(6.0 * (state - 0.72))
    furrow = share(0.8 * rows + 0.03 * fine)
    street = blocks.edge < 1.6
    house = draws.normal(classes.shape)
    garden = blocks.draw(draws) * 0.55
    stone = share(0.55 + 0.25 * field(3.6, 40.0) + 0.03 * fine)
    roof = np.where(street, 0.0, share(0.62 - garden + 0.35 * house))
    paved = np.where(street, 0.85, share(0.28 - 0.2 * garden - 0.15 * house))
    recipes = {
        FOREST: {"tree": closed},
        SHRUBLAND: {"tree": 0.95 * bush, "soil": 0.05 * (1 - bush)},
        GRASSLAND: {"tree": 0.10 * share(clumps - 1.0), "soil": share(0.32 + 0.22 * field(3.8, 40.0))},
        WETLANDS: {"water": 0.5 * pool, "reed": 0.15 * (1 - pool), "tree": 0.3 * share(clumps)},
        CROPLANDS: {
            "soil": furrow * (1 - bare) * (1 - ripe) + bare * (0.5 + 0.5 * rows),
            "straw": (1 - furrow) * (1 - bare) * ripe,
            "grass": (1 - bare) * np.where(ripe > 0.5, furrow, 1 - furrow),
        },
        URBAN: {"roof": roof, "asphalt": paved, "tree": 0.4 * (1 - np.maximum(roof + paved, 0)).clip(0)},
        BARREN: {"rock": 0.85 * stone, "soil": 0.85 * (1 - stone)},
        WATER: {"water": np.ones(classes.shape)},
    }
    cover = np.zeros((*classes.shape, len(MATERIALS)))
    grass, straw = MATERIALS.index("grass"), MATERIALS.index("straw")
    for class_id, recipe in recipes.items():
        here = classes == class_id
        for material, amount in recipe.items():
            cover[here, MATERIALS.index(material)] = amount[here]
        total = cover[here].sum(axis=1, keepdims=True)
        cover[here] /= np.maximum(total, 1.0)
        rest = np.maximum(1.0 - total[:, 0], 0.0)
        cover[here, grass] += rest * (1.0 - dryness[here])
        cover[here, straw] += rest * dryness[here]
    return smooth(_litter(draws, classes, cover), 0.55)


def _litter(draws: Draws, classes: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Single trees, tracks, heaps: each pixel of land holds some of a material that says nothing of its class."""
    amount = np.where(classes == WATER, 0.02, 0.5) * draws.uniform(shape=classes.shape) ** 2
    material = draws.whole(0, len(MATERIALS) - 2, shape=classes.shape)
    litter = material[:, :, None] == np.arange(len(MATERIALS))
    return (1.0 - amount[:, :, None]) * cover + amount[:, :, None] * litter
