"""Own imagery: every labelled pixel once, as it was in the files, or refused by name."""

import csv
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import own
import pytest
import rasterio
from rasterio.enums import ColorInterp

from data_pipelines.datasets.rasters import builder, class_table, tables
from data_pipelines.prepare import pipeline, prepare, quicklooks
from data_pipelines.reading.dataset import PreparedDataset, open_dataset
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Extent
from lcjax.cli import prepare as prepare_verb

NAME, TILE = "rasters/town", 32


def make(source, data_dir, **how) -> PreparedDataset:
    return prepare.prepare(NAME, source, data_dir, **({"tile": TILE} | how))


def records(dataset, split) -> list[dict]:
    source = dataset.source(split)
    return [source[k] for k in range(len(source))]


def refusals(dataset) -> dict[str, str]:
    with (dataset.folder / "refused.csv").open(newline="") as file:
        return {row["file"].rpartition("/")[2]: row["reason"] for row in csv.DictReader(file)}


def place(record: dict) -> tuple[str, int, int]:
    image, row, column = record["id"].rsplit("_", 2)
    return image, int(row[1:]), int(column[1:])


def assembled(dataset, split, height=40, width=70, bands=3):
    """Images and labels put together again from the records: {image: (image, label, how often labelled)}."""
    whole = {}
    for record in records(dataset, split):
        name, top, left = place(record)
        blank = np.zeros((height, width, bands), record["image"].dtype), np.full((height, width), 255, np.uint8)
        image, label, times = whole.setdefault(name, (*blank, np.zeros((height, width), int)))
        part = np.s_[top : top + TILE, left : left + TILE]
        h, w = label[part].shape
        image[part] = record["image"][:h, :w]
        fresh = record["label"][:h, :w] != 255
        label[part][fresh] = record["label"][:h, :w][fresh]
        times[part] += fresh
        assert (record["label"][h:] == 255).all() and (record["label"][:, w:] == 255).all()
    return whole


@pytest.fixture
def table(tmp_path):
    return own.folder(tmp_path / "town")


def test_every_labelled_pixel_is_in_one_record(table, tmp_path):
    dataset = make(table.parent, tmp_path / "data")
    assert dataset.splits == {"train": 12, "validation": 6, "test": 6}  # 40 x 70 in tiles of 32: 2 rows of 3
    whole = assembled(dataset, "train+validation+test")
    assert sorted(whole) == [f"i{k}.tif" for k in range(4)]
    for k in range(4):
        image, label, times = whole[f"i{k}.tif"]
        np.testing.assert_array_equal(image, np.moveaxis(own.picture(k), 0, -1))
        np.testing.assert_array_equal(label, own.ids(k)[0])
        assert (times == 1).all()
    counts = {str(i): int(sum((own.ids(k) == i).sum() for k in (0, 1))) for i in (1, 2, 7)}
    assert dataset.statistics["splits"]["train"]["class_pixels"] == counts


def test_the_data_set_says_what_it_is(table, tmp_path):
    dataset = make(table, tmp_path / "data", legend=table.with_name("legend.csv"))
    again = open_dataset(tmp_path / "data", NAME)
    assert (again.name, again.version, again.tile) == (NAME, "1.0.0", TILE)
    assert again.folder == tmp_path / "data" / "rasters" / "town" / "1.0.0"
    (sensor,) = again.sensors
    assert (sensor.name, sensor.dtype, sensor.zero_is_nodata) == ("image", "uint8", False)
    assert sensor.bands == sensor.display == ("band1", "band2", "band3")
    assert sensor.ground_sampling is None
    values = np.stack([own.picture(k) for k in (0, 1)], 1).reshape(3, -1).astype(float)  # the train split
    np.testing.assert_allclose(sensor.scaling.offset, values.mean(1), rtol=1e-12)
    np.testing.assert_allclose(sensor.scaling.scale, values.std(1), rtol=1e-9)
    assert sensor.scaling.low == tuple(values.min(1)) and sensor.scaling.high == tuple(values.max(1))
    assert [(c.id, c.name, c.colour) for c in again.legend.scored] == [
        (1, "water", "#0000ff"),
        (2, "forest", "#008000"),
    ]
    assert again.legend.ignored == (7,)
    test = dataset.statistics["splits"]["test"]["sensors"]["image"]
    np.testing.assert_allclose(test["mean"], own.picture(3).mean((1, 2)), rtol=1e-12)
    assert test["pixels"] == 40 * 70


