"""A segmentation network: one encoder and decoder per stream, joined before the head."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from lcjax.models.interfaces import OWN, Decoder, Encoder, Head, Images, Inputs, ParameterGroups, by_sensor
from lcjax.models.metadata import MetadataBranch
from lcjax.models.resample import padded, resize

PARTS = ("encoder", "decoder", "head")  # names of scopes: of costs, and of profiles
BRANCHES = 128  # residual branches that one stream can drop: more than any family has


def branch_noise(keys_B: jax.Array | None, streams: int) -> list[jax.Array | None]:
    """For each stream the uniform numbers (B, BRANCHES) that decide which branches an example drops."""
    if keys_B is None:
        return [None] * streams
    noise_BxSxN = jax.vmap(lambda key: jax.random.uniform(key, (streams, BRANCHES)))(keys_B)
    return [noise_BxSxN[:, stream] for stream in range(streams)]


class Segmenter(nnx.Module):
    """Encoders, decoders and one head.

    Attributes:
      streams: (name, what its encoder is given) of each. Early fusion is one stream with the bands of two sensors,
        late fusion two streams with those of one each.
      adapters: by the name of the streams that have one: a learned mixture of bands, pixel by pixel.
      encoders, decoders: by stream name.
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
        self.streams = tuple(streams.items())
        self.adapters = nnx.Dict(**adapters)
        self.encoders = nnx.Dict(**encoders)
        self.decoders = nnx.Dict(**decoders)
        self.head = head
        self.metadata = metadata
        self.stride = max(encoder.strides[-1] for encoder in encoders.values())
        self.sensors = tuple(dict.fromkeys(sensor for given in streams.values() for sensor, _ in given.places))

    @property
    def parameter_groups(self) -> dict[str, ParameterGroups]:
        """Those of each encoder that may have learned elsewhere, by its path."""
        return {f"encoders/{name}": encoder.parameter_groups for name, encoder in self.encoders.items() if name != OWN}

    def __call__(self, inputs: Images | jax.Array, keys_B: jax.Array | None = None) -> jax.Array:
        """Logits (B, H, W, classes) float32 of images {sensor: (B, H, W, bands)} of any size.

        The image of a single sensor may come as it is, (B, H, W, bands). With a metadata branch inputs["metadata"] are
        the (B, N) numbers that it takes.
        """
        inputs = by_sensor(inputs, self.sensors)
        features = []
        added = {} if self.metadata is None else self.metadata(inputs["metadata"], keys_B)
        noise_SxBxN = branch_noise(keys_B, len(self.streams))
        for (stream, given), noise_BxN in zip(self.streams, noise_SxBxN, strict=True):
            image = given.of(inputs)
            with jax.named_scope("encoder"):
                if stream in self.adapters:
                    # Here, so that where the encoder pads with zeros they are zeros of the bands that it knows.
                    image = self.adapters[stream](image)
                whole = padded(image, self.stride)
                pyramid = self.encoders[stream](whole, noise_BxN)
            if stream in added:
                pyramid[-1] += added[stream][:, None, None].astype(pyramid[-1].dtype)
            with jax.named_scope("decoder"):
                features.append(self.decoders[stream](pyramid, noise_BxN)[-1])
        with jax.named_scope("head"):
            logits = self.head(jnp.concatenate(features, axis=-1))
        if logits.shape[1:3] != whole.shape[1:3]:
            logits = resize(logits, *whole.shape[1:3])
        return logits[:, : image.shape[1], : image.shape[2]].astype(jnp.float32)
