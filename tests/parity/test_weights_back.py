"""Our networks, written by the names of other libraries as `lcjax export --layout` does, answer the same in them."""

import re

import filled
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from compare import compare
from peer import leaving
from safetensors.torch import load_file

from lcjax.models import registry
from lcjax.weights import inverse, safetensors_format
from lcjax.weights.layouts import ALL

BANDS = 5
IMAGE = filled.image("image", 2, 224, 224, BANDS)


def timm_of(name: str, **more):
    return lambda: timm.create_model(name, in_chans=BANDS, num_classes=0, **more)


RESNET = ("act1", "layer1", "layer2", "layer3", "layer4")
LITE0 = tuple(f"blocks.{stage}" for stage in (0, 1, 2, 4, 6))
SWIN = ("patch_embed", "layers.1.downsample", "layers.2.downsample", "norm")
VIT = ("norm_pre", *(f"blocks.{block}" for block in range(12)))
# our family and size, layout, the network that docs/export.md names, and the modules behind our stages
ENCODERS = {
    "resnet18": (("resnet18_unet",), "torchvision_resnet", timm_of("resnet18"), RESNET),
    "resnet50": (("resnet50_unet",), "torchvision_resnet", timm_of("resnet50"), RESNET),
    "efficientnet": (("efficientnet_lite0_unet",), "timm_efficientnet", timm_of("tf_efficientnet_lite0"), LITE0),
    "swin": (("two_stream_swin", "t"), "timm_swin", timm_of("swin_tiny_patch4_window7_224"), SWIN),
    "swin of Cao": (
        ("swin_unet",), "timm_swin", timm_of("swin_tiny_patch4_window7_224", depths=(2, 2, 2, 2)), SWIN,
    ),
    "vit": (("vit_pyramid", "s"), "timm_vit", timm_of("vit_small_patch16_224"), VIT),
}  # fmt: skip


def loaded(network, arrays, name: str, folder, lacking=()):
    """The network with the arrays, through the file that is exported; all of both are used."""
    layout = next(layout for layout in ALL if layout.name == name)
    theirs, left = inverse.theirs(arrays, layout, "FILE")
    safetensors_format.write(folder / "weights.safetensors", theirs, "format", "pt")
    told = network.load_state_dict(load_file(folder / "weights.safetensors"), strict=False)
    assert not told.unexpected_keys
    assert all(any(key.startswith(one) for one in lacking) for key in told.missing_keys), told.missing_keys
    return network.eval(), left


def answered(network, names) -> list[np.ndarray]:
    with torch.no_grad(), leaving(network, *names) as found:
        network(torch.tensor(IMAGE.transpose(0, 3, 1, 2)))
    return [found[name].numpy() for name in names]


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_in_timm(name, tmp_path, note):
    sized, layout, build, modules = ENCODERS[name]
    ours = filled.encoder(registry.sized(*sized), BANDS)
    arrays = {f"encoders/sensor/{path}": value for path, value in ours.values.items()}
    lacking = ("conv_head.", "bn2.") if name == "efficientnet" else ()
    network, left = loaded(build(), arrays, layout, tmp_path, lacking)
    assert all(name == "vit" and re.match(r"encoders/sensor/fine", path) for path in left)
    kind = "tokens" if name == "vit" else "encoder"
    found = answered(network, modules)
    if modules in (RESNET, LITE0):
        found = [feature.transpose(0, 2, 3, 1) for feature in found]
    theirs = {f"{kind}/{i}": feature for i, feature in enumerate(found)}
    mine = {key: stage for key, stage in ours.stages(IMAGE).items() if key in theirs}
    compare(f"{name} of ours in timm", mine, theirs, note)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_whole_networks_in_segmentation_models_pytorch(name, tmp_path, note):
    ours = filled.segmenter(registry.sized(f"{name}_unet"), {"image": BANDS}, 7)
    network, left = loaded(
        smp.Unet(name, encoder_weights=None, in_channels=BANDS, classes=7), ours.values, "smp_unet", tmp_path
    )
    assert not left
    with torch.no_grad():
        logits = network(torch.tensor(IMAGE.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    mine = ours.stages(({"image": IMAGE}, {"image": IMAGE}))["output"]
    compare(f"{name}_unet of ours in smp", {"output": mine}, {"output": logits}, note)
