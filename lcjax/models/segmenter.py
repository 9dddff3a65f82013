"""A segmentation network: one encoder and decoder per stream, joined before the head."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from lcjax.models.interfaces import Decoder, Encoder, Head, Images, Inputs, by_sensor
from lcjax.models.metadata import MetadataBranch
from lcjax.models.resample import resize
from lcjax.models.streams import Streams

PARTS = ("encoder", "decoder", "head")  # names of scopes: of costs, and of profiles


class Segmenter(Streams):
    """Encoders, decoders and one head.

    Attributes:
      streams, adapters, encoders: as of `Streams`.
      decoders: by stream name.
      head: from the concatenated decoder outputs to class logits; where they are coarser than the image they are
        interpolated bilinearly.
      metadata: what makes features of the numbers beside an image, if there is such a branch; they are added at every
        place of the deepest feature of each encoder.
    """

    def __init__(
        self,
        streams: Mapping[str, Inputs],
        adapters: Mapping[str, nnx.Conv],
        encoders: Mapping[str, Encoder],
        decoders: Mapping[str, Decoder],
        head: Head,
        metadata: MetadataBranch | None = None,
    ):
        super().__init__(streams, adapters, encoders)
        self.decoders = nnx.Dict(**decoders)
        self.head = head
        self.metadata = metadata

    def __call__(self, inputs: Images | jax.Array, keys_B: jax.Array | None = None) -> jax.Array:
        """Logits (B, H, W, classes) float32 of images {sensor: (B, H, W, bands)} of any size.

        The image of a single sensor may come as it is, (B, H, W, bands). With a metadata branch inputs["metadata"] are
        the (B, N) numbers that it takes.
        """
        inputs = by_sensor(inputs, self.sensors)
        features = []
        added = {} if self.metadata is None else self.metadata(inputs["metadata"], keys_B)
        height, width = inputs[self.sensors[0]].shape[1:3]
        for stream, whole, noise_BxN in self.given(inputs, keys_B):
            with jax.named_scope("encoder"):
                pyramid = self.encoders[stream](whole, noise_BxN)
            if stream in added:
                pyramid[-1] += added[stream][:, None, None].astype(pyramid[-1].dtype)
            with jax.named_scope("decoder"):
                features.append(self.decoders[stream](pyramid, noise_BxN)[-1])
        with jax.named_scope("head"):
            logits = self.head(jnp.concatenate(features, axis=-1))
        if logits.shape[1:3] != whole.shape[1:3]:
            logits = resize(logits, *whole.shape[1:3])
        return logits[:, :height, :width].astype(jnp.float32)
