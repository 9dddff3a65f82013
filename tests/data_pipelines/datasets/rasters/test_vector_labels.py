"""Polygons, lines and points as masks: what is prepared of them, and what is refused in one line."""

import csv
import json
import pathlib

import numpy as np
import own
import pytest
import shapes
from rasterio import Affine
from rasterio.warp import transform_geom

from data_pipelines.datasets.rasters import builder, class_table, init_csv, tables
from data_pipelines.geo import burning
from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.schema.errors import InputError

NAME, TILE = "rasters/fields", 32
LEGEND = "id,name,colour,ignore\n1,water,#0000FF,\n2,forest,#008000,0\n7,other,#808080,yes\n"
SQUARES = {"water": shapes.square(2, 3, 10), "forest": shapes.square(8, 8, 12), "other": shapes.square(40, 20, 9)}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(quicklooks, "draw", lambda _: [])


def town(root: pathlib.Path, header="", values="", legend=LEGEND, count=2) -> pathlib.Path:
    """Images of one place each, and one file of polygons for all of them; returns the CSV of pairs."""
    rows = [f"image,mask,split,group{header}\n"]
    for k in range(count):
        own.write(root / f"i{k}.tif", own.picture(k), crs=shapes.CRS)
        rows.append(f"i{k}.tif,fields.gpkg,{('train', 'test', 'train')[k]},{values}\n")
    (root / "rasters.csv").write_text("".join(rows))
    (root / "legend.csv").write_text(legend)
    if not (root / "fields.gpkg").exists():
        shapes.written(root / "fields.gpkg", list(SQUARES), list(SQUARES.values()), "GPKG")
    return root / "rasters.csv"


def prepared(table, split="train", tile=TILE, **how):
    """The label of the first image, (40, 70), put together from its records; and the data set."""
    dataset = prepare.prepare(NAME, table, table.parent / "data", tile=tile, **how)
    source, label = dataset.source(split), np.full((40, 70), 255, np.uint8)
    for record in (source[k] for k in range(len(source))):
        _, row, column = record["id"].rsplit("_", 2)
        part = label[int(row[1:]) :, int(column[1:]) :][:tile, :tile]
        fresh = record["label"][: part.shape[0], : part.shape[1]]
        part[fresh != 255] = fresh[fresh != 255]
    return label, dataset


def drawn(*squares, outside=255) -> np.ndarray:
    """Rectangles (left, top, width, height, id) one over the other."""
    label = np.full((40, 70), outside, np.uint8)
    for left, top, width, height, number in squares:
        label[top : top + height, left : left + width] = number
    return label


WATER, FOREST, OTHER = (2, 3, 10, 10, 1), (8, 8, 12, 12, 2), (40, 20, 9, 9, 7)


def said(table, **how) -> str:
    with pytest.raises(InputError) as caught:
        prepared(table, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is drawn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "values", "expected"),
    [
        ("", "", drawn(WATER, FOREST, OTHER)),
        (",overlap", ",first", drawn(FOREST, WATER, OTHER)),
        (",overlap", ",smallest", drawn(FOREST, WATER, OTHER)),
        (",overlap,outside", ",None,2", drawn(WATER, FOREST, OTHER, (8, 8, 4, 5, 255), outside=2)),
        (",outside,buffer", ",Water,-0.5", drawn((3, 4, 8, 8, 1), (9, 9, 10, 10, 2), (41, 21, 7, 7, 7), outside=1)),
        (",all_touched", ",yes", drawn(WATER, FOREST, OTHER)),
    ],
)
def test_labels_are_the_polygons(tmp_path, header, values, expected):
    label, _ = prepared(town(tmp_path, header, values))
    np.testing.assert_array_equal(label, expected)


def test_another_crs_ids_in_place_of_names_and_points(tmp_path):
    listed = [
        ({"code": 2, "n": 1}, shapes.polygon(shapes.square(8, 8, 12))),
        ({"code": None, "n": 1}, shapes.polygon(shapes.square(10, 10, 2))),
        ({"code": 1, "n": 1}, {"type": "Point", "coordinates": shapes.at(50.5, 30.5)}),
    ]
    shapes.geojson(tmp_path / "utm.geojson", listed)
    for text in ("utm.geojson", "degrees.geojson"):
        table = town(tmp_path / f"with {text}", ",class_column,buffer", ",Code,0.5")
        table.write_text(table.read_text().replace("fields.gpkg", f"../{text}"))
        if text == "degrees.geojson":
            in_degrees(tmp_path / "utm.geojson", tmp_path / text)
        label, _ = prepared(table)
        expected = drawn((8, 8, 12, 12, 2))
        expected[7:21, 7:21] = np.where(near_square(8, 8, 12), 2, 255)[7:21, 7:21]
        hole = near_square(10, 10, 2)
        expected[hole] = 255
        for row, column in ((30, 50), (29, 50), (31, 50), (30, 49), (30, 51)):
            expected[row, column] = 1
        np.testing.assert_array_equal(label, expected)


