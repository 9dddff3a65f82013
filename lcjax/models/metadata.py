"""The branch for numbers beside an image: where, when and with which camera it was taken."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lcjax.models.layers import linear

WIDTHS = (64, 32)
DROPOUT = 0.4
FORGOTTEN = 0.1
_OWN = 1  # tells these draws from the others that are made with an example's key


class MetadataBranch(nnx.Module):
    """Dense layers with ReLU, of 64 and of 32, and one for each encoder that makes them as wide as its deepest feature.

    The answer is to be added at every place of that feature, so it serves any family and images of any size. The
    baseline of FLAIR-1 (Garioud et al. 2022) ends in 16 numbers instead, repeats them to 512 x 16 x 16 and adds that:
    each of the 16 rows of places gets a number of its own, the same in all channels, and images must have 512 pixels.

    What is not known (NaN) becomes 0. In training 0.4 of each layer's answers are dropped, as in the baseline, and one
    example in ten forgets all of its numbers, so that networks have seen what is not known. These draws come from a
    key per example, and do not depend on how a batch is spread. All is float32, whatever the images are computed in:
    bfloat16 would move places by kilometres.

    Args:
      inputs: how many numbers.
      outputs: stream name -> channels of its encoder's deepest feature.
    """

    def __init__(self, inputs: int, outputs: Mapping[str, int], *, rngs: nnx.Rngs):
        how: dict[str, Any] = {"dtype": jnp.float32, "rngs": rngs}
        self.hidden = nnx.List([linear(*pair, **how) for pair in zip((inputs, *WIDTHS[:-1]), WIDTHS, strict=True)])
        self.out = nnx.Dict(**{stream: linear(WIDTHS[-1], channels, **how) for stream, channels in outputs.items()})
        self.deterministic = False  # set by nnx.Module.train() and .eval()

    def __call__(self, x_BxN: jax.Array, keys_B: jax.Array | None = None) -> dict[str, jax.Array]:
        """Stream name -> (B, channels) float32. Without `keys_B` nothing is dropped."""
        known, *factors = self._factors(keys_B)
        x = jnp.where(jnp.isnan(x_BxN), 0.0, x_BxN) * known
        for layer, factor in zip(self.hidden, factors, strict=True):
            x = nnx.relu(layer(x)) * factor
        return {stream: layer(x) for stream, layer in self.out.items()}

    def _factors(self, keys_B: jax.Array | None) -> list[Any]:
        """What the numbers (B, 1) and the answers of each layer (B, width) are multiplied by."""
        if self.deterministic or keys_B is None:
            return [1.0] * (1 + len(WIDTHS))
        shape = (1 + sum(WIDTHS),)
        noise = jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, _OWN), shape))(keys_B)
        forgets, *drops = jnp.split(noise, np.cumsum([1, *WIDTHS[:-1]]), axis=1)
        return [forgets >= FORGOTTEN, *((drop >= DROPOUT) / (1 - DROPOUT) for drop in drops)]
