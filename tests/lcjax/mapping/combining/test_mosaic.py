"""Many scenes in one map: each is mapped as it would be alone, and a rule says which of them a pixel is of."""

import csv
import json
import pathlib
import re

import numpy as np
import pystac
import pytest
import rasterio
import worlds
from printed import printed
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S1, S2
from lcjax.engine import restore
from lcjax.mapping import predict, scene_area
from lcjax.mapping.acquisition import parse_date
from lcjax.mapping.combining import places, rules
from lcjax.mapping.combining.places import Source
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.mapping.scene_list import Job

STEP = rasterio.Affine(10, 0, 600000, 0, -10, 200000)
UTM = "EPSG:32736"


def write(path, values, bands, top, left, transform=STEP, crs=UTM):
    place = transform @ rasterio.Affine.translation(left, top)
    count, height, width = values.shape
    profile = {"count": count, "height": height, "width": width, "dtype": values.dtype, "crs": crs, "transform": place}
    with rasterio.open(path, "w", driver="GTiff", **profile) as out:
        out.write(values)
        for index, band in enumerate(bands, 1):
            out.set_band_description(index, band)


def scene(folder, name, top, left, height, width, seed, **place):
    """Two sensors of a scene, with a hole."""
    rng = np.random.default_rng(seed)
    optical = rng.integers(1, 4000, (13, height, width)).astype("uint16")
    optical[:, 20:30, 20:40] = 0
    for sensor, values, bands in (
        ("s1", rng.uniform(-25, -1, (2, height, width)).astype("float32"), S1.bands),
        ("s2", optical, S2.bands),
    ):
        (folder / sensor).mkdir(exist_ok=True)
        write(folder / sensor / f"{name}.tif", values, bands, top, left, **place)


# top, left, height, width of each, by name in the order of the folder
PLACES = {"a_20200101": (0, 0, 60, 70), "b_20220101": (30, 40, 64, 50), "c_20210101": (-10, 20, 45, 90)}


@pytest.fixture
def folder(tmp_path):
    for seed, (name, place) in enumerate(PLACES.items()):
        scene(tmp_path, name, *place, seed)
    return tmp_path


def unsure(inputs):
    """A class by the brightness of B2, as sure as B3 is bright."""
    best = np.eye(8, dtype=np.float32)[inputs["s2"][..., 1].astype(int) % 8]
    sure = 0.3 + 0.7 * (inputs["s2"][..., 2:3].astype(np.float32) / 4000)
    return (sure * best + (1 - sure) / 8).astype(np.float32)


@pytest.fixture
def network(monkeypatch):
    """What stands in place of the network of any workdir; may be replaced."""
    held = {"answer": unsure, "identity": "rule"}
    monkeypatch.setattr(restore, "card_of", lambda where, kind: worlds.card())
    monkeypatch.setattr(
        Mapper, "of_workdir", lambda *_, **__: Mapper(worlds.card(), held["answer"], held["identity"], {})
    )
    return held


def run(scenes, output, *, date=None, aoi=None, mask="", **options):
    with printed() as said:
        how = predict.SceneOptions(date=date, aoi=aoi)
        predict.map_scenes([pathlib.Path("run")], str(scenes), output, Options(**options), how, mask=mask)
    return said.text


def both(folder):
    return f"s1={folder}/s1,s2={folder}/s2"


def read(path):
    with rasterio.open(path) as raster:
        return raster.read()


def by_hand(folder, rule, ranks):
    """The mosaic in numpy, of the maps of each scene alone: its ids, and the scene of each pixel."""
    top, left = -10, 0
    ids, source = np.full((104, 110), 255, np.uint8), np.full((104, 110), 65535, np.uint16)
    best = np.full(ids.shape, -1)
    for name in ranks:
        y, x, height, width = PLACES[name]
        here = np.s_[y - top : y - top + height, x - left : x - left + width]
        alone = read(folder / "alone" / f"{name}.tif")[0]
        sure = read(folder / "alone" / f"{name}_confidence.tif")[0].astype(int)
        take = (alone != 255) & ((best[here] < 0) | ((sure > best[here]) if rule == "confidence" else False))
        ids[here][take], source[here][take], best[here][take] = alone[take], [*PLACES].index(name) + 1, sure[take]
    return ids, source