def near_square(left, top, size) -> np.ndarray:
    """Pixels whose centre is at most one pixel away from a square."""
    x, y = np.arange(70) + 0.5, np.arange(40)[:, None] + 0.5
    apart = np.hypot(
        np.maximum(np.maximum(left - x, x - left - size), 0), np.maximum(np.maximum(top - y, y - top - size), 0)
    )
    return apart <= 1


def in_degrees(path: pathlib.Path, out: pathlib.Path) -> None:
    read = json.loads(path.read_text())
    listed = [(one["properties"], transform_geom(shapes.CRS, "EPSG:4326", one["geometry"])) for one in read["features"]]
    shapes.geojson(out, listed, None)


def test_tiles_without_a_label_are_left_out_and_it_is_said(tmp_path, capsys):
    table = town(tmp_path)
    _, dataset = prepared(table, tile=16)
    kept = len(dataset.source("train"))
    assert kept == 8 < 15
    assert "of 30 tiles are left out: no feature is near them" in capsys.readouterr().out
    _, whole = prepared(town(tmp_path / "b", ",outside", ",forest"), tile=16)
    assert len(whole.source("train")) == 15


def test_an_image_that_meets_no_polygon_is_told_and_kept(tmp_path, capsys):
    far = shapes.square(300, 300, 5)
    near = shapes.square(-300, -300, 5)
    shapes.written(tmp_path / "fields.gpkg", ["water", "forest"], [far, near], "GPKG")
    label, dataset = prepared(town(tmp_path))
    assert (label == 255).all() and len(dataset.source("train")) == 1
    assert "2 images meet no feature of their file (the first: i0.tif)" in capsys.readouterr().out


def test_what_is_not_to_be_used_has_no_label_and_is_not_counted(tmp_path):
    cloud = np.zeros((1, 40, 70), np.uint8)
    cloud[0, :10] = 3
    own.write(tmp_path / "cloud.tif", cloud, crs=shapes.CRS)
    shapes.written(tmp_path / "cloud.gpkg", ["x"], [shapes.square(0, 0, 70, 10)], "GPKG")
    expected = drawn(WATER, FOREST, OTHER, (0, 0, 70, 10, 255))
    means = []
    for values in (",cloud.tif", ",cloud.tif:3", ",cloud.gpkg"):
        table = town(tmp_path, ",exclude", values)
        label, dataset = prepared(table)
        np.testing.assert_array_equal(label, expected)
        means.append(splits_of(dataset)["train"]["sensors"]["image"]["mean"])
        for made in (tmp_path / "data").rglob("*"):
            if made.is_file():
                made.unlink()
    plain, _ = prepared(town(tmp_path, ",exclude", ",cloud.tif:4"))
    np.testing.assert_array_equal(plain, drawn(WATER, FOREST, OTHER))
    seen = own.picture(0)[:, 10:].reshape(3, -1).mean(axis=1)
    for mean in means:
        np.testing.assert_allclose(mean, seen, rtol=1e-6)


def rows_with(root: pathlib.Path, *excluded: str) -> pathlib.Path:
    """As `town`, with a file of what is not to be used of each image."""
    table = town(root, ",exclude", ",{}", count=len(excluded))
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([head, *(row.format(one) for row, one in zip(rows, excluded, strict=True))]) + "\n")
    return table


def test_an_exclusion_of_other_ground_is_refused_and_one_of_a_half_is_told(tmp_path, caplog):
    ones, far = np.ones((1, 40, 35), np.uint8), Affine(0.5, 0, 500_900, 0, -0.5, 5_000_000)
    own.write(tmp_path / "half.tif", ones, crs=shapes.CRS)
    own.write(tmp_path / "far.tif", ones, crs=shapes.CRS, transform=far)
    _, dataset = prepared(rows_with(tmp_path, "half.tif", "", "far.tif"), max_refused=0.5)
    (row,) = refused(dataset)
    assert row["file"].endswith("far.tif") and "holds nothing of the ground of" in row["reason"]
    assert "half.tif: reaches over 50.0 % of" in caplog.text and "what lies beyond is not excluded" in caplog.text


