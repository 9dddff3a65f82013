"""The network of pre-training: two views of a place, encoded, pooled, and projected to one space.

By default one encoder per sensor (Scheibenreif et al. 2022).
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from lcjax.models.interfaces import Encoder, ParameterGroups
from lcjax.models.resample import global_mean, padded
from lcjax.models.segmenter import branch_noise


class Projection(nnx.Module):
    """Two dense layers with a ReLU between."""

    def __init__(self, inputs: int, outputs: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.hidden = nnx.Linear(inputs, inputs, dtype=dtype, rngs=rngs)
        self.out = nnx.Linear(inputs, outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x_BxC: jax.Array) -> jax.Array:
        """Returns (B, outputs) of (B, inputs)."""
        return self.out(nnx.relu(self.hidden(x_BxC)))


class DualEncoder(nnx.Module):
    """Encoders and projection heads; the encoders bear the names that a Segmenter gives them.

    With projection=0 there are no heads, as in the released Swin code: what is compared is the pooled feature itself.

    Attributes:
      encoders, projections: by name.
      views: (name of a view, name of the encoder and the head that it goes through) of each. Two views may share one.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        views: Mapping[str, str] | None = None,
        *,
        projection: int,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.encoders = nnx.Dict(**encoders)
        self.projections = nnx.Dict(
            **{
                name: Projection(encoder.channels[-1], projection, dtype=dtype, rngs=rngs)
                for name, encoder in encoders.items()
                if projection
            }
        )
        self.views = tuple((views or {name: name for name in encoders}).items())

    @property
    def parameter_groups(self) -> dict[str, ParameterGroups]:
        """Those of each encoder, by its path."""
        return {f"encoders/{name}": encoder.parameter_groups for name, encoder in self.encoders.items()}

    def __call__(self, inputs: Mapping[str, jax.Array], keys_B: jax.Array | None = None) -> dict[str, jax.Array]:
        """Unit vectors {view: (B, projection)} float32 of images {view: (B, H, W, bands)} of any size.

        Without projections they are as long as the encoders' last features have channels.
        """
        return {view: unit(self._projected(view, x_BxC)) for view, x_BxC in self.pooled(inputs, keys_B).items()}

    def projected(self, inputs: Mapping[str, jax.Array], keys_B: jax.Array | None = None) -> dict[str, jax.Array]:
        """The same before they are divided by their lengths."""
        return {view: self._projected(view, x_BxC) for view, x_BxC in self.pooled(inputs, keys_B).items()}

    def pooled(self, inputs: Mapping[str, jax.Array], keys_B: jax.Array | None = None) -> dict[str, jax.Array]:
        """The last feature of the encoder of each view that is there, averaged over space: {view: (B, C)} float32."""
        pooled = {}
        noise_VxBxN = branch_noise(keys_B, len(self.views))
        for (view, name), noise_BxN in zip(self.views, noise_VxBxN, strict=True):
            if view in inputs:
                encoder = self.encoders[name]
                features = encoder(padded(inputs[view], encoder.strides[-1]), noise_BxN)[-1]
                pooled[view] = global_mean(features)
        return pooled

    def _projected(self, view: str, x_BxC: jax.Array) -> jax.Array:
        name = dict(self.views)[view]
        return self.projections[name](x_BxC).astype(jnp.float32) if self.projections else x_BxC


def unit(x_BxC: jax.Array) -> jax.Array:
    """Divides vectors by their lengths."""
    unit_BxC: jax.Array = x_BxC / jnp.maximum(jnp.linalg.norm(x_BxC, axis=-1, keepdims=True), 1e-6)
    return unit_BxC
