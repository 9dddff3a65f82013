"""What is worth a look in a data set, told from its statistics alone."""

import re

import numpy as np
import own
import pytest

from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.prepare.findings import findings
from data_pipelines.schema.legends import LandClass, Legend

LEGEND = Legend("x", tuple(LandClass(i, name, "#000000") for i, name in enumerate("abcd")), ignored=(3,))


def split(*pixels: int, counted: int = 100, **further) -> dict:
    of_class = {str(i): count for i, count in enumerate(pixels) if count}
    return {"class_pixels": of_class, "sensors": {"image": {"pixels": counted}}, **further}


CASES = {
    "nothing": ({"train": split(30, 40, 30), "test": split(50, 30, 15)}, []),
    "nowhere": ({"train": split(50, 50), "test": split(60, 40)}, ["no pixel of c in any split"]),
    "not in test": ({"train": split(30, 40, 30), "test": split(50, 50)}, ["test: no pixel of c; what is not in it"]),
    "not in train": ({"train": split(50, 50), "test": split(9, 90, 1)}, ["train: no pixel of c; .* cannot be learned"]),
    "one class": (
        {"train": split(100), "test": split(30, 40, 30)},
        ["train: no pixel of b, c; ", "train: every labelled pixel is a; a single class tells nothing apart"],
    ),
    "no label": (
        {"train": split(30, 40, 30), "validation": split(0, 0, 0, 80), "test": split()},
        ["validation: no labelled pixel.*of ignored classes alone", "test: no labelled pixel.*all are 255"],
    ),
    "few labels": ({"train": split(20, 20, 15)}, ["train: 45% of the pixels that hold data have no label"]),
    "no data": ({"train": split(counted=0)}, ["train: no pixel holds data"]),
    "fill": (
        {"train": split(30, 40, 30, fills={"image": {"value": -9999.0, "share": 0.33}})},
        ["train: 33% of the pixels of image are -9999 in every band; if that means no data, declare it"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("splits", "expected"), CASES.values(), ids=CASES)
def test_findings(splits, expected):
    found = findings(LEGEND, splits)
    assert len(found) == len(expected), found
    for line, pattern in zip(found, expected, strict=True):
        assert re.match(pattern, line), line


def test_prepare_and_info_tell_them(tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr(quicklooks, "draw", lambda _: [])
    table = own.folder(tmp_path / "town")
    for k in range(4):
        values = own.picture(k)
        values[:, :20] = 0  # half of the image, in every band
        own.write(tmp_path / f"town/i{k}.tif", values)
    own.write(tmp_path / "town/m3.tif", np.full((1, 40, 70), 255, np.uint8))
    dataset = prepare.prepare("rasters", table, tmp_path / "data", tile=32)
    said = capsys.readouterr().out
    assert "warning: worth a look:\n  test: no labelled pixel" in said
    assert "train: 50% of the pixels of image are 0 in every band" in said
    prepare.prepare("rasters", table, tmp_path / "data", tile=32)
    assert "test: no labelled pixel" in capsys.readouterr().out  # and again, where it was prepared
    code, told, _ = command("info", str(dataset.folder))
    assert code == 0 and "worth a look: test: no labelled pixel" in told


def test_the_sample_has_none_but_its_split_without_labels(data_dir):
    from data_pipelines.reading.dataset import open_dataset

    dataset = open_dataset(data_dir, "sample")
    found = findings(dataset.legend, dataset.statistics["splits"])
    unlabelled = [split for split in dataset.splits if not dataset.class_pixels(split)]
    assert unlabelled and all(any(line.startswith(f"{split}: no labelled") for line in found) for split in unlabelled)
