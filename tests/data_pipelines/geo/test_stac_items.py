"""The assets of a STAC item that a network needs: by names of bands, never guessed, or one clear line."""

import dataclasses
import json

import pytest
from range_server import asset, item

from data_pipelines.geo import stac_items
from data_pipelines.remote.addresses import given
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S1, S2
from data_pipelines.schema.spec import Refused

OWN = dataclasses.replace(S2, name="image", meaning="own", bands=("red", "green", "nir"), display=("red",))
FEW = S2.with_bands(["B4", "B8", "B11"])
# As earth-search has them: names are common names, and the same band comes as JPEG 2000, too.
EARTH_SEARCH = {
    "nir": asset("B08.tif", ("nir", "nir")),
    "red": asset("B04.tif", ("red", "red")),
    "swir16": asset("B11.tif", ("swir16", "swir16")),
    "red-jp2": asset("B04.jp2", ("red", "red"), type="image/jp2"),
    "green": asset("B03.tif", ("green", "green")),
    "visual": asset("TCI.tif", ("red", "red"), ("green", "green"), ("blue", "blue"), roles=["visual"]),
    "thumbnail": {"href": "p.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
}
# As Planetary Computer and others do: names of Sentinel-2, and a picture that calls itself data.
BY_NAME = {
    "B04": asset("B04.tif", ("B04", "red")),
    "B08": asset("B08.tif", ("B08", "nir")),
    "B11": asset("B11.tif", ("B11", "swir16")),
    "visual": asset("TCI.tif", ("B04", "red"), ("B03", "green"), ("B02", "blue")),
}
IMAGE = {"image": asset("m.tif", ("R", "red"), ("G", "green"), ("B", "blue"), ("N", "nir"))}
STAC_1_1 = {  # `bands` in place of `eo:bands`
    key: {"href": f"{key}.tif", "bands": [{"name": key, "eo:common_name": common}]}
    for key, common in (("B04", "red"), ("B08", "nir"), ("B11", "swir16"), ("B03", "green"))
}


def chosen(tmp_path, assets, sensor, **properties) -> str:
    (tmp_path / "item.json").write_text(json.dumps(item(assets, **properties)))
    return stac_items.chosen(tmp_path / "item.json", sensor).text.rpartition("#")[2]


@pytest.mark.parametrize(
    ("assets", "sensor", "expected"),
    [
        (EARTH_SEARCH, FEW, "B4=red,B8=nir,B11=swir16"),
        (EARTH_SEARCH, OWN, "red=red,green=green,nir=nir"),
        (BY_NAME, FEW, "B4=B04,B8=B08,B11=B11"),
        (STAC_1_1, FEW, "B4=B04,B8=B08,B11=B11"),
        (STAC_1_1, OWN, "red=B04,green=B03,nir=B08"),
        (IMAGE, OWN, "red+green+B+nir=image"),
    ],
)
def test_bands_are_found_by_name_and_common_name(tmp_path, assets, sensor, expected):
    assert chosen(tmp_path, assets, sensor) == expected


@pytest.mark.parametrize(
    ("assets", "sensor", "said"),
    [
        (EARTH_SEARCH, S2, "no GeoTIFF of band B1; expected B1, B2, B3, B4,"),
        (BY_NAME, S1, "no GeoTIFF of band VV; expected VV, VH of s1, found B04, red, B08, nir, B11, swir16"),
        ({}, OWN, "found no names of bands; name the assets that are meant, as in item.json#red=ASSET,..."),
        ({"x": EARTH_SEARCH["red"], "y": EARTH_SEARCH["red"]}, OWN, "band red in several assets, x, y; name those"),
        ({"x": IMAGE["image"], "y": IMAGE["image"]}, OWN, "all bands in several assets, x, y; name those"),
    ],
)
def test_what_is_not_there_or_twice_is_one_line(tmp_path, assets, sensor, said):
    with pytest.raises(InputError) as caught:
        chosen(tmp_path, assets, sensor)
    assert said in str(caught.value) and str(tmp_path / "item.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_of_an_item_goes_on_as_tags(tmp_path):
    told = {"s2:processing_baseline": "05.09", "title": "x", "created": "2021-01-01"}
    (tmp_path / "i.json").write_text(json.dumps(item(IMAGE, **told)))
    found = stac_items.read(tmp_path / "i.json")
    assert found.tags() == {"datetime": "2020-08-23T10:15:59Z", "s2_processing_baseline": "05.09"}
    off = dataclasses.replace(found, properties=found.properties | {"earthsearch:boa_offset_applied": True})
    assert off.tags() == {"datetime": "2020-08-23T10:15:59Z"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "FeatureCollection"}, "JSON of the type FeatureCollection"),
        ({"assets": None}, "assets: found null, expected an object"),
        ({"assets": {"a": {"title": "x"}}}, "assets['a'].href: missing"),
        ({"assets": {"a": {"href": 7}}}, "found 7, expected text"),
        ({"assets": {str(k): {"href": "x"} for k in range(1001)}}, "1,001 assets; expected at most 1,000"),
        ({"id": 3}, "id: found 3, expected text"),
    ],
)
def test_what_is_no_item(tmp_path, change, said):
    (tmp_path / "i.json").write_text(json.dumps(item(IMAGE) | change))
    with pytest.raises(InputError) as caught:
        stac_items.read(tmp_path / "i.json")
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "[]", "{", "nothing", '{"type": "Feature"}', "[" * 10_000])
def test_what_is_no_json_of_an_item(tmp_path, content):
    (tmp_path / "i.json").write_text(content)
    with pytest.raises(InputError, match="expected a STAC item"):
        stac_items.read(tmp_path / "i.json")


