"""How things are shown to people: stored integers as pictures, and colours for classes that have none of their own."""

import colorsys

import numpy as np

from data_pipelines.schema.sensors import Sensor

SAMPLES = 6  # tiles shown in reports
# Twelve colours that are told apart easily (ColorBrewer's Paired).
_PALETTE = (
    "#1f78b4", "#33a02c", "#e31a1c", "#ff7f00", "#6a3d9a", "#b15928",
    "#a6cee3", "#b2df8a", "#fb9a99", "#fdbf6f", "#cab2d6", "#ffff99",
)  # fmt: skip


def rgb(sensor: Sensor, image: np.ndarray) -> np.ndarray:
    """An image (H, W, bands) of stored integers as (H, W, 3) uint8.

    The sensor's display bands (one band gives grey), each stretched between the 2nd and the 98th percentile of all of
    them together, so that colours keep their balance.
    """
    chosen = image[..., [sensor.bands.index(band) for band in sensor.display]].astype(np.float32)
    low, high = np.percentile(chosen, (2, 98))
    stretched = np.clip((chosen - low) / max(float(high - low), 1e-6), 0, 1)
    return np.broadcast_to((stretched * 255).round().astype(np.uint8), (*image.shape[:2], 3)).copy()


def distinct_colours(count: int) -> list[str]:
    """So many colours ("#rrggbb") that are told apart: those of the palette, then hues a golden angle apart."""
    more = (colorsys.hsv_to_rgb(0.618034 * k % 1, 0.55 + 0.3 * (k % 2), 0.85) for k in range(count))
    return [*_PALETTE, *("#" + "".join(f"{round(255 * c):02x}" for c in rgb) for rgb in more)][:count]


def chosen_samples(records: int, count: int = SAMPLES) -> list[int]:
    """Returns the indices of the records that are shown: a few (`count`), evenly through a split of so many records."""
    return np.unique(np.linspace(0, records - 1, min(count, records)).round().astype(int)).tolist()
