"""Paired differences: against scores of each draw by hand, what cannot be compared, and seeds as one line."""

import csv
import json
import statistics

import numpy as np
import pytest
from finished import keep_records, make_pretraining, make_report, make_run, seal, write_config

from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.schema.errors import InputError
from lcjax.configs import classification
from lcjax.ops import bootstrap, metrics
from lcjax.reporting import differences, report, run_reader, tables

GROUPS = ["north"] * 4 + ["south"] * 3 + ["east"] * 5


def counts(seed: int, skill: float, records=12) -> np.ndarray:
    """Confusion counts of records whose truth is the same for all skills."""
    truth = np.random.default_rng(seed).integers(1, 200, (records, 8))
    draw = np.random.default_rng((seed, round(1000 * skill)))
    right = draw.binomial(truth, skill)
    wrong = np.stack([draw.multinomial(rest, np.full(8, 1 / 8)) for rest in (truth - right).ravel()])
    return wrong.reshape(records, 8, 8) + right[..., None] * np.eye(8, dtype=int)


def read(*workdirs) -> list[tables.Table]:
    return tables.tables(run_reader.read(run_reader.find([str(path) for path in workdirs])))


def test_a_difference_is_that_of_the_scores_of_each_draw(tmp_path):
    for seed, (name, skill) in enumerate((("a", 0.6), ("b", 0.63))):
        keep_records(make_run(tmp_path / name, seed, samples=False), counts(0, skill), GROUPS)
    (table,) = read(tmp_path / "a", tmp_path / "b")
    (found,), left_out = differences.of_table(table)
    assert (found.row.name, found.reference.name, left_out, len(found.blocks)) == ("a", "b", [], 3)
    a, b = counts(0, 0.6), counts(0, 0.63)
    of_block = [np.flatnonzero(np.array(GROUPS) == name) for name in dict.fromkeys(GROUPS)]
    drawn = np.random.default_rng(bootstrap.SEED).integers(3, size=(bootstrap.DRAWS, 3))
    records = [np.concatenate([of_block[block] for block in draw]) for draw in drawn]
    for key in ("mIoU_8", "OA", "kappa", "IoU/Forest"):
        first, second = (
            np.array([metrics.scores(one[chosen].sum(axis=0), table.names)[0][key] for chosen in records])
            for one in (a, b)
        )
        score = found.scores[key]
        assert score.value == pytest.approx(
            np.subtract(*(metrics.scores(m.sum(0), table.names)[0][key] for m in (a, b)))
        )
        assert score.interval == pytest.approx(bootstrap.interval(first - second, 3))
        assert score.won == pytest.approx((first > second).mean() + (first == second).mean() / 2)
    right = [np.trace(one, axis1=1, axis2=2) for one in (a, b)]
    assert (found.better, found.worse) == (np.sum(right[0] > right[1]), np.sum(right[0] < right[1]))
    assert found.better + found.worse + found.equal == 12


def test_a_run_that_answers_as_another_wins_half_of_the_draws(tmp_path):
    for seed, name in enumerate("ab"):
        keep_records(make_run(tmp_path / name, seed, samples=False), counts(0, 0.6), GROUPS)
    (found,), _ = differences.of_table(read(tmp_path / "a", tmp_path / "b")[0])
    assert (found.better, found.worse, found.equal) == (0, 0, 12)
    assert {(score.value, score.interval, score.won) for score in found.scores.values()} == {(0.0, (0.0, 0.0), 0.5)}


OTHER = {"role": "test", "spec": "test[:50%]", "id": "other"}


