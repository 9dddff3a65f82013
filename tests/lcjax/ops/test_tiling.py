"""Tiles cover a scene, their weights sum to one, and blending gives what the whole image gives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lcjax.ops.tiling import BLENDS, TileNetwork, Tiling, blend_weights, blended_strips, blended_windows, tile_starts

SIZES = [(40, 16, 0), (40, 16, 4), (41, 16, 8), (16, 16, 4), (17, 16, 4), (100, 32, 15), (31, 10, 5)]


@pytest.mark.parametrize("name", BLENDS)
@pytest.mark.parametrize(("size", "tile", "overlap"), SIZES)
def test_weights_sum_to_one_at_every_pixel(size, tile, overlap, name):
    starts, weights = blend_weights(size, tile, overlap, name)
    total = np.zeros(size)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + tile] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert (weights > 0).all()
    assert starts[0] == 0 and starts[-1] == size - tile
    assert all(0 < b - a <= tile - overlap for a, b in itertools.pairwise(starts))


def test_the_blends_are_what_they_are_called():
    (_, linear), (_, cosine) = (blend_weights(28, 16, 4, name) for name in ("linear", "cosine"))
    np.testing.assert_allclose(linear[0, 11:], [1, 0.8, 0.6, 0.4, 0.2], atol=1e-6)
    np.testing.assert_allclose(cosine[0, 11:], 0.5 + 0.5 * np.cos(np.pi * np.arange(5) / 5), atol=1e-6)
    assert (linear[0, :12] == 1).all() and (cosine[0, :12] == 1).all()  # at the scene's own edge nothing is mixed


def test_starts_do_not_repeat_where_tiles_fit_exactly():
    assert tile_starts(28, 16, 4) == [0, 12]
    assert tile_starts(16, 16, 4) == [0]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(np.float32)


def per_pixel(inputs):
    x = inputs["s2"].astype(np.float32) / 1000
    return softmax(np.stack([x[..., 0], x[..., 1], x[..., 0] * x[..., 1]], -1))


def local_mean(inputs, reach=2):
    x = inputs["s2"].astype(np.float32) / 1000
    for axis in (1, 2):
        pad = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
        x = np.lib.stride_tricks.sliding_window_view(np.pad(x, pad), 2 * reach + 1, axis).mean(-1)
    return softmax(np.concatenate([x, x.prod(-1, keepdims=True)], -1))


def blend(scene, network, valid=None, *, tile, overlap, first=0, **options):
    """The probabilities (rows from `first` on, width, classes) and which rows were read."""
    valid = np.ones(scene.shape[:2], bool) if valid is None else valid
    rows_read, advanced = [], []

    def read(begin, end):
        rows_read.extend(range(begin, end))
        return {"s2": scene[begin:end]}, valid[begin:end]

    height, width = scene.shape[:2]
    tiling = Tiling(height, width, tile, overlap)
    network = TileNetwork(network, classes=3, **options)
    strips = [
        *blended_strips(read, network, lambda x: jnp.moveaxis(x, 0, -1), tiling, first=first, advance=advanced.append)
    ]
    begun = tiling.begin(first)
    assert rows_read == list(range(tiling.rows[0][begun], height))  # each row once, in order
    assert [at for at, _, _ in strips] == list(first + np.cumsum([0, *(len(v) for _, v, _ in strips[:-1])]))
    assert sum(advanced) == tiling.count - begun * len(tiling.columns[0])
    np.testing.assert_array_equal(np.concatenate([ok for _, _, ok in strips]), valid[first:])
    return np.concatenate([values for _, values, _ in strips])


@pytest.fixture
def scene():
    return np.random.default_rng(0).integers(0, 4000, (53, 71, 2)).astype(np.uint16)


@pytest.mark.parametrize("overlap", [0, 1, 5, 8])
@pytest.mark.parametrize("size", [(53, 71), (16, 71), (53, 16), (16, 16), (9, 40), (40, 9), (7, 7)])
def test_per_pixel_network_gives_the_whole_image_result(scene, size, overlap):
    scene = scene[: size[0], : size[1]]
    found = blend(scene, per_pixel, tile=16, overlap=overlap, batch_size=3)
    whole = per_pixel({"s2": scene[None]})[0]
    np.testing.assert_allclose(found, whole, atol=1e-6)
    np.testing.assert_array_equal(found.argmax(-1), whole.argmax(-1))


def test_a_network_with_context_agrees_away_from_tile_edges(scene):
    whole = local_mean({"s2": scene[None]})[0]
    found = blend(scene, local_mean, tile=16, overlap=8, batch_size=4)
    tops, lefts = tile_starts(53, 16, 8), tile_starts(71, 16, 8)

    def untouched(size, starts):  # farther than the reach of 2 from every inner edge of every tile
        edges = [edge for start in starts for edge in (start, start + 16) if 0 < edge < size]
        return [all(not edge - 2 <= i < edge + 2 for edge in edges) for i in range(size)]

    inside = np.outer(untouched(53, tops), untouched(71, lefts))
    assert inside.sum() > 500
    np.testing.assert_allclose(found[inside], whole[inside], atol=1e-6)
    seams = blend(scene, local_mean, tile=16, overlap=0, batch_size=4)
    assert np.abs(found - whole).max() < np.abs(seams - whole).max()  # and blending softens what the edges do


def test_blended_borders_change_class_no_more_often_than_the_rest():
    """A network with zero padding errs at the edges of what it is shown; unblended, that draws lines into the map."""
    generator = np.random.default_rng(0)
    hills = gaussian_filter(generator.normal(0, 1, (600, 700, 2)), (4, 4, 0))
    scene = (2000 + 900 * hills / hills.std()).clip(0, 4000).astype(np.uint16)

    def border_rate(overlap):
        """How often neighbours differ across a tile's edge, over how often they do elsewhere."""
        ids = blend(scene, lambda inputs: local_mean(inputs, 4), tile=64, overlap=overlap, batch_size=8).argmax(-1)
        at_edges, elsewhere = [], []
        for axis, size in enumerate(ids.shape):
            edges = {x for start in tile_starts(size, 64, overlap) for x in (start, start + 64) if 0 < x < size}
            changes = (np.diff(ids, axis=axis) != 0).mean(1 - axis)
            for index, rate in enumerate(changes, 1):
                (at_edges if index in edges else elsewhere).append(rate)
        return np.mean(at_edges) / np.mean(elsewhere)

    assert border_rate(0) > 1.5
    assert border_rate(16) < 1.15


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_the_result_does_not_depend_on_the_batch_size(scene, batch_size):
    shapes = set()

    def network(inputs):
        shapes.add(inputs["s2"].shape)
        return local_mean(inputs)

    found = blend(scene, network, tile=16, overlap=4, batch_size=batch_size)
    np.testing.assert_array_equal(found, blend(scene, local_mean, tile=16, overlap=4, batch_size=3))
    assert len(shapes) == 1 and next(iter(shapes))[0] <= batch_size  # one shape: one compilation


