"""Sizes of samples against the worked example of Olofsson et al. (2014), section 5.1, and what cannot be drawn."""

import numpy as np
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.assessment import allocation
from lcjax.assessment.allocation import ALLOCATIONS

NAMES = ["Deforestation", "Forest gain", "Stable forest", "Stable non-forest"]
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])
WEIGHTS = PIXELS / PIXELS.sum()
USERS = np.array([0.70, 0.60, 0.90, 0.95])  # what the example expects


def allocate(rule="proportional", size=641, minimum=75, fixed=None, pixels=PIXELS):
    shares = ALLOCATIONS[rule](pixels / pixels.sum(), allocation.deviations(USERS))
    return allocation.allocate(NAMES, pixels, shares, size, minimum, fixed or {}).tolist()


def test_the_example_has_641_points():
    """The number that pyeo (https://github.com/clcr/pyeo, validation) repeats from the paper."""
    assert allocation.size_for(WEIGHTS, USERS, 0.01, PIXELS.sum()) == 641


def test_rules_of_sharing_out():
    """The paper's table 5 rounds: 160 or 161 each if equal; 13, 10, 205, 413 if proportional; 75, 75, 165, 325."""
    assert allocate("equal") == [161, 160, 160, 160]
    assert allocate(minimum=2) == [13, 10, 205, 413]
    np.testing.assert_allclose(allocate(), [75, 75, 165, 325], atol=4)
    assert sum(allocate("optimal", minimum=2)) == 641
    # Neyman's is the best: any point that moves between strata makes the standard error larger.
    best = np.array(allocate("optimal", size=6000, minimum=2))
    error = allocation.expected_error(WEIGHTS, USERS, best, 1e9 * PIXELS)
    for a, b in ((0, 1), (1, 0), (2, 3), (3, 2), (0, 3), (3, 0)):
        moved = best + 20 * (np.eye(4, dtype=int)[a] - np.eye(4, dtype=int)[b])
        assert allocation.expected_error(WEIGHTS, USERS, moved, 1e9 * PIXELS) > error


def test_the_size_reaches_the_standard_error_with_the_optimal_allocation():
    counts = np.array(allocate("optimal", minimum=2))
    assert allocation.expected_error(WEIGHTS, USERS, counts, PIXELS) == pytest.approx(0.01, rel=2e-3)
    assert allocation.expected_error(WEIGHTS, USERS, np.array(allocate("equal")), PIXELS) > 0.012


@pytest.mark.parametrize("seed", range(20))
def test_every_share_is_given_out_and_none_is_below_the_minimum(seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 10 ** rng.integers(2, 9), 4) + 200
    counts = allocate(size=int(rng.integers(40, 180)), minimum=int(rng.integers(0, 11)), pixels=pixels)
    assert sum(counts) <= 180 and min(counts) >= 0
    size, minimum = int(rng.integers(80, 180)), 17
    counts = allocate(size=size, minimum=minimum, pixels=pixels)
    assert sum(counts) == size and min(counts) >= minimum


def test_numbers_of_ones_own():
    assert allocate(fixed={"Forest gain": 9}, size=300, minimum=50) == [50, 9, 80, 161]
    assert allocate(fixed=dict(zip(NAMES, (2, 3, 4, 5), strict=True)), size=14) == [2, 3, 4, 5]
    shares = np.array([1.0, 0, 0, 0])  # nothing is guessed to vary but in the stratum that is fixed
    assert allocation.allocate(NAMES, PIXELS, shares, 31, 2, {NAMES[0]: 4}).tolist() == [4, 9, 9, 9]
    assert allocate(fixed={"Forest gain": 1}, minimum=2, pixels=np.array([9999, 1, 9999, 9999]))[1] == 1  # all of it


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"size": 100}, r"--size=100: 100 points for 4 strata of at least 75 each .* expected at least 300 in all"),
        ({"size": 100, "fixed": {"Forest gain": 60}, "minimum": 20}, "40 points beside the 60 of --points for 3"),
        (
            {"pixels": np.array([20, 10**6, 10**6, 10**6])},
            "Deforestation: 75 points .* it has 20 pixels; .*--points=De",
        ),
        ({"rule": "equal", "size": 400, "pixels": np.array([99, 10**6, 10**6, 10**6])}, "100 points .* has 99 pixels"),
        ({"fixed": dict.fromkeys(NAMES, 5)}, "--size=641: 621 points beside the 20"),
        ({"fixed": {"Forest gain": 1}}, "--points=Forest gain=1: expected 2 points or more"),
    ],
)
def test_what_cannot_be_drawn(asked, says):
    with pytest.raises(InputError, match=says):
        allocate(**asked)
