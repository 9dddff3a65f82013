"""What Sentinel-2, Sentinel-1 and the MODIS land-cover map show of a place.

They share nothing but the place: sun, haze, season and sensor noise belong to Sentinel-2, look direction, incidence,
wetness of the ground and speckle to Sentinel-1, and each draws from a stream of its own.
"""

import itertools

import numpy as np

from data_pipelines.datasets.sample.landscape import MATERIALS, Place
from data_pipelines.datasets.sample.noise import Draws, fractal, smooth

# Surface reflectance x 1e4, shaped like the curves of spectral libraries: green plants with their red edge, straw
# without it, soil rising to the short-wave infrared, asphalt flat, water falling.
_REFLECTANCE = {
    #           B1    B2    B3    B4    B5    B6    B7    B8   B8A    B9  B10   B11   B12
    "tree": (180, 220, 420, 280, 720, 1950, 2400, 2450, 2650, 800, 3, 1250, 560),
    "grass": (230, 320, 720, 480, 1150, 2450, 2950, 3000, 3200, 950, 4, 2050, 1050),
    "straw": (420, 600, 950, 1200, 1600, 2150, 2400, 2550, 2750, 850, 6, 3000, 2050),
    "soil": (550, 760, 1080, 1450, 1750, 1950, 2100, 2250, 2400, 760, 7, 3100, 2650),
    "rock": (850, 1120, 1420, 1680, 1830, 1920, 2000, 2080, 2150, 690, 9, 2350, 2150),
    "asphalt": (620, 780, 920, 1040, 1120, 1180, 1230, 1300, 1330, 430, 5, 1500, 1400),
    "roof": (980, 1300, 1650, 2000, 2200, 2350, 2450, 2550, 2650, 840, 10, 3150, 2850),
    "water": (380, 420, 420, 270, 220, 150, 130, 110, 90, 40, 2, 40, 25),
    "reed": (240, 330, 600, 560, 1000, 1800, 2150, 2250, 2400, 730, 4, 1650, 950),
}
_CLEAR_AIR = np.array((1000, 680, 390, 190, 150, 115, 90, 70, 60, 15, 5, 8, 4))  # what a clear atmosphere adds
_HAZE = np.array((520, 470, 390, 320, 285, 250, 225, 200, 185, 45, 2, 70, 35))  # what haze of thickness 1 adds
_BLUR = np.array((2.4, 0.4, 0.4, 0.4, 0.9, 0.9, 0.9, 0.4, 0.9, 2.4, 2.4, 0.9, 0.9))  # pixels: 60, 10 and 20 m bands

# Backscatter sigma0 in dB at mid swath: a calm surface is dark, walls beside streets bright, crowns strong in VH.
_BACKSCATTER = {
    #           VV     VH
    "tree": (-8.5, -13.5),
    "grass": (-12.8, -20.0),
    "straw": (-12.8, -20.5),
    "soil": (-13.0, -22.5),
    "rock": (-10.8, -20.0),
    "asphalt": (-12.5, -21.0),
    "roof": (-6.5, -13.5),
    "water": (-20.0, -28.0),
    "reed": (-8.5, -18.0),
}
_LOOKS = 4

# IGBP ids of each class (the usual one, the one MODIS takes it for too), then, by IGBP id, what the three LCCS layers
# of the same product (MCD12Q1) call it: cover, use, surface hydrology.
_IGBP = {1: (5, 8), 2: (7, 9), 4: (10, 9), 5: (11, 10), 6: (12, 14), 7: (13, 12), 9: (16, 7), 10: (17, 11)}
_LCCS = {
    **{1: (11, 10, 10), 2: (12, 10, 10), 3: (13, 10, 10), 4: (14, 10, 10), 5: (15, 10, 10), 7: (43, 40, 40)},
    **{8: (21, 20, 20), 9: (22, 20, 20), 10: (31, 30, 30), 11: (31, 30, 50), 12: (31, 36, 30), 13: (1, 9, 1)},
    **{14: (42, 35, 30), 16: (1, 1, 1), 17: (3, 3, 3)},
}
_BLOCK = 50  # pixels: 500 m


