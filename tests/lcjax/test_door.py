"""The Python door: every example in its docstrings runs, it costs nothing to open, and it gives what the verbs give."""

import doctest
import inspect
import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest
import rasterio

import lcjax
from data_pipelines.schema.errors import InputError
from lcjax.evaluation.evaluate import evaluate
from lcjax.parallel import launcher


@pytest.mark.parametrize("name", ["config", "train", "load", "evaluate"])
def test_the_example_in_the_docstring_runs(name, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(logging.getLogger("lcjax"), "handlers", [])  # as a library it prints nothing
    workdir = tmp_path if name == "train" else trained
    (example,) = doctest.DocTestFinder().find(getattr(lcjax, name), name, globs={"workdir": workdir})
    assert example.examples
    said: list[str] = []
    failed, tried = doctest.DocTestRunner().run(example, out=said.append)
    assert (failed, tried) == (0, len(example.examples)), "".join(said)


def test_opening_it_imports_nothing_heavy_and_touches_no_device():
    code = (
        "import sys, time; start = time.perf_counter(); import lcjax; took = time.perf_counter() - start; "
        "lcjax.models, lcjax.data; print([m for m in ('jax', 'rasterio', 'tensorflow_datasets', 'flax') if m in "
        "sys.modules], set(lcjax.__all__) <= set(dir(lcjax)), took < 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] True True"
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        lcjax.trian  # noqa: B018


def test_every_name_has_a_docstring_with_arguments_and_errors():
    for name in ("config", "train", "load", "evaluate"):
        text = inspect.getdoc(getattr(lcjax, name))
        assert all(part in text for part in ("Examples:", "Args:", "Raises:")), name


@pytest.fixture(scope="module")
def arrays():
    """Images whose first band tells the class, 40 px; the masks leave out a corner."""
    generator = np.random.default_rng(0)
    masks = generator.integers(0, 2, (12, 5, 5)).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    images = generator.integers(0, 60, (12, 40, 40, 3)).astype(np.uint8)
    images[..., 0] += 150 * masks
    masks[:, :4, :4] = 255
    return images, masks


def data_of(images, masks):
    splits = {"train": (images[:8], masks[:8]), "test": (images[8:], masks[8:])}
    return lcjax.data.from_arrays(splits, classes=["dark", "bright"], bands=["red", "green", "blue"])


def config_of(total: str):
    return lcjax.config(
        "rasters", tiny=True, validation="none", total=total, crop=32, log_every="1 steps", save_every="10 steps",
        **{"model.base": 4, "optimizer.warmup": "0 steps"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(arrays, tmp_path_factory):
    """(result, workdir) of a training on arrays."""
    workdir = tmp_path_factory.mktemp("door") / "run"
    return lcjax.train(config_of("40 steps"), str(workdir), data=data_of(*arrays)), workdir


def test_arrays_are_trained_on_scored_and_asked(run, arrays):
    result, workdir = run
    assert (result.step, result.ended, result.scores) == (40, "all steps done", {})
    losses = [row["loss"] for row in result.history]
    assert len(losses) == 40 and losses[-1] < 0.6 * losses[0]
    found = lcjax.evaluate(workdir, data=data_of(*arrays))
    assert found["class_set"] == ["dark", "bright"] and found["dataset"] == "arrays in memory"
    assert found["pixels"] == 4 * (40 * 40 - 16)  # every labelled pixel once
    net = lcjax.load(workdir)
    assert net.classes == ["dark", "bright"] and net.step == 40
    images, masks = arrays
    predicted = np.stack([net.predict(image) for image in images[8:]])
    labelled = masks[8:] != 255
    assert np.mean(predicted[labelled] == masks[8:][labelled]) == pytest.approx(found["scores"]["OA"], abs=1e-6)
    assert found["scores"]["OA"] > 0.9
    probabilities = net.probabilities(images[8])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(-1), predicted[0])


def test_it_goes_on_in_the_same_bits_and_refuses_other_arrays(run, arrays, tmp_path, monkeypatch):
    whole, workdir = run
    asked = iter(range(100))
    with monkeypatch.context() as patch:
        patch.setattr("lcjax.parallel.multihost.StopRequests.asked", lambda self, step: next(asked) == 7)
        with pytest.raises(launcher.Stopped):
            lcjax.train(config_of("40 steps"), tmp_path / "run", data=data_of(*arrays))
    images, masks = arrays
    other = images.copy()
    other[0, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="train split 'train' held other records"):
        lcjax.train(config_of("40 steps"), tmp_path / "run", data=data_of(other, masks))
    result = lcjax.train(config_of("40 steps"), tmp_path / "run", data=data_of(*arrays))
    assert result.history == whole.history
    ours, theirs = (lcjax.load(folder)._trained.parameters for folder in (tmp_path / "run", workdir))
    assert all(np.array_equal(ours[path], theirs[path]) for path in theirs)


def test_data_that_the_config_tells_otherwise_of_are_refused(arrays, data_dir, tmp_path):
    config = config_of("2 steps")
    config.bands = "rgb"
    with pytest.raises(InputError, match="arrays have the bands and classes that they were given"):
        lcjax.train(config, tmp_path / "run", data=data_of(*arrays))
    config = lcjax.config("dfc2020", data="sample", tiny=True, data_dir=str(data_dir))
    with pytest.raises(InputError, match=r"it has the bands .*'B4', 'B3', 'B2'.*, and the config names .*'B8A'"):
        lcjax.train(config, tmp_path / "run", data=lcjax.data.open(data_dir, "sample", bands="rgb"))
    assert not (tmp_path / "run").exists()


def test_what_leaves_nothing_to_learn_or_score_is_refused_before_the_first_step(arrays, tmp_path):
    images, masks = arrays
    none = np.full_like(masks, 255)
    config = config_of("2 steps")
    for splits, told in (
        ({"train": (images, None), "test": (images, masks)}, r"split 'train' \(train\) of arrays .*none of its pixels"),
        (
            {"train": (images, none), "test": (images, masks)},
            "nothing to learn from, for none of its pixels has a label",
        ),
        (
            {"train": (images, masks), "validation": (images, none)},
            r"\(validation\) of arrays in memory: nothing to score",
        ),
    ):
        if "validation" in splits:
            config.split = {"train": "train", "validation": "validation"}
        with pytest.raises(InputError, match=told):
            lcjax.train(config, tmp_path / "run", data=lcjax.data.from_arrays(splits, classes=["dark", "bright"]))
        assert not (tmp_path / "run").exists()
    empty = lcjax.data.from_arrays({"train": (images * 0, masks)}, classes=["dark", "bright"], nodata=0)
    config = config_of("2 steps")
    config.split, config.scaling = {"train": "train"}, "whitened"
    with pytest.raises(InputError, match="no pixel of image holds data"):
        lcjax.train(config, tmp_path / "run", data=empty)


def test_verbs_say_that_the_data_live_in_python(run, capsys):
    with pytest.raises(InputError, match="its data live in Python"):
        evaluate(run[1], "test", "best")
    with pytest.raises(InputError, match="--split=validation: expected one of test, train"):
        lcjax.evaluate(run[1], "validation")


def test_a_map_is_what_predict_says_and_what_the_verb_writes(trained, sample, tmp_path, command):
    scenes = {sensor: tmp_path / f"scene_{sensor}.tif" for sensor in ("s1", "s2")}
    for number, path in enumerate(scenes.values()):  # each with a hole of its own
        shutil.copy(sample / "scenes" / path.name, path)
        with rasterio.open(path, "r+") as file:
            rows = slice(40 + 10 * number, 70 + 10 * number)
            values = file.read()
            values[:, rows, 40:90] = 0
            file.write(values)
    net = lcjax.load(trained)
    path = net.map(scenes, tmp_path / "map.tif")
    with rasterio.open(path) as file:
        ids = file.read(1)
    stored = {}
    for sensor in net.card.sensors:
        with rasterio.open(scenes[sensor.name]) as file:
            values = np.moveaxis(file.read(), 0, -1)
        stored[sensor.name] = np.rint(values / sensor.scaling.unit).astype(sensor.dtype)
    assert (ids[40:80, 40:90] == 255).all() and (ids != 255).any()
    np.testing.assert_array_equal(net.predict(stored), ids)
    text = ",".join(f"{name}={file}" for name, file in scenes.items())
    code, _, told = command("predict", f"--workdir={trained}", f"--scene={text}", f"--output={tmp_path}/again.tif")
    assert code == 0, told
    with rasterio.open(tmp_path / "again.tif") as file:
        np.testing.assert_array_equal(file.read(1), ids)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((8, 8, 4), np.uint8), r"shape \(8, 8, 4\); expected \(H, W, 3\), with the bands red, green, blue"),
        (np.zeros((8, 8), np.uint8), r"expected \(H, W, 3\)"),
        (np.zeros((8, 8, 3), np.float64), "numbers of type float64; expected uint8"),
        ({"s2": np.zeros((8, 8, 3), np.uint8)}, "images of s2; the network takes image"),
    ],
)
def test_what_does_not_fit_the_card_is_refused(run, image, says):
    with pytest.raises(InputError, match=says):
        lcjax.load(run[1]).predict(image)
