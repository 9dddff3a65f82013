"""Networks with values in which nothing is zero or one, and what leaves each of their stages.

The values are drawn by path, so that who knows the paths knows the values: nobody stores weights. As a network starts,
its biases are zero, its scales are one, its tables are small: much could be wrong and not be seen.
"""

import functools
import math
import re
import zlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from lcjax.models import params, registry
from lcjax.models.interfaces import whole

CLASSES = 7


def _normal(mean: float, deviation: float):
    return lambda generator, shape: generator.normal(mean, deviation, shape)


def _uniform(low: float, high: float):
    return lambda generator, shape: generator.uniform(low, high, shape)


def _kernel(gain: float):
    return lambda generator, shape: generator.normal(0.0, gain / math.sqrt(math.prod(shape[:-1])), shape)


# Of the convolutions in residual branches, which add up: features have to stay near one, or 1e-4 says nothing of them.
RESIDUAL_GAINS = {"efficientnet_lite0_unet": 1.2}
RESIDUAL_GAIN = 0.85


def draws(residual_gain: float) -> tuple[tuple[str, Callable], ...]:
    """How values are drawn by path: the first match decides. Convolutions before a ReLU keep the second moment."""
    return (
        (r"stages/\d+/\d+/layers/\d+/conv/kernel$", _kernel(residual_gain)),
        (r"(levels|ups|stem|pools|bottleneck|laterals|smooths|join)/.*kernel$", _kernel(1.3)),
        (r"kernel$", _kernel(1.0)),
        (r"bias$", _normal(0.0, 0.1)),
        (r"scale$", _uniform(0.8, 1.2)),
        (r"mean$", _normal(0.1, 0.1)),
        (r"var$", _uniform(0.5, 1.5)),
        (r"(bias_table|class_token|position)$", _normal(0.0, 0.5)),
    )


def generator(text: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def fill(shapes: Mapping[str, jax.ShapeDtypeStruct], family: str) -> dict[str, np.ndarray]:
    """Values from a generator for each path."""
    table = draws(RESIDUAL_GAINS.get(family, RESIDUAL_GAIN))
    values = {}
    for path, shape in shapes.items():
        draw = next(draw for pattern, draw in table if re.search(pattern, path))
        values[path] = draw(generator(path), shape.shape).astype(np.float32)
    return values


def image(stream: str, size: int, height: int, width: int, bands: int) -> np.ndarray:
    """A batch of noise (size, height, width, bands)."""
    return generator(f"{stream}/{height}x{width}").standard_normal((size, height, width, bands), np.float32)


def padded(image_BxHxWxC: np.ndarray, stride: int) -> np.ndarray:
    """Mirrored at the lower and right edge up to multiples of the stride."""
    _, h, w, _ = image_BxHxWxC.shape
    return np.pad(image_BxHxWxC, ((0, 0), (0, -h % stride), (0, -w % stride), (0, 0)), mode="symmetric")


class Filled:
    """A network, its values, and calls of it.

    Attributes:
      values: path -> array, of parameters and statistics.
      parameters: the paths of those that are learned.
    """

    def __init__(self, family: str, build: Callable[[nnx.Rngs], nnx.Module], stages: Callable):
        self.template = params.Template(build)
        self.parameters = tuple(self.template.parameters)
        self.values = fill(self.template.parameters | self.template.statistics, family)
        self._stages = jax.jit(lambda values, images: stages(self._merge(values, train=False), images))

    def _merge(self, values: Mapping[str, jax.Array], *, train: bool):
        learned, rest = ({p: values[p] for p in paths} for paths in (self.parameters, self.template.statistics))
        return self.template.merge(learned, rest, train=train)

    @functools.cached_property
    def stride(self) -> int:
        """The coarsest, to whose multiples images are padded."""
        return self._merge(self.values, train=False).stride

    def stages(self, images) -> dict[str, np.ndarray]:
        """What leaves each stage, by its name, when it does not train."""
        return {name: np.asarray(stage) for name, stage in self._stages(self.values, images).items()}

    def gradients(
        self, loss: Callable[[nnx.Module], jax.Array], dtype=np.float32
    ) -> tuple[float, dict[str, np.ndarray]]:
        """The loss of the network in training, and its gradient for each parameter; the values in this type."""

        @jax.jit
        @jax.value_and_grad
        def evaluate(learned):
            statistics = {path: jnp.asarray(self.values[path], dtype) for path in self.template.statistics}
            return loss(self._merge(statistics | learned, train=True))

        value, found = evaluate({path: self.values[path].astype(dtype) for path in self.parameters})
        return float(value), {path: np.asarray(gradient) for path, gradient in found.items()}

    @property
    def count(self) -> int:
        """Number of learned parameters."""
        return sum(math.prod(shape.shape) for shape in self.template.parameters.values())


def segmenter(model: Mapping, bands: Mapping[str, int], classes: int = CLASSES, precision: str = "f32") -> Filled:
    """A segmentation network with a stream for each of `bands`; its stages are of images as they are, and padded."""

    def build(rngs):
        known = {"streams": whole(bands), "classes": classes, "precision": precision}
        return registry.segmenter(model, rngs=rngs, **known)

    def stages(network, images):
        return _segmenter_stages(network, *images)

    return Filled(model["name"], build, stages)


def _segmenter_stages(network, images, whole) -> dict[str, jax.Array]:
    """`whole` are the images, padded to the stride."""
    found, decoded = {}, []
    for stream in images:
        pyramid = network.encoders[stream](whole[stream])
        found |= {f"{stream}/encoder/{i}": feature for i, feature in enumerate(pyramid)}
        features = network.decoders[stream](pyramid)
        found |= {f"{stream}/decoder/{i}": feature for i, feature in enumerate(features)}
        decoded.append(features[-1])
    return found | {"head": network.head(jnp.concatenate(decoded, axis=-1)), "output": network(images)}


def encoder(model: Mapping, bands: int) -> Filled:
    """The encoder of a family by itself. A ViT's tokens after each block are stages too."""

    def build(rngs):
        known = {**model, "remat": False, "dtype": jnp.float32, "rngs": rngs}
        return registry.family(model["name"]).encoder(bands, **known)

    def stages(network, images):
        found = {f"encoder/{i}": feature for i, feature in enumerate(network(images))}
        if hasattr(network, "tokens"):
            found |= {f"tokens/{i}": tokens for i, tokens in enumerate(network.tokens(images))}
        return found

    return Filled(model["name"], build, stages)
