"""What the parts of a network offer each other; the families fill them in."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp


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


class Encoder(Protocol):
    """Image to a pyramid of features.

    Attributes:
      channels: of each feature, finest first.
      strides: of each feature, in pixels of the image.
    """

    @property
    def channels(self) -> Sequence[int]: ...

    @property
    def strides(self) -> Sequence[int]: ...

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Features of an image whose edges are multiples of the last stride; `noise_BxN` drops residual branches."""
        ...


class Decoder(Protocol):
    """Pyramid of features to one feature, at the stride that its head expects.

    Attributes:
      outputs: channels of the last feature.
    """

    @property
    def outputs(self) -> int: ...

    def __call__(self, pyramid: list[jax.Array], noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """What leaves each of its stages, coarsest first; the head takes the last, (B, H, W, outputs)."""
        ...


class Head(Protocol):
    """Features to logits."""

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        """Logits (B, H, W, classes) float32, at the resolution of the feature or a finer one."""
        ...