def test_records_tell_where_they_come_from(tmp_path):
    """Two images of one group with a place, and one without either, which lies beside the folder of the CSV."""
    root = tmp_path / "town"
    own.write(root / "sub" / "a.tif", own.picture(0), crs="EPSG:32633")
    own.write(root / "b.tif", own.picture(1, height=20), crs=own_crs())
    own.write(tmp_path / "c.png", own.picture(2))
    for name, height in (("a", 40), ("b", 20), ("c", 40)):
        own.write(root / f"{name}_mask.tif", own.ids(0, height=height))
    rows = ["sub/a.tif,a_mask.tif,train,north", "b.tif,b_mask.tif,train,north", f"{tmp_path}/c.png,c_mask.tif,test,"]
    (root / "rasters.csv").write_text("image,mask,split,group\n" + "\n".join(rows) + "\n")
    (root / "legend.csv").write_text(own.LEGEND)
    origins = on_disk.read_records(make(root, tmp_path / "data").folder).origins
    assert len(origins) == 6 + 3 + 6
    # 70 pixels of 0.5 m: the third tile is moved back, to columns 38 to 70; the second row to rows 8 to 40.
    assert origins["sub/a.tif_r8_c38"] == on_disk.Origin(
        "north", "sub/a.tif", Extent("EPSG:32633", (500_019.0, 4_999_980.0, 500_035.0, 4_999_996.0))
    )
    low = origins["b.tif_r0_c0"]  # 20 pixels high: what is mirrored below lies nowhere
    assert (low.group, low.source) == ("north", "b.tif")
    assert rasterio.crs.CRS.from_wkt(low.extent.crs) == own_crs()
    assert low.extent.bounds == (500_000.0, 4_999_990.0, 500_016.0, 5_000_000.0)
    assert origins[f"{tmp_path}/c.png_r0_c0"] == on_disk.Origin("", f"{tmp_path}/c.png", None)


def own_crs() -> rasterio.crs.CRS:
    """One that no register of codes knows."""
    return rasterio.crs.CRS.from_proj4("+proj=laea +lat_0=12.5 +lon_0=3.25 +ellps=bessel +units=m")


def test_plain_rasters_needs_no_name(table, tmp_path):
    dataset = prepare.prepare("rasters", table, tmp_path, tile=TILE)
    assert dataset.folder == tmp_path / "rasters" / "1.0.0" and open_dataset(tmp_path, "rasters").splits


def test_pictures_can_be_drawn(table, tmp_path):
    folder = make(table, tmp_path / "data").folder
    for name in (quicklooks.DISTRIBUTION.format(""), quicklooks.CONTACT_SHEET):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_the_contact_sheet_shows_labels_and_no_record_twice(table, tmp_path):
    dataset = make(table, tmp_path / "data")
    for split, count in dataset.splits.items():
        for number in (1, 4, count):
            shown = quicklooks._shown(dataset.source(split), number)
            assert len({record["id"] for record in shown}) == number
    first = quicklooks._shown(dataset.source("test"), 1)[0]
    assert (first["label"] != 255).all()


@pytest.mark.parametrize(("size", "expected"), [
    (10, [(0, 0)]), (32, [(0, 0)]), (33, [(0, 0), (1, 31)]), (64, [(0, 0), (32, 0)]), (70, [(0, 0), (32, 0), (38, 26)]),
])  # fmt: skip
def test_starts(size, expected):
    assert builder.starts(size, 32) == expected


# ---- files of many kinds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "bands", "dtype"),
    [(".tif", 5, "uint16"), (".tif", 1, "int16"), (".tif", 2, "int8"), (".tif", 4, "float32"), (".png", 3, "uint8"),
     (".png", 1, "uint16")],
)  # fmt: skip
def test_bands_and_dtypes(tmp_path, suffix, bands, dtype):
    values = own.picture(3, bands=bands, dtype=dtype)
    own.write(tmp_path / f"a{suffix}", values)
    own.write(tmp_path / "m.png", own.ids(3))
    (tmp_path / "rasters.csv").write_text(f"image,mask,split\na{suffix},m.png,train\n")
    (tmp_path / "legend.csv").write_text(own.LEGEND)
    dataset = make(tmp_path, tmp_path / "data")
    image, label, _ = assembled(dataset, "train", bands=bands)[f"a{suffix}"]
    assert image.dtype == dataset.sensors[0].dtype == dtype
    np.testing.assert_array_equal(image, np.moveaxis(values, 0, -1))
    np.testing.assert_array_equal(label, own.ids(3)[0])
    assert len(dataset.sensors[0].display) == (3 if bands >= 3 else 1)


