"""The side of PyTorch: a loop over overlapping tiles, whose probabilities are added up, weighted, for the whole scene.

So geoai and terratorch go. The map alone is written: no overviews, picture, table of areas or style.
"""

import pathlib
import sys
import tempfile

import numpy as np
import rasterio
import torch
import worker
from cases import CASES, CLASSES, SCENE
from torch_worker import network_of

from data_pipelines.benchmark import made_up_scene
from data_pipelines.schema import sensors

TILE, OVERLAP = 256, 64  # as of a run on DFC2020


def starts() -> list[int]:
    """First pixels of the tiles along an edge; the last one ends with it."""
    return [*range(0, SCENE - TILE, TILE - OVERLAP), SCENE - TILE]


def weights() -> torch.Tensor:
    """Weights of the pixels of a tile, which fall towards its edges."""
    ramp = torch.clamp(torch.minimum(torch.arange(TILE) + 0.5, TILE - 0.5 - torch.arange(TILE)) / OVERLAP, max=1)
    return ramp[:, None] * ramp[None]


def _build(case, precision: str, batch: int, how: str, folder: pathlib.Path):
    network, count, answer, device, half = network_of(case, precision, how)
    network.eval()
    files = [(made_up_scene.write(folder / f"{one.name}.tif", one, SCENE), one) for one in (sensors.S1, sensors.S2)]
    corners = [(top, left) for top in starts() for left in starts()]
    weight = weights()

    def call() -> None:
        bands = []
        for path, sensor in files:
            with rasterio.open(path) as file:
                stored, profile = file.read().astype(np.float32), file.profile
            low, high = (
                np.asarray(one, np.float32).reshape(-1, 1, 1) for one in (sensor.scaling.low, sensor.scaling.high)
            )
            bands.append((np.clip(stored, low, high) - low) / (high - low))
        image = torch.from_numpy(np.concatenate(bands))
        total, seen = torch.zeros((CLASSES, SCENE, SCENE)), torch.zeros((SCENE, SCENE))
        for first in range(0, len(corners), batch):
            chosen = corners[first : first + batch]
            tiles = torch.stack([image[:, top : top + TILE, left : left + TILE] for top, left in chosen]).to(device)
            if how == "channels_last":
                tiles = tiles.to(memory_format=torch.channels_last)
            with torch.inference_mode(), half:
                probabilities = torch.softmax(answer(network, tiles).float(), 1).cpu()
            for (top, left), one in zip(chosen, probabilities, strict=True):
                total[:, top : top + TILE, left : left + TILE] += weight * one
                seen[top : top + TILE, left : left + TILE] += weight
        classes = torch.argmax(total / seen, 0).to(torch.uint8).numpy()
        written = {**profile, "count": 1, "dtype": "uint8", "compress": "deflate", "tiled": True}
        with rasterio.open(folder / "map.tif", "w", **written) as file:
            file.write(classes, 1)

    return call, count


def main(name: str, mode: str, precision: str, batch: str, output: str, how: str) -> None:
    """Serves a side of a case."""
    with tempfile.TemporaryDirectory() as folder:
        worker.serve(lambda: _build(CASES[name], precision, int(batch), how, pathlib.Path(folder)))


if __name__ == "__main__":
    main(*sys.argv[1:])
