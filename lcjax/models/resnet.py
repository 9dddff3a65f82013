"""ResNet (He et al. 2016): residual convolutions; strides stand in the 3x3 convolutions, as is usual since 2017."""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.interfaces import ParameterGroups, numbered
from lcjax.models.layers import ConvNorm, identity, run_stage
from lcjax.models.resample import max_pool_3x3


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions beside an identity, or beside a 1x1 convolution where the shape changes."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.layers = nnx.List(
            [
                ConvNorm(inputs, width, 3, stride=stride, **how),
                ConvNorm(width, width, 3, activation=identity, **how),
            ]
        )
        self.shortcut = _shortcut(inputs, width, stride, **how)

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> jax.Array:
        """Returns (B, H / stride, W / stride, width) of (B, H, W, inputs)."""
        return _residual(self.layers, self.shortcut, x_BxHxWxC)


class Bottleneck(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, beside an identity or a 1x1 convolution."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.layers = nnx.List(
            [
                ConvNorm(inputs, width, 1, **how),
                ConvNorm(width, width, 3, stride=stride, **how),
                ConvNorm(width, 4 * width, 1, activation=identity, **how),
            ]
        )
        self.shortcut = _shortcut(inputs, 4 * width, stride, **how)

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> jax.Array:
        """Returns (B, H / stride, W / stride, 4 width) of (B, H, W, inputs)."""
        return _residual(self.layers, self.shortcut, x_BxHxWxC)


def _shortcut(inputs: int, outputs: int, stride: int, **how: Any) -> ConvNorm | None:
    if inputs == outputs and stride == 1:
        return None
    return ConvNorm(inputs, outputs, 1, stride=stride, activation=identity, **how)


def _residual(layers: nnx.List[Any], shortcut: ConvNorm | None, x: jax.Array) -> jax.Array:
    beside = x if shortcut is None else shortcut(x)
    for layer in layers:
        x = layer(x)
    return nnx.relu(x + beside)


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNetEncoder(nnx.Module):
    """A 7x7 stem, max pooling, four stages: features at strides 2, 4, 8, 16 and 32, for any size of image.

    Args:
      inputs: bands.
      block: "basic" (ResNet-18 and 34) or "bottleneck" (50 and 101).
      depths: blocks of each stage.
      width: channels of the stem and of the first stage's 3x3 convolutions; they double from stage to stage.
    """

    def __init__(
        self,
        inputs: int,
        *,
        block: str,
        depths: Sequence[int],
        width: int,
        remat: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        kind = BLOCKS[block]
        widths = [width * 2**stage for stage in range(len(depths))]
        self.channels = (width, *(kind.expansion * w for w in widths))
        self.strides = tuple(2 ** (stage + 1) for stage in range(len(self.channels)))
        self.remat = remat
        self.stem = ConvNorm(inputs, width, 7, stride=2, **how)
        stages = []
        for stage, (w, depth) in enumerate(zip(widths, depths, strict=True)):
            first = kind(self.channels[stage], w, 1 if stage == 0 else 2, **how)
            stages.append(nnx.List([first, *(kind(kind.expansion * w, w, 1, **how) for _ in range(depth - 1))]))
        self.stages = nnx.List(stages)

    @property
    def parameter_groups(self) -> ParameterGroups:
        """The stem, and the stages that follow."""
        return ParameterGroups(("stem",), numbered("stages", len(self.stages)), bands=("stem/conv",))

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Returns the features of an image, finest first: (B, H / stride, W / stride, channels) of each."""
        pyramid = [self.stem(x_BxHxWxC)]
        x = max_pool_3x3(pyramid[0])
        for blocks in self.stages:
            x = run_stage(blocks, x, noise_BxN, remat=self.remat)
            pyramid.append(x)
        return pyramid