@pytest.mark.parametrize("edge", [0, 16, 20, 64])
def test_windows_inside_a_compiled_function_are_blended_as_strips_are(scene, edge):
    kernel = jnp.asarray(np.ones((5, 5, 2, 3)) * np.arange(1, 4) / 1e5)

    def network(inputs):
        numbers = ("NHWC", "HWIO", "NHWC")
        summed = jax.lax.conv_general_dilated(inputs["s2"] * 1.0, kernel, (1, 1), "SAME", dimension_numbers=numbers)
        return jax.nn.softmax(jnp.sin(summed))

    two = {"s2": jnp.stack([scene, scene[::-1]])}
    found = jax.jit(lambda images: blended_windows(network, images, edge))(two)
    for image, one in zip(found, (scene, scene[::-1]), strict=True):
        strips = blend(one, network, tile=edge or 71, overlap=edge // 4, batch_size=4)
        np.testing.assert_allclose(image, strips, atol=1e-5)


@pytest.mark.parametrize(("height", "overlap"), [(53, 4), (53, 8), (41, 8), (33, 8), (16, 4), (9, 4)])
def test_begun_in_the_middle_the_rest_is_the_same_to_the_bit(scene, height, overlap):
    scene = scene[:height]
    whole = blend(scene, local_mean, tile=16, overlap=overlap, batch_size=4)
    for first in Tiling(height, 71, 16, overlap).rows[0]:
        rest = blend(scene, local_mean, tile=16, overlap=overlap, batch_size=4, first=first)
        np.testing.assert_array_equal(rest, whole[first:])


def test_batches_divide_over_the_devices(scene):
    sizes = set()

    def network(inputs):
        sizes.add(len(inputs["s2"]))
        return per_pixel(inputs)

    found = blend(scene, network, tile=16, overlap=4, batch_size=5, multiple=4)
    assert sizes == {4}
    np.testing.assert_allclose(found, per_pixel({"s2": scene[None]})[0], atol=1e-6)


def test_tiles_without_a_valid_pixel_are_not_computed(scene):
    valid = np.zeros(scene.shape[:2], bool)
    valid[:10, :10] = True
    calls = []

    def network(inputs):
        calls.append(len(inputs["s2"]))
        return per_pixel(inputs)

    found = blend(scene, network, valid, tile=16, overlap=0, batch_size=1)
    assert calls == [1]
    np.testing.assert_allclose(found[:10, :10], per_pixel({"s2": scene[None]})[0, :10, :10], atol=1e-6)


def test_nan_from_the_network_stops_and_says_where(scene):
    with pytest.raises(FloatingPointError, match="row 0, column 0"):
        blend(scene, lambda inputs: per_pixel(inputs) * np.nan, tile=16, overlap=4, batch_size=1)


def test_a_network_of_another_class_count_is_noticed(scene):
    with pytest.raises(ValueError, match="probabilities"):
        blend(scene, lambda inputs: per_pixel(inputs)[..., :2], tile=16, overlap=4, batch_size=1)
