"""Our transformers as other libraries have them.

Each peer is a function of (model, bands, classes) that returns a `Peer`. Features go by our names.
"""

from collections.abc import Mapping

import torch
from articles import SimplePyramid, SwinUNet, channels_first, channels_last
from layouts import SWIN, SWIN_STAGE, UPERNET, VIT, Part
from peer import Peer, Stages, leaving
from torch import nn
from torch.nn.functional import interpolate
from transformers import SwinConfig, SwinModel, UperNetConfig, UperNetForSemanticSegmentation, ViTConfig, ViTModel
from transformers.models.swin.modeling_swin import SwinLayer
from transformers.models.upernet.modeling_upernet import UperNetHead

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
    network = SwinModel(swin_config(model, bands), add_pooling_layer=False)
    return Peer(network, (Part("", "", SWIN),), lambda network, images: swin_stages(network, images["image"]))


def swin_stages(network: SwinModel, image: torch.Tensor, **how) -> Stages:
    """What enters each stage but the first, and what leaves the last, normalised."""
    found = network(image, output_hidden_states=True, **how)
    *entering, last = found.reshaped_hidden_states
    pyramid = [*entering[:-1], channels_first(found.last_hidden_state.view(channels_last(last).shape))]
    return {f"encoder/{i}": feature for i, feature in enumerate(pyramid)}


def swin_padded(model: Mapping, bands: int) -> Peer:
    """Stages of any size, padded to whole windows."""

    def forward(network, images):
        return swin_stages(network, images["image"], always_partition=True)

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


def _upernet_features(prefix: str, levels: int) -> tuple[str, ...]:
    smooths = (f"{prefix}fpn_convs.{level}" for level in range(levels - 2, -1, -1))
    return (f"{prefix}bottleneck", *smooths, f"{prefix}fpn_bottleneck")


def _upernet_parts(prefix: str) -> tuple[Part, ...]:
    return (Part(f"{prefix}classifier", "head/classify"), Part(prefix, "decoders/image/", UPERNET))


def upernet(model: Mapping, bands: int, classes: int, *, auxiliary: bool = False) -> UperNetForSemanticSegmentation:
    """UPerNet of transformers; `auxiliary` adds the head that only training needs."""
    names = [f"stage{level + 1}" for level in range(len(model["depths"]))]
    config = UperNetConfig(
        backbone_config=swin_config(model, bands, out_features=names),
        hidden_size=model["hidden"],
        num_labels=classes,
        use_auxiliary_head=auxiliary,
    )
    return UperNetForSemanticSegmentation(config)


def upernet_stages(network: UperNetForSemanticSegmentation, image: torch.Tensor) -> Stages:
    """Features of the encoder, of the decoder, and both sizes of logits."""
    pyramid = network.backbone(image).feature_maps
    decoded = _upernet_features("decode_head.", len(pyramid))
    with leaving(network, *decoded, "decode_head") as found:
        output = network(image).logits
    stages = {f"image/encoder/{i}": feature for i, feature in enumerate(pyramid)}
    stages |= {f"image/decoder/{i}": found[name] for i, name in enumerate(decoded)}
    return stages | {"head": found["decode_head"], "output": output}


def swin_upernet(model: Mapping, bands: Mapping[str, int], classes: int) -> Peer:
    levels = len(model["depths"])
    names = [f"stage{level + 1}" for level in range(levels)]
    norms = ("norm" if level == levels - 1 else f"norms.{level}" for level in range(levels))
    rules = tuple((rf"^{name}", ours) for name, ours in zip(names, norms, strict=True))
    parts = (
        Part("backbone.hidden_states_norms.", "encoders/image/", rules),
        Part("backbone.swin.", "encoders/image/", SWIN),
        *_upernet_parts("decode_head."),
    )
    network = unshifted(upernet(model, bands["image"], classes))
    # A backbone normalises what it gives by norms of its own.
    unused = (r"^backbone\.swin\.layernorm",)
    return Peer(network, parts, lambda network, images: upernet_stages(network, images["image"]), unused)


# ViT


def vit_config(model: Mapping, bands: int) -> ViTConfig:
    return ViTConfig(
        num_channels=bands,
        hidden_size=model["embed"],
        num_hidden_layers=model["depth"],
        num_attention_heads=model["heads"],
        intermediate_size=4 * model["embed"],
        patch_size=model["patch"],
        image_size=model["patch"] * model["grid"],
        attn_implementation="eager",
    )


def _vit(model: Mapping, bands: int) -> ViTModel:
    return ViTModel(vit_config(model, bands), add_pooling_layer=False)


def tokens(network: ViTModel, image: torch.Tensor) -> tuple[Stages, torch.Tensor]:
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
        stages, last = tokens(network["vit"], images["image"])
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
    decoded = _upernet_features("", 4)

    def forward(network, images):
        _, last = tokens(network["vit"], images["image"])
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
