"""Labels read back: names, numbers, nothing, "cannot say"; and what is not of the sample, in one line each."""

import csv
import sqlite3

import numpy as np
import pytest
from classified import random_ids, write_map

from data_pipelines.geo import geopackage
from data_pipelines.schema.errors import InputError
from lcjax.assessment import design, labels, sampling


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    path = write_map(folder / "map.tif", random_ids())
    sampling.sample(sampling.Request(path, size=30, minimum=5), folder / "s")
    return folder / "s"


@pytest.fixture
def drawn(sample):
    return design.read(sample / design.FILE)


def write(path, rows, columns=("point", "label"), separator=","):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def test_labels_by_name_by_number_and_none(drawn, tmp_path):
    rows = [
        (3, "Water"),
        (1, " forest "),
        ("2.0", "9"),
        (5, 'BARE,  rock & "co"'),
        (6, ""),
        (9, "Cannot say"),
        (8, "4"),
    ]
    read = labels.read(write(tmp_path / "l.csv", rows), drawn)
    assert read.classes == {3: 9, 1: 1, 2: 9, 5: 4, 8: 4}
    assert read.cannot_say == (9,)
    assert read.missing == (4, 7, *range(10, 31)) and read.open == (4, 6, 7, *range(10, 31))
    assert labels.beginning(read) is None
    first = labels.read(
        write(tmp_path / "f.csv", [(n, "Water" if n < 5 else "cannot say") for n in range(1, 7)]), drawn
    )
    assert labels.beginning(first) == 6


def test_the_files_of_the_sample_are_read_with_their_places(sample, drawn, tmp_path):
    for name in ("points.csv", "points.gpkg"):
        read = labels.read(sample / name, drawn)
        assert (read.classes, read.cannot_say, read.missing) == ({}, (), ()) and len(read.open) == 30
    text = (sample / "points.csv").read_text().splitlines()
    german = [line.replace(",", ";").replace(".", ",") for line in text]
    german[1] = german[1].removesuffix(";;") + ";Water;"
    (tmp_path / "l.csv").write_text("\n".join(german) + "\n", encoding="utf-8-sig")
    assert labels.read(tmp_path / "l.csv", drawn).classes == {1: 9}
    again = tmp_path / "l.gpkg"
    again.write_bytes((sample / "points.gpkg").read_bytes())
    with sqlite3.connect(again) as base:
        base.execute("DROP TRIGGER IF EXISTS rtree_points_geom_update1")
        for (trigger,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{trigger}"')
        base.execute("UPDATE points SET label = 'Water' WHERE point < 4")
    assert labels.read(again, drawn).classes == {1: 9, 2: 9, 3: 9}


def test_spreadsheets_with_semicolons_and_commas_in_numbers(drawn, tmp_path):
    point = drawn.points[0]
    x, y = (f"{value:.1f}".replace(".", ",") for value in (point.x, point.y))
    path = write(tmp_path / "l.csv", [(1, x, y, "Water")], ("point", "x", "y", "label"), ";")
    assert labels.read(path, drawn).classes == {1: 9}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(1, "Water"), (2, "Lava")], "line 3: point 2: found the label 'Lava'; expected one of Forest, Bare"),
        ([(1, "7")], "found the label '7'"),
        ([(1, "Water"), (2, ""), (1, "Forest")], r"line 4: point 1 once more \(also .*line 2\); expected one label"),
        ([(1, "Water"), (1, "Water")], "point 1 once more"),
        ([(31, "Water")], "found the point '31'; expected 1 to 30"),
        ([(0, "Water")], "found the point '0'"),
        ([("", "Water")], "found the point ''"),
        ([("1.5", "Water")], "found the point '1.5'"),
    ],
)
def test_what_is_not_of_the_sample(drawn, tmp_path, rows, says):
    with pytest.raises(InputError, match=says) as error:
        labels.read(write(tmp_path / "l.csv", rows), drawn)
    assert "\n" not in str(error.value)


def test_points_that_were_moved_and_points_off_the_map(drawn, tmp_path):
    columns, point = ("point", "x", "y", "label"), drawn.points[1]
    good = (2, point.x, point.y, "Water")
    assert labels.read(write(tmp_path / "l.csv", [good], columns), drawn).classes == {2: 9}
    for x, y, says in (
        (point.x + 30, point.y - 40, "5.0 pixels away from its pixel; expected"),
        (point.x + 5.5, point.y, "0.6 pixels away|0.5 pixels away"),
        (499_000, point.y, "lies at 499000, .*, off the map; expected"),
        (13.4, 52.5, "off the map"),
        ("nan", point.y, "expected finite numbers"),
        ("east", point.y, "expected numbers"),
        ("", point.y, "expected numbers, or nothing in both"),
    ):
        with pytest.raises(InputError, match=says):
            labels.read(write(tmp_path / "l.csv", [(2, x, y, "Water")], columns), drawn)


def test_geopackages_that_are_not_of_the_sample(drawn, tmp_path):
    path, point = tmp_path / "l.gpkg", drawn.points[0]
    for columns, wkb, says in (
        ({"point": [1], "class": ["Water"]}, geopackage.point(point.x, point.y), "no column label in the layer points"),
        ({"point": [1], "label": ["Water"]}, geopackage.point(0, 0), "feature 1: point 1 lies at 0, 0, off the map"),
        ({"point": [None], "label": ["Water"]}, geopackage.point(0, 0), "found the point ''"),
    ):
        geopackage.write(path, "points", columns, [wkb], "Point", "EPSG:32633")
        with pytest.raises(InputError, match=says):
            labels.read(path, drawn)
    geopackage.write(
        path, "mine", {"point": [1.0], "label": ["9"]}, [geopackage.point(point.x, point.y)], "Point", None
    )
    assert labels.read(path, drawn).classes == {1: 9}


def test_a_csv_without_the_columns(drawn, tmp_path):
    with pytest.raises(InputError, match="no column label in the header point,class; expected point,label"):
        labels.read(write(tmp_path / "l.csv", [(1, "Water")], ("point", "class")), drawn)
    with pytest.raises(InputError, match="no such file"):
        labels.read(tmp_path / "absent.csv", drawn)


def test_names_that_differ_in_capitals_alone_are_told_apart(tmp_path):
    ids = np.random.default_rng(0).choice(np.array([1, 2], np.uint8), (20, 20))
    path = write_map(tmp_path / "m.tif", ids, {1: ("wood", "#009900"), 2: ("Wood", "#99ff00")})
    drawn = sampling.sample(sampling.Request(path, size=10, minimum=2), tmp_path / "s")
    assert labels.read(write(tmp_path / "l.csv", [(1, "wood"), (2, "Wood")]), drawn).classes == {1: 1, 2: 2}
    with pytest.raises(InputError, match="found the label 'WOOD'"):
        labels.read(write(tmp_path / "l.csv", [(1, "WOOD")]), drawn)
