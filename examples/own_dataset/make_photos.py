"""Makes photographs and masks to try the data set with, by `python make_photos.py FOLDER`."""

import pathlib
import sys

import numpy as np
from PIL import Image

SIZE = 64
COUNTS = {"train": 12, "validation": 4, "test": 4}
COLOURS = np.array([(0, 0, 0), (60, 140, 50), (120, 170, 60), (140, 100, 70)])  # of nothing, crop, weeds, bare soil


def make(folder: pathlib.Path, seed: int = 0) -> None:
    """Rows of crop, with weeds on the bare soil between them; one corner of each mask is not labelled."""
    draw = np.random.default_rng(seed)
    for split, count in COUNTS.items():
        for kind in ("photos", "masks"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rows = np.sin((np.arange(SIZE) + draw.integers(SIZE)) / 4)[:, None]
            weeds = draw.random((SIZE // 8, SIZE // 8)).repeat(8, 0).repeat(8, 1) > 0.8
            mask = np.where(rows > 0, 1, np.where(weeds, 2, 3)).astype(np.uint8)
            photo = (COLOURS[mask] + draw.normal(0, 12, (SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)
            mask[:4, :4] = 0
            Image.fromarray(photo).save(folder / split / "photos" / f"{number:04}.png")
            Image.fromarray(mask).save(folder / split / "masks" / f"{number:04}.png")


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))
