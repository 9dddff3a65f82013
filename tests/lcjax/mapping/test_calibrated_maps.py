"""Calibration changes what a map tells of its probabilities, and never its classes; sets of classes are a raster."""

import dataclasses
import json
import os
import shutil
from xml.etree import ElementTree

import numpy as np
import pystac
import pytest
import rasterio
import worlds
from printed import printed
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from test_map_writer import written

import lcjax
from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend
from lcjax.engine import restore
from lcjax.mapping import map_writer, qgis_styles, scene_list
from lcjax.mapping import scene as scenes
from lcjax.mapping.acquisition import parse_date
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.network import Network
from lcjax.mapping.options import Options
from lcjax.runs import calibration as calibrations
from lcjax.runs.calibration import Calibration

NAMES, IDS = [c.name for c in DFC2020.scored], [c.id for c in DFC2020.scored]
LEAST = [0.2, 0.6, 0.05, 0.3, 0.5, 0.25, 0.0, 0.4]
NODATA = 2**32 - 1


def fitted(temperature=2.0, **fields) -> Calibration:
    """A calibration whose sets of 90 % have the thresholds above."""
    split = {"spec": "validation", "id": "abc", "records": 2, "pixels": 80}
    shares = {f"0.{share}": [0.25] * 8 for share in range(50, 100)} | {"0.90": LEAST}
    return Calibration("best", 7, temperature, [0.7, 0.6], split, NAMES, IDS, [10] * 8, shares, **fields)


def answers(inputs):
    """(plain, told): the rule's class, sure of itself; and what is told of it, a mixture of it and its reverse."""
    plain = worlds.probabilities(inputs)
    return plain, 0.45 * plain + 0.3 * plain[..., ::-1] + 0.03125


def calibrated(inputs):
    return np.concatenate(answers(inputs), axis=-1).astype(np.float32)


def draw(world, output, calibration, **options):
    """Writes the map, and returns all its rasters by kind."""
    card = worlds.card()
    network = calibrated if calibration else worlds.probabilities
    mapper = Mapper(card, network, "rule", {"LCJAX_CHECKPOINT": "best, step 7"}, 1, calibration)
    wanted = Options(**options)
    with printed(), scenes.open_scene(card, scene_list.parse_scene(world.text, card.sensors)) as scene:
        mapper.map(scene, output, wanted, date=parse_date("2020-08-23"))
    found = {}
    for product in wanted.products(DFC2020):
        with rasterio.open(product.path(output)) as raster:
            found[product.kind] = raster.read()
    return found


ALL = {"confidence": True, "probabilities": True, "conformal": 0.9}


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def test_classes_are_of_the_plain_answers_and_the_rest_of_the_calibrated_ones(world):
    found = draw(world, world.folder / "map.tif", fitted(), **ALL)
    np.testing.assert_array_equal(found["classes"][0], world.truth)
    valid = world.truth != 255
    place = np.array([IDS.index(i) if i in IDS else 0 for i in range(256)])[world.truth]
    told = np.moveaxis(found["probabilities"].astype(float), 0, -1) / 250
    np.testing.assert_allclose(told[valid].sum(-1), 1, atol=0.02)
    own = np.take_along_axis(told, place[..., None], -1)[..., 0]
    np.testing.assert_allclose(own[valid], 0.48125, atol=0.0021)
    np.testing.assert_array_equal(found["confidence"][0][valid], np.rint(own * 250)[valid])
    assert set(found["confidence"][0][~valid]) == {255}
    size, mask = found["conformal"]
    assert size.dtype == np.uint32 and set(size[~valid]) == set(mask[~valid]) == {NODATA}
    exact = np.eye(8)[place] * 0.45 + np.eye(8)[7 - place] * 0.3 + 0.03125
    members = exact >= np.array(LEAST)
    np.testing.assert_array_equal(size[valid], members.sum(-1)[valid])
    np.testing.assert_array_equal(mask[valid], (members << np.arange(8)).sum(-1)[valid])
    assert len(np.unique(mask[valid])) > 3


