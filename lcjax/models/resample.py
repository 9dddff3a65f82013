"""Features made larger and smaller: pooling, interpolation, and blocks of pixels traded for channels.

Pixels are areas: the centre of pixel i lies at i + 1/2, and a resized image covers the same ground ("align_corners
= False" of other libraries).

Sizes are numbers, or symbols where a network is traced for images of any size (lcjax/export). What depends on a
number is made by numpy while tracing; on a symbol by JAX, in the program itself.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

from lcjax.models.kernels.forms import by_platform

# Interpolation and averages stand under this name in a traced program: their dot products are no work of the network.
SCOPE = "resampling"


def space_to_depth(x_BxHxWxC: jax.Array, edge: int) -> jax.Array:
    """Blocks of edge x edge pixels side by side: (B, H / edge, W / edge, edge * edge, C)."""
    b, h, w, c = x_BxHxWxC.shape
    x = x_BxHxWxC.reshape(b, h // edge, edge, w // edge, edge, c).swapaxes(2, 3)
    return x.reshape(b, h // edge, w // edge, edge * edge, c)


def depth_to_space(x_BxHxWxC: jax.Array, edge: int) -> jax.Array:
    """The inverse, channels being (row, column, C) of a block: (B, H * edge, W * edge, C / edge²)."""
    b, h, w, _ = x_BxHxWxC.shape
    x = x_BxHxWxC.reshape(b, h, w, edge, edge, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h * edge, w * edge, -1)


def is_symbol(*sizes: int) -> bool:
    """Whether one of the sizes is not a number."""
    return any(map(export.is_symbolic_dim, sizes))


def next_multiple(size: int, multiple: int) -> int:
    """The next multiple. Written so that with a symbol, too, it is known to be one."""
    return (size + multiple - 1) // multiple * multiple


def padded(x_BxHxWxC: jax.Array, multiple: int) -> jax.Array:
    """The image with edges that are multiples: mirrored, the pixel at the edge repeated, at the bottom and right."""
    _, h, w, _ = x_BxHxWxC.shape
    if is_symbol(h, w):  # which jnp.pad takes only if it knows that one mirror is enough
        return _mirrored(_mirrored(x_BxHxWxC, 1, multiple), 2, multiple)
    return jnp.pad(x_BxHxWxC, ((0, 0), (0, -h % multiple), (0, -w % multiple), (0, 0)), mode="symmetric")


def _mirrored(x: jax.Array, axis: int, multiple: int) -> jax.Array:
    size = x.shape[axis]
    place = jnp.arange(next_multiple(size, multiple)) % (2 * size)
    return jnp.take(x, jnp.minimum(place, 2 * size - 1 - place), axis, mode="clip")


def global_mean(x_BxHxWxC: jax.Array) -> jax.Array:
    """Returns the mean over all places, (B, C) float32."""
    return jnp.mean(x_BxHxWxC.astype(jnp.float32), axis=(1, 2))


def max_pool(x_BxHxWxC: jax.Array) -> jax.Array:
    """The largest of each 2 x 2 pixels.

    By comparisons, whose gradient needs no search through windows. Not by `max` over an axis: its gradient looks for
    the value again, and where the compiler has rounded it otherwise there, it divides by zero.
    """
    a, b, c, d = jnp.moveaxis(space_to_depth(x_BxHxWxC, 2), 3, 0)
    above, below = jnp.where(a >= b, a, b), jnp.where(c >= d, c, d)
    return jnp.where(above >= below, above, below)


@jax.custom_vjp
def max_pool_3x3(x_BxHxWxC: jax.Array) -> jax.Array:
    """The largest of 3 x 3 pixels around every second one, as far as they lie in the image.

    Where several are largest the first of them, row by row, has the gradient.
    """
    return _largest(x_BxHxWxC)


def _largest(x: jax.Array) -> jax.Array:
    largest: jax.Array = nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))
    return largest


def _pool_backward(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    def searched(x: jax.Array, gradient: jax.Array) -> jax.Array:
        pulled: jax.Array = jax.vjp(_largest, x)[1](gradient)[0]
        return pulled

    # XLA on a CPU writes down which pixel is which before it searches the windows: five times slower.
    return (by_platform(x, gradient, cpu=_returned, default=searched),)


max_pool_3x3.defvjp(lambda x: (max_pool_3x3(x), x), _pool_backward)


def _returned(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The gradient, put back to where each window of `max_pool_3x3` has its largest pixel.

    By comparisons of pixels: whether one equals the maximum is uncertain where the compiler has rounded it twice.
    """
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    spans = [2 * (size - 1) + 1 for size in gradient.shape[1:3]]
    places = list(np.ndindex(3, 3))
    largest = jnp.full(gradient.shape, -jnp.inf, x.dtype)
    where = jnp.zeros(gradient.shape, jnp.int8)
    for place, (i, j) in enumerate(places):
        pixel = padded[:, i : i + spans[0] : 2, j : j + spans[1] : 2]
        is_larger = pixel > largest
        largest, where = jnp.where(is_larger, pixel, largest), jnp.where(is_larger, jnp.int8(place), where)
    where = jax.lax.optimization_barrier(where)
    zero = jnp.zeros((), gradient.dtype)
    total = jnp.zeros(padded.shape, gradient.dtype)
    for place, start in enumerate(places):
        around = [
            (begin, size - begin - span, 1) for begin, size, span in zip(start, padded.shape[1:3], spans, strict=True)
        ]
        here = jnp.where(where == place, gradient, zero)
        total += jax.lax.pad(here, zero, ((0, 0, 0), *around, (0, 0, 0)))
    return total[:, 1:-1, 1:-1]


