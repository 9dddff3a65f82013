"""What the parts of a network offer each other; the families fill them in."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from data_pipelines.schema.errors import InputError

# The encoder of this name learns from scratch beside others: it takes nothing from another run and is never frozen.
OWN = "own"

Images = Mapping[str, jax.Array]  # sensor -> (B, H, W, C)


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What an encoder is given.

    Attributes:
      places: sensor, and the places of the bands that are taken of it; one after the other, side by side.
      adapter: how many bands a learned 1x1 convolution makes of them for the encoder; 0 is none.
    """

    places: tuple[tuple[str, tuple[int, ...]], ...]
    adapter: int = 0

    @property
    def bands(self) -> int:
        """How many are taken."""
        return sum(len(places) for _, places in self.places)

    def of(self, images: Mapping[str, jax.Array]) -> jax.Array:
        """The image (B, H, W, bands) of images {sensor: (B, H, W, all of its bands)}."""
        return jnp.concatenate([_bands(images[sensor], places) for sensor, places in self.places], axis=-1)


def _bands(image: jax.Array, places: tuple[int, ...]) -> jax.Array:
    if places == tuple(range(image.shape[-1])):
        return image
    return jnp.concatenate([image[..., place : place + 1] for place in places], axis=-1)


def whole(bands: Mapping[str, int]) -> dict[str, Inputs]:
    """An encoder for each sensor, which takes all of its bands: {sensor: how many} -> {sensor: what it is given}."""
    return {sensor: Inputs(((sensor, tuple(range(count))),)) for sensor, count in bands.items()}


def by_sensor(images: Images | jax.Array, sensors: Sequence[str]) -> Images:
    """Images by sensor; where there is one sensor, its image may come alone.

    Raises:
      InputError: one image for a network of several sensors.
    """
    if isinstance(images, Mapping):
        return images
    if len(sensors) != 1:
        raise InputError(
            f"one image of shape {images.shape} for a network of the sensors {', '.join(sensors)}: expected an image "
            "for each, {sensor: (B, H, W, C)}"
        )
    return {sensors[0]: images}


@dataclasses.dataclass(frozen=True)
class ParameterGroups:
    """Which parameters of an encoder are its stem and its stages.

    It is what generic code asks, instead of knowing how a family names its layers: to freeze an encoder (all groups),
    to give each layer a learning rate of its own (stem, then stages), and to take an encoder from another run (bands).
    Parameters are named by the beginnings of their paths below the encoder: "stages/0" stands for "stages/0/kernel",
    not for "stages/01".

    Attributes:
      stem: the first layers.
      stages: the groups that follow, from the image on.
      after: what follows the last stage and still belongs to the encoder; it learns at the full rate.
      bands: the layers whose shapes depend on the bands, which may lie in the stem or in the first stage.
    """

    stem: tuple[str, ...] = ()
    stages: tuple[tuple[str, ...], ...] = ()
    after: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[tuple[str, ...], ...]:
        """Stem, stages and what comes after, in this order."""
        return (self.stem, *self.stages, self.after)


def layer_of(path: str, groups: Mapping[str, ParameterGroups]) -> tuple[str, int] | None:
    """The encoder that a parameter is of, and its layer there: 0 is the stem; None outside of the encoders.

    Args:
      path: of the parameter or of a module.
      groups: path of each encoder -> its groups.
    """
    for encoder, own in groups.items():
        for number, layer in enumerate(own.layers):
            if begins(path, [f"{encoder}/{prefix}" for prefix in layer]):
                return encoder, number
    return None


def begins(path: str, prefixes: Iterable[str]) -> bool:
    """Whether a path is one of the prefixes or lies below one."""
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


def numbered(name: str, count: int) -> tuple[tuple[str], ...]:
    """Groups ("name/0",), ("name/1",), ...: the members of a list are stages."""
    return tuple((f"{name}/{number}",) for number in range(count))


class Encoder(Protocol):
    """Image to a pyramid of features."""

    @property
    def channels(self) -> Sequence[int]:
        """Channels of each feature, finest first."""
        ...

    @property
    def strides(self) -> Sequence[int]:
        """Stride of each feature, in pixels of the image."""
        ...

    @property
    def parameter_groups(self) -> ParameterGroups:
        """Its stem and stages."""
        ...

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Features of an image whose sizes are multiples of the last stride; `noise_BxN` drops residual branches."""
        ...


@runtime_checkable
class WithClassToken(Protocol):
    """An encoder with a token that stands for the whole image."""

    def class_feature(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> jax.Array:
        """What that token has become, (B, channels of the last feature)."""
        ...


class Decoder(Protocol):
    """Pyramid of features to one feature, at the stride that its head expects."""

    @property
    def outputs(self) -> int:
        """Channels of the last feature."""
        ...

    def __call__(self, pyramid: list[jax.Array], noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """What leaves each of its stages, coarsest first; the head takes the last, (B, H, W, outputs)."""
        ...


class Head(Protocol):
    """Features to logits."""

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        """Logits (B, H, W, classes) float32, at the resolution of the feature or a finer one."""
        ...
