"""The halves of a Swin block, and the head behind all blocks, as functions that can be differentiated.

The compiler cannot split a kernel: under jit each device calls it for its own examples (jax.shard_map over the mesh of
jax.set_mesh), and the gradients of the weights are summed up outside, where the compiler lays them as it does others.
Under pmap a device sees its own examples alone.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from lcjax.models.kernels.plans import Attention, Head, Kernel, Mlp

# Of a block: the compiler's own, these kernels, or these kernels in Pallas' interpreter, on any device, for tests.
IMPLEMENTATIONS = ("xla", "pallas", "interpret")
XLA, PALLAS, INTERPRET = IMPLEMENTATIONS

# By what config.attention asks for: on a TPU, and elsewhere.
AUTO = "auto"
_CHOICES = {AUTO: (PALLAS, XLA), "xla": (XLA, XLA), "pallas": (PALLAS, INTERPRET)}

Arrays = tuple[jax.Array, ...]
Kept = tuple[jax.Array, jax.Array, Arrays]  # factor, x and weights
Half = TypeVar("Half", Attention, Mlp, Head)


def implementation(asked: str, platform: str) -> str:
    """The implementation that config.attention asks for on a platform; what "auto" chooses has yet to prove itself."""
    on_tpu, elsewhere = _CHOICES[asked]
    return on_tpu if platform == "tpu" else elsewhere


_met: contextvars.ContextVar[list[Any] | None] = contextvars.ContextVar("met", default=None)


@contextlib.contextmanager
def met() -> Iterator[list[Kernel]]:
    """Yields a list of the halves of blocks that are traced as kernels in the context, each once."""
    halves: list[Kernel] = []
    token = _met.set(halves)
    try:
        yield halves
    finally:
        _met.reset(token)


def own(half: Half, implementation: str) -> Half | None:
    """A half of a block as one device sees it, inside a compiled function; None where it is no kernel.

    It is none where the implementation is XLA, where a batch does not divide over the devices, and where an image does
    not fit in fast memory.

    Args:
      half: with the images of all devices, or of all that this program sees.
      implementation: one of `IMPLEMENTATIONS`.
    """
    devices = _mesh().size if _splits() else 1
    if implementation == XLA or half.batch % devices:
        return None
    one = dataclasses.replace(half, batch=half.batch // devices, interpret=implementation == INTERPRET)
    if one.plan(backward=False) is None or one.plan(backward=True) is None:
        return None
    halves = _met.get()
    if halves is not None and one not in halves:
        halves.append(one)
    return one


def _in_float32(half: Half) -> Half:
    """The same, with tokens and weights in float32."""
    return dataclasses.replace(half, dtype="float32")


def _mesh() -> Any:
    return jax.sharding.get_abstract_mesh()


def _splits() -> bool:
    """Whether the compiler splits this program over several devices; inside pmap and shard_map it does not."""
    mesh = _mesh()
    return not mesh.empty and mesh.size > 1 and not mesh.manual_axes


def _each(function: Callable[..., Arrays], per_example: Arrays, weights: Arrays, results: int) -> Arrays:
    """Calls a kernel on each device with its examples and all weights.

    Args:
      function: (*per_example, *weights) -> results.
      per_example: split along their first axis.
      weights: the same on all devices.
      results: how many of the results, the first ones, are split along their first axis; the others are added up.
    """
    if not _splits():
        return function(*per_example, *weights)
    mesh = _mesh()
    split, whole = jax.P(mesh.axis_names), jax.P()

    def one(*operands: jax.Array) -> Arrays:
        made = function(*operands)
        return (*made[:results], *(part[None] for part in made[results:]))

    spread = jax.shard_map(
        one,
        in_specs=(*[split] * len(per_example), *[whole] * len(weights)),
        out_specs=split,
        check_vma=False,  # a kernel does not say how its results differ between devices
    )
    made = spread(*per_example, *weights)
    return (*made[:results], *(jnp.sum(parts, axis=0) for parts in made[results:]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attention(of: Attention, factor: jax.Array, x: jax.Array, weights: Arrays) -> jax.Array:
    """Adds its attention to the tokens of a whole batch: (B, H, W, C).

    Args:
      of: the attention as one device sees it: `batch` are its own images.
      factor: (B,) float32, what each example's branch is multiplied by; it has no gradient.
      x: (B, H, W, C).
      weights: float32: scale and offset (C,) of the norm; kernel (C, 3 C) and bias (3 C,) of queries, keys and values;
        kernel (C, C) and bias (C,) of the output; bias (heads, window^2, window^2) of pairs of tokens.
    """
    from lcjax.models.kernels import attention as attentions  # here, because Pallas takes long and few need it

    (result,) = _each(lambda *o: (attentions.forward(of, o),), (factor, x), _attention_operands(of, *weights), 1)
    return result


def _attention_operands(
    of: Attention,
    scale: jax.Array,
    offset: jax.Array,
    qkv: jax.Array,
    qkv_bias: jax.Array,
    out: jax.Array,
    out_bias: jax.Array,
    bias: jax.Array,
) -> Arrays:
    c = of.channels
    return (
        scale[None],
        offset[None],
        qkv.reshape(c, 3, c).swapaxes(0, 1).astype(of.dtype),
        qkv_bias.reshape(3, 1, c),
        out.astype(of.dtype),
        out_bias[None],
        of.windows.padded(bias),
    )


def _attention_forward(of: Attention, factor: jax.Array, x: jax.Array, weights: Arrays) -> tuple[jax.Array, Kept]:
    return attention(of, factor, x, weights), (factor, x, weights)


def _attention_backward(of: Attention, kept: Kept, gradient: jax.Array) -> tuple[jax.Array, jax.Array, Arrays]:
    from lcjax.models.kernels import attention as attentions  # as above

    factor, x, weights = kept
    # The rearrangement of the weights, and how it is undone; but for their type, so that sums stay float32.
    _, undo = jax.vjp(lambda *given: _attention_operands(_in_float32(of), *given), *weights)

    def function(factor: jax.Array, x: jax.Array, gradient: jax.Array, *operands: jax.Array) -> Arrays:
        return attentions.backward(of, (factor, x, *operands), gradient)

    of_x, *sums = _each(function, (factor, x, gradient), _attention_operands(of, *weights), 1)
    return jnp.zeros_like(factor), of_x, undo(tuple(sums))


attention.defvjp(_attention_forward, _attention_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def mlp(of: Mlp, factor: jax.Array, x: jax.Array, weights: Arrays) -> jax.Array:
    """Adds what the MLP makes of them to the tokens of a whole batch: (B, H, W, C).

    Args:
      of: the MLP as one device sees it: `batch` are its own images.
      factor: (B,) float32, what each example's branch is multiplied by; it has no gradient.
      x: (B, H, W, C).
      weights: float32: scale and offset (C,) of the norm; kernel (C, 4 C) and bias (4 C,); kernel (4 C, C) and bias
        (C,).
    """
    from lcjax.models.kernels import mlp as mlps  # here, because Pallas takes long and few need it

    (result,) = _each(lambda *o: (mlps.forward(of, o),), (factor, x), _mlp_operands(of, *weights), 1)
    return result


def _mlp_operands(
    of: Mlp,
    scale: jax.Array,
    offset: jax.Array,
    into: jax.Array,
    in_bias: jax.Array,
    out: jax.Array,
    out_bias: jax.Array,
) -> Arrays:
    return scale[None], offset[None], into.astype(of.dtype), in_bias[None], out.astype(of.dtype), out_bias[None]


def _mlp_forward(of: Mlp, factor: jax.Array, x: jax.Array, weights: Arrays) -> tuple[jax.Array, Kept]:
    return mlp(of, factor, x, weights), (factor, x, weights)


def _mlp_backward(of: Mlp, kept: Kept, gradient: jax.Array) -> tuple[jax.Array, jax.Array, Arrays]:
    from lcjax.models.kernels import mlp as mlps  # as above

    factor, x, weights = kept

    def function(factor: jax.Array, x: jax.Array, gradient: jax.Array, *operands: jax.Array) -> Arrays:
        return mlps.backward(of, (factor, x, *operands), gradient)

    of_x, *sums = _each(function, (factor, x, gradient), _mlp_operands(of, *weights), 1)
    return jnp.zeros_like(factor), of_x, tuple(part.reshape(one.shape) for part, one in zip(sums, weights, strict=True))


mlp.defvjp(_mlp_forward, _mlp_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def head(of: Head, x: jax.Array, weights: Arrays) -> jax.Array:
    """The logits of a whole batch, those of each token's pixels side by side: (B, H, W, pixels x classes) float32.

    Args:
      of: the head as one device sees it: `batch` are its own images.
      x: (B, H, W, inputs).
      weights: float32: kernel (inputs, pixels x C) of the expansion; scale and offset (C,) of the norm; kernel (C,
        classes).
    """
    from lcjax.models.kernels import head as heads  # here, because Pallas takes long and few need it

    (result,) = _each(lambda *o: (heads.forward(of, o),), (x,), _head_operands(of, *weights), 1)
    return result


def _head_operands(of: Head, expand: jax.Array, scale: jax.Array, offset: jax.Array, classify: jax.Array) -> Arrays:
    own = jnp.eye(of.pixels, dtype=jnp.float32)[:, None, :, None] * classify[None, :, None, :]
    return (
        expand.reshape(of.inputs, of.pixels, of.channels).swapaxes(0, 1).astype(of.dtype),
        scale[None],
        offset[None],
        own.reshape(of.pixels, of.channels, of.logits).astype(of.dtype),
    )


def _head_forward(of: Head, x: jax.Array, weights: Arrays) -> tuple[jax.Array, tuple[jax.Array, Arrays]]:
    return head(of, x, weights), (x, weights)


def _head_backward(of: Head, kept: tuple[jax.Array, Arrays], gradient: jax.Array) -> tuple[jax.Array, Arrays]:
    from lcjax.models.kernels import head as heads  # as above

    x, weights = kept
    _, undo = jax.vjp(lambda *given: _head_operands(_in_float32(of), *given), *weights)

    def function(x: jax.Array, gradient: jax.Array, *operands: jax.Array) -> Arrays:
        return heads.backward(of, (x, *operands), gradient)

    of_x, *sums = _each(function, (x, gradient), _head_operands(of, *weights), 1)
    return of_x, undo(tuple(sums))


head.defvjp(_head_forward, _head_backward)
