"""UNet (Ronneberger et al. 2015) with batch norm and bilinear upsampling: encoder, decoder, head."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx


class DoubleConv(nnx.Module):
    """Twice: 3x3 convolution with bias, batch norm, ReLU."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, dtype, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(inputs, middle, (3, 3), dtype=dtype, rngs=rngs)
        self.norm1 = nnx.BatchNorm(middle, momentum=0.9, dtype=dtype, rngs=rngs)
        self.conv2 = nnx.Conv(middle, outputs, (3, 3), dtype=dtype, rngs=rngs)
        self.norm2 = nnx.BatchNorm(outputs, momentum=0.9, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm1(self.conv1(x_BxHxWxC)))
        return nnx.relu(self.norm2(self.conv2(x)))


def blocks(x_BxHxWxC: jax.Array, edge: int) -> jax.Array:
    """Blocks of edge x edge pixels side by side: (B, H / edge, W / edge, edge * edge, C)."""
    b, h, w, c = x_BxHxWxC.shape
    x = x_BxHxWxC.reshape(b, h // edge, edge, w // edge, edge, c).swapaxes(2, 3)
    return x.reshape(b, h // edge, w // edge, edge * edge, c)


def max_pool(x_BxHxWxC: jax.Array) -> jax.Array:
    """The largest of each 2 x 2 pixels.

    By comparisons, whose gradient needs no search through windows. Not by `max` over an axis: its gradient looks for
    the value again, and where the compiler has rounded it otherwise there, it divides by zero.
    """
    a, b, c, d = jnp.moveaxis(blocks(x_BxHxWxC, 2), 3, 0)
    above, below = jnp.where(a >= b, a, b), jnp.where(c >= d, c, d)
    return jnp.where(above >= below, above, below)


class UNetEncoder(nnx.Module):
    """Double convolutions at strides 1, 2, 4, 8, 16 with max pooling between; returns all five features.

    With `patch` > 1 the bands of each patch of pixels stand side by side in one pixel of the first level (space to
    depth), and all strides are multiplied by it: sees farther, costs less, draws coarser. 1 is the published network.
    """

    def __init__(self, inputs: int, *, base: int, patch: int, dtype, rngs: nnx.Rngs):
        self.patch = patch
        self.strides = tuple(patch * stride for stride in (1, 2, 4, 8, 16))
        # The last level keeps its width: bilinear upsampling does not halve it as a transposed convolution would.
        self.channels = (base, 2 * base, 4 * base, 8 * base, 8 * base)
        pairs = zip((patch**2 * inputs, *self.channels[:-1]), self.channels, strict=True)
        self.levels = nnx.List([DoubleConv(i, o, o, dtype=dtype, rngs=rngs) for i, o in pairs])

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        x = blocks(x_BxHxWxC, self.patch)
        pyramid = [self.levels[0](x.reshape(*x.shape[:3], -1))]
        for level in self.levels[1:]:
            pyramid.append(level(max_pool(pyramid[-1])))
        return pyramid


class UNetDecoder(nnx.Module):
    """Upsample, put the skip in front, double convolution with half of its inputs in the middle; up to level 0."""

    def __init__(self, channels: Sequence[int], *, dtype, rngs: nnx.Rngs):
        below = channels[-1]
        levels = []
        for index in range(len(channels) - 2, -1, -1):
            joined = below + channels[index]
            outputs = channels[max(index - 1, 0)]
            levels.append(DoubleConv(joined, joined // 2, outputs, dtype=dtype, rngs=rngs))
            below = outputs
        self.levels = nnx.List(levels)
        self.outputs = below

    def __call__(self, pyramid: list[jax.Array], noise_BxN: jax.Array | None = None) -> jax.Array:
        x = pyramid[-1]
        for level, skip in zip(self.levels, pyramid[-2::-1], strict=True):
            x = jax.image.resize(x, (*skip.shape[:3], x.shape[-1]), "bilinear")
            x = level(jnp.concatenate([skip, x], axis=-1))
        return x


class UNetHead(nnx.Module):
    """A 1x1 convolution to the classes, upsampled bilinearly by `patch`."""

    def __init__(self, channels: int, classes: int, *, patch: int, dtype, rngs: nnx.Rngs):
        self.patch = patch
        self.classify = nnx.Linear(channels, classes, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        logits = self.classify(x_BxHxWxC)
        b, h, w, k = logits.shape
        return jax.image.resize(logits, (b, h * self.patch, w * self.patch, k), "bilinear")
