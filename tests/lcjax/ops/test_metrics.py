"""Scores against scikit-learn, and the rule of absent classes."""

import time

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

from data_pipelines.schema.legends import IGNORE
from lcjax.ops import metrics

NAMES = ["water", "forest", "urban", "barren", "snow"]


def pixels(seed, truth_classes=5, guess_classes=5, ignored=0.2, shape=(3, 40, 30)):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, truth_classes, shape).astype(np.uint8)
    # Right in half of the pixels, so that no score is near chance.
    guess = np.where(generator.random(shape) < 0.5, truth, generator.integers(0, guess_classes, shape))
    truth[generator.random(shape) < ignored] = IGNORE
    return truth, guess.astype(np.int32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ignored", [0.0, 0.2])
def test_confusion_equals_scikit_learn(seed, ignored):
    truth, guess = pixels(seed, ignored=ignored)
    found = metrics.confusion(jnp.asarray(truth), jnp.asarray(guess), 5)
    seen = truth != IGNORE
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, reference.confusion_matrix(truth[seen], guess[seen], labels=range(5)))
    assert int(found.sum()) == seen.sum()


def test_confusion_of_nothing_but_ignored_pixels_is_zero():
    truth = jnp.full((2, 8, 8), IGNORE, jnp.uint8)
    assert int(metrics.confusion(truth, jnp.zeros((2, 8, 8), jnp.int32), 3).sum()) == 0


def test_confusion_is_exact_beyond_what_a_float_of_its_sum_would_hold():
    # 2^24 + 3 pixels of one kind: float32 cannot hold this number, each example's count it can.
    truth = np.zeros((4097, 64, 64), np.uint8)
    truth[-1].flat[3:] = IGNORE
    found = metrics.confusion(jnp.asarray(truth), jnp.zeros(truth.shape, jnp.uint8), 1)
    np.testing.assert_array_equal(found, [[4096 * 4096 + 3]])
    assert int(np.float32(4096 * 4096 + 3)) != 4096 * 4096 + 3  # the trap is real


def test_an_example_that_could_be_miscounted_is_refused():
    with pytest.raises(ValueError, match="could be miscounted"):
        metrics.confusion(jnp.zeros((1, 4096, 4096), jnp.uint8), jnp.zeros((1, 4096, 4096), jnp.uint8), 2)


@pytest.mark.parametrize("seed", range(4))
def test_scores_equal_scikit_learn(seed):
    truth, guess = pixels(seed)
    seen = truth != IGNORE
    y, p = truth[seen], guess[seen]
    found, absent = metrics.scores(reference.confusion_matrix(y, p), NAMES)
    recall = reference.recall_score(y, p, average=None)
    expected = {
        "OA": reference.accuracy_score(y, p),
        "mCA_5": reference.balanced_accuracy_score(y, p),
        "mIoU_5": reference.jaccard_score(y, p, average="macro"),
        "kappa": reference.cohen_kappa_score(y, p),
    }
    by_class = {
        "IoU": reference.jaccard_score(y, p, average=None),
        "Acc": recall,
        "Precision": reference.precision_score(y, p, average=None),
        "F1": reference.f1_score(y, p, average=None),
    }
    expected |= {f"{score}/{NAMES[i]}": values[i] for score, values in by_class.items() for i in range(5)}
    assert absent == []
    assert found.keys() == expected.keys()
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_class_that_is_neither_true_nor_predicted_is_absent():
    truth, guess = pixels(0, truth_classes=3, guess_classes=3)
    seen = truth != IGNORE
    y, p = truth[seen], guess[seen]
    found, absent = metrics.scores(reference.confusion_matrix(y, p, labels=range(5)), NAMES)
    assert absent == ["barren", "snow"]
    assert not any(key.endswith(("/barren", "/snow")) for key in found)
    # The means are over the three that there are, and keep the name of the class set.
    assert found["mIoU_5"] == pytest.approx(reference.jaccard_score(y, p, average="macro"), abs=1e-12)
    assert found["mCA_5"] == pytest.approx(reference.balanced_accuracy_score(y, p), abs=1e-12)


