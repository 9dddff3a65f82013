"""The report: numbers of the page are those of the files, unlike runs are kept apart, wrong input is told in a line."""

import base64
import csv
import hashlib
import json
import pathlib
import re
import shutil
import types

import numpy as np
import pytest
from finished import make_pretraining, make_report, make_run, score, seal
from matplotlib.figure import Figure

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.schema.errors import InputError
from lcjax.cli import report as report_verb
from lcjax.plotting import figures
from lcjax.reporting import page, report, run_reader, tables

LAND = DFC2020.scored
NAMES = [c.name for c in LAND]
PNG = figures.png(Figure(figsize=(1, 1)))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two runs, a baseline and a pre-training run on one page."""
    root = tmp_path_factory.mktemp("compared")
    for seed, name in enumerate(("alpha", "<i>beta & $x_1$")):
        make_run(root / "runs" / name, seed, parameters=1234567 if seed == 0 else None)
    make_run(root / "runs" / "forest", 2, baseline=True)
    make_pretraining(root / "runs" / "pretrain")
    return root, make_report(f"{root}/runs/*", root / "out")


def fields_of(root: pathlib.Path, run: str) -> dict:
    return json.loads((root / "runs" / run / "evaluation" / "test" / "metrics.json").read_text())


def test_the_score_table_holds_the_numbers_of_the_files_best_first(compared):
    root, made = compared
    head, *rows = made.tables["table-1", "scores"]
    assert head[:9] == ["run", "model", "fusion", "init", "freeze", "OA", "mCA_8", "mIoU_8", "kappa"]
    found = {row[0].removesuffix(" baseline"): row for row in rows}
    assert set(found) == {"alpha", "<i>beta & $x_1$", "forest"}
    for run, row in found.items():
        scores = fields_of(root, run)["scores"]
        assert row[5:9] == [f"{scores[key]:.3f}" for key in head[5:9]]
    assert [row[7] for row in rows] == sorted((row[7] for row in rows), reverse=True)
    assert rows[0][7] in made.bold
    assert found["alpha"][9:] == ["best, step 40", "1,234,567"]


def test_only_the_baseline_is_marked(compared):
    _, made = compared
    marked = [row[0] for row in made.tables["table-1", "scores"] if "baseline" in row[0]]
    assert marked == ["forest baseline"]


def test_class_tables_hold_the_numbers_of_the_files(compared):
    root, made = compared
    head, *rows = made.tables["table-1", "iou"]
    assert head == ["run", *NAMES]
    for row in rows:
        scores = fields_of(root, row[0])["scores"]
        assert row[1:] == [f"{scores[f'IoU/{name}']:.3f}" for name in NAMES]
    classes = [row for row in made.tables["table-1", "classes"] if row[0] != "class"]
    first = fields_of(root, rows[0][0])
    expected = [f"{first['scores'][f'{key}/Water']:.3f}" for key in tables.PER_CLASS]
    counts = np.array(first["confusion"])
    assert classes[len(NAMES) - 1] == ["Water", *expected, f"{counts[-1].sum():,}", f"{counts[:, -1].sum():,}"]


def test_the_page_stands_alone(compared):
    root, made = compared
    assert made.fetched == []
    text = (root / "out" / "index.html").read_text()
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-") and "connect-src" not in policy
    scripts = re.findall("<script([^>]*)>(.*?)</script>", text, re.DOTALL)
    for attributes, script in scripts:  # data, or one of ours
        found = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert attributes == ' type="application/json"' or f"&#39;sha256-{found}&#39;" in policy
    assert not {"link", "iframe", "i"} & set(made.tags)  # "i": the name of a run is text, not markup
    bare = re.sub("<script>.*?</script>", "", text, flags=re.DOTALL)
    assert "http" not in re.sub(r"base64,[^\"]*", "", bare).replace("http-equiv", "")
    assert made.tags.count("img") == 1 + 1 + 1 + 2  # samples, enlarged, distribution, curves
    assert len([kind for _, kind in made.tables if kind == "confusion"]) == 1


def test_curves_hold_the_numbers_of_the_files(compared):
    text = (compared[0] / "out" / "index.html").read_text()
    charts = [json.loads(one) for one in re.findall('class="chart"[^>]*><script[^>]*>(.*?)</script>', text)]
    assert [chart["title"] for chart in charts] == ["Segmentation, sample 1.0.0", "Pre-training"]
    loss, score, _ = charts[0]["panels"]
    assert (loss["unit"], score["title"]) == ("loss", "Validation mIoU_8")
    assert [(curve["run"], curve["dashed"]) for curve in loss["curves"]] == [
        (run, dashed) for dashed in (False, True) for run in ("<i>beta & $x_1$", "alpha")
    ]
    assert loss["curves"][0]["steps"] == list(range(1, 9))
    assert loss["curves"][0]["values"] == pytest.approx([3 / step for step in range(1, 9)], rel=1e-5)
    assert (score["curves"][1]["steps"], score["curves"][1]["values"]) == ([4, 8], [0.4, 0.8])


def test_long_curves_come_with_their_moving_average():
    values = np.random.default_rng(0).normal(size=200)
    steps, mean = figures.Curve("a", np.arange(200), values).mean()
    assert steps.tolist() == list(range(9, 200))
    np.testing.assert_allclose(mean, [values[i - 9 : i + 1].mean() for i in range(9, 200)])
    assert figures.Curve("a", np.arange(79), values[:79]).mean() is None


def test_swatches_have_the_colours_of_the_legend(compared):
    text = (compared[0] / "out" / "index.html").read_text()
    for land_class in LAND:
        assert f'style="background:{land_class.colour}"></span>{land_class.name}' in text


def test_csv_holds_full_precision(compared):
    root, _ = compared
    with open(root / "out" / "scores.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 3
    for row in rows:
        fields = fields_of(root, row["run"])
        assert float(row["mIoU_8"]) == fields["scores"]["mIoU_8"]
        assert (row["split_id"], row["pixels"]) == ("test-1", "4096")
        assert row["baseline"] == ("yes" if row["run"] == "forest" else "no")


def test_markdown_has_a_row_for_each_run_and_the_best_in_bold(compared):
    root, made = compared
    text = (root / "out" / "scores.md").read_text()
    best = made.tables["table-1", "scores"][1]
    assert f"**{best[7]}**" in text
    assert sum(line.startswith("| ") for line in text.splitlines()) == 1 + 3


def test_the_same_runs_give_the_same_files_and_leave_nothing_else(compared):
    root, _ = compared
    make_report(f"{root}/runs/*", root / "again")
    assert sorted(path.name for path in (root / "again").iterdir()) == ["index.html", "scores.csv", "scores.md"]
    for name in ("index.html", "scores.csv", "scores.md"):
        assert (root / "again" / name).read_bytes() == (root / "out" / name).read_bytes()


def compare(*workdirs: pathlib.Path) -> list[tables.Table]:
    return tables.tables(run_reader.read(run_reader.find([str(path) for path in workdirs])))


def test_runs_of_different_splits_stand_in_separate_tables_of_the_page(tmp_path):
    other = {"role": "test", "spec": "test[:50%]", "id": "other"}
    make_run(tmp_path / "a", 0, samples=False)
    make_run(tmp_path / "b", 1, samples=False, split=other)
    made = make_report(f"{tmp_path}/a,{tmp_path}/b", tmp_path / "out")
    assert {len(made.tables[f"table-{number}", "scores"]) for number in (1, 2)} == {2}  # a head and one row each
    assert "2 tables, because they differ in split" in made.notes[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"role": "validation"}, "split"),
        ({"split": {"role": "test", "spec": "test", "id": "other"}}, "split"),
        ({"dataset": "dfc2020 1.0.0"}, "data set"),
        ({"ignored_ids": [0, 3]}, "ignored ids"),
        ({"legend": FLAIR1}, "class set and ignored ids"),
        ({"resize": 224}, "size of tiles"),
    ],
)
def test_what_separates_tables(tmp_path, changes, words):
    found = compare(make_run(tmp_path / "a", 0), make_run(tmp_path / "b", 1, **changes))
    assert [len(table.evaluations) for table in found] == [1, 1]
    assert page.differences(found) == words


def test_runs_with_different_absent_classes_or_pixels_are_pointed_out(tmp_path):
    make_run(tmp_path / "a", 0, absent=["Barren"], samples=False)
    make_run(tmp_path / "b", 1, pixels=4000, samples=False)
    absent, pixels = compare(tmp_path / "a", tmp_path / "b")[0].notes()
    assert "a: Barren" in absent and "b: none" in absent
    assert "different numbers of pixels" in pixels and "b: 4,000" in pixels


def test_bands_and_scaling_are_shown_where_runs_differ_in_them(tmp_path):
    make_run(tmp_path / "a", 0, samples=False, bands="rgb", scaling="sensor")
    make_run(tmp_path / "b", 1, samples=False, bands="all", scaling="sensor")
    (table,) = compare(tmp_path / "a", tmp_path / "b")
    assert table.settings == ("model", "fusion", "init", "freeze", "bands")
    assert "| bands |" in tables.to_markdown([table])


def test_what_a_reader_of_a_split_must_know_is_told(tmp_path):
    leaks = "report_60_20_20: patches of one zone fall on both sides"
    split = {"role": "test", "spec": "report_60_20_20/test", "id": "test-1", "warnings": [leaks]}
    for seed, name in enumerate("ab"):
        make_run(tmp_path / "runs" / name, seed, split=split, samples=False)
    page = make_report(f"{tmp_path}/runs/*", tmp_path / "out")
    assert page.notes[0].startswith(f"Warning: {leaks}.")


def test_a_score_without_value_is_a_dash_and_comes_last(tmp_path):
    broken = score(np.eye(8, dtype=int), NAMES)
    del broken["mIoU_8"], broken["IoU/Barren"]
    found = compare(make_run(tmp_path / "a", 0, scores=broken), make_run(tmp_path / "b", 1))
    assert [e.run for e in found[0].evaluations] == ["b", "a"]
    assert [line.split(" | ")[7] for line in tables.to_markdown(found).splitlines() if line.startswith("| a")] == ["–"]


def test_an_unknown_legend_is_drawn_without_swatches(tmp_path):
    fields = {"class_set": ["moor", "fen"], "class_ids": [4, 9], "confusion": [[3, 1], [0, 2]], "scores": {"OA": 0.8}}
    run = make_run(tmp_path / "a", 0, **fields, distribution={"test": {"moor": 4, "fen": 2}})
    made = make_report(str(run), tmp_path / "out")
    assert made.tables["table-1", "iou"] == [["run", "moor", "fen"], ["a", "–", "–"]]
    assert 'class="swatch"' not in (tmp_path / "out" / "index.html").read_text()


def test_samples_show_only_records_that_every_run_kept(tmp_path):
    make_run(tmp_path / "a", 0)
    other = make_run(tmp_path / "b", 1) / "evaluation" / "test" / "samples.npz"
    with np.load(other) as arrays:
        kept = dict(arrays)
    np.savez(other, **kept | {"ids": np.array(["p8", "p9"])})
    seal(other.parent)
    assert "no record in common" in " ".join(make_report(f"{tmp_path}/*", tmp_path / "out").notes)


def test_pretraining_alone_makes_a_page_of_curves(tmp_path):
    run = make_pretraining(tmp_path / "pretrain")
    (run / "evaluation/test").mkdir(parents=True)
    (run / "evaluation/test/metrics.json").write_text('{"scores": {"retrieval": 0.5}}')  # not of land cover
    made = make_report(str(run), tmp_path / "out")
    assert made.tables == {} and made.tags.count("img") == 1


def test_curves_are_titled_by_the_data_set_that_was_trained_on(tmp_path):
    """Scores on other data stand in evaluation/ as well, in whatever order, or alone."""
    for name, role in (("both", "a_first"), ("alone", "test")):
        make_run(tmp_path / name, 0, samples=False, role=role, dataset="town 2.0.0", note="generalisation")
        card = tmp_path / name / "card.json"
        card.write_text(card.read_text().replace("town 2.0.0", "sample 1.0.0"))
    shutil.copytree(tmp_path / "both" / "evaluation" / "a_first", tmp_path / "both" / "evaluation" / "test")
    file = tmp_path / "both" / "evaluation" / "test" / "metrics.json"
    fields = json.loads(file.read_text()) | {"dataset": "sample 1.0.0"}
    file.write_text(json.dumps({name: value for name, value in fields.items() if name != "note"}))
    seal(file.parent)
    make_report(f"{tmp_path}/both,{tmp_path}/alone", tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    curves = text[text.index('id="curves"') :].partition("</section>")[0]
    # One figure: both have learned from the same records.
    assert re.findall("<h3>([^<]*)</h3>", curves) == ["Segmentation, sample 1.0.0 (validation split id val-1)"]


def test_workdirs_are_found_by_depth_once_and_named_apart(tmp_path):
    for name in ("x/unet", "y/unet"):
        make_run(tmp_path / name, 0, samples=False)
    (tmp_path / "notes").mkdir()
    found = run_reader.find([f"{tmp_path}/**", f"{tmp_path}/x/unet"])
    assert found == [tmp_path / "x/unet", tmp_path / "y/unet"]
    assert [run.name for run in run_reader.read(found)] == [str(path) for path in found]


def test_a_line_that_is_being_written_is_passed_over(tmp_path):
    run = make_pretraining(tmp_path / "pretrain")
    with open(run / "metrics.jsonl", "a") as stream:
        stream.write('{"step": 9, "spl')
    assert len(run_reader.read([run])[0].history) == 10


def wrong(tmp_path, match: str, workdirs: str, output: str = "out") -> None:
    given = workdirs.split(",") if workdirs else None
    with pytest.raises(InputError, match=match) as caught:
        report_verb.run(types.SimpleNamespace(workdirs=given, reference=None, maps=None, output=output))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_flags(tmp_path):
    wrong(tmp_path, "--workdirs is missing, and so is --maps", "", "out")
    wrong(tmp_path, "--output is missing", "runs/*", "")


def test_no_workdir_matches(tmp_path):
    wrong(tmp_path, "no workdir of a run matches", f"{tmp_path}/*")
    wrong(tmp_path, "no such folder", f"{tmp_path}/nowhere")
    wrong(tmp_path, "not the workdir of a run", str(tmp_path))


def test_a_run_without_evaluation_names_the_command(tmp_path):
    run = make_run(tmp_path / "a", 0)
    (run / "evaluation/test/metrics.json").unlink()
    wrong(tmp_path, f"run `lcjax evaluate --workdir={run}` first", str(run), str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("file", "content", "match"),
    [
        ("evaluation/test/metrics.json", "{", "metrics.json: cannot be read as JSON"),
        ("evaluation/test/metrics.json", "[]", "metrics.json: no schema_version; expected 2"),
        (
            "evaluation/test/metrics.json",
            '{"schema_version": 2, "scores": {}}',
            "metrics.json: run: missing; run `lcjax evaluate",
        ),
        ("evaluation/test/metrics.json", '{"scores": {}}', "metrics.json: no schema_version; expected 2"),
        (
            "evaluation/test/metrics.json",
            '{"schema_version": 3}',
            "metrics.json: schema_version 3, and this lcjax reads 2",
        ),
        ("config.json", '{"schema_version": 3}', "config.json: schema_version 3, and this lcjax reads 2"),
        ("card.json", '{"schema_version": 3}', "card.json: schema_version 3, and this lcjax reads 2"),
        (
            "evaluation/test/samples.npz",
            "PK",
            "test: samples.npz holds 2 bytes, .*; nothing of it is shown; run `lcjax",
        ),
        ("config.json", "nonsense", "config.json: cannot be read as JSON"),
        ("card.json", "{}", "card.json: no schema_version; expected 2"),
        ("metrics.jsonl", '{"step": 1, "split": "train"}\n{"step"\n', "metrics.jsonl, line 2: cannot be read as JSON"),
        ("metrics.jsonl", "3\n", "metrics.jsonl, line 1: the whole: found 3, expected an object"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path, file, content, match):
    run = make_run(tmp_path / "a", 0)
    (run / file).write_text(content)
    wrong(tmp_path, match, str(run), str(tmp_path / "out"))


def test_a_confusion_matrix_of_the_wrong_shape_is_refused(tmp_path):
    run = make_run(tmp_path / "a", 0, confusion=[[1, 2], [3, 4]])
    wrong(tmp_path, r"8 classes in class_set, .* of shape \(2, 2\)", str(run), str(tmp_path / "out"))


def objects(rows: int) -> dict:
    counts = dict.fromkeys(NAMES, [[1, 2]] * rows)
    return {"edges": [10], "found_from": 0.5, "counts": counts, "scores": {"Forest/0": 0.5}, "intervals": {}}


def test_objects_are_shown_by_size_and_counts_of_other_sizes_refused(tmp_path):
    made = make_report(str(make_run(tmp_path / "a", 0, objects=objects(2))), tmp_path / "shown")
    head, first, *_ = made.tables["table-1", "objects"]
    assert head == ["class", "1 to 9 px", "10 px and more", "all"] and first[:2] == ["Forest", "0.5001 of 2"]
    run = make_run(tmp_path / "b", 0, objects=objects(3))
    wrong(
        tmp_path, r"metrics\.json: objects\.counts: found counts of .*, expected 2 of each class; run `lcjax", str(run)
    )


def test_an_output_that_is_a_file_is_refused_and_kept(tmp_path):
    run = make_run(tmp_path / "a", 0, samples=False)
    (tmp_path / "file").write_text("mine")
    wrong(tmp_path, "cannot write there", str(run), str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_write_keeps_the_old_page_and_no_scraps(tmp_path):
    (tmp_path / "index.html").write_text("old")
    (tmp_path / "scores.csv").mkdir()  # renaming a file onto a folder fails
    with pytest.raises(InputError, match="cannot write there"):
        report.write({"scores.csv": "new", "index.html": "new"}, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "scores.csv"]
    assert (tmp_path / "index.html").read_text() == "old"


def test_tables_of_an_older_report_do_not_stay_beside_another_page(compared, tmp_path):
    root, _ = compared
    files = report.render([f"{root}/runs/alpha"], [])
    assert [name for name, text in files.items() if text] == ["index.html", "scores.csv", "scores.md"]
    for name in (*files, "mine.csv"):
        (tmp_path / name).write_text("old")
    report.write(files, tmp_path)
    assert {"seeds.csv", "differences.csv", "patches.md", "areas.csv", "paper.tex"} < files.keys()
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "scores.csv", "scores.md", "mine.csv"}
    assert (tmp_path / "mine.csv").read_text() == "old" != (tmp_path / "scores.csv").read_text()


def test_edges_of_the_masks_are_told_and_shown(compared, tmp_path):
    """Of the two runs that kept samples, truth is prediction: the masks are as rough as the truth."""
    root, made = compared
    head, *rows = made.tables["table-1", "edges"]
    assert head == ["run", "edges, truth", "edges, prediction", "ratio", "tiles"]
    assert [row[3:] for row in rows] == [["1.000", "2"]] * 2
    text = (root / "out" / "index.html").read_text()
    assert text.count('alt="Truth and predictions enlarged"') == 1
    assert "the 16 x 16 pixels of p" in text
    with open(root / "out" / "scores.csv", newline="") as stream:
        shares = {row["run"]: row["edges_truth"] for row in csv.DictReader(stream)}
    assert shares["forest"] == "" and float(shares["alpha"]) == pytest.approx(float(rows[0][1]), abs=0.2)
    make_run(tmp_path / "bare", 0, samples=False)
    assert ("table-1", "edges") not in make_report(str(tmp_path / "bare"), tmp_path / "out").tables


def test_runs_from_before_a_setting_was_written_stand_beside_newer_ones(tmp_path):
    make_run(tmp_path / "old", 0, samples=False)
    make_run(tmp_path / "new", 1, samples=False, recipe="report", cell="", resize=0)
    (table,) = compare(tmp_path / "old", tmp_path / "new")
    assert table.settings == ("model", "fusion", "init", "freeze", "recipe")


def test_a_picture_holds_a_few_runs_and_all_pictures_hold_all(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        page.figures, "samples", lambda ids, image, labels, *_, **how: drawn.append(list(labels)) or PNG
    )
    for number in range(page.COLUMNS + 1):
        make_run(tmp_path / "runs" / f"run_{number}", number)
    make_report(f"{tmp_path}/runs/*", tmp_path / "out")
    text = (tmp_path / "out" / "index.html").read_text()
    for title in ("Image, truth and predictions", "Truth and predictions enlarged"):
        assert text.count(f'alt="{title}"') == 2
    assert all(labels[0] == "truth" and len(labels) <= 1 + page.COLUMNS for labels in drawn)
    runs_shown = [run for labels in drawn for run in labels[1:]]
    assert sorted(runs_shown) == sorted(2 * [f"run_{number}" for number in range(page.COLUMNS + 1)])