def test_float64_is_stored_as_float32(table, tmp_path):
    values = own.picture(0, dtype="float64")
    for k in range(4):
        own.write(table.parent / f"i{k}.tif", values)
    dataset = make(table, tmp_path / "data")
    assert dataset.sensors[0].dtype == "float32"
    np.testing.assert_array_equal(
        assembled(dataset, "test")["i3.tif"][0], np.moveaxis(values.astype(np.float32), 0, -1)
    )


def test_jpeg_under_any_name(table, tmp_path):
    smooth = np.broadcast_to(np.linspace(20, 200, 70).astype(np.uint8), (3, 40, 70))
    own.write(table.parent / "i0.tif", smooth, driver="JPEG")
    dataset = make(table, tmp_path / "data")
    image = assembled(dataset, "train")["i0.tif"][0]
    assert np.abs(image.astype(int) - np.moveaxis(smooth, 0, -1)).max() < 12
    assert dataset.sensors[0].bands == ("band1", "band2", "band3")


def test_nodata_nan_and_alpha_are_neither_labelled_nor_counted(tmp_path):
    values = own.picture(0, dtype="float32")
    values[1, :5], values[2, 35:, 60:], values[0, 20, 20] = np.nan, -9999, np.inf
    own.write(tmp_path / "a.tif", values, nodata=-9999)
    own.write(tmp_path / "m.tif", own.ids(0))
    (tmp_path / "rasters.csv").write_text("image,mask,split\na.tif,m.tif,train\n")
    (tmp_path / "legend.csv").write_text(own.LEGEND)
    dataset = make(tmp_path, tmp_path / "data")
    valid = np.isfinite(values).all(0) & (values != -9999).all(0)
    label = assembled(dataset, "train")["a.tif"][1]
    np.testing.assert_array_equal(label, np.where(valid, own.ids(0)[0], 255))
    found = dataset.statistics["splits"]["train"]["sensors"]["image"]
    assert found["pixels"] == valid.sum()
    np.testing.assert_allclose(found["mean"], values[:, valid].mean(1, dtype=float), rtol=1e-6)
    first = next(record["image"] for record in records(dataset, "train") if place(record)[1:] == (0, 0))
    inside = valid[:TILE, :TILE]
    np.testing.assert_allclose(first[~inside][0], values[:, :TILE, :TILE][:, inside].mean(1, dtype=float), rtol=1e-5)
    assert np.isfinite(first).all()


def test_alpha_is_a_mask_and_not_a_band(table, tmp_path):
    alpha = np.full((1, 40, 70), 255, np.uint8)
    alpha[0, :7] = 0
    rgba = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    for k in range(4):
        own.write(table.parent / f"i{k}.tif", np.concatenate([own.picture(k), alpha]), interp=rgba)
    dataset = make(table, tmp_path / "data")
    assert dataset.sensors[0].bands == dataset.sensors[0].display == ("red", "green", "blue")
    np.testing.assert_array_equal(assembled(dataset, "test")["i3.tif"][1] == 255, alpha[0] == 0)


def test_a_band_that_gdal_takes_for_alpha_is_refused(table, tmp_path):
    rgba = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    own.write(table.parent / "i0.tif", own.picture(0, bands=4), interp=rgba)
    dataset = make(table, tmp_path / "data", max_refused=0.5)
    assert "rio edit-info --colorinterp 4=undefined i0.tif" in refusals(dataset)["i0.tif"]


