"""What other libraries answer to the smallest networks, kept for tests that have none of those libraries.

`WRITE_ANSWERS=1 make parity` writes them.
"""

import pathlib
from collections.abc import Mapping

import filled
import numpy as np

from lcjax.models import registry

PATH = pathlib.Path(__file__).parent / "parity" / "answers.npz"
KEPT = 200  # values of each stage
_RGB = {"image": 3}
# Family, its numbers where they are not those of the tiny size, bands by stream, edges of the image.
CASES: dict[str, tuple[str, dict, dict[str, int], tuple[int, int]]] = {
    "unet": ("unet", {}, _RGB, (61, 75)),
    "unet transposed": ("unet", {"upsampling": "transposed"}, _RGB, (64, 48)),
    "resnet18_unet": ("resnet18_unet", {}, _RGB, (61, 75)),
    "resnet34_unet": ("resnet34_unet", {"depths": (1, 2, 1, 1)}, _RGB, (64, 96)),
    "resnet50_unet": ("resnet50_unet", {}, _RGB, (61, 75)),
    "resnet101_unet": ("resnet101_unet", {"depths": (1, 1, 2, 1)}, _RGB, (64, 96)),
    "efficientnet_lite0_unet": ("efficientnet_lite0_unet", {}, _RGB, (61, 75)),
    "swin_unet": ("swin_unet", {}, _RGB, (97, 130)),
    "two_stream_swin": ("two_stream_swin", {"decoder_depths": (2, 1)}, {"s1": 2, "s2": 5}, (64, 80)),
    "swin_upernet": ("swin_upernet", {}, _RGB, (97, 130)),
    "vit_pyramid": ("vit_pyramid", {}, _RGB, (61, 107)),
}


def model(name: str) -> dict:
    """`config.model` of a case."""
    family, numbers, _, _ = CASES[name]
    return registry.sized(family, "tiny") | numbers


def ours(name: str) -> filled.Filled:
    """Our network of a case."""
    return filled.segmenter(model(name), CASES[name][2])


def images(name: str, stride: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The images of a case, as they are and padded to the stride."""
    _, _, bands, edges = CASES[name]
    whole = {stream: filled.image(stream, 1, *edges, count) for stream, count in bands.items()}
    return whole, {stream: filled.padded(image, stride) for stream, image in whole.items()}


def kept(stages: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of each stage, spread over all of it."""
    steps = {stage: max(1, found.size // KEPT) for stage, found in stages.items()}
    return {stage: found.reshape(-1)[:: _odd(steps[stage])] for stage, found in stages.items()}


def _odd(step: int) -> int:
    """A step that does not fall on the same channel again and again."""
    return step + 1 if step % 2 == 0 else step
