"""Files of polygons: four formats are read alike, brought onto images, and what is wrong is one line."""

import itertools
import os
import pathlib
import sqlite3
import sys

import numpy as np
import pyogrio.raw
import pytest
import rasterio.warp
import shapes
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.windows import Window

from data_pipelines.geo import burning, geodesy, vectors
from data_pipelines.geo.geometry import wkb
from data_pipelines.geo.grids import Grid
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

GRID = Grid(CRS.from_epsg(32633), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), 40, 70)
IMAGE = pathlib.Path("image.tif")
RINGS = [shapes.square(1, 2, 10), shapes.square(20, 5, 8, 4)]
BOXES = [[1, 2, 11, 12], [20, 5, 28, 9]]
BOW = [shapes.at(1, 1), shapes.at(5, 5), shapes.at(5, 1), shapes.at(1, 5), shapes.at(1, 1)]


def said(*args, **how) -> str:
    with pytest.raises(InputError) as caught:
        vectors.read(*args, **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "driver"),
    [("a.gpkg", "GPKG"), ("a.geojson", "GeoJSON"), ("a.shp", "ESRI Shapefile"), ("a.fgb", "FlatGeobuf")],
)
def test_four_formats_are_read_alike(tmp_path, name, driver):
    crs = None if driver == "GeoJSON" else shapes.CRS
    path = tmp_path / name
    if driver == "GeoJSON":
        shapes.geojson(path, [({"class": c}, shapes.polygon(r)) for c, r in zip("ab", RINGS, strict=True)])
    else:
        shapes.written(path, ["a", "b"], RINGS, driver, crs)
    features = vectors.read(path, column="CLASS")
    assert (sorted(features.values), features.layer, features.remarks) == (
        ["a", "b"],
        "a",
        (),
    )  # FlatGeobuf has an order
    placed = vectors.onto(features, GRID, IMAGE)
    assert sorted(placed.shapes.boxes().tolist()) == BOXES
    assert vectors.are_vectors(path) and not vectors.are_vectors(IMAGE)
    assert vectors.columns(path) == ["class"]


def test_another_crs_is_transformed_and_long_edges_are_bent(tmp_path):
    """Against rasterio.warp, whose PROJ is asked point by point."""
    low, high = (13.0, 45.0), (17.0, 47.0)
    corners = [low, (high[0], low[1]), high, (low[0], high[1]), low]
    path = shapes.geojson(tmp_path / "a.geojson", [({}, shapes.polygon(corners))], None)
    grid = Grid(CRS.from_epsg(32633), Affine(1000, 0, 300_000, 0, -1000, 5_250_000), 300, 400)
    placed = vectors.onto(vectors.read(path), grid, IMAGE)
    ring = placed.shapes.ring(0)
    along = np.linspace(0, 1, 200)
    for start, end in itertools.pairwise(corners):
        lon, lat = (a + along * (b - a) for a, b in zip(start, end, strict=True))
        x, y = rasterio.warp.transform("EPSG:4326", "EPSG:32633", lon, lat)
        column, row = (np.array(x) - 300_000) / 1000, (5_250_000 - np.array(y)) / 1000
        assert shapes.away(ring, column, row).max() < 0.11
    assert len(ring) > 10
    near = vectors.onto(vectors.read(path), Grid(grid.crs, Affine(10_000, 0, 3e5, 0, -1e4, 5.25e6), 30, 40), IMAGE)
    assert len(near.shapes.ring(0)) < len(ring)  # larger pixels need fewer pieces


@pytest.mark.parametrize("epsg", [32633, 3035, 3857])
def test_an_ocean_that_goes_around_the_earth_covers_its_images(tmp_path, epsg):
    """Half of the image lies south of 47 degrees, asked of PROJ pixel by pixel; its outline is far beyond the CRS."""
    south, north = (
        shapes.polygon([(-180, a), (180, a), (180, b), (-180, b), (-180, a)]) for a, b in ((-85, 47), (47, 85))
    )
    path = shapes.geojson(tmp_path / "a.geojson", [({}, south), ({}, north)], None)
    (x,), (y,) = rasterio.warp.transform("EPSG:4326", f"EPSG:{epsg}", [14.0], [47.0])
    grid = Grid(CRS.from_epsg(epsg), Affine(2000, 0, x - 140_000, 0, -2000, y + 80_000), 80, 140)
    placed = vectors.onto(vectors.read(path), grid, IMAGE)
    found = burning.burned(placed, np.array([1, 2]), Window(0, 0, 140, 80), 0)
    columns, rows = np.meshgrid(np.arange(140) + 0.5, np.arange(80) + 0.5)
    _, latitude = geodesy.lonlat(grid.crs, *geodesy.positions(grid.transform, columns, rows))
    sure = abs(latitude - 47) > 0.004  # a fifth of a pixel
    np.testing.assert_array_equal(found[sure], np.where(latitude < 47, 1, 2)[sure])
    assert sure.mean() > 0.99 and 0.4 < (found == 1).mean() < 0.6


