"""Images, masks, tables and folders of any name are prepared as those of plain names."""

import csv
import unicodedata

import numpy as np
import own
import pytest
from any_names import ANY_NAME
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.datasets.rasters import tables
from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.reading.dataset import open_dataset


def apart(names: list[str]) -> bool:
    """Whether they are different names on every disk, and none is called as the tables are."""
    folded = {unicodedata.normalize("NFC", name).casefold() for name in [*names, "rasters", "legend"]}
    return len(folded) == len(names) + 2


@settings(max_examples=10, derandomize=True, deadline=None)
@given(st.lists(ANY_NAME, min_size=5, max_size=5).filter(apart))
def test_any_name_is_prepared(tmp_path_factory, names):
    folder, data, *images = names
    root = tmp_path_factory.mktemp("named")
    source, splits = root / folder, ("train", "validation", "test")
    for k, name in enumerate(images):
        own.write(source / f"{name}.tif", own.picture(k, 32, 32))
        own.write(source / f"{name}.png", own.ids(k, 32, 32))
    rows = [(f"{name}.tif", f"{name}.png", split, name) for name, split in zip(images, splits, strict=True)]
    (source / "rasters.csv").write_text(tables.to_csv(tables.PAIRS_COLUMNS, rows))
    (source / "legend.csv").write_text(own.LEGEND)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quicklooks, "draw", lambda _: [])
        prepare.prepare("rasters/town", source, root / data, tile=32)
    dataset = open_dataset(root / data, "rasters/town")
    with (dataset.folder / "records.csv").open(newline="") as file:
        named = [(row["source"], row["group"]) for row in csv.DictReader(file)]
    assert named == [(f"{name}.tif", name) for name in images]
    for k, split in enumerate(splits):
        (record,) = list(dataset.source(split))
        np.testing.assert_array_equal(record["image"], np.moveaxis(own.picture(k, 32, 32), 0, -1))
        np.testing.assert_array_equal(record["label"], own.ids(k, 32, 32)[0])
