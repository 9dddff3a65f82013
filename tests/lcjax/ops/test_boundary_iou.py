"""Boundary IoU against erosions of each class's mask by scipy, pixel sets by hand, and what a distance may be."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.ops import boundary_iou


def blobs(seed, classes=4, size=(3, 40, 31), ignored=0.1):
    """Maps of areas, a prediction that is the truth moved and disturbed, and areas without labels."""
    draw = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(draw.normal(size=(classes, *size)), (0, 0, 3, 3)).argmax(axis=0)
    guess = np.where(draw.random(size) < 0.05, draw.integers(0, classes, size), np.roll(rough, 1, axis=2))
    truth = rough.astype(np.uint8)
    holes = ndimage.gaussian_filter(draw.normal(size=size), (0, 2, 2))
    truth[holes > np.quantile(holes, 1 - ignored)] = IGNORE
    return truth, guess.astype(np.int32)


def by_erosion(truth, guess, index, distance):
    """The near pixels of a class in one tile, by steps of erosion; what is unknown, or outside, erodes nothing."""
    known = truth != IGNORE
    near = []
    for mask in (truth == index, guess == index):
        full = np.pad(mask | ~known, distance, constant_values=True)
        eroded = ndimage.binary_erosion(full, np.ones((3, 3)), iterations=distance, border_value=1)
        near.append(mask & known & ~eroded[distance:-distance, distance:-distance])
    return [int(count.sum()) for count in (near[0] & near[1], near[0], near[1])]


@pytest.mark.parametrize(("seed", "distance", "ignored"), [(0, 1, 0.0), (1, 2, 0.1), (2, 5, 0.3), (3, 3, 0.9)])
def test_counts_equal_those_of_eroded_masks(seed, distance, ignored):
    truth, guess = blobs(seed, ignored=ignored)
    found = boundary_iou.counts_of_each(jnp.asarray(truth), jnp.asarray(guess), 4, distance)
    expected = [[by_erosion(y, p, index, distance) for index in range(4)] for y, p in zip(truth, guess, strict=True)]
    assert found.dtype == jnp.int32 and np.sum(expected) > 0
    np.testing.assert_array_equal(found, expected)


def test_neither_the_edge_of_a_tile_nor_that_of_labels_is_a_contour():
    truth = np.zeros((1, 9, 9), np.uint8)
    truth[0, 3:6, 3:6] = IGNORE
    found = boundary_iou.counts_of_each(jnp.asarray(truth), jnp.zeros((1, 9, 9), jnp.int32), 2, 2)
    assert not np.any(found)


def test_scores_are_quotients_and_classes_without_contours_are_left_out():
    counts = np.array([[[6, 8, 10], [0, 4, 0], [0, 0, 0]]])
    values = boundary_iou.score_values(counts, ["a", "b", "c"])
    assert values["boundary_IoU/a"] == [0.5] and values["boundary_IoU/b"] == [0] and np.isnan(values["boundary_IoU/c"])
    assert values["boundary_mIoU_3"] == [0.25]


@pytest.mark.parametrize(
    ("text", "pixels"), [("2%", 7), ("0.5%", 2), ("0.01%", 1), ("3px", 3), (" 1px ", 1), ("1.0px", 1)]
)
def test_a_distance_is_a_share_of_the_diagonal_or_pixels(text, pixels):
    assert boundary_iou.distance_in_pixels(text, 256, 256) == pixels


@pytest.mark.parametrize("text", ["", "2", "2 %%", "-1px", "0px", "0%", "1.5px", "nan%", "1e3px", "2%px", "\u0663px"])
def test_what_is_no_distance_is_refused(text):
    with pytest.raises(InputError, match=r"--boundary=.*: expected a share of the diagonal"):
        boundary_iou.distance_in_pixels(text, 256, 256)


def test_a_distance_across_half_of_a_tile_is_refused():
    with pytest.raises(InputError, match=r"--boundary=40%: 145 pixels, in tiles of 256 x 256; expected less than half"):
        boundary_iou.distance_in_pixels("40%", 256, 256)
