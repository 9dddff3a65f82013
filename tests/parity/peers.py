"""Our networks as other libraries have them, with our values, and what leaves each of their stages.

Each peer is a function of (model, bands, classes) that returns a `Peer`. Features go by our names.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from articles import SimplePyramid, SwinUNet, UNet, channels_first, channels_last
from layouts import (
    EFFICIENTNET,
    RESNET,
    SMP_DECODER,
    SMP_RESNET,
    SWIN,
    SWIN_STAGE,
    UPERNET,
    VIT,
    Part,
    load,
    pairs,
)
from segmentation_models_pytorch import Unet
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from timm import create_model
from timm.layers import BatchNormAct2d
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNetFeatures
from torch import nn
from torch.nn.functional import interpolate
from transformers import (
    ResNetConfig,
    ResNetModel,
    SwinConfig,
    SwinModel,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    ViTConfig,
    ViTModel,
)
from transformers.models.swin.modeling_swin import SwinLayer
from transformers.models.upernet.modeling_upernet import UperNetHead

Stages = dict[str, torch.Tensor]
tensor = torch.tensor


@dataclasses.dataclass(frozen=True)
class Peer:
    """A network in PyTorch.

    Attributes:
      network: the module.
      parts: how its entries are ours.
      forward: (network, images by stream, of shape (B, C, H, W)) -> stages.
      unused: patterns of the names of entries without part in the stages.
    """

    network: nn.Module
    parts: tuple[Part, ...]
    forward: Callable[[nn.Module, Mapping[str, torch.Tensor]], Stages]
    unused: tuple[str, ...] = ()

    def load(self, values: Mapping[str, np.ndarray]) -> "Peer":
        """Itself, with our values."""
        load(self.network, self.parts, values, self.unused)
        return self

    def stages(self, images: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What leaves each stage, (B, H, W, C) or (B, N, C), of images (B, H, W, bands) by stream."""
        with torch.no_grad():
            found = self.forward(self.network, {name: channels_first(tensor(image)) for name, image in images.items()})
        return {name: (channels_last(x) if x.ndim == 4 else x).numpy() for name, x in found.items()}

    def whole_stages(self, images: Mapping[str, np.ndarray], height: int, width: int) -> dict[str, np.ndarray]:
        """As `stages`, with what it answers to an image that has been padded from this size."""
        stages = self.stages(images)
        return stages | {"output": stages.get("output", stages["head"])[:, :height, :width]}

    def gradients(self, images, loss, gradients) -> tuple[float, list[tuple[str, torch.Tensor, torch.Tensor]]]:
        """The loss in training, and for each of its parameters our path, our gradient of `gradients`, and its own.

        `loss` takes the stages, (B, H, W, C).
        """
        self.network.train()
        self.network.zero_grad()
        stages = self.forward(self.network, {name: channels_first(tensor(image)) for name, image in images.items()})
        value = loss({name: channels_last(x) for name, x in stages.items()})
        value.backward()
        found = pairs(self.network, self.parts, gradients, unused=self.unused, statistics=False)
        return value.item(), [
            (path, mine, self.network.get_parameter(name).grad) for name, (path, mine) in found.items()
        ]

    @property
    def count(self) -> int:
        """Number of its parameters that take part."""
        named = self.network.named_parameters()
        return sum(p.numel() for name, p in named if not any(re.search(pattern, name) for pattern in self.unused))


@contextlib.contextmanager
def leaving(network: nn.Module, *names: str) -> Iterator[dict[str, torch.Tensor]]:
    """What leaves the named modules while a block of code runs, by name."""
    found: dict[str, torch.Tensor] = {}
    hooks = []
    for name in names:

        def hook(module, inputs, output, name=name):
            # Later layers may overwrite it in place.
            found[name] = (output[0] if isinstance(output, tuple) else output).clone()

        hooks.append(network.get_submodule(name).register_forward_hook(hook))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


# Swin


def swin_config(model: Mapping, bands: int, **more) -> SwinConfig:
    return SwinConfig(
        num_channels=bands,
        embed_dim=model["embed"],
        depths=list(model["depths"]),
        num_heads=list(model["heads"]),
        window_size=model["window"],
        patch_size=model["patch"],
        drop_path_rate=0.0,
        attn_implementation="eager",
        **more,
    )