def sentinel2(place: Place, draws: Draws) -> np.ndarray:
    """Top-of-atmosphere reflectance x 1e4 in 13 bands, (H, W, 13) uint16."""
    size = place.classes.shape[0]
    ground = np.array([_REFLECTANCE[material] for material in MATERIALS], np.float64)
    season = 0.10 * draws.normal((len(MATERIALS), 1)) + 0.05 * smooth(draws.normal(ground.shape).T, 1.5).T
    surface = place.cover @ (ground * np.exp(season))
    surface *= np.exp(0.07 * fractal(draws, size, 2.8, largest=48.0))[:, :, None]
    surface *= _sunlight(place.height, draws)[:, :, None]
    thickness = np.maximum(draws.number(0.0, 0.8) + 0.3 * fractal(draws, size, 3.6), 0.0)[:, :, None]
    seen = surface * np.exp(-0.1 * thickness) + _CLEAR_AIR + thickness * _HAZE
    for band, sigma in enumerate(_BLUR):
        seen[:, :, band] = smooth(seen[:, :, band], sigma)
    seen = seen * (1.0 + 0.015 * draws.normal(seen.shape)) + 0.002 * _CLEAR_AIR * draws.normal(seen.shape)
    return np.clip(np.rint(seen), 1, 10000).astype(np.uint16)


def _sunlight(height: np.ndarray, draws: Draws) -> np.ndarray:
    """Irradiance of each slope against that of flat ground, with some skylight, (H, W)."""
    azimuth, elevation = draws.number(0.0, 2 * np.pi), draws.number(0.5, 1.1)
    down, right = np.gradient(smooth(height, 3.0) / 10.0)
    facing = -(down * np.cos(azimuth) + right * np.sin(azimuth))
    direct = (np.sin(elevation) + facing * np.cos(elevation)) / np.sqrt(1.0 + down**2 + right**2) / np.sin(elevation)
    return 0.2 + 0.8 * np.clip(direct, 0.15, 1.7)


def sentinel1(place: Place, draws: Draws) -> np.ndarray:
    """Backscatter in VV and VH, (H, W, 2) float32 dB, in steps of 0.01 dB."""
    size = place.classes.shape[0]
    ground = np.array([_BACKSCATTER[material] for material in MATERIALS])
    ground = ground + 0.8 * draws.normal(ground.shape)
    ground[MATERIALS.index("water")] += draws.number(-2.0, 4.0)  # wind
    power = place.cover @ 10.0 ** (ground / 10.0)
    wetness = 0.6 * fractal(draws, size, 2.8, largest=64.0)
    azimuth = draws.number(0.0, 2 * np.pi)
    down, right = np.gradient(smooth(place.height, 3.0) / 10.0)
    facing = -(down * np.cos(azimuth) + right * np.sin(azimuth))
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    incidence = (rows * np.cos(azimuth) + columns * np.sin(azimuth)) * draws.number(0.5, 2.5)
    gain = 10.0 ** ((wetness + 6.0 * np.clip(facing, -0.6, 0.6) - incidence) / 10.0)
    power = power * gain[:, :, None] * draws.gamma(_LOOKS, power.shape)
    return (np.rint(1000.0 * np.log10(np.maximum(power, 1e-5))) / 100.0).astype(np.float32)


def land_cover_map(place: Place, draws: Draws) -> np.ndarray:
    """The coarse and faulty MODIS map: IGBP and three LCCS layers in blocks of 500 m, (H, W, 4) uint8."""
    size = place.classes.shape[0]
    forest = int(draws.whole(1, 6))  # the forest type of the region
    offset = draws.whole(0, _BLOCK, shape=2)
    result = np.zeros((size, size, 4), np.uint8)
    starts = [np.concatenate([[0], np.arange(int(first) or _BLOCK, size, _BLOCK), [size]]) for first in offset]
    for top, bottom in itertools.pairwise(starts[0]):
        for left, right in itertools.pairwise(starts[1]):
            inside = place.classes[top:bottom, left:right]
            ids, count = np.unique(inside, return_counts=True)
            # Two blocks in three show the class that prevails, the third whatever a random pixel of it is.
            by_chance = int(inside.ravel()[int(draws.whole(0, inside.size))])
            prevailing = by_chance if draws.number(0, 1) < 0.33 else int(ids[np.argmax(count)])
            usual, mistaken = _IGBP[prevailing]
            igbp = mistaken if draws.number(0, 1) < 0.15 else (forest if prevailing == 1 else usual)
            result[top:bottom, left:right] = (igbp, *_LCCS[igbp])
    return result
