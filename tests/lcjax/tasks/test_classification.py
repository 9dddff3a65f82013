"""The classification task: whose label a crop has, one loss on any devices, what is kept, and what it refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import launched
import numpy as np
import pytest
from networks import batch, card_of, logged, make, small, smallest, trained

import lcjax
from data_pipelines.schema.errors import InputError
from lcjax import tasks
from lcjax.configs import classification, dfc2020
from lcjax.engine import experiment as experiments
from lcjax.engine import restore
from lcjax.engine.eval_step import evaluation_step, sum_over_batches
from lcjax.evaluation import evaluate
from lcjax.ops import augment, augmentation
from lcjax.parallel import mesh as meshes
from lcjax.runs import evaluations
from lcjax.tasks.classification import Classification
from lcjax.training.run import train

LABELS = ("single", "multi")


def config_of(labels: str, model="two_stream_swin", fusion="", **changes):
    config = smallest(model, fusion, task="classification")
    config.labels = labels
    config.update(changes)
    return config


def expected_labels(task, pixels: np.ndarray) -> list[int]:
    """By a count in Python: 1 for each class of a patch that is a label; 255 of one without a labelled pixel."""
    ids = [land_class.id for land_class in task.card.legend.scored]
    counts = [int((pixels == one).sum()) for one in ids]
    if not sum(counts):
        return [255] * len(ids)
    if task.single:
        return [int(k == counts.index(max(counts))) for k in range(len(ids))]
    return [int(10 * n >= sum(counts)) for n in counts]


@pytest.mark.parametrize("labels", LABELS)
def test_the_loss_is_of_the_crop_that_is_shown_and_evaluation_of_the_whole_tile(labels):
    config = config_of(labels, "swin_unet", "s2")
    task, template, values, statistics = make(config)
    data = batch(config, 6, edge=64, seed=2)
    data["label"][0] = 255
    data["corner"] = np.array([[0, 0], [32, 32], [5, 30], [32, 0], [7, 7], [1, 2]], np.int32)
    keys = augment.example_keys(0, jnp.int32(3), data["example"])

    def run(values):
        model = template.merge(values, statistics, train=True)
        shown, drawn = augmentation.augmented(
            {key: data[key] for key in task.keys}, data["corner"], keys, task.card.sensors, config
        )
        return task.loss(model, data, keys), model(shown, keys), drawn

    (loss, extra), logits, drawn = jax.device_get(jax.jit(run)(values))
    assert drawn.shape == (6, 32, 32) and loss.dtype == np.float32
    truth = np.array([expected_labels(task, pixels) for pixels in drawn])
    valid, logits = truth[:, 0] != 255, logits.astype(np.float64)
    assert 1 <= valid.sum() < 6
    if task.single:
        wanted = -(np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)) * truth)[valid].sum(axis=1)
        assert extra["OA"].count == valid.sum()
    else:
        wanted = np.logaddexp(0, np.where(truth == 1, -logits, logits))[valid]
        hits = ((truth == 1) & (logits > 0))[valid].sum()
        assert tuple(extra["F1_micro"]) == (2 * hits, (truth[valid] == 1).sum() + (logits[valid] > 0).sum())
    assert float(loss) == pytest.approx(wanted.mean(), rel=1e-5)

    data["valid"] = np.array([True] * 5 + [False])
    sums = jax.device_get(evaluation_step(task, template)(values, statistics, data))
    whole = [expected_labels(task, pixels) for pixels in data["label"][:5]]
    assert sums["labels"].values[:5].tolist() == whole and sums["labels"].values[5].tolist() == [255] * 8
    probabilities, of_labelled = task.labelled(sums)
    assert of_labelled.tolist() == [[bool(x) for x in row] for row in whole[1:]]
    assert probabilities.shape == (4, 8) and (task.single == bool(np.allclose(probabilities.sum(axis=1), 1)))
    details = task.details(sums)
    assert (details["patches"], details["ignored_patches"]) == (4, 1)
    assert task.monitor in task.scores(sums)


@pytest.mark.parametrize(
    ("labels", "ways"),
    [
        ("single", [("one", 1, "jit"), ("pmap", 8, "pmap")]),
        ("multi", [("one", 1, "jit"), ("eight", 8, "jit")]),
        pytest.param("single", [("one", 1, "jit"), ("eight", 8, "jit")], marks=pytest.mark.slow),
        pytest.param("multi", [("one", 1, "jit"), ("pmap", 8, "pmap")], marks=pytest.mark.slow),
    ],
)
def test_one_device_eight_and_pmap_take_the_same_steps(labels, ways):
    found = {}
    for way, devices, mode in ways:
        config = config_of(labels, "swin_unet", "s2", class_weights=0.5)
        config.parallel.mode = mode
        config.optimizer.update({"name": "sgd", "momentum": 0.9})
        _, before, after, metrics = trained(config, devices, 16, 3)
        found[way] = after.trainable, logged(metrics)
    moved = max(np.abs(found["one"][0][path] - before.trainable[path]).max() for path in before.trainable)
    assert moved > 1e-4
    for way in [name for name, *_ in ways[1:]]:
        for path, value in found["one"][0].items():
            np.testing.assert_allclose(found[way][0][path], value, rtol=1e-4, atol=2e-6, err_msg=f"{way} {path}")
        assert found[way][1].keys() == found["one"][1].keys()
        for key, value in found["one"][1].items():
            assert found[way][1][key] == pytest.approx(value, rel=1e-4), (way, key)


def test_evaluation_is_the_same_in_batches_of_any_size_on_any_devices():
    config = config_of("single", "unet", "s2")
    task, template, values, statistics = make(config)
    data = batch(config, 24, edge=32, seed=7) | {"valid": np.arange(24) < 21}
    keys = (*task.keys, "valid")
    found = []
    for devices, size in ((1, 24), (8, 8)):
        mesh = meshes.make_mesh(devices, 1, 24)
        batches = [{key: data[key][first : first + size] for key in keys} for first in range(0, 24, size)]
        placed = meshes.replicate_tree((values, statistics), mesh)
        sums = sum_over_batches(evaluation_step(task, template), *placed, batches, meshes.batch_sharding(mesh))
        assert sums["patches"] == 21 and sums["probabilities"].values.shape == (24, 8)
        found.append(task.scores(sums))
    assert found[0].keys() == found[1].keys()
    for key, value in found[0].items():
        assert found[1][key] == pytest.approx(value, abs=1e-6), key


def test_pooled_features_and_class_tokens_are_what_the_head_sees():
    for name, fusion in (("swin_unet", "late"), ("vit_pyramid", "early")):
        config = config_of("single", name, fusion)
        task, template, values, statistics = make(config)
        assert {path.split("/")[0] for path in values} == {"encoders", "patch_head"}
        images = {key: batch(config, 2, edge=64)[key] for key in ("s1", "s2")}

        def run(values, images=images, task=task, template=template, statistics=statistics):
            model = template.merge(values, statistics, train=False)
            floats = {s.name: augment.scale(images[s.name], s.scaling) for s in task.card.sensors}
            if len(model.encoders) == 2:
                features = [model.encoders[name](floats[name])[-1].mean((1, 2)) for name in ("s1", "s2")]
            else:
                encoder = model.encoders["s1_s2"]
                both = jnp.concatenate([floats["s1"], floats["s2"]], axis=-1)
                features = [encoder.norm(encoder.tokens(both)[-1])[:, 0]]
            return model(floats), jnp.concatenate(features, axis=-1)

        logits, features = jax.device_get(jax.jit(run)(values))
        head = {part: values[f"patch_head/classify/{part}"] for part in ("kernel", "bias")}
        np.testing.assert_allclose(logits, features @ head["kernel"] + head["bias"], atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metadata": True}, r"config\.metadata=True: the classification task takes images alone; set it to False"),
        ({"window": 64}, r"config\.window=64: the classification task gives a whole tile one answer; set it to 0"),
        ({"resize": 64}, r"config\.resize=64: the classification task takes crops"),
        ({"weights.head": True}, r"config\.weights\.head=True: the classification task has a head of its own"),
        ({"weights.decoder": "mirrored"}, r"config\.weights\.decoder='mirrored': the classification task has no dec"),
        ({"least_share": 0.12345}, r"config\.least_share=0\.12345: expected 0\.001 or more, with at most three dec"),
        ({"least_share": 1e-12}, r"config\.least_share=1e-12: expected 0\.001 or more"),
    ],
)
def test_what_it_cannot_do_is_refused(changes, says):
    config = config_of("multi", "unet")
    config.update_from_flattened_dict(changes)
    with pytest.raises(InputError, match=says):
        tasks.make(config, card_of(config))


@pytest.fixture(scope="module")
def frozen(trained, data_dir, tmp_path_factory):
    """The workdir of a frozen classification that begins with the encoder of a segmentation."""
    return train(frozen_config(data_dir, trained), tmp_path_factory.mktemp("patches") / "frozen").workdir


def frozen_config(data_dir, init):
    text = f"model=unet,fusion=early,data=sample,labels=multi,init={init},freeze=encoder,tiny=true"
    config = small(classification.get_config(text), data_dir, steps=6)
    config.evaluate_every = "2 steps"
    return config


def test_frozen_encoders_stay_to_the_bit_and_the_head_moves(trained, frozen):
    before, after = restore.restore(trained), restore.restore(frozen, "last")
    assert {path for path in after.parameters if not path.startswith("encoders/")} == {
        "patch_head/classify/kernel",
        "patch_head/classify/bias",
    }
    assert after.statistics.keys() < before.statistics.keys()
    for kind in ("parameters", "statistics"):
        old, new = getattr(before, kind), getattr(after, kind)
        for path in (path for path in new if path.startswith("encoders/")):
            assert np.asarray(new[path]).tobytes() == np.asarray(old[path]).tobytes(), path
    assert np.asarray(after.parameters["patch_head/classify/bias"]).any()


def test_a_run_goes_on_after_an_interruption_as_if_there_had_been_none(
    trained, frozen, data_dir, tmp_path, monkeypatch
):
    asked, scores = iter(range(100)), Classification.scores

    def interrupted(task, sums):
        if next(asked) == 2:
            raise KeyboardInterrupt
        return scores(task, sums)

    monkeypatch.setattr(Classification, "scores", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(frozen_config(data_dir, trained), tmp_path / "stopped")
    assert 0 < launched.saved(tmp_path / "stopped") < 6
    monkeypatch.setattr(Classification, "scores", scores)
    train(frozen_config(data_dir, trained), tmp_path / "stopped")
    for kind in ("last", "best"):
        one, other = (restore.restore(folder, kind) for folder in (frozen, tmp_path / "stopped"))
        assert (one.step, one.fingerprint) == (other.step, other.fingerprint)
    metrics = [(folder / "metrics.jsonl").read_text() for folder in (frozen, tmp_path / "stopped")]
    assert metrics[0] == metrics[1]


def test_encoders_go_from_segmentation_to_classification_and_back_and_heads_do_not(trained, classifier, data_dir):
    for origin, get_config, head in (
        (trained, classification.get_config, "patch_head"),
        (classifier, dfc2020.get_config, "head"),
    ):
        config = small(get_config(f"model=unet,data=sample,init={origin},tiny=true"), data_dir)
        start, other = experiments.build(config).start(), restore.restore(origin)
        here = {path for path in start.parameters if path.startswith("encoders/")}
        assert here == {path for path in other.parameters if path.startswith("encoders/")} != set()
        for path in here:
            np.testing.assert_array_equal(start.parameters[path], other.parameters[path])
        rows = {row.path: row.how for row in start.arrival.rows}
        assert {rows[path] for path in here} == {"taken"}
        assert {how for path, how in rows.items() if path.startswith(f"{head}/")} == {"missing"}


def test_heads_of_other_classes_are_not_taken(classifier, data_dir, monkeypatch):
    config = small(classification.get_config(f"model=unet,data=sample,init={classifier},tiny=true"), data_dir)
    experiment = experiments.build(config)
    assert "taken" in {row.how for row in experiment.start().arrival.rows if row.path.startswith("patch_head/")}
    classes = [dataclasses.replace(c, name=f"new {c.name}") for c in experiment.card.legend.classes]
    legend = dataclasses.replace(experiment.card.legend, name="other", classes=tuple(classes))
    other = dataclasses.replace(experiment, card=dataclasses.replace(experiment.card, legend=legend))
    assert {row.how for row in other.start().arrival.rows if row.path.startswith("patch_head/")} == {"replaced"}


@pytest.mark.slow
@pytest.mark.parametrize("labels", LABELS)
def test_patches_of_arrays_are_learned(labels, tmp_path):
    """Squares of two of four colours: which there are, and of which there is more. A guess is right in a quarter."""
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 200, (4, 3))

    def drawn(count):
        masks = np.empty((count, 32, 32), np.uint8)
        for mask in masks:
            first, second = rng.choice(4, 2, replace=False)
            mask[:] = first
            mask[: rng.integers(6, 14)] = second
        images = colours[masks] + rng.normal(0, 12, (*masks.shape, 3))
        return images.clip(0, 255).astype(np.uint8), masks

    data = lcjax.data.from_arrays({"train": drawn(96), "test": drawn(64)}, classes=["a", "b", "c", "d"])
    config = lcjax.config("classification", data="rasters", model="unet", labels=labels, tiny=True, crop=0)
    config.update({"total": "150 steps", "evaluation_batch_size": 16})
    config.split.validation = ""
    lcjax.train(config, tmp_path / "run", data=data)
    scores = lcjax.evaluate(tmp_path / "run", "test", data=data)["scores"]
    assert scores["OA" if labels == "single" else "subset_accuracy"] > 0.8
    assert scores["F1_macro_4"] > 0.8 and scores["mAP_4"] > 0.9


def test_what_evaluate_writes_is_read_back(frozen):
    result = evaluate.evaluate(frozen, "test", "last")
    fields = evaluations.read_of_patches(frozen / "evaluation" / "test")
    assert fields["scores"] == result["scores"] and (fields["labels"], fields["least_share"]) == ("multi", 0.1)
    assert fields["patches"] + fields["ignored_patches"] == fields["records"] == 4
    assert not (frozen / "evaluation" / "test" / evaluations.SAMPLES).exists()
    assert (frozen / "evaluation" / "test" / "patches.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="a classification run has no classes to map"):
        restore.restore(frozen).probabilities()