def test_the_files_say_by_what_they_are_calibrated(world):
    output = world.folder / "map.tif"
    draw(world, output, fitted(), **ALL)
    for kind in ("confidence", "probabilities", "conformal"):
        with rasterio.open(world.folder / f"map_{kind}.tif") as raster:
            tags = raster.tags()
            said = "temperature 2, fitted on 2 records of validation (80 labelled pixels)"
            assert tags["LCJAX_CALIBRATION"] == said and tags["LCJAX_COVERAGE"] == "0.9"
            assert json.loads(tags["LCJAX_THRESHOLDS"]) == dict(zip(NAMES, LEAST, strict=True))
    with rasterio.open(world.folder / "map_conformal.tif") as raster:
        assert raster.nodata == NODATA and raster.dtypes == ("uint32",) * 2 and raster.descriptions == map_writer.SETS
        assert json.loads(raster.tags()["LCJAX_BITS"]) == NAMES
        assert raster.tags(2) == {f"BIT_{bit}": name for bit, name in enumerate(NAMES)}
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and raster.scales == (1, 1)
    style = ElementTree.parse(world.folder / "map_conformal.qml")
    entries = [(e.get("value"), e.get("label")) for e in style.iter("paletteEntry")]
    assert entries[:3] == [("0", "no class"), ("1", "one class"), ("2", "2 classes")] and len(entries) == 9
    item = json.loads(output.with_suffix(".json").read_text())
    JsonSchemaSTACValidator().validate_core(item, pystac.STACObjectType.ITEM, item["stac_version"])
    assert item["assets"]["conformal"] | {"bands": []} == {
        "href": "map_conformal.tif",
        "title": "Sets of classes: their number, and a bit for each class",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data"],
        "data_type": "uint32",
        "nodata": NODATA,
        "bands": [],
    }
    assert item["properties"]["lcjax:calibration"].startswith("temperature 2, ")


def test_without_calibration_the_files_say_so_and_the_map_is_what_it_was(world):
    (world.folder / "plain").mkdir()
    draw(world, world.folder / "map.tif", None, confidence=True)
    draw(world, world.folder / "plain" / "map.tif", None)
    with rasterio.open(world.folder / "map_confidence.tif") as raster:
        assert raster.tags()["LCJAX_CALIBRATION"] == "none"
    with rasterio.open(world.folder / "plain" / "map.tif") as raster:
        assert "LCJAX_CALIBRATION" not in raster.tags()


def test_another_calibration_or_coverage_is_another_map(world):
    output = world.folder / "map.tif"
    draw(world, output, fitted(), conformal=0.9)
    first = (world.folder / "map_conformal.tif").read_bytes()
    draw(world, output, fitted(), conformal=0.9)
    assert (world.folder / "map_conformal.tif").read_bytes() == first
    draw(world, output, fitted(), conformal=0.8)
    second = (world.folder / "map_conformal.tif").read_bytes()
    draw(world, output, dataclasses.replace(fitted(), step=8), conformal=0.8)
    with rasterio.open(output) as raster:
        third = raster.tags()["LCJAX_PLAN"]
    draw(world, output, fitted(), conformal=0.8)
    with rasterio.open(output) as raster:
        assert first != second and raster.tags()["LCJAX_PLAN"] != third
    draw(world, output, fitted())  # tells nothing of probabilities: the files that did are gone
    assert not (world.folder / "map_conformal.tif").exists() and not (world.folder / "map_conformal.qml").exists()


