"""Files of polygons as masks of own imagery: damaged, with texts and tables that lie, and beside a pipe."""

import os
import sqlite3
from collections.abc import Callable, Iterable

import damage
import own
import shapes
from corpus import Asked, Case, Place, seeded

FORMATS = {"m.gpkg": "GPKG", "m.shp": "ESRI Shapefile", "m.fgb": "FlatGeobuf", "m.geojson": "GeoJSON"}
_FEATURE = '{"type": "Feature", "properties": {"class": 1}, "geometry": %s}'
_COLLECTION = '{"type": "FeatureCollection", "features": [%s]}'
GEOMETRIES = {
    "deep": '{"type": "Polygon", "coordinates": ' + "[" * 5000 + "]" * 5000 + "}",
    "no ring": '{"type": "Polygon", "coordinates": []}',
    "one number": '{"type": "Polygon", "coordinates": [[[1]]]}',
    "texts": '{"type": "Polygon", "coordinates": [[["a", "b"], ["c", "d"], ["e", "f"], ["a", "b"]]]}',
    "far": '{"type": "Polygon", "coordinates": [[[1e308, 0], [1, 1e308], [2, 2], [1e308, 0]]]}',
    "no number": '{"type": "Polygon", "coordinates": [[[NaN, 0], [1, Infinity], [2, 2], [NaN, 0]]]}',
    "unknown": '{"type": "Blob", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}',
    "itself": '{"type": "GeometryCollection", "geometries": [' * 100 + "]}" * 100,
}
TEXTS = {
    "empty": "",
    "brace": "{",
    "no features": '{"type": "FeatureCollection"}',
    "a link": '{"type": "FeatureCollection", "features": [], "links": [{"rel": "next", "href": "http://127.0.0.1:9/"}]}',
    "services": '{"serviceDescription": "x", "url": "http://127.0.0.1:9/", "layers": []}',
    "esri": '{"geometryType": "esriGeometryPolygon", "fields": [], "features": [], "exceededTransferLimit": true}',
    "topology": '{"type": "Topology", "objects": {}, "arcs": []}',
    "stac": '{"type": "Feature", "stac_version": "1.0.0", "assets": {"a": {"href": "http://127.0.0.1:9/a.tif"}}}',
}
TEXTS |= {f"geometry {name}": _COLLECTION % (_FEATURE % text) for name, text in GEOMETRIES.items()}
SQL = {
    "a view": "CREATE VIEW v AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r",
    "half a geometry": "UPDATE m SET geom = substr(geom, 1, 30)",
    "no geometry": "UPDATE m SET geom = NULL",
    "a blob as class": "UPDATE m SET class = x'ff00ff'",
    "no system": "DELETE FROM gpkg_spatial_ref_sys",
    "no layer": "DELETE FROM gpkg_contents",
    "another kind": "UPDATE gpkg_geometry_columns SET geometry_type_name = 'CURVEPOLYGON', z = 7",
}


def _asked(place: Place, name: str, change: Callable, must: str) -> Asked:
    """A folder of one image and its polygons, after a change to them."""
    source = place.given / "source"
    own.write(source / "i0.tif", own.picture(0), crs=shapes.CRS)
    (source / "legend.csv").write_text("id,name,colour\n1,a,#0000ff\n2,b,#008000\n")
    (source / "rasters.csv").write_text(f"image,mask,split\ni0.tif,{name},train\n")
    squares = [shapes.square(2, 3, 20), shapes.square(30, 8, 12)]
    if name.endswith(".geojson"):
        listed = [({"class": number}, shapes.polygon(square)) for number, square in enumerate(squares, 1)]
        shapes.geojson(source / name, listed)
    else:
        shapes.written(source / name, [1, 2], squares, FORMATS[name])
    change(source / name)
    return Asked(place.prepare(source, "rasters/x", "--tile=32"), ("m.",), must, "records of")


def _damaged(name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        how = damage.LIST[place.rng.integers(len(damage.LIST))]
        return _asked(place, name, lambda path: how(path, place.rng), "either")

    return make


def _text(text: str, must: str) -> Callable[[Place], Asked]:
    return lambda place: _asked(place, "m.geojson", lambda path: path.write_text(text), must)


def _sql(text: str) -> Callable[[Place], Asked]:
    def change(path) -> None:
        with sqlite3.connect(path) as base:
            triggers = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
            for name in triggers:  # of the index, whose functions this SQLite does not have
                base.execute(f'DROP TRIGGER "{name}"')
            base.executescript(text)

    return lambda place: _asked(place, "m.gpkg", change, "either")


def _pipe(place: Place) -> Asked:
    def change(path) -> None:
        path.with_suffix(".dbf").unlink()
        os.mkfifo(path.with_suffix(".dbf"))

    return _asked(place, "m.shp", change, "refuse")


def cases() -> Iterable[Case]:
    for name in FORMATS:
        yield from seeded(f"polygons: damaged {name}", _damaged(name), 12)
    yield from (Case(f"polygons: text {name}", _text(text, "refuse")) for name, text in TEXTS.items())
    yield from (Case(f"polygons: {name}", _sql(text)) for name, text in SQL.items())
    yield Case("polygons: a pipe beside", _pipe)
