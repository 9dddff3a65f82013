"""Sizes of networks: family -> name of a size -> the numbers of `config.model`.

The first of a family is the one that is usually meant; "tiny" is for tests and demonstrations.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_pipelines.schema.errors import InputError
from lcjax.models.efficientnet import LITE0
from lcjax.models.segmenter import BRANCHES

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
_TINY_SWIN: Size = {"embed": 24, "heads": (1, 2, 4), "window": 4, "patch": 4, "depths": (1, 2, 1), "drop_path": 0.0}
_SWINS: Sizes = {
    "t": _SWIN | {"depths": (2, 2, 6, 2)},
    "s": _SWIN | {"depths": (2, 2, 18, 2)},
    "b": _SWIN | {"embed": 128, "heads": (4, 8, 16, 32), "depths": (2, 2, 18, 2)},
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


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _wholes(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0 and all(map(_whole, value))


def _stages(value: Any) -> bool:
    """Expansion, kernel, stride, channels and blocks; a resolution must end within the network to be a feature."""
    fives = (
        isinstance(value, Sequence) and len(value) > 0 and all(_wholes(stage) and len(stage) == 5 for stage in value)
    )
    return fives and value[0][2] == 1 and all(stride in (1, 2) for _, _, stride, _, _ in value)


_WHOLE: tuple[Callable[..., bool], str] = (_whole, "a whole number above 0")
_WHOLES: tuple[Callable[..., bool], str] = (_wholes, "whole numbers above 0")
# What each number must be by itself; `heads` is one number in ViT and one for each stage in Swin.
_ALONE: dict[str, tuple[Callable[..., bool], str]] = {
    **dict.fromkeys(("base", "depth", "embed", "grid", "hidden", "patch", "stem", "width", "window"), _WHOLE),
    **dict.fromkeys(("decoder_depths", "depths", "widths"), _WHOLES),
    "heads": (lambda value: _whole(value) or _wholes(value), "whole numbers above 0"),
    "drop_path": (lambda value: isinstance(value, int | float) and 0 <= value < 1, "a number from 0 to below 1"),
    "stages": (_stages, "(expansion, kernel, stride, channels, blocks) of each stage, strides 1 or 2, the first 1"),
    "upsampling": (
        lambda value: value in ("bilinear", "align_corners", "transposed"),
        "bilinear, align_corners or transposed",
    ),
}
# What they must be together, where a network has all of them; the first is the one that the message is about.
_TOGETHER: tuple[tuple[tuple[str, ...], Callable[..., bool], str], ...] = (
    (("heads", "depths"), lambda heads, depths: _wholes(heads) and len(heads) == len(depths), "one for each stage"),
    (("heads", "depth"), lambda heads, depth: _whole(heads), "a whole number above 0"),
    (
        ("decoder_depths", "depths"),
        lambda decoder, depths: len(decoder) == len(depths) - 1,
        "one for each stage of the encoder but the last",
    ),
    (
        ("embed", "heads", "depths"),
        lambda embed, heads, depths: all(embed * 2**stage % head == 0 for stage, head in enumerate(heads)),
        "a number that the heads divide, doubled from stage to stage",
    ),
    (
        ("embed", "heads", "depth"),
        lambda embed, heads, depth: embed % heads == 0 and embed % 4 == 0,
        "a multiple of the heads and of 4",
    ),
    (("patch", "grid"), lambda patch, grid: patch % 4 == 0, "a multiple of 4"),
    (
        ("widths", "depths"),
        lambda widths, depths: len(widths) == len(depths) + 1,
        "one for each stage and one for the stem",
    ),
    (
        ("widths", "stages"),
        lambda widths, stages: len(widths) == 1 + sum(stage[2] == 2 for stage in stages),
        "one for each resolution",
    ),
    (
        ("depths", "heads"),
        lambda depths, heads: 2 * sum(depths) <= BRANCHES,
        f"no more than {BRANCHES // 2} blocks",
    ),
    (
        ("decoder_depths", "depths", "heads"),
        lambda decoder, depths, heads: 2 * (sum(decoder) + sum(depths)) <= BRANCHES,
        f"no more than {BRANCHES // 2} blocks with those of the encoder",
    ),
    (("depth", "heads"), lambda depth, heads: 2 * depth <= BRANCHES, f"no more than {BRANCHES // 2} blocks"),
)


def check(model: Mapping[str, Any], known: Sizes) -> None:
    """Raises InputError where `config.model` is not a network of the family whose sizes are `known`."""
    keys = {"name", *next(iter(known.values()))}
    for key in sorted(keys ^ set(model)):
        what = "is missing" if key in keys else "is not known"
        raise InputError(f"config.model.{key} {what}: {model['name']} has {', '.join(sorted(keys - {'name'}))}")
    for key in sorted(keys - {"name"}):
        fits, what = _ALONE[key]
        if not fits(model[key]):
            raise InputError(f"config.model.{key}={model[key]!r}: expected {what}")
    for (key, *others), fits, what in _TOGETHER:
        if keys.issuperset((key, *others)) and not fits(*(model[name] for name in (key, *others))):
            beside = ", ".join(f"{name}={model[name]!r}" for name in others)
            raise InputError(f"config.model.{key}={model[key]!r}: expected {what} ({beside})")
