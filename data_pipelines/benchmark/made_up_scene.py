"""A scene of noise on slopes, for whatever measures the way to a map."""

import pathlib

import numpy as np
import rasterio

from data_pipelines.schema.sensors import Sensor


def write(path: pathlib.Path, sensor: Sensor, edge: int) -> pathlib.Path:
    """Writes a square GeoTIFF of `edge` pixels, with numbers such as files of this sensor hold; returns its path."""
    generator = np.random.default_rng(0)
    slope = np.add.outer(np.linspace(0, 1, edge), np.linspace(0, 1, edge)) / 2
    decibels = "decibels" in sensor.quantities
    low, high = (np.broadcast_to(one, len(sensor.bands)) for one in (sensor.scaling.low, sensor.scaling.high))
    metres = sensor.ground_sampling or 1.0
    profile = {
        "driver": "GTiff",
        "width": edge,
        "height": edge,
        "count": len(sensor.bands),
        "dtype": "float32" if decibels else sensor.dtype,
        "crs": "EPSG:32632",
        "transform": rasterio.Affine(metres, 0, 500_000, 0, -metres, 5_000_000),
        "tiled": True,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **profile) as file:
        for band, name in enumerate(sensor.bands):
            share = 0.25 + 0.4 * slope + 0.05 * generator.random(slope.shape)  # of the band's range
            values = low[band] + share * (high[band] - low[band])
            file.write((values if decibels else values / sensor.scaling.unit).astype(profile["dtype"]), band + 1)
            file.set_band_description(band + 1, name)
    return path