def test_a_mask_has_a_bit_for_up_to_31_classes():
    legend = Legend("many", tuple(LandClass(i, f"class {i}", "#0a0b0c") for i in range(31)))
    *_, product = map_writer.products(legend, conformal=True)
    members = np.random.default_rng(0).random((31, 40, 50)) < 0.5
    members[:, 0] = True
    members[:, 1] = False
    planes = np.array(map_writer.summary(legend, [product], [0.5] * 31)(members.astype(np.float32)))
    planes[2] = 255
    size, mask = product.numbers(planes)
    assert planes.shape == (40, 5, 50) and mask.max() == NODATA and (size[2] == NODATA).all()
    expected = (members.astype(np.uint64) << np.arange(31, dtype=np.uint64)[:, None, None]).sum(0)
    np.testing.assert_array_equal(np.delete(mask, 2, 0), np.delete(expected, 2, 0))
    np.testing.assert_array_equal(np.delete(size, 2, 0), np.delete(members.sum(0), 2, 0))
    Options(conformal=0.9).check(256, 31)
    with pytest.raises(InputError, match=r"--conformal=0.9: found 32 classes; expected at most 31, a bit each"):
        Options(conformal=0.9).check(256, 32)


def test_overviews_hold_sets_of_single_pixels(tmp_path):
    """The mode of each band by itself would count other classes than it names."""
    members = np.random.default_rng(1).random((600, 700, 8)) < 0.4
    mask = np.packbits(members, axis=-1, bitorder="little")[..., 0]
    planes = np.zeros((600, 6, 700), np.uint8)
    planes[:, 0], planes[:, 1], planes[:, 2] = 1, members.sum(-1), mask
    output, _ = written(tmp_path, planes, map_writer.products(DFC2020, conformal=True))
    with rasterio.open(output.with_name("map_conformal.tif"), overview_level=0) as overview:
        size, mask = overview.read()
    assert size.shape == (300, 350) and len(np.unique(mask)) > 100
    np.testing.assert_array_equal(np.bitwise_count(mask), size)


def test_colours_of_set_sizes_are_all_different():
    entries = ElementTree.fromstring(qgis_styles.set_qml(31)).iter("paletteEntry")
    assert len({entry.get("color") for entry in entries}) == 32