@pytest.mark.parametrize("rule", rules.RULES)
def test_each_pixel_is_of_the_scene_that_the_rule_names(folder, network, rule):
    run(both(folder), folder / "alone", confidence=True)
    output = folder / "map.tif"
    said = run(both(folder), output, mosaic=rule, confidence=True, probabilities=True)
    ids, source = by_hand(folder, rule, ["b_20220101", "c_20210101", "a_20200101"])
    np.testing.assert_array_equal(read(output)[0], ids)
    np.testing.assert_array_equal(read(folder / "map_scene.tif")[0], source)
    assert {*np.unique(source)} == {1, 2, 3, 65535} and (ids == 255).sum() == (source == 65535).sum() > 100
    shares = read(folder / "map_probabilities.tif")
    np.testing.assert_array_equal(DFC2020.id_of_index()[shares.argmax(0)][ids != 255], ids[ids != 255])
    np.testing.assert_array_equal(read(folder / "map_confidence.tif")[0], shares.max(0))
    with rasterio.open(output) as raster:
        assert raster.transform == STEP @ rasterio.Affine.translation(0, -10) and raster.crs == UTM
        assert raster.tags()["LCJAX_MOSAIC"] == f"3 scenes, by {rule}"
    with (folder / "map.scenes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["number"], row["date"][:10]) for row in rows] == [
        ("1", "2020-01-01"),
        ("2", "2022-01-01"),
        ("3", "2021-01-01"),
    ]
    assert [int(row["pixels"]) for row in rows] == [(source == number).sum() for number in (1, 2, 3)]
    assert rows[1]["s2"] == str(folder / "s2" / "b_20220101.tif") and "scene 2 of 3" in said
    item = json.loads(output.with_suffix(".json").read_text())
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    told = item["properties"]
    assert told["datetime"] is None and told["start_datetime"][:4] == "2020" and told["end_datetime"][:4] == "2022"
    assert {"scene", "scenes"} <= item["assets"].keys() and not list(folder.glob(".*"))
    with output.with_suffix(".areas.csv").open() as file:
        assert all(int(row["pixels"]) == (ids == int(row["id"])).sum() for row in csv.DictReader(file))
    assert "already mapped" in run(both(folder), output, mosaic=rule, confidence=True, probabilities=True)


def test_a_confidence_that_is_not_asked_for_decides_and_is_not_written(folder, network):
    run(both(folder), folder / "alone", confidence=True)
    run(both(folder), folder / "map.tif", mosaic="confidence")
    ids, source = by_hand(folder, "confidence", ["b_20220101", "c_20210101", "a_20200101"])
    np.testing.assert_array_equal(read(folder / "map.tif")[0], ids)
    np.testing.assert_array_equal(read(folder / "map_scene.tif")[0], source)
    assert not (folder / "map_confidence.tif").exists()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("calls", [3, 7])
def test_killed_in_any_scene_it_goes_on_to_the_same_bytes(folder, network, calls):
    wanted = {"mosaic": "newest", "confidence": True, "sieve": 3}
    (folder / "whole").mkdir()
    whole = []
    network["answer"] = lambda inputs: whole.append(1) or unsure(inputs)
    run(both(folder), folder / "whole" / "map.tif", **wanted)
    left, output = calls, folder / "map.tif"

    def dying(inputs):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return unsure(inputs)

    network["answer"] = dying
    with pytest.raises(Killed):
        run(both(folder), output, **wanted)
    counted = []
    network["answer"] = lambda inputs: counted.append(1) or unsure(inputs)
    run(both(folder), output, **wanted)
    assert len(counted) < len(whole)
    for path in (folder / "whole").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    assert not list(folder.glob(".*"))


def test_what_changes_begins_the_mosaic_anew(folder, network):
    output = folder / "map.tif"
    run(both(folder), output, mosaic="newest")
    for change in ({"mosaic": "confidence"}, {"mosaic": "newest", "date": None}, {"mosaic": "newest"}):
        if "date" in change:
            scene(folder, "b_20220101", *PLACES["b_20220101"], 9)
        elif change["mosaic"] == "newest":
            network["identity"] = "another"
        assert "already mapped" not in run(both(folder), output, **change)
        assert "already mapped" in run(both(folder), output, **change)


