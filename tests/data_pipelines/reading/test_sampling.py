"""Records drawn by their classes: the same ones wherever a run goes on, and as often as an independent sum says."""

import itertools
import pickle
import types

import numpy as np
import pytest

from data_pipelines.reading import loader, sampling
from data_pipelines.reading.arrays import from_arrays
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend
from data_pipelines.schema.on_disk import Origin

# Labelled pixels of ten records by class: the second is rare, the fourth is in no record, the last record has no label.
PIXELS = np.array(
    [[90, 0, 10, 0], [50, 0, 50, 0], [100, 0, 0, 0], [98, 2, 0, 0], [0, 40, 60, 0],
     [100, 0, 0, 0], [70, 0, 30, 0], [10, 0, 0, 0], [0, 0, 100, 0], [0, 0, 0, 0]]
)  # fmt: skip
LEGEND = Legend("test", tuple(LandClass(k, name, f"#00000{k}") for k, name in enumerate(("a", "rare", "b", "none"), 1)))


def dataset_of(pixels=PIXELS):
    origins = [Origin(group, "", None) for group in "aabbbccccc"]
    return types.SimpleNamespace(
        name="own", version="1", legend=LEGEND, record_pixels=lambda spec: pixels, origins=lambda spec: origins
    )


def draws_of(name="rarity", strength=1.0, pixels=PIXELS):
    return sampling.of_split(dataset_of(pixels), "train", name, strength)


def expected(name: str, strength: float) -> np.ndarray:
    """How likely each record is: a class is drawn, then a record of it. In loops, as docs/optimisation.md tells it."""
    chances = np.zeros(len(PIXELS))
    total = sum(sum(row) for row in PIXELS.tolist())
    assert total > 0
    amounts = []
    for row in PIXELS.tolist():
        held = [1.0 if n else 0.0 for n in row] if name == "class_presence" else [n / max(sum(row), 1) for n in row]
        amounts.append(held)
    sums = [sum(held[k] for held in amounts) for k in range(4)]
    likely = [n ** (1 - strength) if n else 0.0 for n in sums]
    for k in range(4):
        for record, held in enumerate(amounts):
            if sums[k]:
                chances[record] += likely[k] / sum(likely) * held[k] / sums[k]
    return chances


