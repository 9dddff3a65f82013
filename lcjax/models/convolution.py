"""Convolutions, and how they are computed: on CPUs in other forms than XLA's own, where those are slow there.

| convolution | on a CPU | instead of |
|---|---|---|
| of each channel by itself | a sum of shifted images | one loop for all grouped convolutions |
| 1 x 1: gradients | products of two matrices | a convolution as large as the image, after a transposition |

docs/performance.md has the times. Accelerators have kernels of their own and keep the convolution.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from lcjax.models.kernels.forms import by_platform

Pads = tuple[tuple[int, int], tuple[int, int]]
_UNPADDED = ((0, 0), (0, 0))


def conv_general_dilated(
    image_BxHxWxC: jax.Array,
    kernel: jax.Array,
    window_strides: tuple[int, ...],
    padding: Any,
    *,
    feature_group_count: int,
    **how: Any,
) -> jax.Array:
    """As `lax.conv_general_dilated`, for nnx.Conv, in the form that suits the platform where there is another one."""
    channels, size, edges = image_BxHxWxC.shape[-1], image_BxHxWxC.shape[1:3], kernel.shape[:2]
    is_named = isinstance(padding, str)
    is_dilated = any(dilation != 1 for name in ("lhs_dilation", "rhs_dilation") for dilation in how[name])
    if len(set(window_strides)) == 1 and not is_dilated:
        stride = window_strides[0]
        # "SAME" adds nothing for one pixel.
        if feature_group_count == 1 and edges == (1, 1) and (is_named or not np.any(padding)):
            return _pointwise(image_BxHxWxC, kernel, stride)
        if 1 < feature_group_count == channels == kernel.shape[-1]:
            pads = lax.padtype_to_pads(size, edges, window_strides, padding) if is_named else padding
            return _depthwise(image_BxHxWxC, kernel, stride, tuple(map(tuple, pads)))
    return lax.conv_general_dilated(
        image_BxHxWxC, kernel, window_strides, padding, feature_group_count=feature_group_count, **how
    )


# ---- 1 x 1 ----------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _pointwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return _convolved(x, kernel, stride, _UNPADDED)


def _pointwise_forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _pointwise(x, kernel, stride), (x, kernel)


def _pointwise_backward(
    stride: int, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    multiplied = functools.partial(_multiplied, stride=stride)
    pulled = functools.partial(_pulled, stride=stride, pads=_UNPADDED)
    both: tuple[jax.Array, jax.Array] = by_platform(*kept, gradient, cpu=multiplied, default=pulled)
    return both


_pointwise.defvjp(_pointwise_forward, _pointwise_backward)


def _multiplied(x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int) -> tuple[jax.Array, jax.Array]:
    """Gradients by two products of matrices: one for the kernel, one for the pixels that it reads."""
    read = x[:, ::stride, ::stride]
    pixels = (0, 1, 2)
    # The compiler transposes the first operand, and computes all that leads to it once more where it does.
    narrow, wide = (read, gradient) if read.shape[-1] <= gradient.shape[-1] else (gradient, read)
    by_kernel = lax.dot_general(narrow, wide, ((pixels, pixels), ((), ())), preferred_element_type=jnp.float32)
    by_kernel = by_kernel if narrow is read else by_kernel.T
    of_read = lax.dot_general(gradient, kernel[0, 0], (((3,), (1,)), ((), ())))
    unread = [size - (read.shape[1 + axis] - 1) * stride - 1 for axis, size in enumerate(x.shape[1:3])]
    spread = ((0, 0, 0), *((0, rest, stride - 1) for rest in unread), (0, 0, 0))
    by_image = lax.pad(of_read, jnp.zeros((), of_read.dtype), spread)
    return by_image.astype(x.dtype), by_kernel.astype(kernel.dtype)[None, None]


# ---- each channel by itself -----------------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _depthwise(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    def shifted(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _shifted(x, kernel, stride, pads)

    def convolved(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return _convolved(x, kernel, stride, pads)

    answer: jax.Array = by_platform(x, kernel, cpu=shifted, default=convolved)
    return answer


def _forward(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _depthwise(x, kernel, stride, pads), (x, kernel)


def _backward(
    stride: int, pads: Pads, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def shifted(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _image_gradient(x, kernel, gradient, stride, pads), _kernel_gradient(x, kernel, gradient, stride, pads)

    pulled = functools.partial(_pulled, stride=stride, pads=pads)
    both: tuple[jax.Array, jax.Array] = by_platform(*kept, gradient, cpu=shifted, default=pulled)
    return both


_depthwise.defvjp(_forward, _backward)


def _pulled(
    x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int, pads: Pads
) -> tuple[jax.Array, jax.Array]:
    """Both gradients as JAX derives them."""
    by_image, by_kernel = jax.vjp(lambda x, kernel: _convolved(x, kernel, stride, pads), x, kernel)[1](gradient)
    return by_image, by_kernel


def _convolved(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    groups = x.shape[-1] // kernel.shape[2]
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )


def _shifted(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    """The sum over the taps of the kernel: the image, moved by the tap's place, times the tap."""
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), *pads, (0, 0)))
    height, width = ((padded.shape[1 + axis] - kernel.shape[axis]) // stride + 1 for axis in range(2))
    taps = kernel.astype(jnp.float32)[:, :, None]  # (rows, columns, 1, 1, C)
    moved = (
        padded[:, i : i + (height - 1) * stride + 1 : stride, j : j + (width - 1) * stride + 1 : stride]
        * taps[i, j][None]
        for i, j in np.ndindex(kernel.shape[:2])
    )
    return functools.reduce(jnp.add, moved).astype(x.dtype)


def _image_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int, pads: Pads) -> jax.Array:
    """The gradient with zeros between its pixels, filtered by the kernel turned about."""
    around = []
    for axis, (before, after) in enumerate(pads):
        edge, size = kernel.shape[axis], x.shape[1 + axis]
        unseen = (size + before + after - edge) % stride  # at the end of the image, which no output reaches
        around.append((edge - 1 - before, edge - 1 - after + unseen, stride - 1))
    spread = lax.pad(gradient, jnp.zeros((), gradient.dtype), ((0, 0, 0), *around, (0, 0, 0)))
    return _shifted(spread, kernel[::-1, ::-1], 1, ((0, 0), (0, 0))).astype(x.dtype)


def _kernel_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int, pads: Pads) -> jax.Array:
    """For each tap, one after the other, the sum of the moved image times the gradient.

    Each example for itself, so that a batch that is spread over devices is summed once, at the end.
    """
    padded = jnp.pad(x.astype(jnp.float32), ((0, 0), *pads, (0, 0)))
    rows, columns = kernel.shape[:2]
    batch, height, width, channels = gradient.shape
    wanted = gradient.astype(jnp.float32)
    seen = (batch, (height - 1) * stride + 1, (width - 1) * stride + 1, channels)

    def of_tap(tap: jax.Array) -> jax.Array:
        moved = lax.dynamic_slice(padded, (0, tap // columns, tap % columns, 0), seen)
        sums: jax.Array = (moved[:, ::stride, ::stride] * wanted).sum((1, 2))
        return sums

    total: jax.Array = lax.map(of_tap, jnp.arange(rows * columns)).sum(1)
    return total.reshape(kernel.shape).astype(kernel.dtype)
