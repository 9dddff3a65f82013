"""Plain vision transformer (Dosovitskiy et al. 2021) with the simple pyramid of Li et al. 2022 (ViTDet)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.interfaces import ParameterGroups, numbered
from lcjax.models.kernels.gelu import gelu
from lcjax.models.layers import TransformerBlock, UpConv, attention, linear, norm, run_stage
from lcjax.models.resample import max_pool, resized_table

_EPSILON = 1e-12  # of layer norms, as in the ViT of transformers


class ViTBlock(TransformerBlock):
    """Attention among all tokens: (B, N, C). Softmax in float32."""

    def __init__(self, channels: int, heads: int, drop_path: float, number: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        super().__init__(channels, drop_path, number, epsilon=_EPSILON, **how)
        self.heads = heads
        self.qkv = linear(channels, 3 * channels, **how)
        self.out = linear(channels, channels, **how)

    def attend(self, x: jax.Array) -> jax.Array:
        """Returns (B, N, C): attention among all tokens of an image."""
        return self.out(attention(self.qkv(x), self.heads))


class ViTEncoder(nnx.Module):
    """Patches of `patch` pixels and a class token through `depth` blocks; a pyramid from the last feature alone.

    The pyramid has strides patch / 4, patch / 2, patch and 2 patch: the finer levels by transposed convolutions, the
    coarsest by max pooling.

    Args:
      inputs: bands.
      grid: edge in tokens of the learned position embedding; it is interpolated to any other grid.
    """

    def __init__(
        self,
        inputs: int,
        *,
        embed: int,
        depth: int,
        heads: int,
        patch: int,
        grid: int,
        drop_path: float,
        remat: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.grid = grid
        self.remat = remat
        self.channels = (embed // 4, embed // 2, embed, embed)
        self.strides = (patch // 4, patch // 2, patch, 2 * patch)
        self.embed = nnx.Conv(inputs, embed, (patch, patch), (patch, patch), padding="VALID", **how)
        self.class_token = nnx.Param(jnp.zeros((1, embed), jnp.float32))
        self.position = nnx.Param(jnp.zeros((1 + grid * grid, embed), jnp.float32))
        rates = [float(rate) for rate in np.linspace(0.0, drop_path, depth)]
        # Each block is a stage of its own: that is where memory is to be saved in a network without stages.
        self.stages = nnx.List(
            [nnx.List([ViTBlock(embed, heads, rate, number, **how)]) for number, rate in enumerate(rates)]
        )
        self.norm = norm(embed, epsilon=_EPSILON, **how)
        self.finest1 = UpConv(embed, embed // 2, **how)
        self.finest_norm = norm(embed // 2, **how)
        self.finest2 = UpConv(embed // 2, embed // 4, **how)
        self.finer = UpConv(embed, embed // 2, **how)

    @property
    def parameter_groups(self) -> ParameterGroups:
        """Each block is a stage; the pyramid comes after."""
        return ParameterGroups(
            stem=("embed", "position", "class_token"),
            stages=numbered("stages", len(self.stages)),
            after=("norm", "finest1", "finest_norm", "finest2", "finer"),
            bands=("embed",),
        )

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Returns the features of an image, finest first: (B, H / stride, W / stride, channels) of each."""
        rows, columns = (size // self.strides[2] for size in x_BxHxWxC.shape[1:3])
        tokens = self.norm(self.tokens(x_BxHxWxC, noise_BxN)[-1])[:, 1:]
        x = tokens.reshape(tokens.shape[0], rows, columns, -1)
        finest = gelu(self.finest_norm(self.finest1(x)))
        return [self.finest2(finest), self.finer(x), x, max_pool(x)]

    def class_feature(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> jax.Array:
        """Returns the class token that leaves the last block, normalised: (B, C)."""
        tokens: jax.Array = self.norm(self.tokens(x_BxHxWxC, noise_BxN)[-1])
        return tokens[:, 0]

    def tokens(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """What enters the first block, and what leaves each: (B, 1 + rows * columns, C), the class token first."""
        patches = self.embed(x_BxHxWxC)
        b, rows, columns, c = patches.shape
        table = self.position[...]
        where = resized_table(table[1:].reshape(self.grid, self.grid, c), rows, columns).reshape(-1, c)
        first = jnp.broadcast_to((self.class_token[...] + table[:1])[None].astype(patches.dtype), (b, 1, c))
        rest = patches.reshape(b, -1, c) + where[None].astype(patches.dtype)
        states = [jnp.concatenate([first, rest], axis=1)]
        for blocks in self.stages:
            states.append(run_stage(blocks, states[-1], noise_BxN, remat=self.remat))
        return states