def test_an_image_smaller_than_a_tile_is_mirrored(table, tmp_path, capsys):
    small = own.picture(9, 10, 40)
    own.write(table.parent / "i0.tif", small)
    own.write(table.parent / "m0.tif", own.ids(9, 10, 40))
    dataset = make(table, tmp_path / "data")
    said = capsys.readouterr().out
    assert "1 images are smaller than a tile of 32 px" in said and "--tile=10 fills none" in said
    first, second = (record for record in records(dataset, "train") if place(record)[0] == "i0.tif")
    np.testing.assert_array_equal(first["image"][:10], np.moveaxis(small, 0, -1)[:, :32])
    np.testing.assert_array_equal(first["image"][10:20], first["image"][:10][::-1])
    assert (first["label"][10:] == 255).all()
    np.testing.assert_array_equal(second["label"][:10, 24:], own.ids(9, 10, 40)[0, :, 32:])
    assert (second["label"][:10, :24] == 255).all()


def test_ground_sampling_is_the_median_where_all_tell(table, tmp_path):
    for k, metres in enumerate((0.5, 0.5, 0.2, 3.0)):
        transform = rasterio.Affine(metres, 0, 500_000, 0, -metres, 5_000_000)
        own.write(table.parent / f"i{k}.tif", own.picture(k), crs="EPSG:32632", transform=transform)
    found = make(table, tmp_path / "data").sensors[0].ground_sampling
    assert found == pytest.approx(0.5 / 0.9996, rel=1e-4)  # in the middle of a zone UTM shrinks the Earth by that
    degrees = rasterio.Affine(1e-5, 0, 10, 0, -1e-5, 60)
    for k in range(4):
        own.write(table.parent / f"i{k}.tif", own.picture(k), crs="EPSG:4326", transform=degrees)
    found = make(table, tmp_path / "other").sensors[0].ground_sampling
    assert found == pytest.approx((1.112 + 0.556) / 2, rel=0.01)  # half as long in longitude at 60 degrees


def test_bands_are_put_in_the_order_of_most_images(table, tmp_path):
    for k in range(4):
        values, names = own.picture(k), ("NIR", "Red", "green")
        own.write(
            table.parent / f"i{k}.tif", values[::-1] if k == 3 else values, names=names[::-1] if k == 3 else names
        )
    dataset = make(table, tmp_path / "data")
    assert dataset.sensors[0].bands == ("NIR", "Red", "green")
    np.testing.assert_array_equal(assembled(dataset, "test")["i3.tif"][0], np.moveaxis(own.picture(3), 0, -1))
    own.write(table.parent / "i3.tif", own.picture(3), names=("NIR", "Red", "blue"))
    own.write(
        table.parent / "i2.tif", own.picture(3), interp=[ColorInterp.undefined] * 3
    )  # without names: as they come
    table.write_text(table.read_text().replace("i2.tif,m2.tif,validation", "i2.tif,m2.tif,test"))
    dataset = make(table, tmp_path / "other", max_refused=0.5)
    assert refusals(dataset) == {
        "i3.tif": "bands NIR, Red, blue, expected NIR, Red, green as most images of rasters.csv"
    }


# ---- masks ----------------------------------------------------------------------------------------------------------


def test_colours_are_matched_and_the_others_counted(table, tmp_path, capsys):
    for k in range(4):
        drawn = own.colours(own.ids(k))
        drawn[:, 0, :7] = 99
        own.write(table.parent / f"m{k}.tif", drawn)
    dataset = make(table, tmp_path / "data")
    label = assembled(dataset, "test")["i3.tif"][1]
    expected = own.ids(3)[0]
    expected[0, :7] = 255
    np.testing.assert_array_equal(label, expected)
    assert {n: s["off_legend_pixels"] for n, s in dataset.statistics["splits"].items()} == {
        "train": 14, "validation": 7, "test": 7
    }  # fmt: skip
    assert "0.25 % of the pixels have colours off the legend" in capsys.readouterr().out


def test_a_palette_is_its_ids(table, tmp_path):
    own.write(table.parent / "m3.tif", own.ids(3), palette={1: (9, 9, 9, 255), 2: (1, 2, 3, 255)})
    np.testing.assert_array_equal(assembled(make(table, tmp_path / "d"), "test")["i3.tif"][1], own.ids(3)[0])


def test_nodata_and_255_are_no_label(table, tmp_path):
    values = own.ids(3).astype(np.uint16)
    values[0, 0], values[0, 1] = 0, 255
    own.write(table.parent / "m3.tif", values, nodata=0)
    label = assembled(make(table, tmp_path / "d"), "test")["i3.tif"][1]
    assert (label[:2] == 255).all()
    np.testing.assert_array_equal(label[2:], values[0, 2:])


