"""Scores of patches against scikit-learn: random cases, classes without patches, ties, and few patches."""

import numpy as np
import pytest
from sklearn import metrics as sk

from data_pipelines.schema.errors import InputError
from lcjax.ops import patch_scores

NAMES = [f"class_{k}" for k in range(6)]


def case(seed: int, *, single: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with ties, and labels; of some seeds classes have no patch, and are or are not predicted."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 60))
    scores = np.round(rng.gamma(0.5, size=(count, 6)), 1).astype(np.float32) + np.float32(1e-3)
    if seed % 3:
        scores[:, 0] = 0  # never predicted
    there = np.arange(6) >= seed % 4  # classes that patches have
    if single:
        truth = np.eye(6, dtype=bool)[rng.choice(np.flatnonzero(there), count)]
        return scores / scores.sum(axis=1, keepdims=True), truth
    return np.minimum(scores, 1), (rng.random((count, 6)) < 0.3) & there


@pytest.mark.parametrize("seed", range(24))
def test_single_labels(seed):
    probabilities, truth = case(seed, single=True)
    found, absent = patch_scores.scores(probabilities, truth, NAMES, single=True)
    true, given = truth.argmax(axis=1), probabilities.argmax(axis=1)
    seen = sorted({*true.tolist(), *given.tolist()})  # as scikit-learn's labels=None
    assert absent == [NAMES[k] for k in range(6) if k not in seen]
    expected = {
        "OA": sk.accuracy_score(true, given),
        "mCA_6": sk.recall_score(true, given, average="macro", zero_division=0),
        "F1_micro_6": sk.f1_score(true, given, average="micro"),
        "F1_macro_6": sk.f1_score(true, given, average="macro", zero_division=0),
        "kappa": sk.cohen_kappa_score(true, given) if len(seen) > 1 else 1.0,
        "mAP_6": np.mean([sk.average_precision_score(truth[:, k], probabilities[:, k]) for k in set(true.tolist())]),
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-6), key
    if set(given.tolist()) <= set(true.tolist()):
        assert found["mCA_6"] == pytest.approx(sk.balanced_accuracy_score(true, given), abs=1e-6)
    matrix = patch_scores.confusion(truth, patch_scores.given(probabilities, single=True))
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(true, given, labels=range(6)))
    by_class = sk.precision_recall_fscore_support(true, given, labels=range(6), zero_division=0)
    for score, values in zip(("Precision", "Acc", "F1"), by_class, strict=False):
        for k in seen:
            assert found[f"{score}/{NAMES[k]}"] == pytest.approx(values[k], abs=1e-6)
    assert {key.partition("/")[2] for key in found if key.startswith("F1/")} == {NAMES[k] for k in seen}


@pytest.mark.parametrize("seed", range(24))
def test_several_labels(seed):
    probabilities, truth = case(seed, single=False)
    found, absent = patch_scores.scores(probabilities, truth, NAMES, single=False)
    given = probabilities > 0.5
    seen = np.flatnonzero(truth.any(axis=0) | given.any(axis=0))
    assert absent == [name for k, name in enumerate(NAMES) if k not in seen]
    expected = {
        "subset_accuracy": sk.accuracy_score(truth, given),
        "mCA_6": sk.recall_score(truth, given, labels=seen, average="macro", zero_division=0),
        "F1_micro_6": sk.f1_score(truth, given, average="micro", zero_division=0),
        "F1_macro_6": sk.f1_score(truth, given, labels=seen, average="macro", zero_division=0),
    }
    true = np.flatnonzero(truth.any(axis=0))
    if len(true):
        expected["mAP_6"] = sk.average_precision_score(truth[:, true], probabilities[:, true], average="macro")
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, abs=1e-6), key
    assert {key for key in found if key.startswith("AP/")} == {f"AP/{NAMES[k]}" for k in true}


def test_the_order_of_patches_does_not_matter():
    probabilities, truth = case(5, single=False)
    turned = np.random.default_rng(0).permutation(len(truth))
    one = patch_scores.scores(probabilities, truth, NAMES, single=False)
    assert patch_scores.scores(probabilities[turned], truth[turned], NAMES, single=False) == one


def test_nothing_to_score_is_refused():
    with pytest.raises(InputError, match="no labelled patch was scored"):
        patch_scores.scores(np.zeros((0, 6)), np.zeros((0, 6), bool), NAMES, single=True)


def test_patches_without_any_label_are_scored_all_the_same():
    found, absent = patch_scores.scores(np.full((3, 6), 0.2), np.zeros((3, 6), bool), NAMES, single=False)
    assert absent == NAMES and found == {
        "subset_accuracy": 1.0, "mCA_6": 0.0, "F1_micro_6": 0.0, "F1_macro_6": 0.0, "mAP_6": 0.0,
    }  # fmt: skip
