"""The contrastive network: one encoder per sensor, pooled and projected to one space (Scheibenreif et al. 2022)."""

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
    """Encoders by sensor and projection heads; the encoders bear the names that a late-fusion Segmenter gives them.

    With projection=0 there are no heads, as in the released Swin code: what is compared is the pooled feature itself.
    """

    def __init__(self, encoders: Mapping[str, Encoder], *, projection: int, dtype: DTypeLike, rngs: nnx.Rngs):
        self.encoders = nnx.Dict(**encoders)
        self.projections = nnx.Dict(
            **{
                sensor: Projection(encoder.channels[-1], projection, dtype=dtype, rngs=rngs)
                for sensor, encoder in encoders.items()
                if projection
            }
        )

    @property
    def parameter_groups(self) -> dict[str, ParameterGroups]:
        """Those of each encoder, by its path."""
        return {f"encoders/{name}": encoder.parameter_groups for name, encoder in self.encoders.items()}

    def __call__(self, inputs: Mapping[str, jax.Array], keys_B: jax.Array | None = None) -> dict[str, jax.Array]:
        """Unit vectors {sensor: (B, projection)} float32 of images {sensor: (B, H, W, bands)} of any size.

        Without projections they are as long as the encoders' last features have channels.
        """
        embeddings = {}
        for sensor, pooled in self.pooled(inputs, keys_B).items():
            z = self.projections[sensor](pooled).astype(jnp.float32) if self.projections else pooled
            embeddings[sensor] = z / jnp.maximum(jnp.linalg.norm(z, axis=-1, keepdims=True), 1e-6)
        return embeddings

    def pooled(self, inputs: Mapping[str, jax.Array], keys_B: jax.Array | None = None) -> dict[str, jax.Array]:
        """The last feature of each encoder, averaged over space: {sensor: (B, C)} float32."""
        pooled = {}
        noise_SxBxN = branch_noise(keys_B, len(self.encoders))
        for (sensor, encoder), noise_BxN in zip(self.encoders.items(), noise_SxBxN, strict=True):
            features = encoder(padded(inputs[sensor], encoder.strides[-1]), noise_BxN)[-1]
            pooled[sensor] = global_mean(features)
        return pooled
