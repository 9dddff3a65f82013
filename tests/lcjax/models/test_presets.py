"""Sizes of networks: what `config.model` may say, and that the network follows it."""

import math
import re

import ml_collections
import pytest
from flax import nnx
from networks import make, smallest

from data_pipelines.schema.errors import InputError
from lcjax.models import params, presets, registry
from lcjax.models.interfaces import whole

SIZES = [(name, size) for name, family in registry.FAMILIES.items() for size in family.sizes]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_every_size_is_a_network(name, size):
    presets.check(registry.sized(name, size), registry.family(name).sizes)


def shapes(model):
    """Parameter shapes of a network on Sentinel-2."""

    def build(rngs: nnx.Rngs) -> nnx.Module:
        return registry.segmenter(model, streams=whole({"s2": 13}), classes=8, precision="f32", rngs=rngs)

    return {path: leaf.shape for path, leaf in params.Template(build).parameters.items()}


@pytest.mark.parametrize("depths", [(1, 1), (1, 2), (3, 1), (2, 4)])
@pytest.mark.parametrize("name", ["swin_unet", "two_stream_swin"])
def test_the_decoder_has_the_blocks_that_its_depths_say(name, depths):
    tiny = registry.sized(name, "tiny")
    usual, found = shapes(tiny), shapes(tiny | {"decoder_depths": depths})
    blocks = re.compile(r"decoders/s2/stages/(\d+)/(\d+)/attention/bias_table")
    counted = [match.groups() for path in found if (match := blocks.fullmatch(path))]
    # Stages of the decoder stand coarsest first, depths finest first as those of the encoder.
    assert sorted(counted) == [(str(1 - i), str(block)) for i in (1, 0) for block in range(depths[i])]

    def elsewhere(shapes):
        return {path: shape for path, shape in shapes.items() if not path.startswith("decoders/s2/stages/")}

    assert elsewhere(found) == elsewhere(usual)
    # 4 norms, attention, its biases (window 4), an MLP of four times the width.
    for stage, depth in enumerate(depths):
        width, heads = 24 * 2**stage, 2**stage
        here = [path for path in found if path.startswith(f"decoders/s2/stages/{1 - stage}/")]
        expected = 12 * width**2 + 13 * width + 49 * heads
        assert sum(math.prod(found[path]) for path in here) == depth * expected


def test_the_published_swin_unet_with_two_blocks_for_each_stage():
    found = shapes(registry.sized("swin_unet"))
    assert sum(path.startswith("decoders/") and path.endswith("bias_table") for path in found) == 6
    deeper = shapes(registry.sized("swin_unet") | {"decoder_depths": (2, 2, 6)})
    assert sum(path.startswith("decoders/") and path.endswith("bias_table") for path in deeper) == 10


