"""Simple random sampling within strata: without replacement, each pixel as likely as any other, the same by seed."""

import numpy as np
import pytest
from classified import random_ids, write_map

from lcjax.assessment import layers, random_sample


@pytest.fixture
def land_map(tmp_path):
    return write_map(tmp_path / "map.tif", random_ids())


def nothing(first, end):
    return None


def draw(path, counts, seed=0):
    with layers.opened(path) as opened:
        return random_sample.draw(opened, opened.population(nothing), np.array(counts), seed, nothing)


def test_pixels_are_of_their_class_and_drawn_once(land_map):
    pixels = draw(land_map, [60, 40, 20])
    ids = random_ids()
    assert len({(pixel.row, pixel.column) for pixel in pixels}) == 120
    assert all(ids[pixel.row, pixel.column] == pixel.mapped == pixel.stratum for pixel in pixels)
    assert [sum(pixel.mapped == value for pixel in pixels) for value in (1, 4, 9)] == [60, 40, 20]
    # The order mixes the strata: the first tenth is no single class.
    assert {pixel.mapped for pixel in pixels[:24]} == {1, 4, 9}


def test_the_same_seed_draws_the_same_in_whatever_strips(land_map, monkeypatch):
    first = draw(land_map, [60, 40, 20])
    assert draw(land_map, [60, 40, 20]) == first
    assert draw(land_map, [60, 40, 20], seed=1) != first
    monkeypatch.setattr(layers, "_STRIP", 90 * 11)
    assert draw(land_map, [60, 40, 20]) == first


def test_a_whole_stratum_can_be_drawn(tmp_path):
    ids = np.ones((9, 9), np.uint8)
    ids[3, 2:6] = 9
    pixels = draw(write_map(tmp_path / "m.tif", ids), [2, 4])
    assert {pixel.column for pixel in pixels if pixel.mapped == 9} == {2, 3, 4, 5}


def test_every_pixel_is_as_likely_as_any_other(tmp_path):
    """Over 3,000 seeds: how often each of 12 pixels is drawn, and each pair, against what chance gives (chi-square)."""
    ids = np.array([[1, 9, 1, 1, 9, 1], [1, 1, 1, 1, 1, 1]], np.uint8)
    path = write_map(tmp_path / "m.tif", ids)
    times, pairs = np.zeros((2, 6)), np.zeros((12, 12))
    with layers.opened(path) as opened:
        population = opened.population(nothing)
        for seed in range(3000):
            drawn = random_sample.draw(opened, population, np.array([3, 1]), seed, nothing)
            flat = [6 * pixel.row + pixel.column for pixel in drawn if pixel.mapped == 1]
            for pixel in drawn:
                times[pixel.row, pixel.column] += 1
            pairs[np.ix_(flat, flat)] += 1
    forest, water = times[ids == 1], times[ids == 9]
    assert ((forest - 900) ** 2 / 900).sum() < 25 and ((water - 1500) ** 2 / 1500).sum() < 8
    among = pairs[np.ix_(ids.ravel() == 1, ids.ravel() == 1)][np.triu_indices(10, 1)]
    expected = 3000 * 3 * 2 / (10 * 9)
    assert ((among - expected) ** 2 / expected).sum() < 90  # of 45 pairs


@pytest.mark.parametrize("size", [2**33, 40_000_000_000])
def test_strata_of_any_size_take_no_memory(size):
    """What draws the numbers: a set of them, and no list of all pixels."""
    numbers = np.random.default_rng([0, 1]).choice(size, 1000, replace=False)
    assert len(set(numbers.tolist())) == 1000 and numbers.max() > size // 2
