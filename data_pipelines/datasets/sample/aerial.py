"""An aerial patch in the manner of FLAIR-1: red, green, blue, near infrared and height above ground at 0.2 m.

Fields, vineyards, woods, ponds, a road with houses, gardens and pools. Classes carry the ids of FLAIR-1.
"""

import numpy as np

from data_pipelines.datasets.sample.noise import Draws, fractal, smooth

BUILDING, PERVIOUS, IMPERVIOUS, BARE, WATER, CONIFEROUS, DECIDUOUS, BRUSH = 1, 2, 3, 4, 5, 6, 7, 8
VINEYARD, HERBACEOUS, FARMED, PLOWED, POOL, GREENHOUSE = 9, 10, 11, 12, 13, 18

# Digital numbers of red, green, blue, near infrared in full sun.
_COLOUR = {
    BUILDING: (168, 122, 104, 128),
    PERVIOUS: (158, 150, 132, 142),
    IMPERVIOUS: (132, 131, 128, 116),
    BARE: (172, 140, 108, 148),
    WATER: (52, 72, 80, 32),
    CONIFEROUS: (46, 66, 56, 98),
    DECIDUOUS: (62, 88, 62, 142),
    BRUSH: (86, 102, 74, 134),
    VINEYARD: (96, 112, 78, 138),
    HERBACEOUS: (108, 128, 86, 156),
    FARMED: (124, 138, 88, 160),
    PLOWED: (158, 128, 102, 132),
    POOL: (88, 182, 202, 60),
    GREENHOUSE: (206, 210, 212, 196),
}
_FIELDS = (HERBACEOUS, FARMED, PLOWED, VINEYARD, BARE, FARMED, HERBACEOUS, BRUSH)
_PIXEL = 0.2  # metres
_STEPS_PER_METRE = 5.0  # of the elevation band


def patch(draws: Draws, zone: str, size: int = 512) -> tuple[np.ndarray, np.ndarray]:
    """Draws the image (H, W, 5) uint8 and the mask (H, W) uint8, with ids 1 to 19, of a patch.

    Args:
      draws: where randomness comes from.
      zone: such as "AU": of A(griculture), U(rban), N(atural) and F(orest) the first prevails.
      size: height and width in pixels.
    """
    rows, columns = np.mgrid[:size, :size].astype(np.float64)
    angle = draws.number(0.0, np.pi)
    along = rows * np.cos(angle) - columns * np.sin(angle)
    across = rows * np.sin(angle) + columns * np.cos(angle)

    # Fields side by side, each with one use; rows of plants run along them.
    sides = np.cumsum(draws.uniform(90.0, 220.0, shape=32)) - 2.0 * size
    strip = np.searchsorted(sides, across)
    uses = np.array(_FIELDS)[draws.whole(0, len(_FIELDS), shape=33)]
    mask = uses[strip]
    height = np.zeros((size, size))
    planted = (mask == VINEYARD) & (np.sin(2 * np.pi * across / 11.0) > 0.1)
    height[planted] = 1.3
    height[mask == BRUSH] = 1.5
    if "N" in zone or "F" in zone:
        pond = fractal(draws, size, 4.0)
        mask = np.where(pond < draws.number(-1.7, -1.0), WATER, mask)
        mask = np.where((pond > 0.9) & (mask != WATER), BRUSH, mask)
        height = np.where((mask == WATER) | (mask == BRUSH), (mask == BRUSH) * 1.5, height)

    _trees(draws, mask, height, rows, columns, {"F": 150, "N": 60, "A": 14, "U": 24}[zone[0]])
    if "U" in zone:
        _street(draws, mask, height, along, across, houses=12 if zone[0] == "U" else 5)
    image = _colours(draws, mask, height, across)
    elevation = np.clip(np.rint(height * _STEPS_PER_METRE), 0, 255)
    return np.concatenate([image, elevation[:, :, None]], axis=2).astype(np.uint8), mask.astype(np.uint8)


