"""Masks whose numbers are easily lost: 255 as a class, a class that the file calls nodata, black among colours."""

import json

import numpy as np
import own
import pytest
import rasterio
from PIL import Image

from data_pipelines.datasets.rasters import class_table, tables
from data_pipelines.geo import raster_io
from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema.errors import InputError

BINARY = "id,name,colour\n0,land,#000000\n255,building,#ff0000\n"
NAME = "rasters/town"


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch):
    monkeypatch.setattr(quicklooks, "draw", lambda _: [])


@pytest.fixture
def table(tmp_path):
    return own.folder(tmp_path / "town")


def make(table, **how):
    return prepare.prepare(NAME, table, table.parent / "data", **({"tile": 128} | how))


def fill(table, mask, legend=own.LEGEND, **how):
    """Other masks for all images; `mask` makes them of the ids 1, 2, 7."""
    for k in range(4):
        own.write(table.parent / f"m{k}.tif", mask(own.ids(k)), **how)
    table.with_name("legend.csv").write_text(legend)


def label(dataset, split="test"):
    return dataset.source(split)[0]["label"][:40, :70]


def binary(values):
    return np.where(values > 1, 255, 0).astype(np.uint8)


def test_255_is_a_class_where_the_legend_lists_it(table):
    fill(table, binary, BINARY)
    dataset = make(table)
    stored = binary(own.ids(3))[0] == 255
    np.testing.assert_array_equal(label(dataset), np.where(stored, 1, 0))
    assert dataset.statistics["splits"]["test"]["class_pixels"] == {"0": int((~stored).sum()), "1": int(stored.sum())}
    legend = open_dataset(table.parent / "data", NAME).legend
    assert [(c.id, c.value) for c in legend.scored] == [(0, 0), (1, 255)] and legend.nodata == 254


@pytest.mark.parametrize(
    ("ids", "stored"),
    [((0, 255), 1), ((3, 9, 255), 10), ((254, 255), 253), ((*range(1, 255), 255), 0)],
)
def test_the_id_of_255_is_the_next_that_is_free(tmp_path, ids, stored):
    rows = [(i, f"c{i}", f"#0000{i:02x}", "") for i in ids]
    (tmp_path / "legend.csv").write_text(tables.to_csv(class_table.COLUMNS, rows))
    legend = class_table.read(tmp_path / "legend.csv", "x").legend
    assert next(c.id for c in legend.classes if c.value == 255) == stored
    assert sorted(c.value for c in legend.classes) == list(ids) and legend.nodata not in ids


def test_256_classes_leave_no_number_for_no_data(tmp_path):
    rows = [(i, f"c{i}", f"#0000{i:02x}", "") for i in range(256)]
    (tmp_path / "legend.csv").write_text(tables.to_csv(class_table.COLUMNS, rows))
    with pytest.raises(InputError, match=r"legend\.csv: 256 classes; expected at most 255"):
        class_table.read(tmp_path / "legend.csv", "x")


def test_binary_masks_are_asked_about_and_the_answer_is_heard(table, capsys):
    fill(table, binary, "id,name,colour\n0,land,#000000\n1,building,#ff0000\n")
    share = np.mean([binary(own.ids(k)) == 255 for k in range(4)])
    with pytest.raises(InputError) as caught:
        make(table)
    assert f"rasters.csv: 255 covers {share:.0%} of the masks, which else hold 0 (land) alone" in str(caught.value)
    with table.with_name("legend.csv").open("a") as file:
        file.write("255,not labelled,#9b9b9b,\n".replace(",\n", "\n"))
    text = "id,name,colour,ignore\n0,land,#000000,\n1,building,#ff0000,\n255,not labelled,#9b9b9b,1\n"
    table.with_name("legend.csv").write_text(text)
    dataset = make(table)
    assert dataset.legend.ignored == (2,)
    said = capsys.readouterr().out
    assert "no pixel of building in any split" in said
    assert "train: every labelled pixel is land; a single class tells nothing apart" in said


