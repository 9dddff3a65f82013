"""Intervals by the bootstrap: blocks, draws and percentiles, and by simulation how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from lcjax.ops import bootstrap


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