@pytest.mark.parametrize("strength", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("name", sampling.METHODS)
def test_records_are_drawn_as_often_as_an_independent_sum_says(name, strength):
    draws = draws_of(name, strength)
    wanted = expected(name, strength)
    np.testing.assert_allclose(draws.weights / draws.weights.sum(), wanted, rtol=1e-7)
    count = 20_000
    found = np.bincount([draws.index(position, seed=5) for position in range(count)], minlength=10)
    deviation = np.sqrt(count * wanted * (1 - wanted))
    assert (np.abs(found - count * wanted) <= 4.5 * deviation).all()  # 1 of 15,000 tests of ten records would fail
    assert found[9] == 0  # it has no label


def test_at_strength_1_every_class_is_drawn_alike():
    """Of the records that hold one class alone each class has a third; the class of no record has none."""
    pixels = np.array([[5, 0, 0, 0]] * 6 + [[0, 7, 0, 0]] + [[0, 0, 1, 0]] * 2)
    for name in sampling.METHODS:
        chances = draws_of(name, 1.0, pixels).weights / 2**32
        np.testing.assert_allclose([chances[:6].sum(), chances[6], chances[7:].sum()], 1 / 3, rtol=1e-7)


def test_draws_are_fixed_for_ever():
    """A run that goes on with a later version, or on another machine, must see the same records."""
    draws = draws_of("rarity", 0.5)
    assert [draws.index(position, seed=0) for position in range(14)] == [5, 8, 0, 8, 4, 1, 1, 4, 4, 8, 5, 4, 3, 8]
    assert draws.facts["table"] == "672a2c73c97c"


class Numbered:
    """Records whose image is their number."""

    ids, tile, in_memory = tuple("abcdefghij"), 4, False

    def __len__(self):
        return 10

    def read(self, index, keys, corner=(0, 0), size=None):
        return {"image": np.full((4, 4, 1), index, np.uint8)}


def stream(draws, batch_size, processes=1, position=0, count=24):
    """The records that `processes` read together, in order, from a position."""
    shares = [
        loader.train_batches(
            Numbered(), batch_size=batch_size, seed=3, position=position, keys=("image",), order=draws,
            process_index=process, process_count=processes, threads=1,
        )
        for process in range(processes)
    ]  # fmt: skip
    batches = [list(itertools.islice(share, count // batch_size)) for share in shares]
    for share in shares:
        share.close()
    return [int(image[0, 0, 0]) for row in zip(*batches, strict=True) for part in row for image in part["image"]]


@pytest.mark.parametrize("name", sampling.NAMES)
def test_the_same_records_with_any_batch_size_and_hosts_and_after_any_stop(name):
    draws = draws_of(name)
    whole = stream(draws, 4)
    assert whole == [loader.record_index(position, 10, 3, draws) for position in range(24)]
    assert stream(draws, 8) == stream(draws, 4, processes=2) == stream(draws, 8, processes=2) == whole
    for step in range(1, 6):
        for processes in (1, 2):
            rest = stream(draws, 4, processes, position=4 * step, count=24 - 4 * step)
            assert rest == whole[4 * step :]
    assert loader.record_ids(Numbered(), range(24), 3, draws) == ["abcdefghij"[record] for record in whole]


def test_uniform_is_the_order_of_old():
    assert draws_of("uniform") is None
    assert sorted(stream(None, 5, count=10)) == list(range(10))


def test_worker_processes_draw_alike():
    draws = draws_of()
    sent = pickle.loads(pickle.dumps(draws))
    assert [sent.index(p, 1) for p in range(50)] == [draws.index(p, 1) for p in range(50)]


def test_facts_are_those_of_the_draws():
    draws = draws_of("class_presence", 1.0)
    facts, chances = draws.facts, expected("class_presence", 1.0)
    assert (facts["never"], list(facts["classes"])) == (1, ["1", "2", "3", "4"])
    drawn = chances @ PIXELS
    for k, one in enumerate(facts["classes"].values()):
        assert one["records"] == (PIXELS[:, k] > 0).sum()
        np.testing.assert_allclose(one["pixels"], PIXELS[:, k].sum() / PIXELS.sum(), atol=1e-8)
        np.testing.assert_allclose(one["drawn"], drawn[k] / drawn.sum(), atol=1e-8)
        np.testing.assert_allclose(one["held"], chances[PIXELS[:, k] > 0].sum(), atol=1e-8)
    np.testing.assert_allclose(facts["most"], 10 * chances.max(), atol=1e-7)
    assert facts["classes"]["2"]["drawn"] > 1.9 * facts["classes"]["2"]["pixels"]
    first, head, *rows = draws.text(4, 0).splitlines()
    assert "class_presence" in first and "1 of them without a labelled pixel" in first and len(rows) == 4
    assert head.split()[0] == "class" and rows[1].split()[:2] == ["rare", "2"]


def test_draws_that_change_next_to_nothing_say_so():
    assert "all but uniform" in draws_of("class_presence", 1.0, np.full((5, 4), 9)).text(4, 0)
    assert "all but uniform" not in draws_of("class_presence", 1.0).text(4, 0)


def test_another_table_has_another_hash():
    changed = PIXELS.copy()
    changed[3] = [97, 3, 0, 0]
    tables = {draws_of(pixels=pixels, strength=strength).facts["table"] for pixels, strength in
              ((PIXELS, 1.0), (PIXELS, 0.5), (changed, 1.0))}  # fmt: skip
    assert len(tables) == 3


def test_the_last_digits_of_a_machine_change_no_table(monkeypatch):
    """A power may differ by a unit in the last place from one processor to another."""
    weights = sampling.weigh(PIXELS, "rarity", 0.5)
    shares = sampling.METHODS["rarity"]
    nudged = {"rarity": lambda pixels: np.nextafter(np.nextafter(shares(pixels), 2), 2) * (pixels > 0)}
    monkeypatch.setattr(sampling, "METHODS", nudged)
    np.testing.assert_array_equal(sampling.weigh(PIXELS, "rarity", 0.5), weights)


def test_a_class_of_one_pixel_in_very_many_records_is_drawn():
    pixels = np.zeros((100_000, 2), np.int64)
    pixels[:, 0], pixels[77, 1] = 10**6, 1
    weights = sampling.weigh(pixels, "rarity", 0.01)
    assert weights.min() > 0 and weights[77] == weights.max()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(
        InputError, match=r"config\.sampling\.name='rare': expected one of uniform, spread_groups, class_presence, ra"
    ):
        draws_of("rare")
    with pytest.raises(InputError, match=r"'rarity': no record of split 'train' of own 1 has a labelled pixel.*unifo"):
        draws_of(pixels=np.zeros((3, 4), np.int64))


def test_pixels_of_records_are_counted_of_prepared_and_of_given_data(data_dir):
    dataset = open_dataset(data_dir, "sample")
    ids = [land_class.id for land_class in dataset.legend.scored]
    for spec in ("validation", "test[1:]+validation[:2]"):
        source = dataset.source(spec)
        labels = [source.read(index, ["label"])["label"] for index in range(len(source))]
        counted = [[int((label == k).sum()) for k in ids] for label in labels]
        np.testing.assert_array_equal(dataset.record_pixels(spec), counted)
    assert not dataset.record_pixels("unlabelled").any()
    masks = np.stack(labels).astype(np.int64)
    given = from_arrays({"train": (np.zeros((*masks.shape, 1), np.uint8), masks)}, dataset.legend)
    np.testing.assert_array_equal(given.record_pixels("train"), counted)
