"""Only what is asked for is mapped: what lies outside an area of interest, or is masked, is no data, not computed."""

import csv
import json

import numpy as np
import pytest
import rasterio
import worlds
from printed import printed
from rasterio import features

from data_pipelines.geo import exclusions, geodesy
from data_pipelines.schema.errors import InputError
from lcjax.mapping import scene as scenes
from lcjax.mapping import scene_area, scene_list
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options

UTM = rasterio.CRS.from_epsg(32736)
STEP = rasterio.Affine(10, 0, 600000, 0, -10, 200000)


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def polygons(path, *rings, crs="EPSG:4326"):
    """Polygons in pixels of the world, as GeoJSON in degrees."""
    told = []
    for ring in rings:
        x, y = (STEP.a * np.array(ring)[:, 0] + STEP.c, STEP.e * np.array(ring)[:, 1] + STEP.f)
        places = np.stack(geodesy.transformed(UTM, rasterio.CRS.from_string(crs), x, y), 1).tolist()
        geometry = {"type": "Polygon", "coordinates": [[*places, places[0]]]}
        told.append({"type": "Feature", "properties": {}, "geometry": geometry})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": told}))
    return path


def draw(world, output, *, aoi=None, mask=None, network=worlds.probabilities, tile=32, **options):
    """The ids of the map, its areas, and what was said."""
    card = worlds.card(tile=tile)
    mapper = Mapper(card, network, "rule", {"LCJAX_CHECKPOINT": "best, step 7"})
    wanted = {"aoi": aoi and scene_area.read_aoi(str(aoi)), "mask": mask and exclusions.parse(str(mask), "--mask")}
    files = scene_list.parse_scene(world.text, card.sensors)
    with printed() as said, scenes.open_scene(card, files, **wanted) as scene:
        mapper.map(scene, output, Options(**options), date=scene_list.acquisition.parse_date("2020-08-23"))
    with rasterio.open(output) as result, output.with_suffix(".areas.csv").open() as areas:
        return result.read(1), list(csv.DictReader(areas)), said.text