def test_what_is_taken_for_an_item(file_server, tmp_path):
    file_server.files |= {"items/x": item({}), "items/y": b"II*\0", "a.tif": b"{"}
    for path, is_one in (
        ("items/x", True),
        ("items/y", False),
        ("a.tif", False),
        ("b.json", True),
        ("b.json#a", False),
    ):
        assert stac_items.is_item(given(file_server.url(path), "x")) == is_one, path
    assert stac_items.is_item(tmp_path / "a.json") and not stac_items.is_item(tmp_path / "a.tif")


def test_an_item_on_a_server(file_server):
    file_server.files["c/item.json"] = item(BY_NAME)
    address = given(file_server.url("c/item.json?sig=SECRET"), "x")
    found = stac_items.chosen(address, FEW)
    assert found.text == file_server.url("c/item.json?sig=SECRET#B4=B04,B8=B08,B11=B11") and "SECRET" not in str(found)
    assert stac_items.read(found).located("B04").text == file_server.url("c/B04.tif")
    file_server.files["c/item.json"] = b" " * 5_000_000
    with pytest.raises(InputError, match="more than 4,194,304 bytes"):
        stac_items.read(address)


def test_what_is_wrong_with_an_item_is_a_refusal_and_its_server_that_fails_is_none(file_server, tmp_path):
    address = given(file_server.url("i.json"), "x")
    for content in (None, b"{", b"[]", {"type": "Feature"}, b"[" * 100_000, b" " * (2**22 + 1)):
        file_server.files = {} if content is None else {"i.json": content}
        (tmp_path / "i.json").unlink(missing_ok=True)
        if isinstance(content, bytes):
            (tmp_path / "i.json").write_bytes(content)
        for path in (address, tmp_path / "i.json"):
            with pytest.raises(Refused) as caught:
                stac_items.read(path)
            assert caught.value.file == path and str(caught.value).count(str(path)) == 1
    file_server.statuses = [500] * 9
    with pytest.raises(InputError, match="expected an answer in 5 tries") as failed:
        stac_items.read(address)
    assert not isinstance(failed.value, Refused)