def test_an_exclusion_that_is_missing_costs_its_row(tmp_path):
    _, dataset = prepared(rows_with(tmp_path, "", "", "none.tif:3"), max_refused=0.5)
    (row,) = refused(dataset)
    assert row["file"].endswith("none.tif") and "no such file" in row["reason"] and "line 4" in row["reason"]


def test_one_file_of_clouds_may_be_of_many_images(tmp_path, caplog):
    """It excludes nothing of those that lie elsewhere."""
    shapes.written(tmp_path / "clouds.gpkg", ["x"], [shapes.square(900, 900, 10)], "GPKG")
    label, _ = prepared(rows_with(tmp_path, "clouds.gpkg", "clouds.gpkg"))
    np.testing.assert_array_equal(label, drawn(WATER, FOREST, OTHER))
    assert "is excluded: all of its features lie elsewhere" in caplog.text


# ---- legends that merge ---------------------------------------------------------------------------------------------


def test_rows_of_the_legend_merge_into_one_class(tmp_path):
    legend = (
        "id,name,colour,ignore,merge_into\n1,water,#0000FF,,\n2,forest,#008000,,\n7,other,#808080,,forest\n"
        "255,none,#000000,1,\n"
    )
    label, dataset = prepared(town(tmp_path, legend=legend))
    np.testing.assert_array_equal(label, drawn(WATER, FOREST, (40, 20, 9, 9, 2)))
    assert [c.name for c in dataset.legend.scored] == ["water", "forest"]
    # Masks of numbers alike.
    root = tmp_path / "numbers"
    table = own.folder(root, count=2, splits=("train", "test"))
    (root / "legend.csv").write_text("id,name,colour,ignore,merge_into\n1,a,#000001,,\n2,b,#000002,,\n7,c,#000003,,1\n")
    label, dataset = prepared(table)
    np.testing.assert_array_equal(label, np.where(own.ids(0)[0] == 7, 1, own.ids(0)[0]))
    assert sum(sum(split["class_pixels"].values()) for split in splits_of(dataset).values()) == 2 * 40 * 70


def test_a_text_that_is_a_name_and_an_id_is_the_name(tmp_path):
    """Alike for polygons and for rows that merge."""
    rows = "1,2,#000001,,\n2,b,#000002,,\n3,c,#000003,,2\n4,d,#000004,,\n5,e,#000005,,4\n6,f,#000006,,D\n"
    (tmp_path / "legend.csv").write_text("id,name,colour,ignore,merge_into\n" + rows)
    classes = class_table.read(tmp_path / "legend.csv", "x")
    assert classes.merged[1:7].tolist() == [1, 2, 1, 4, 4, 4]
    shapes.written(tmp_path / "fields.gpkg", ["2", "3"], [shapes.square(2, 2, 4), shapes.square(9, 9, 4)], "GPKG")
    legend = "id,name,colour\n1,2,#000001\n2,b,#000002\n3,c,#000003\n"
    label, _ = prepared(town(tmp_path, legend=legend))
    np.testing.assert_array_equal(label, drawn((2, 2, 4, 4, 1), (9, 9, 4, 4, 3)))


def refused(dataset) -> list[dict]:
    return rows_of(dataset.folder / "refused.csv")


def splits_of(dataset):
    return json.loads((dataset.folder / "statistics.json").read_text())["splits"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,a,#000001,,\n2,b,#000002,,\n7,c,#000003,,d\n", "line 4: merge_into 'd'; expected the id or the name"),
        ("1,a,#000001,,2\n2,b,#000002,,7\n7,c,#000003,,\n8,d,#000004,,\n", "line 2: merge_into '2', which is itself"),
        ("1,a,#000001,,1\n2,b,#000002,,\n3,c,#000003,,\n", "line 2: merge_into '1', which is itself merged"),
        ("1,a,#000001,,\n2,b,#000002,,\n7,c,#000003,1,1\n", "line 4: ignore and merge_into both"),
        ("1,a,#000001,,\n2,b,#000002,,1\n", "1 classes to tell apart"),
    ],
)
def test_rows_that_cannot_be_merged(tmp_path, rows, message):
    assert message in said(town(tmp_path, legend="id,name,colour,ignore,merge_into\n" + rows))