def test_255_is_no_label_beside_several_ids(table):
    fill(table, lambda values: np.where(values == 7, 255, values))
    np.testing.assert_array_equal(label(make(table)), np.where(own.ids(3)[0] == 7, 255, own.ids(3)[0]))


@pytest.mark.parametrize("nodata", [1, 255])
def test_a_class_that_the_file_calls_nodata_is_refused(table, nodata):
    legend = own.LEGEND if nodata == 1 else BINARY
    fill(table, (lambda values: values) if nodata == 1 else binary, legend, nodata=nodata)
    values = own.ids(0) if nodata == 1 else binary(own.ids(0))
    with pytest.raises(InputError) as caught:
        make(table)
    share, lost = f"{np.mean(values == nodata):.0%}", "water" if nodata == 1 else "building"
    assert f"m0.tif: the file declares {nodata} to be nodata, in {share} of its pixels" in str(caught.value)
    assert f"it is the class {lost}; if it is that class, say so with `gdal_edit.py -unsetnodata m0.tif`" in str(
        caught.value
    )
    for k in range(4):  # as the message says
        with raster_io.anywhere(), rasterio.open(table.parent / f"m{k}.tif", "r+") as file:
            file.nodata = None
    assert make(table).splits["train"] == 2


def test_an_ignored_class_may_be_nodata(table):
    fill(table, lambda values: values, nodata=7)
    np.testing.assert_array_equal(label(make(table)), np.where(own.ids(3)[0] == 7, 255, own.ids(3)[0]))


def test_nodata_0_takes_black_alone_from_masks_of_colours(table):
    """Pure colours hold 0 in some bands."""
    fill(table, own.colours, nodata=0)
    np.testing.assert_array_equal(label(make(table)), own.ids(3)[0])
    black = own.LEGEND.replace("#0000FF", "#000000")
    for k in range(4):
        drawn = own.colours(own.ids(k))
        drawn[:, own.ids(k)[0] == 1] = 0
        own.write(table.parent / f"m{k}.tif", drawn, nodata=0)
    table.with_name("legend.csv").write_text(black)
    with pytest.raises(InputError, match=r"m0\.tif: the file declares #000000 to be nodata, in 3\d% .* class water"):
        prepare.prepare("rasters/other", table, table.parent / "data", tile=128)


@pytest.mark.parametrize("clear", [[7], [7, 9]])  # GDAL takes one transparent index for nodata, and several for alpha
def test_transparent_colours_are_no_label(table, clear):
    colours = {1: (0, 0, 255), 2: (0, 128, 0), 7: (128, 128, 128)}

    def save(clear):
        picture = Image.fromarray(own.ids(3)[0])
        picture.putpalette([number for index in range(16) for number in colours.get(index, (1, 2, 3))])
        picture.save(table.parent / "m3.png", transparency=bytes(0 if index in clear else 255 for index in range(16)))

    save(clear)
    table.write_text(table.read_text().replace("m3.tif", "m3.png"))
    np.testing.assert_array_equal(label(make(table)), np.where(own.ids(3)[0] == 7, 255, own.ids(3)[0]))
    save([1, *clear])
    with pytest.raises(InputError, match=r"m3\.png: the file declares 1 to be nodata, .* it is the class water"):
        prepare.prepare("rasters/other", table, table.parent / "data", tile=128)