def unshifted(network: nn.Module) -> nn.Module:
    """Without a shift where one window holds an edge of the image: the article's rule.

    The library keeps to it only by making the window smaller too, for good and without its table of biases; or, as a
    backbone, pads to whole windows and shifts always.
    """

    def look(layer, inputs):
        if layer.window_size >= min(inputs[1]):
            layer.shift_size = 0

    for layer in network.modules():
        if isinstance(layer, SwinLayer):
            layer.register_forward_pre_hook(look)
    return network


def swin(model: Mapping, bands: int) -> Peer:
    """By the library's own rules: no stage may be smaller than a window."""

    def forward(network, images):
        found = network(images["image"], output_hidden_states=True)
        *entering, last = found.reshaped_hidden_states
        pyramid = [*entering[:-1], channels_first(found.last_hidden_state.view(channels_last(last).shape))]
        return {f"encoder/{i}": feature for i, feature in enumerate(pyramid)}

    return Peer(SwinModel(swin_config(model, bands), add_pooling_layer=False), (Part("", "", SWIN),), forward)


def swin_padded(model: Mapping, bands: int) -> Peer:
    """Stages of any size, padded to whole windows."""

    def forward(network, images):
        found = network(images["image"], output_hidden_states=True, always_partition=True)
        *entering, last = found.reshaped_hidden_states
        pyramid = [*entering[:-1], channels_first(found.last_hidden_state.view(channels_last(last).shape))]
        return {f"encoder/{i}": feature for i, feature in enumerate(pyramid)}

    network = unshifted(SwinModel(swin_config(model, bands), add_pooling_layer=False))
    return Peer(network, (Part("", "", SWIN),), forward)


def swin_unet(model: Mapping, bands: Mapping[str, int], classes: int) -> Peer:
    configs = {stream: swin_config(model, count) for stream, count in bands.items()}
    parts = [Part("expand", "head/expand"), Part("classify", "head/classify")]
    for stream in bands:
        parts.append(Part(f"streams.{stream}.encoder.", f"encoders/{stream}/", SWIN))
        rules = ((r"\.blocks\.", "."), *SWIN_STAGE)
        parts.append(Part(f"streams.{stream}.", f"decoders/{stream}/", rules))
    network = unshifted(SwinUNet(configs, model["decoder_depths"], classes))
    return Peer(network, tuple(parts), lambda network, images: network(images))


# UPerNet


def _upernet_features(network: nn.Module, prefix: str, levels: int) -> tuple[str, ...]:
    smooths = (f"{prefix}fpn_convs.{level}" for level in range(levels - 2, -1, -1))
    return (f"{prefix}bottleneck", *smooths, f"{prefix}fpn_bottleneck")


def _upernet_parts(prefix: str) -> tuple[Part, ...]:
    return (Part(f"{prefix}classifier", "head/classify"), Part(prefix, "decoders/image/", UPERNET))


def swin_upernet(model: Mapping, bands: Mapping[str, int], classes: int) -> Peer:
    levels = len(model["depths"])
    names = [f"stage{level + 1}" for level in range(levels)]
    config = UperNetConfig(
        backbone_config=swin_config(model, bands["image"], out_features=names),
        hidden_size=model["hidden"],
        num_labels=classes,
        use_auxiliary_head=False,
    )
    norms = ("norm" if level == levels - 1 else f"norms.{level}" for level in range(levels))
    rules = tuple((rf"^{name}", ours) for name, ours in zip(names, norms, strict=True))
    parts = (
        Part("backbone.hidden_states_norms.", "encoders/image/", rules),
        Part("backbone.swin.", "encoders/image/", SWIN),
        *_upernet_parts("decode_head."),
    )
    decoded = _upernet_features(None, "decode_head.", levels)

    def forward(network, images):
        with leaving(network, *decoded, "decode_head") as found:
            output = network(images["image"]).logits
        pyramid = network.backbone(images["image"]).feature_maps
        stages = {f"image/encoder/{i}": feature for i, feature in enumerate(pyramid)}
        stages |= {f"image/decoder/{i}": found[name] for i, name in enumerate(decoded)}
        return stages | {"head": found["decode_head"], "output": output}

    # A backbone normalises what it gives by norms of its own.
    return Peer(unshifted(UperNetForSemanticSegmentation(config)), parts, forward, (r"^backbone\.swin\.layernorm",))