def test_an_image_across_the_antimeridian_has_both_sides(tmp_path):
    ring = [(-180, -85), (180, -85), (180, 0.1), (-180, 0.1), (-180, -85)]
    path = shapes.geojson(tmp_path / "a.geojson", [({}, shapes.polygon(ring))], None)
    (x,), (y,) = rasterio.warp.transform("EPSG:4326", "EPSG:32601", [-180.0], [0.1])
    grid = Grid(CRS.from_epsg(32601), Affine(500, 0, x - 20_000, 0, -500, y + 10_000), 40, 80)
    inside = burning.covered(vectors.onto(vectors.read(path), grid, IMAGE), Window(0, 0, 80, 40))
    assert inside[22:].all() and not inside[:18].any()


def test_features_that_meet_no_image_are_left_and_keep_their_numbers(tmp_path):
    rings = [shapes.square(-50, -50, 5), shapes.square(5, 5, 5), shapes.square(90, 5, 5), shapes.square(69, 39, 5)]
    features = vectors.read(shapes.written(tmp_path / "a.gpkg", [1, 2, 3, 4], rings, "GPKG"))
    assert vectors.onto(features, GRID, IMAGE).shapes.owners.tolist() == [1, 3]
    assert vectors.onto(features, GRID, IMAGE, margin=21).shapes.owners.tolist() == [1, 2, 3]
    # Around the image, which stays free: none meets it, and none is wrong.
    around = shapes.written(tmp_path / "b.gpkg", [1, 2], [rings[0], shapes.square(90, 60, 5)], "GPKG")
    assert not len(vectors.onto(vectors.read(around), GRID, IMAGE).shapes.kinds)


def test_what_lies_elsewhere_is_named(tmp_path):
    features = vectors.read(shapes.written(tmp_path / "a.gpkg", [1], [shapes.square(5000, 0, 5)], "GPKG"))
    with pytest.raises(Refused, match=r"a\.gpkg: all of its features lie elsewhere \(x 502,500 to .*EPSG:32633"):
        vectors.onto(features, GRID, IMAGE)
    for nowhere in (Grid(None, GRID.transform, 40, 70), Grid(GRID.crs, Affine.identity(), 40, 70)):
        with pytest.raises(Refused, match=r"image\.tif: has no CRS, or no transform"):
            vectors.onto(features, nowhere, IMAGE)


def test_rings_that_cross_are_counted_and_what_has_no_place_is_left_out(tmp_path):
    flat = [shapes.at(1, 1), shapes.at(5, 5), shapes.at(1, 1), shapes.at(1, 1)]
    touching = [shapes.at(0, 0), shapes.at(4, 0), shapes.at(4, 4), shapes.at(2, 0), shapes.at(0, 4), shapes.at(0, 0)]
    parts = {"type": "MultiPolygon", "coordinates": [[RINGS[0]], [[*map(list, BOW)]]]}
    listed = [({}, None), ({}, shapes.polygon(flat)), ({}, shapes.polygon(RINGS[0])), ({}, parts)]
    listed += [({}, shapes.polygon(touching))]
    features = vectors.read(shapes.geojson(tmp_path / "a.geojson", listed))
    assert features.remarks[0] == "1 features without a geometry are left out"
    assert features.remarks[1] == "1 polygons of fewer than three points are left out"
    assert features.remarks[2].startswith("1 polygons have edges that cross (the first: feature 4)")
    assert features.shapes.owners.tolist() == [2, 3, 3, 4]
    hole = shapes.square(8, 8, 9)  # leaves the square that it should be in
    features = vectors.read(shapes.geojson(tmp_path / "b.geojson", [({}, shapes.polygon(RINGS[0], hole))]))
    assert "have edges that cross (the first: feature 1)" in features.remarks[0]


