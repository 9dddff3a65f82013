"""From labels to figures: a map whose truth is known, what is said of labels that are missing, and files to read on."""

import csv
import json

import numpy as np
import pytest
from classified import CLASSES, random_ids, write_map

from data_pipelines.schema.errors import InputError
from lcjax.assessment import assess, design, estimators, sampling
from lcjax.assessment.estimators import Labelled, Strata
from lcjax.reporting import assessment_page

NAMES = {value: name for value, (name, _) in CLASSES.items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A map, its sample, and the truth: every fifth pixel or so is another class than is mapped."""
    folder = tmp_path_factory.mktemp("assess")
    path, ids = write_map(folder / "map.tif", random_ids()), random_ids()
    rng = np.random.default_rng(7)
    truth = np.where(rng.random(ids.shape) < 0.8, ids, rng.choice(np.array([1, 4, 9], np.uint8), ids.shape))
    sampling.sample(sampling.Request(path, size=400, minimum=80), folder / "s")
    return folder / "s", truth, ids


def write(path, drawn, label_of):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["point", "label"])
        writer.writerows((point.point, label_of(point)) for point in drawn.points)
    return path


def test_figures_are_those_of_the_estimators_and_near_the_truth(world, tmp_path):
    folder, truth, ids = world
    drawn = design.read(folder / design.FILE)
    found = assess.assess(
        write(tmp_path / "l.csv", drawn, lambda point: NAMES[truth[point.row, point.column]]), folder / design.FILE
    )
    rows, columns = (np.array([getattr(point, name) for point in drawn.points]) for name in ("row", "column"))
    index = np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 2])
    mapped = index[ids[rows, columns]]
    area = np.array([point.area for point in drawn.points])
    pixels = np.array([(ids == value).sum() for value in (1, 4, 9)])
    expected = estimators.estimate(
        Labelled(mapped, mapped, index[truth[rows, columns]], area),
        Strata(pixels, np.array([one.area for one in drawn.strata])),
        3,
    )
    assert found.accuracy.overall == expected.overall and found.accuracy.areas == expected.areas
    assert found.unlabelled is None
    there = ids != 255
    right = (truth == ids)[there].mean()
    assert abs(found.accuracy.overall.value - right) < 3 * found.accuracy.overall.standard_error
    for at, value in enumerate((1, 4, 9)):
        share = (truth[there] == value).mean()
        assert abs(found.accuracy.areas[at].value - share) < 3 * found.accuracy.areas[at].standard_error
    assert any("100 pixels of the map are without data" in note for note in found.notes)


def test_what_is_not_labelled_is_counted_and_said(world, tmp_path):
    folder, truth, _ = world
    drawn = design.read(folder / design.FILE)

    def label(point, done=range(1, 301)):
        if point.point % 20 == 0:
            return "cannot say"
        return NAMES[truth[point.row, point.column]] if point.point in done else ""

    found = assess.assess(write(tmp_path / "l.csv", drawn, label), folder / design.FILE)
    assert (len(found.labels.classes), len(found.labels.cannot_say), len(found.labels.open)) == (285, 20, 95)
    notes = " ".join(found.notes)
    assert (
        "95 of 400 points are not labelled yet. The estimate takes those that were labelled for a random part" in notes
    )
    assert "At 20 points it was 'cannot say'. They are left out" in notes
    worst, best = found.unlabelled
    assert worst < found.accuracy.overall.value < best
    # By hand: each stratum with its "cannot say" as errors, and as hits.
    for bound, hit in ((worst, 0), (best, 1)):
        total = 0.0
        for stratum in drawn.strata:
            points = [p for p in drawn.points if p.stratum == stratum.value and label(p)]
            agree = [hit if label(p) == "cannot say" else NAMES[p.mapped] == label(p) for p in points]
            area = [p.area for p in points]
            total += stratum.area / drawn.area * np.average(agree, weights=area)
        assert bound == pytest.approx(total)
    first = assess.assess(
        write(tmp_path / "f.csv", drawn, lambda p: label(p, range(1, 200)) if p.point < 200 else ""),
        folder / design.FILE,
    )
    assert "so the 199 before them are a sample of their own" in " ".join(first.notes)


def test_files_hold_what_was_estimated(world, tmp_path):
    folder, truth, _ = world
    drawn = design.read(folder / design.FILE)
    found = assess.assess(
        write(tmp_path / "l.csv", drawn, lambda p: NAMES[truth[p.row, p.column]]), folder / design.FILE
    )
    files = assess.tables(found)
    fields = json.loads(files[assess.RESULT])
    overall = fields["overall_accuracy"]
    assert overall["value"] == found.accuracy.overall.value and overall["high"] > overall["value"] > overall["low"]
    rows = list(csv.DictReader(files[assess.CLASSES].splitlines()))
    assert [row["name"] for row in rows] == list(NAMES.values())
    assert sum(float(row["estimated_hectares"]) for row in rows) == pytest.approx(drawn.area, abs=1e-5)
    assert sum(int(row["points_seen"]) for row in rows) == 400
    matrix = list(csv.reader(files[assess.MATRIX].splitlines()))
    np.testing.assert_allclose(np.array([row[1:] for row in matrix[1:]], float), found.accuracy.matrix, atol=1e-6)
    np.testing.assert_allclose(fields["matrix"], found.accuracy.matrix)


def test_the_page_tells_all_and_runs_nothing(world, tmp_path):
    folder, truth, _ = world
    drawn = design.read(folder / design.FILE)
    labels = write(tmp_path / "<b>&.csv", drawn, lambda p: NAMES[truth[p.row, p.column]])
    found = assess.assess(labels, folder / design.FILE)
    page = assessment_page.html(found)
    assert page == assessment_page.html(found)
    assert "Content-Security-Policy" in page and "<script" not in page and "<b>&.csv" not in page
    assert "Bare, rock &amp; &#34;co&#34;" in page
    assert f"Overall accuracy {100 * found.accuracy.overall.value:.1f} %" in page
    for one in found.accuracy.areas:
        assert f"{100 * one.value:.2f} ± {100 * one.half_width:.2f}" in page
    assert all(note.split(":")[0] in page for note in found.notes)


def test_strata_that_are_not_the_classes(world, tmp_path):
    folder, truth, ids = world
    rng = np.random.default_rng(1)
    strata = rng.integers(0, 2, ids.shape).astype(np.uint8)
    path = folder.parent / "map.tif"
    other = write_map(tmp_path / "s.tif", strata, classes=(), nodata=None)
    sampling.sample(sampling.Request(path, size=300, minimum=50, strata=other), tmp_path / "s")
    file = tmp_path / "s" / design.FILE
    drawn = design.read(file)
    assert [one.name for one in drawn.strata] == ["stratum 0", "stratum 1"]
    found = assess.assess(write(tmp_path / "l.csv", drawn, lambda p: NAMES[truth[p.row, p.column]]), file)
    assert found.accuracy.counts.sum() == 300
    right = (truth == ids)[ids != 255].mean()
    assert abs(found.accuracy.overall.value - right) < 3 * found.accuracy.overall.standard_error
    assert f"of <code>{other}</code>" in assessment_page.html(found)


def test_too_few_labels_and_another_map(world, tmp_path):
    folder, _, _ = world
    file = folder / design.FILE
    drawn = design.read(file)
    first = next(p.point for p in drawn.points if p.mapped == 9)
    few = write(tmp_path / "l.csv", drawn, lambda p: NAMES[p.mapped] if p.mapped != 9 or p.point == first else "")
    with pytest.raises(
        InputError, match=r"l.csv: 1 of \d+ points of the stratum Water have a label; expected at least"
    ):
        assess.assess(few, file)
    labels = write(tmp_path / "all.csv", drawn, lambda p: NAMES[p.mapped])
    other = write_map(tmp_path / "other.tif", random_ids(seed=3))
    with pytest.raises(InputError, match=r"other.tif: is not the map that was sampled \(.*map.tif; fingerprint"):
        assess.assess(labels, file, other)
    sure = assess.assess(labels, file)
    none = assess.assess(write(tmp_path / "none.csv", drawn, lambda p: "Forest"), file)
    assert any(note.startswith("No point was seen to be Bare, rock") for note in none.notes)
    assert any("were alike, right or wrong, so the interval has no width" in note for note in sure.notes)


def test_a_map_that_is_gone_is_said(world, tmp_path):
    path = write_map(tmp_path / "m.tif", random_ids())
    drawn = sampling.sample(sampling.Request(path, size=60, minimum=10), tmp_path / "s")
    labels = write(tmp_path / "l.csv", drawn, lambda p: NAMES[p.mapped])
    path.unlink()
    found = assess.assess(labels, tmp_path / "s" / design.FILE)
    assert "The map is no longer at" in found.notes[0]
    with pytest.raises(InputError, match="no such file"):
        assess.assess(labels, tmp_path / "s" / design.FILE, path)
