"""Scores of a network on another data set: which pixels count, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

import lcjax
from data_pipelines.reading import dataset
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend
from data_pipelines.schema.sensors import AERIAL
from lcjax.configs import rasters
from lcjax.evaluation import elsewhere
from lcjax.reporting import report
from lcjax.runs import evaluations, record_confusions
from lcjax.runs import model_card as cards
from lcjax.training.run import train

COLOURS = ("#ff0000", "#00ff00", "#0000ff", "#ffff00")


def legend(**ids: int) -> Legend:
    """A legend of names with ids."""
    shades = zip(ids.items(), COLOURS, strict=False)
    return Legend("rasters", tuple(LandClass(i, name.replace("_", " "), shade) for (name, i), shade in shades))


def arrays(classes: Legend, seed: int, bands=("red", "green", "blue"), dtype=np.uint8):
    """Three classes by brightness of red, with a hole in the labels."""
    images = np.random.default_rng(seed).integers(0, 256, (4, 32, 32, len(bands))).astype(dtype)
    ids = np.array([land_class.id for land_class in classes.classes], np.uint8)
    masks = ids[np.minimum(images[..., bands.index("red")].astype(int) // 86, len(ids) - 1)]
    masks[:, :5] = 255
    return lcjax.data.from_arrays({"train": (images, masks), "fold_2": (images, masks)}, classes, bands=list(bands))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on three classes of red, green, blue."""
    workdir = tmp_path_factory.mktemp("elsewhere") / "run"
    config = rasters.get_config("tiny=true,validation=none,test=none")
    config.update({"crop": 32, "total": "12 steps", "batch_size": 8})
    train(config, workdir, arrays(legend(water=0, Road=1, roof=2), seed=0))
    return workdir


def test_pixels_of_common_classes_are_scored_against_scikit_learn(run):
    # Other ids, another order of bands and case; "forest" is not known to the network, "road" is not in the data.
    data = arrays(legend(WATER=7, forest=3, Roof=5), seed=1, bands=("blue", "green", "red"))
    found = lcjax.evaluate(run, "fold_2", "last", dataset=data)
    source, net = data.source("fold_2"), lcjax.load(run, "last")
    records = [source[index] for index in range(len(source))]
    guess = np.stack([net.predict(record["image"][..., [2, 1, 0]]) for record in records])
    truth = np.stack([record["label"] for record in records])
    scored = np.isin(truth, (7, 5))
    mine = np.where(truth == 7, 0, 2)[scored]  # ids of the network
    matrix = confusion_matrix(mine, guess[scored], labels=[0, 2, 1])[:2]
    assert found["class_set"] == ["water", "roof"] and found["class_ids"] == [0, 2]
    assert found["confusion"] == matrix[:, :2].tolist() and found["predicted_other"] == matrix[:, 2].tolist()
    assert found["pixels"] == scored.sum() and found["ignored_pixels"] == (~scored).sum()
    assert found["unknown_classes"] == {"forest": int((truth == 3).sum())}
    assert found["scores"]["OA"] == pytest.approx(accuracy_score(mine, guess[scored]))
    ious = jaccard_score(mine, guess[scored], labels=[0, 2], average=None)
    assert found["scores"]["mIoU_2"] == pytest.approx(ious.mean())
    assert found["note"] == elsewhere.NOTE and found["dataset"] == "arrays in memory"
    out = run / "evaluation" / "arrays_fold_2"
    assert json.loads((out / "metrics.json").read_text())["scores"] == found["scores"]
    records = record_confusions.read(out, evaluations.read(out, of_classes=True))  # which checks the sums, too
    assert records.other.sum() == matrix[:, 2].sum() and records.confusion.shape[1:] == (2, 2)
    assert (out / "confusion.csv").read_text().splitlines()[0] == "truth \\ prediction,water,roof,other"
    page = report.render([str(run)], [])["index.html"]
    assert elsewhere.NOTE in page
    # True pixels of a class are those that were taken for another one, too.
    assert all(f">{int(row.sum()):,}</td>" in page for row in matrix)
    with pytest.raises(InputError, match="found both"):
        lcjax.evaluate(run, "fold_2", "last", data, dataset=data)


def test_numbers_of_another_scale_are_refused():
    told = dataclasses.replace(AERIAL, packing=((1e-4, 0.0),) * 5)
    order = dict.fromkeys(AERIAL.bands)
    classes = legend(water=0, Road=1)
    card = cards.Card("unet", "aerial", (told,), classes, 32, "x", {}, {})
    other = dataclasses.replace(told, packing=((1e-3, 0.0),) * 5)
    assert elsewhere.fit(card, (told,), classes, "there").bands == {"aerial": list(range(len(order)))}
    with pytest.raises(InputError, match=r"numbers with scale 0\.001.*expected scale 0\.0001"):
        elsewhere.fit(card, (other,), classes, "there")
    without = dataclasses.replace(told, packing=())
    with pytest.raises(InputError, match=r"numbers with no scale and no offset; expected scale 0\.0001.*prepare them"):
        elsewhere.fit(card, (without,), classes, "there")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: arrays(legend(lake=0, path=1), 2), "none of its classes"),
        (lambda: arrays(legend(water=0, Road=1), 2, bands=("red", "green", "nir")), r"missing: blue"),
        (lambda: arrays(legend(water=0, Road=1), 2, dtype=np.uint16), "numbers of type 'uint16'; expected 'uint8'"),
    ],
)
def test_what_does_not_fit_is_refused(run, data, says):
    """What the network cannot be shown as it learned it."""
    with pytest.raises(InputError, match=says):
        lcjax.evaluate(run, "train", "last", dataset=data())


def test_a_prepared_data_set_by_name_and_records_that_were_trained_on(trained, data_dir, command, capsys):
    asked = ("--dataset=sample", "--split=validation[:50%]", f"--data_dir={data_dir}")
    code, out, err = command("evaluate", f"--workdir={trained}", *asked)
    assert (code, err) == (0, []) and "over the classes that both have: Forest, " in out
    ids = set(dataset.open_dataset(data_dir, "sample").source("validation[:50%]").ids)
    assert f"warning: the network has learned from {len(ids)} of these {len(ids)} records" in out


@pytest.mark.parametrize(
    ("name", "spec", "folder"),
    [
        ("rasters/town", "test", "rasters_town_test"),
        ("sample", "fold_2", "sample_fold_2"),
        ("sample", "test[:50%]", "sample_test_50-01234567"),
    ],
)
def test_folders_tell_data_sets_and_splits_apart(name, spec, folder):
    assert elsewhere.folder_name(name, spec, "0123456789") == folder