def test_a_class_that_is_predicted_but_never_true_counts_with_zero():
    found, absent = metrics.scores(np.array([[8, 0, 2], [0, 10, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert absent == []
    assert [found[f"{score}/c"] for score in ("IoU", "Acc", "Precision", "F1")] == [0, 0, 0, 0]
    assert found["mIoU_3"] == pytest.approx((0.8 + 1 + 0) / 3)
    assert found["mCA_3"] == pytest.approx((0.8 + 1 + 0) / 3)


def test_a_class_that_is_true_but_never_predicted_counts_with_zero():
    found, absent = metrics.scores(np.array([[8, 0], [2, 0]]), ["a", "b"])
    assert absent == []
    assert [found[f"{score}/b"] for score in ("IoU", "Acc", "Precision", "F1")] == [0, 0, 0, 0]
    assert found["mIoU_2"] == pytest.approx(0.4)
    assert found["kappa"] == pytest.approx(0.0)


@pytest.mark.parametrize("matrix", [np.diag([3, 4, 5]), np.diag([7, 0, 0])])
def test_a_perfect_map_scores_one(matrix):
    found, absent = metrics.scores(matrix, ["a", "b", "c"])
    assert set(found.values()) == {1.0}
    assert len(absent) == (np.diag(matrix) == 0).sum()


def test_no_pixel_at_all_is_an_error():
    with pytest.raises(ValueError, match="no labelled pixel was scored"):
        metrics.scores(np.zeros((3, 3), np.int64), ["a", "b", "c"])


def by_hand(matrix, names, other):
    """The scores of one matrix, number by number in the order in which they were always computed."""
    matrix = np.asarray(matrix, np.float64)
    hits, truth, guess = np.diag(matrix), matrix.sum(axis=1) + other, matrix.sum(axis=0)
    present = truth + guess > 0
    by_class = {
        "IoU": hits / np.maximum(truth + guess - hits, 1),
        "Acc": hits / np.maximum(truth, 1),
        "Precision": hits / np.maximum(guess, 1),
        "F1": 2 * hits / np.maximum(truth + guess, 1),
    }
    total = float(truth.sum())
    accuracy, chance = float(hits.sum() / total), float(truth @ guess) / total**2
    result = {
        "OA": accuracy,
        f"mCA_{len(names)}": float(by_class["Acc"][present].mean()),
        f"mIoU_{len(names)}": float(by_class["IoU"][present].mean()),
        "kappa": (accuracy - chance) / (1 - chance) if chance < 1 else 1.0,
    }
    for score, values in by_class.items():
        result |= {f"{score}/{names[i]}": float(values[i]) for i in np.flatnonzero(present)}
    return result


@pytest.mark.parametrize("classes", [1, 3, 8, 13, 19])
def test_scores_of_many_matrices_are_those_of_each_bit_for_bit(classes):
    """With absent classes, large counts whose products are rounded, and pixels taken for none of the classes."""
    draw = np.random.default_rng(classes)
    names = [f"class {i}" for i in range(classes)]
    size = (100, classes, classes)
    matrices = draw.integers(0, 10 ** draw.integers(2, 12, (100, 1, 1)), size) * (draw.random(size) < 0.6)
    absent = draw.random((100, classes)) < 0.2
    absent[:, 0] = False
    matrices[absent] = 0
    matrices.swapaxes(1, 2)[absent] = 0
    matrices[:, 0, 0] += 1
    other = draw.integers(0, 1000, (100, classes)) * ~absent
    many = metrics.score_values(matrices, names, other)
    for place in range(100):
        found, missing = metrics.scores(matrices[place], names, other[place])
        assert found == by_hand(matrices[place], names, other[place])
        assert missing == [name for name, gone in zip(names, absent[place], strict=True) if gone]
        for key, values in many.items():
            assert found[key] == values[place] if key in found else np.isnan(values[place])


def test_an_empty_matrix_among_many_has_no_score():
    values = metrics.score_values(np.stack([np.zeros((2, 2)), np.eye(2)]), ["a", "b"])
    for of_key in values.values():
        assert np.isnan(of_key[0]) and of_key[1] == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_counts_of_each_example_equal_scikit_learn(seed):
    truth, guess = pixels(seed)
    found = metrics.confusion_of_each(jnp.asarray(truth), jnp.asarray(guess), 5)
    for one, y, p in zip(found, truth, guess, strict=True):
        seen = y != IGNORE
        np.testing.assert_array_equal(one, reference.confusion_matrix(y[seen], p[seen], labels=range(5)))


def test_means_of_many_sets_of_classes_are_those_of_each_row_bit_for_bit_and_quick():
    draw = np.random.default_rng(0)
    values, present = draw.random((2, 10_000, 19)), draw.random((2, 10_000, 19)) < 0.5
    present[0, :3] = False
    begin = time.process_time()
    found = metrics.mean_of_present(values, present)
    assert time.process_time() - begin < 10  # of every set against every row it took half a minute
    rows = zip(values.reshape(-1, 19), present.reshape(-1, 19), strict=True)
    expected = [row[mask].mean() if mask.any() else np.nan for row, mask in rows]
    np.testing.assert_array_equal(found, np.reshape(expected, (2, 10_000)))
    assert metrics.mean_of_present(values[:, :0], present[:, :0]).shape == (2, 0)
    assert metrics.mean_of_present(values[0, 5], present[0, 5]) == found[0, 5]