# ---- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "values", "message"),
    [
        (",class_column", ",kind", "fields.gpkg: no column kind in the layer fields; found class"),
        (",layer", ",x", "fields.gpkg: no layer x; found fields"),
        (",outside", ",rock", "outside of its polygons is to be 'rock', which is not in the legend"),
        (",overlap", ",top", "line 2: overlap 'top'; expected one of last, first, smallest, none"),
        (",all_touched", ",maybe", "line 2: all_touched 'maybe'; expected 1"),
        (",buffer", ",wide", "line 2: buffer 'wide'; expected metres"),
        (",buffer", ",1e9", "line 2: buffer '1e9'; expected metres"),
        (",buffer", ",99999", "line 2: buffer '99999'; expected metres"),
        (",exclude", ",cloud.tif", "cloud.tif: no such file; expected a raster or polygons"),
        (",exclude", ",cloud.tif:1-2", "cloud.tif: no such file; expected a raster or polygons"),
    ],
)
def test_columns_that_cannot_be(tmp_path, header, values, message):
    assert message in said(town(tmp_path, header, values))


def test_classes_off_the_legend_and_other_places(tmp_path):
    shapes.written(tmp_path / "fields.gpkg", ["water", "forrest"], [shapes.square(1, 1, 4)] * 2, "GPKG")
    message = said(town(tmp_path))
    assert "class 'forrest' of feature 2 is not in the legend; did you mean 'forest'? expected" in message
    (tmp_path / "fields.gpkg").unlink()
    shapes.written(tmp_path / "fields.gpkg", ["water"], [shapes.square(9000, 1, 4)], "GPKG")
    assert "fields.gpkg: all of its features lie elsewhere" in said(town(tmp_path))
    table = town(tmp_path / "nowhere")
    own.write(tmp_path / "nowhere" / "i0.tif", own.picture(0))
    own.write(tmp_path / "nowhere" / "i1.tif", own.picture(1))
    assert "i0.tif: has no CRS, or no transform; expected a place, which fields.gpkg has" in said(table)


def test_names_that_differ_in_capitals_alone_are_told_apart(tmp_path):
    squares = [shapes.square(4 * k, 4, 3) for k in range(3)]
    shapes.written(tmp_path / "fields.gpkg", ["wood", "Wood", "WOOD"], squares, "GPKG")
    legend = "id,name,colour\n1,wood,#000001\n2,Wood,#000002\n"
    assert "class 'WOOD' of feature 3 is not in the legend" in said(town(tmp_path, legend=legend))
    label, _ = prepared(town(tmp_path, legend=legend + "3,WOOD,#000003\n"))
    assert [label[5, 4 * k + 1] for k in range(3)] == [1, 2, 3]


def test_one_bad_file_of_several_is_refused_by_name(tmp_path):
    table = town(tmp_path, count=3)
    shapes.geojson(tmp_path / "bad.geojson", [({"kind": "water"}, shapes.polygon(shapes.square(1, 1, 4)))])
    table.write_text(table.read_text().replace("i2.tif,fields.gpkg", "i2.tif,bad.geojson"))
    _, dataset = prepared(table, max_refused=0.5)
    (row,) = refused(dataset)
    assert row["file"].endswith("bad.geojson") and "no column class in the layer bad" in row["reason"]


def test_a_class_that_changes_in_a_shapefile_is_seen(tmp_path):
    """Its columns stand in another file than its shapes."""
    table = town(tmp_path)
    table.write_text(table.read_text().replace(".gpkg", ".shp"))
    squares = list(SQUARES.values())
    shapes.written(tmp_path / "fields.shp", ["water", "forest", "other"], squares, "ESRI Shapefile")
    before = builder.describe(NAME, table, None, TILE).fingerprint
    assert builder.describe(NAME, table, None, TILE).fingerprint == before
    shapes.written(tmp_path / "b.shp", ["water", "water", "other"], squares, "ESRI Shapefile")
    (tmp_path / "b.dbf").replace(tmp_path / "fields.dbf")
    assert builder.describe(NAME, table, None, TILE).fingerprint != before


def test_parts_of_an_image_are_drawn_alike(tmp_path):
    table = town(tmp_path, count=1)
    head = "image,mask,split,left,top,width,height,buffer\n"
    rows = "i0.tif,fields.gpkg,train,0,0,32,40,{}\ni0.tif,fields.gpkg,test,36,0,34,40,1\n"
    table.write_text(head + rows.format("2"))
    assert "line 3: class_column, layer, outside, overlap, all_touched, buffer, exclude: not all as in line 2" in said(
        table
    )
    table.write_text(head + rows.format("1"))
    assert len(tables.read_table(table).pairs) == 2  # one file of polygons may be of two splits


