"""Whole networks against those of other libraries, or against their articles: every stage, even and odd sizes."""

import attention
import convolution
import filled
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from compare import compare, gradient_errors

from lcjax.models import registry

EVEN, ODD = (224, 224), (97, 130)
RGB = {"image": 3}
# Family and size, peer, bands by stream, sizes of images.
CASES = {
    "swin_unet t": ("swin_unet", "t", attention.swin_unet, {"image": 5}, [EVEN, ODD]),
    "two_stream_swin t": ("two_stream_swin", "t", attention.swin_unet, {"s1": 2, "s2": 13}, [EVEN, ODD]),
    "swin_upernet t": ("swin_upernet", "t", attention.swin_upernet, RGB, [(256, 256), ODD]),
    "vit_pyramid s": ("vit_pyramid", "s", attention.vit_pyramid, RGB, [EVEN, ODD]),
    "vit_pyramid b": ("vit_pyramid", "b", attention.vit_pyramid, RGB, [EVEN]),
    **{
        f"resnet{number}_unet": (
            f"resnet{number}_unet",
            "",
            convolution.smp_resnet(f"resnet{number}"),
            {"image": 5},
            [EVEN, ODD],
        )
        for number in (18, 34, 50, 101)
    },
    "efficientnet_lite0_unet": ("efficientnet_lite0_unet", "", convolution.SMP_LITE0, {"image": 5}, [EVEN, ODD]),
    "unet bilinear": ("unet", "bilinear", convolution.unet, {"image": 5}, [EVEN, (61, 75)]),
    "unet align_corners": ("unet", "bilinear", convolution.unet, {"image": 5}, [EVEN, (61, 75)]),
    "unet transposed": ("unet", "transposed", convolution.unet, {"image": 5}, [EVEN, (61, 75)]),
}


# Numbers that no size has.
CHANGES = {"unet align_corners": {"upsampling": "align_corners"}}


@pytest.mark.parametrize("name", CASES)
def test_every_stage(name, note):
    family, size, build, bands, sizes = CASES[name]
    model = registry.sized(family, size) | CHANGES.get(name, {})
    ours = filled.segmenter(model, bands)
    peer = build(model, bands, filled.CLASSES).load(ours.values)
    assert peer.count == ours.count
    for height, width in sizes:
        images = {stream: filled.image(stream, 1, height, width, count) for stream, count in bands.items()}
        whole = {stream: filled.padded(image, ours.stride) for stream, image in images.items()}
        theirs = peer.whole_stages(whole, height, width)
        compare(f"{name} {height}x{width}", ours.stages((images, whole)), theirs, note)


def _gradients(ours, peer, images, title, note, dtype=np.float32):
    """Of the cross-entropy, batch norms by the statistics of the batch, without dropped paths."""
    shape = images["image"].shape[:3]
    label = np.random.default_rng(0).integers(0, filled.CLASSES, shape)

    def loss(network):
        logits = jax.nn.log_softmax(network(images))
        return -jnp.take_along_axis(logits, label[..., None], axis=-1).mean()

    def theirs(stages):
        return torch.nn.functional.cross_entropy(stages["head"].permute(0, 3, 1, 2), torch.tensor(label))

    gradient_errors(title, ours.gradients(loss, dtype), peer, images, theirs, note)


def test_gradients_of_swin_unet(note):
    model, bands = registry.sized("swin_unet"), {"image": 5}
    ours = filled.segmenter(model, bands)
    peer = attention.swin_unet(model, bands, filled.CLASSES).load(ours.values)
    _gradients(ours, peer, {"image": filled.image("image", 4, 224, 224, 5)}, "swin_unet t", note)


def test_gradients_of_resnet_unet(note, monkeypatch):
    """Computed in float64.

    In float32 the gradient of so many ReLUs has no three digits: where rounding changes a sign, a whole path is in or
    out, and the same network in PyTorch is 1e-2 from itself in float64.
    """
    monkeypatch.setitem(registry.DTYPES, "f64", jnp.float64)
    model, bands = registry.sized("resnet34_unet"), {"image": 5}
    with jax.enable_x64(True):
        ours = filled.segmenter(model, bands, precision="f64")
        peer = convolution.smp_resnet("resnet34")(model, bands, filled.CLASSES).load(ours.values)
        peer.network.double()
        images = {"image": filled.image("image", 4, 96, 96, 5).astype(np.float64)}
        _gradients(ours, peer, images, "resnet34_unet in float64", note, np.float64)


# Counted by independent code: parameters by bands and classes.
COUNTS = [
    ("swin_unet", attention.swin_unet, {"image": 3}, 9, 27_168_900),
    ("swin_unet", attention.swin_unet, {"image": 5}, 13, 27_172_356),
    ("swin_unet", attention.swin_unet, {"image": 15}, 8, 27_187_236),
    ("unet", convolution.unet, {"image": 5}, 13, 17_269_325),
    ("unet", convolution.unet, {"image": 15}, 8, 17_274_760),
    ("resnet34_unet", convolution.smp_resnet("resnet34"), {"image": 5}, 19, 24_445_251),
    ("resnet50_unet", convolution.smp_resnet("resnet50"), {"image": 5}, 13, 32_529_117),
]


@pytest.mark.parametrize(("family", "build", "bands", "classes", "count"), COUNTS)
def test_counts(family, build, bands, classes, count):
    model = registry.sized(family)
    assert filled.segmenter(model, bands, classes).count == count
    assert build(model, bands, classes).count == count


def test_count_of_two_streams():
    bands, model = {"s1": 2, "s2": 13}, registry.sized("two_stream_swin")
    ours = filled.segmenter(model, bands, 8).count
    assert attention.swin_unet(model, bands, 8).count == ours
    assert round(ours / 1e6, 2) == 83.07
