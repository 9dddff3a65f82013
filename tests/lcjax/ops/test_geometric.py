"""Scale and aspect against scipy, by images that say where they are: registered, inside of the tile, evenly drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from data_pipelines.reading import loader
from lcjax.ops import augment, geometric
from lcjax.ops.geometric import Geometric

SIDE, CROP = 48, 16
ZOOM = Geometric((0.5, 2.0), 1.33)


def keys(size, first=0):
    return augment.example_keys(7, jnp.int32(0), jnp.arange(first, first + size, dtype=jnp.uint32))


def coordinates(size, side=SIDE):
    """An image whose bands are row and column, and a label of each."""
    rows, columns = np.broadcast_arrays(*np.ogrid[:side, :side])
    image = np.broadcast_to(np.stack([rows, columns], -1).astype(np.float32), (size, side, side, 2))
    labels = {
        name: np.broadcast_to(one.astype(np.uint8), (size, side, side))
        for name, one in zip("rc", (rows, columns), strict=True)
    }
    return {"image": image, "other": image[..., ::-1]} | labels


def rescaled(images, corner, how=ZOOM, crop=CROP, first=0, zero_is_nodata=False):
    names = [name for name, image in images.items() if image.ndim == 4]
    function = jax.jit(
        lambda images, corner, keys: geometric.rescale(
            images, corner, keys, crop=crop, how=how, zero_is_nodata=dict.fromkeys(names, zero_is_nodata)
        )
    )
    return jax.tree.map(np.asarray, function(images, corner, keys(len(corner), first)))


def corners(size, how=ZOOM, side=SIDE, crop=CROP):
    square = geometric.window(side, crop, how)
    return np.array([loader.corner(position, side, square, 5) for position in range(size)], np.int32)


def extents(image):
    """Height and width of each window, and its first row and column, by the middle of an image of coordinates."""
    size = image.shape[1]
    middle = slice(size // 4, 3 * size // 4)  # away from the border of the tile
    steps = [np.diff(image[:, middle, middle, axis], axis=axis + 1).mean((1, 2)) for axis in (0, 1)]
    firsts = [image[:, size // 2, size // 2, axis] - (size // 2 + 0.5) * steps[axis] + 0.5 for axis in (0, 1)]
    return *(size * step for step in steps), *firsts


def test_images_and_labels_stay_registered():
    found = rescaled(coordinates(128), corners(128))
    assert found["image"].shape == (128, CROP, CROP, 2) and found["r"].shape == (128, CROP, CROP)
    assert (found["image"].dtype, found["r"].dtype) == (np.float32, np.uint8)
    np.testing.assert_allclose(found["other"], found["image"][..., ::-1], atol=1e-5)
    for axis, name in enumerate("rc"):
        distance = found["image"][..., axis] - found[name]
        assert np.abs(distance).max() <= 0.5 + 1e-4  # the nearest pixel
        assert np.abs(distance).mean() > 0.1  # and no whole positions


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_it_is_scipys_interpolation_at_the_same_places(dtype):
    noise = np.random.default_rng(0).integers(1, 120, (8, SIDE, SIDE, 3)).astype(dtype)
    found = rescaled(coordinates(8) | {"noise": noise}, corners(8))
    for example in range(8):
        for band in range(3):
            places = found["image"][example].transpose(2, 0, 1).astype(np.float64)
            expected = ndimage.map_coordinates(noise[example, ..., band].astype(np.float64), places, order=1)
            np.testing.assert_allclose(found["noise"][example, ..., band], expected, atol=5e-3)


def test_what_holds_no_data_is_mixed_into_nothing():
    """Data is where the nearest pixel has some, and is the mean of the neighbours with data by their weights."""
    noise = np.random.default_rng(0).integers(50, 120, (16, SIDE, SIDE, 2)).astype(np.int16)
    empty = np.random.default_rng(1).random((16, SIDE, SIDE)) < 0.3
    noise[empty] = 0
    images = coordinates(16) | {"noise": noise, "empty": empty.astype(np.uint8)}
    where = rescaled({name: images[name] for name in ("image", "empty")}, corners(16))
    found = rescaled({"noise": noise}, corners(16), zero_is_nodata=True)["noise"]
    np.testing.assert_array_equal((found == 0).all(-1), where["empty"] == 1)
    for example in range(16):
        places = where["image"][example].transpose(2, 0, 1).astype(np.float64)
        share = ndimage.map_coordinates((~empty[example]).astype(np.float64), places, order=1)
        total = ndimage.map_coordinates(noise[example, ..., 0].astype(np.float64), places, order=1)
        holds = where["empty"][example] == 0
        assert share[holds].min() > 0.249
        np.testing.assert_allclose(found[example, ..., 0][holds], total[holds] / share[holds], atol=0.02)
        assert found[example, ..., 0][holds].min() >= 50 - 1e-3


def test_scale_and_aspect_are_evenly_drawn_and_windows_lie_anywhere():
    count, how = 2000, Geometric((0.5, 2.0), 1.5)
    side = 60
    assert geometric.window(side, CROP, how) == 40  # 16 / 0.5 x sqrt(1.5), rounded up
    height, width, top, left = extents(rescaled(coordinates(count, side), corners(count, how, side), how)["image"])
    scale, aspect = np.log(CROP / np.sqrt(height * width)), np.log(height / width)
    for drawn, limit in ((scale, np.log(2)), (aspect, np.log(1.5))):
        assert stats.kstest(drawn, stats.uniform(-limit, 2 * limit).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(scale, aspect)[0, 1]) < 0.2
    for first, extent in ((top, height), (left, width)):
        assert first.min() > -0.01 and (first + extent).max() < side + 0.01
        assert first.min() < 2 and (first + extent).max() > side - 2


@pytest.mark.parametrize("crop", [40, 48, 0])
def test_what_the_tile_has_no_room_for_is_not_drawn(crop):
    how = Geometric((0.25, 2.0), 1.33)
    assert geometric.window(SIDE, crop, how) == SIDE
    size = crop or SIDE
    found = rescaled(coordinates(300), corners(300, how, crop=crop), how, crop)
    height, width, top, left = extents(found["image"])
    assert max(height.max(), width.max()) < SIDE + 0.01
    for first, extent in ((top, height), (left, width)):
        assert first.min() > -0.01 and (first + extent).max() < SIDE + 0.01
    scale = size / np.sqrt(height * width)
    assert scale.min() > size / SIDE - 0.01 and scale.max() > 1.8
    assert found["r"].max() < SIDE


def test_enlarged_only_needs_a_square_smaller_than_the_crop():
    how = Geometric((1.5, 2.0))
    assert geometric.window(SIDE, 24, how) == 16
    height, width, *_ = extents(rescaled(coordinates(200), corners(200, how, crop=24), how, 24)["image"])
    np.testing.assert_allclose(height, width, atol=1e-3)
    assert 12 - 0.01 < height.min() < 12.3 and 15.7 < height.max() < 16.01


def test_it_is_the_same_whether_the_loader_cut_or_not():
    images, where = coordinates(16), corners(16)
    square = geometric.window(SIDE, CROP, ZOOM)
    assert loader.host_size(SIDE, square) == SIDE and loader.host_size(100, square) == square
    pieces = {
        name: np.stack([image[i, top : top + square, left : left + square] for i, (top, left) in enumerate(where)])
        for name, image in images.items()
    }
    device, host = rescaled(images, where), rescaled(pieces, np.zeros_like(where))
    inside = (device["image"] > where[:, None, None] + 0.01) & (device["image"] < where[:, None, None] + square - 1.01)
    np.testing.assert_allclose(np.where(inside, device["image"] - host["image"], 0), 0, atol=1e-4)
    assert inside.mean() > 0.95  # but for half a pixel along the border of what was cut
    for name in "rc":
        np.testing.assert_array_equal(device[name], host[name])


def test_a_draw_does_not_depend_on_the_rest_of_the_batch():
    images, where = coordinates(4), corners(4)
    together = rescaled(images, where)
    alone = rescaled({name: image[2:3] for name, image in images.items()}, where[2:3], first=2)
    for name in images:
        np.testing.assert_allclose(together[name][2:3], alone[name], atol=1e-5)


def test_off_nothing_is_shipped_but_the_crop():
    assert not Geometric().moves
    assert [geometric.window(256, crop, Geometric()) for crop in (0, 224)] == [0, 224]


def test_without_a_crop_the_whole_tile_is_the_size_of_what_is_shown():
    """Also where all of it is enlarged, and a part of the tile would do."""
    how = Geometric((2.0, 3.0))
    assert geometric.window(SIDE, 0, how) == SIDE
    found = rescaled(coordinates(200), np.zeros((200, 2), np.int32), how, crop=0)
    assert found["image"].shape == (200, SIDE, SIDE, 2)
    height, width, top, left = extents(found["image"])
    assert height.min() > 16 - 0.01 and height.max() < 24.01
    assert (top + height).max() > SIDE - 4 and (left + width).max() > SIDE - 4 and min(top.min(), left.min()) < 4
