"""Images of one's own in Zarr stores: prepared as the files would be; a change is noticed."""

import re

import numpy as np
import own
import pytest

from data_pipelines.geo import quiet
from data_pipelines.prepare.prepare import prepare
from data_pipelines.schema.errors import InputError


@pytest.fixture
def here(tmp_path):
    """Two tables of the same images: files, and stores."""
    (tmp_path / "here").mkdir()
    own.folder(tmp_path / "here")
    with quiet.silently():
        import rioxarray

        for path in sorted((tmp_path / "here").glob("i*.tif")):
            found = rioxarray.open_rasterio(path, mask_and_scale=False)
            found.to_dataset(name="image").to_zarr(path.with_suffix(".zarr"), zarr_format=3)
    table = tmp_path / "here/rasters.csv"
    header, *rows = table.read_text().splitlines()
    stores = [re.sub(r"\b(i\d)\.tif", r"\1.zarr", row).replace("i0.zarr", "i0.zarr/image") for row in rows]
    table.with_name("stores.csv").write_text("\n".join([header, *stores]) + "\n")
    return table.with_name("stores.csv")


def records(dataset):
    return [
        (split, {key: np.asarray(value) for key, value in dataset.source(split)[index].items() if key != "id"})
        for split, count in dataset.splits.items()
        for index in range(count)
    ]


def test_records_are_those_of_the_files(here, tmp_path):
    found = [
        records(prepare(f"rasters/{name}", here.with_name(table), tmp_path / "data", tile=32, workers=workers))
        for name, table, workers in (("stores", "stores.csv", 2), ("files", "rasters.csv", 1))
    ]
    assert len(found[0]) == len(found[1]) > 4
    for (split, mine), (other, its) in zip(*found, strict=True):
        assert (split, mine.keys()) == (other, its.keys())
        for key in mine:
            np.testing.assert_array_equal(mine[key], its[key])
    chunk = next(path for path in (here.parent / "i0.zarr/image").rglob("*") if path.is_file() and path.suffix == "")
    chunk.write_bytes(chunk.read_bytes() + b"more")
    with pytest.raises(InputError, match="an image, a mask, --tile or --resample has changed since"):
        prepare("rasters/stores", here, tmp_path / "data", tile=32)


def test_one_store_is_one_place(here, tmp_path):
    """Two arrays of a store in two splits would be the same ground in both."""
    header, first, second, *_ = here.read_text().splitlines()
    twice = second.replace(second.split(",")[0], first.split(",")[0].removesuffix("/image"))
    split = header.split(",").index("split")
    parts = [row.split(",") for row in (first, twice)]
    parts[0][split], parts[1][split] = "train", "test"
    here.write_text("\n".join([header, *map(",".join, parts)]) + "\n")
    with pytest.raises(InputError, match=r"i0\.zarr.*line 2"):
        prepare("rasters/stores", here, tmp_path / "data", tile=32)
