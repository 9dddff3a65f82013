"""Names to networks: the table of families, their published and tiny sizes, and how each is put together."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx

from data_pipelines.errors import InputError
from lcjax.models.dual_encoder import DualEncoder
from lcjax.models.segmenter import Segmenter
from lcjax.models.swin import SwinDecoder, SwinEncoder, SwinHead
from lcjax.models.unet import UNetDecoder, UNetEncoder, UNetHead

DTYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16}

# The streams of each fusion: stream name -> sensors side by side.
STREAMS = {
    "s1": {"s1": ("s1",)},
    "s2": {"s2": ("s2",)},
    "aerial": {"aerial": ("aerial",)},
    "early": {"s1_s2": ("s1", "s2")},
    "late": {"s1": ("s1",), "s2": ("s2",)},
}

_SWIN_T = {"embed": 96, "heads": (3, 6, 12, 24), "window": 7, "patch": 4}
_SWIN_TINY = {"embed": 24, "heads": (1, 2, 4), "window": 4, "patch": 4, "depths": (1, 2, 1), "drop_path": 0.0}

# name -> (sizes as published, sizes for tests and demonstrations)
SIZES = {
    "unet": ({"base": 64}, {"base": 12}),
    # Cao et al. 2021: two blocks in every stage; drop path of the released configuration.
    "swin_unet": (_SWIN_T | {"depths": (2, 2, 2, 2), "drop_path": 0.2}, _SWIN_TINY),
    # Scheibenreif et al. 2022: a Swin-T per sensor, its decoder mirrored.
    "two_stream_swin": (_SWIN_T | {"depths": (2, 2, 6, 2), "drop_path": 0.1}, _SWIN_TINY),
}


def sizes(name: str, tiny: bool) -> dict:
    """The hyper-parameters of a family. Raises InputError for an unknown name."""
    if name not in SIZES:
        raise InputError(f"config.model.name={name!r}: expected one of {', '.join(SIZES)}")
    return dict(SIZES[name][tiny])


def _dtype(precision: str):
    if precision not in DTYPES:
        raise InputError(f"config.precision={precision!r}: expected one of {', '.join(DTYPES)}")
    return DTYPES[precision]


def _encoder(name: str, inputs: int, size: Mapping, dtype, rngs: nnx.Rngs) -> nnx.Module:
    if name == "unet":
        return UNetEncoder(inputs, base=size["base"], dtype=dtype, rngs=rngs)
    keys = ("embed", "depths", "heads", "window", "patch", "drop_path")
    return SwinEncoder(inputs, **{key: size[key] for key in keys}, dtype=dtype, rngs=rngs)


def _decoder(name: str, channels: tuple[int, ...], size: Mapping, dtype, rngs: nnx.Rngs) -> nnx.Module:
    if name == "unet":
        return UNetDecoder(channels, dtype=dtype, rngs=rngs)
    keys = ("depths", "heads", "window", "drop_path")
    return SwinDecoder(channels, **{key: size[key] for key in keys}, dtype=dtype, rngs=rngs)


def _head(name: str, channels: int, classes: int, size: Mapping, dtype, rngs: nnx.Rngs) -> nnx.Module:
    if name == "unet":
        return UNetHead(channels, classes, dtype=dtype, rngs=rngs)
    return SwinHead(channels, classes, patch=size["patch"], dtype=dtype, rngs=rngs)


def segmenter(
    model: Mapping, *, fusion: str, channels: Mapping[str, int], classes: int, precision: str, rngs: nnx.Rngs
) -> Segmenter:
    """Builds a segmentation network.

    Args:
      model: `name` and the family's sizes (see `SIZES`).
      fusion: a key of `STREAMS`.
      channels: bands by sensor.
      classes: number of classes.
      precision: "f32" or "bf16", of the computation; parameters are float32.
      rngs: where the initial parameters come from.
    """
    name, dtype = model["name"], _dtype(precision)
    streams = STREAMS[fusion]
    encoders = {
        stream: _encoder(name, sum(channels[sensor] for sensor in sensors), model, dtype, rngs)
        for stream, sensors in streams.items()
    }
    decoders = {stream: _decoder(name, encoder.channels, model, dtype, rngs) for stream, encoder in encoders.items()}
    joined = sum(decoder.outputs for decoder in decoders.values())
    return Segmenter(streams, encoders, decoders, _head(name, joined, classes, model, dtype, rngs))


def dual_encoder(
    model: Mapping, *, channels: Mapping[str, int], projection: int, precision: str, rngs: nnx.Rngs
) -> DualEncoder:
    """Builds the contrastive network: the encoders of `segmenter(..., fusion="late")` with projection heads."""
    dtype = _dtype(precision)
    encoders = {sensor: _encoder(model["name"], channels[sensor], model, dtype, rngs) for sensor in channels}
    return DualEncoder(encoders, projection=projection, dtype=dtype, rngs=rngs)
