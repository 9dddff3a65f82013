"""The networks of pre-training: encoders, and the heads that only pre-training has.

`DualEncoder` embeds two views of a place, by default with an encoder for each sensor (Scheibenreif et al. 2022);
`MaskedAutoencoder` imagines hidden parts of one image (Xie et al. 2022).
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


class Hidden(nnx.Module):
    """What stands where pixels are hidden: a learned number for each band."""

    def __init__(self, bands: int):
        self.bias = nnx.Param(jnp.zeros(bands, jnp.float32))

    def __call__(self, image_BxHxWxC: jax.Array, hidden_BxHxW: jax.Array) -> jax.Array:
        """Returns the image with what is hidden replaced."""
        value = jnp.asarray(self.bias[...], image_BxHxWxC.dtype)[None, None, None]
        return jnp.where(hidden_BxHxW[..., None], value, image_BxHxWxC)


class MaskedAutoencoder(nnx.Module):
    """One encoder, and a dense layer that makes of each place of its last feature the pixels there (Xie et al. 2022).

    The encoder bears the name that a Segmenter gives it.
    """

    def __init__(self, encoders: Mapping[str, Encoder], bands: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        self.encoders = nnx.Dict(**encoders)
        (self._name, encoder), *_ = encoders.items()
        self._stride, self._bands = encoder.strides[-1], bands
        self.hidden = Hidden(bands)
        self.pixels = nnx.Linear(encoder.channels[-1], self._stride**2 * bands, dtype=dtype, rngs=rngs)

    @property
    def parameter_groups(self) -> dict[str, ParameterGroups]:
        """Those of the encoder, by its path."""
        return {f"encoders/{name}": encoder.parameter_groups for name, encoder in self.encoders.items()}

    def __call__(self, image_BxHxWxC: jax.Array, hidden_BxHxW: jax.Array, keys_B: jax.Array | None = None) -> jax.Array:
        """Returns the whole image (B, H, W, bands) float32 as it is imagined from what is not hidden."""
        height, width = image_BxHxWxC.shape[1:3]
        feature = self.pixels(self._feature(self.hidden(image_BxHxWxC, hidden_BxHxW), keys_B))
        rows, columns = feature.shape[1:3]
        blocks = feature.reshape(-1, rows, columns, self._stride, self._stride, self._bands).transpose(0, 1, 3, 2, 4, 5)
        image = blocks.reshape(-1, rows * self._stride, columns * self._stride, self._bands)
        return image[:, :height, :width].astype(jnp.float32)

    def pooled(self, image_BxHxWxC: jax.Array) -> jax.Array:
        """Returns the encoder's last feature of whole images, averaged over space: (B, C) float32."""
        return global_mean(self._feature(image_BxHxWxC, None))

    def _feature(self, image_BxHxWxC: jax.Array, keys_B: jax.Array | None) -> jax.Array:
        return self.encoders[self._name](padded(image_BxHxWxC, self._stride), branch_noise(keys_B, 1)[0])[-1]