@pytest.mark.parametrize(
    ("run", "records", "says"),
    [
        ({"split": OTHER}, {}, "a and b: cannot be compared, for their records of the split differ; expected runs"),
        ({"legend": FLAIR1}, None, "class sets and class ids and ignored ids differ"),
        ({}, None, "b: its evaluation kept no counts of records, which a comparison needs; run `lcjax evaluate`"),
        ({}, {"ids": np.array([f"q{i}" for i in range(12)])}, "for their records differ"),
        ({}, {"truth": 1}, "for the labels of their records differ"),
    ],
)
def test_what_is_not_of_the_same_pixels_is_refused_in_a_line(tmp_path, run, records, says):
    keep_records(make_run(tmp_path / "a", 0, samples=False), counts(0, 0.6), GROUPS)
    made = make_run(tmp_path / "b", 1, samples=False, **run)
    if records is not None:
        keep_records(made, counts(records.pop("truth", 0), 0.6), GROUPS, **records)
    with pytest.raises(InputError, match=says) as caught:
        report.render([f"{tmp_path}/*"], [], f"{tmp_path}/a")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"--reference={tmp_path}/a: ")


def test_the_reference_is_one_of_the_runs(tmp_path):
    keep_records(make_run(tmp_path / "a", 0, samples=False), counts(0, 0.6), GROUPS)
    with pytest.raises(InputError, match=r"--reference=runs/x: none of the runs of --workdirs; expected one of them"):
        report.render([f"{tmp_path}/*"], [], "runs/x")


