"""Heads: features to logits, in float32."""

import jax
import jax.numpy as jnp
from flax import nnx

from lcjax.models.layers import Conv, linear


class ConvHead(nnx.Module):
    """A 3x3 convolution to the classes."""

    def __init__(self, channels: int, classes: int, *, rngs: nnx.Rngs):
        self.classify = Conv(channels, classes, (3, 3), dtype=jnp.float32, rngs=rngs)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        """Returns logits (B, H, W, classes) float32."""
        return self.classify(x_BxHxWxC)


class LinearHead(nnx.Module):
    """A 1x1 convolution to the classes, at the stride of the feature."""

    def __init__(self, channels: int, classes: int, *, rngs: nnx.Rngs):
        self.classify = linear(channels, classes, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        """Returns logits (B, H, W, classes) float32."""
        return self.classify(x_BxHxWxC)


class PatchHead(nnx.Module):
    """A dense layer from the feature of a whole patch to the classes."""

    def __init__(self, channels: int, classes: int, *, rngs: nnx.Rngs):
        self.classify = linear(channels, classes, dtype=jnp.float32, rngs=rngs)

    def __call__(self, x_BxC: jax.Array) -> jax.Array:
        """Returns logits (B, classes) float32."""
        return self.classify(x_BxC)
