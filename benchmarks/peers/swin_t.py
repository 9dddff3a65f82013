"""Swin-T of timm and of transformers: one class for an image. Both take PyTorch's fused attention where they can."""

import types

import timm
import transformers


def _peer(network, forward):
    count = sum(parameter.numel() for parameter in network.parameters())
    return types.SimpleNamespace(network=network, count=count, forward=forward)


def _bands(bands) -> int:
    return sum(bands.values())


def of_timm(model, bands, classes: int):
    """As `timm.create_model` makes it."""
    del model
    network = timm.create_model(
        "swin_tiny_patch4_window7_224", in_chans=_bands(bands), num_classes=classes, drop_path_rate=0.0
    )
    return _peer(network, lambda network, images: {"head": network(images["image"])})


def of_transformers(model, bands, classes: int):
    """Scaled dot products of PyTorch ("sdpa")."""
    del model
    config = transformers.SwinConfig(
        num_channels=_bands(bands), num_labels=classes, drop_path_rate=0.0, attn_implementation="sdpa"
    )
    network = transformers.SwinForImageClassification(config)
    return _peer(network, lambda network, images: {"head": network(images["image"]).logits})
