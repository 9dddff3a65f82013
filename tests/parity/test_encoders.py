"""Encoders against those of other libraries: every stage, even and odd sizes."""

import functools

import attention
import convolution
import filled
import pytest
from compare import compare, gradient_errors
from peer import tensor

from lcjax.models import registry

RESNETS = {18: "basic", 34: "basic", 50: "bottleneck", 101: "bottleneck"}
EVEN, ODD = (224, 224), (97, 130)
# Swin's odd grids of tokens: all of its stages are padded, in windows and in merging.
CASES = {
    "swin_t": ("two_stream_swin", {"size": "t"}, attention.swin, [EVEN, (228, 244)]),
    "swin_t window 8": ("two_stream_swin", {"size": "t", "window": 8}, attention.swin, [(256, 256), (260, 300)]),
    "swin_t window 12": ("two_stream_swin", {"size": "t", "window": 12}, attention.swin, [(384, 384), (388, 404)]),
    "swin_t, windows larger than stages": (
        "two_stream_swin",
        {"size": "t"},
        attention.swin_padded,
        [(64, 64), (60, 76)],
    ),
    "swin_s": ("two_stream_swin", {"size": "s"}, attention.swin, [EVEN, (228, 244)]),
    "swin_b": ("two_stream_swin", {"size": "b"}, attention.swin, [EVEN]),
    "swin_b window 12": ("two_stream_swin", {"size": "b", "window": 12}, attention.swin, [(388, 404)]),
    **{
        f"resnet{number}": (f"resnet{number}_unet", {}, functools.partial(convolution.resnet, block=block), [EVEN, ODD])
        for number, block in RESNETS.items()
    },
    "efficientnet_lite0": ("efficientnet_lite0_unet", {}, convolution.efficientnet, [EVEN, ODD]),
    # 10 x 13 and 16 x 16 tokens: positions interpolated.
    "vit_s": ("vit_pyramid", {"size": "s"}, attention.vit, [EVEN, (160, 224), (256, 256)]),
    "vit_b": ("vit_pyramid", {"size": "b"}, attention.vit, [EVEN, (160, 224)]),
}
BANDS = 5


def _model(family: str, size: str = "", **numbers) -> dict:
    return registry.sized(family, size) | numbers


@pytest.mark.parametrize("name", CASES)
def test_every_stage(name, note):
    family, numbers, build, sizes = CASES[name]
    model = _model(family, **numbers)
    ours = filled.encoder(model, BANDS)
    for height, width in sizes:
        # Some peers remember the size of an image.
        peer = build(model, BANDS).load(ours.values)
        assert peer.count == ours.count
        image = filled.image("image", 1, height, width, BANDS)
        compare(f"{name} {height}x{width}", ours.stages(image), peer.stages({"image": image}), note)


def test_gradients_of_swin(note):
    """Of a sum of all features with random weights."""
    model = _model("two_stream_swin", "t")
    ours, peer = filled.encoder(model, BANDS), attention.swin(model, BANDS)
    image = filled.image("image", 2, 224, 224, BANDS)
    weights = {name: filled.image(name, *stage.shape) for name, stage in ours.stages(image).items()}

    def loss(network):
        return sum((weights[f"encoder/{i}"] * feature).mean() for i, feature in enumerate(network(image)))

    def theirs(stages):
        return sum((tensor(weights[name]) * stage).mean() for name, stage in stages.items())

    gradient_errors("swin_t", ours.gradients(loss), peer.load(ours.values), {"image": image}, theirs, note)


# From papers, and from code that is neither ours nor these libraries': parameters by bands.
@pytest.mark.parametrize(("bands", "count"), [(2, 27_517_818), (13, 27_534_714)])
def test_count_of_swin(bands, count):
    model = _model("two_stream_swin", "t")
    assert filled.encoder(model, bands).count == count
    assert attention.swin(model, bands).count == count
