"""Images of one's own on servers: prepared as the files would be; a change is noticed, a missing one is refused."""

import csv

import numpy as np
import own
import pytest
from range_server import asset, item, tiff

from data_pipelines.datasets.rasters import tables
from data_pipelines.prepare.prepare import prepare
from data_pipelines.remote import hosts, ranges
from data_pipelines.schema.errors import InputError


@pytest.fixture
def here(tmp_path, file_server, monkeypatch):
    """Two data sets of the same images: here, and on a server."""
    monkeypatch.setattr(ranges, "_cache", ranges._Cache(10**8))
    (tmp_path / "here").mkdir()
    own.folder(tmp_path / "here")
    for path in (tmp_path / "here").glob("i*.tif"):
        file_server.files[path.name] = path.read_bytes()
    lines = (tmp_path / "here/rasters.csv").read_text().splitlines()
    there = tmp_path / "here/there.csv"
    there.write_text("\n".join([lines[0], *(file_server.url(line) for line in lines[1:])]))
    return there


def records(dataset):
    return [
        (split, index, {key: np.asarray(value) for key, value in dataset.source(split)[index].items() if key != "id"})
        for split, count in dataset.splits.items()
        for index in range(count)
    ]


def test_records_are_those_of_the_files(here, tmp_path, file_server):
    found = [
        records(prepare(f"rasters/{name}", here.with_name(table), tmp_path / "data", tile=32, workers=workers))
        for name, table, workers in (("there", "there.csv", 2), ("here", "rasters.csv", 1))
    ]
    assert len(found[0]) == len(found[1]) > 4
    for (split, index, mine), (other, place, its) in zip(*found, strict=True):
        assert (split, index, mine.keys()) == (other, place, its.keys())
        for key in mine:
            np.testing.assert_array_equal(mine[key], its[key])
    file_server.etags["i0.tif"] = '"other"'
    with pytest.raises(InputError, match="an image, a mask, --tile or --resample has changed since"):
        prepare("rasters/there", here, tmp_path / "data", tile=32)


def test_an_image_that_is_not_there_is_refused_by_name(here, tmp_path, file_server):
    del file_server.files["i1.tif"]
    made = prepare("rasters/there", here, tmp_path / "data", tile=32, max_refused=0.5)
    (row,) = csv.DictReader((made.folder / "refused.csv").read_text().splitlines())
    assert "the server answers 404 Not Found" in row["reason"] and row["file"] == file_server.url("i1.tif")


def test_a_server_that_fails_ends_the_preparation(here, tmp_path, file_server):
    file_server.statuses = [0] * 6 + [500] * 1000
    with pytest.raises(InputError, match="expected an answer in 5 tries"):
        prepare("rasters/there", here, tmp_path / "data", tile=32)


def test_assets_of_an_item_are_an_image(here, tmp_path, file_server):
    bands = {name: own.picture(k, bands=1) for k, name in enumerate(("red", "nir"))}
    for name, values in bands.items():
        file_server.files[f"{name}.tif"] = tiff(values, edge=16)
    file_server.files["i.json"] = item({name: asset(f"{name}.tif", (name, name)) for name in bands})
    own.write(tmp_path / "m.tif", own.ids(0))
    (tmp_path / "legend.csv").write_text(own.LEGEND)
    (tmp_path / "rasters.csv").write_text(f'image,mask,split\n"{file_server.url("i.json#red,nir")}",m.tif,train\n')
    made = prepare("rasters/item", tmp_path / "rasters.csv", tmp_path / "data", tile=40)
    assert made.sensors[0].bands == ("red", "nir")
    image = made.source("train")[0]["image"]
    np.testing.assert_array_equal(image[..., 1], bands["nir"][0, :, :40])


def test_a_mask_is_a_file_here(here, tmp_path, file_server):
    text = here.read_text().replace("m0.tif", file_server.url("m0.tif"))
    here.write_text(text)
    with pytest.raises(InputError, match=r"line 2: mask=.*addresses are not opened"):
        prepare("rasters/there", here, tmp_path / "data")


@pytest.fixture
def items(tmp_path, file_server):
    """Writes a CSV of rows (image, split), whose items and files are on the server; returns the CSV."""
    for k, name in enumerate(("red", "nir", "other")):
        file_server.files[f"{name}.tif"] = tiff(own.picture(k, bands=1), edge=16)
    for name in ("i.json", "j.json"):
        file_server.files[name] = item({key: asset(f"{key}.tif", (key, key)) for key in ("red", "nir")})
    for k in range(3):
        own.write(tmp_path / f"m{k}.tif", own.ids(k))
    (tmp_path / "legend.csv").write_text(own.LEGEND)

    def table(*rows):
        text = "".join(f'"{image}",m{k}.tif,{split}\n' for k, (image, split) in enumerate(rows))
        (tmp_path / "rasters.csv").write_text(f"image,mask,split\n{text}")
        return tmp_path / "rasters.csv"

    return table


@pytest.mark.parametrize("content", [None, b"{", b"<html>"])
def test_an_item_that_is_gone_is_refused_by_name_and_the_others_go_on(items, file_server, tmp_path, content):
    url = file_server.url
    file_server.files["k.json"] = content
    if content is None:
        del file_server.files["k.json"]
    csv_path = items((url("i.json#red"), "train"), (url("k.json#red"), "train"))
    made = prepare("rasters/item", csv_path, tmp_path / "data", tile=32, max_refused=0.9)
    (row,) = csv.DictReader((made.folder / "refused.csv").read_text().splitlines())
    assert row["file"] == url("k.json") and made.splits["train"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("i.json#red,nir", "i.json#nir,red"),
        ("i.json#red,nir", "i.json#a=nir"),
        ("red.tif", "//red.tif"),
        ("i.json#red", "red.tif"),
        ("i.json#red", "j.json#red,nir"),
    ],
)
def test_one_image_under_two_names_is_in_one_split(items, file_server, tmp_path, one, other):
    first, second = (file_server.url(name) for name in (one, other))
    if other.startswith("//"):
        hosts.allow(f"localhost:{file_server.server_address[1]}")
        first, second = (
            f"http://{host}:{file_server.server_address[1]}/red.tif" for host in ("localhost", "LOCALHOST")
        )
    table = items((first, "train"), (second, "test"))
    with pytest.raises(InputError, match=r"line 3: image .* is already in line 2"):
        prepare("rasters/item", table, tmp_path / "data", tile=32)


def test_assets_of_an_item_are_files_of_their_own(items, file_server, tmp_path):
    table = items((file_server.url("i.json#red"), "train"), (file_server.url("i.json#nir"), "test"))
    assert [pair.split for pair in tables.read_table(table).pairs] == ["train", "test"]
