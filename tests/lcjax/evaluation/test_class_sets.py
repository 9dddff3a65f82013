"""Scores over other class sets, against scikit-learn on the pixels themselves."""

import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from data_pipelines.datasets import registry
from data_pipelines.datasets.contest_legend import DFC2020, DFC2020_10
from lcjax.evaluation import class_sets

FLAIR = registry.DATASETS["flair1"].legends
BY_NAME = {legend.name: legend for legend in FLAIR}
OTHERS = {
    "flair1": {"flair1_13", "flair1_12", "flair1_15"},
    "flair1_13": {"flair1_12"},
    "flair1_12": set(),
    "flair1_15": {"flair1_12"},
}


def pixels(seed=0, count=4000):
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 20, count)
    return truth, np.where(rng.random(count) < 0.6, truth, rng.integers(1, 20, count))


def matrix(truth, prediction, legend):
    """The confusion matrix of ids of a legend, without what it ignores."""
    index = legend.index_of_id()
    labels = range(len(legend.scored))
    known = index[truth] != 255
    return sklearn_metrics.confusion_matrix(index[truth][known], index[prediction][known], labels=labels)


@pytest.mark.parametrize("name", OTHERS)
def test_scores_are_those_of_the_pixels_themselves(name):
    learned = BY_NAME[name]
    truth, prediction = pixels()
    prediction = prediction[np.isin(learned.read_as()[prediction], [c.id for c in learned.scored])]
    truth = truth[: len(prediction)]  # a network cannot answer with what its legend ignores
    read = learned.read_as()
    found = class_sets.of_legends(matrix(read[truth], read[prediction], learned), learned, FLAIR)
    assert set(found) == OTHERS[name]
    for other, one in found.items():
        wanted = BY_NAME[other]
        count = len(wanted.scored)
        index = wanted.index_of_id()[wanted.read_as()].astype(int)
        t, p = index[truth], index[prediction]
        t, p = t[t != 255], np.where(p[t != 255] == 255, count, p[t != 255])  # an answer that is none of them is wrong
        fields = one.fields
        assert fields["pixels"] == len(t) and sum(fields["predicted_other"]) == (p == count).sum()
        iou = sklearn_metrics.jaccard_score(t, p, labels=range(count), average=None)
        np.testing.assert_allclose([fields["scores"][f"IoU/{c.name}"] for c in wanted.scored], iou)
        np.testing.assert_allclose(fields["scores"][f"mIoU_{count}"], iou.mean())
        np.testing.assert_allclose(fields["scores"]["OA"], (t == p).mean())


def test_what_does_not_follow_is_left_out():
    ten = np.diag(np.arange(1, 11))
    found = class_sets.of_legends(ten, DFC2020_10, (DFC2020, DFC2020_10))
    assert list(found) == ["dfc2020"] and found["dfc2020"].confusion.trace() == 55 - 3 - 8
    # Savanna and snow were not counted: nobody knows how many of their pixels there were.
    assert not class_sets.of_legends(np.diag(np.arange(1, 9)), DFC2020, (DFC2020, DFC2020_10))
    assert not class_sets.of_legends(ten, DFC2020_10, (DFC2020_10,))
    nothing = np.zeros((10, 10), int)
    nothing[2, 2] = 5  # pixels of savanna alone, which the eight do not hold
    assert not class_sets.of_legends(nothing, DFC2020_10, (DFC2020, DFC2020_10))


def test_evaluate_writes_them(trained, data_dir, tmp_path, monkeypatch, capsys):
    """A network of eight classes; a legend of two is a reading of them."""
    import dataclasses
    import shutil

    from data_pipelines.schema.legends import Legend
    from lcjax.evaluation.evaluate import evaluate
    from lcjax.runs import evaluations

    spec = registry.DATASETS["sample"]
    wet = Legend("wet", (DFC2020.classes[0], DFC2020.classes[9]), ignored=(0, 3, 8),
                 merges=((5, 10), *((k, 1) for k in (2, 4, 6, 7, 9))))  # fmt: skip
    monkeypatch.setitem(registry.DATASETS, "sample", dataclasses.replace(spec, legends=(spec.legend, wet)))
    run = shutil.copytree(trained, tmp_path / "run")
    evaluate(run, "test", "last", str(data_dir))
    fields = evaluations.read(run / "evaluation" / "test", of_classes=True)
    assert "mIoU_8" in fields["scores"] and set(fields["class_sets"]) == {"wet"}
    confusion = np.array(fields["confusion"])
    wetlands = np.isin([c.id for c in DFC2020.scored], (5, 10))
    both = confusion[wetlands][:, wetlands].sum()
    iou = both / (confusion[wetlands].sum() + confusion[:, wetlands].sum() - both)
    np.testing.assert_allclose(fields["class_sets"]["wet"]["scores"]["IoU/Water"], iou)
    assert "the same network over wet: " in capsys.readouterr().out
    assert json.loads((run / "evaluation" / "test" / "metrics.json").read_text())["protocol"] == ""
