"""record_confusions.npz is read back as it was written, and what is none is refused by name."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from lcjax.runs import checksums, evaluations, npz_files, record_confusions

COUNTS = np.random.default_rng(0).integers(0, 9, (3, 2, 2)).astype(np.uint32)
RECORDS = record_confusions.RecordConfusions(
    ids=np.array(["a", "b", "c"]),
    groups=np.array(["", "here", "here"]),
    bounds=np.array([[np.nan] * 4, [1, 2, 3, 4], [179, 2, -179, 4]]),
    confusion=COUNTS,
    other=np.ones((3, 2), np.uint32),
    ignored=np.zeros(3, np.uint32),
)
FIELDS = {
    "records": 3,
    "class_set": ["x", "y"],
    "confusion": COUNTS.sum(axis=0).tolist(),
    "predicted_other": [3, 3],
}


def test_what_is_written_is_read(tmp_path):
    record_confusions.write(tmp_path, RECORDS)
    checksums.write(tmp_path, [evaluations.RECORDS])
    assert {path.name for path in tmp_path.iterdir()} == {evaluations.RECORDS, checksums.FILE}
    found = record_confusions.read(tmp_path, FIELDS)
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(RECORDS, field.name))


def test_an_evaluation_from_before_has_none(tmp_path):
    assert record_confusions.read(tmp_path, FIELDS) is None
    record_confusions.write(tmp_path, RECORDS)
    checksums.write(tmp_path, [])  # by a program that did not know of it, over an evaluation that had it
    assert record_confusions.read(tmp_path, FIELDS) is None


@pytest.mark.parametrize(
    ("changes", "fields", "says"),
    [
        ({"confusion": COUNTS.astype(np.int64)}, {}, r"confusion: found int64 of shape \(3, 2, 2\), expected uint32"),
        ({"confusion": COUNTS[:2]}, {}, r"confusion: found uint32 of shape \(2, 2, 2\)"),
        ({"bounds": np.zeros((3, 2))}, {}, r"bounds: found float64 of shape \(3, 2\), expected float64 of shape"),
        ({"bounds": np.full((3, 4), 200.0)}, {}, "bounds: found others than west, south, east and north in degrees"),
        ({"ids": np.array("abc")}, {}, r"ids: found str\d* of shape \(\), expected U of shape \(0,\)"),
        ({"confusion": COUNTS + np.uint32(1)}, {}, "its counts do not add up to those of metrics.json"),
        ({}, {"records": 4}, "its counts do not add up"),
        ({}, {"predicted_other": [3, 4]}, "its counts do not add up"),
        ({}, {"class_set": ["x"]}, r"expected uint32 of shape \(3, 1, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, fields, says):
    npz_files.write(tmp_path / evaluations.RECORDS, dataclasses.asdict(RECORDS) | changes)
    checksums.write(tmp_path, [evaluations.RECORDS])
    with pytest.raises(InputError, match=says) as caught:
        record_confusions.read(tmp_path, FIELDS | fields)
    assert str(caught.value).startswith(f"{tmp_path}/record_confusions.npz: ") and "\n" not in str(caught.value)


def test_what_is_no_npz_or_lacks_an_array_is_refused(tmp_path):
    path = tmp_path / evaluations.RECORDS
    path.write_bytes(b"PK")
    checksums.write(tmp_path, [path.name])
    with pytest.raises(InputError, match="not readable counts of records"):
        record_confusions.read(tmp_path, FIELDS)
    npz_files.write(path, {"ids": RECORDS.ids})
    with pytest.raises(InputError, match=r"There is no item named 'groups\.npy'"):
        record_confusions.read(tmp_path, FIELDS)


def test_too_many_counts_are_not_kept():
    assert record_confusions.fits(700_000, 19) and not record_confusions.fits(800_000, 19)
    assert limits.CONFUSIONS_BYTES > 700_000 * 19**2 * 4
