"""Layers that several families are made of."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.convolution import conv_general_dilated
from lcjax.models.kernels.gelu import gelu
from lcjax.models.resample import depth_to_space

Activation = Callable[[jax.Array], jax.Array]
# nnx.Conv, computed in the form that suits the platform.
Conv = functools.partial(nnx.Conv, conv_general_dilated=conv_general_dilated)


def linear(inputs: int, outputs: int, *, dtype: DTypeLike, rngs: nnx.Rngs, use_bias: bool = True) -> nnx.Linear:
    """A dense layer."""
    return nnx.Linear(inputs, outputs, use_bias=use_bias, dtype=dtype, rngs=rngs)


def norm(channels: int, *, dtype: DTypeLike, rngs: nnx.Rngs, epsilon: float = 1e-5) -> nnx.LayerNorm:
    """A layer norm; its statistics are float32 whatever the dtype."""
    return nnx.LayerNorm(channels, epsilon=epsilon, dtype=dtype, rngs=rngs)


class BatchNorm(nnx.BatchNorm):
    """Batch norm over the whole batch, or in `groups` of consecutive examples, each by its own mean and variance.

    The running statistics are means over the groups.
    """

    groups = 1

    def __call__(
        self, x_BxHxWxC: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Returns the normalised x; in training mode the running statistics move."""
        if self.groups == 1 or self.use_running_average:
            same: jax.Array = super().__call__(x_BxHxWxC, use_running_average, mask=mask)
            return same
        assert self.scale is not None and self.bias is not None
        x = x_BxHxWxC.reshape(self.groups, -1, *x_BxHxWxC.shape[1:])
        inside = tuple(range(1, x.ndim - 1))
        floats = x.astype(jnp.float32)
        mean = jnp.mean(floats, inside, keepdims=True)
        var = jnp.maximum(0.0, jnp.mean(jnp.square(floats), inside, keepdims=True) - jnp.square(mean))
        for kept, found in ((self.mean, mean), (self.var, var)):
            kept[...] = self.momentum * kept[...] + (1 - self.momentum) * jnp.mean(found, tuple(range(x.ndim - 1)))
        scale, bias = (value[...].reshape((1,) * (x.ndim - 1) + (-1,)) for value in (self.scale, self.bias))
        y = (floats - mean) * (jax.lax.rsqrt(var + self.epsilon) * scale) + bias
        return y.astype(self.dtype).reshape(x_BxHxWxC.shape)


def batch_norm(channels: int, *, dtype: DTypeLike, rngs: nnx.Rngs, epsilon: float = 1e-5) -> BatchNorm:
    """A batch norm; its statistics are float32 whatever the dtype."""
    return BatchNorm(channels, momentum=0.9, epsilon=epsilon, dtype=dtype, rngs=rngs)


def identity(x: jax.Array) -> jax.Array:
    """The activation of a layer that has none."""
    return x