def test_columns_of_masks_that_are_rasters_stay_what_they_were(tmp_path):
    table = own.folder(tmp_path, count=2, splits=("train", "test"))
    text = table.read_text().splitlines()
    table.write_text("\n".join([text[0] + ",layer,buffer", *(line + ",x,wide" for line in text[1:])]))
    assert tables.read_table(table).unread == ("layer", "buffer")
    assert all(pair.drawn is None for pair in tables.read_table(table).pairs)


# ---- --init ---------------------------------------------------------------------------------------------------------


def rows_of(path: pathlib.Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_init_of_one_mosaic_and_its_polygons(tmp_path, capsys):
    own.write(tmp_path / "town.tif", own.picture(0, 200, 200), crs=shapes.CRS)
    rng = np.random.default_rng(0)
    squares = [shapes.square(x, y, 12) for x, y in rng.integers(0, 188, (60, 2))]
    shapes.written(tmp_path / "any.gpkg", [["wet land", "dry"][k % 2] for k in range(60)], squares, "GPKG")
    init_csv.init_csv(NAME, tmp_path, tile=32)
    legend = rows_of(tmp_path / "legend.csv")
    assert [(row["id"], row["name"]) for row in legend] == [("1", "dry"), ("2", "wet land")]
    pairs = rows_of(tmp_path / "rasters.csv")
    assert {row["split"] for row in pairs} == {"train", "validation", "test"} and len(pairs) == 16
    assert {(row["mask"], row["class_column"], row["outside"]) for row in pairs} == {("any.gpkg", "class", "")}
    assert "--tile=32" in capsys.readouterr().out
    dataset = prepare.prepare(NAME, tmp_path, tmp_path / "data", tile=32)
    assert {c.name for c in dataset.legend.scored} == {"dry", "wet land"}


def test_init_finds_the_column_or_asks(tmp_path):
    own.write(tmp_path / "a.tif", own.picture(0), crs=shapes.CRS)
    squares = [shapes.polygon(shapes.square(4 * k, 4, 3)) for k in range(8)]
    guessed = [({"fid_": k, "kultur": 5 + 2 * (k % 3)}, one) for k, one in enumerate(squares)]
    shapes.geojson(tmp_path / "a.geojson", guessed)
    init_csv.init_csv(NAME, tmp_path)
    assert [row["id"] for row in rows_of(tmp_path / "legend.csv")] == ["5", "7", "9"]
    assert rows_of(tmp_path / "rasters.csv")[0]["class_column"] == "kultur"
    for name in ("rasters.csv", "legend.csv"):
        (tmp_path / name).unlink()
    shapes.geojson(tmp_path / "a.geojson", [({"one": k % 2, "two": k % 3}, g) for k, g in enumerate(squares)])
    with pytest.raises(InputError, match="which column holds the class of each feature cannot be told; found one, two"):
        init_csv.init_csv(NAME, tmp_path)
    shapes.geojson(tmp_path / "b.geojson", guessed)
    (tmp_path / "a.geojson").rename(tmp_path / "c.geojson")
    with pytest.raises(InputError, match=r"several files of polygons, such as b\.geojson"):
        init_csv.init_csv(NAME, tmp_path)


def test_init_says_why_polygons_cannot_be_drawn(tmp_path):
    own.write(tmp_path / "a.tif", own.picture(0))
    shapes.written(tmp_path / "a.gpkg", ["x", "y"], [shapes.square(1, 1, 4)] * 2, "GPKG")
    with pytest.raises(InputError, match=r"a\.tif: has no CRS, or no transform; expected a place, which a\.gpkg has"):
        init_csv.init_csv(NAME, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gpkg", "a.tif"]


def test_codes_above_254_become_names(tmp_path):
    """The numbers of the legend are then others, and what a column holds is the name of a class before it is one."""
    own.write(tmp_path / "a.tif", own.picture(0), crs=shapes.CRS)
    squares = [shapes.square(4 * k, 4, 3) for k in range(8)]
    shapes.written(tmp_path / "a.gpkg", [2, 311, 1, 2, 311, 1, 2, 2], squares, "GPKG")
    init_csv.init_csv(NAME, tmp_path)
    assert [(row["id"], row["name"]) for row in rows_of(tmp_path / "legend.csv")] == [
        ("1", "1"),
        ("2", "2"),
        ("3", "311"),
    ]
    label, _ = prepared(tmp_path / "rasters.csv", tile=64)
    assert [label[5, 4 * k + 1] for k in range(8)] == [2, 3, 1, 2, 3, 1, 2, 2]
    assert burning.OVERLAPS[0] == "last"
