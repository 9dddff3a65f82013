"""The study of transfer: its arms differ in what they say they do, its runs go on, its tables tell what was found."""

import importlib
import json
import math
import pathlib
import types

import numpy as np
import pytest
from scipy import stats

from data_pipelines.schema.errors import InputError
from lcjax.configs import registry

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS / "studies"))
    return importlib.import_module("transfer")


@pytest.fixture
def options(tmp_path):
    return types.SimpleNamespace(source=tmp_path / "dubai", output=tmp_path / "out", minutes=3.0, steps=7, jobs=2)


@pytest.fixture
def calls(study, monkeypatch):
    """Commands that a study would have run."""
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(study, "run", lambda *command: found.append(command))
    return found


def test_arms_differ_in_what_they_are_called_by(study, options, calls, tmp_path):
    """What each arm hands to `lcjax`, and what the configs make of it."""
    configs = {}
    for name, arm in study.ARMS.items():
        if name == "forest":
            continue
        with pytest.raises(InputError, match=r"attempts\.jsonl"):  # there are no minutes of what did not run
            study.network(options, tmp_path / name, arm, 8, 1)
        train = next(call for call in calls[::-1] if "train" in call)
        (text,) = (part.removeprefix("--config=") for part in train if part.startswith("--config="))
        configs[name] = registry.parse(text).to_dict()
        assert "--config.total=7 steps" in train and "--config.seed=1" in train
        assert set(arm.fields) <= set(train)
        assert configs[name]["dataset"] == "rasters/dubai_without_8" and configs[name]["split"]["validation"] == ""
    said = {name: (config["init"], config["freeze"]) for name, config in configs.items() if "augm" not in name}
    assert said == {
        "unet_laptop": ("random", ""),
        "lite0_random": ("random", ""),
        "lite0_frozen": ("imagenet", "encoder"),
        "lite0_finetuned": ("imagenet", ""),
        "unet_whole": ("random", ""),
        "lite0_frozen_whole": ("imagenet", "encoder"),
    }
    random, tuned, frozen = (configs[f"lite0_{name}"] for name in ("random", "finetuned", "frozen"))
    assert study.SAME_NUMBERS.endswith(f"={tuned['scaling']}")
    for config in (random, tuned, frozen):
        config |= {"init": None, "freeze": None, "scaling": None}
        config["optimizer"] = config["optimizer"] | {"layer_decay": None}
    assert random == tuned == frozen


def test_a_tile_is_in_no_split_but_its_own(study, options, calls):
    for tile in study.TILES:
        for kind, suffix in (("images", "jpg"), ("masks", "png")):
            folder = options.source / f"tile_{tile}" / kind
            folder.mkdir(parents=True)
            (folder / f"part.{suffix}").touch()
    study.prepare(options, 6)
    (_, first, *rows) = ["", *(options.output / "source" / "without_6" / "rasters.csv").read_text().splitlines()]
    assert first == "image,mask,split,group"
    assert {row.split(",")[3]: row.split(",")[2] for row in rows} == {
        f"tile_{tile}": "test" if tile == 6 else "train" for tile in study.TILES
    }
    assert f"--dataset={study.name_of(6)}" in calls[0]
    whole = options.output / "data" / study.name_of(6) / "1.0.0"
    whole.with_name("1.0.0.incomplete").mkdir(parents=True)  # as a kill leaves it
    study.prepare(options, 6)
    assert len(calls) == 2 and calls[0] == calls[1]
    whole.mkdir()
    (whole / "dataset_info.json").touch()
    study.prepare(options, 6)
    assert len(calls) == 2  # it is there already


def test_what_has_run_does_not_run_again(study, options, monkeypatch):
    trained = []

    def forest(options, folder, tile, seed):
        trained.append(tile)
        path = study.metrics_of("forest", folder)
        path.parent.mkdir(parents=True)
        scores = {"mIoU_5": 0.5, "OA": 0.75} | {f"IoU/{name}": 0.5 for name in study.CLASSES}
        path.write_text(json.dumps({"scores": scores}))
        return {"steps": 0, "minutes": 2.0}

    monkeypatch.setattr(study, "forest", forest)
    first, again = (study.row(options, ("forest", 3, 1)) for _ in range(2))
    assert first == again and trained == [3]
    assert study.sheet([first]).splitlines()[0].startswith("arm,tile,seed,steps,minutes,mIoU_5,OA,IoU/building,")
    ended = options.output / "runs" / "lite0_random_8_0" / "row.json"
    ended.parent.mkdir(parents=True)
    ended.write_text(json.dumps(first | {"arm": "lite0_random", "tile": 8, "seed": 0, "steps": 500}))
    assert [one["arm"] for one in study.rows_of(options.output)] == ["forest", "lite0_random"]
    with pytest.raises(SystemExit, match=r"a run of 500 steps, and 7 are asked for; take another --output"):
        study.row(options, ("lite0_random", 8, 0))
    options.arms = ("forest", "lite0_random")
    keys = [("forest", 3, 1), ("forest", 8, 1), ("lite0_random", 8, 1)]
    told = study.plan(options, keys).splitlines()
    assert told[0].split()[:3] == ["forest", "1", "runs"] and told[1].split()[3:5] == ["of", "7"]