def test_a_mask_of_vectors_says_how_to_rasterise_it(table):
    own.write(table.parent / "i0.tif", own.picture(0), crs="EPSG:32633")
    (table.parent / "roads.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    table.write_text(table.read_text().replace("m0.tif", "roads.geojson"))
    with pytest.raises(InputError) as caught:
        make(table)
    command = "gdal_rasterize -a CLASS_ID -ot Byte -init 255 -ts 70 40 -te 500000 4999980 500035 5000000 roads.geojson"
    assert "roads.geojson: vectors; expected a raster" in str(caught.value) and command in str(caught.value)


# ---- parts of an image ----------------------------------------------------------------------------------------------

HEAD = "image,mask,split,left,top,width,height\n"


def test_parts_of_an_image_are_cut_alone(tmp_path):
    own.write(tmp_path / "a.tif", own.picture(0, 100, 90))
    own.write(tmp_path / "m.tif", own.ids(0, 100, 90))
    (tmp_path / "legend.csv").write_text(own.LEGEND)
    parts = {"train": (0, 0, 90, 40), "validation": (0, 50, 40, 50), "test2": (45, 60, 45, 20)}
    rows = [f"a.tif,m.tif,{split},{','.join(map(str, part))}\n" for split, part in parts.items()]
    (tmp_path / "rasters.csv").write_text(HEAD + "".join(rows))
    dataset = make(tmp_path / "rasters.csv", tile=32)
    image, ids = np.moveaxis(own.picture(0, 100, 90), 0, -1), own.ids(0, 100, 90)[0]
    for split, (left, top, width, height) in parts.items():
        seen = np.zeros((100, 90), int)
        source = dataset.source(split)
        for record in (source[k] for k in range(len(source))):
            row, column = (int(word[1:]) for word in record["id"].split("_")[-2:])
            h, w = min(32, top + height - row), min(32, left + width - column)
            place = np.s_[row : row + h, column : column + w]
            np.testing.assert_array_equal(record["image"][:h, :w], image[place])
            labelled = record["label"][:h, :w] != 255
            np.testing.assert_array_equal(record["label"][:h, :w][labelled], ids[place][labelled])
            assert (record["label"][h:] == 255).all() and (record["label"][:, w:] == 255).all()
            seen[place] += labelled
        expected = np.zeros((100, 90), int)
        expected[top : top + height, left : left + width] = 1
        np.testing.assert_array_equal(seen, expected)


ROWS = {
    "overlap": ("a,m,train,0,0,9,9\na,m,test,8,8,9,9\n", "line 3: overlaps the part of image a in line 2"),
    "whole": (
        "a,m,train,0,0,9,9\na,m,test,,,,\n",
        "line 3: image a is already in line 2; expected each image once, or",
    ),
    "some": ("a,m,train,0,0,9,\n", "line 2: left '0', top '0', width '9', height ''; expected whole numbers"),
    "none": ("a,m,train,0,0,0,5\n", "width and height at least 1"),
    "words": ("a,m,train,-1,0,4,5\n", "left '-1'"),
}


@pytest.mark.parametrize(("rows", "words"), ROWS.values(), ids=ROWS)
def test_parts_that_cannot_be(tmp_path, rows, words):
    (tmp_path / "rasters.csv").write_text(HEAD + rows)
    with pytest.raises(InputError) as caught:
        tables.read_table(tmp_path / "rasters.csv")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_part_beyond_its_image_is_refused(tmp_path):
    table = own.folder(tmp_path)
    rows = "i0.tif,m0.tif,train,0,0,70,40\ni1.tif,m1.tif,test,60,0,20,40\n"
    table.write_text(HEAD + rows)
    with pytest.raises(InputError, match=r"i1\.tif: 70 x 40 pixels; expected at least 80 x 40, where the part"):
        make(table)


@pytest.mark.parametrize("column", ["image2", "image_2", "Image 2", "images", "s1", "S2", "second_image", "img_after"])
def test_a_second_image_is_not_passed_over(tmp_path, column):
    (tmp_path / "rasters.csv").write_text(f"image,{column},mask,split\na.tif,b.tif,m.tif,train\n")
    if " " in column:
        with pytest.raises(InputError, match=r"column 'image 2' holds images, .* expected small letters, digits and _"):
            tables.read_table(tmp_path / "rasters.csv")
        return
    (pair,) = tables.read_table(tmp_path / "rasters.csv").pairs
    assert pair.images == {"image": tmp_path / "a.tif", column.lower(): tmp_path / "b.tif"}


@pytest.mark.parametrize("column", ["note", "date", "sensor", "imagination", "crs", "s3_path"])
def test_other_columns_are_left_alone(tmp_path, column):
    (tmp_path / "rasters.csv").write_text(f"image,{column},mask,split\na.tif,b,m.tif,train\n")
    assert len(tables.read_table(tmp_path / "rasters.csv").pairs) == 1