def test_a_list_tells_dates_and_masks_of_its_own(folder, network):
    clouds = np.zeros((1, 64, 50), np.uint8)
    clouds[0, :, :25] = 9
    write(folder / "clouds.tif", clouds, (), *PLACES["b_20220101"][:2])
    rows = [
        "s1/a_20200101.tif,s2/a_20200101.tif,2023-05-01,",
        "s1/b_20220101.tif,s2/b_20220101.tif,2024-05-01T10:00,clouds.tif:cloud_high",
    ]
    (folder / "scenes.csv").write_text("\n".join(["s1,s2,date,mask", *rows, ""]))
    run(folder / "scenes.csv", folder / "map.tif", mosaic="newest")
    source = read(folder / "map_scene.tif")[0]
    assert source.shape == (94, 90)
    # Of b the left half is cloudy: there the older scene shows, where it reaches.
    assert not (source[30:, 40:65] == 2).any() and (source[30:60, 40:65] == 1).mean() > 0.9
    assert (source[64:90, 65:] == 2).all()
    with rasterio.open(folder / "map.tif") as raster:
        assert raster.tags()["LCJAX_MASK"] == "clouds.tif: cloud_high"
    with pytest.raises(InputError, match=r"--mask=\S+: beside \S*scenes.csv, line 3, which names a mask of its own"):
        run(folder / "scenes.csv", folder / "map.tif", mosaic="newest", mask=str(folder / "clouds.tif"))
    with pytest.raises(InputError, match=r"--date: beside \S*scenes.csv, line 2, which tells a date"):
        run(folder / "scenes.csv", folder / "map.tif", mosaic="newest", date=parse_date("2020-01-01"))
    (folder / "scenes.csv").write_text("\n".join(["s1,s2,date", rows[0][:-1].replace("2023-05-01", "May")]))
    with pytest.raises(InputError, match=r"scenes.csv, line 2: date=May: expected e.g. 2020-08-23"):
        run(folder / "scenes.csv", folder / "map.tif", mosaic="newest")


def test_what_cannot_be_one_map_is_said_before_any_is_mapped(folder, network):
    def never(_):
        raise AssertionError

    network["answer"] = never
    output = folder / "map.tif"
    for change, words in (
        (
            {"crs": "EPSG:32735"},
            r"d.tif: CRS EPSG:32735, expected EPSG:32736 as in a_20200101.tif .*; expected the CRS .*gdalwarp",
        ),
        ({"transform": STEP @ rasterio.Affine.scale(1.2)}, r"d.tif: pixels of 12 x 12 m, expected 10 x 10 m as in a_"),
        ({"transform": STEP @ rasterio.Affine.translation(1e9, 0)}, r"pixels from .* expected at most 40,000,000,000"),
        ({}, r"d.tif: neither tags nor name tell when it was taken, and --mosaic=newest asks for it"),
    ):
        scene(folder, "d", 0, 0, 40, 50, 7, **change)
        with pytest.raises(InputError, match=words) as caught:
            run(both(folder), output, mosaic="newest")
        assert "\n" not in str(caught.value)
    for options, to, words in (
        ({"mosaic": "oldest"}, output, r"--mosaic=oldest: expected one of newest, confidence"),
        ({"mosaic": "newest"}, folder / "maps", r"--output=.*maps: expected a name that ends in .tif"),
        ({"mosaic": "newest"}, folder / "s2" / "map.tif", r"the folder of the scenes; expected another"),
        ({}, output, r"one file for 4 scenes; expected a folder for their maps, or --mosaic"),
    ):
        with pytest.raises(InputError, match=words):
            run(both(folder), to, **options)


def test_a_scene_that_cannot_be_mapped_ends_the_mosaic_and_is_named(folder, network):
    write(folder / "s2" / "c_20210101.tif", np.zeros((13, 45, 90), np.uint16), S2.bands, *PLACES["c_20210101"][:2])
    with pytest.raises(InputError, match=r"c_20210101.tif: no valid pixel"):
        run(both(folder), folder / "map.tif", mosaic="newest")
    assert not (folder / "map.tif").exists() and (folder / ".map.tif.draft").is_dir()
    scene(folder, "c_20210101", *PLACES["c_20210101"], 2)
    said = run(both(folder), folder / "map.tif", mosaic="newest")
    assert "already mapped" not in said and (folder / "map.tif").exists()


# ---- places and rules -----------------------------------------------------------------------------------------------


def source(name="x.tif", transform=STEP, height=40, width=50, crs=UTM, time=None):
    crs = rasterio.CRS.from_string(crs) if crs else None
    path = pathlib.Path(name)
    return Source(Job({"s2": path}, pathlib.Path("m.tif")), path, Grid(crs, transform, height, width), time)


