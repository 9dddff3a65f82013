"""UNet (Ronneberger et al. 2015) with batch norm; upsampling bilinear or by transposed convolutions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.interfaces import ParameterGroups, numbered
from lcjax.models.layers import Conv, UpConv, batch_norm
from lcjax.models.resample import max_pool, resize, resize_corners, space_to_depth


class DoubleConv(nnx.Module):
    """Twice: 3x3 convolution with bias, batch norm, ReLU."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.conv1 = Conv(inputs, middle, (3, 3), dtype=dtype, rngs=rngs)
        self.norm1 = batch_norm(middle, dtype=dtype, rngs=rngs)
        self.conv2 = Conv(middle, outputs, (3, 3), dtype=dtype, rngs=rngs)
        self.norm2 = batch_norm(outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        """Returns (B, H, W, outputs) of (B, H, W, inputs)."""
        x = nnx.relu(self.norm1(self.conv1(x_BxHxWxC)))
        return nnx.relu(self.norm2(self.conv2(x)))


class UNetEncoder(nnx.Module):
    """Double convolutions at strides 1, 2, 4, 8, 16 with max pooling between; returns all five features.

    With `patch` > 1 the bands of each patch of pixels stand side by side in one pixel of the first level (space to
    depth), and all strides are multiplied by it: sees farther, costs less, draws coarser. 1 is the published network.
    """

    def __init__(
        self, inputs: int, *, base: int, patch: int, upsampling: str, remat: bool, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        self.patch = patch
        self.remat = remat
        self.strides = tuple(patch * stride for stride in (1, 2, 4, 8, 16))
        # Bilinear upsampling keeps the channels, so the last level has those of the one before.
        last = 16 if upsampling == "transposed" else 8
        self.channels = (base, 2 * base, 4 * base, 8 * base, last * base)
        pairs = zip((patch**2 * inputs, *self.channels[:-1]), self.channels, strict=True)
        self.levels = nnx.List([DoubleConv(i, o, o, dtype=dtype, rngs=rngs) for i, o in pairs])

    @property
    def parameter_groups(self) -> ParameterGroups:
        """Each level is a stage; the first convolution takes the bands."""
        return ParameterGroups(stages=numbered("levels", len(self.levels)), bands=("levels/0/conv1",))

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Returns the features of an image, finest first: (B, H / stride, W / stride, channels) of each."""
        apply = nnx.remat(DoubleConv.__call__) if self.remat else DoubleConv.__call__
        x = space_to_depth(x_BxHxWxC, self.patch)
        pyramid = [apply(self.levels[0], x.reshape(*x.shape[:3], -1))]
        for level in self.levels[1:]:
            pyramid.append(apply(level, max_pool(pyramid[-1])))
        return pyramid


class UNetDecoder(nnx.Module):
    """Upsample, put the skip in front, double convolution; up to level 0.

    Args:
      channels: of the encoder's features, finest first.
      upsampling: "bilinear" (half-pixel centres), the double convolutions having half of their inputs in the middle;
        "align_corners": the same, but corners stay at corners; or "transposed": a 2x2 convolution with stride 2 that
        also halves the channels, as in the article.
    """

    def __init__(self, channels: Sequence[int], *, upsampling: str, remat: bool, dtype: DTypeLike, rngs: nnx.Rngs):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.remat = remat
        self.resize = resize_corners if upsampling == "align_corners" else resize
        below = channels[-1]
        ups, levels = [], []
        for index in range(len(channels) - 2, -1, -1):
            skip = channels[index]
            if upsampling == "transposed":
                ups.append(UpConv(below, skip, **how))
                levels.append(DoubleConv(2 * skip, skip, skip, **how))
                below = skip
            else:
                outputs = channels[max(index - 1, 0)]
                levels.append(DoubleConv(below + skip, (below + skip) // 2, outputs, **how))
                below = outputs
        self.ups = nnx.List(ups)
        self.levels = nnx.List(levels)
        self.outputs = below

    def __call__(self, pyramid: list[jax.Array], noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Returns what leaves each level, coarsest first."""
        apply = nnx.remat(DoubleConv.__call__) if self.remat else DoubleConv.__call__
        features = [pyramid[-1]]
        for index, (level, skip) in enumerate(zip(self.levels, pyramid[-2::-1], strict=True)):
            x = features[-1]
            x = self.ups[index](x) if self.ups else self.resize(x, *skip.shape[1:3])
            features.append(apply(level, jnp.concatenate([skip, x], axis=-1)))
        return features[1:]