def test_the_rows_that_are_kept_are_those_of_the_page(study, tmp_path, monkeypatch, capsys):
    kept = BENCHMARKS / "studies" / "transfer.jsonl"
    arguments = ["transfer.py", "--source=none", f"--output={tmp_path}", "--seeds=0", "--plan"]
    monkeypatch.setattr("sys.argv", [*arguments, f"--rows={kept}"])
    study.main()
    assert capsys.readouterr().out.endswith(
        "0.0 hours in all, 2 at a time\n".replace("2", str(len(study.cores.known())))
    )
    page = (BENCHMARKS.parent / "docs" / "transfer.md").read_text()
    table = study.table(study.rows_of(tmp_path))
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(lines) > 10 and not [line for line in lines if line not in page]
    monkeypatch.setattr("sys.argv", [*arguments, f"--rows={tmp_path / 'none'}"])
    with pytest.raises(SystemExit, match=r"none: no such file; expected one such as benchmarks/studies"):
        study.main()


def rows_of(study, values):
    return [
        {"arm": arm, "tile": tile, "seed": seed, "steps": 10, "minutes": 3.0, "mIoU_5": value}
        for arm, by_tile in values.items()
        for tile, by_seed in by_tile.items()
        for seed, value in enumerate(by_seed)
    ]


def test_tables_are_of_tiles_and_not_of_seeds(study):
    rows = rows_of(
        study,
        {
            "forest": {1: [0.5, 0.5], 3: [0.4, 0.4], 8: [0.6, 0.6]},
            "lite0_finetuned_augmented": {1: [0.5, 0.7], 3: [0.5, 0.5], 8: [0.6, 0.7], 7: [0.9, 0.9]},
        },
    )
    text = study.table(rows)
    assert "| 0.600 | 0.500 |  | 0.900 | 0.650 | 0.662 | 0.170 | 0.053 |" in text
    low, high = stats.ttest_rel([0.6, 0.5, 0.65], [0.5, 0.4, 0.6]).confidence_interval(0.95)
    assert f"| +0.083 | {low:+.3f} to {high:+.3f} | 3 | 3 |" in text
    assert "| random forest | 10 | 6 | 0.500 |" in text
    assert "UNet" not in text  # it has no rows
    assert not any(map(math.isfinite, study.interval([0.1])[1:]))


def test_a_seed_that_one_arm_lacks_is_in_no_difference(study):
    rows = rows_of(study, {"lite0_frozen": {1: [0.5, 0.9], 3: [0.6]}, "lite0_random": {1: [0.4], 3: [0.4, 0.1]}})
    np.testing.assert_allclose(study.differences_of(rows, "lite0_frozen", "lite0_random"), [0.1, 0.2])
    assert "| Lite0, ImageNet, frozen | Lite0, random | +0.150 |" in study.table(rows)


def test_what_is_chosen_for_a_tile_is_not_chosen_on_it(study):
    values = {
        "forest": {tile: [0.9, 0.9] for tile in study.TILES},  # is no network
        "lite0_random": {1: [0.5, 0.5], 3: [0.5, 0.5], 6: [0.5, 0.5], 7: [0.5, 0.5], 8: [0.5, 0.5]},
        "lite0_frozen": {1: [0.9, 0.9], 3: [0.45, 0.45], 6: [0.45, 0.45], 7: [0.45, 0.45], 8: [0.4, 0.4]},
        "lite0_finetuned": {1: [0.9, 0.9]},  # has not all tiles
    }
    found = study.by_tile(list(study.chosen_of(rows_of(study, values))), study.CHOSEN)
    # On tile 1 frozen is best by far, and would be chosen for it, and on the mean over all.
    assert found == {1: 0.5, 3: 0.45, 6: 0.45, 7: 0.45, 8: 0.4}
    text = study.table(rows_of(study, values))
    assert "| the network that is best on the four other tiles | 10 | 10 | 0.500 | 0.450 | 0.450 |" in text
    assert not list(study.chosen_of(rows_of(study, {"lite0_finetuned": values["lite0_finetuned"]})))


def test_windows_add_mean_and_deviation_of_each_band(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    pixels = importlib.import_module("pixel_baseline")
    image = np.random.default_rng(0).integers(0, 255, (9, 7, 2)).astype(np.uint8)
    found = pixels.features({"image": image}, [types.SimpleNamespace(name="image")], (3, 5))
    assert found.shape == (63, 2 + 2 * 2 * 2) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :2], image.reshape(-1, 2))
    around = image[2:7, 1:6].astype(float).reshape(-1, 2)  # five pixels square about row 4, column 3
    np.testing.assert_allclose(found[4 * 7 + 3, 6:], [*around.mean(0), *around.std(0)], rtol=1e-4)
