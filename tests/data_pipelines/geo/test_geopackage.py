"""GeoPackages: what is written is read back by GDAL and as SQLite, and what is none is refused in one line."""

import os
import sqlite3
import sys

import numpy as np
import pyogrio.raw
import pytest

from data_pipelines.geo import geopackage
from data_pipelines.schema.errors import InputError

COLUMNS = {"point": [1, 2, 3], "label": ["", "Water", None], "x": [0.5, None, 1e6], "n": [None, 7, 8]}
POINTS = [geopackage.point(500_000.25 + i, 5e6) for i in range(3)]


def write(path, columns=COLUMNS, geometries=POINTS, kind="Point", crs="EPSG:32633", **options):
    geopackage.write(path, "points", columns, geometries, kind, crs, **options)
    return path


def test_what_is_written_is_read_back_whole(tmp_path):
    found, shapes = geopackage.read(write(tmp_path / "a.gpkg"), "points", list(COLUMNS))
    assert found == COLUMNS
    assert [geopackage.point_of(shape) for shape in shapes] == [(500_000.25 + i, 5e6) for i in range(3)]
    assert [path.name for path in tmp_path.iterdir()] == ["a.gpkg"]


def test_it_is_a_geopackage_for_others(tmp_path):
    """By the tables of the standard (OGC 12-128r17): CRS, kind of geometry, box; and the style where QGIS looks."""
    style = "<qgis>&'\"é</qgis>"
    with sqlite3.connect(write(tmp_path / "a.gpkg", style=style)) as base:
        assert base.execute("SELECT geometry_type_name, srs_id FROM gpkg_geometry_columns").fetchall() == [
            ("POINT", 32633)
        ]
        box = base.execute("SELECT min_x, max_x, min_y FROM gpkg_contents WHERE table_name = 'points'").fetchall()
        assert box == [(500_000.25, 500_002.25, 5e6)]
        assert base.execute("SELECT f_table_name, styleQML, useAsDefault FROM layer_styles").fetchall() == [
            ("points", style, 1)
        ]
        assert base.execute("SELECT label FROM points").fetchall() == [("",), ("Water",), (None,)]


def test_polygons_and_no_crs(tmp_path):
    ring = [(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 0.0)]
    path = write(tmp_path / "a.gpkg", {"name": ["a"]}, [geopackage.polygon(ring)], "Polygon", None)
    found, (shape,) = geopackage.read(path, "points", ["name"])
    assert found == {"name": ["a"]} and shape == geopackage.polygon(ring)
    assert geopackage.point_of(shape) is None


def test_points_of_any_byte_order_and_dimension():
    assert geopackage.point_of(np.array([1.5, -2.0], ">f8").tobytes().join([b"\0\0\0\0\1", b""])) == (1.5, -2.0)
    assert geopackage.point_of(b"\1\xe9\3\0\0" + np.array([1.5, -2, 9], "<f8").tobytes()) == (1.5, -2.0)
    assert geopackage.point_of(b"\1\4\0\0\0\1\0\0\0" + geopackage.point(3, 4)) == (3, 4)
    for damaged in (b"", b"\1\1\0\0\0", geopackage.point(np.nan, 1), b"\7" + geopackage.point(1, 2)[1:]):
        assert geopackage.point_of(damaged) is None


def test_a_file_that_is_there_is_replaced_or_stays(tmp_path):
    path = write(tmp_path / "a.gpkg")
    write(path, {"point": [9]}, POINTS[:1])
    assert geopackage.read(path, "points", ["point"])[0] == {"point": [9]}
    with pytest.raises(OSError):
        write(tmp_path / "nowhere" / "a.gpkg")
    with pytest.raises(OSError):
        write(path, crs="EPSG:0")
    assert geopackage.read(path, "points", ["point"])[0] == {"point": [9]}
    assert [one.name for one in tmp_path.iterdir()] == ["a.gpkg"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"point,label\n1,Water\n", "no GeoPackage by its first bytes"),
        (b"SQLite format 3\0" + bytes(100), "no GeoPackage by its first bytes"),
        (b"SQLite format 3\0" + bytes(52) + b"GPKG" + bytes(40), "cannot be read"),
    ],
)
def test_what_is_none_is_refused(tmp_path, content, says):
    path = tmp_path / "a.gpkg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        geopackage.read(path, "points", ["label"])


def test_a_column_or_a_layer_that_is_not_there(tmp_path, capsys):
    path = write(tmp_path / "a.gpkg")
    with pytest.raises(InputError, match="no column class in the layer points; found point, label, x, n"):
        geopackage.read(path, "points", ["class", "label"])
    assert geopackage.read(path, "other", ["point"])[0] == {"point": [1, 2, 3]}  # the only one may have any name
    with sqlite3.connect(path) as base:
        base.execute("CREATE VIEW endless AS SELECT 1")
    with pytest.raises(InputError, match="holds the view 'endless'; expected tables of stored values alone"):
        geopackage.read(path, "points", ["point"])
    write(path)
    (tmp_path / "a.gpkg-wal").write_bytes(b"half")
    geopackage.check_stored(path, 10**9)
    assert "is open in another program" in capsys.readouterr().out


@pytest.mark.parametrize("kept", ["VIRTUAL", "STORED"])
def test_columns_that_are_computed_are_refused_before_anything_computes_them(tmp_path, kept):
    path = write(tmp_path / "a.gpkg")
    with sqlite3.connect(path) as base:  # 100 MB for each row of a small file
        base.execute(
            f"CREATE TABLE more (fid INTEGER PRIMARY KEY, big TEXT AS (printf('%.*c', 100000000, 'x')) {kept})"
        )
    with pytest.raises(InputError, match="the generated column 'big' of the table 'more'; expected tables of stored"):
        geopackage.read(path, "points", ["point"])


def test_columns_that_nobody_asked_for_are_not_read(tmp_path, monkeypatch):
    path, read = write(tmp_path / "a.gpkg"), pyogrio.raw.read
    fields = []

    def noted(*args, **options):
        found = read(*args, **options)
        fields.extend(found[0]["fields"])
        return found

    monkeypatch.setattr(pyogrio.raw, "read", noted)
    found, shapes = geopackage.read(path, "points", ["n", "label"])
    assert found == {name: COLUMNS[name] for name in ("n", "label")} and len(shapes) == 3
    assert sorted(fields) == ["label", "n"]
    assert geopackage.read(path, "points", [])[0] == {}


def test_what_a_kill_left_is_not_added_to_and_the_name_is_of_this_process_alone(tmp_path, monkeypatch):
    path, written = tmp_path / "a.b.gpkg", []
    raw = pyogrio.raw.write
    monkeypatch.setattr(
        pyogrio.raw, "write", lambda begun, *args, **how: (written.append(begun), raw(begun, *args, **how))
    )
    write(path)
    (begun,) = written
    assert str(os.getpid()) in begun.name and begun.suffix == ".gpkg"
    left = write(tmp_path / "left.gpkg", {"point": [7]}, POINTS[:1])
    with sqlite3.connect(left) as base:
        base.execute("CREATE TABLE own (a)")
    left.rename(begun)
    write(path)
    with sqlite3.connect(path) as base:
        assert not base.execute("SELECT name FROM sqlite_master WHERE name = 'own'").fetchall()
    assert geopackage.read(path, "points", ["point"])[0] == {"point": [1, 2, 3]}


def test_without_the_extra_it_says_which(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(InputError, match=r"pip install 'lcjax\[vector\]'"):
        write(tmp_path / "a.gpkg")
