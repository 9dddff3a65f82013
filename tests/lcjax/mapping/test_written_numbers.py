"""A legend that lists 255: every file of a map holds that number, and another one where there is no data."""

import csv
import dataclasses
import json
import xml.etree.ElementTree

import numpy as np
import rasterio
import worlds
from test_mapper import DATE

from data_pipelines.schema.legends import IGNORE, Legend
from lcjax.mapping import scene as scenes
from lcjax.mapping import scene_list
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.reporting import map_reader
from lcjax.runs import model_card


def card() -> model_card.Card:
    """The card of the world, with its last class written as 255; read back from its file."""
    plain = worlds.card()
    last = plain.legend.scored[-1]
    classes = tuple(dataclasses.replace(c, written=255) if c == last else c for c in plain.legend.classes)
    legend = Legend("binary", classes, plain.legend.ignored)
    return model_card.from_json(dataclasses.replace(plain, legend=legend).to_json())


def test_every_file_of_a_map_says_255(tmp_path):
    world, of_run, output = worlds.make(tmp_path), card(), tmp_path / "map.tif"
    legend = of_run.legend
    last = legend.scored[-1]
    assert (last.value, legend.nodata) == (255, 254)
    expected = np.select([world.truth == IGNORE, world.truth == last.id], [254, 255], world.truth.astype(int))
    mapper = Mapper(of_run, worlds.probabilities, "rule", {})
    with scenes.open_scene(of_run, scene_list.parse_scene(world.text, of_run.sensors)) as scene:
        mapper.map(scene, output, Options(confidence=True, probabilities=True), date=DATE)
    with rasterio.open(output) as result:
        np.testing.assert_array_equal(result.read(1), expected)
        np.testing.assert_array_equal(result.dataset_mask() == 0, world.truth == IGNORE)
        assert result.nodata == 254 and result.colormap(1)[254][3] == 0
        assert "#{:02x}{:02x}{:02x}".format(*result.colormap(1)[255][:3]) == last.colour
        assert result.tags(1)["CLASS_255"] == last.name
        assert json.loads(result.tags()["LCJAX_CLASSES"])["255"] == last.name
        names = xml.etree.ElementTree.parse(f"{output}.aux.xml").findall(".//Category")
        assert names[255].text == last.name and not names[254].text
    with rasterio.open(tmp_path / "map_confidence.tif") as confidence:
        assert confidence.nodata == 255
        np.testing.assert_array_equal(confidence.read(1) == 255, world.truth == IGNORE)
    with rasterio.open(tmp_path / "map_probabilities.tif") as shares:
        np.testing.assert_array_equal(shares.read(1) == 255, world.truth == IGNORE)
    with output.with_suffix(".areas.csv").open(newline="") as file:
        rows = {row["id"]: (row["name"], int(row["pixels"])) for row in csv.DictReader(file)}
    assert rows["255"] == (last.name, int((expected == 255).sum()))
    assert rows["254"] == ("no data", int((expected == 254).sum()))
    entries = xml.etree.ElementTree.parse(output.with_suffix(".qml")).iter("paletteEntry")
    assert [e.get("label") for e in entries if e.get("value") == "255"] == [last.name]
    assets = json.loads(output.with_suffix(".json").read_text())["assets"]
    classes = {c["value"]: c["title"] for c in assets["data"]["classification:classes"]}
    assert (classes[255], classes[254], assets["data"]["nodata"]) == (last.name, "no data", 254)
    assert assets["confidence"]["nodata"] == 255
    (read,) = map_reader.read([output])
    assert (255, last.name) in read.legend and read.empty == (expected == 254).sum()
