"""What networks of several encoders share: their streams, and how each encoder is given its image."""

from collections.abc import Iterator, Mapping

import jax
from flax import nnx

from lcjax.models.interfaces import OWN, Encoder, Images, Inputs, ParameterGroups
from lcjax.models.resample import padded

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
