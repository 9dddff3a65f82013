"""Networks as other packages write them: nothing of lcjax in them."""

import jax.numpy as jnp
from flax import nnx


class Plain(nnx.Module):
    """One image in, with batch norm and dropout; declares its stem and its stages."""

    parameter_groups = {"stem": ["first"], "stages": [["blocks/0", "norm"], ["blocks/1"]]}  # noqa: RUF012
    sizes = {"base": {"width": 8}, "small": {"width": 4}}  # noqa: RUF012

    def __init__(self, bands, classes, rngs, *, width, rate=0.5):
        self.first = nnx.Conv(sum(bands.values()), width, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.blocks = nnx.List([nnx.Conv(width, width, (1, 1), rngs=rngs) for _ in range(2)])
        self.dropout = nnx.Dropout(rate, rngs=rngs)
        self.last = nnx.Linear(width, classes, kernel_init=nnx.initializers.constant(0.25), rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.first(x)))
        for block in self.blocks:
            x = self.dropout(nnx.relu(block(x)))
        return self.last(x)


class BySensor(nnx.Module):
    """Images by sensor in, and keys; declares nothing, and can compute in bfloat16."""

    def __init__(self, bands, classes, rngs, dtype, depth=1, shape=(1, 1)):
        self.layers = nnx.Dict(**{s: nnx.Conv(n, classes, shape, dtype=dtype, rngs=rngs) for s, n in bands.items()})

    def __call__(self, images, keys_B=None):
        return sum(layer(images[sensor]) for sensor, layer in self.layers.items())


class Counting(nnx.Module):
    """Holds a variable that is neither a parameter nor a statistic."""

    def __init__(self, bands, classes, rngs):
        self.steps = nnx.Variable(jnp.zeros(()))

    def __call__(self, x):
        return x


def coarse(bands, classes, rngs):
    """Its answer has half the size of the image."""
    return nnx.Conv(sum(bands.values()), classes, (1, 1), (2, 2), rngs=rngs)


def function(bands, classes, rngs):
    """Makes no module."""
    return lambda x: x


class TwoImages(nnx.Module):
    """Takes what nobody gives."""

    def __init__(self, bands, classes, rngs):
        pass

    def __call__(self, x, y):
        return x


WRONG = 7
