"""Kernels as the compiler of TPUs makes them: within fast memory, on four chips, and what they move is counted."""

import importlib.util
import math
import re

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from lcjax.models.kernels import halves
from lcjax.models.swin import SwinBlock, SwinHead
from lcjax.parallel import mesh as meshes
from lcjax.profiling import hlo, topologies

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the TPU compiler is not installed: pip install 'lcjax[tpu]'"
)

# Side of an image in tokens, channels and heads of the stages of swin_unet at 224 pixels.
STAGES = {"56 px": (56, 96, 3), "28 px": (28, 192, 6), "14 px": (14, 384, 12), "7 px": (7, 768, 24)}


def program_of(make, size, channels, dtype, batch, kernels) -> str:
    """A module, both ways, compiled for four chips with so many images each; the number of kernels is checked."""
    mesh = meshes.make_mesh(2, 2, 4 * batch, devices=topologies.devices("v5e:2x2"))

    def with_kernels():
        made = make()
        made.set_attributes(implementation=halves.PALLAS)
        return made

    structure, state = nnx.split(nnx.eval_shape(with_kernels))
    whole, split = jax.sharding.NamedSharding(mesh, jax.P()), meshes.batch_sharding(mesh)
    state = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=whole), state)
    x = jax.ShapeDtypeStruct((4 * batch, size, size, channels), dtype, sharding=split)
    noise = jax.ShapeDtypeStruct((4 * batch, 2), jnp.float32, sharding=split)

    def run(state, x, noise):
        made = nnx.merge(structure, state)
        return made(x) if isinstance(made, SwinHead) else made(x, noise)

    made = jax.eval_shape(run, state, x, noise)
    gradient = jax.ShapeDtypeStruct(made.shape, made.dtype, sharding=split)

    def both(state, x, noise, gradient):
        value, pull = jax.vjp(lambda state, x: run(state, x, noise), state, x)
        return value, pull(gradient)

    with jax.set_mesh(mesh):
        text = jax.jit(both).lower(state, x, noise, gradient).compile().as_text()
    assert text.count('custom_call_target="tpu_custom_call"') == kernels
    return text


def block_of(size, channels, heads, window, shift, dtype, batch=16) -> hlo.HloModule:
    text = program_of(
        lambda: SwinBlock(channels, heads, window, shift, 0.1, 0, dtype=dtype, rngs=nnx.Rngs(0)),
        *(size, channels, dtype, batch),
        kernels=4,
    )
    # Nothing of heads or windows comes to main memory: their last axis would be 32 or 49.
    images = 4 * batch * size * size * channels // 8
    for sizes in re.findall(r"(?:bf16|f32)\[([\d,]+)\]\{[\d,]+:T[^S}]*\}", text):
        edges = [int(edge) for edge in sizes.split(",")]
        assert edges[-1] not in (32, 49) or math.prod(edges) < images, sizes
    return hlo.HloModule(text)


@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_each_stage_of_a_published_network_compiles(stage, shift):
    size, channels, heads = stage
    program = block_of(size, channels, heads, 7, shift, jnp.bfloat16)
    images = 16 * 2 * size * size * channels
    # Of 16 images a chip in bfloat16: at least x and a gradient are read, a value and a gradient written; at most each
    # half does so, and reads x again on the way back. Of 12 channels² weights in float32: read, rounded, read again in
    # several parts, and their gradients.
    assert 4 * images <= program.memory_bytes() <= 10 * 1.2 * images + 120 * channels**2


@pytest.mark.slow
@pytest.mark.parametrize(("window", "size"), [(8, 64), (12, 96), (7, 50)])
def test_other_windows_and_sizes_compile(window, size):
    block_of(size, 96, 3, window, window // 2, jnp.bfloat16, batch=2)


@pytest.mark.slow
def test_float32_compiles():
    block_of(28, 96, 3, 7, 3, jnp.float32, batch=4)


def test_a_small_block_compiles_for_four_chips():
    block_of(14, 64, 2, 7, 3, jnp.bfloat16, batch=1)


@pytest.mark.slow
def test_the_pixels_of_a_head_stay_in_fast_memory():
    """16 images of 224 px a chip: all of it moves less than the pixels' channels alone would, written and read once."""
    text = program_of(
        lambda: SwinHead(96, 8, patch=4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0)), 56, 96, jnp.bfloat16, 16, 2
    )
    assert hlo.HloModule(text).memory_bytes() < 2 * 16 * 224 * 224 * 96 * 2
