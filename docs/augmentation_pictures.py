"""Draws what each field of `config.augmentation` does: docs/images/augmentation_*.png.

  python docs/augmentation_pictures.py

The images are aerial patches of the sample (data_pipelines/datasets/sample/README.md), augmented by the code that
training calls, each with one field on.
"""

import io
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from PIL import Image

from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.datasets.sample import make
from data_pipelines.schema.sensors import AERIAL
from lcjax.configs import base, flair1
from lcjax.ops import augment, augmentation

FOLDER = pathlib.Path(__file__).parent / "images"
CROP, DRAWS = 192, 5
PHOTOMETRIC = {
    "group_jitter": 0.3,
    "brightness": 0.2,
    "contrast": 0.5,
    "gamma": 0.5,
    "blur": 2.0,
    "noise": 0.1,
    "drop_bands": 0.3,
}
GEOMETRIC = {"scale": (0.5, 2.0), "aspect": 1.5, "cutmix": 1.0}


def examples() -> dict[str, np.ndarray]:
    """The patch that is drawn, and another one, in turns: of that one CutMix takes boxes."""
    patches = [make.patch_arrays(0, 0, 0), make.patch_arrays(0, 1, 2)] * DRAWS
    return {
        "aerial": np.stack([patch["img"] for patch in patches]),
        "label": np.stack([p["msk"][..., 0] for p in patches]),
    }


def augmented(stored: Mapping[str, np.ndarray], fields: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Red, green and blue as they are shown to a network, (B, H, W, 3) of 0 to 1, and labels (B, H, W)."""
    config = flair1.get_config()
    config.crop, config.dihedral = CROP, False
    base.assign(config, {f"augmentation.{name}": value for name, value in fields.items()})
    tile, count = stored["label"].shape[1], len(stored["label"])
    # In the middle of the tile, whatever the margin.
    corner = np.full((count, 2), (tile - (augmentation.window(tile, config) or tile)) // 2, np.int32)
    keys = augment.example_keys(3, jnp.int32(0), jnp.arange(count, dtype=jnp.uint32))
    floats, labels = augmentation.augmented(stored, corner, keys, (AERIAL,), config)
    scaling = AERIAL.scaling
    numbers = np.asarray(floats["aerial"]) * np.array(scaling.scale) + np.array(scaling.offset)
    return (numbers[..., :3] / 255).clip(0, 1), np.asarray(labels)


def draw(rows: Mapping[str, Any], labelled: bool) -> bytes:
    """A row of draws for each field, the first column without; with `labelled` the labels below."""
    stored = examples()
    shown: list[tuple[str, np.ndarray]] = []
    for name, value in rows.items():
        images, labels = (one[::2] for one in augmented(stored, {name: value}))
        plain, plain_labels = augmented(stored, {})
        said = f"{name}\n{','.join(f'{one:g}' for one in value) if isinstance(value, tuple) else f'{value:g}'}"
        shown.append((said, np.concatenate([plain[:1], images])))
        if labelled:
            colours = np.concatenate([plain_labels[:1], labels])
            shown.append(("", _palette()[colours]))
    figure, axes = plt.subplots(
        len(shown), DRAWS + 1, figsize=(1.28 * (DRAWS + 1) + 0.9, 1.28 * len(shown)), dpi=100, squeeze=False
    )
    figure.subplots_adjust(left=0.11, right=0.998, top=1 - 0.2 / len(shown), bottom=0.004, wspace=0.03, hspace=0.03)
    for line, (said, images) in zip(axes, shown, strict=True):
        line[0].set_ylabel(said, rotation=0, ha="right", va="center", fontsize=8)
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, interpolation="antialiased")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    axes[0, 0].set_title("without", fontsize=8, pad=3)
    return _png(figure)


def _palette() -> np.ndarray:
    colours = np.ones((256, 3))
    for land_class in FLAIR1.classes:
        colours[land_class.id] = matplotlib.colors.to_rgb(land_class.colour)
    return colours


def _png(figure: Any) -> bytes:
    """Of 256 colours: a third of the size, and nothing is lost to the eye."""
    raw, small = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png")
    plt.close(figure)
    Image.open(raw).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def main() -> None:
    """Writes both pictures."""
    matplotlib.use("agg")
    for name, rows, labelled in (("photometric", PHOTOMETRIC, False), ("geometric", GEOMETRIC, True)):
        (FOLDER / f"augmentation_{name}.png").write_bytes(draw(rows, labelled))


if __name__ == "__main__":
    main()
