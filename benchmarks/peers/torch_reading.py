"""The side of PyTorch: GeoTIFFs read with rasterio as torchgeo's data sets do, by the processes of a DataLoader."""

import itertools
import os
import pathlib
import sys

import numpy as np
import records
import torch
import worker
from cases import BATCHES, RECORDS
from torch.utils.data import DataLoader, Dataset

from data_pipelines.benchmark import input_variants

AHEAD = 2 * (os.cpu_count() or 1) + 2  # batches that empty what was read ahead while others had their turn


class Files(Dataset):
    """Records of a kind, as float32 and int64 tensors of a random crop."""

    def __init__(self, name: str, root: pathlib.Path):
        self.kind, self.root = input_variants.KINDS[name], root

    def __len__(self) -> int:
        return RECORDS

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        found = input_variants.read_as_torchgeo(self.kind, self.root, number)
        edge = self.kind.crop
        top, left = (int(torch.randint(size - edge + 1, ())) for size in found["mask"].shape[-2:])
        cut = (..., slice(top, top + edge), slice(left, left + edge))
        return {key: torch.from_numpy(np.ascontiguousarray(array[cut])) for key, array in found.items()}


def main(name: str, mode: str, precision: str, batch: str, output: str, how: str) -> None:
    """Serves a side of a case."""
    files = Files(name, records.folder_of(pathlib.Path(output), name) / how)
    workers = os.cpu_count() or 1
    loader = DataLoader(files, int(batch), shuffle=True, num_workers=workers, persistent_workers=True, drop_last=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    worker.serve(
        lambda: (lambda: [next(batches) for _ in range(BATCHES)], 0),
        before=lambda: [next(batches) for _ in range(AHEAD)],
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
