"""A small world for the tests of maps: two scenes with holes, and a rule in place of a network."""

import pathlib
import types

import numpy as np
import rasterio

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.sensors import AERIAL, S1, S2, to_storage
from lcjax.runs.model_card import Card
from lcjax.tasks.fusion import ADAPTED, sensors_of

HEIGHT, WIDTH = 75, 90


def held(fusion):
    """The sensors of a data set that such a network learns from."""
    return (AERIAL,) if fusion in ADAPTED else (S1, S2)


def card(fusion="late", tile=32):
    """The card that the rule would have."""
    return Card("fake", fusion, sensors_of(fusion, held(fusion)), DFC2020, tile, "sample 1.0.0", {}, {})


def probabilities(inputs):
    """A rule for each pixel: the brightness of B2 and of VV choose among the eight classes."""
    brightness = inputs["s2"][..., 1].astype(int) // 600 + (inputs["s1"][..., 0] > -1200)
    return np.eye(8, dtype=np.float32)[brightness.clip(0, 7)]


def make(folder: pathlib.Path, seed: int = 0) -> types.SimpleNamespace:
    """Two scenes on one grid, with a hole in each: `.text` for --scene, and `.truth`, the map that the rule gives."""
    rng = np.random.default_rng(seed)
    radar = rng.uniform(-25, -1, (2, HEIGHT, WIDTH)).astype("float32")
    optical = rng.integers(1, 4000, (13, HEIGHT, WIDTH)).astype("uint16")
    radar[0, 5:9, 5:9] = np.nan
    optical[:, 60:, 70:] = 0
    transform = rasterio.Affine(10, 0, 600000, 0, -10, 200000)
    for name, values, bands in (("s1", radar, S1.bands), ("s2", optical, S2.bands)):
        profile = {"count": len(values), "height": HEIGHT, "width": WIDTH, "dtype": values.dtype}
        path = folder / f"{name}.tif"
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32736", transform=transform, **profile) as out:
            out.write(values)
            for index, band in enumerate(bands, 1):
                out.set_band_description(index, band)
    inputs = {
        "s1": np.moveaxis(to_storage(S1, np.nan_to_num(radar)), 0, -1)[None],
        "s2": np.moveaxis(optical, 0, -1)[None],
    }
    truth = DFC2020.id_of_index()[probabilities(inputs)[0].argmax(-1)]
    truth[5:9, 5:9] = 255
    truth[60:, 70:] = 255
    return types.SimpleNamespace(folder=folder, text=f"s1={folder}/s1.tif,s2={folder}/s2.tif", truth=truth)