# ViT


def _vit(model: Mapping, bands: int) -> ViTModel:
    config = ViTConfig(
        num_channels=bands,
        hidden_size=model["embed"],
        num_hidden_layers=model["depth"],
        num_attention_heads=model["heads"],
        intermediate_size=4 * model["embed"],
        patch_size=model["patch"],
        image_size=model["patch"] * model["grid"],
        attn_implementation="eager",
    )
    return ViTModel(config, add_pooling_layer=False)


def _tokens(network: ViTModel, image: torch.Tensor) -> tuple[Stages, torch.Tensor]:
    """Tokens after each block, and normalised ones as an image without the class token."""
    blocks = [f"layers.{i}" for i in range(len(network.layers))]
    with leaving(network, "embeddings", *blocks) as found:
        last = network(image, interpolate_pos_encoding=True).last_hidden_state[:, 1:]
    stages = {f"tokens/{i}": found[name] for i, name in enumerate(["embeddings", *blocks])}
    patch = network.config.patch_size
    return stages, channels_first(last.view(len(last), image.shape[2] // patch, image.shape[3] // patch, -1))


def vit(model: Mapping, bands: int) -> Peer:
    pyramid = SimplePyramid(model["embed"])

    def forward(network, images):
        stages, last = _tokens(network["vit"], images["image"])
        return stages | {f"encoder/{i}": feature for i, feature in enumerate(network["pyramid"](last))}

    network = nn.ModuleDict({"vit": _vit(model, bands), "pyramid": pyramid})
    return Peer(network, (Part("vit.", "", VIT), Part("pyramid.", "", _PYRAMID)), forward)


_PYRAMID = (
    (r"four1\.weight", "finest1.linear.weight"),
    (r"four2\.weight", "finest2.linear.weight"),
    (r"two\.weight", "finer.linear.weight"),
    (r"four", "finest"),
    (r"finest_norm", "finest_norm"),
    (r"two", "finer"),
)


class _Width:
    """What the head of UPerNet asks of its configuration."""

    pool_scales = (1, 2, 3, 6)

    def __init__(self, hidden: int, classes: int):
        self.hidden_size = hidden
        self.num_labels = classes


def vit_pyramid(model: Mapping, bands: Mapping[str, int], classes: int) -> Peer:
    embed = model["embed"]
    network = nn.ModuleDict(
        {
            "vit": _vit(model, bands["image"]),
            "pyramid": SimplePyramid(embed),
            "head": UperNetHead(_Width(model["hidden"], classes), [embed // 4, embed // 2, embed, embed]),
        }
    )
    decoded = _upernet_features(None, "", 4)

    def forward(network, images):
        _, last = _tokens(network["vit"], images["image"])
        pyramid = network["pyramid"](last)
        with leaving(network["head"], *decoded) as found:
            head = network["head"](pyramid)
        stages = {f"image/encoder/{i}": feature for i, feature in enumerate(pyramid)}
        stages |= {f"image/decoder/{i}": found[name] for i, name in enumerate(decoded)}
        size = images["image"].shape[2:]
        return stages | {"head": head, "output": interpolate(head, size=size, mode="bilinear", align_corners=False)}

    encoder = "encoders/image/"
    parts = (Part("vit.", encoder, VIT), Part("pyramid.", encoder, _PYRAMID), *_upernet_parts("head."))
    return Peer(network, parts, forward)


# ResNet, EfficientNet, UNets on them


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

    return Peer(_resnet(model, bands, block), (Part("", "", RESNET),), forward)


_SMP = (Part("decoder.", "decoders/image/", SMP_DECODER), Part("segmentation_head.0", "head/classify"))


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
    return _on_backbone(encoder, _resnet_pyramid, model, bands, channels, classes, RESNET)


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
    network = UNet(bands["image"], classes, base=model["base"], transposed=model["upsampling"] == "transposed")
    return Peer(network, parts, lambda network, images: network(images["image"]))


def smp_resnet(name: str) -> Callable[..., Peer]:
    return functools.partial(smp_unet, name=name, prefix="encoder.", rules=SMP_RESNET)


SMP_LITE0 = functools.partial(smp_unet, name="tu-tf_efficientnet_lite0", prefix="encoder.model.", rules=EFFICIENTNET)