def neighbours(inputs):
    """A network that sees its surroundings: the mean of five columns decides, so that cut inputs would show."""
    band = inputs["s2"][..., 1].astype(np.float32)
    mean = sum(np.roll(band, step, 2) for step in range(-2, 3)) / 5
    return np.eye(8, dtype=np.float32)[(mean // 500).astype(int).clip(0, 7)]


TRIANGLE, SQUARE = [(10.2, 3.1), (50.7, 30.4), (8.3, 60.9)], [(70, 50), (84, 50), (84, 64), (70, 64)]


@pytest.mark.parametrize("network", [worlds.probabilities, neighbours])
def test_inside_an_area_of_interest_the_map_is_that_of_the_whole_scene(world, network):
    whole, _, _ = draw(world, world.folder / "whole.tif", network=network, overlap=8)
    path = polygons(world.folder / "a.geojson", TRIANGLE, SQUARE)
    ids, areas, _ = draw(world, world.folder / "map.tif", network=network, overlap=8, aoi=path)
    inside = features.rasterize(
        [({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, 1) for ring in (TRIANGLE, SQUARE)], whole.shape
    )
    assert 1000 < inside.sum() < 2000
    np.testing.assert_array_equal(ids, np.where(inside, whole, 255))
    counted = {int(row["id"]): int(row["pixels"]) for row in areas}
    assert counted == {i: int((ids == i).sum()) for i in counted} and sum(counted.values()) == ids.size
    mapped = sum(float(row["hectares_grid"]) for row in areas[:-1])
    assert mapped == pytest.approx((ids != 255).sum() * 0.01)
    item = json.loads((world.folder / "map.json").read_text())
    with rasterio.open(world.folder / "map.tif") as result:
        assert result.tags()["LCJAX_AOI"] == item["properties"]["lcjax:aoi"] == "a.geojson, layer a"


def test_tiles_without_a_pixel_of_interest_are_neither_computed_nor_far_rows_read(world, monkeypatch):
    seen, rows = [], []
    layer = scenes.Layer.read

    def read(self, window):
        rows.extend(range(window.row_off, window.row_off + window.height))
        return layer(self, window)

    def counting(inputs):
        seen.append(len(inputs["s2"]))
        return worlds.probabilities(inputs)

    monkeypatch.setattr(scenes.Layer, "read", read)
    path = polygons(world.folder / "a.geojson", [(2, 2), (9, 2), (9, 9), (2, 9)])
    draw(world, world.folder / "map.tif", aoi=path, network=counting, tile=16, overlap=0, batch_size=1)
    assert seen == [1]
    known = len(rows)
    draw(world, world.folder / "all.tif", network=counting, tile=16, overlap=0, batch_size=1)
    # Sampling and the picture read of both alike; of the strips only those that a tile of the corner reaches.
    assert known < len(rows) - known


def test_what_a_mask_names_is_not_mapped_and_more_than_one_can_be_asked_for(world):
    numbers = np.random.default_rng(5).integers(0, 12, (38, 45)).astype(np.uint8)
    with rasterio.open(
        world.folder / "SCL.tif", "w", driver="GTiff", count=1, height=38, width=45, dtype="uint8", crs=UTM,
        transform=STEP @ rasterio.Affine.scale(2),
    ) as out:  # fmt: skip
        out.write(numbers, 1)
    path = polygons(world.folder / "a.geojson", SQUARE)
    mask = f"{world.folder / 'SCL.tif'}:cloud_high,cloud_shadow"
    clouds = np.isin(numbers, (3, 9)).repeat(2, 0).repeat(2, 1)[:75]
    ids, _, said = draw(world, world.folder / "map.tif", mask=mask)
    np.testing.assert_array_equal(ids, np.where(clouds, 255, world.truth))
    assert f"{100 * clouds.mean():.1f} % of" in said and "not mapped (SCL.tif: cloud_shadow, cloud_high)" in said
    with rasterio.open(world.folder / "map.tif") as result:
        assert result.tags()["LCJAX_MASK"] == "SCL.tif: cloud_shadow, cloud_high"
    ids, _, _ = draw(world, world.folder / "both.tif", mask=mask, aoi=path)
    square = np.zeros_like(clouds)
    square[50:64, 70:84] = True
    np.testing.assert_array_equal(ids, np.where(square & ~clouds, world.truth, 255))


def test_a_mask_that_does_not_cover_the_scene_says_so_and_one_of_elsewhere_is_refused(world):
    profile = {"driver": "GTiff", "count": 1, "height": 75, "width": 30, "dtype": "uint8", "crs": UTM}
    for name, place in (("part", STEP), ("far", STEP @ rasterio.Affine.translation(900, 0))):
        with rasterio.open(world.folder / f"{name}.tif", "w", transform=place, **profile) as out:
            out.write(np.ones((75, 30), np.uint8), 1)
    ids, _, said = draw(world, world.folder / "map.tif", mask=world.folder / "part.tif")
    assert "part.tif: reaches over 33.3 % of" in said
    assert (ids[:, :30] == 255).all()
    np.testing.assert_array_equal(ids[:, 30:], world.truth[:, 30:])
    with pytest.raises(InputError, match=r"far.tif: holds nothing of the ground of .*s1.tif"):
        draw(world, world.folder / "none.tif", mask=world.folder / "far.tif")


def test_an_area_or_a_mask_that_changes_begins_the_map_anew(world):
    """Finished maps are left alone while nothing changes; drafts have the same plan."""
    path, output = polygons(world.folder / "a.geojson", SQUARE), world.folder / "map.tif"
    mask = polygons(world.folder / "m.geojson", [(70, 50), (72, 50), (72, 52), (70, 52)])
    for change in (
        lambda: None,
        lambda: polygons(path, TRIANGLE),
        lambda: polygons(mask, [(20, 20), (22, 20), (22, 32), (20, 32)]),
    ):
        change()
        assert "already mapped" not in draw(world, output, aoi=path, mask=mask)[2]
        assert "already mapped" in draw(world, output, aoi=path, mask=mask, network=None)[2]
    assert "already mapped" not in draw(world, output, aoi=path)[2]


def test_what_is_no_area_of_interest_is_said_in_one_line(world):
    far = polygons(world.folder / "far.geojson", [(900, 0), (910, 0), (910, 9)])
    around = polygons(world.folder / "around.geojson", [(-9, -9), (-5, -9), (-5, 90)], [(99, 0), (110, 0), (110, 9)])
    for path, words in (
        (world.folder / "none.gpkg", r"--aoi=.*none.gpkg: no such file"),
        (world.folder / "s1.tif", r"s1.tif: none by its first bytes; expected a GeoPackage"),
        (far, r"far.geojson: all of its features lie elsewhere"),
        (around, r"around.geojson: none of its features meets .*s1.tif"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            draw(world, world.folder / "map.tif", aoi=path)
        assert "\n" not in str(caught.value)
