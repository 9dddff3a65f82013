"""Names to networks: the table of families, and how each is put together."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.plugins import Registry
from lcjax.models import outside, presets
from lcjax.models.backbone_unet import BackboneDecoder
from lcjax.models.efficientnet import EfficientNetEncoder
from lcjax.models.heads import ConvHead, LinearHead
from lcjax.models.interfaces import Encoder, Inputs, whole
from lcjax.models.layers import Conv
from lcjax.models.metadata import MetadataBranch
from lcjax.models.params import Template
from lcjax.models.pretraining import DualEncoder, MaskedAutoencoder
from lcjax.models.resnet import ResNetEncoder
from lcjax.models.segmenter import Classifier, Segmenter
from lcjax.models.swin import SwinDecoder, SwinEncoder, SwinHead
from lcjax.models.unet import UNetDecoder, UNetEncoder
from lcjax.models.upernet import UPerNetDecoder
from lcjax.models.vit import ViTEncoder

DTYPES: dict[str, DTypeLike] = {"f32": jnp.float32, "bf16": jnp.bfloat16}


class Part:
    """A class of modules, and which of the numbers of a network it is built with.

    Args:
      build: the class.
      takes: names of its keyword arguments, from `config.model`, and of remat, dtype and rngs.
      fixed: keyword arguments that are the same for all sizes.
    """

    def __init__(self, build: Callable[..., Any], *takes: str, **fixed: Any):
        self._build, self._takes, self._fixed = build, takes, fixed

    def __call__(self, *args: Any, **known: Any) -> Any:
        """Builds it from positional arguments and those of the known numbers that it takes."""
        return self._build(*args, **{name: known[name] for name in self._takes}, **self._fixed)


@dataclasses.dataclass(frozen=True)
class Family:
    """How the parts of a network are built, and its sizes.

    Attributes:
      encoder: (bands, ...) -> Encoder.
      decoder: (channels, ...) -> Decoder.
      head: (channels, classes, ...) -> Head.
      sizes: the numbers, by name of the size.
      line: what it is, in one line.
    """

    encoder: Part
    decoder: Part
    head: Part
    sizes: presets.Sizes
    line: str


_HOW = ("remat", "dtype", "rngs")
_BACKBONE_DECODER = Part(BackboneDecoder, "widths", *_HOW)
_CONV_HEAD = Part(ConvHead, "rngs")
_LINEAR_HEAD = Part(LinearHead, "rngs")
_SWIN_STAGES = ("depths", "heads", "window", "drop_path")
_SWIN_PARTS = (
    Part(SwinEncoder, "embed", "patch", *_SWIN_STAGES, *_HOW, skips="entering"),
    Part(SwinDecoder, "decoder_depths", *_SWIN_STAGES, *_HOW),
    Part(SwinHead, "patch", "dtype", "rngs"),
)
_UPERNET_DECODER = Part(UPerNetDecoder, "hidden", *_HOW)


def _resnet_unet(layers: int, block: str, depths: tuple[int, ...]) -> Family:
    encoder = Part(ResNetEncoder, "depths", "width", *_HOW, block=block)
    line = f"a ResNet-{layers} encoder (He et al. 2016) and the decoder of a UNet"
    return Family(encoder, _BACKBONE_DECODER, _CONV_HEAD, presets.resnet(depths), line)


FAMILIES = {
    "unet": Family(
        Part(UNetEncoder, "base", "patch", "upsampling", *_HOW),
        Part(UNetDecoder, "upsampling", *_HOW),
        _LINEAR_HEAD,
        presets.UNET,
        "convolutions at five resolutions, joined by skips (Ronneberger et al. 2015)",
    ),
    "resnet18_unet": _resnet_unet(18, "basic", (2, 2, 2, 2)),
    "resnet34_unet": _resnet_unet(34, "basic", (3, 4, 6, 3)),
    "resnet50_unet": _resnet_unet(50, "bottleneck", (3, 4, 6, 3)),
    "resnet101_unet": _resnet_unet(101, "bottleneck", (3, 4, 23, 3)),
    "efficientnet_lite0_unet": Family(
        Part(EfficientNetEncoder, "stem", "stages", *_HOW),
        _BACKBONE_DECODER,
        _CONV_HEAD,
        presets.EFFICIENTNET_LITE0,
        "an EfficientNet-Lite0 encoder (Tan and Le 2019) and the decoder of a UNet",
    ),
    "swin_unet": Family(*_SWIN_PARTS, presets.SWIN_UNET, "a UNet of Swin transformer blocks (Cao et al. 2021)"),
    "two_stream_swin": Family(
        *_SWIN_PARTS,
        presets.TWO_STREAM_SWIN,
        "a Swin encoder and its mirror for each sensor, joined before the head (Scheibenreif et al. 2022)",
    ),
    "swin_upernet": Family(
        Part(SwinEncoder, "embed", "patch", *_SWIN_STAGES, *_HOW, skips="leaving"),
        _UPERNET_DECODER,
        _LINEAR_HEAD,
        presets.SWIN_UPERNET,
        "a Swin encoder and the UPerNet decoder (Xiao et al. 2018)",
    ),
    "vit_pyramid": Family(
        Part(ViTEncoder, "embed", "depth", "heads", "patch", "grid", "drop_path", *_HOW),
        _UPERNET_DECODER,
        _LINEAR_HEAD,
        presets.VIT,
        "a plain vision transformer (Dosovitskiy et al. 2021), a feature pyramid and the UPerNet decoder",
    ),
}


# All that config.model.name may be.
MODELS = Registry("config.model.name", "lcjax.models", FAMILIES)


def is_built_in(name: str) -> bool:
    """Whether a network is one of ours: those can be exported for images of any size, others perhaps not."""
    return MODELS.is_built_in(name)


def family(name: str) -> Family:
    """The family of that name. Raises InputError for one that is not of ours."""
    if name not in FAMILIES:
        raise InputError(f"config.model.name={name!r}: expected one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def sized(name: str, size: str = "") -> dict[str, Any]:
    """`config.model` of a network: its name, and the numbers of one of its sizes; "" is the first.

    Raises InputError for an unknown name or size.
    """
    if not is_built_in(name):
        return outside.sized(MODELS.find(name), name, size)
    known = family(name).sizes
    if size and size not in known:
        raise InputError(f"size={size!r}: {name} has the sizes {', '.join(known)}")
    return {"name": name} | known[size or next(iter(known))]


def _dtype(precision: str) -> DTypeLike:
    if precision not in DTYPES:
        raise InputError(f"config.precision={precision!r}: expected one of {', '.join(DTYPES)}")
    return DTYPES[precision]


def network(
    model: Mapping[str, Any],
    *,
    bands: Mapping[str, int],
    classes: int,
    streams: Mapping[str, Inputs] | None = None,
    precision: str = "f32",
    remat: bool = False,
    metadata: int = 0,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """Builds a network that gives every pixel a class: one of ours, or one of another package.

    Args:
      model: `name` and its numbers (config.model).
      bands: sensor -> number of bands.
      classes: number of classes.
      streams: for ours, name of each encoder -> what it is given; an encoder for each sensor if there are none.
      precision: "f32" or "bf16", of the computation; parameters and logits are float32.
      remat: the backward pass computes each stage again instead of keeping what is inside it.
      metadata: how many numbers beside the images the network takes, if any.
      rngs: where the initial parameters come from.

    Raises:
      InputError: the network is unknown, or cannot be built so.
    """
    if is_built_in(model["name"]):
        streams = streams or whole(bands)
        known: dict[str, Any] = {"precision": precision, "remat": remat, "metadata": metadata, "rngs": rngs}
        return segmenter(model, streams=streams, classes=classes, **known)
    make = MODELS.find(model["name"])
    if metadata:
        raise InputError(
            f"config.metadata: {model['name']!r} takes images alone, as do all networks of other packages; set "
            "config.metadata=False"
        )
    return outside.build(make, model, bands=bands, classes=classes, dtype=_dtype(precision), remat=remat, rngs=rngs)


def segmenter(
    model: Mapping[str, Any],
    *,
    streams: Mapping[str, Inputs],
    classes: int,
    precision: str,
    remat: bool = False,
    metadata: int = 0,
    rngs: nnx.Rngs,
) -> Segmenter:
    """Builds a segmentation network.

    Args:
      model: `name` and the family's sizes (see `FAMILIES`).
      streams: name of each encoder -> what it is given.
      classes: number of classes.
      precision: "f32" or "bf16", of the computation; parameters and logits are float32.
      remat: the backward pass computes each stage again instead of keeping what is inside it.
      metadata: how many numbers beside the images the network takes, if any.
      rngs: where the initial parameters come from.
    """
    parts, known = family(model["name"]), _known(model, precision, remat, rngs)
    adapters, encoders = _encoders(parts, streams, known)
    decoders = {stream: parts.decoder(encoder.channels, **known) for stream, encoder in encoders.items()}
    joined = sum(decoder.outputs for decoder in decoders.values())
    head = parts.head(joined, classes, **known)
    deepest = {stream: encoder.channels[-1] for stream, encoder in encoders.items()}
    branch = MetadataBranch(metadata, deepest, rngs=rngs) if metadata else None
    return Segmenter(streams, adapters, encoders, decoders, head, branch)


def classifier(
    model: Mapping[str, Any],
    *,
    streams: Mapping[str, Inputs],
    classes: int,
    precision: str,
    remat: bool = False,
    rngs: nnx.Rngs,
) -> Classifier:
    """Builds a classification network on the encoders that a `segmenter` would have; arguments as of that.

    Raises:
      InputError: the network is of another package: those give every pixel a class.
    """
    if not is_built_in(model["name"]):
        raise InputError(
            f"config.model.name={model['name']!r}: a network of another package, which gives every pixel a class; "
            f"classification needs one of ours: {', '.join(FAMILIES)}"
        )
    adapters, encoders = _encoders(family(model["name"]), streams, _known(model, precision, remat, rngs))
    return Classifier(streams, adapters, encoders, classes, rngs=rngs)


def _known(model: Mapping[str, Any], precision: str, remat: bool, rngs: nnx.Rngs) -> dict[str, Any]:
    """The numbers that the parts of a network of ours are built with. Raises InputError where one is missing."""
    presets.check(model, family(model["name"]).sizes)
    return {**model, "remat": remat, "dtype": _dtype(precision), "rngs": rngs}


def _encoders(
    parts: Family, streams: Mapping[str, Inputs], known: Mapping[str, Any]
) -> tuple[dict[str, nnx.Conv], dict[str, Encoder]]:
    """Adapters and encoders by the name of their stream."""
    adapters = {
        stream: Conv(given.bands, given.adapter, (1, 1), dtype=known["dtype"], rngs=known["rngs"])
        for stream, given in streams.items()
        if given.adapter
    }
    return adapters, {stream: parts.encoder(given.adapter or given.bands, **known) for stream, given in streams.items()}


def dual_encoder(
    model: Mapping[str, Any],
    *,
    channels: Mapping[str, int],
    views: Mapping[str, str] | None = None,
    projection: int,
    precision: str,
    remat: bool = False,
    rngs: nnx.Rngs,
) -> DualEncoder:
    """Builds the network of pre-training: projection heads on the encoders that a `segmenter` would have.

    Args:
      model, precision, remat, rngs: as of `segmenter`.
      channels: name of each encoder -> its bands.
      views: name of each view -> its encoder; without, there is a view for each, of its name.
      projection: width of the heads; with 0 there are none.
    """
    _, encoders = _encoders(family(model["name"]), whole(channels), _known(model, precision, remat, rngs))
    return DualEncoder(encoders, views, projection=projection, dtype=_dtype(precision), rngs=rngs)


def masked_autoencoder(
    model: Mapping[str, Any],
    *,
    streams: Mapping[str, Inputs],
    precision: str,
    remat: bool = False,
    rngs: nnx.Rngs,
) -> MaskedAutoencoder:
    """Builds the network of masked reconstruction on the encoder that a `segmenter` of one stream would have."""
    _, encoders = _encoders(family(model["name"]), streams, _known(model, precision, remat, rngs))
    (given,) = streams.values()
    return MaskedAutoencoder(encoders, given.bands, dtype=_dtype(precision), rngs=rngs)


def create(
    name: str,
    *,
    bands: int | Mapping[str, int],
    classes: int,
    size: str = "",
    precision: str = "f32",
    seed: int = 0,
    **numbers: Any,
) -> nnx.Module:
    """See lcjax.models.create."""
    counts = dict(bands) if isinstance(bands, Mapping) else {"image": bands}
    for what, value in {
        "classes": classes,
        **{f"bands of {sensor}": count for sensor, count in counts.items()},
    }.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"{what}={value!r}: expected a whole number above 0")
    if not counts:
        raise InputError(f"bands={bands!r}: expected a number of bands, or {{sensor: number}}")
    model = sized(name, size) | numbers
    template = Template(lambda rngs: network(model, bands=counts, classes=classes, precision=precision, rngs=rngs))
    return template.merge(*jax.device_put(template.initial_values(seed)), train=False)
