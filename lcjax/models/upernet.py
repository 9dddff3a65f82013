"""UPerNet (Xiao et al. 2018): pyramid pooling on the coarsest feature, then a feature pyramid."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.layers import ConvNorm
from lcjax.models.resample import average_pool, resize

POOLS = (1, 2, 3, 6)  # bins by side


class UPerNetDecoder(nnx.Module):
    """All levels brought to one width, each added to what lies below it, smoothed, and joined at the finest.

    The published network has a second head on the last stage but one while it trains; this one does without.

    Args:
      channels: of the encoder's features, finest first.
      hidden: width of all levels; 512 as published.
    """

    def __init__(self, channels: Sequence[int], *, hidden: int, remat: bool, dtype: DTypeLike, rngs: nnx.Rngs):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.outputs = hidden
        self.remat = remat
        self.pools = nnx.List([ConvNorm(channels[-1], hidden, 1, **how) for _ in POOLS])
        self.bottleneck = ConvNorm(channels[-1] + len(POOLS) * hidden, hidden, 3, **how)
        self.laterals = nnx.List([ConvNorm(width, hidden, 1, **how) for width in channels[:-1]])
        self.smooths = nnx.List([ConvNorm(hidden, hidden, 3, **how) for _ in channels[:-1]])
        self.join = ConvNorm(len(channels) * hidden, hidden, 3, **how)

    def __call__(self, pyramid: list[jax.Array], noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """The levels, coarsest first, and last what joins them at the first stride of the encoder."""
        decode = nnx.remat(UPerNetDecoder._decode) if self.remat else UPerNetDecoder._decode
        return decode(self, pyramid)

    def _decode(self, pyramid: list[jax.Array]) -> list[jax.Array]:
        top = pyramid[-1]
        pooled = [
            resize(conv(average_pool(top, bins)), *top.shape[1:3]) for conv, bins in zip(self.pools, POOLS, strict=True)
        ]
        sums = [self.bottleneck(jnp.concatenate([top, *pooled], axis=-1))]
        for lateral, feature in zip(self.laterals[::-1], pyramid[-2::-1], strict=True):
            sums.append(lateral(feature) + resize(sums[-1], *feature.shape[1:3]))
        levels = [sums[0], *(smooth(level) for smooth, level in zip(self.smooths[::-1], sums[1:], strict=True))]
        finest = levels[-1].shape[1:3]
        joined = self.join(jnp.concatenate([resize(level, *finest) for level in levels[::-1]], axis=-1))
        return [*levels, joined]
