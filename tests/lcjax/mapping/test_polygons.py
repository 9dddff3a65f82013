"""Maps as polygons: they say what the map says, class by class."""

import collections
import pathlib
import sqlite3
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import worlds
from printed import printed

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.geo import burning, geopackage, vectors
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.errors import InputError
from lcjax.mapping import map_writer, outputs, polygons, predict, scene_list
from lcjax.mapping import scene as scenes
from lcjax.mapping.mapper import Mapper, Options

COLUMNS = (polygons.CLASS, polygons.NAME, polygons.HECTARES, polygons.PIXELS)


def draw(world, output, **options):
    card = worlds.card()
    mapper = Mapper(card, worlds.probabilities, "rule", {})
    with printed() as said, scenes.open_scene(card, scene_list.parse_scene(world.text, card.sensors)) as scene:
        areas = mapper.map(scene, output, Options(**options))
    return areas, said.text


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def test_polygons_of_a_map_hold_its_pixels_and_hectares(world):
    output = world.folder / "map.tif"
    areas, said = draw(world, output, vector=True)
    found, shapes = geopackage.read(output.with_suffix(".gpkg"), polygons.LAYER, COLUMNS)
    pixels, hectares = collections.Counter(), collections.Counter()
    for number, name, size, count in zip(*found.values(), strict=True):
        pixels[number, name] += count
        hectares[number] += size
    rows = [row for row in areas.rows()[:-1] if row["pixels"]]
    assert pixels == {(row["id"], row["name"]): row["pixels"] for row in rows}
    for row in rows:
        assert hectares[row["id"]] == pytest.approx(row["hectares"], rel=1e-4, abs=1e-3)
    assert len(shapes) > 100 and "of fewer than 4 pixels; --sieve=4" in said
    mark = map_writer.read_mark(output)
    assert mark and "map.gpkg" in mark.files


def test_polygons_lie_where_the_map_does(tmp_path):
    """Burned back, they are the map, but for corners that were cut."""
    rows, columns = np.mgrid[:60, :80]
    ids = np.where(columns + rows // 3 > 50, 1, 6).astype(np.uint8)
    ids[20:40, 10:25], ids[:, 75:] = 4, 255
    transform = rasterio.Affine(10, 0, 600_000, 0, -10, 200_000)
    profile = {"driver": "GTiff", "height": 60, "width": 80, "count": 1, "dtype": "uint8", "crs": "EPSG:32736"}
    with rasterio.open(tmp_path / "m.tif", "w", transform=transform, nodata=255, **profile) as file:
        file.write(ids, 1)
        grid = Grid.of(file)
    path = tmp_path / "m.gpkg"
    assert polygons.write(path, tmp_path / "m.tif", DFC2020, grid.crs, transform) == 3
    features = vectors.read(path, column=polygons.CLASS)
    assert features.remarks == ()
    placed = vectors.onto(features, grid, path)
    window = rasterio.windows.Window(0, 0, 80, 60)
    again = burning.burned(placed, np.array(features.values), window, 255)
    assert (again != ids).mean() < 0.01
    at_corners = (again != ids)[25:35, 12:23]
    assert not at_corners.any()


def test_qgis_finds_the_colours_of_the_legend(world):
    output = world.folder / "map.tif"
    draw(world, output, vector=True)
    with sqlite3.connect(output.with_suffix(".gpkg")) as base:
        ((style,),) = base.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = 'landcover'").fetchall()
    renderer = ElementTree.fromstring(style).find("renderer-v2")
    assert renderer is not None and renderer.get("attr") == polygons.CLASS
    symbols = {
        symbol.get("name"): option.get("value")
        for symbol in renderer.iter("symbol") for option in symbol.iter("Option") if option.get("name") == "color"
    }  # fmt: skip
    found = [(e.get("value"), e.get("label"), symbols[e.get("symbol")]) for e in renderer.iter("category")]
    assert found == [
        (str(c.value), c.name, ",".join(map(str, bytes.fromhex(c.colour[1:]))) + ",255") for c in DFC2020.scored
    ]


def test_a_map_without_classes_or_a_place(tmp_path):
    for name, ids, crs in (
        ("none", np.full((6, 5), 255, np.uint8), "EPSG:32736"),
        ("nowhere", np.ones((6, 5), np.uint8), None),
    ):
        profile = {"driver": "GTiff", "height": 6, "width": 5, "count": 1, "dtype": "uint8", "crs": crs}
        transform = rasterio.Affine(10, 0, 600_000, 0, -10, 200_000)
        with rasterio.open(tmp_path / f"{name}.tif", "w", transform=transform, **profile) as file:
            file.write(ids, 1)
        path = tmp_path / f"{name}.gpkg"
        known = rasterio.CRS.from_string(crs) if crs else None
        count = polygons.write(path, tmp_path / f"{name}.tif", DFC2020, known, transform)
        found, _ = geopackage.read(path, polygons.LAYER, COLUMNS)
        assert count == len(found[polygons.CLASS]) == (crs is None)
        assert found[polygons.HECTARES] == [None] * count


def test_a_geopackage_of_somebody_else_stays(world):
    output = world.folder / "map.tif"
    output.with_suffix(".gpkg").write_bytes(b"mine")
    card = worlds.card()
    jobs = scene_list.jobs(world.text, card.sensors, output)
    outputs.check(jobs, Options().products(card.legend))  # without --vector it is in nobody's way
    with pytest.raises(InputError, match=r"map\.gpkg: is there, where a file of the map map\.tif goes"):
        outputs.check(jobs, Options(vector=True).products(card.legend))


def test_without_pyogrio_it_is_refused_before_work(world, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyogrio.raw", None)
    card = worlds.card()
    jobs = scene_list.jobs(world.text, card.sensors, world.folder / "map.tif")
    with pytest.raises(InputError, match=r"map\.gpkg: --vector needs the package pyogrio: pip install"):
        predict.check(card, jobs, Options(vector=True), predict.SceneOptions())
    predict.check(card, jobs, Options(), predict.SceneOptions())


def test_what_cannot_be_read_back_is_no_file(tmp_path, monkeypatch):
    path = pathlib.Path(tmp_path / "m.gpkg")
    real = geopackage.values_of
    monkeypatch.setattr(geopackage, "values_of", lambda array: real(array)[::-1])
    rings = [[(0.0, 0.0), (2.0, 0.0), (2.0, 1.0), (0.0, 0.0)]] * 2
    parts = [({"a": [k]}, [geopackage.polygon(ring)]) for k, ring in enumerate(rings)]
    with pytest.raises(OSError, match="cannot be read back"):
        geopackage.write_parts(path, "x", parts, "Polygon", "EPSG:32633")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    assert geopackage.write_parts(path, "x", parts, "Polygon", "EPSG:32633") == 2
