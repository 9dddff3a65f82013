"""Files of an assessment that others give back: labels as CSV and GeoPackage, the design, and the map itself."""

import json
import sqlite3
from collections.abc import Callable, Iterable

import damage
import rasterio
from corpus import Asked, Case, Place, seeded
from of_json import TEXTS, VALUES, change_one

LABELS: dict[str, bytes] = {
    "empty": b"",
    "header alone": b"point,label\n",
    "another header": b"id,class\n1,Forest\n",
    "outside the legend": b"point,label\n1,Lava\n",
    "twice": b"point,label\n1,Forest\n1,Water\n",
    "no such point": b"point,label\n999999999999999999999999,Forest\n",
    "minus": b"point,label\n-1,Forest\n",
    "nan": b"point,label,x,y\n1,Forest,nan,inf\n",
    "off the map": b"point,label,x,y\n1,Forest,1e308,-1e308\n",
    "formula": b"point,label\n1,=1+1\n",
    "markup": b"point,label\n1,<script>alert(1)</script>\n",
    "long": b"point,label\n1," + b"x" * 20_000 + b"\n",
    "nul": b"point,label\n1,For\0est\n",
    "open quote": b'point,label\n1,"Forest\n2,Water\n',
    "utf16": "point,label\n1,Forest\n".encode("utf-16"),
    "latin": "point,label\n1,Wälder\n".encode("latin-1"),
    "sqlite": b"SQLite format 3\0" + bytes(200),
}
SQL = {
    "no layer": "DROP TABLE points",
    "no column": "ALTER TABLE points RENAME COLUMN label TO class",
    "a view without end": "DROP TABLE points; CREATE VIEW points AS WITH RECURSIVE r(n) AS "
    "(SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n AS fid, NULL AS geom, n AS point, 'Forest' AS label FROM r",
    "no geometry": "UPDATE points SET geom = NULL",
    "half a geometry": "UPDATE points SET geom = substr(geom, 1, 20)",
    "a number as label": "UPDATE points SET label = 1e308",
    "a blob as label": "UPDATE points SET label = x'ff00ff'",
    "text as point": "UPDATE points SET point = 'x'",
    "moved": "UPDATE points SET geom = zeroblob(length(geom))",
}


def _asked(place: Place, labels, **how) -> Asked:
    command = [
        "assess",
        f"--labels={labels}",
        f"--design={labels.with_name('design.json')}",
        f"--output={place.target}",
    ]
    return Asked(command, ("points.", "design.json", "labelled.tif"), **how)


def _labels(content: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        path = place.copy("sample") / "points.csv"
        path.write_bytes(content)
        return _asked(place, path)

    return make


def _sql(script: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        path = place.copy("sample") / "points.gpkg"
        base = sqlite3.connect(path)
        for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            base.execute(f'DROP TRIGGER "{name}"')
        base.executescript(script)
        base.close()
        # Without its geometry a point has no place that could be wrong, as in a CSV without x and y.
        return _asked(place, path, **({"must": "accept", "said": "overall accuracy"} if "= NULL" in script else {}))

    return make


def _damaged(name: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        folder = place.copy("sample")
        kinds = damage.LIST if name.endswith(".csv") else damage.TEXT
        how = kinds[place.rng.integers(len(kinds))]
        how(folder / name, place.rng)
        labels = folder / (name if name.startswith("points") else "points.csv")
        return _asked(place, labels, must="either", said="overall accuracy")

    return make


def _design(value) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        folder = place.copy("sample")
        change_one(folder / "design.json", place.rng, value)
        return _asked(place, folder / "points.csv", must="either", said="overall accuracy")

    return make


def _text(content: bytes) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        folder = place.copy("sample")
        (folder / "design.json").write_bytes(content)
        return _asked(place, folder / "points.csv")

    return make


def _tag(text: str) -> Callable[[Place], Asked]:
    def make(place: Place) -> Asked:
        path = place.copy("labelled.tif")
        with rasterio.open(path, "r+") as out:
            out.update_tags(LCJAX_CLASSES=text)
        command = ["assess", f"--map={path}", "--sample", "--size=40", "--minimum=4", f"--output={place.target}/s"]
        return Asked(command, ("labelled.tif",))

    return make


TAGS = {
    "no JSON": "{",
    "a list": "[]",
    "none": "{}",
    "out of range": json.dumps({"256": "a"}),
    "no number": json.dumps({"x": "a"}),
    "a name of no letters": json.dumps({"1": "", "4": "b", "9": "c"}),
    "names that turn": json.dumps({"1": "a\u202eb", "4": "b", "9": "c"}),
    "twice": json.dumps({"1": "a", "4": "a", "9": "c"}),
    "deep": "[" * 100_000,
    "not those of the map": json.dumps({"1": "a"}),
}


def cases() -> Iterable[Case]:
    yield from (Case(f"assessment, labels: {name}", _labels(content)) for name, content in LABELS.items())
    yield from (Case(f"assessment, geopackage of labels: {name}", _sql(script)) for name, script in SQL.items())
    yield from (Case(f"assessment, legend of a map: {name}", _tag(text)) for name, text in TAGS.items())
    yield from (Case(f"assessment, design: {name}", _text(content)) for name, content in TEXTS.items())
    yield from (
        Case(f"assessment, value in a design: {name}", _design(value), seed)
        for name, value in VALUES.items()
        for seed in (0, 1)
    )
    for name in ("points.csv", "points.gpkg", "design.json"):
        yield from seeded(f"assessment, damaged {name}", _damaged(name), 10)