def _with(values, where, value):
    values = values.copy()
    values[where] = value
    return values


BROKEN = {  # what stands in for image or mask 0, and why it is refused
    "float mask": ("m", lambda: own.ids(0).astype(np.float32), "a mask of float32; expected whole numbers"),
    "two bands": ("m", lambda: own.ids(0).repeat(2, 0), "a mask of 2 bands of uint8; expected 1"),
    "16-bit colours": ("m", lambda: own.colours(own.ids(0)).astype(np.uint16), "a mask of 3 bands of uint16"),
    "unknown id": ("m", lambda: _with(own.ids(0), (0, 3, 3), 4), "label 4 is not in the legend; expected 1, 2, 7 or"),
    "large id": ("m", lambda: _with(own.ids(0).astype("uint16"), (0, 3, 3), 1000), "label 1000 is not in the legend"),
    "other colours": ("m", lambda: own.ids(0).repeat(3, 0) + np.uint8(3), "the commonest #0"),
    "other size": ("m", lambda: own.ids(0, 40, 69), "69 x 40 pixels, expected 70 x 40 as in i0.tif"),
    "more bands": ("i", lambda: own.picture(0, bands=5), "5 bands, expected 3 as most images of rasters.csv"),
    "other dtype": ("i", lambda: own.picture(0, dtype="uint16"), "dtype uint16, expected uint8 as most images"),
    "unknown dtype": ("i", lambda: own.picture(0).astype(np.int32), "dtype int32; expected one of uint8, int8"),
}  # fmt: skip


