"""Figures side by side."""

import json

import pytest

from data_pipelines.schema.errors import InputError
from lcjax.profiling import comparison

FIGURES = {
    "what": "training step",
    "model": "unet",
    "task": "segmentation",
    "precision": "f32",
    "device": "1 x cpu",
    "devices": 1,
    "jax": "0.10.2",
    "batch_size": 8,
    "images_per_second": 80.0,
    "step_ms": {"median": 100.0, "p10": 90.0, "p90": 110.0},
    "noisy": False,
}


def written(path, **fields):
    path.write_text(json.dumps(FIGURES | fields))
    return path


def test_the_ratio_is_of_images_per_second_and_its_range_of_the_far_ends(tmp_path):
    one = written(tmp_path / "a.json")
    other = written(
        tmp_path / "b.json",
        batch_size=16,
        step_ms={"median": 160.0, "p10": 150.0, "p90": 170.0},
        images_per_second=100.0,
        more={"is": "left alone"},
    )
    first, second = comparison.compare([one, other])
    assert (first["ratio"], first["other"]) == (1.0, {})
    assert second["ratio"] == pytest.approx((16 / 160) / (8 / 100))
    assert second["low"] == pytest.approx((16 / 170) / (8 / 90))
    assert second["high"] == pytest.approx((16 / 150) / (8 / 110))
    assert second["other"] == {"batch_size": 16}
    text = comparison.table([first, second])
    assert "batch_size=16" in text and "1.25" in text and "measure again" not in text


def test_what_is_not_told_apart_is_said(tmp_path):
    rows = comparison.compare([written(tmp_path / "a.json"), written(tmp_path / "b.json", noisy=True)])
    assert "where 1 lies between low and high" in comparison.table(rows) and "noisy" in comparison.table(rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "expected an object"),
        (json.dumps({"what": "scaling", "rows": []}), "model"),
        (json.dumps(FIGURES | {"images_per_second": -1}), "images_per_second"),
        (json.dumps(FIGURES | {"step_ms": {"median": 1, "p10": 1}}), "p90"),
        (json.dumps(FIGURES | {"what": "inference"}), "inference, and .*a.json is of training step"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, text, expected):
    written(tmp_path / "a.json")
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(InputError, match=rf"(?s)^{tmp_path}/b.json: .*{expected}") as raised:
        comparison.compare([tmp_path / "a.json", tmp_path / "b.json"])
    assert "\n" not in str(raised.value)


def test_one_file_is_nothing_to_compare(tmp_path):
    with pytest.raises(InputError, match="expected two or more"):
        comparison.compare([written(tmp_path / "a.json")])