def _trees(draws: Draws, mask: np.ndarray, height: np.ndarray, rows: np.ndarray, columns: np.ndarray, count: int):
    """Round crowns on dry ground, in place."""
    size = mask.shape[0]
    needle = draws.number(0.0, 1.0)
    for row, column, radius, kind in draws.uniform(shape=(count, 4)) * (size, size, 26.0, 1.0) + (0, 0, 8.0, 0):
        reach = int(radius) + 1
        window = np.s_[
            max(int(row) - reach, 0) : int(row) + reach + 1, max(int(column) - reach, 0) : int(column) + reach + 1
        ]
        dome = 1.0 - ((rows[window] - row) ** 2 + (columns[window] - column) ** 2) / radius**2
        crown = (dome > 0) & (mask[window] != WATER)
        mask[window][crown] = CONIFEROUS if kind < needle else DECIDUOUS
        tall = 3.0 + 0.4 * radius
        height[window][crown] = np.maximum(height[window], tall * np.sqrt(np.maximum(dome, 0.0)))[crown]


def _street(
    draws: Draws, mask: np.ndarray, height: np.ndarray, along: np.ndarray, across: np.ndarray, houses: int
) -> None:
    """A road through the middle, yards beside it, houses with a garden, a pool or a greenhouse; in place."""
    size = mask.shape[0]
    middle = float(across[size // 2, size // 2]) + draws.number(-80.0, 80.0)
    centre = float(along[size // 2, size // 2])
    offset = across - middle
    for ground, half_width in ((PERVIOUS, 26.0), (IMPERVIOUS, 18.0)):
        inside = np.abs(offset) < half_width
        mask[inside], height[inside] = ground, 0.0
    for number in range(houses):
        side = 1.0 if number % 2 else -1.0
        start = centre + (number // 2 - houses / 4.0) * 100.0 + draws.number(0.0, 25.0)
        length, width, back = draws.number(40.0, 68.0), draws.number(34.0, 56.0), draws.number(36.0, 60.0)
        u, v = along - start, side * offset
        plot = (u > -8) & (u < length + 8) & (v > 26) & (v < back + width + 30)
        mask[plot], height[plot] = (HERBACEOUS if draws.number(0, 1) < 0.7 else PERVIOUS), 0.0
        house = (u > 0) & (u < length) & (v > back) & (v < back + width)
        ridge = 1.0 - np.abs(v - back - width / 2.0) / (width / 2.0)
        mask[house], height[house] = BUILDING, (draws.number(3.0, 6.5) + 2.2 * ridge)[house]
        extra = (u > 6) & (u < 34) & (v > back + width + 8) & (v < back + width + 24)
        chance = draws.number(0.0, 1.0)
        if chance < 0.45:
            mask[extra], height[extra] = (POOL, 0.0) if chance < 0.3 else (GREENHOUSE, 2.5)


def _colours(draws: Draws, mask: np.ndarray, height: np.ndarray, across: np.ndarray) -> np.ndarray:
    """(H, W, 4) float64 whole numbers 1..255: colour, texture, cast shadows and camera noise."""
    size = mask.shape[0]
    table = np.zeros((20, 4))
    for class_id, colour in _COLOUR.items():
        table[class_id] = colour
    table *= np.exp(0.1 * draws.normal((20, 1)) + 0.025 * draws.normal(table.shape))
    image = table[mask]
    coarse, fine = fractal(draws, size, 2.6, largest=120.0), fractal(draws, size, 1.6, largest=8.0)
    leafy = np.isin(mask, (CONIFEROUS, DECIDUOUS, BRUSH, VINEYARD))
    image *= np.exp(0.07 * coarse + np.where(leafy, 0.22, 0.05) * fine)[:, :, None]
    rowed = np.where(mask == VINEYARD, 0.3, np.where(mask == PLOWED, 0.1, 0.0))
    image *= (1.0 + rowed * np.sin(2 * np.pi * across / 11.0))[:, :, None]

    # Sun from one side: a pixel lies in shadow where the ground towards the sun rises above the ray.
    azimuth, climb = draws.number(0.0, 2 * np.pi), draws.number(0.8, 1.5)
    shadow = np.zeros(mask.shape, bool)
    margin = 68
    around = np.pad(height, margin)
    for distance in range(4, margin, 4):
        top = margin - round(distance * np.cos(azimuth))
        left = margin - round(distance * np.sin(azimuth))
        shadow |= around[top : top + size, left : left + size] > height + distance * _PIXEL * climb
    lit = smooth(1.0 - 0.55 * shadow, 1.0)
    image = smooth(image * lit[:, :, None], 0.6) + 2.5 * draws.normal(image.shape)
    return np.clip(np.rint(image), 1, 255)