@pytest.mark.parametrize(("part", "values", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_pair_that_does_not_fit_is_refused_by_name(table, tmp_path, part, values, reason):
    own.write(table.parent / f"{part}0.tif", values())
    dataset = make(table, tmp_path / "data", max_refused=0.25)
    (found,) = refusals(dataset).items()
    assert found[0] == f"{part}0.tif" and reason in found[1]
    assert dataset.splits == {"train": 6, "validation": 6, "test": 6}


@pytest.mark.parametrize("part", ["i", "m"])
@pytest.mark.parametrize("harm", ["missing", "empty", "text", "truncated"])
def test_a_file_that_is_missing_or_broken_is_refused_by_name(table, tmp_path, part, harm):
    path = table.parent / f"{part}0.tif"
    content = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes({"empty": b"", "text": b"no image", "truncated": content[: len(content) // 2]}[harm])
    dataset = make(table, tmp_path / "data", max_refused=0.25)
    (found,) = refusals(dataset).items()
    assert found[0] == f"{part}0.tif"
    assert ("no such file" if harm == "missing" else "cannot be read") in found[1]
    with pytest.raises(InputError, match=r"1 of 4 records are refused so far.*allow more, and run the same command"):
        make(table, tmp_path / "strict", max_refused=0.2)


def test_a_truncated_jpeg_is_not_grey(table, tmp_path):
    path = table.parent / "i0.tif"
    own.write(path, own.picture(0), driver="JPEG")
    path.write_bytes(path.read_bytes()[:-1500])
    dataset = make(table, tmp_path / "data", max_refused=0.25)
    assert "cannot be read" in refusals(dataset)["i0.tif"]


def test_nothing_that_can_be_used(table, tmp_path):
    for k in range(4):
        (table.parent / f"i{k}.tif").unlink()
    with pytest.raises(InputError, match=r"none of its 4 rows .*i0\.tif: no such file; .*\(line 2 of rasters\.csv\)"):
        make(table, tmp_path / "data")


# ---- the two CSVs ---------------------------------------------------------------------------------------------------

HEAD = "image,mask,split,group\n"
PAIRS = {
    "empty": ("", "empty; expected a header"),
    "header alone": (HEAD, "a header and no row"),
    "no header": ("i0.tif,m0.tif,train\n", "line 1: no column mask, split in the header"),
    "no mask": ("image,split\na,train\n", "line 1: no column mask in the header image,split"),
    "no value": (HEAD + "i0.tif,,train,\ni1.tif,m1.tif,train,\n", "line 2: no mask, but line 3 of the split train has"),
    "no image": ("mask,split,note\nm0.tif,train,x\n", "no column of images in the header mask,split,note; expected"),
    "digit first": (HEAD + "i0.tif,m0.tif,2020,\n", "line 2: split '2020'; expected a name of small letters, digits"),
    "split": (HEAD + "i0.tif,m0.tif,Train,\n", "line 2: split 'Train'; expected a name of small letters"),
    "all": (HEAD + "i0.tif,m0.tif,all,\n", "line 2: split 'all'"),
    "no train": (HEAD + "i0.tif,m0.tif,test,\n", "no row of split train, only test"),
    "twice": (HEAD + "i0.tif,m0.tif,train,\n\n./i0.tif,m1.tif,train,\n", "line 4: image ./i0.tif is already in line 2"),
    "cut": (HEAD + "i0.tif,m0.tif,train,a\ni1.tif,m1.tif,test,a\n", "group 'a' is in test here and in train in line 2"),
    "comma": (HEAD + "i0.tif,m0.tif,train,a,b\n", "line 2: 5 values, but 4 columns"),
}  # fmt: skip
LEGENDS = {
    "ids": ("id,name,colour\n1,a,#000000\n1,b,#ffffff\n", "line 3: id 1 once more"),
    "names": ("id,name,colour\n1,a,#000000\n2,a,#ffffff\n", "line 3: name a once more"),
    "256": ("id,name,colour\n256,a,#000000\n", "line 2: id '256'; expected a whole number from 0 to 255"),
    "no name": ("id,name,colour\n1,,#000000\n", "line 2: no name"),
    "colour": ("id,name,colour\n1,a,red\n", "line 2: colour: found 'red', expected #rrggbb"),
    "ignore": ("id,name,colour,ignore\n1,a,#000000,maybe\n", "line 2: ignore 'maybe'"),
    "one": ("id,name,colour,ignore\n1,a,#000000,\n2,b,#ffffff,1\n", "1 classes to tell apart; expected at least two"),
}


@pytest.mark.parametrize(("text", "words"), PAIRS.values(), ids=PAIRS)
def test_a_csv_that_cannot_be_used(table, tmp_path, text, words):
    table.write_text(text)
    with pytest.raises(InputError) as caught:
        make(table, tmp_path / "data")
    assert words in str(caught.value) and "rasters.csv" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "words"), LEGENDS.values(), ids=LEGENDS)
def test_a_legend_that_cannot_be_used(table, tmp_path, text, words):
    table.with_name("legend.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        make(table, tmp_path / "data")
    assert words in str(caught.value) and "legend.csv" in str(caught.value) and "\n" not in str(caught.value)


def test_two_classes_of_one_colour_matter_where_masks_are_colours(table, tmp_path):
    table.with_name("legend.csv").write_text(own.LEGEND.replace("#808080", "#0000ff"))
    make(table, tmp_path / "data")
    own.write(table.parent / "m0.tif", own.colours(own.ids(0)))
    dataset = make(table, tmp_path / "other", max_refused=0.25)
    assert "water and other are both #0000ff in the legend" in refusals(dataset)["m0.tif"]


def test_how_spreadsheets_write_csv(table, tmp_path):
    text = table.read_text()
    semicolons = "\ufeff" + text.replace(",", ";").replace("\n", "\r\n").replace("image;", "Image ;", 1) + ";;;\r\n"
    table.write_bytes(semicolons.encode())
    table.with_name("legend.csv").write_text(own.LEGEND.replace("colour", "Color"))
    assert make(table, tmp_path / "data").splits == {"train": 12, "validation": 6, "test": 6}
    table.write_bytes(text.replace("g0", "Gemäuer").encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        make(table, tmp_path / "data")


def test_absolute_paths_and_further_columns(table, tmp_path):
    folder = table.parent
    other = tmp_path / "list.csv"
    other.write_text(f"note,split,image,mask\nx,train,{folder}/i0.tif,{folder}/m0.tif\n")
    assert make(other, tmp_path / "data", legend=folder / "legend.csv").splits == {"train": 6}


def test_no_csv_in_the_folder(tmp_path):
    with pytest.raises(InputError, match=r"rasters\.csv: no such file; .*lcjax prepare --dataset=rasters/town --init"):
        make(tmp_path, tmp_path / "data")
    with pytest.raises(InputError, match=r"no such file; expected a CSV of images and masks$"):
        make(tmp_path / "nowhere", tmp_path / "data")


# ---- stopped, repeated, changed -------------------------------------------------------------------------------------


def contents(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.suffix != ".png"}


def test_any_number_of_workers_writes_the_same_bytes(table, tmp_path):
    one, two = (make(table, tmp_path / str(workers), workers=workers) for workers in (1, 2))
    assert contents(one.folder) == contents(two.folder)


KILLED = """
import os, pathlib, signal, sys
from data_pipelines.prepare import prepare, shard_writer
write, done = shard_writer.write, []
def killed(task):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(task)
    return write(task)
shard_writer.write = killed
prepare.prepare("rasters/town", pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), tile=32)
"""


def test_killed_and_started_again_ends_in_the_same_bytes(table, tmp_path):
    whole = contents(make(table, tmp_path / "whole").folder)
    command = [sys.executable, "-c", KILLED, str(table), str(tmp_path / "killed")]
    done = subprocess.run(command, cwd=pathlib.Path(__file__).parents[3], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    folder = on_disk.incomplete(tmp_path / "killed" / "rasters" / "town" / "1.0.0")
    assert len(list(folder.glob("*.array_record-*"))) == 2
    assert contents(make(table, tmp_path / "killed").folder) == whole


def test_the_same_again_does_nothing_and_changes_are_refused(table, tmp_path, capsys):
    make(table, tmp_path / "data")
    capsys.readouterr()
    make(table, tmp_path / "data")
    assert "nothing to do" in capsys.readouterr().out
    changes = {
        "--tile": lambda: None,
        "legend": lambda: table.with_name("legend.csv").write_text(own.LEGEND.replace("forest", "wood")),
        "mask": lambda: own.write(table.parent / "m0.tif", own.ids(5)),
        "image": lambda: os.utime(table.parent / "i0.tif", ns=(1, 1)),
    }
    for name, change in changes.items():
        kept = tmp_path / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(table.parent, kept, copy_function=shutil.copy2)
        change()
        with pytest.raises(
            InputError, match=r"has changed since; prepare it under another name .*or delete this folder"
        ):
            make(table, tmp_path / "data", tile=TILE if name != "--tile" else 16)
        shutil.rmtree(table.parent)
        shutil.copytree(kept, table.parent, copy_function=shutil.copy2)
    make(table, tmp_path / "data")  # as it was


def test_what_was_put_right_is_prepared_anew(table, tmp_path, capsys):
    good = (table.parent / "m0.tif").read_bytes()
    (table.parent / "m0.tif").write_bytes(b"")
    with pytest.raises(InputError, match="1 of 4 records are refused"):
        make(table, tmp_path / "data")
    (table.parent / "m0.tif").write_bytes(good)
    assert make(table, tmp_path / "data").splits["train"] == 12
    assert "started anew" not in capsys.readouterr().out  # nothing had been written


def test_what_was_put_right_half_way_is_prepared_anew(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "_LOOKED_AT", 1)
    whole = (table.parent / "i3.tif").read_bytes()
    (table.parent / "i3.tif").write_bytes(whole[: len(whole) // 2])  # found when its tiles are read
    with pytest.raises(InputError, match=r"1 of 4 records are refused so far.*i3\.tif: cannot be read"):
        make(table, tmp_path / "data")
    (table.parent / "i3.tif").write_bytes(whole)
    assert make(table, tmp_path / "data").splits == {"train": 12, "validation": 6, "test": 6}
    assert "was changed; started anew" in capsys.readouterr().out


def test_flags_of_own_imagery_are_refused_for_others(tmp_path):
    given = {
        "dataset": "sample",
        "source": "a",
        "data_dir": "b",
        "init": False,
        "legend": None,
        "tile": 128,
        "resample": False,
        "remote": [],
    }
    with pytest.raises(InputError, match="--tile: only for your own imagery"):
        prepare_verb.run(types.SimpleNamespace(**given))
    with pytest.raises(InputError, match="--tile=0: expected 16 to 4,096 pixels"):
        table = own.folder(tmp_path, 1)
        make(table, tmp_path / "data", tile=0)


def test_tables_written_are_tables_read(tmp_path):
    text = tables.to_csv(class_table.COLUMNS, [(1, "a, b", "#000000", ""), (2, "c", "#ffffff", "")])
    (tmp_path / "legend.csv").write_text(text)
    assert [c.name for c in class_table.read(tmp_path / "legend.csv", "x").legend.classes] == ["a, b", "c"]
