"""Records of a group lie far apart: each once an epoch, alike wherever a run goes on, and counted by hand."""

import collections
import itertools
import types

import numpy as np
import pytest

from data_pipelines.reading import group_order, loader, sampling
from data_pipelines.reading.group_order import GroupOrder, group_numbers
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.on_disk import Origin

# Five groups and three records that share one with nobody, in no order.
GROUPS = ["a"] * 40 + ["b"] * 25 + ["c"] * 25 + ["d"] * 6 + ["e"] * 1 + [""] * 3


def groups_of(seed=1):
    return np.random.default_rng(seed).permutation(GROUPS).tolist()


def dataset_of(groups):
    return types.SimpleNamespace(
        name="own", version="1", origins=lambda spec: [Origin(group, "", None) for group in groups]
    )


def order_of(groups):
    return sampling.of_split(dataset_of(groups), "train", "spread_groups", 0.5)


def epoch(order, number, seed=0):
    count = len(order.labels_N)
    return [loader.record_index(number * count + place, count, seed, order) for place in range(count)]


def pairs(groups) -> int:
    """Pairs of one group, one by one."""
    return sum(bool(one) and one == other for one, other in itertools.combinations(groups, 2))


def test_every_record_comes_once_an_epoch_in_another_order_each():
    order = order_of(groups_of())
    epochs = [epoch(order, number) for number in range(3)] + [epoch(order, 0, seed=1)]
    assert all(sorted(one) == list(range(100)) for one in epochs)
    assert len({tuple(one) for one in epochs}) == 4
    # Which member of a group comes first is drawn, too.
    groups = groups_of()
    firsts = [next(record for record in epoch(order, number) if groups[record] == "a") for number in range(20)]
    assert len(set(firsts)) > 8


@pytest.mark.parametrize("size", [4, 10, 16, 33])
def test_any_stretch_holds_of_each_group_about_its_share(size):
    groups = groups_of()
    order = order_of(groups)
    for number in range(4):
        names = [groups[record] for record in epoch(order, number)]
        for first in range(100 - size + 1):
            held = collections.Counter(names[first : first + size])
            for group, count in (("a", 40), ("b", 25), ("c", 25), ("d", 6)):
                assert abs(held[group] - size * count / 100) < 2.5


def test_groups_of_fewer_records_than_batches_meet_nobody_of_theirs():
    """Thirty groups of four: a fifth of an epoch holds at most one of each, where a shuffle would hold pairs."""
    groups = [f"g{place % 30}" for place in range(120)]
    order = order_of(groups)
    for number in range(5):
        names = [groups[record] for record in epoch(order, number)]
        assert sum(pairs(names[first : first + 24]) for first in range(0, 120, 24)) == 0
    shuffled = [groups[loader.record_index(place, 120, 0)] for place in range(120)]
    assert sum(pairs(shuffled[first : first + 24]) for first in range(0, 120, 24)) > 20


def test_the_pairs_that_it_tells_are_those_that_there_are():
    groups = groups_of()
    order = order_of(groups)
    found, shuffled = order.pairs(16, seed=7)
    names = [groups[record] for record in epoch(order, 0, seed=7)]
    assert found == np.mean([pairs(names[first : first + 16]) for first in range(0, 96, 16)])
    of_shuffles = [
        pairs([groups[loader.record_index(place, 100, seed)] for place in range(16)]) for seed in range(2000)
    ]
    assert shuffled == pytest.approx(np.mean(of_shuffles), rel=0.03)
    assert order.text(16, 7) == (
        "100 records, of 4 groups of up to 40, and 4 of none or alone in theirs, come once an epoch, those of a group "
        f"evenly over it: of the 120 pairs in a batch of 16, {found:.1f} are of one group, and {shuffled:.1f} in a "
        f"plain shuffle (table {order.facts['table']})"
    )
    assert order.pairs(1000, seed=7) == (pairs(groups), pairs(groups))  # no batch is larger than an epoch


def test_the_order_is_fixed_for_ever():
    """A run that goes on with a later version, or on another machine, must see the same records."""
    order = GroupOrder(group_numbers(["a", "a", "b", "", "b", "a", "c", "a"]))
    assert [order.index(position, seed=3) for position in range(16)] == [
        0, 6, 7, 2, 5, 3, 1, 4, 2, 1, 7, 6, 4, 0, 5, 3
    ]  # fmt: skip
    assert order.facts == {
        "name": "spread_groups", "groups": 2, "largest": 4, "alone": 2, "table": "10b4b9ad4148"
    }  # fmt: skip


def test_it_follows_from_which_records_are_together_and_not_from_their_names():
    one, other = order_of(["a", "a", "", "b", "b", ""]), order_of(["x", "x", "", "a", "a", ""])
    assert epoch(one, 0) == epoch(other, 0)
    assert one.facts == other.facts
    assert one.facts["table"] != order_of(["a", "a", "b", "b", "b", ""]).facts["table"]


@pytest.mark.parametrize("groups", [[""] * 5, ["a", "b", "c", ""], ["a"]])
def test_data_that_know_no_groups_are_refused(groups):
    with pytest.raises(InputError, match=r"config\.sampling\.name='spread_groups': no two records of split 'train' of"):
        order_of(groups)


def test_records_of_one_group_alone_are_a_shuffle():
    order = order_of(["a"] * 20)
    assert sorted(epoch(order, 0)) == list(range(20))
    assert order.pairs(5, 0) == (10.0, 10.0)
    assert group_order.NAME in sampling.NAMES