def test_scenes_between_the_pixels_of_the_first_move_by_less_than_half_a_pixel_and_it_is_said():
    moved = source("y.tif", STEP @ rasterio.Affine.translation(-7.7, 12.02))
    with printed() as said:
        whole, (first, second) = places.joined([source(), moved])
    assert (second.left, first.left, second.top, first.top) == (0, 8, 12, 0)
    assert (whole.height, whole.width) == (52, 58) and whole.transform == STEP @ rasterio.Affine.translation(-8, 0)
    assert re.search(r"y.tif: its pixels are moved by 0.30 of a pixel, onto those of x.tif", said.text)
    with pytest.raises(InputError, match=r"y.tif: lies nowhere on the Earth"):
        places.joined([source(), source("y.tif", crs=None)])
    with printed() as said:
        places.joined([source(), source("y.tif", STEP @ rasterio.Affine.translation(900, 0))])
    assert "most of which no scene covers" in said.text


def test_the_newest_come_first_and_those_of_one_date_as_they_are_listed():
    times = [None, "2020-01-01", "2021-01-01", "2020-01-01", None]
    assert rules.order([source(time=parse_date(time)) for time in times]) == [2, 1, 3, 0, 4]
    rules.check("newest", [source()])
    rules.check("confidence", [source(), source()])
    with pytest.raises(InputError, match="at most 65,534"):
        rules.check("confidence", [source()] * 65_535)


def square(path, corner, size):
    """A square of pixels as GeoJSON in the CRS of the scenes."""
    (x, y), far = corner, [(0, 0), (size, 0), (size, size), (0, size), (0, 0)]
    ring = [(600000 + 10 * (x + across), 200000 - 10 * (y + down)) for across, down in far]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    told = {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": geometry}]}
    told["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32736"}}
    path.write_text(json.dumps(told))
    return str(path)


def test_one_mask_of_polygons_may_be_of_many_scenes(folder, network):
    """Polygons of an area leave scenes out; polygons that mask none of a scene leave all of it."""
    mask = square(folder / "m.geojson", (900, 900), 5)
    aoi = scene_area.read_aoi(square(folder / "a.geojson", (2, 2), 10))
    said = run(both(folder), folder / "alone", mask=mask, aoi=aoi)
    assert "is excluded: all of its features lie elsewhere" in said and said.count("left out: nothing of it lies") == 2
    run(both(folder), folder / "plain", aoi=aoi)
    np.testing.assert_array_equal(read(folder / "alone/a_20200101.tif"), read(folder / "plain/a_20200101.tif"))
    assert "is excluded: all of its features" in run(both(folder), folder / "map.tif", mask=mask, mosaic="newest")


def test_a_mask_of_a_list_that_is_missing_costs_its_scene_and_is_told_before_a_mosaic(folder, network):
    rows = [f"s1/{name}.tif,s2/{name}.tif,{mask}" for name, mask in (("a_20200101", ""), ("b_20220101", "no.tif:9"))]
    (folder / "scenes.csv").write_text("\n".join(["s1,s2,mask", *rows, ""]))
    with pytest.raises(InputError, match=r"1 of 2 scenes were not mapped; the first: \S*scenes.csv, line 3: \S*no.tif"):
        run(folder / "scenes.csv", folder / "alone")
    assert [path.name for path in (folder / "alone").glob("*.tif")] == ["a_20200101.tif"]
    with pytest.raises(InputError, match=r"no.tif: no such file; expected a raster or polygons"):
        run(folder / "scenes.csv", folder / "map.tif", mosaic="newest")
    assert not (folder / "map.tif").exists()


def test_only_scenes_that_reach_into_the_area_are_taken(folder, network):
    aoi = scene_area.read_aoi(square(folder / "a.geojson", (2, 2), 10))
    said = run(both(folder), folder / "map.tif", mosaic="newest", aoi=aoi)
    assert said.count("left out: nothing of it lies in the area of interest") == 2
    ids = read(folder / "map.tif")[0]
    assert ids.shape == (60, 70) and (ids != 255).sum() == 100 == (ids[2:12, 2:12] != 255).sum()
    run(both(folder), folder / "alone", aoi=aoi)
    assert [path.name for path in (folder / "alone").glob("*.tif")] == ["a_20200101.tif"]
