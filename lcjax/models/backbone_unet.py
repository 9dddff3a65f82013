"""A UNet decoder on a backbone whose finest feature has stride 2 (as in segmentation_models)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.layers import ConvNorm
from lcjax.models.resample import double


class Level(nnx.Module):
    """Twice the resolution, the skip behind (where there is one), two 3x3 convolutions with batch norm and ReLU."""

    def __init__(self, inputs: int, outputs: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.first = ConvNorm(inputs, outputs, 3, dtype=dtype, rngs=rngs)
        self.second = ConvNorm(outputs, outputs, 3, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxHxWxC: jax.Array, skip: jax.Array | None) -> jax.Array:
        """Returns (B, 2 H, 2 W, outputs) of (B, H, W, inputs) and a skip of twice its size."""
        x = double(x_BxHxWxC)
        if skip is not None:
            x = jnp.concatenate([x, skip], axis=-1)
        return self.second(self.first(x))


class BackboneDecoder(nnx.Module):
    """One level for each feature of the backbone, and so at stride 1 in the end.

    Args:
      channels: of the backbone's features, finest first.
      widths: of the levels, coarsest first.
    """

    def __init__(
        self, channels: Sequence[int], *, widths: Sequence[int], remat: bool, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        skips = [*channels[-2::-1], 0]
        inputs = [channels[-1], *widths[:-1]]
        self.levels = nnx.List(
            [Level(i + s, w, dtype=dtype, rngs=rngs) for i, s, w in zip(inputs, skips, widths, strict=True)]
        )
        self.outputs = widths[-1]
        self.remat = remat

    def __call__(self, pyramid: list[jax.Array], noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Returns what leaves each level, coarsest first."""
        features = [pyramid[-1]]
        for level, skip in zip(self.levels, [*pyramid[-2::-1], None], strict=True):
            apply = nnx.remat(Level.__call__) if self.remat else Level.__call__
            features.append(apply(level, features[-1], skip))
        return features[1:]
