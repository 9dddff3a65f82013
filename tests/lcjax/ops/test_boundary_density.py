"""Edges of masks, against loops over pixels."""

import numpy as np
import pytest

from lcjax.ops import boundary_density

SCORED = (1, 2, 5)


def masks(seed: int, shape=(3, 9, 7)) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.choice([*SCORED, 0, 255], shape).astype(np.uint8), draw.choice(SCORED, shape).astype(np.uint8)


def pairs(truth: np.ndarray) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
    """Every scored pixel with its scored neighbours to the right and below."""
    found = []
    for n, y, x in np.ndindex(truth.shape):
        for other in ((n, y, x + 1), (n, y + 1, x)):
            inside = other[1] < truth.shape[1] and other[2] < truth.shape[2]
            if inside and truth[n, y, x] in SCORED and truth[other] in SCORED:
                found.append(((n, y, x), other))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_those_of_a_loop(seed):
    truth, prediction = masks(seed)
    counted = pairs(truth)
    expected = [np.mean([mask[a] != mask[b] for a, b in counted]) for mask in (truth, prediction)]
    found = boundary_density.boundary_density(truth, prediction, SCORED)
    assert found == pytest.approx(expected)
    assert found.ratio == pytest.approx(expected[1] / expected[0])


def test_a_checkerboard_against_a_plain_mask():
    board = (np.indices((1, 6, 6)).sum(axis=0) % 2 + 1).astype(np.uint8)
    plain = np.ones_like(board)
    assert boundary_density.boundary_density(board, plain, SCORED) == (1, 0)
    assert boundary_density.boundary_density(plain, board, SCORED).ratio is None


def test_without_scored_neighbours_there_is_nothing_to_say():
    assert boundary_density.boundary_density(np.full((1, 4, 4), 255), np.ones((1, 4, 4)), SCORED) is None


@pytest.mark.parametrize("crop", [1, 3, 20])
def test_the_densest_square_is_that_of_a_loop(crop, monkeypatch):
    """The edges that belong to a pixel are those to its right and below."""
    monkeypatch.setattr(boundary_density, "CROP", crop)
    truth, _ = masks(4)
    weight = np.zeros(truth.shape, int)
    for a, b in pairs(truth):
        weight[a] += truth[a] != truth[b]
    height, width = min(crop, truth.shape[1]), min(crop, truth.shape[2])
    sums = {
        (n, y, x): weight[n, y : y + height, x : x + width].sum()
        for n in range(len(truth))
        for y in range(truth.shape[1] - height + 1)
        for x in range(truth.shape[2] - width + 1)
    }
    n, y, x = max(sums, key=sums.__getitem__)
    assert boundary_density.densest_square(truth, SCORED) == (n, slice(y, y + height), slice(x, x + width))
