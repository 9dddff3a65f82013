"""Intervals by the bootstrap: blocks, draws and percentiles, and by simulation how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from lcjax.ops import bootstrap, metrics


def test_records_of_a_group_are_one_block_and_others_are_blocks_of_their_own():
    found = bootstrap.blocks(["r0", "r1", "r2", "b", "r4"], ["b", "", "a", "", "b"])
    assert (found.names, found.kind, found.note) == (("b", "r1", "a", "b"), "group", "")
    assert found.of_record.tolist() == [0, 1, 2, 3, 0]  # the record "b" is not the group "b"
    counts = np.arange(10).reshape(5, 2)
    np.testing.assert_array_equal(found.sums(counts), [[8, 10], [2, 3], [4, 5], [6, 7]])


def test_without_groups_or_within_one_the_records_are_blocks():
    none, one = bootstrap.blocks("ab", ["", ""]), bootstrap.blocks("ab", ["here", "here"])
    assert (none.kind, one.kind, len(none), len(one), none.note) == ("record", "record", 2, 2, "")
    assert one.note == "all records are of one group (here): nothing is known of other places"
    assert bootstrap.blocks("ab", ["here", ""]).kind == "group"


def test_a_draw_is_the_sum_of_blocks_drawn_with_replacement(monkeypatch):
    counts = np.random.default_rng(0).integers(0, 100, (7, 2, 2)).astype(float)
    found = bootstrap.resample(counts, draws=500, seed=3)
    picked = np.random.default_rng(3).integers(7, size=(500, 7))
    np.testing.assert_array_equal(found, counts[picked].sum(axis=1))
    monkeypatch.setattr(bootstrap, "_AT_ONCE", 7 * 64)  # a few draws at a time are the same draws
    np.testing.assert_array_equal(bootstrap.resample(counts, draws=500, seed=3), found)


def test_percentiles_are_those_of_the_normal_at_the_widened_level():
    values = np.arange(20001) / 20000
    low, high = bootstrap.interval(values, 10)
    tail = stats.norm.cdf(-np.sqrt(10 / 9) * stats.t.ppf(0.975, 9))
    assert (low, high) == pytest.approx((tail, 1 - tail), abs=1e-4) and tail < 0.01
    assert bootstrap.interval(values, 10**6) == pytest.approx((0.025, 0.975), abs=1e-4)


def test_where_nothing_is_known_there_is_no_interval():
    assert bootstrap.interval(np.ones(100), 1) is None
    assert bootstrap.interval(np.full(100, np.nan), 5) is None
    assert bootstrap.interval(np.where(np.arange(100) < 49, 0.5, np.nan), 5) is None
    assert bootstrap.interval(np.where(np.arange(100) < 51, 0.5, np.nan), 5) == (0.5, 0.5)


NAMES = ["a", "b", "c", "d"]
SHARES, SKILL = np.array([4.0, 3, 2, 1]) * 2, np.array([0.7, 0.3]) * 8


def world(draw, blocks, tiles, edge=1.0):
    """Confusion counts (blocks * tiles, 4, 4) of a network in blocks that differ in classes and in how hard they are.

    With `edge` also those of a second network, which is right so many times as often, and finds the same tiles hard.
    """
    share = draw.dirichlet(SHARES, blocks)
    right = draw.beta(*SKILL, (blocks, 4))
    skills = [right] if edge == 1.0 else [right, right * edge]
    found = []
    for skill in skills:
        wrong = np.broadcast_to((1 - skill[..., None]) / 3, (blocks, 4, 4)) * (1 - np.eye(4))
        cells = share[..., None] * (wrong + skill[..., None] * np.eye(4))
        of_tile = np.repeat(cells.reshape(blocks, 16), tiles, axis=0)
        found.append(draw.multinomial(400, of_tile).reshape(-1, 4, 4))
    return found


def holds(seed, blocks, tiles, grouped, edge=1.0, repeats=400):
    """How often the interval of mIoU, or of its paired difference, holds that of the whole world."""
    draw = np.random.default_rng(seed)

    def score(matrices):
        several = [metrics.score_values(matrix, NAMES)["mIoU_4"] for matrix in matrices]
        return several[0] if edge == 1.0 else several[0] - several[1]

    truth = score([counts.sum(axis=0) for counts in world(draw, 200_000, 1, edge)])
    held = 0
    for _ in range(repeats):
        several = world(draw, blocks, tiles, edge)
        groups = [f"g{tile // tiles}" if grouped else "" for tile in range(blocks * tiles)]
        found = bootstrap.blocks(map(str, range(blocks * tiles)), groups)
        drawn = score([bootstrap.resample(found.sums(counts), draws=500) for counts in several])
        low, high = bootstrap.interval(drawn, len(found))
        held += low <= truth <= high
    return held / repeats


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "tiles", "edge"), [(60, 1, 1.0), (6, 1, 1.0), (30, 8, 1.0), (30, 8, 0.97)])
def test_intervals_hold_the_truth_as_often_as_they_say(blocks, tiles, edge):
    """Of independent records, of a few, of groups, and of the difference of two networks on the same records."""
    assert 0.90 <= holds(blocks, blocks, tiles, tiles > 1, edge) <= 0.98


@pytest.mark.slow
def test_tiles_of_one_group_drawn_one_by_one_make_intervals_that_are_too_narrow():
    assert holds(30, 30, 8, grouped=False) < 0.7
