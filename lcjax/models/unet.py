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


class UNetEncoder(nnx.Module):
    """Double convolutions at strides 1, 2, 4, 8, 16 with max pooling between; returns all five features."""

    strides = (1, 2, 4, 8, 16)

    def __init__(self, inputs: int, *, base: int, dtype, rngs: nnx.Rngs):
        # The last level keeps its width: bilinear upsampling does not halve it as a transposed convolution would.
        self.channels = (base, 2 * base, 4 * base, 8 * base, 8 * base)
        pairs = zip((inputs, *self.channels[:-1]), self.channels, strict=True)
        self.levels = nnx.List([DoubleConv(i, o, o, dtype=dtype, rngs=rngs) for i, o in pairs])

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        pyramid = [self.levels[0](x_BxHxWxC)]
        for level in self.levels[1:]:
            pyramid.append(level(nnx.max_pool(pyramid[-1], (2, 2), (2, 2))))
        return pyramid


class UNetDecoder(nnx.Module):
    """Upsample, put the skip in front, double convolution with half of its inputs in the middle; ends at stride 1."""

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
    """A 1x1 convolution to the classes."""

    def __init__(self, channels: int, classes: int, *, dtype, rngs: nnx.Rngs):
        self.classify = nnx.Linear(channels, classes, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        return self.classify(x_BxHxWxC)
