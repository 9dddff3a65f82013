"""Our convolutional networks as other libraries have them.

Each peer is a function of (model, bands, classes) that returns a `Peer`. Features go by our names.
"""

import functools
from collections.abc import Callable, Mapping

import torch
from articles import UNet
from layouts import Part
from peer import Peer, Stages, leaving
from segmentation_models_pytorch import Unet
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from timm import create_model
from timm.layers import BatchNormAct2d
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNetFeatures
from torch import nn
from transformers import ResNetConfig, ResNetModel

from lcjax.weights.layouts import transformers_resnet
from lcjax.weights.layouts.smp_unet import DECODER
from lcjax.weights.layouts.timm_efficientnet import EFFICIENTNET
from lcjax.weights.layouts.torchvision_resnet import RESNET


def _resnet(model: Mapping, bands: int, block: str) -> ResNetModel:
    width = model["width"] * (4 if block == "bottleneck" else 1)
    config = ResNetConfig(
        num_channels=bands,
        layer_type=block,
        depths=list(model["depths"]),
        hidden_sizes=[width * 2**stage for stage in range(len(model["depths"]))],
        embedding_size=model["width"],
    )
    return ResNetModel(config)


def _resnet_pyramid(network: ResNetModel, image: torch.Tensor) -> list[torch.Tensor]:
    names = ["embedder.embedder", *(f"encoder.stages.{i}" for i in range(len(network.encoder.stages)))]
    with leaving(network, *names) as found:
        network(image)
    return [found[name] for name in names]


def resnet(model: Mapping, bands: int, *, block: str) -> Peer:
    def forward(network, images):
        return {f"encoder/{i}": feature for i, feature in enumerate(_resnet_pyramid(network, images["image"]))}

    return Peer(_resnet(model, bands, block), (Part("", "", transformers_resnet.RULES),), forward)


_SMP = (Part("decoder.", "decoders/image/", DECODER), Part("segmentation_head.0", "head/classify"))


def _unet_stages(network: nn.Module, pyramid, run) -> Stages:
    """Of a network with the decoder and the head of segmentation_models_pytorch; `run` runs them."""
    decoded = [f"decoder.blocks.{i}" for i in range(len(network.decoder.blocks))]
    with leaving(network, *decoded) as found:
        head = run()
    stages = {f"image/encoder/{i}": feature for i, feature in enumerate(pyramid)}
    return stages | {f"image/decoder/{i}": found[name] for i, name in enumerate(decoded)} | {"head": head}


def smp_unet(model: Mapping, bands: Mapping[str, int], classes: int, *, name: str, prefix: str, rules) -> Peer:
    """As segmentation_models_pytorch has it, by name of the encoder."""

    def forward(network, images):
        image = images["image"]
        return _unet_stages(network, network.encoder(image)[1:], lambda: network(image))

    network = Unet(name, encoder_weights=None, in_channels=bands["image"], classes=classes)
    return Peer(network, (Part(prefix, "encoders/image/", rules), *_SMP), forward)


class _OnBackbone(nn.Module):
    """Any backbone with the decoder and the head of segmentation_models_pytorch."""

    def __init__(self, encoder: nn.Module, bands: int, channels, widths, classes: int):
        super().__init__()
        self.encoder = encoder
        self.decoder = UnetDecoder([bands, *channels], list(widths), n_blocks=len(widths))
        self.segmentation_head = SegmentationHead(widths[-1], classes, kernel_size=3)


def _on_backbone(encoder, pyramid_of, model, bands, channels, classes: int, rules) -> Peer:
    def forward(network, images):
        image = images["image"]
        pyramid = pyramid_of(network.encoder, image)
        return _unet_stages(network, pyramid, lambda: network.segmentation_head(network.decoder([image, *pyramid])))

    network = _OnBackbone(encoder, bands["image"], channels, model["widths"], classes)
    return Peer(network, (Part("encoder.", "encoders/image/", rules), *_SMP), forward)


def resnet_unet(model: Mapping, bands: Mapping[str, int], classes: int, *, block: str) -> Peer:
    """Of any size: the backbone of transformers, the decoder of segmentation_models_pytorch."""
    encoder = _resnet(model, bands["image"], block)
    channels = [model["width"], *encoder.config.hidden_sizes]
    return _on_backbone(encoder, _resnet_pyramid, model, bands, channels, classes, transformers_resnet.RULES)


def _efficientnet(model: Mapping, bands: int) -> EfficientNetFeatures:
    """Of any size."""
    kinds = (
        f"{'ir' if expansion > 1 else 'ds'}_r{blocks}_k{kernel}_s{stride}_e{expansion}_c{channels}"
        for expansion, kernel, stride, channels, blocks in model["stages"]
    )
    return EfficientNetFeatures(
        decode_arch_def([[kind] for kind in kinds]),
        in_chans=bands,
        stem_size=model["stem"],
        fix_stem=True,
        round_chs_fn=lambda channels: channels,
        act_layer=nn.ReLU6,
        norm_layer=functools.partial(BatchNormAct2d, eps=1e-3, act_layer=nn.ReLU6),
        pad_type="same",
    )


def efficientnet(model: Mapping, bands: int) -> Peer:
    """The published one, by its name."""

    def forward(network, images):
        return {f"encoder/{i}": feature for i, feature in enumerate(network(images["image"]))}

    network = create_model("tf_efficientnet_lite0", in_chans=bands, features_only=True)
    return Peer(network, (Part("", "", EFFICIENTNET),), forward)


def efficientnet_unet(model: Mapping, bands: Mapping[str, int], classes: int) -> Peer:
    encoder = _efficientnet(model, bands["image"])
    channels = encoder.feature_info.channels()

    def pyramid(network, image):
        return network(image)

    return _on_backbone(encoder, pyramid, model, bands, channels, classes, EFFICIENTNET)


def unet(model: Mapping, bands: Mapping[str, int], classes: int) -> Peer:
    rules = (
        (r"^down", "levels"),
        (r"^after", "levels"),
        (r"^up\.(\d+)\.weight", r"ups.\1.linear.weight"),
        (r"^up\b", "ups"),
        (r"levels\.(\d+)\.0", r"levels.\1.conv1"),
        (r"levels\.(\d+)\.1", r"levels.\1.norm1"),
        (r"levels\.(\d+)\.3", r"levels.\1.conv2"),
        (r"levels\.(\d+)\.4", r"levels.\1.norm2"),
    )
    parts = (
        Part("down", "encoders/image/", (("^", "down"), *rules)),
        Part("classify", "head/classify"),
        Part("", "decoders/image/", rules),
    )
    network = UNet(bands["image"], classes, base=model["base"], upsampling=model["upsampling"])
    return Peer(network, parts, lambda network, images: network(images["image"]))


def smp_resnet(name: str) -> Callable[..., Peer]:
    return functools.partial(smp_unet, name=name, prefix="encoder.", rules=RESNET)


SMP_LITE0 = functools.partial(smp_unet, name="tu-tf_efficientnet_lite0", prefix="encoder.model.", rules=EFFICIENTNET)
SMP_RESNET50 = smp_resnet("resnet50")