class ConvNorm(nnx.Module):
    """Square convolution without bias, batch norm, activation.

    Padded with (edge - 1) / 2 zeros on all sides, or with `padding`, as nnx.Conv takes it.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        edge: int,
        *,
        stride: int = 1,
        groups: int = 1,
        padding: str = "",
        activation: Activation = nnx.relu,
        epsilon: float = 1e-5,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.conv = Conv(
            inputs,
            outputs,
            (edge, edge),
            (stride, stride),
            # The same on both sides whatever the size, which "SAME" is not.
            padding=padding or (edge // 2, edge // 2),
            feature_group_count=groups,
            use_bias=False,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = batch_norm(outputs, epsilon=epsilon, dtype=dtype, rngs=rngs)
        self.activation = activation

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        """Returns (B, H / stride, W / stride, outputs) of (B, H, W, inputs)."""
        return self.activation(self.norm(self.conv(x_BxHxWxC)))


class UpConv(nnx.Module):
    """A transposed 2x2 convolution with stride 2: each pixel becomes four, by four matrices and one bias.

    As a dense layer unfolded in space: the weight gradient of a transposed convolution is very slow in XLA on a CPU.
    """

    def __init__(self, inputs: int, outputs: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.linear = linear(inputs, 4 * outputs, use_bias=False, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros((outputs,), jnp.float32))

    def __call__(self, x_BxHxWxC: jax.Array) -> jax.Array:
        """Returns (B, 2 H, 2 W, outputs) of (B, H, W, inputs)."""
        x = depth_to_space(self.linear(x_BxHxWxC), 2)
        return x + self.bias[...].astype(x.dtype).reshape(1, 1, 1, -1)


class DropPath(nnx.Module):
    """Stochastic depth: drops a residual branch for whole examples, where the branch's uniform number is too high.

    The numbers come with the call, one per example and branch: the draw does not depend on how a batch is spread, and
    one random operation serves the whole network (compiling one per branch took longer than the network itself).
    """

    def __init__(self, rate: float, branch: int):
        self.rate = rate
        self.branch = branch
        self.deterministic = False  # set by nnx.Module.train() and .eval()

    def __call__(self, x: jax.Array, noise_BxN: jax.Array | None) -> jax.Array:
        """Returns x, in training mode with some examples set to zero and the others scaled up to keep the mean."""
        if self.deterministic or self.rate == 0.0 or noise_BxN is None:
            return x
        keep = 1.0 - self.rate
        draw = (noise_BxN[:, self.branch] < keep).reshape(-1, *(1,) * (x.ndim - 1))
        return jnp.where(draw, x / keep, jnp.zeros((), x.dtype))

    def factors(self, batch: int, noise_BxN: jax.Array | None) -> jax.Array:
        """(batch,) float32: what the call multiplies each example by."""
        return self(jnp.ones((batch,), jnp.float32), noise_BxN)


def attention(qkv: jax.Array, heads: int, offsets: jax.Array | float = 0.0) -> jax.Array:
    """What each of N tokens attends to: (..., N, C), of queries, keys and values side by side, (..., N, 3 C).

    Softmax in float32. With heads before tokens, each product is of matrices as they lie: on a CPU that takes half the
    time of `jax.nn.dot_product_attention`, whose tokens come before heads.

    Args:
      offsets: added to the logits, of as many axes as they have: (..., heads, N, N).
    """
    *outer, tokens, tripled = qkv.shape
    channels = tripled // 3
    # Split, so that the three gradients are laid side by side once and not each padded and added.
    query, key, value = (
        part.reshape(*outer, tokens, heads, channels // heads).swapaxes(-2, -3) for part in jnp.split(qkv, 3, axis=-1)
    )
    scaled = query * query.shape[-1] ** -0.5
    logits = jnp.matmul(scaled, key.swapaxes(-1, -2), preferred_element_type=jnp.float32) + offsets
    powers = jnp.exp(logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
    # The sums divide what is attended to, of which there is less than of weights.
    attended = jnp.matmul(powers.astype(value.dtype), value, preferred_element_type=jnp.float32)
    attended = (attended / jnp.sum(powers, axis=-1, keepdims=True)).astype(value.dtype)
    return attended.swapaxes(-2, -3).reshape(*outer, tokens, channels)


class TransformerBlock(nnx.Module):
    """Attention, then an MLP four times as wide, each behind a layer norm and beside an identity.

    What attention is, the subclass says by `attend`.

    Args:
      number: of the block in its network: which of the numbers that drop residual branches are its own.
    """

    def __init__(
        self, channels: int, drop_path: float, number: int, *, epsilon: float = 1e-5, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.norm1 = norm(channels, epsilon=epsilon, **how)
        self.drop1 = DropPath(drop_path, 2 * number)
        self.norm2 = norm(channels, epsilon=epsilon, **how)
        self.mlp_in = linear(channels, 4 * channels, **how)
        self.mlp_out = linear(4 * channels, channels, **how)
        self.drop2 = DropPath(drop_path, 2 * number + 1)

    def __call__(self, x: jax.Array, noise_BxN: jax.Array | None = None) -> jax.Array:
        """Returns x of the same shape; `noise_BxN` are the numbers that drop residual branches."""
        return self.add_mlp(self.add_attention(x, noise_BxN), noise_BxN)

    def add_attention(self, x: jax.Array, noise_BxN: jax.Array | None) -> jax.Array:
        """The first half: x and its attention."""
        return x + self.drop1(self.attend(self.norm1(x)), noise_BxN)

    def add_mlp(self, x: jax.Array, noise_BxN: jax.Array | None) -> jax.Array:
        """The second half: x and what the MLP makes of it."""
        hidden = gelu(self.mlp_in(self.norm2(x)))
        return x + self.drop2(self.mlp_out(hidden), noise_BxN)

    def attend(self, x: jax.Array) -> jax.Array:
        """Attention among the tokens of each example, of the same shape."""
        raise NotImplementedError


def run(blocks: nnx.List[Any], x: jax.Array, noise_BxN: jax.Array | None) -> jax.Array:
    """One block after the other; each takes (x, noise_BxN)."""
    for block in blocks:
        x = block(x, noise_BxN)
    return x


def run_stage(blocks: nnx.List[Any], x: jax.Array, noise_BxN: jax.Array | None, *, remat: bool) -> jax.Array:
    """As `run`; with `remat` the backward pass computes the stage again instead of keeping what is inside."""
    return (nnx.remat(run) if remat else run)(blocks, x, noise_BxN)