def test_layers_columns_and_empty_files(tmp_path):
    path = shapes.written(tmp_path / "a.gpkg", [1, 2], RINGS, "GPKG")
    assert "no layer b; found a" in said(path, "b")
    assert "no column kind in the layer a; found class; name the column" in said(path, column="kind")
    assert "did you mean 'class'? found class" in said(path, column="clas")
    pyogrio.raw.write(
        path, np.array([None], object), [np.array([1])], ["x"], layer="b", driver="GPKG", geometry_type="Polygon",
        crs=shapes.CRS, append=False,
    )  # fmt: skip
    assert "2 layers (a, b); expected one" in said(path)
    assert "none of its 1 features has a place; expected polygons" in said(path, "b")
    empty = shapes.geojson(tmp_path / "e.geojson", [])
    assert "no features in the layer e" in said(empty)
    with sqlite3.connect(tmp_path / "s.gpkg") as base:
        base.execute("CREATE TABLE a (b)")
    assert "a database, but no GeoPackage" in said(tmp_path / "s.gpkg")


def test_no_crs_and_degrees_that_are_none(tmp_path):
    path = shapes.written(tmp_path / "a.shp", [1, 2], RINGS, "ESRI Shapefile", shapes.CRS)
    (tmp_path / "a.prj").unlink()
    assert "the layer a has no CRS (there is no a.prj beside it)" in said(path)
    plain = shapes.geojson(tmp_path / "b.geojson", [({}, shapes.polygon(RINGS[0]))], None)
    assert "its CRS is EPSG:4326, but it holds 500,000, 5e+06, which are no degrees" in said(plain)


def test_other_kinds_and_curves(tmp_path):
    line = {"type": "LineString", "coordinates": [shapes.at(0, 0), shapes.at(5, 5)]}
    point = {"type": "Point", "coordinates": shapes.at(3.5, 4.5)}
    path = shapes.geojson(tmp_path / "a.geojson", [({}, shapes.polygon(RINGS[0])), ({}, line), ({}, point)])
    assert "feature 2 is a line; expected polygons; give it an area" in said(path)
    features = vectors.read(path, kinds=(wkb.POLYGON, wkb.LINE, wkb.POINT))
    assert features.shapes.kinds.tolist() == [wkb.POLYGON, wkb.LINE, wkb.POINT]
    assert features.shapes.boxes()[2].tolist() == [*shapes.at(3.5, 4.5), *shapes.at(3.5, 4.5)]


def test_what_is_no_such_file(tmp_path, monkeypatch):
    path = tmp_path / "a.gpkg"
    assert "No such file" in said(path)
    path.write_bytes(b"\0" * 100)
    assert "none by its first bytes; expected a GeoPackage, GeoJSON, Shapefile or FlatGeobuf" in said(path)
    path.write_text('{"type": "FeatureCollection", "features": [{"type"')
    assert "cannot be read" in said(path)
    os.mkfifo(tmp_path / "pipe.shp")
    assert "a pipe; expected a file" in said(tmp_path / "pipe.shp")
    whole = shapes.written(tmp_path / "s.shp", [1, 2], RINGS, "ESRI Shapefile")
    (tmp_path / "s.shx").unlink()
    assert "no s.shx beside it" in said(whole)
    (tmp_path / "s.dbf").unlink()
    os.mkfifo(tmp_path / "s.dbf")
    assert "s.dbf: a pipe" in said(whole)
    good = shapes.written(tmp_path / "g.gpkg", [1, 2], RINGS, "GPKG")
    monkeypatch.setattr(limits, "VECTOR_FEATURES", 1)
    assert "more than 1 features" in said(good)
    monkeypatch.setattr(limits, "VECTOR_BYTES", 10)
    assert "bytes; expected at most 10" in said(good)
    monkeypatch.setitem(sys.modules, "pyogrio.raw", None)
    assert "a file of polygons needs the package pyogrio: pip install 'lcjax[vector]'" in said(good)


def test_a_geopackage_with_a_view_is_not_asked(tmp_path):
    path = shapes.written(tmp_path / "a.gpkg", [1, 2], RINGS, "GPKG")
    with sqlite3.connect(path) as base:
        base.execute("CREATE VIEW v AS SELECT * FROM a")
    assert "holds the view" in said(path)
