"""A scene goes in, a map and what lies beside it come out; killed, it goes on."""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
import xml.etree.ElementTree

import numpy as np
import pystac
import pytest
import rasterio
import rasterio.errors
import worlds
from networks import CLASSES, RGB
from printed import printed
from pystac.validation.stac_validator import JsonSchemaSTACValidator

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.errors import InputError
from lcjax.mapping import scene as scenes
from lcjax.mapping import scene_list
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.runs.model_card import Card

BESIDE = ["map.areas.csv", "map.png", "map.qml", "map.tif", "map.tif.aux.xml"]
DATE = datetime.datetime(2020, 8, 23, tzinfo=datetime.UTC)


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def draw(world, output, *, tile=32, network=worlds.probabilities, identity="rule", date=None, **options):
    """The map's ids, the areas and what was said."""
    card = worlds.card(tile=tile)
    mapper = Mapper(card, network, identity, {"LCJAX_CHECKPOINT": "best, step 7"})
    with printed() as said, scenes.open_scene(card, scene_list.parse_scene(world.text, card.sensors)) as scene:
        areas = mapper.map(scene, output, Options(**options), date=date)
    with rasterio.open(output) as result:
        return result.read(1), areas, said.text


@pytest.mark.parametrize(
    ("tile", "overlap", "batch_size"), [(32, None, 8), (32, 0, 1), (17, 8, 3), (64, 30, 2), (99, 5, 4)]
)
def test_the_map_is_the_rule_applied_to_the_whole_image(world, tile, overlap, batch_size):
    options = {"overlap": overlap, "batch_size": batch_size, "blend": "cosine" if tile == 17 else "linear"}
    ids, areas, _ = draw(world, world.folder / "map.tif", tile=tile, **options)
    np.testing.assert_array_equal(ids, world.truth)
    pixels = {row["id"]: row["pixels"] for row in areas.rows()}
    assert pixels == {i: int((world.truth == i).sum()) for i in pixels} and sum(pixels.values()) == ids.size


