"""EfficientNet-Lite0 (Liu 2020, after Tan and Le 2019): inverted residuals without attention to channels, ReLU6.

With the padding and the epsilon of the published TensorFlow weights.
"""

from collections.abc import Sequence
from typing import Any

import jax
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.interfaces import ParameterGroups, numbered
from lcjax.models.layers import ConvNorm, identity, run_stage

# expansion, kernel, stride, channels, blocks of each stage
LITE0 = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
         (6, 3, 1, 320, 1))  # fmt: skip


class InvertedResidual(nnx.Module):
    """Widened by a 1x1 convolution, filtered channel by channel, narrowed again; beside an identity where that fits."""

    def __init__(
        self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, *, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        how: dict[str, Any] = {
            "padding": "SAME",
            "activation": jax.nn.relu6,
            "epsilon": 1e-3,
            "dtype": dtype,
            "rngs": rngs,
        }
        width = expansion * inputs
        widen = [ConvNorm(inputs, width, 1, **how)] if expansion > 1 else []
        self.layers = nnx.List(
            [
                *widen,
                ConvNorm(width, width, kernel, stride=stride, groups=width, **how),
                ConvNorm(width, outputs, 1, **how | {"activation": identity}),
            ]
        )
        self.residual = stride == 1 and inputs == outputs

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> jax.Array:
        """Returns (B, H / stride, W / stride, outputs) of (B, H, W, inputs)."""
        x = x_BxHxWxC
        for layer in self.layers:
            x = layer(x)
        return x + x_BxHxWxC if self.residual else x


class EfficientNetEncoder(nnx.Module):
    """Stem and stages; a feature is what leaves the last stage of a resolution, at strides 2, 4, 8, 16 and 32.

    Args:
      inputs: bands.
      stem: channels of the first convolution.
      stages: (expansion, kernel, stride, channels, blocks) of each.
    """

    def __init__(
        self,
        inputs: int,
        *,
        stem: int,
        stages: Sequence[tuple[int, int, int, int, int]],
        remat: bool,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        how: dict[str, Any] = {"dtype": dtype, "rngs": rngs}
        self.remat = remat
        self.stem = ConvNorm(inputs, stem, 3, stride=2, padding="SAME", activation=jax.nn.relu6, epsilon=1e-3, **how)
        strides = [stride for _, _, stride, _, _ in stages]
        # The last stage of each resolution.
        self.kept = tuple(i for i in range(len(stages)) if i + 1 == len(stages) or strides[i + 1] == 2)
        self.channels = tuple(stages[i][3] for i in self.kept)
        self.strides = tuple(2 ** (level + 1) for level in range(len(self.kept)))
        built, width = [], stem
        for expansion, kernel, stride, channels, depth in stages:
            blocks: nnx.List[Any] = nnx.List([])
            for block in range(depth):
                blocks.append(InvertedResidual(width, channels, expansion, kernel, 1 if block else stride, **how))
                width = channels
            built.append(blocks)
        self.stages = nnx.List(built)

    @property
    def parameter_groups(self) -> ParameterGroups:
        """The stem, and the stages that follow."""
        return ParameterGroups(("stem",), numbered("stages", len(self.stages)), bands=("stem/conv",))

    def __call__(self, x_BxHxWxC: jax.Array, noise_BxN: jax.Array | None = None) -> list[jax.Array]:
        """Returns the features of an image, finest first: (B, H / stride, W / stride, channels) of each."""
        x = self.stem(x_BxHxWxC)
        pyramid = []
        for stage, blocks in enumerate(self.stages):
            x = run_stage(blocks, x, noise_BxN, remat=self.remat)
            if stage in self.kept:
                pyramid.append(x)
        return pyramid
