"""The part of a report on classified patches."""

import csv
import io
import json
import shutil

import pytest

from data_pipelines.schema.errors import InputError
from lcjax.evaluation import evaluate
from lcjax.reporting import report
from lcjax.runs import checksums, evaluations


@pytest.fixture(scope="module")
def scored(classifier, tmp_path_factory):
    """Two workdirs with scores of the test split: the second is the first with other numbers."""
    folder = tmp_path_factory.mktemp("scored")
    for name in ("one", "two"):
        shutil.copytree(classifier, folder / name)
    result = evaluate.evaluate(folder / "one", "test", "last")
    shutil.copytree(folder / "one" / "evaluation", folder / "two" / "evaluation")
    change(folder / "two", scores=result["scores"] | {"F1_macro_8": 0.99})
    return folder


def change(workdir, **fields):
    """Writes other fields, as an evaluation would have."""
    path = workdir / "evaluation" / "test" / evaluations.METRICS
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    checksums.write(path.parent, [evaluations.METRICS, evaluations.CONFUSION])


def test_runs_stand_in_a_table_best_first(scored):
    files = report.render([f"{scored}/*"], [])
    assert {"index.html", "patches.csv", "patches.md"} <= files.keys()
    rows = list(csv.DictReader(io.StringIO(files["patches.csv"])))
    assert [(row["run"], row["table"], row["labels"]) for row in rows] == [
        ("two", "1", "single"),
        ("one", "1", "single"),
    ]
    fields = evaluations.read_of_patches(scored / "one" / "evaluation" / "test")
    assert all(float(rows[1][key]) == value for key, value in fields["scores"].items())
    head, _, first, second = (line for line in files["patches.md"].splitlines() if line.startswith("|"))
    assert "F1_macro_8" in head and first.startswith("| two |") and second.startswith("| one |")
    page = files["index.html"]
    assert '<section id="patches">' in page and "single labels (the most frequent class of a patch)" in page
    assert page.count("Confusion matrix of") == 2 and "Classification, sample 1.0.0, single labels" in page
    assert "2 scored, 0 pre-training" in page and "No run here has been scored" not in page


def test_other_labels_are_another_table(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "runs")
    change(tmp_path / "runs" / "two", labels="multi", least_share=0.1)
    files = report.render([f"{tmp_path}/runs/*"], [])
    assert files["patches.md"].count("## Patches") == 2
    assert "several labels (classes of at least 10 % of a patch)" in files["index.html"]


def test_numbers_that_cannot_be_are_refused(scored, tmp_path):
    shutil.copytree(scored / "one", tmp_path / "one")
    path = tmp_path / "one" / "evaluation" / "test"
    change(tmp_path / "one", patch_counts={"hits": [1], "wrong": [1], "missed": [1]})
    with pytest.raises(InputError, match="8 classes in class_set, and numbers of 1 to 8; run `lcjax evaluate"):
        evaluations.read_of_patches(path)
    fields = json.loads((path / evaluations.METRICS).read_text())
    del fields["labels"]
    (path / evaluations.METRICS).write_text(json.dumps(fields))
    checksums.write(path, [evaluations.METRICS, evaluations.CONFUSION])
    with pytest.raises(InputError, match="labels: missing"):
        evaluations.read_of_patches(path)
