"""The study of real pairs: who is held out, what is chosen and on what, what has run, and the published layout."""

import importlib
import json
import os
import pathlib
import re
import threading
import time
import types

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from data_pipelines.geo import raster_io
from lcjax.configs import registry

FOLDER = pathlib.Path(__file__).parent.parent / "benchmarks" / "studies"
PLACES = {f"{number:04}": f"g{number // 7}" for number in range(70)} | {
    f"albania_{k}": "events/albania" for k in range(5)
}


@pytest.fixture
def study(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("ombria")


@pytest.fixture
def options(tmp_path):
    return types.SimpleNamespace(
        output=tmp_path, seeds=[0, 1], counts=[10, 25], arms=["scratch", "unet_scratch"], trial=0, jobs=2
    )


@pytest.fixture
def commands(study, monkeypatch):
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(study, "run", lambda *command: found.append(command))
    return found


def test_no_group_is_on_two_sides(study):
    parts = study.sources.parts_of(PLACES)
    assert {split: len(groups) for split, groups in parts.items()} == {"train": 8, "held_out": 2, "events": 1}
    everything = [place for groups in parts.values() for members in groups.values() for place in members]
    assert sorted(everything) == sorted(PLACES)
    scored = []
    for fold in range(study.FOLDS):
        learned, held = study.sources.fold_of(parts["train"], fold)
        assert not {PLACES[place] for place in learned} & {PLACES[place] for place in held}
        assert sorted(learned + held) == sorted(place for members in parts["train"].values() for place in members)
        scored += held
    assert sorted(scored) == sorted(learned + held)  # each place in one fold
    assert study.sources.fold_of(parts["train"], -1)[1] == []


def test_labels_are_drawn_group_by_group_and_fewer_are_among_more(study):
    pool = [place for place in PLACES if not place.startswith("albania")]
    few, more, every = (study.sources.drawn(pool, PLACES, count, 3) for count in (10, 25, 0))
    assert more[:10] == few and every[:25] == more and sorted(every) == sorted(pool)
    assert len({PLACES[place] for place in few}) == 10
    assert study.sources.drawn(pool, PLACES, 10, 4) != few


def test_sensors_are_stacked_and_palettes_are_what_they_draw(study, tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for part in ("s1_before", "s1_after", "s2_before", "s2_after", "mask"):
        (tmp_path / part).mkdir()
        values = np.stack([grey] * 3, -1) if part.startswith("s2") else grey
        Image.fromarray(values).save(tmp_path / part / "0001.png")
    turned = Image.fromarray(255 - grey, "P")  # number k is drawn as 255 - k
    turned.putpalette([255 - k for k in range(256) for _ in range(3)])
    turned.save(tmp_path / "s1_after" / "0001.png")
    flooded = Image.fromarray((grey >= 100).astype(np.uint8), "P")
    flooded.putpalette([255, 255, 255, 0, 0, 0])  # white, the flood, is number 0
    flooded.save(tmp_path / "mask" / "0001.png")
    np.testing.assert_array_equal(study.sources.stacked(tmp_path, "0001", "s1"), np.stack([grey, grey]))
    assert study.sources.stacked(tmp_path, "0001", "s2").shape == (6, 16, 16)
    study.sources.write(tmp_path, tmp_path / "out", {"0001": "g0"})
    with raster_io.anywhere(), raster_io.opened(tmp_path / "out" / "mask" / "0001.tif") as file:
        np.testing.assert_array_equal(file.read(1), grey < 100)
    with raster_io.anywhere(), raster_io.opened(tmp_path / "out" / "s2" / "0001.tif") as file:
        assert file.descriptions[:4] == ("B11_before", "B8_before", "B3_before", "B11_after")


@pytest.mark.parametrize("arm", ["scratch", "finetuned", "frozen", "beside", "unet_finetuned", "resnet18_scratch"])
def test_arms_are_what_the_configs_make_of_them(study, options, commands, arm):
    one = study.Run(arm, 25, 1, -1, study.DEFAULTS)
    study.network(options, one, "list:some.txt", "held_out+events", "runs/before")
    train, evaluate = commands
    assert evaluate[2] == "evaluate"
    (text,) = (part.removeprefix("--config=") for part in train if part.startswith("--config="))
    config = registry.parse(text)
    assert (config.dataset, config.split.validation) == (study.NAME, "")
    assert config.init == ("runs/before" if study.ARMS[arm].is_pretrained else "random")
    assert config.freeze == ("encoder" if arm in ("frozen", "beside") else "")
    assert any("layer_decay" in part for part in train) == (arm in ("finetuned", "unet_finetuned"))
    assert "--config.scaling=sensor" in train and "--config.split.train=list:some.txt" in train


def test_pretraining_sees_no_label_and_no_place_that_is_scored(study, options, commands, monkeypatch):
    monkeypatch.setattr(study, "seconds_of", lambda folder: 60.0)
    learned, scored = study.sources.fold_of(study.sources.parts_of(PLACES)["train"], 1)
    one = study.Run("finetuned", 25, 0, 1, study.DEFAULTS)
    (options.output / "runs" / one.pretrained).mkdir(parents=True)
    assert study.pretrain(options, one, learned) == study.pretrain(options, one, learned)
    (train,) = commands  # once
    text = next(part.removeprefix("--config=") for part in train if part.startswith("--config="))
    assert registry.parse(text).task == "contrastive"
    (listed,) = (part.partition("=list:")[2] for part in train if "=list:" in part)
    ids = pathlib.Path(listed).read_text().split()
    assert len(ids) == len(learned) and not [place for place in scored if f"s1/{place}.tif_r0_c0" in ids]


def test_choices_are_made_once_before_any_test_and_on_folds_alone(study, options, monkeypatch):
    asked = []

    def row(options, one, places):
        asked.append(one)
        hits = (90, 80, 70)[one.fold] if one.values["steps"] == 150 else 50
        time.sleep(0.01 * (2 - one.fold))  # the last ends first
        return {"fold": one.fold, "values": one.values, "counts": {"g1": [[100, 10], [100 - hits, hits]]}}

    monkeypatch.setattr(study, "row", row)
    values = study.choose(options, PLACES)
    assert values == study.DEFAULTS | {"steps": 150}  # of equals the first
    assert {one.fold for one in asked} == {0, 1, 2} and {one.count for one in asked} == {study.FOLD_LABELS}
    assert (
        "| steps | scratch | 150 | 0.818, 0.727, 0.636 | 0.727 | chosen |"
        in (options.output / "choices.md").read_text()
    )
    asked.clear()
    assert study.choose(options, PLACES) == values and not asked


def test_more_steps_are_compared_on_the_folds_alone(study, options, monkeypatch):
    asked = []

    def row(options, one, places):
        asked.append(one)
        hits = 90 if (one.arm, one.values["steps"]) == ("frozen", 900) else 50 + one.fold
        about = {"arm": one.arm, "fold": one.fold, "values": one.values}
        return about | {"counts": {"g1": [[100, 0], [100 - hits, hits]]}}

    monkeypatch.setattr(study, "row", row)
    options.longer = 900
    study.write_longer(options, study.DEFAULTS, PLACES)
    assert {one.fold for one in asked} == {0, 1, 2} and {one.arm for one in asked} == {"scratch", "finetuned", "frozen"}
    lines = (options.output / "longer.md").read_text().splitlines()
    assert "| Swin, two streams, scratch | 300 | 0.500, 0.510, 0.520 | 0.510 |" in lines
    assert "| Swin, two streams, frozen | 900 | 0.900, 0.900, 0.900 | 0.900 |" in lines


def test_what_has_run_does_not_run_again_and_other_values_are_refused(study, options, monkeypatch):
    ran = []
    monkeypatch.setattr(study, "network", lambda *arguments: ran.append(arguments))
    monkeypatch.setattr(study, "counts_of", lambda folder: {"g2": np.array([[5, 1], [2, 8]])})
    one = study.Run("scratch", 10, 0, -1, study.DEFAULTS)
    (options.output / "runs" / one.name).mkdir(parents=True)
    assert study.row(options, one, PLACES) == study.row(options, one, PLACES)
    assert len(ran) == 1 and ran[0][3] == "held_out+events"
    with pytest.raises(SystemExit, match="take another --output"):
        study.row(options, study.Run("scratch", 10, 0, -1, study.DEFAULTS | {"rate": 1.0}), PLACES)
    assert [one.name for one in study.tests_of(options, study.DEFAULTS)][:3] == [
        "test_scratch_10_0", "test_scratch_25_0", "test_unet_scratch_25_0",
    ]  # fmt: skip
    assert "network" in study.plan(options) and "0.0 minutes each" not in study.plan(options).splitlines()[0]
    options.trial = 20
    assert {one.fold for one in study.tests_of(options, study.DEFAULTS)} == {0}  # looks at no test


def test_tables_tell_iou_by_part_and_differences_by_seed(study):
    tables = study.tables
    counts = np.array([[70, 10], [5, 15]])
    assert tables.flood_iou(counts) == 15 / 30 and tables.mean_iou(counts) == (15 / 30 + 70 / 85) / 2
    better = {"g2": [[80, 0], [0, 20]], "events/albania": [[70, 10], [5, 15]], "events/france": [[75, 5], [5, 15]]}
    worse = {"g2": [[70, 10], [5, 15]], "events/albania": [[70, 10], [10, 10]]}
    rows = [
        {"arm": arm, "places": 25, "seed": seed, "counts": made}
        for arm, made in (("finetuned", better), ("scratch", worse))
        for seed in (0, 1)
    ]
    found = tables.scores_of(rows, ["g2"])
    assert [one["part"] for one in found[:4]] == ["held_out", "albania", "france", "events"]
    assert found[3]["flood_IoU"] == 30 / 55  # pooled, not the mean of both
    titles = {name: arm.title for name, arm in study.ARMS.items()}
    text = tables.table(found, titles)
    assert "| Swin, two streams, fine-tuned | Swin, two streams, scratch | held-out groups | +0.500 ± 0.000 |" in text
    assert "| Swin, two streams, fine-tuned | 2 | 0.545 ± 0.000 |" in text  # 30 / 55
    spread = [one | {"flood_IoU": one["flood_IoU"] + 0.1 * one["seed"]} for one in found]
    low, high = stats.ttest_1samp([0.5, 0.6], 0).confidence_interval(0.95)
    assert f"| Swin, two streams, scratch | 2 | 0.550 ± {(high - low) / 2:.3f} |" in tables.table(spread, titles)
    assert tables.sheet(found).startswith("arm,places,seed,part,flood_IoU,mIoU\n")
    assert tables.draw(found, titles).startswith(b"\x89PNG")


def test_a_trial_leaves_the_tables_of_the_study_and_takes_no_row_of_other_values(study, options):
    def keep(one, counts):
        folder = options.output / "runs" / one.name
        folder.mkdir(parents=True)
        told = {"arm": one.arm, "places": one.count, "seed": one.seed, "values": dict(one.values)}
        (folder / "row.json").write_text(json.dumps(told | {"counts": {"g2": counts}}))

    short = study.DEFAULTS | {"steps": 20}
    keep(study.Run("scratch", 10, 0, -1, study.DEFAULTS), [[70, 10], [5, 15]])
    keep(study.Run("scratch", 10, 0, 0, study.DEFAULTS), [[9, 1], [1, 9]])  # of the choices
    keep(study.Run("scratch", 10, 0, 0, short), [[80, 0], [0, 20]])
    study.write_tables(options, study.DEFAULTS, ["g2"])
    of_study = {path.name: path.read_bytes() for path in options.output.glob("ombria.*")}
    assert sorted(of_study) == ["ombria.csv", "ombria.jsonl", "ombria.md", "ombria.png"]
    options.trial = 20
    study.write_tables(options, short, ["g2"])
    assert of_study == {path.name: path.read_bytes() for path in options.output.glob("ombria.*")}
    lines = (options.output / "trial.csv").read_text().splitlines()
    assert len(lines) == 2 and lines[1].startswith("scratch,10,0,held_out,1")
    assert {path.name for path in options.output.glob("trial.*")} == {
        "trial.csv", "trial.jsonl", "trial.md", "trial.png",
    }  # fmt: skip


def test_a_file_of_another_size_is_named_with_its_size(study, tmp_path):
    layout = importlib.import_module("ombria_layout")
    files = {part: tmp_path / f"{part}.png" for part in ("s1_before", "mask")}
    for path, size in zip(files.values(), ((256, 256), (255, 200)), strict=True):
        Image.new("L", size).save(path)
    with pytest.raises(SystemExit, match=r"mask\.png: 255 x 200 pixels; expected 256 x 256$"):
        layout.write({"0001": files}, tmp_path / "out")


def test_the_published_layout_is_found_and_neighbours_are_of_one_group(study, tmp_path):
    layout = importlib.import_module("ombria_layout")
    for sensor in ("S1", "S2"):
        for date in ("before", "after", "mask"):
            for number, part in ((1, "train"), (2, "test"), (3, "train")):
                path = tmp_path / f"Ombria{sensor}/{part}/{date.upper()}/{sensor}_{date}_{number:04}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    (tmp_path / "OmbriaS2/train/AFTER/S2_after_0003.png").unlink()
    for date, name in (("BEFORE", "imbefore"), ("AFTER", "imafter")):
        for sensor in ("Sentinel1", "Sentinel2"):
            (tmp_path / f"2021/FRANCE/{sensor}/{date}").mkdir(parents=True)
            (tmp_path / f"2021/FRANCE/{sensor}/{date}/{name}_7.png").touch()
    (tmp_path / "2021/FRANCE/Sentinel2/MASK").mkdir(parents=True)
    (tmp_path / "2021/FRANCE/Sentinel2/MASK/gt_7.png").touch()
    files = layout.find(tmp_path)
    assert list(files) == ["0001", "0002", "france_7"]  # 3 lacks an image
    assert files["france_7"]["mask"].parts[-3] == "Sentinel2"
    ground = np.random.default_rng(0).normal(100, 40, (64, 96, 3)).cumsum(1).clip(-1e6, 1e6)
    tiles = {"0001": ground[:32, :32], "0002": ground[:32, 32:64], "0004": ground[:32, 64:]}
    tiles = {name: np.concatenate([tile, tile], -1) for name, tile in tiles.items()}
    tiles |= {"0003": np.random.default_rng(1).normal(0, 1, (32, 32, 6))}  # between two of a group by number
    tiles |= {"0009": np.random.default_rng(2).normal(0, 1, (32, 32, 6))}
    assert layout.groups_of(dict(sorted(tiles.items()))) == dict.fromkeys(["0001", "0002", "0003", "0004"], "g00") | {
        "0009": "g01"
    }


def test_runs_stand_side_by_side_each_on_its_core_and_an_error_ends_them(study):
    begun, meet = [], threading.Barrier(2, timeout=20)

    def work(item):
        begun.append(item)
        if item < 2:
            meet.wait()  # both at once
        time.sleep(0.05)
        if item == 2:
            raise ValueError("no room")
        return item, os.sched_getaffinity(0)

    before = os.sched_getaffinity(0)
    ends = study.cores.side_by_side(work, range(40), 2)
    first = dict(next(ends) for _ in range(2))
    assert set(first) == {0, 1} and all(len(one) == 1 for one in first.values())
    assert len(before) == 1 or first[0] != first[1]
    with pytest.raises(ValueError, match="no room"):
        list(ends)
    assert len(begun) < 40 and os.sched_getaffinity(0) == before


def test_one_pretraining_for_all_that_go_on_from_it(study, options, monkeypatch):
    made = []

    def pretrain(options, one, learned):
        if one.pretrained not in made:
            time.sleep(0.05)
            made.append(one.pretrained)
        return one.pretrained

    monkeypatch.setattr(study, "pretrain", pretrain)
    monkeypatch.setattr(study, "network", lambda *arguments: pathlib.Path())
    monkeypatch.setattr(study, "counts_of", lambda folder: {})
    runs = [study.Run(arm, 25, 0, -1, study.DEFAULTS) for arm in ("finetuned", "frozen", "beside")]
    for one in runs:
        (options.output / "runs" / one.name).mkdir(parents=True)
    assert len(list(study.cores.side_by_side(lambda one: study.row(options, one, PLACES), runs, 3))) == 3
    assert len(made) == 1


def test_a_study_begins_with_the_rows_of_another(study, options, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for name in ("test_scratch_10_0", "pretrain_test_two_stream_swin_0"):
        (here / "runs" / name).mkdir(parents=True)
        (here / "runs" / name / "row.json").write_text(json.dumps({"arm": name}))
    (here / "choices.json").write_text('{"steps": 1}')
    kept = tmp_path / "rows.jsonl"
    kept.write_text(study.rows.text(here))
    (there / "runs" / "test_scratch_10_0").mkdir(parents=True)
    (there / "runs" / "test_scratch_10_0" / "row.json").write_text('{"arm": "ours"}')
    study.rows.take(there, kept)
    assert json.loads((there / "choices.json").read_text()) == {"steps": 1}
    assert sorted(path.name for path in there.glob("runs/*")) == ["test_scratch_10_0"]  # no encoder came along
    assert "ours" in (there / "runs" / "test_scratch_10_0" / "row.json").read_text()
    for elsewhere in ("../row.json", "runs/../row.json", "/runs/a/row.json", "runs/a/config.json"):
        kept.write_text(json.dumps({"file": elsewhere, "holds": {}}))
        with pytest.raises(SystemExit, match=r"line 1: .*expected choices\.json or runs/NAME/row\.json"):
            study.rows.take(there, kept)
    for broken in ("<html>", "[]", '{"file": "choices.json"}'):
        kept.write_text(broken)
        with pytest.raises(SystemExit, match=r"line 1: .*expected a line as studies write them"):
            study.rows.take(there, kept)


def test_the_rows_that_are_kept_are_those_of_the_page(study, tmp_path, monkeypatch, capsys):
    kept = FOLDER / "ombria.jsonl"
    monkeypatch.setattr("sys.argv", ["ombria.py", "--source=none", f"--output={tmp_path}", f"--rows={kept}", "--plan"])
    study.main()
    ran = [json.loads(path.read_text()) for path in tmp_path.glob("runs/test_*/row.json")]
    planned = re.findall(r"^(\w+) +(\d+) runs", capsys.readouterr().out, re.MULTILINE)
    assert sum(int(count) for kind, count in planned if kind != "pretrain") + len(ran) == 252
    pool = {group for one in ran for group in one["counts"] if not group.startswith("events/")}
    found = study.tables.scores_of(ran, sorted(pool))
    docs = FOLDER.parents[1] / "docs"
    text = study.tables.table(found, {name: arm.title for name, arm in study.ARMS.items()})
    assert (docs / "floods.md").read_text().endswith(f"\n\n{text}")
    page = (docs / "pretraining.md").read_text()
    section = page[page.index("## What it was worth on real floods") : page.index("### What was chosen before")]
    shown = [line for line in section.splitlines() if line.startswith("| ")]
    assert len(shown) > 30 and not [line for line in shown if line not in text.splitlines()]
