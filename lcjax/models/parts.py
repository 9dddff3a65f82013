"""What the parts of a network offer each other; the families fill them in."""

from collections.abc import Sequence
from typing import Protocol

import jax


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