def test_runs_without_scores_of_land_cover_are_not_compared_with_the_reference(tmp_path):
    """A classification and a pre-training among them; named as the reference, neither can be one."""
    for seed, name in enumerate("ab"):
        keep_records(make_run(tmp_path / name, seed, samples=False), counts(0, 0.6 + seed / 100), GROUPS)
    make_pretraining(tmp_path / "c")
    patches = make_run(tmp_path / "d", 2, samples=False) / "evaluation" / "test"
    write_config(tmp_path / "d", classification.get_config("data=sample"))
    fields = json.loads((patches / "metrics.json").read_text())
    none = [0] * len(fields["class_set"])
    fields |= {"labels": "single", "patches": 2, "patch_counts": {"hits": none, "wrong": none, "missed": none}}
    (patches / "metrics.json").write_text(json.dumps(fields | {"patch_confusion": [none] * len(none)}))
    seal(patches)
    assert report.render([f"{tmp_path}/*"], [], f"{tmp_path}/a")["differences.csv"]
    for name in "cd":
        with pytest.raises(InputError, match=rf"--reference=.*/{name}: has no scores of land cover; expected"):
            report.render([f"{tmp_path}/*"], [], f"{tmp_path}/{name}")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Three seeds of one config, another run, and one that kept no counts."""
    root = tmp_path_factory.mktemp("compared")
    for seed in range(3):
        run = make_run(root / "runs" / f"<s>{seed}", seed, samples=False)
        keep_records(run, counts(0, 0.60 + seed / 100), GROUPS, seed=seed)
    keep_records(make_run(root / "runs" / "other", 4, samples=False, baseline=True), counts(0, 0.5), GROUPS)
    (root / "runs" / "other" / "config.json").unlink()
    make_run(root / "runs" / "old", 5, samples=False, baseline=True)
    return root, make_report(f"{root}/runs/*", root / "out")


def test_seeds_are_one_line_with_mean_deviation_and_number(compared):
    root, page = compared
    (table,) = read(*(root / "runs").iterdir())
    assert [row.seeds for row in table.rows] == [3, 1, 1]
    values = [metrics.scores(counts(0, 0.60 + seed / 100).sum(0), table.names)[0]["mIoU_8"] for seed in range(3)]
    row = page.tables["table-1", "scores"][1]
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    assert row[0] == "<s>0, <s>1, <s>2 3 seeds" and row[7] == f"{mean:.3f}± {deviation:.3f}"
    with open(root / "out" / "seeds.csv", newline="") as stream:
        written = {line["score"]: line for line in csv.DictReader(stream)}["mIoU_8"]
    assert (written["seeds"], float(written["mean"]), float(written["deviation"])) == ("3", mean, deviation)
    with open(root / "out" / "scores.csv", newline="") as stream:
        lines = {line["run"]: line for line in csv.DictReader(stream)}
    assert (lines["<s>2"]["seed"], lines["old"]["seed"], lines["old"]["OA_low"]) == ("2", "", "")
    assert float(lines["<s>1"]["OA_low"]) < float(lines["<s>1"]["OA"]) < float(lines["<s>1"]["OA_high"])
    iou = page.tables["table-1", "iou"]
    assert [line[0] for line in iou[1:]] == [line.name for line in table.rows] and "± " in iou[1][1]


def test_the_page_compares_with_the_best_line_and_says_what_it_leaves_out(compared):
    root, page = compared
    head, row = page.tables["table-1", "paired"]
    assert head[:3] == ["run", "OA minus", "wins"] and row[0] == "other"
    found, _ = differences.of_table(read(*(root / "runs").iterdir())[0])
    score = found[0].scores["mIoU_8"]
    low, high = score.interval
    assert row[5:7] == [f"{score.value:+.3f}[{low:+.3f}, {high:+.3f}]", f"{100 * score.won:.0f} %"]
    assert high < 0 and f"{score.value:+.3f}" in page.bold
    (left_out,) = (note for note in page.notes if note.startswith("Not compared"))
    assert left_out.startswith("Not compared: old: kept no counts of records; evaluate again.")
    assert "s" not in page.tags  # the name of a run is text


def test_places_are_shown_lowest_first(tmp_path):
    bounds = np.tile([10.0, 50, 10.1, 50.1], (12, 1)) + np.arange(12)[:, None] / 5 * [1, 0, 1, 0]
    for seed, (name, skill) in enumerate((("a", 0.5), ("b", 0.6))):
        keep_records(make_run(tmp_path / name, seed, samples=False), counts(0, skill), GROUPS, bounds=bounds)
    page = make_report(f"{tmp_path}/*", tmp_path / "out")
    head, *rows = page.tables["table-1", "places"]
    assert head == ["group", "records", "scored pixels", "OA of b", "OA of a"]
    expected = {}
    for name in ("north", "south", "east"):
        chosen = [place for place, group in enumerate(GROUPS) if group == name]
        of_runs = [counts(0, skill)[chosen] for skill in (0.6, 0.5)]
        shares = [f"{np.trace(one.sum(axis=0)) / one.sum():.3f}" for one in of_runs]
        expected[name] = [name, str(len(chosen)), f"{of_runs[0].sum():,}", *shares]
    assert sorted(rows) == sorted(expected.values()) and [row[3] for row in rows] == sorted(row[3] for row in rows)
    assert page.tags.count("img") == 1 + 2  # the map, distribution and curves


def test_the_files_hold_full_precision(compared):
    root, _ = compared
    with open(root / "out" / "differences.csv", newline="") as stream:
        rows = {row["score"]: row for row in csv.DictReader(stream)}
    (found,), _ = differences.of_table(read(*(root / "runs").iterdir())[0])
    assert rows.keys() == found.scores.keys() and {"OA", "IoU/Water"} <= rows.keys()
    score, row = found.scores["OA"], rows["OA"]
    assert (float(row["difference"]), float(row["low"]), float(row["high"])) == (score.value, *score.interval)
    assert (row["blocks"], row["block"], row["reference"]) == ("3", "group", "<s>0, <s>1, <s>2")
    text = (root / "out" / "scores.md").read_text()
    assert "| <s>0, <s>1, <s>2 |" in text and " ± " in text
    low, high = score.interval
    assert "## Table 1: differences from <s>0, <s>1, <s>2" in text
    assert f"| other | **{score.value:+.3f}** [{low:+.3f}, {high:+.3f}], {100 * score.won:.0f} % |" in text


def test_runs_that_differ_in_more_than_the_seed_or_share_it_are_lines_of_their_own(tmp_path):
    for seed, name in enumerate("abc"):
        keep_records(
            make_run(tmp_path / name, seed, samples=False), counts(0, 0.6 + seed / 100), GROUPS, seed=min(seed, 1)
        )
    (table,) = read(tmp_path / "a", tmp_path / "b", tmp_path / "c")
    assert [row.seeds for row in table.rows] == [1, 1, 1]
