"""The windows of Swin: partition, shift, mask and padding, against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.extend.core import Literal, jaxprs_in_params
from networks import make, smallest

from lcjax.models import layers, params, registry, swin
from lcjax.models.interfaces import whole
from lcjax.models.kernels.plans import MASKED


def test_merge_is_the_inverse_of_partition():
    x = jnp.arange(2 * 8 * 12 * 3).reshape(2, 8, 12, 3)
    windows = swin.partition(x, 4)
    assert windows.shape == (2, 6, 16, 3)
    np.testing.assert_array_equal(windows[0, 4].reshape(4, 4, 3), x[0, 4:8, 4:8])  # rows of windows, from the left
    np.testing.assert_array_equal(swin.merge(windows, 4, 8, 12), x)


@pytest.mark.parametrize("window", [1, 2, 3, 7])
def test_relative_index(window):
    index = swin.relative_index(window)
    places = [(row, column) for row in range(window) for column in range(window)]
    offsets = {}
    for one, (r1, c1) in enumerate(places):
        for two, (r2, c2) in enumerate(places):
            offsets.setdefault(int(index[one, two]), set()).add((r1 - r2, c1 - c2))
    # One row of the table for each offset, and every row is used.
    assert all(len(pairs) == 1 for pairs in offsets.values())
    assert sorted(offsets) == list(range((2 * window - 1) ** 2))


@pytest.mark.parametrize(
    ("height", "width", "window", "shift"), [(8, 8, 4, 2), (8, 12, 4, 2), (14, 7, 7, 3), (6, 4, 2, 1)]
)
def test_shift_mask(height, width, window, shift):
    found = np.asarray(swin.shift_mask(height, width, window, shift))
    # Each token knows where it was before the roll; two may attend where they lie to each other as they lay then.
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    was = np.stack([np.roll(axis, (-shift, -shift), (0, 1)) for axis in (rows, columns)], -1)
    windows = np.asarray(swin.partition(jnp.asarray(was)[None], window))[0]
    assert found.shape == (height * width // window**2, window**2, window**2)
    place = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij"), -1).reshape(-1, 2)
    for k, tokens in enumerate(windows):
        for one in range(window**2):
            for two in range(window**2):
                together = np.array_equal(tokens[one] - tokens[two], place[one] - place[two])
                assert found[k, one, two] == (0 if together else MASKED)


def test_attention_does_not_cross_what_the_roll_tore_apart():
    block = swin.SwinBlock(8, 2, 4, 2, 0.0, 0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 8))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(block(x, None)[0, 0, 0])))(x)
    seen = np.argwhere(np.abs(np.asarray(gradient[0])).max(-1) > 1e-9)
    # The corner lies in a window of its own after the shift by two.
    assert seen.max(axis=0).tolist() == [1, 1]


def stage(window, blocks, *, channels=8, heads=2, shifted=True):
    """A compiled stage (B, H, W, channels) -> the same, with random values in place of all zeros, biases too."""
    shifts = [(i % 2) * (window // 2) if shifted else 0 for i in range(blocks)]
    how = {"dtype": jnp.float32, "rngs": nnx.Rngs(0)}
    built = nnx.List([swin.SwinBlock(channels, heads, window, s, 0.0, i, **how) for i, s in enumerate(shifts)])
    generator = np.random.default_rng(0)
    for _, module in nnx.iter_modules(built):
        if isinstance(module, swin.WindowAttention):
            table = module.bias_table[...]
            module.bias_table[...] = jnp.asarray(generator.standard_normal(table.shape), jnp.float32)
    return jax.jit(lambda x: layers.run(built, x, None))


def tokens(height, width, seed=0):
    return np.random.default_rng(seed).standard_normal((1, height, width, 8)).astype(np.float32)


@pytest.mark.parametrize(("window", "blocks"), [(4, 1), (4, 2), (4, 4), (7, 2), (8, 2), (12, 2)])
def test_translation_by_a_window_moves_what_leaves_a_stage_and_changes_nothing_inside(window, blocks):
    run, shift = stage(window, blocks), window // 2
    field = tokens(6 * window, 6 * window)
    here, there = (np.asarray(run(field[:, k : k + 5 * window, k : k + 5 * window]))[0] for k in (0, window))
    # How far the edges reach: a shifted block reaches the rest of its window, and the next one the windows of that.
    top = {1: 0, 2: shift, 4: window + shift}[blocks]
    bottom = {1: 0, 2: window - shift, 4: 2 * window - shift}[blocks]
    inside = slice(window + top, 5 * window - bottom)
    same = slice(top, 4 * window - bottom)
    assert inside.stop - inside.start >= window
    np.testing.assert_allclose(there[same, same], here[inside, inside], atol=1e-5)
    if blocks > 1:  # and no less far
        ring = np.abs(there[: 4 * window, : 4 * window] - here[window:, window:]).max(axis=-1)
        assert ring[top - 1].max() > 1e-3
        assert ring[4 * window - bottom].max() > 1e-3


def test_translation_by_less_than_a_window_is_not_the_same():
    run, field = stage(4, 2), tokens(24, 24)
    here, there = (np.asarray(run(field[:, k : k + 20, k : k + 20]))[0] for k in (0, 2))
    assert np.abs(there[6:12, 6:12] - here[8:14, 8:14]).max() > 1e-3


def reach(height, width, window, shift):
    """For each token the tokens that it may attend to, padding too, from what a window is: (H', W', H', W') bool.

    Windows begin at the shift and, before that, at the edge; they never go round.
    """

    def piece(edge):
        return (np.arange(-(-edge // window) * window) + (window - shift) % window) // window

    rows, columns = piece(height), piece(width)
    return (rows[:, None] == rows)[:, None, :, None] & (columns[:, None] == columns)[None, :, None, :]


@pytest.mark.parametrize(("height", "width"), [(10, 13), (9, 8), (8, 15), (12, 12), (5, 6)])
@pytest.mark.parametrize("shift", [0, 2])
def test_only_windows_that_hold_padding_can_tell(height, width, shift):
    how = {"dtype": jnp.float32, "rngs": nnx.Rngs(0)}
    block = swin.SwinBlock(8, 2, 4, shift, 0.0, 0, **how)
    run = jax.jit(lambda x: block(x, None))
    # A larger image that needs none, and the same with its right and lower edges cut off.
    whole = tokens(-(-height // 4) * 4, -(-width // 4) * 4)
    padded, without = np.asarray(run(whole[:, :height, :width]))[0], np.asarray(run(whole))[0]
    assert padded.shape == (height, width, 8)
    reached = reach(height, width, 4, shift)
    clean = ~(reached[..., height:, :].any((2, 3)) | reached[..., :, width:].any((2, 3)))[:height, :width]
    np.testing.assert_allclose(padded[clean], without[:height, :width][clean], atol=1e-6)
    assert clean.any()
    assert clean.all() == (height % 4 == width % 4 == 0)
    touched = np.abs(padded - without[:height, :width]).max(-1)[~clean]
    assert np.all(touched > 1e-6)


@pytest.mark.parametrize("shift", [0, 2])
def test_who_attends_to_whom(shift):
    """The gradient of each token reaches exactly what brute force says."""
    block = swin.SwinBlock(8, 2, 4, shift, 0.0, 0, dtype=jnp.float32, rngs=nnx.Rngs(0))
    x = tokens(10, 7)

    def summed(x):
        return jnp.einsum("hwc->hw", block(x, None)[0] ** 2)

    seen = np.abs(np.asarray(jax.jit(jax.jacobian(summed))(x))[:, :, 0]).max(-1) > 1e-12
    np.testing.assert_array_equal(seen, reach(10, 7, 4, shift)[:10, :7, :10, :7])


@pytest.mark.parametrize(
    ("window", "height", "width"), [(4, 4, 4), (4, 3, 2), (4, 1, 1), (7, 5, 7), (8, 2, 30), (12, 12, 9)]
)
def test_no_shift_where_one_window_holds_the_image(window, height, width):
    x = tokens(height, width)
    np.testing.assert_array_equal(stage(window, 2)(x), stage(window, 2, shifted=False)(x))


@pytest.mark.parametrize("window", [7, 8, 12])
def test_there_is_a_shift_where_more_than_one_do(window):
    x = tokens(window + 1, window + 1)
    assert np.abs(stage(window, 2)(x) - stage(window, 2, shifted=False)(x)).max() > 1e-3


SWINS = [name for name in registry.FAMILIES if "swin" in name]


@pytest.mark.parametrize(("height", "width"), [(50, 70), (5, 9), (1, 1), (96, 7)])
@pytest.mark.parametrize("window", [2, 7, 8, 12])
@pytest.mark.parametrize("model", ["swin_unet", "swin_upernet"])
def test_any_input_size_and_window(model, window, height, width):
    task, template, values, statistics = make(smallest(model, "early", window=window))
    inputs = {"s1": jnp.zeros((2, height, width, 2)), "s2": jnp.zeros((2, height, width, 13))}
    logits = jax.eval_shape(lambda values: template.merge(values, statistics, train=False)(inputs), values)
    assert logits.shape == (2, height, width, len(task.names))


@pytest.mark.parametrize(("height", "width"), [(5, 9), (1, 1), (37, 70)])
def test_an_image_smaller_than_a_window_gives_numbers(height, width):
    _, template, values, statistics = make(smallest("swin_unet", "s2", window=7))
    image = np.random.default_rng(0).standard_normal((2, height, width, 13)).astype(np.float32)
    logits = jax.jit(lambda image: template.merge(values, statistics, train=False)({"s2": image}))(image)
    assert logits.shape == (2, height, width, 8)
    assert np.isfinite(logits).all()
    assert np.abs(logits[0] - logits[1]).max() > 1e-6


def constants(jaxpr):
    """Bytes of every array that a traced program holds."""
    found = [np.asarray(value).nbytes for value in jaxpr.consts]
    open_jaxprs = [jaxpr.jaxpr]
    while open_jaxprs:
        for equation in open_jaxprs.pop().eqns:
            found += [np.asarray(atom.val).nbytes for atom in equation.invars if isinstance(atom, Literal)]
            for inner in jaxprs_in_params(equation.params):
                open_jaxprs.append(inner)
    return sorted(found)


@pytest.mark.parametrize("model", SWINS)
def test_masks_are_computed_and_never_stored(model):
    """No entry of the state is one, and the program of a large image holds no more than that of a small one."""
    size = registry.sized(model)
    known = {"streams": whole({"s2": 13}), "classes": 8, "precision": "f32"}
    template = params.Template(lambda rngs: registry.segmenter(size, rngs=rngs, **known))
    names = {path.rsplit("/", 1)[-1] for path in template.parameters}
    assert names == {"kernel", "bias", "scale", "bias_table"}
    assert {path.rsplit("/", 1)[-1] for path in template.statistics} <= {"mean", "var"}

    def held(edge):
        image = {"s2": jax.ShapeDtypeStruct((1, edge, edge, 13), jnp.float32)}

        def forward(values, statistics, image):
            return template.merge(values, statistics, train=False)(image)

        return constants(jax.make_jaxpr(forward)(template.parameters, template.statistics, image))

    large = held(1024)
    # The largest says which row of the bias table is of which pair of tokens: 49 x 49 of them, 4 bytes each.
    assert large[-1] <= 49 * 49 * 4
    # What grows with the edge, and not with its square, are the weights of UPerNet's pooling.
    assert sum(large) <= sum(held(512)) + 4096