@pytest.fixture(scope="module")
def workdir(trained, tmp_path_factory):
    """A run whose best checkpoint is calibrated, strongly."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("calibrated") / "unet")
    calibrations.write(folder, restore.restore(folder).fingerprint, fitted(0.125))
    return folder


def test_predict_follows_the_file_and_leaves_the_map_alone(workdir, sample, tmp_path, command):
    place = f"--scene=s1={sample}/scenes/scene_s1.tif,s2={sample}/scenes/scene_s2.tif"
    asked = ["predict", f"--workdir={workdir}", place, "--probabilities", "--confidence"]
    (tmp_path / "off").mkdir()
    assert command(*asked, "--conformal=0.9", f"--output={tmp_path}/map.tif")[0] == 0
    assert command(*asked, "--calibration=off", f"--output={tmp_path}/off/map.tif")[0] == 0

    def read(name):
        with rasterio.open(tmp_path / name) as raster:
            return raster.read(), raster.tags()

    (ids, _), (before, _) = read("map.tif"), read("off/map.tif")
    np.testing.assert_array_equal(ids, before)
    (told, tags), (plain, untold) = read("map_probabilities.tif"), read("off/map_probabilities.tif")
    assert tags["LCJAX_CALIBRATION"].startswith("temperature 0.125,") and untold["LCJAX_CALIBRATION"] == "none"
    assert told.max(0).mean() > plain.max(0).mean() + 3
    # One tile alone reaches here, so that its logits are the logarithm of what it says without calibration.
    image = {}
    for name in ("s1", "s2"):
        with rasterio.open(sample / "scenes" / f"scene_{name}.tif") as raster:
            image[name] = np.moveaxis(raster.read(), 0, -1)
    image["s1"] = np.rint(image["s1"] * 100).astype(np.int16)
    net, off = lcjax.load(workdir), lcjax.load(workdir, calibrated=False)
    np.testing.assert_array_equal(net.predict(image), ids[0])
    one, other = net.probabilities(image), off.probabilities(image)
    np.testing.assert_allclose(np.moveaxis(told, 0, -1) / 250, one, atol=0.0021)
    powers = other[:44, :44].astype(np.float64) ** 8
    np.testing.assert_allclose(one[:44, :44], powers / powers.sum(-1, keepdims=True), atol=5e-5)
    net.map(
        {"s1": sample / "scenes/scene_s1.tif", "s2": sample / "scenes/scene_s2.tif"},
        tmp_path / "net.tif",
        options=Options(conformal=0.9),
    )
    np.testing.assert_array_equal(read("net_conformal.tif")[0], read("map_conformal.tif")[0])


def test_flips_are_averaged_after_the_temperature(workdir):
    network = restore.restore(workdir)
    rng = np.random.default_rng(0)
    image = {
        "s1": rng.integers(-2500, 0, (1, 32, 32, 2), np.int16),
        "s2": rng.integers(1, 4000, (1, 32, 32, 13), np.uint16),
    }
    found = np.asarray(network.probabilities(tta=True, temperatures=(1.0, 0.125))(image), np.float64)[0]
    np.testing.assert_allclose(found[..., :8], np.asarray(network.probabilities(tta=True)(image))[0], atol=1e-6)
    mean, ask = np.zeros((32, 32, 8)), network.probabilities()
    for turns in range(4):
        for flip in (False, True):
            turned = {k: np.rot90(v[:, :, ::-1] if flip else v, turns, (1, 2)) for k, v in image.items()}
            powers = np.asarray(ask(turned), np.float64)[0] ** 8
            back = np.rot90(powers / powers.sum(-1, keepdims=True), -turns)
            mean += (back[:, ::-1] if flip else back) / 8
    np.testing.assert_allclose(found[..., 8:], mean, atol=5e-5)


def test_what_does_not_fit_is_one_line(workdir, trained, sample, tmp_path, command):
    place = f"--scene=s1={sample}/scenes/scene_s1.tif,s2={sample}/scenes/scene_s2.tif"

    def refused(folder, *flags):
        code, _, err = command("predict", f"--workdir={folder}", place, f"--output={tmp_path}/map.tif", *flags)
        assert code == 2 and len(err) == 1 and not (tmp_path / "map.tif").exists()
        return err[0]

    assert "expected the thresholds of this network; run `lcjax evaluate" in refused(trained, "--conformal=0.9")
    assert "in whole percents from 0.5 to 0.99" in refused(workdir, "--conformal=90")
    assert "its thresholds are of calibrated answers" in refused(workdir, "--conformal=0.9", "--calibration=off")
    other = shutil.copytree(workdir, tmp_path / "other")
    path = other / calibrations.FILE
    text = path.read_text()
    path.write_text(text.replace(restore.restore(workdir).fingerprint, "0" * 16))
    assert "is of another checkpoint: found the best one of step 7" in refused(other, "--confidence")
    path.write_text('{"schema_version": 2, "checkpoints": {}}')
    assert "is of another checkpoint: found none, expected the best one" in refused(other, "--confidence")
    path.write_text(text.replace('"Forest"', '"Wood"'))
    assert "is of another legend: found 1 Wood, " in refused(other, "--confidence")
    path.write_text(text.replace('"temperature": 0.125', '"temperature": NaN'))
    assert "NaN, expected a finite number" in refused(other, "--probabilities")
    path.write_text(text[:100])
    assert "calibration.json: cannot be read as JSON" in refused(other, "--confidence")
    assert "--calibration=off: nothing of the probabilities is written" in refused(workdir, "--calibration=off")
    code, _, err = command("predict", f"--workdir={other}", place, f"--output={tmp_path}/map.tif")
    assert (code, err) == (0, []) and os.path.exists(tmp_path / "map.tif")  # the classes alone need none


def test_in_python_too(workdir, tmp_path):
    net = Network(restore.restore(workdir), "best")
    assert net.calibration is None
    with pytest.raises(InputError, match=r"conformal=0.9: found a network without calibration"):
        net.map(
            {"s1": tmp_path / "a.tif", "s2": tmp_path / "b.tif"}, tmp_path / "m.tif", options=Options(conformal=0.9)
        )
