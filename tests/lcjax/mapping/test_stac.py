"""Items are valid STAC and say what the files are; the time of a scene is found where products tell it."""

import datetime
import json

import pystac
import pytest
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from rasterio import Affine
from rasterio.crs import CRS

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.geo import geodesy
from data_pipelines.schema.legends import IGNORE, LandClass, Legend
from lcjax.mapping import stac
from lcjax.version import __version__

TIME = datetime.datetime(2020, 8, 23, 10, 15, 59, tzinfo=datetime.UTC)
FILES = {
    "data": "town.tif",
    "confidence": "town_confidence.tif",
    "probabilities": "town_probabilities.tif",
    "preview": "town.png",
    "areas": "town.areas.csv",
    "style": "town.qml",
}
OWN = Legend("own", tuple(LandClass(i, name, "#0a0b0c") for i, name in enumerate(["Wälder", "w lder", "湖", "dry-1"])))


def item(crs="EPSG:32633", legend=DFC2020, assets=FILES, **changes):
    transform, shape = Affine(10, 0, 500_000, 0, -10, 5_400_000), (300, 200)
    place = {}
    if crs:
        known = CRS.from_string(crs)
        bbox, geometry = geodesy.footprint(known, transform, *shape)
        code, wkt2 = geodesy.codes(known)
        place = {"bbox": bbox, "geometry": geometry, "code": code, "wkt2": wkt2}
    arguments = {
        "time": TIME,
        "place": stac.Georeference(shape, tuple(transform)[:6], **place),
        "legend": legend,
        "tags": {"LCJAX_MODEL": "unet, fusion s2", "LCJAX_DATASET": "sample 1.0.0"},
        "assets": assets,
    }
    return stac.item("town", **(arguments | changes))


@pytest.mark.parametrize("crs", ["EPSG:32633", "+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84", None])
@pytest.mark.parametrize("legend", [DFC2020, FLAIR1, OWN], ids=lambda legend: legend.name)
def test_items_are_valid_stac(crs, legend):
    fields = json.loads(json.dumps(item(crs, legend)))
    # Against the schemas that come with pystac; those of the extensions lie on the network.
    JsonSchemaSTACValidator().validate_core(fields, pystac.STACObjectType.ITEM, "1.1.0")
    read = pystac.Item.from_dict(fields)
    assert read.id == "town" and read.datetime == TIME
    assert read.to_dict()["assets"].keys() == FILES.keys()


def test_the_validator_sees_a_broken_item():
    with pytest.raises(pystac.STACValidationError):
        JsonSchemaSTACValidator().validate_core(
            item() | {"properties": {}}, pystac.STACObjectType.ITEM, "1.1.0", href="town.json"
        )


def test_what_an_item_tells():
    fields = item()
    properties, assets = fields["properties"], fields["assets"]
    assert properties["datetime"] == "2020-08-23T10:15:59Z"
    assert properties["proj:code"] == "EPSG:32633" and "proj:wkt2" not in properties
    assert properties["proj:shape"] == [300, 200]
    assert properties["proj:transform"] == [10, 0, 500_000, 0, -10, 5_400_000]
    assert properties["processing:software"] == {"lcjax": __version__}
    assert (properties["lcjax:model"], properties["lcjax:dataset"]) == ("unet, fusion s2", "sample 1.0.0")
    assert {key: asset["href"] for key, asset in assets.items()} == FILES
    west, south, east, north = fields["bbox"]
    assert 15 <= west < east < 15.1 and 48.7 < south < north < 48.8
    classes = {entry["value"]: entry for entry in assets["data"]["classification:classes"]}
    assert list(classes) == [*(c.id for c in DFC2020.scored), IGNORE]
    assert classes[7] == {"value": 7, "name": "Urban-Built-up", "title": "Urban/Built-up", "color_hint": "A5A5A5"}
    assert classes[IGNORE]["nodata"] is True
    for key in ("data", "confidence", "probabilities"):
        assert (assets[key]["data_type"], assets[key]["nodata"]) == ("uint8", 255)
    assert 250 * assets["confidence"]["raster:scale"] + assets["confidence"]["raster:offset"] == 1
    assert [band["description"] for band in assets["probabilities"]["bands"]] == [
        f"probability of {c.name}" for c in DFC2020.scored
    ]
    assert "thumbnail" in assets["preview"]["roles"]


def test_an_unnamed_crs_is_told_in_full_and_none_is_none():
    properties = item("+proj=laea +lat_0=52 +lon_0=10 +datum=WGS84")["properties"]
    assert properties["proj:code"] is None and properties["proj:wkt2"].startswith("PROJCRS[")
    nowhere = item(None)
    assert nowhere["geometry"] is None and "bbox" not in nowhere and "proj:wkt2" not in nowhere["properties"]


def test_only_what_there_is_is_listed():
    fields = item(assets={"data": "town.tif"})
    assert list(fields["assets"]) == ["data"] and not any("/raster/" in text for text in fields["stac_extensions"])


def test_names_are_plain_and_differ():
    names = [entry["name"] for entry in item(legend=OWN)["assets"]["data"]["classification:classes"]]
    assert names == ["W-lder", "w-lder", "class-2", "dry-1", "no-data"]
    twice = Legend("twice", (LandClass(1, "a b", "#000000"), LandClass(2, "a/b", "#000000")))
    names = [entry["name"] for entry in item(legend=twice)["assets"]["data"]["classification:classes"]]
    assert names == ["a-b", "class-2", "no-data"]


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (datetime.datetime(2020, 8, 23), "2020-08-23T00:00:00Z"),
        (datetime.datetime.fromisoformat("2020-08-23T12:00:00+02:00"), "2020-08-23T10:00:00Z"),
    ],
)
def test_times_are_utc(time, told):
    assert item(time=time)["properties"]["datetime"] == told


def test_what_tells_the_time_is_said(caplog):
    with caplog.at_level("INFO", "lcjax.mapping.stac"):
        assert stac.acquired({"SENSING_TIME": "2020-08-23T10:15:59Z; 2020-08-23T10:16:20Z"}, "x.tif") == TIME
        assert stac.acquired({}, "town_20200823T101559.tif") == TIME
        assert stac.acquired({"TIFFTAG_DATETIME": "2020:08:23 10:15:59"}, "x.tif") == TIME
        assert stac.acquired({}, "x.tif") is None
    by_tag, by_name, by_file = caplog.records
    assert by_tag.getMessage() == "x.tif: taken at 2020-08-23T10:15:59Z, after its tag SENSING_TIME"
    assert by_name.getMessage() == "town_20200823T101559.tif: taken at 2020-08-23T10:15:59Z, after its name"
    assert by_file.levelname == "WARNING" and "the time at which the file was made" in by_file.getMessage()
    assert "TIFFTAG_DATETIME" in by_file.getMessage() and "--date=" in by_file.getMessage()