# What is wrong, and what is said of it.
WRONG = [
    ("unet", {"upsampling": "nearest"}, "upsampling='nearest': expected bilinear, align_corners or transposed"),
    ("unet", {"upsampling": "transpose"}, "upsampling='transpose': expected bilinear, align_corners or transposed"),
    ("unet", {"base": 0}, "base=0: expected a whole number above 0"),
    ("unet", {"base": "64"}, "base='64': expected a whole number above 0"),
    ("unet", {"base": 12.5}, "base=12.5: expected a whole number above 0"),
    ("unet", {"base": True}, "base=True: expected a whole number above 0"),
    ("unet", {"patch": -1}, "patch=-1: expected a whole number above 0"),
    ("unet", {"window": 7}, "window is not known: unet has base, patch, upsampling"),
    ("swin_unet", {"window": 0}, "window=0: expected a whole number above 0"),
    ("swin_unet", {"depths": 3}, "depths=3: expected whole numbers above 0"),
    ("swin_unet", {"depths": ()}, "depths=(): expected whole numbers above 0"),
    ("swin_unet", {"depths": "222"}, "depths='222': expected whole numbers above 0"),
    ("swin_unet", {"depths": (1, 0, 1)}, "depths=(1, 0, 1): expected whole numbers above 0"),
    ("swin_unet", {"depths": (1, 2)}, "heads=(1, 2, 4): expected one for each stage (depths=(1, 2))"),
    ("swin_upernet", {"heads": (1, 2)}, "heads=(1, 2): expected one for each stage (depths=(1, 2, 1))"),
    ("swin_upernet", {"heads": 4}, "heads=4: expected one for each stage (depths=(1, 2, 1))"),
    ("swin_unet", {"heads": (1, 5, 4)}, "embed=24: expected a number that the heads divide"),
    ("swin_unet", {"decoder_depths": (1,)}, "decoder_depths=(1,): expected one for each stage of the encoder but"),
    ("two_stream_swin", {"decoder_depths": (1, 2, 1)}, "decoder_depths=(1, 2, 1): expected one for each stage of the"),
    ("swin_unet", {"decoder_depths": (0, 2)}, "decoder_depths=(0, 2): expected whole numbers above 0"),
    ("swin_unet", {"depths": (2, 70, 2)}, "depths=(2, 70, 2): expected no more than 64 blocks"),
    ("swin_unet", {"decoder_depths": (2, 62)}, "decoder_depths=(2, 62): expected no more than 64 blocks with those of"),
    ("swin_unet", {"drop_path": 1.0}, "drop_path=1.0: expected a number from 0 to below 1"),
    ("swin_unet", {"drop_path": -0.1}, "drop_path=-0.1: expected a number from 0 to below 1"),
    ("swin_upernet", {"hidden": 0}, "hidden=0: expected a whole number above 0"),
    ("vit_pyramid", {"heads": (3,)}, "heads=(3,): expected a whole number above 0"),
    ("vit_pyramid", {"embed": 50}, "embed=50: expected a multiple of the heads and of 4"),
    ("vit_pyramid", {"embed": 51}, "embed=51: expected a multiple of the heads and of 4"),
    ("vit_pyramid", {"patch": 6}, "patch=6: expected a multiple of 4"),
    ("vit_pyramid", {"grid": 0}, "grid=0: expected a whole number above 0"),
    ("vit_pyramid", {"depth": 65}, "depth=65: expected no more than 64 blocks"),
    (
        "resnet18_unet",
        {"depths": (1, 1, 1)},
        "widths=(32, 24, 16, 12, 12): expected one for each stage and one for the",
    ),
    ("resnet18_unet", {"width": 0}, "width=0: expected a whole number above 0"),
    ("efficientnet_lite0_unet", {"stages": ((1, 3, 1, 8),)}, "stages=((1, 3, 1, 8),): expected (expansion, kernel"),
    (
        "efficientnet_lite0_unet",
        {"stages": ((1, 3, 3, 8, 1),)},
        "expected (expansion, kernel, stride, channels, blocks)",
    ),
    ("efficientnet_lite0_unet", {"widths": (32, 16)}, "widths=(32, 16): expected one for each resolution"),
]


@pytest.mark.parametrize("task", ["segmentation", "contrastive"])
@pytest.mark.parametrize(("name", "change", "says"), WRONG)
def test_what_is_no_network_is_refused(name, change, says, task):
    config = smallest(name, "late", task=task)
    config.model = ml_collections.ConfigDict(registry.sized(name, "tiny") | change)
    with pytest.raises(InputError) as raised:
        make(config)
    assert str(raised.value).startswith("config.model.")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_number_that_is_missing_is_named():
    model = registry.sized("swin_unet", "tiny")
    del model["window"]
    with pytest.raises(InputError, match=r"config\.model\.window is missing: swin_unet has decoder_depths, depths"):
        shapes(model)


def test_lists_are_as_good_as_tuples():
    tiny = registry.sized("swin_unet", "tiny")
    as_lists = {key: list(value) if isinstance(value, tuple) else value for key, value in tiny.items()}
    assert shapes(as_lists) == shapes(tiny)


def test_an_unknown_size_is_refused():
    with pytest.raises(InputError, match="size='huge': swin_unet has the sizes t, s, b, tiny"):
        registry.sized("swin_unet", "huge")
