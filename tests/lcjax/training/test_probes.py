"""Probes: classifiers against scikit-learn, pieces and their labels, a run that logs them, what is refused."""

import importlib.util
import json

import jax
import numpy as np
import pytest
from networks import small
from sklearn import datasets as toys
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend
from lcjax.configs import pretrain
from lcjax.engine import restore
from lcjax.training import probes
from lcjax.training.run import train


def test_scores_equal_those_of_scikit_learn():
    """On iris: standardised by hand, cosine as the Euclidean distance of unit vectors, means over the classes there."""
    x, y = toys.load_iris(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(x, y, test_size=0.5, random_state=0)
    keep = test_y != 2  # a class that is learnt and never scored
    test_x, test_y = test_x[keep] + np.random.default_rng(0).normal(0, 1, test_x[keep].shape), test_y[keep]
    found = probes.scores(train_x, train_y, test_x, test_y)
    mean, deviation = train_x.mean(0), train_x.std(0)
    unit_train, unit_test = (features / np.linalg.norm(features, axis=1)[:, None] for features in (train_x, test_x))
    predictions = {
        "linear": LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000)
        .fit((train_x - mean) / deviation, train_y)
        .predict((test_x - mean) / deviation),
        "knn": KNeighborsClassifier(20).fit(unit_train, train_y).predict(unit_test),
    }
    assert set(found) == {f"probe {name} {score}" for name in predictions for score in ("OA", "mCA")}
    for name, predicted in predictions.items():
        recall = recall_score(test_y, predicted, labels=[0, 1], average="macro")
        assert found[f"probe {name} OA"] == pytest.approx(accuracy_score(test_y, predicted))
        assert found[f"probe {name} mCA"] == pytest.approx(recall)
        assert 0.3 < recall < 1.0


def test_fewer_places_than_neighbours():
    x = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    found = probes.scores(x, np.array([3, 3, 5]), np.array([[2.0, 0.0], [0.0, 0.5]]), np.array([3, 5]))
    assert (found["probe knn OA"], found["probe knn mCA"]) == (0.5, 0.5)  # all three vote
    assert (found["probe linear OA"], found["probe linear mCA"]) == (1.0, 1.0)


@pytest.mark.parametrize("rest", [(), (3,)])
def test_pieces_are_whole_crops_row_by_row(rest):
    images = np.random.default_rng(0).integers(0, 99, (2, 11, 8, *rest))
    expected = [
        image[top : top + 4, left : left + 4] for image in images for top in (0, 4) for left in (0, 4)
    ]  # the last three rows belong to no whole piece
    np.testing.assert_array_equal(probes.pieces(images, 4), expected)
    np.testing.assert_array_equal(jax.jit(probes.pieces, static_argnums=1)(images, 4), expected)
    np.testing.assert_array_equal(probes.pieces(images, 0), images)


class Labelled:
    """Records that hold labels alone."""

    def __init__(self, *labels):
        self._labels = [np.array(label, np.uint8) for label in labels]

    def __len__(self):
        return len(self._labels)

    def read(self, index, keys):
        assert keys == ["label"]
        return {"label": self._labels[index]}


def test_a_piece_has_its_most_frequent_scored_class():
    legend = Legend("four", tuple(LandClass(i, str(i), "#000000") for i in (2, 4, 6, 8)), ignored=(4,))
    first = [[2, 8, 4, 4], [8, 4, 4, 255], [6, 6, 8, 6], [2, 255, 8, 2]]
    second = [[6] * 4, [6] * 4, [255] * 4, [255] * 4]
    # Scored are 2, 6 and 8, as 0, 1 and 2. Of 6 and 8, equally frequent, the first counts.
    assert probes.piece_labels(Labelled(first, second), legend, 2).tolist() == [2, 255, 1, 2, 1, 1, 255, 255]
    assert probes.piece_labels(Labelled(second), legend, 0).tolist() == [1]


def probed(data_dir, train="validation[:5]", test="test[:3]"):
    config = small(pretrain.get_config("model=unet,data=sample,tiny=true"), data_dir, steps=2)
    config.split.train = config.split.validation = "unlabelled"
    config.crop = 100  # two by two of a tile, and something left over
    config.probe.update({"train": train, "test": test})
    return config


def test_a_run_logs_what_its_last_network_scores(data_dir, tmp_path):
    """On eight devices, for five and three tiles; here place by place on one device."""
    config = probed(data_dir)
    train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    first, last = (line for line in lines if line["split"] == "validation")
    assert (first["step"], last["step"]) == (1, 2)
    names = {key for key in last if key.startswith("probe ")}
    assert names == {"probe linear OA", "probe linear mCA", "probe knn OA", "probe knn mCA"} <= first.keys()
    assert "retrieval" in last

    network = restore.restore(tmp_path / "run", "last")
    dataset = open_dataset(data_dir, "sample")

    @jax.jit
    def embed(images):
        model = network.template.merge(network.parameters, network.statistics, train=False)
        return network.task.embed(model, images)

    features, labels = {}, {}
    for role in ("train", "test"):
        source = dataset.source(config.probe[role])
        features[role], labels[role] = [], []
        for record in (source[index] for index in range(len(source))):
            for top, left in ((0, 0), (0, 100), (100, 0), (100, 100)):
                window = np.s_[top : top + 100, left : left + 100]
                ids = record["label"][window]
                scored = ids[np.isin(ids, [land_class.id for land_class in dataset.legend.scored])]
                if scored.size:
                    values, counts = np.unique(scored, return_counts=True)
                    labels[role].append(values[counts.argmax()])
                    images = {name: record[name][window][None] for name in ("s1", "s2")}
                    features[role].append(np.asarray(embed(images))[0])
    expected = probes.scores(*(np.array(found[role]) for role in ("train", "test") for found in (features, labels)))
    for name in names:
        assert last[name] == pytest.approx(expected[name], abs=1e-9), name


@pytest.mark.parametrize(
    ("train_spec", "test_spec", "words"),
    [
        ("validation", "", "a probe learns from one split and is scored on the other"),
        ("", "test", "a probe learns from one split and is scored on the other"),
        ("validation+test", "test[:1]", "1 records are in both"),
        ("unlabelled", "test", "config.probe.train='unlabelled': labels of 0 classes, expected 2 or more"),
        ("validation", "unlabelled", "config.probe.test='unlabelled': labels of 0 classes, expected 1 or more"),
        ("validation", "nowhere", "nowhere"),
    ],
)
def test_splits_that_cannot_be_probed_are_refused_before_training(train_spec, test_spec, words, data_dir, tmp_path):
    with pytest.raises(InputError, match=words) as caught:
        train(probed(data_dir, train_spec, test_spec), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_probes_need_evaluations(data_dir, tmp_path):
    config = probed(data_dir)
    config.split.validation = ""
    with pytest.raises(InputError, match=r"config\.split\.validation is empty"):
        train(config, tmp_path / "run")


def test_without_scikit_learn_it_is_told_how_to_get_it(data_dir, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: found(name, *rest) if name != "sklearn" else None
    )
    with pytest.raises(InputError, match=r"pip install 'lcjax\[demo\]'"):
        train(probed(data_dir), tmp_path / "run")
