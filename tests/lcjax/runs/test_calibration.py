"""calibration.json is read back as it was written, and what is not of this checkpoint is refused in one line."""

import dataclasses
import json

import pytest

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.errors import InputError
from lcjax.runs import calibration
from lcjax.runs.calibration import Calibration

KEY, OTHER = "0123456789abcdef", "fedcba9876543210"
NAMES, IDS = [c.name for c in DFC2020.scored], [c.id for c in DFC2020.scored]


def fitted(**fields) -> Calibration:
    """A calibration of the eight classes of DFC2020."""
    given = {
        "kind": "best",
        "step": 7,
        "temperature": 1.5,
        "loss": [0.7, 0.6],
        "split": {"spec": "validation", "id": "abc", "records": 2, "pixels": 80},
        "classes": NAMES,
        "class_ids": IDS,
        "class_pixels": [10] * 8,
        "thresholds": {f"0.{share}": [0.25] * 8 for share in range(50, 100)},
    }
    return Calibration(**(given | fields))


def test_it_is_read_as_it_was_written_and_keeps_the_other_checkpoint(tmp_path):
    assert calibration.read(tmp_path) is None
    last = fitted(kind="last", step=9)
    calibration.write(tmp_path, KEY, fitted())
    calibration.write(tmp_path, OTHER, last)
    assert calibration.read(tmp_path) == {KEY: fitted(), OTHER: last}
    newer = fitted(step=8)
    calibration.write(tmp_path, "0" * 16, newer)  # trained on: the best one is another now
    assert calibration.read(tmp_path) == {OTHER: last, "0" * 16: newer}
    assert fitted().digest != newer.digest and fitted().digest == fitted().digest
    found = calibration.of_checkpoint(calibration.read(tmp_path), tmp_path, OTHER, DFC2020, "last", 9)
    assert found == last and found.temperatures == (1.0, 1.5)


def test_what_cannot_be_read_is_replaced(tmp_path):
    (tmp_path / calibration.FILE).write_text("{")
    calibration.write(tmp_path, KEY, fitted())
    assert calibration.read(tmp_path) == {KEY: fitted()}


def test_of_another_checkpoint_or_legend_it_is_refused(tmp_path):
    calibration.write(tmp_path, KEY, fitted())
    table = calibration.read(tmp_path)
    with pytest.raises(InputError, match=r"of another checkpoint: found the best one of step 7 \(0123456789abcdef\), "):
        calibration.of_checkpoint(table, tmp_path, OTHER, DFC2020, "last", 9)
    with pytest.raises(InputError, match=r"--calibrate --checkpoint=last`, or go without by --calibration=off"):
        calibration.of_checkpoint(table, tmp_path, OTHER, DFC2020, "last", 9)
    fewer = dataclasses.replace(DFC2020, ignored=(*DFC2020.ignored, 1))
    with pytest.raises(InputError, match=r"of another legend: found 1 Forest, 2 Shrubland, .*expected 2 Shrubland, "):
        calibration.of_checkpoint(table, tmp_path, KEY, fewer, "best", 7)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: one | {"temperature": float("nan")}, r"cannot be read as JSON \(NaN, expected a finite number\)"),
        (lambda one: one | {"temperature": 0}, r"temperature: found 0, expected a number >= 0.0625"),
        (lambda one: one | {"temperature": "1"}, r'temperature: found "1", expected a number'),
        (lambda one: {k: v for k, v in one.items() if k != "temperature"}, r"temperature: missing"),
        (lambda one: one | {"thresholds": {"0.90": [2.0] * 8}}, r"found 2.0, expected a number <= 1"),
        (lambda one: one | {"thresholds": {}}, r"thresholds\['0.50'\]: missing"),
        (lambda one: one | {"thresholds": dict([*one["thresholds"].items()][:40])}, r"thresholds\['0.90'\]: missing"),
        (lambda one: one | {"thresholds": one["thresholds"] | {"0.90": [0.5]}}, r"lists of 1, 8 classes; expected all"),
        (lambda one: one | {"more": 1}, r"more: a field that nothing reads"),
    ],
)
def test_damage_is_one_line(tmp_path, change, told):
    calibration.write(tmp_path, KEY, fitted())
    path = tmp_path / calibration.FILE
    fields = json.loads(path.read_text())
    fields["checkpoints"][KEY] = change(fields["checkpoints"][KEY])
    path.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=told) as refusal:
        calibration.read(tmp_path)
    assert str(path) in str(refusal.value) and "--calibrate`, or delete it" in str(refusal.value)


def test_half_a_file_and_another_version_are_one_line(tmp_path):
    calibration.write(tmp_path, KEY, fitted())
    path = tmp_path / calibration.FILE
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"calibration.json: cannot be read as JSON"):
        calibration.read(tmp_path)
    path.write_text(text.replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(InputError, match=r"calibration.json: schema_version 1; expected 2; run `lcjax evaluate"):
        calibration.read(tmp_path)


def test_coverages_are_whole_percents():
    assert calibration.percent(0.9) == "0.90" and calibration.percent(0.55) == "0.55"
    for wrong in (0.3, 1.0, 0.905, float("nan"), 90):
        with pytest.raises(InputError, match=r"expected a coverage in whole percents from 0.5 to 0.99"):
            calibration.percent(wrong)
