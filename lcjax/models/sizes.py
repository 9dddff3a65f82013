"""Sizes of networks: family -> name of a size -> the numbers of `config.model`.

The first of a family is the one that is usually meant; "tiny" is for tests and demonstrations.
"""

from typing import Any

from lcjax.models.efficientnet import LITE0

Size = dict[str, Any]
Sizes = dict[str, Size]

# The report's UNet is the bilinear one. `patch` > 1 sees farther for less.
_UNET: Size = {"base": 64, "patch": 1}
UNET: Sizes = {
    "bilinear": _UNET | {"upsampling": "bilinear"},
    "transposed": _UNET | {"upsampling": "transposed"},
    "tiny": _UNET | {"base": 12, "upsampling": "bilinear"},
}
# Of decoders on backbones: as in segmentation_models_pytorch.
_WIDTHS: Size = {"widths": (256, 128, 64, 32, 16)}
_TINY_WIDTHS: Size = {"widths": (32, 24, 16, 12, 12)}


def resnet(depths: tuple[int, ...]) -> Sizes:
    """The sizes of a ResNet-UNet with so many blocks in each stage."""
    return {
        "published": {"depths": depths, "width": 64} | _WIDTHS,
        "tiny": {"depths": (1, 1, 1, 1), "width": 8} | _TINY_WIDTHS,
    }


EFFICIENTNET_LITE0: Sizes = {
    "published": {"stem": 32, "stages": LITE0} | _WIDTHS,
    "tiny": {
        "stem": 8,
        "stages": ((1, 3, 1, 8, 1), (2, 3, 2, 8, 1), (2, 5, 2, 12, 1), (2, 3, 2, 16, 1), (2, 5, 2, 24, 2)),
    }
    | _TINY_WIDTHS,
}
_SWIN: Size = {"embed": 96, "heads": (3, 6, 12, 24), "window": 7, "patch": 4}
_SWIN_B: Size = _SWIN | {"embed": 128, "heads": (4, 8, 16, 32)}
_TINY_SWIN: Size = {"embed": 24, "heads": (1, 2, 4), "window": 4, "patch": 4, "depths": (1, 2, 1), "drop_path": 0.0}
_DEPTHS = {"t": (2, 2, 6, 2), "s": (2, 2, 18, 2), "b": (2, 2, 18, 2)}
_SWINS: Sizes = {
    "t": _SWIN | {"depths": _DEPTHS["t"]},
    "s": _SWIN | {"depths": _DEPTHS["s"]},
    "b": _SWIN_B | {"depths": _DEPTHS["b"]},
}
# Cao et al. 2021: two blocks in every stage; drop path of the released configuration. The larger ones are ours.
SWIN_UNET: Sizes = {
    "t": _SWIN | {"depths": (2, 2, 2, 2), "decoder_depths": (2, 2, 2), "drop_path": 0.2},
    "s": _SWINS["s"] | {"decoder_depths": (2, 2, 2), "drop_path": 0.3},
    "b": _SWINS["b"] | {"decoder_depths": (2, 2, 2), "drop_path": 0.3},
    "tiny": _TINY_SWIN | {"decoder_depths": (1, 2)},
}
# Scheibenreif et al. 2022: a Swin-T per sensor, its decoder mirrored. The larger ones are ours.
TWO_STREAM_SWIN: Sizes = {
    name: size | {"decoder_depths": size["depths"][:-1], "drop_path": 0.1} for name, size in _SWINS.items()
} | {"tiny": SWIN_UNET["tiny"]}
SWIN_UPERNET: Sizes = {name: size | {"drop_path": 0.3, "hidden": 512} for name, size in _SWINS.items()} | {
    "tiny": _TINY_SWIN | {"hidden": 32}
}
_VIT: Size = {"patch": 16, "grid": 14, "drop_path": 0.1, "hidden": 256}
VIT: Sizes = {
    "b": _VIT | {"embed": 768, "depth": 12, "heads": 12},
    "s": _VIT | {"embed": 384, "depth": 12, "heads": 6},
    "tiny": _VIT | {"embed": 48, "depth": 3, "heads": 3, "grid": 4, "drop_path": 0.0, "hidden": 32},
}