def double(x_BxHxWxC: jax.Array) -> jax.Array:
    """Twice as high and wide by nearest neighbours: each pixel four times."""
    b, h, w, c = x_BxHxWxC.shape
    return jnp.broadcast_to(x_BxHxWxC[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


@jax.named_scope(SCOPE)
def resize(x_BxHxWxC: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear interpolation, without smoothing where it makes smaller."""
    b, _, _, c = x_BxHxWxC.shape
    resized: jax.Array = jax.image.resize(x_BxHxWxC, (b, height, width, c), "bilinear", antialias=False)
    return resized


@jax.named_scope(SCOPE)
def resize_corners(x_BxHxWxC: jax.Array, height: int, width: int) -> jax.Array:
    """Bilinear interpolation from the centres of the corner pixels to each other ("align_corners = True")."""
    rows, columns = (
        jnp.asarray(_between_corners(new, old)) for new, old in zip((height, width), x_BxHxWxC.shape[1:3], strict=True)
    )
    resized = jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x_BxHxWxC.astype(jnp.float32), precision="highest")
    return resized.astype(x_BxHxWxC.dtype)


def _between_corners(outputs: int, inputs: int) -> Any:
    """(outputs, inputs) float32: the weights of the two nearest of the old points for each new one."""
    xp = jnp if is_symbol(outputs, inputs) else np
    place = xp.arange(outputs) * ((inputs - 1) / xp.maximum(outputs - 1, 1))
    near = 1 - xp.abs(place[:, None] - xp.arange(inputs)[None])
    return xp.maximum(near, 0.0).astype(np.float32)


@jax.named_scope(SCOPE)
def average_pool(x_BxHxWxC: jax.Array, bins: int) -> jax.Array:
    """Means over a grid of bins x bins that covers the image; bins share a pixel where it does not divide."""
    _, h, w, _ = x_BxHxWxC.shape
    rows, columns = (jnp.asarray(_bins(bins, size), jnp.float32) for size in (h, w))
    # Exactly, because in bfloat16 the weights of a bin would not add up to one.
    means = jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x_BxHxWxC.astype(jnp.float32), precision="highest")
    return means.astype(x_BxHxWxC.dtype)


def _bins(bins: int, size: int) -> Any:
    """(bins, size): row i weighs the pixels from floor(i * size / bins) to ceil((i + 1) * size / bins)."""
    xp = jnp if is_symbol(size) else np
    i, place = xp.arange(bins)[:, None], xp.arange(size)[None]
    inside = (place >= i * size // bins) & (place < -(-(i + 1) * size // bins))
    return inside / inside.sum(axis=1, keepdims=True)


@jax.named_scope(SCOPE)
def resized_table(table_HxWxC: jax.Array, height: int, width: int) -> jax.Array:
    """A learned table on another grid, by cubic convolution (Keys 1981, a = -0.75, edges repeated), float32.

    As the published Swin and ViT weights are moved to other windows and sizes; `jax.image.resize` has another a, and
    leaves out what lies beyond the edges.
    """
    rows, columns = (
        jnp.asarray(_cubic(new, old)) for new, old in zip((height, width), table_HxWxC.shape, strict=False)
    )
    return jnp.einsum("ih,jw,hwc->ijc", rows, columns, table_HxWxC.astype(jnp.float32), precision="highest")


def _cubic(outputs: int, inputs: int) -> Any:
    """(outputs, inputs) float32: the weights of the four nearest of the old points for each new one."""
    xp = jnp if is_symbol(outputs) else np
    centre = (xp.arange(outputs) + 0.5) * inputs / outputs - 0.5
    first = xp.floor(centre).astype(np.int32) - 1
    weights = xp.zeros((outputs, inputs))
    a = -0.75
    for tap in range(4):
        distance = xp.abs(centre - (first + tap))
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = a * (((distance - 5) * distance + 8) * distance - 4)
        weight = xp.where(distance <= 1, near, far)
        place = xp.clip(first + tap, 0, inputs - 1)
        weights += xp.where(place[:, None] == np.arange(inputs)[None], weight[:, None], 0.0)
    return weights.astype(np.float32)
