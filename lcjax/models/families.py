"""Names to networks: the table of families, their published and tiny sizes, and how each is put together."""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from flax import nnx

from data_pipelines.errors import InputError
from lcjax.models.dual_encoder import DualEncoder
from lcjax.models.parts import Decoder, Encoder, Head
from lcjax.models.segmenter import Segmenter
from lcjax.models.swin import SwinDecoder, SwinEncoder, SwinHead
from lcjax.models.unet import UNetDecoder, UNetEncoder, UNetHead

DTYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16}


@dataclasses.dataclass(frozen=True)
class Family:
    """How the parts of a network are built, and its sizes as published and for tests and demonstrations.

    Attributes:
      encoder: (bands, size, dtype=, rngs=) -> Encoder.
      decoder: (channels, size, dtype=, rngs=) -> Decoder.
      head: (channels, classes, size, dtype=, rngs=) -> Head.
      published, tiny: the sizes, by name.
    """

    encoder: Callable[..., Encoder]
    decoder: Callable[..., Decoder]
    head: Callable[..., Head]
    published: dict
    tiny: dict


def _only(size: Mapping, *names: str) -> dict:
    return {name: size[name] for name in names}


_UNET = Family(
    encoder=lambda bands, size, **how: UNetEncoder(bands, **_only(size, "base", "patch"), **how),
    decoder=lambda channels, size, **how: UNetDecoder(channels, **how),
    head=lambda channels, classes, size, **how: UNetHead(channels, classes, **_only(size, "patch"), **how),
    published={"base": 64, "patch": 1},
    tiny={"base": 12, "patch": 1},
)
_STAGES = ("depths", "heads", "window", "drop_path")
_SWIN_T = {"embed": 96, "heads": (3, 6, 12, 24), "window": 7, "patch": 4}
# Cao et al. 2021: two blocks in every stage; drop path of the released configuration.
_SWIN_UNET = Family(
    encoder=lambda bands, size, **how: SwinEncoder(bands, **_only(size, "embed", "patch", *_STAGES), **how),
    decoder=lambda channels, size, **how: SwinDecoder(channels, **_only(size, *_STAGES), **how),
    head=lambda channels, classes, size, **how: SwinHead(channels, classes, **_only(size, "patch"), **how),
    published=_SWIN_T | {"depths": (2, 2, 2, 2), "drop_path": 0.2},
    tiny={"embed": 24, "heads": (1, 2, 4), "window": 4, "patch": 4, "depths": (1, 2, 1), "drop_path": 0.0},
)
# Scheibenreif et al. 2022: a Swin-T per sensor, its decoder mirrored.
_TWO_STREAM = dataclasses.replace(_SWIN_UNET, published=_SWIN_T | {"depths": (2, 2, 6, 2), "drop_path": 0.1})

FAMILIES = {"unet": _UNET, "swin_unet": _SWIN_UNET, "two_stream_swin": _TWO_STREAM}


def family(name: str) -> Family:
    """The family of that name. Raises InputError for an unknown one."""
    if name not in FAMILIES:
        raise InputError(f"config.model.name={name!r}: expected one of {', '.join(FAMILIES)}")
    return FAMILIES[name]


def _dtype(precision: str):
    if precision not in DTYPES:
        raise InputError(f"config.precision={precision!r}: expected one of {', '.join(DTYPES)}")
    return DTYPES[precision]


def segmenter(
    model: Mapping,
    *,
    streams: Mapping[str, tuple[str, ...]],
    channels: Mapping[str, int],
    classes: int,
    precision: str,
    rngs: nnx.Rngs,
) -> Segmenter:
    """Builds a segmentation network.

    Args:
      model: `name` and the family's sizes (see `FAMILIES`).
      streams: name of each encoder -> its sensors, bands side by side.
      channels: bands by sensor.
      classes: number of classes.
      precision: "f32" or "bf16", of the computation; parameters are float32.
      rngs: where the initial parameters come from.
    """
    parts = family(model["name"])
    how = {"dtype": _dtype(precision), "rngs": rngs}
    encoders = {
        stream: parts.encoder(sum(channels[sensor] for sensor in sensors), model, **how)
        for stream, sensors in streams.items()
    }
    decoders = {stream: parts.decoder(encoder.channels, model, **how) for stream, encoder in encoders.items()}
    joined = sum(decoder.outputs for decoder in decoders.values())
    return Segmenter(streams, encoders, decoders, parts.head(joined, classes, model, **how))


def dual_encoder(
    model: Mapping, *, channels: Mapping[str, int], projection: int, precision: str, rngs: nnx.Rngs
) -> DualEncoder:
    """Builds the contrastive network: projection heads on the encoders that a late-fusion `segmenter` would have."""
    how = {"dtype": _dtype(precision), "rngs": rngs}
    encoders = {sensor: family(model["name"]).encoder(bands, model, **how) for sensor, bands in channels.items()}
    return DualEncoder(encoders, projection=projection, **how)