def test_what_lies_beside_the_map_and_is_said(world):
    output = world.folder / "map.tif"
    _, areas, said = draw(world, output, date=DATE)
    assert sorted(os.listdir(world.folder)) == sorted([*BESIDE, "map.json", "s1.tif", "s2.tif"])
    assert str(output) in said
    rows = dict(re.findall(r"^([A-Z]\S*|no data) +([\d,]+)", said, re.MULTILINE))
    assert {row["name"]: f"{row['pixels']:,}" for row in areas.rows()} == rows
    with rasterio.open(output) as result:
        assert result.tags()["LCJAX_CHECKPOINT"] == "best, step 7"
    style = xml.etree.ElementTree.parse(output.with_suffix(".qml"))
    entries = {e.get("value"): (e.get("label"), e.get("color")) for e in style.iter("paletteEntry")}
    assert entries == {str(c.id): (c.name, c.colour) for c in DFC2020.scored}
    item = json.loads(output.with_suffix(".json").read_text())
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    assert item["properties"]["datetime"].startswith("2020-08-23")
    assert {asset["href"] for asset in item["assets"].values()} == {"map.tif", "map.png", "map.areas.csv", "map.qml"}
    assert all((output.parent / asset["href"]).is_file() for asset in item["assets"].values())
    from matplotlib.image import imread

    picture = imread(output.with_suffix(".png"))
    height, width = picture.shape[:2]
    assert 300 < height < width < 3000
    for land_class in DFC2020.scored:  # each colour that the map holds is on the picture
        colour = np.array([int(land_class.colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        there = (np.abs(picture[..., :3] - colour).max(-1) < 0.01).any()
        assert there == bool((world.truth == land_class.id).any())


def test_without_a_date_there_is_no_item_and_a_word_about_it(world):
    _, _, said = draw(world, world.folder / "map.tif")
    assert "--date" in said and not (world.folder / "map.json").exists()


def test_confidence_and_probabilities_on_request(world):
    ids, _, _ = draw(world, world.folder / "map.tif", confidence=True, probabilities=True)
    with rasterio.open(world.folder / "map_confidence.tif") as confidence:
        np.testing.assert_array_equal(confidence.read(1) == 255, ids == 255)
        assert set(np.unique(confidence.read(1))) == {250, 255}  # the rule has no doubt
    with rasterio.open(world.folder / "map_probabilities.tif") as shares:
        best = DFC2020.id_of_index()[shares.read().argmax(0)]
        np.testing.assert_array_equal(np.where(ids == 255, 255, best), ids)
    for name in ("map_confidence.qml", "map_probabilities.qml"):
        xml.etree.ElementTree.parse(world.folder / name)


def test_two_runs_write_the_same_bytes(world):
    for name, batch_size in (("a", 1), ("b", 5)):
        (world.folder / name).mkdir()
        draw(world, world.folder / name / "map.tif", batch_size=batch_size, date=DATE)
    for name in (*BESIDE, "map.json"):
        assert (world.folder / "a" / name).read_bytes() == (world.folder / "b" / name).read_bytes()


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("calls", "left_to_do"), [(0, 5), (1, 5), (3, 4), (4, 3)])
def test_stopped_in_the_middle_it_goes_on_to_the_same_bytes(world, calls, left_to_do):
    """What a kill leaves is what was written; an exception that nothing catches leaves the same."""
    whole = world.folder / "whole" / "map.tif"
    whole.parent.mkdir()
    draw(world, whole, date=DATE, tile=20, overlap=4)
    output, left = world.folder / "map.tif", calls

    def dying(inputs):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return worlds.probabilities(inputs)

    with pytest.raises(Killed):
        draw(world, output, network=dying, date=DATE, tile=20, overlap=4)
    assert not output.exists()
    counted = []

    def counting(inputs):
        counted.append(1)
        return worlds.probabilities(inputs)

    _, _, said = draw(world, output, network=counting, date=DATE, tile=20, overlap=4)
    # One call a row of tiles; a strip is kept when the next one is computed, and the tiles that reach into the first
    # missing one are computed again.
    assert ("goes on from row" in said) == (calls > 1) and len(counted) == left_to_do
    for name in (*BESIDE, "map.json"):
        assert (output.parent / name).read_bytes() == (whole.parent / name).read_bytes()
    assert not list(world.folder.glob(".*"))


_SLOW = """
import datetime, pathlib, sys, time
sys.path.insert(0, {tests!r})
import rasterio.errors
import worlds
from networks import CLASSES, RGB
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from lcjax.cli import console
from lcjax.mapping import scene, scene_list
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options

def slow(inputs):
    time.sleep(0.1)
    return worlds.probabilities(inputs)

card = worlds.card(tile=16)
date = datetime.datetime(2020, 8, 23, tzinfo=datetime.UTC)
with console.attached(), scene.open_scene(card, scene_list.parse_scene({text!r}, card.sensors)) as opened:
    Mapper(card, slow, "rule", dict(LCJAX_CHECKPOINT="best, step 7")).map(
        opened, pathlib.Path({output!r}), Options(confidence=True), date=date
    )
"""


def test_killed_three_times_it_ends_in_the_same_bytes(world):
    whole, output = world.folder / "whole" / "map.tif", world.folder / "map.tif"
    whole.parent.mkdir()
    draw(world, whole, tile=16, confidence=True, date=DATE)
    tests = str(pathlib.Path(__file__).parents[2])
    script = _SLOW.format(tests=tests, text=world.text, output=str(output))
    rows, sizes = output.with_name(".map.tif.draft") / "rows", [0]
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not (rows.exists() and rows.stat().st_size > sizes[-1]):
                time.sleep(0.01)
            process.kill()
        assert process.returncode == -signal.SIGKILL and not output.exists()
        sizes.append(rows.stat().st_size)
    assert sizes == sorted(set(sizes))  # each run got farther than the one before
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "goes on from row" in said
    for path in whole.parent.iterdir():
        assert (world.folder / path.name).read_bytes() == path.read_bytes()


def test_a_finished_map_is_left_alone_and_another_network_s_is_replaced(world):
    output = world.folder / "map.tif"
    draw(world, output)
    before = output.stat().st_mtime_ns
    _, areas, said = draw(world, output, network=None)
    assert areas is None and "already mapped" in said and output.stat().st_mtime_ns == before
    _, _, said = draw(world, output, identity="another rule")
    assert "already mapped" not in said and output.stat().st_mtime_ns > before


def test_a_scene_too_wide_for_the_memory_is_refused_before_it_is_read(world):
    """A row of tiles of 32 x 60 pixels, 3 classes, 2 bands of 16 bit."""
    with pytest.raises(InputError, match=r"pixels wide: a row of tiles takes about .+ --max_memory=1$"):
        draw(world, world.folder / "map.tif", max_memory=1000)
    assert not (world.folder / "map.tif").exists()
    draw(world, world.folder / "map.tif", max_memory=1e9)


def test_options_that_cannot_be_are_refused():
    assert Options().check(256) == 64 and Options(overlap=0).check(256) == 0
    for options, words in (
        ({"overlap": -1}, "0 to 128"),
        ({"overlap": 129}, "0 to 128"),
        ({"batch_size": 0}, "1 to 65,536"),
        ({"batch_size": 10**9}, "1 to 65,536"),
        ({"blend": "spline"}, "expected one of linear, cosine"),
        ({"compress": "zip"}, "expected one of deflate, lzw"),
    ):
        with pytest.raises(InputError, match=words):
            Options(**options).check(256)


def test_a_folder_that_is_taken_away_is_said_in_one_line(world):
    def network(inputs):
        shutil.rmtree(world.folder / ".map.tif.draft")
        return worlds.probabilities(inputs)

    with pytest.raises(InputError, match=r"map\.tif: cannot be written") as caught:
        draw(world, world.folder / "map.tif", network=network, tile=99)
    assert "\n" not in str(caught.value)


def test_a_picture_that_lies_nowhere_becomes_a_map_that_lies_nowhere(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (3, 50, 70)).astype(np.uint8)
    path, output = tmp_path / "photo.png", tmp_path / "map.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="PNG", count=3, height=50, width=70, dtype="uint8") as out:
            out.write(values)

    def brightest(inputs):
        return np.eye(5, dtype=np.float32)[inputs["image"].argmax(-1)]

    card = Card("fake", "image", (RGB,), CLASSES, 32, "rasters/mine 1.0.0", {}, {})
    card = dataclasses.replace(card, sensors=(dataclasses.replace(RGB, ground_sampling=None),))
    with scenes.open_scene(card, {"image": path}) as scene:
        areas = Mapper(card, brightest, "rule", {}).map(scene, output, date=DATE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(output) as result:
            np.testing.assert_array_equal(result.read(1), CLASSES.id_of_index()[values.argmax(0)])
            assert result.crs is None
    assert all(row["hectares"] is None for row in areas.rows())
    assert json.loads(output.with_suffix(".json").read_text())["geometry"] is None


# ---- real scenes, where they are at hand ----------------------------------------------------------------------------


@pytest.mark.skipif("LCJAX_REAL_DATA" not in os.environ, reason="LCJAX_REAL_DATA is not set")
@pytest.mark.parametrize(("name", "carries_offset"), [("282D_485L_3_3", True), ("38D_378R_2_3", False)])
def test_real_scenes(tmp_path, name, carries_offset):
    folder, output, card = pathlib.Path(os.environ["LCJAX_REAL_DATA"], "scenes"), tmp_path / "map.tif", worlds.card()
    files = {"s1": folder / "S1RTC" / f"{name}.tif", "s2": folder / "S2L1C" / f"{name}.tif"}
    bands = scene_list.parse_bands(["s1", "s2"], card.sensors)
    with pytest.raises(InputError, match="--bands=s1,s2"), scenes.open_scene(card, files):
        pass
    if carries_offset:
        with pytest.raises(InputError, match="--offset=-1000"), scenes.open_scene(card, files, bands=bands):
            pass
    with scenes.open_scene(card, files, bands=bands, offset=-1000 if carries_offset else None) as scene:
        Mapper(card, worlds.probabilities, "rule", {}).map(scene, output)
        with rasterio.open(output) as result:
            assert result.crs == scene.grid.crs and result.transform == scene.grid.transform
            assert set(np.unique(result.read(1))) <= {c.id for c in DFC2020.scored}
