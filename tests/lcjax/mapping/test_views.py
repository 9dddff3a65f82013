"""One stored data set, read in other ways: some bands, merged classes, parts of a partition, other scalings."""

import dataclasses
import json
import multiprocessing
import pathlib

import numpy as np
import pytest
import rasterio
from networks import small

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import pipeline
from data_pipelines.schema import typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend
from data_pipelines.schema.spec import Partition
from lcjax.configs import dfc2020
from lcjax.engine import restore
from lcjax.evaluation import evaluate
from lcjax.ops import augment
from lcjax.training.run import train

EDGE = 256
# Vegetation takes in 2, 4 and 6; 5 and 9 are left out beside what DFC2020 leaves out.
BROAD = Legend(
    "broad",
    (LandClass(1, "Vegetation", "#009900"), LandClass(7, "Built", "#a5a5a5"), LandClass(10, "Water", "#1c0dff")),
    ignored=(0, 3, 5, 8, 9),
    merges=((2, 1), (4, 1), (6, 1)),
)
WARNING = "neighbours stand on both sides: scores are too high"
NUMBERS = {"train": (0, 2, 3, 5, 7), "validation": (1, 4, 6)}  # of validation tiles


def name(number: int, part: str = "validation") -> str:
    return f"ROIs0000_{part}_0_p{number}"


def pixels(sample: pathlib.Path, numbers, sensor: str, part: str = "validation") -> np.ndarray:
    """The bands of some tiles, as their GeoTIFFs hold them: (bands, pixels)."""
    folder, tiles = sample / f"ROIs0000_{part}" / f"{sensor}_0", []
    for number in numbers:
        with rasterio.open(folder / f"ROIs0000_{part}_{sensor}_0_p{number}.tif") as file:
            tiles.append(file.read().reshape(file.count, -1))
    return np.concatenate(tiles, 1)


def counts(sample: pathlib.Path, numbers, part: str = "validation") -> list[int]:
    """Labelled pixels of the three classes of `BROAD`."""
    label = pixels(sample, numbers, "dfc", part)
    return [int(np.isin(label, ids).sum()) for ids in ([1, 2, 4, 6], [7], [10])]


@pytest.fixture(scope="module")
def views(sample, tmp_path_factory) -> pathlib.Path:
    """The labelled tiles of the sample, with a second legend and a partition."""

    def partitions(records):
        parts = {part: [name(number) for number in numbers] for part, numbers in NUMBERS.items()}
        return {"mixed": Partition(parts | {"test": [record.id for record in records["test"]]}, WARNING)}

    folder = tmp_path_factory.mktemp("views")
    spec, index = datasets.DATASETS["sample"], datasets.DATASETS["dfc2020"].index
    spec = dataclasses.replace(spec, legends=(*spec.legends, BROAD), index=index, partitions=partitions)
    pipeline.write(spec, sample, folder)
    return folder


def test_chosen_bands_merged_classes_and_parts_from_training_to_scores(views, sample, tmp_path, capsys):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), views, steps=4)
    config.legend, config.bands = "broad", "B8+B4+VV"
    config.scaling, config.class_weights = "standardised", 1.0
    config.workers = 1
    config.split = {role: f"mixed/{role}" for role in ("train", "validation", "test")}
    train(config, tmp_path / "run")
    assert not multiprocessing.active_children()
    assert f"warning: mixed: {WARNING}\n" in capsys.readouterr().out

    card = json.loads((tmp_path / "run" / "card.json").read_text())
    bands = {sensor["name"]: sensor["bands"] for sensor in card["sensors"]}
    assert bands == {"s1": ["VV"], "s2": ["B8", "B4"]}
    assert typed_json.convert(card["legend"], Legend, "card", "") == BROAD
    assert card["splits"]["train"]["records"] == 5 and card["splits"]["train"]["spec"] == "mixed/train"
    assert all(card["splits"][role]["warnings"] == [f"mixed: {WARNING}"] for role in config.split)

    stored = {
        "s1": np.rint(pixels(sample, NUMBERS["train"], "s1")[[0]].astype(np.float64) * 100) / 100,
        "s2": pixels(sample, NUMBERS["train"], "s2")[[7, 3]].astype(np.float64),
    }
    for sensor in card["sensors"]:
        values, scaling = stored[sensor["name"]], sensor["scaling"]
        expected = {"low": values.min(1), "high": values.max(1), "offset": values.mean(1), "scale": values.std(1)}
        for key, numbers in expected.items():
            np.testing.assert_allclose(scaling[key], numbers, rtol=1e-9, err_msg=f"{sensor['name']} {key}")

    trained = restore.restore(tmp_path / "run", "best")
    of_class = np.array(counts(sample, NUMBERS["train"]))
    assert (of_class > 0).all()
    np.testing.assert_allclose(trained.task.weights, of_class.sum() / (3 * of_class), rtol=1e-6)

    result = evaluate.evaluate(tmp_path / "run", "test", "best")
    written = json.loads((tmp_path / "run" / "evaluation" / "test" / "metrics.json").read_text())
    assert written == json.loads(json.dumps(result))
    assert written["class_set"] == ["Vegetation", "Built", "Water"] and written["class_ids"] == [1, 7, 10]
    assert written["split"]["warnings"] == [f"mixed: {WARNING}"]
    expected = counts(sample, range(4), "test")
    assert np.array(written["confusion"]).sum(1).tolist() == expected
    assert written["pixels"] == sum(expected) and written["ignored_pixels"] == 4 * EDGE**2 - sum(expected) > 0
    assert list(written["distribution"]["test"].values()) == expected
    assert not multiprocessing.active_children()
    with np.load(tmp_path / "run" / "evaluation" / "test" / "samples.npz", allow_pickle=False) as samples:
        assert set(np.unique(samples["prediction"])) <= {1, 7, 10}


def test_scaling_by_maximum(views, tmp_path):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), views, steps=2)
    config.bands, config.scaling, config.split.validation = "s2-10m", "by_maximum", ""
    config.parallel.data = 1
    train(config, tmp_path / "run")
    radar, optical = restore.restore(tmp_path / "run", "last").card.sensors
    assert (radar.bands, optical.bands) == (("VV", "VH"), ("B2", "B3", "B4", "B8"))
    generator = np.random.default_rng(0)
    s1 = generator.integers(-3000, -500, (2, 8, 8, 2)).astype(np.int16)
    s2 = generator.integers(0, [4000, 9000, 500, 12000], (2, 8, 8, 4)).astype(np.uint16)
    for sensor, stored, seen in ((radar, s1, (s1 / 100).clip(-25, 0) + 25), (optical, s2, s2.clip(0, 10_000))):
        expected = seen / (seen.max((1, 2), keepdims=True) + 1e-5)
        np.testing.assert_allclose(augment.scale(stored, sensor.scaling), expected, atol=1e-5)


def test_an_unknown_scaling_is_told_with_those_there_are(views, tmp_path):
    config = small(dfc2020.get_config("model=unet,data=sample,tiny=true"), views)
    config.scaling = "standardized"
    with pytest.raises(InputError) as caught:
        train(config, tmp_path / "run")
    known = "expected sensor, standardised, whitened, range, by_maximum, imagenet or inception"
    assert str(caught.value).startswith(f"config.scaling='standardized': {known}")
    assert not (tmp_path / "run").exists()
