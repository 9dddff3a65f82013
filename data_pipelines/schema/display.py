"""Stored integers as pictures for people."""

import numpy as np

from data_pipelines.schema.sensors import Sensor


def rgb(sensor: Sensor, image: np.ndarray) -> np.ndarray:
    """An image (H, W, bands) of stored integers as (H, W, 3) uint8.

    The sensor's display bands (one band gives grey), each stretched between the 2nd and the 98th percentile of all of
    them together, so that colours keep their balance.
    """
    chosen = image[..., [sensor.bands.index(band) for band in sensor.display]].astype(np.float32)
    low, high = np.percentile(chosen, (2, 98))
    stretched = np.clip((chosen - low) / max(float(high - low), 1e-6), 0, 1)
    return np.broadcast_to((stretched * 255).round().astype(np.uint8), (*image.shape[:2], 3)).copy()
