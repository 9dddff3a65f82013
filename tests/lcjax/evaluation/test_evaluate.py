"""The verb `evaluate` on a run that was really trained, and what the other verbs make of the same run."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
from networks import small
from sklearn.metrics import confusion_matrix

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.reading import dataset
from data_pipelines.schema.errors import InputError
from lcjax.configs import pretrain
from lcjax.engine import eval_step, restore
from lcjax.evaluation import evaluate
from lcjax.evaluation.further import Further
from lcjax.mapping import mapper, scene
from lcjax.ops import boundary_iou, object_recall
from lcjax.parallel import mesh as meshes
from lcjax.reporting import report
from lcjax.runs import evaluations, record_confusions
from lcjax.training.run import train


@pytest.fixture(scope="module")
def result(trained) -> dict:
    return evaluate.evaluate(trained, "test", "best")


def whole_tiles(trained, data_dir, spec):
    """Truth and prediction of every tile, one by one, as class indices."""
    network = restore.restore(trained, "best")
    source = dataset.open_dataset(data_dir, "sample").source(spec)
    table, probabilities = network.card.legend.index_of_id(), network.probabilities()
    for record in (source[index] for index in range(len(source))):
        batch = {sensor.name: record[sensor.name][None] for sensor in network.card.sensors}
        yield table[record["label"]], np.asarray(probabilities(batch))[0].argmax(-1)


def test_every_pixel_once_against_scikit_learn(trained, data_dir, result):
    pairs = list(whole_tiles(trained, data_dir, "test"))
    truth, guess = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    scored = truth != 255
    expected = confusion_matrix(truth[scored], guess[scored], labels=range(8))
    assert result["pixels"] == scored.sum() and result["ignored_pixels"] == (~scored).sum()
    # Two programs may round a tie differently; a pixel or two of 262,144.
    assert np.abs(np.array(result["confusion"]) - expected).sum() <= 20


def test_says_what_the_scores_are_of(trained, result):
    written = json.loads((trained / "evaluation" / "test" / "metrics.json").read_text())
    assert written == json.loads(json.dumps(result))
    assert written["class_set"][0] == "Forest" and len(written["class_set"]) == 8
    assert written["ignored_ids"] == [0, 3, 8]
    assert written["split"]["role"] == "test" and written["split"]["records"] == written["records"] == 4
    assert written["checkpoint"]["kind"] == "best"
    assert (written["recipe"], written["cell"], written["resize"]) == ("ours", "", 0)
    assert {"OA", "mCA_8", "mIoU_8", "kappa"} <= written["scores"].keys()
    assert set(written["distribution"]) >= {"validation", "test"}


def test_twice_is_identical(trained, result):
    assert evaluate.evaluate(trained, "test", "best") == result


def test_the_counts_of_each_record_are_those_of_its_pixels(trained, result, data_dir):
    """Against a prediction and a count of each record by itself; 4 records on 8 devices, so that half are padding."""
    folder = trained / "evaluation" / "test"
    records = record_confusions.read(folder, evaluations.read(folder, of_classes=True))
    source = dataset.open_dataset(data_dir, "sample").source("test")
    assert records.ids.tolist() == list(source.ids) and set(records.groups) == {"scene_2"}
    network = restore.restore(trained, "best")
    for place in range(len(source)):
        record = source[place]
        (guess,), _ = evaluate.predict(network, [record])
        seen = ~np.isin(record["label"], [0, 3, 8, 255])
        expected = confusion_matrix(record["label"][seen], guess[seen], labels=result["class_ids"])
        # One pixel of 65,536 may be a tie that another batch decides otherwise.
        assert np.abs(records.confusion[place].astype(int) - expected).sum() <= 4
        assert records.ignored[place] == (~seen).sum()
    west, south, east, north = records.bounds.T
    assert (west < east).all() and (south < north).all() and (np.abs(south + 28.04) < 0.1).all()  # UTM 34 south


def test_the_counts_of_records_add_up_to_those_that_training_sees(trained, result, data_dir):
    network, mesh = restore.restore(trained, "best"), meshes.make_mesh(-1, 1, 8)
    batches = eval_step.evaluation_batches(
        dataset.open_dataset(data_dir, "sample").source("test"), 8, network.task.keys, 1
    )
    step = eval_step.evaluation_step(network.task, network.template)
    values = meshes.replicate_tree((network.parameters, network.statistics), mesh)
    sums = eval_step.sum_over_batches(step, *values, batches, meshes.batch_sharding(mesh))
    assert sums["confusion"].tolist() == result["confusion"] and sums["ignored"] == result["ignored_pixels"]


def test_intervals_hold_the_scores_and_say_what_they_are_of(result):
    told = result["intervals"]
    assert (told["level"], told["blocks"], told["block"]) == (0.95, 4, "record")
    assert "scene_2" in told["notes"][0] and "4 records are few" in told["notes"][1]
    for key, (low, high) in told["scores"].items():
        assert low <= result["scores"][key] <= high
    assert {"OA", "mCA_8", "mIoU_8", "kappa"} <= told["scores"].keys()


def test_boundaries_and_objects_are_those_of_the_maps(trained, result, data_dir):
    """On request, beside the same scores: counted of the maps that the network draws of each record."""
    found = evaluate.evaluate(trained, "test", "best", further=Further.asked("3px", "10,100"))
    assert {key: value for key, value in found.items() if key not in ("boundary", "objects")} == result
    source = dataset.open_dataset(data_dir, "sample").source("test")
    legend, network = DFC2020, restore.restore(trained, "best")
    index = legend.index_of_id()
    maps = [
        (index[source[i]["label"]], index[evaluate.predict(network, [source[i]])[0][0]]) for i in range(len(source))
    ]
    counts = sum(object_recall.object_counts(truth, guess, 8, (10, 100)) for truth, guess in maps)
    objects = found["objects"]
    told = np.array([objects["counts"][name] for name in found["class_set"]])
    np.testing.assert_array_equal(told[..., 1], counts[..., 1])
    assert np.abs(told[..., 0] - counts[..., 0]).max() <= 1  # a pixel that is a tie
    assert objects["pixel_hectares"] == pytest.approx(0.01, rel=1e-2)  # 10 m
    named = found["class_set"][0]
    assert objects["scores"][f"{named}/all"] == told[0, :, 0].sum() / told[0, :, 1].sum()
    truth, guess = (jnp.asarray(np.stack(several)) for several in zip(*maps, strict=True))
    near = np.asarray(boundary_iou.counts_of_each(truth, guess, 8, 3)).sum(axis=0)
    expected = {key: float(value) for key, value in boundary_iou.score_values(near, found["class_set"]).items()}
    assert found["boundary"]["pixels"] == 3 and found["boundary"]["scores"] == pytest.approx(expected, abs=1e-3)
    page = report.render([str(trained)], [])["index.html"]
    assert "Boundary IoU by class" in page and "10 to 99 px (0.1 ha to 0.99 ha)" in page
    evaluate.evaluate(trained, "test", "best")


def test_the_line_shows_intervals_briefly():
    scores = {"OA": 0.7, "kappa": 0.5, "IoU/Forest": 0.4}
    told = {"level": 0.95, "blocks": 12, "block": "group", "scores": {"OA": [0.6512, 0.7498]}}
    assert evaluate.told_scores({"scores": scores, "intervals": told}) == (
        "OA 0.7000 [0.651, 0.750]  kappa 0.5000  [95 % interval over 12 groups]"
    )
    assert evaluate.told_scores({"scores": scores}) == "OA 0.7000  kappa 0.5000"


def test_samples_for_the_page(trained, result):
    with np.load(trained / "evaluation" / "test" / "samples.npz", allow_pickle=False) as samples:
        assert samples["image"].shape == (4, 256, 256, 3) and samples["truth"].shape == (4, 256, 256)
        assert set(np.unique(samples["prediction"])) <= {1, 2, 4, 5, 6, 7, 9, 10}
        confidence = samples["confidence"]
    # Of eight classes the most probable one has an eighth at least; 250 stands for 1.
    assert confidence.shape == (4, 256, 256) and 250 / 8 - 1 <= confidence.min() < confidence.max() <= 250


def test_unknown_split_and_other_data_are_refused(trained, data_dir, tmp_path):
    with pytest.raises(InputError, match=r"--split=holdout: expected one of test, train, validation"):
        evaluate.evaluate(trained, "holdout", "best")
    with pytest.raises(InputError, match="nowhere"):
        evaluate.evaluate(trained, "test", "best", data_dir="nowhere")
    with pytest.raises(InputError, match="no such file"):
        evaluate.evaluate(tmp_path, "test", "best")


def test_a_split_without_labels_is_refused_before_anything_is_compiled(trained, monkeypatch):
    """A run may be trained beside a test split without any."""
    whole = restore.restore(trained, "best")
    splits = whole.card.splits | {"test": whole.card.splits["test"] | {"class_pixels": {"3": 7}}}  # an ignored class
    emptied = dataclasses.replace(whole, card=dataclasses.replace(whole.card, splits=splits))
    monkeypatch.setattr(evaluate.restore, "restore", lambda *_: emptied)
    monkeypatch.setattr(evaluate, "counted", None)
    with pytest.raises(
        InputError, match=r"\(test\) of sample .*: nothing to score, for its 7 labelled pixels are of igno"
    ):
        evaluate.evaluate(trained, "test", "best")


def test_contrastive_runs_are_evaluated_too(data_dir, tmp_path):
    config = small(pretrain.get_config("data=sample,tiny=true"), data_dir, steps=2)
    config.split = {"train": "unlabelled", "validation": "unlabelled"}
    train(config, tmp_path / "pretrain")
    scores = evaluate.evaluate(tmp_path / "pretrain", "validation", "last")["scores"]
    assert scores["loss"] > 0 and 0 <= scores["retrieval"] <= 1
    with pytest.raises(InputError, match="--boundary and --objects: a contrastive run counts no maps record by record"):
        evaluate.evaluate(tmp_path / "pretrain", "validation", "last", further=Further.asked("2%", None))
    with pytest.raises(InputError, match="no classes to map"):
        restore.restore(tmp_path / "pretrain", "last").probabilities()


def test_the_map_of_a_scene_is_the_network_s(trained, sample, tmp_path):
    network = restore.restore(trained, "best")
    files = {name: sample / "scenes" / f"scene_{name}.tif" for name in ("s1", "s2")}
    output = tmp_path / "map.tif"
    with scene.open_scene(network.card, files) as opened:
        mapper.Mapper.of_workdir(trained, "best").map(opened, output)
        inputs, valid = opened.read(0, 300)
    assert valid.all()
    batch = {name: values[None] for name, values in inputs.items()}
    whole = np.asarray(network.probabilities()(batch))[0]
    expected = network.card.legend.id_of_index()[whole.argmax(-1)]
    with rasterio.open(output) as drawn, rasterio.open(files["s2"]) as scene_file:
        assert drawn.crs == scene_file.crs and drawn.transform == scene_file.transform
        assert drawn.shape == (300, 300) and drawn.nodata == 255
        map_ = drawn.read(1)
    # The first tile alone reaches these pixels, and it sees as much of their surroundings as the network looks at.
    inner = (slice(0, 44), slice(0, 44))
    assert (map_[inner] == expected[inner]).mean() > 0.999 and len(np.unique(map_[inner])) > 1


def test_the_answers_are_the_same_on_all_devices_and_averaged_over_turns(trained, data_dir):
    network = restore.restore(trained, "best")
    record = dataset.open_dataset(data_dir, "sample").source("test")[0]
    batch = {name: np.stack([record[name][:64, :96], record[name][64:128, :96]] * 4) for name in ("s1", "s2")}
    one = network.probabilities()
    alone = np.asarray(one(batch))
    np.testing.assert_allclose(network.probabilities(meshes.make_mesh(-1, 1, 8))(batch), alone, atol=1e-5)

    def by_hand(batch, turns):
        """The mean over flips and rotations, each by numpy."""
        total = 0
        for turn, flip in turns:
            shown = {
                name: np.flip(np.rot90(x, turn, (1, 2)), 1) if flip else np.rot90(x, turn, (1, 2))
                for name, x in batch.items()
            }
            answer = np.asarray(one({name: np.ascontiguousarray(x) for name, x in shown.items()}))
            total = total + np.rot90(np.flip(answer, 1) if flip else answer, -turn, (1, 2))
        return total / len(turns)

    oblong = network.probabilities(tta=True)(batch)
    np.testing.assert_allclose(oblong, by_hand(batch, [(0, 0), (2, 0), (0, 1), (2, 1)]), atol=1e-5)
    square = {name: x[:, :, :64] for name, x in batch.items()}
    eight = [(turn, flip) for turn in range(4) for flip in (0, 1)]
    np.testing.assert_allclose(network.probabilities(tta=True)(square), by_hand(square, eight), atol=1e-5)
    assert np.abs(np.asarray(oblong) - alone).max() > 1e-3  # the network does not turn with its input by itself


def test_the_page_shows_the_run_s_scores(trained, result):
    page = report.render([str(trained)], [])["index.html"]
    assert f"{result['scores']['OA']:.3f}" in page and "Wetlands" in page and page.count("data:image/webp;base64,") >= 3
