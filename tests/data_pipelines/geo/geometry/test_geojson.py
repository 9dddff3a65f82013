"""A CRS of GeoJSON that is an address is refused, and nobody is asked for it."""

import json

import pytest
import range_server
import shapes

from data_pipelines.geo import vectors
from data_pipelines.geo.geometry import geojson
from data_pipelines.schema.errors import InputError


@pytest.fixture
def server():
    with range_server.running() as server:
        yield server


def link(server, kind="link", key="href") -> str:
    return json.dumps({"type": kind, "properties": {key: server.url("crs")}})


def whole(crs: str, of_geometry: str = "", properties: str = "{}") -> str:
    ring = json.dumps(shapes.polygon(shapes.square(1, 2, 10)))
    ring = ring[:-1] + (f", {of_geometry}" if of_geometry else "") + "}"
    feature = f'{{"type": "Feature", "properties": {properties}, "geometry": {ring}}}'
    return f'{{"type": "FeatureCollection", {crs}{", " if crs else ""}"features": [{feature}]}}'


NAMED = '"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}'


def test_an_address_is_refused_wherever_it_stands_and_never_asked(tmp_path, server):
    escaped, twice = r'"\u0063r\u0053"', f'{{"type": "name", "Type": "link", {link(server)[17:]}'
    texts = [
        whole(f'"crs": {link(server)}'),
        whole(f'"crs": {link(server, "url", "url")}'),
        whole(f'"CRS": {link(server, "LINK")}'),
        whole(f"{escaped}: {link(server)}"),
        whole(f'"crs": {twice}'),
        whole(NAMED, f'"crs": {link(server)}'),
        whole(f"'crs': {link(server)}"),
        whole(f'"crs" /* */ : {link(server)}'),
        whole(f'"crs": /* */ {link(server)}'),
        whole('"crs": {"type": "li'),
    ]
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.geojson"
        path.write_text(text)
        for read in (vectors.read, vectors.columns):
            with pytest.raises(InputError, match=r"geojson: (crs: cannot be read|a CRS of type|a comment)") as caught:
                read(path)
            assert "\n" not in str(caught.value) and server.host not in str(caught.value)
    assert not server.asked


def test_names_are_no_addresses(tmp_path, server):
    told = '{"crs": "EPSG:3857", "about": {"crs": {"init": "epsg:3857"}}, "a": "the \\"crs\\": {x"}'
    path = tmp_path / "a.geojson"
    path.write_text(whole(NAMED, properties=told))
    assert vectors.read(path).crs.to_epsg() == 32633
    path.write_text(whole(f'"crs": {{"type": "name", "properties": {{"name": "{server.url("crs")}"}}}}'))
    with pytest.raises(InputError):
        vectors.read(path)
    assert not server.asked
    path.write_text(whole('"crs": null'))
    geojson.check_crs(path)
