"""Scenes on servers are mapped as the files would be; a restart notices what has changed there."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
import rasterio
import worlds
from printed import printed
from range_server import asset, item, tiff

from data_pipelines.remote import ranges
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S2
from lcjax.mapping import predict as prediction
from lcjax.mapping import scene_list
from lcjax.mapping.mapper import Mapper, Options
from lcjax.mapping.predict import SceneOptions


@pytest.fixture
def world(tmp_path, file_server, monkeypatch):
    """The world of worlds.py on a server, fetched in small blocks."""
    monkeypatch.setattr(ranges, "_BLOCK", 2**12)
    monkeypatch.setattr(ranges, "_cache", ranges._Cache(10**8))
    made = worlds.make(tmp_path)
    for name in ("s1", "s2"):
        file_server.files[f"{name}.tif"] = (tmp_path / f"{name}.tif").read_bytes()
    made.text = f"s1={file_server.url('s1.tif')},s2={file_server.url('s2.tif?sig=SECRET')}"
    return made


def draw(text: str, output: pathlib.Path, network=worlds.probabilities) -> str:
    """Maps scenes; returns what was said."""
    scene_options = SceneOptions()
    card = worlds.card()
    mapper = Mapper(card, network, "rule", {})
    with printed() as said:
        jobs = scene_list.jobs(text, card.sensors, output)
        prediction.check(card, jobs, Options(), scene_options)
        prediction.map_jobs(card, lambda: mapper, jobs, Options(), scene_options)
    return said.text


def ids(path):
    with rasterio.open(path) as result:
        return result.read(1)


def test_the_map_is_that_of_the_files(world, tmp_path):
    said = draw(world.text, tmp_path / "map.tif")
    np.testing.assert_array_equal(ids(tmp_path / "map.tif"), world.truth)
    assert "SECRET" not in said and b"SECRET" not in b"".join(path.read_bytes() for path in tmp_path.glob("map*"))
    draw(f"s1={tmp_path}/s1.tif,s2={tmp_path}/s2.tif", tmp_path / "here.tif")
    for name in ("map", "here"):
        assert (tmp_path / f"{name}.areas.csv").read_bytes() == (tmp_path / "here.areas.csv").read_bytes()


def test_a_finished_map_is_known_again_until_the_file_changes(world, tmp_path, file_server):
    draw(world.text, tmp_path / "map.tif")
    assert "already mapped" in draw(world.text.replace("SECRET", "OTHER"), tmp_path / "map.tif")
    file_server.etags["s2.tif"] = '"other"'
    assert "already mapped" not in draw(world.text, tmp_path / "map.tif")


@pytest.mark.parametrize("changed", [False, True])
def test_a_restart_goes_on_or_begins_anew(world, tmp_path, file_server, changed):
    calls = 0

    def stops(inputs):
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        return worlds.probabilities(inputs)

    with pytest.raises(KeyboardInterrupt):
        draw(world.text, tmp_path / "map.tif", stops)
    assert json.loads((tmp_path / ".map.tif.draft/plan.json").read_text())["files"][0][0] == file_server.url("s1.tif")
    if changed:
        file_server.etags["s1.tif"] = '"other"'
    said = draw(world.text, tmp_path / "map.tif")
    assert ("begun before its scene was changed" in said) == changed
    np.testing.assert_array_equal(ids(tmp_path / "map.tif"), world.truth)


def test_a_change_in_the_middle_leaves_no_map(world, tmp_path, file_server):
    def changes(inputs):
        file_server.etags["s2.tif"] = '"other"'
        return worlds.probabilities(inputs)

    with pytest.raises(InputError, match="has changed"):
        draw(world.text, tmp_path / "map.tif", changes)
    assert not (tmp_path / "map.tif").exists()


def test_a_server_that_goes_leaves_a_draft(world, tmp_path, file_server):
    def ends(inputs):
        file_server.statuses = [500] * 1000
        return worlds.probabilities(inputs)

    with pytest.raises(InputError, match="expected an answer in 5 tries; the same command goes on from here"):
        draw(world.text, tmp_path / "map.tif", ends)
    file_server.statuses = []
    draw(world.text, tmp_path / "map.tif")
    np.testing.assert_array_equal(ids(tmp_path / "map.tif"), world.truth)


def test_one_bad_scene_of_a_list_does_not_stop_the_others(world, tmp_path, file_server):
    url = file_server.url
    rows = [(url("s1.tif"), url("nowhere.tif")), (url("s1.tif"), url("s2.tif?sig=SECRET"))]
    (tmp_path / "list.csv").write_text("s1,s2\n" + "".join(f"{a},{b}\n" for a, b in rows))
    with pytest.raises(InputError, match=r"1 of 2 scenes .*list.csv, line 2: .*nowhere.tif: the server answers 404"):
        draw(str(tmp_path / "list.csv"), tmp_path / "maps")
    np.testing.assert_array_equal(ids(tmp_path / "maps/s2.tif"), world.truth)


def test_a_bad_item_of_a_list_does_not_stop_the_others(world, tmp_path, file_server):
    url = file_server.url
    (tmp_path / "bad.json").write_text("[]")
    rows = [(url("s1.tif"), url("nowhere.json")), ("s1.tif", "bad.json"), (url("s1.tif"), url("s2.tif"))]
    (tmp_path / "list.csv").write_text("s1,s2\n" + "".join(f"{a},{b}\n" for a, b in rows))
    with pytest.raises(InputError, match=r"2 of 3 scenes .*list.csv, line 2: .*nowhere.json: the server answers 404"):
        draw(str(tmp_path / "list.csv"), tmp_path / "maps")
    np.testing.assert_array_equal(ids(tmp_path / "maps/s2.tif"), world.truth)
    jobs = scene_list.jobs(str(tmp_path / "list.csv"), worlds.card().sensors, tmp_path / "map.tif", one_map=True)
    with pytest.raises(InputError, match=r"list.csv, line 2: .*nowhere.json: the server answers 404"):
        prediction.look(worlds.card(), jobs, Options(mosaic="newest"), SceneOptions())


def test_a_stac_item_is_a_scene(world, tmp_path, file_server):
    """Each band an asset, in another order than the network's; date and offset are the item's."""
    with rasterio.open(tmp_path / "s2.tif") as dataset:
        bands, place = dataset.read(), {"crs": dataset.crs, "transform": dataset.transform}
    assets = {}
    for band, values in reversed(list(zip(S2.bands, bands, strict=True))):
        file_server.files[f"d/{band}.tif"] = tiff(np.where(values, values + 1000, 0).astype("uint16")[None], **place)
        assets[f"asset-{band}"] = asset(f"{band}.tif", (re.sub(r"B(\d)$", r"B0\1", band), ""))
    file_server.files["d/scene.json"] = item(assets, **{"s2:processing_baseline": "05.09"})
    text = f"s1={file_server.url('s1.tif')},s2={file_server.url('d/scene.json')}"
    said = draw(text, tmp_path / "map.tif")
    np.testing.assert_array_equal(ids(tmp_path / "map.tif"), world.truth)
    assert "-1000 added to the digital numbers, from the tag s2_processing_baseline=05.09" in said
    assert json.loads((tmp_path / "map.json").read_text())["properties"]["datetime"].startswith("2020-08-23T10:15:59")
    del assets["asset-B10"]
    file_server.files["d/scene.json"] = item(assets)
    with pytest.raises(InputError, match=r"a STAC item with no GeoTIFF of band B10; expected B1, B2, .* of s2, found"):
        draw(text, tmp_path / "other.tif")


def test_a_search_is_for_one_sensor(file_server):
    with pytest.raises(InputError, match="a search, which finds scenes of one sensor, but the network takes s1, s2"):
        scene_list.listed(file_server.url("search?collections=x"), worlds.card().sensors)


def test_scenes_of_a_search_are_called_as_its_items(file_server, monkeypatch, tmp_path):
    from data_pipelines.geo import stac_search
    from data_pipelines.remote.addresses import given

    (sensor,) = worlds.card("s2").sensors
    few = dataclasses.replace(sensor.with_bands(["B4"]))
    file_server.files["items/x"] = item({"red": asset("r.tif", ("red", "red"))})
    found = {"S2A_1": given(file_server.url("items/x"), "x")}
    monkeypatch.setattr(stac_search, "items", lambda text: found)
    (job,) = scene_list.jobs(file_server.url("search?ids=x"), [few], tmp_path / "maps")
    assert job.output == tmp_path / "maps/S2A_1.tif" and job.origin.startswith("--scene=http://127.0.0.1")
    assert job.files["s2"].text == file_server.url("items/x#B4=red")
    found = {"gone": given(file_server.url("items/y"), "x")} | found
    gone, good = scene_list.jobs(file_server.url("search?ids=x"), [few], tmp_path / "maps")
    with pytest.raises(InputError, match=r"items/y: the server answers 404"):
        scene_list.files_of(gone)
    assert scene_list.files_of(good) == job.files


def test_the_verb_asks_only_whom_it_is_told(command, trained, world, file_server):
    from data_pipelines.remote import hosts

    hosts._allowed.clear()
    words = ("predict", f"--workdir={trained}", f"--scene={world.text}", f"--output={world.folder}/verb.tif")
    code, _, lines = command(*words)
    assert code == 2 and "lies on the server" in lines[-1] and f"add --remote={file_server.host}" in lines[-1]
    code, _, lines = command(*words[:2], "--scene=s1=s3://b/a.tif,s2=gs://b/a.tif", words[3], "--remote=gs://b")
    assert code == 2 and "lies on the server b.s3.amazonaws.com, and --remote names gs://b" in lines[-1]
    assert not file_server.asked
    code, _, lines = command(*words, "--remote=https://x/")
    assert code == 2 and "expected names of servers" in lines[-1]
    code, said, lines = command(*words, f"--remote={file_server.host}")
    assert code == 0 and "90 x 75 pixels mapped" in said and "SECRET" not in said, lines
    assert ids(world.folder / "verb.tif").shape == (75, 90)
