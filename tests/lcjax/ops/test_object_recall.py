"""Recall of objects against a flood fill, pixel by pixel, and what sizes may be."""

import numpy as np
import pytest
from test_boundary_iou import blobs

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE
from lcjax.ops import object_recall


def by_flooding(truth, guess, classes, edges):
    """Each object is filled from its first pixel, to its four neighbours."""
    counts = np.zeros((classes, len(edges) + 1, 2), int)
    left = {(int(y), int(x)) for y, x in np.argwhere(truth != IGNORE)}
    while left:
        start = min(left)
        index, stack, pixels = truth[start], [start], set()
        while stack:
            y, x = stack.pop()
            if (y, x) in left and truth[y, x] == index:
                left.remove((y, x))
                pixels.add((y, x))
                stack += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        size = sum(len(pixels) >= edge for edge in edges)
        counts[index, size, 1] += 1
        counts[index, size, 0] += 2 * sum(guess[pixel] == index for pixel in pixels) >= len(pixels)
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_counts_equal_those_of_a_flood_fill(seed):
    truth, guess = blobs(seed, ignored=0.1 * seed)
    edges = (5, 20, 100)
    for y, p in zip(truth, guess, strict=True):
        found = object_recall.object_counts(y, p, 5, edges)
        np.testing.assert_array_equal(found, by_flooding(y, p, 5, edges))
        assert found[:4, :, 1].sum() > 5 and not found[4].any()


def test_a_tile_without_labels_has_no_objects():
    assert not object_recall.object_counts(np.full((4, 4), IGNORE), np.zeros((4, 4), int), 2, (10,)).any()


def test_sizes_are_read_and_what_is_none_is_refused():
    assert object_recall.size_edges("10, 100,1000") == (10, 100, 1000)
    for text in ("", "10,", "10,10", "100,10", "1", "0,5", "-3", "ten", "1e3", "9999999999"):
        with pytest.raises(InputError, match=r"--objects=.*: expected ascending numbers of pixels"):
            object_recall.size_edges(text)


def test_no_more_sizes_than_metrics_json_holds():
    most = ",".join(str(size) for size in range(2, 2 + object_recall.MOST_EDGES))
    assert len(object_recall.size_edges(most)) == object_recall.MOST_EDGES
    with pytest.raises(InputError, match=r"--objects=2,3,.*,34: 33 sizes; expected at most 32"):
        object_recall.size_edges(f"{most},{2 + object_recall.MOST_EDGES}")
