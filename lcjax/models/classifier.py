"""A classification network: one encoder per stream, pooled and joined before a linear head."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from lcjax.models.heads import PatchHead
from lcjax.models.interfaces import Encoder, Images, Inputs, WithClassToken, by_sensor
from lcjax.models.resample import global_mean
from lcjax.models.streams import Streams


class Classifier(Streams):
    """The encoders that a Segmenter of the same family and fusion has, and a head on what they make of whole patches.

    Attributes:
      streams, adapters, encoders: as of `Streams`.
      patch_head: from the features of all streams, side by side, to class logits. It has another path than the heads
        of pixels, so that none of the two begins with the other's values.
    """

    def __init__(
        self,
        streams: Mapping[str, Inputs],
        adapters: Mapping[str, nnx.Conv],
        encoders: Mapping[str, Encoder],
        classes: int,
        *,
        rngs: nnx.Rngs,
    ):
        super().__init__(streams, adapters, encoders)
        joined = sum(encoder.channels[-1] for encoder in encoders.values())
        self.patch_head = PatchHead(joined, classes, rngs=rngs)

    def __call__(self, inputs: Images | jax.Array, keys_B: jax.Array | None = None) -> jax.Array:
        """Logits (B, classes) float32 of images {sensor: (B, H, W, bands)} of any size.

        The image of a single sensor may come as it is, (B, H, W, bands).
        """
        features = []
        for stream, whole, noise_BxN in self.given(by_sensor(inputs, self.sensors), keys_B):
            with jax.named_scope("encoder"):
                features.append(_of_patch(self.encoders[stream], whole, noise_BxN))
        with jax.named_scope("head"):
            return self.patch_head(jnp.concatenate(features, axis=-1))


def _of_patch(encoder: Encoder, image_BxHxWxC: jax.Array, noise_BxN: jax.Array | None) -> jax.Array:
    """The class token where an encoder has one, else the last feature, averaged over space: (B, C) float32."""
    if isinstance(encoder, WithClassToken):
        return encoder.class_feature(image_BxHxWxC, noise_BxN).astype(jnp.float32)
    return global_mean(encoder(image_BxHxWxC, noise_BxN)[-1])
