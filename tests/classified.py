"""Small maps with a legend, as `lcjax predict` leaves them."""

import json
import pathlib

import numpy as np
import rasterio

from data_pipelines.geo import raster_io

PLACE = rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)
CLASSES = {1: ("Forest", "#009900"), 4: ('Bare, rock & "co"', "#f9ffa4"), 9: ("Water", "#1c0dff")}


def write_map(
    path: pathlib.Path,
    ids: np.ndarray,
    classes=None,
    crs: str | None = "EPSG:32633",
    transform=PLACE,
    nodata: int | None = 255,
    trained_on: str = "",
) -> pathlib.Path:
    """Writes a map; classes are value -> (name, colour), () for a raster without a legend."""
    classes = CLASSES if classes is None else classes
    profile = {"count": 1, "height": ids.shape[0], "width": ids.shape[1], "dtype": ids.dtype, "nodata": nodata}
    with raster_io.anywhere(), rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile) as out:
        out.write(ids, 1)
        if classes:
            out.write_colormap(1, {i: (*bytes.fromhex(colour[1:]), 255) for i, (_, colour) in classes.items()})
            out.update_tags(LCJAX_CLASSES=json.dumps({i: name for i, (name, _) in classes.items()}), LCJAX_LEGEND="own")
        if trained_on:
            out.update_tags(LCJAX_DATASET=trained_on)
    return path


def random_ids(height: int = 120, width: int = 90, seed: int = 0) -> np.ndarray:
    """Half forest, a third bare, some water, a hole without data."""
    ids = np.random.default_rng(seed).choice(np.array([1, 4, 9], np.uint8), (height, width), p=[0.5, 0.35, 0.15])
    ids[5:15, 5:15] = 255
    return ids
