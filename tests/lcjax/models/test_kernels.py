"""The kernels of a Swin block in Pallas' interpreter: as the plain block, whatever the window, size and type."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lcjax.models import swin
from lcjax.models.kernels import check, halves, plans, traffic
from lcjax.models.kernels.plans import Attention, Head, Mlp, Windows


def block(channels, heads, window, shift, drop_path=0.0, dtype=jnp.float32):
    """A block whose weights are all at random."""
    made = swin.SwinBlock(channels, heads, window, shift, drop_path, 0, dtype=dtype, rngs=nnx.Rngs(0))
    generator = np.random.default_rng(1)

    def draw(leaf):
        return jnp.asarray(0.3 * generator.standard_normal(leaf.shape), jnp.float32)

    nnx.update(made, jax.tree.map(draw, nnx.state(made, nnx.Param)))
    made.train()
    return made


def function_of(made, implementation):
    """(function of state, x, noise and the gradient of the result -> value, gradients by path and of x; the state)."""
    made.set_attributes(implementation=implementation)
    structure, state = nnx.split(made)

    def both(state, x, noise, gradient):
        value, pull = jax.vjp(lambda state, x: nnx.merge(structure, state)(x, noise), state, x)
        of_state, of_x = pull(gradient)
        by_path = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(of_state)}
        return {"value": value, "x": of_x} | by_path

    return both, state


def example(batch, size, channels, dtype):
    """x, the numbers that drop branches, and a gradient of the result."""
    generator = np.random.default_rng(2)
    x, gradient = (jnp.asarray(generator.standard_normal((batch, *size, channels)), dtype) for _ in range(2))
    # Halves are dropped in turn; nothing else tells examples apart, so that each must find its own number.
    return (
        x,
        jnp.asarray([[(example + half) % 2 for half in range(2)] for example in range(batch)], jnp.float32),
        gradient,
    )


def errors(got, wanted):
    """The largest difference of each, as a share of the largest number that is wanted."""
    wide = {key: np.asarray(leaf, np.float64) for key, leaf in wanted.items()}
    assert all(np.max(np.abs(leaf)) > 0 for leaf in wide.values())
    return {
        key: np.max(np.abs(np.asarray(got[key], np.float64) - leaf)) / np.max(np.abs(leaf))
        for key, leaf in wide.items()
    }


def compared(size, *numbers, dtype=jnp.float32):
    made = block(*numbers, dtype=dtype)
    given = example(2, size, numbers[0], dtype)
    results = []
    for implementation in (halves.XLA, halves.INTERPRET):
        function, state = function_of(made, implementation)
        results.append(jax.jit(function)(state, *given))
    plain, kernel = results
    return errors(kernel, plain)


@pytest.fixture
def _few_at_once(monkeypatch):
    """Several products of a grid step, one after the other, as in large images."""
    monkeypatch.setattr(plans, "TOKENS", 64)


# Size of the image; channels, heads, window, shift, drop-path.
CASES = {
    "7, shifted, odd sizes, drop-path": ((13, 8), 12, 3, 7, 3, 0.5),
    "8, shifted": ((16, 16), 16, 2, 8, 4, 0.0),
    "12, shifted, padded": ((20, 13), 8, 2, 12, 6, 0.5),
}
MORE = {
    "7, plain": ((14, 7), 12, 3, 7, 0, 0.0),
    "7, larger than the image": ((5, 6), 8, 2, 7, 3, 0.0),
    "8, plain, odd sizes": ((9, 15), 8, 1, 8, 0, 0.0),
    "12, plain": ((12, 24), 8, 2, 12, 0, 0.5),
}


@pytest.mark.usefixtures("_few_at_once")
@pytest.mark.parametrize(
    "case",
    [
        *(pytest.param(case, id=name) for name, case in CASES.items()),
        *(pytest.param(case, id=name, marks=pytest.mark.slow) for name, case in MORE.items()),
    ],
)
def test_a_kernel_is_the_plain_block(case):
    found = compared(*case)
    assert found.pop("value") < 1e-5
    assert max(found.values()) < 1e-4, found


@pytest.mark.slow
@pytest.mark.usefixtures("_few_at_once")
def test_in_bfloat16_it_differs_by_rounding():
    """Between products numbers stay float32 in a kernel; the plain block rounds them each time."""
    found = compared(*CASES["7, shifted, odd sizes, drop-path"], dtype=jnp.bfloat16)
    assert found.pop("value") < 0.01  # 0.005 when it was written
    assert max(found.values()) < 0.03, found  # 0.016


@pytest.mark.slow
def test_weights_that_do_not_fit_are_taken_in_parts(monkeypatch):
    """Heads, and hidden channels, in several parts; what each of them makes is added up."""
    monkeypatch.setattr(plans, "FAST_MEMORY", (4 * 2**20,))
    attention, mlp = Attention(Windows(7, 7, 7, 0), 2, 256, 8, "float32"), Mlp(2, 7, 7, 256, "float32")
    assert attention.plan(backward=True).tiles == 2 and mlp.plan(backward=True).parts > 1
    found = compared((7, 7), 256, 8, 7, 0, 0.0)
    assert found.pop("value") < 1e-5
    assert max(found.values()) < 1e-4, found


@pytest.mark.usefixtures("_few_at_once")
def test_the_kernel_of_a_head_is_the_plain_head():
    head = Head(2, 5, 13, 12, 12, 2, 3, "float32", interpret=True)
    found = check.agreement(head, halves.INTERPRET, jax.devices()[0])
    assert 0 < found.value < 1e-5 and 0 < found.gradient < 1e-4


def test_an_image_that_does_not_fit_keeps_to_the_plain_path():
    large = Attention(Windows(1024, 1024, 8, 4), 2, 96, 3, "bfloat16")
    assert large.plan(backward=False) is None and halves.own(large, halves.PALLAS) is None
    for window, size in ((7, 56), (12, 96), (8, 128)):
        assert halves.own(Attention(Windows(size, size, window, 3), 2, 96, 3, "bfloat16"), halves.PALLAS)
    assert halves.own(Attention(Windows(56, 56, 7, 3), 2, 96, 3, "bfloat16"), halves.XLA) is None


@pytest.mark.parametrize("shift", [0, 3])
def test_each_token_is_in_one_place_of_one_window(shift):
    """Runs of columns, against the roll and the reshape of the plain path."""
    windows = Windows(13, 17, 7, shift)
    columns = np.roll(np.pad(np.arange(17) + 1, (0, 4)), -shift).reshape(3, 7)
    seen = np.zeros((3, 7), int)
    for window, place, column, count in windows.runs:
        seen[window, place : place + count] = np.arange(column, column + count) + 1
    np.testing.assert_array_equal(seen, columns)


def spread(made, implementation, given, mode):
    """The results on eight devices: under jit over a mesh of two axes, or under pmap."""
    function, state = function_of(made, implementation)
    if mode == "pmap":
        shares = jax.tree.map(lambda leaf: leaf.reshape(8, -1, *leaf.shape[1:]), given)
        found = jax.pmap(function, in_axes=(None, 0, 0, 0))(state, *shares)
        whole = {key: found[key].reshape(-1, *found[key].shape[2:]) for key in ("value", "x")}
        return {key: jnp.sum(leaf, 0) for key, leaf in found.items()} | whole
    mesh = jax.make_mesh((4, 2), ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    split = jax.sharding.NamedSharding(mesh, jax.P(("data", "fsdp")))
    with jax.set_mesh(mesh):
        return jax.jit(function)(state, *jax.device_put(given, split))


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_eight_devices_make_what_one_makes(mode):
    made = block(8, 2, 4, 2, 0.5)
    given = example(8, (4, 8), 8, jnp.float32)
    function, state = function_of(made, halves.XLA)
    found = errors(spread(made, halves.INTERPRET, given, mode), jax.jit(function)(state, *given))
    assert max(found.values()) < 1e-5, found


def test_a_batch_that_does_not_divide_keeps_to_the_plain_path():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    half = Mlp(12, 4, 4, 8, "float32")
    with jax.set_mesh(mesh):
        assert halves.own(half, halves.PALLAS) is None
        assert halves.own(Mlp(16, 4, 4, 8, "float32"), halves.PALLAS).batch == 2
    assert halves.own(half, halves.PALLAS).batch == 12


def calls_of(function, *arguments):
    """The calls of kernels in a traced function."""
    found = []

    def visit(jaxpr):
        for line in jaxpr.eqns:
            if line.primitive.name == "pallas_call":
                found.append(line)
            for value in jax.tree.leaves(list(line.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
                inside = getattr(value, "jaxpr", value)
                if hasattr(inside, "eqns") and line.primitive.name != "pallas_call":
                    visit(inside)

    visit(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


def fetched(call) -> list[int]:
    """Bytes that a pipeline moves of each array, of blocks as Pallas itself has them, asked for step by step."""
    mapping = call.params["grid_mapping"]
    totals = []
    for block_mapping in mapping.block_mappings:
        shape = [getattr(edge, "block_size", edge) for edge in block_mapping.block_shape]
        aval = block_mapping.array_aval
        before, total = None, 0
        for step in itertools.product(*map(range, mapping.grid)):
            index = jax.core.eval_jaxpr(
                block_mapping.index_map_jaxpr.jaxpr, block_mapping.index_map_jaxpr.consts, *map(np.int32, step)
            )
            place = tuple(map(int, index))
            if place != before:
                starts = [edge * number for edge, number in zip(shape, place, strict=True)]
                ends = [min(start + edge, whole) for start, edge, whole in zip(starts, shape, aval.shape, strict=True)]
                total += int(np.prod(np.subtract(ends, starts))) * aval.dtype.itemsize
            before = place
        totals.append(total)
    return totals


@pytest.mark.parametrize(("memory", "several"), [(14, False), (7, True)])
def test_what_a_kernel_says_it_moves_is_what_its_pipeline_fetches(monkeypatch, memory, several):
    monkeypatch.setattr(plans, "FAST_MEMORY", (memory * 2**20,))
    monkeypatch.setattr(plans, "TOKENS", 128)
    made = block(256, 8, 7, 3)
    function, state = function_of(made, halves.PALLAS)
    calls = calls_of(function, state, *example(4, (14, 13), 256, jnp.float32))
    assert len(calls) == 4  # two halves, both ways
    for call in calls:
        said = [int(number) for number in call.params["metadata"][traffic.MOVED].split()]
        arrays = [variable.aval for variable in (*call.invars, *call.outvars)]
        least = [array.size * array.dtype.itemsize for array in arrays]
        assert said == fetched(call) and sum(said) == call.params["cost_estimate"].bytes_accessed
        assert all(moved >= once for moved, once in zip(said, least, strict=True))
        # Images come again for each part of the weights.
        assert (sum(said) > sum(least)) == (call.params["grid_mapping"].grid[0] > 1)
    assert any(call.params["grid_mapping"].grid[0] > 1 for call in calls) == several


def test_a_block_that_the_grid_comes_back_to_moves_again():
    pl = pytest.importorskip("jax.experimental.pallas")
    array = jax.ShapeDtypeStruct((4, 128), np.float32)
    count = functools.partial(traffic.moved_bytes, array=array)
    row = 128 * 4
    assert count((3, 4), pl.BlockSpec((1, 128), lambda i, j: (j, 0))) == 12 * row
    assert count((4, 3), pl.BlockSpec((1, 128), lambda i, j: (i, 0))) == 4 * row
    assert count((3, 4), pl.BlockSpec((1, 128), lambda i, j: (0, 0))) == row
    assert count((2,), pl.BlockSpec((3, 128), lambda i: (i, 0))) == 4 * row  # the last block holds one row of the array
