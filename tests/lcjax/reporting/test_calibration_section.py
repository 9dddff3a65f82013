"""What a report says of probabilities is what was measured, with a diagram that shows it."""

import io

import numpy as np
import pytest
from finished import make_report, make_run
from matplotlib.image import imread

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.errors import InputError
from lcjax.plotting import figures
from lcjax.runs import evaluations

NAMES = [c.name for c in DFC2020.scored]


def bins(seed: int) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    told = (np.arange(15) + 0.5) / 15
    return [[int(n), float(p), float(p ** (1 + seed % 2))] for n, p in zip(rng.integers(0, 90, 15), told, strict=True)]


def measured(seed: int) -> dict:
    """What `evaluate` finds of a calibrated run."""

    def one(error: float) -> dict:
        errors = {name: error / (place + 1) for place, name in enumerate(NAMES)}
        of_class = {name: bins(seed + place) for place, name in enumerate(NAMES)}
        return {
            "NLL": 9 * error,
            "ECE": error,
            "classwise_ECE": error / 2,
            "ECE_of": errors,
            "bins": bins(seed),
            "bins_of": of_class,
        }

    reached = {name: 0.9 - 0.01 * place for place, name in enumerate(NAMES)}
    sets = [{"stated": 0.9, "reached": 0.87, "reached_of": reached, "classes": 1.75, "empty": 0.0625}]
    split = {"spec": "validation", "id": "abc", "records": 2, "pixels": 4096}
    return {"temperature": 1.25, "fitted_on": split, "before": one(0.08), "after": one(0.02), "sets": sets}


AFTER, SETS = measured(0)["after"], measured(0)["sets"][0]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    root = tmp_path_factory.mktemp("calibrated")
    make_run(root / "runs" / "alpha", 0, calibration=measured(0))
    make_run(root / "runs" / "beta", 1)
    return make_report(f"{root}/runs/*", root / "out")


def test_the_numbers_of_the_page_are_those_of_the_files(page):
    rows = page.tables["table-1", "calibration"]
    assert rows[1] == ["alpha", "1.250", "0.080", "0.020", "0.040", "0.010", "0.720", "0.180"]
    by_class = next(row for row in rows if row[:2] == ["alpha", "before"])
    assert by_class[2:] == [f"{0.08 / (place + 1):.3f}" for place in range(8)]
    assert rows[-1] == ["alpha", "0.900", "0.870", f"0.830 ({NAMES[-1]})", "1.75", "0.062"]
    assert not [row for row in rows if row[0] == "beta"]  # it is not calibrated


def test_the_diagram_shows_every_class_and_both_curves():
    panels = {"mapped class": {"before": bins(0), "after": bins(1)}}
    panels |= {name: {"before": bins(2), "after": bins(3)} for name in NAMES[:4]}
    drawn = figures.reliability(panels)
    picture = imread(io.BytesIO(drawn))
    assert drawn == figures.reliability(panels)
    for colour in figures.LINE_COLOURS[:2]:
        wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        assert (np.abs(picture[..., :3] - wanted).max(-1) < 0.02).sum() > 300
    assert figures.reliability({"one": {"before": [[0, 0.0, 0.0]] * 15, "after": [[0, 0.0, 0.0]] * 15}})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"temperature": 0.0}, r"calibration.temperature: found 0.0, expected a number >= 0.0625"),
        ({"sets": None}, r"calibration.sets: found null, expected a list"),
        ({"after": AFTER | {"bins": []}}, r"calibration.after.bins: "),
        ({"after": AFTER | {"bins": bins(1)[:9]}}, r"calibration.after: diagrams of 9, 15 bins; expected 15 in each"),
        ({"after": AFTER | {"ECE_of": {"Moor": 0.1}}}, r"after.ECE_of: found Moor; expected each class of class_set"),
        ({"after": AFTER | {"bins_of": {}}}, r"after.bins_of: found none; expected each class of class_set"),
        ({"sets": [SETS | {"reached_of": {"Moor": 1}}]}, r"sets\[0\].reached_of: found Moor; expected classes of"),
    ],
)
def test_damage_is_one_line(tmp_path, change, told):
    make_run(tmp_path / "alpha", 0, calibration=measured(0) | change)
    with pytest.raises(InputError, match=told):
        evaluations.read(tmp_path / "alpha" / "evaluation" / "test", of_classes=True)
