"""Networks of one encoder per stream, joined before the head: of pixels (Segmenter) and of patches (Classifier)."""

from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
from flax import nnx

from lcjax.models.heads import PatchHead
from lcjax.models.interfaces import (
    OWN,
    Decoder,
    Encoder,
    Head,
    Images,
    Inputs,
    ParameterGroups,
    WithClassToken,
    by_sensor,
)
from lcjax.models.metadata import MetadataBranch
from lcjax.models.resample import global_mean, padded, resize

PARTS = ("encoder", "decoder", "head")  # names of scopes: of costs, and of profiles
BRANCHES = 128  # residual branches that one stream can drop: more than any family has


def branch_noise(keys_B: jax.Array | None, streams: int) -> list[jax.Array | None]:
    """For each stream the uniform numbers (B, BRANCHES) that decide which branches an example drops."""
    if keys_B is None:
        return [None] * streams
    noise_BxSxN = jax.vmap(lambda key: jax.random.uniform(key, (streams, BRANCHES)))(keys_B)
    return [noise_BxSxN[:, stream] for stream in range(streams)]


class Streams(nnx.Module):
    """Encoders, each with what it is given.

    Attributes:
      streams: (name, what its encoder is given) of each. Early fusion is one stream with the bands of two sensors,
        late fusion two streams with those of one each.
      adapters: by the name of the streams that have one: a learned mixture of bands, pixel by pixel.
      encoders: by stream name.
    """

    def __init__(
        self, streams: Mapping[str, Inputs], adapters: Mapping[str, nnx.Conv], encoders: Mapping[str, Encoder]
    ):
        self.streams = tuple(streams.items())
        self.adapters = nnx.Dict(**adapters)
        self.encoders = nnx.Dict(**encoders)
        self.stride = max(encoder.strides[-1] for encoder in encoders.values())
        self.sensors = tuple(dict.fromkeys(sensor for given in streams.values() for sensor, _ in given.places))

    @property
    def parameter_groups(self) -> dict[str, ParameterGroups]:
        """Those of each encoder that may have learned elsewhere, by its path."""
        return {f"encoders/{name}": encoder.parameter_groups for name, encoder in self.encoders.items() if name != OWN}

    def given(self, inputs: Images, keys_B: jax.Array | None) -> Iterator[tuple[str, jax.Array, jax.Array | None]]:
        """Yields of each stream its name, the image that its encoder is shown, and what drops residual branches.

        The image (B, H, W, C) has gone through the adapter of its stream, and its edges are multiples of the stride.
        """
        for (stream, given), noise_BxN in zip(self.streams, branch_noise(keys_B, len(self.streams)), strict=True):
            image = given.of(inputs)
            with jax.named_scope("encoder"):
                if stream in self.adapters:
                    # Here, so that where the encoder pads with zeros they are zeros of the bands that it knows.
                    image = self.adapters[stream](image)
                whole = padded(image, self.stride)
            yield stream, whole, noise_BxN


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
