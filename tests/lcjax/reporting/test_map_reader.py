"""Maps on the page: numbers are those of the files, what belongs to a map is no map, wrong input is told in a line."""

import csv
import json
import re
import struct
import types
import zlib

import numpy as np
import pytest
import rasterio
from finished import make_pretraining

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.schema.errors import InputError
from lcjax.cli import report as report_verb
from lcjax.mapping import areas, stac
from lcjax.plotting import figures
from lcjax.reporting import map_reader

TAGS = {"LCJAX_MODEL": "unet, fusion s2", "LCJAX_DATASET": "sample 1.0.0", "LCJAX_CHECKPOINT": "best, step 300"}
PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)}


def make_map(path, seed=0, *, legend=DFC2020, picture=True, item=False, tags=TAGS, **place):
    """A map as predict leaves it, with what report reads beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = np.random.default_rng(seed).choice([*(c.id for c in legend.scored[:-1]), 255], (40, 60)).astype(np.uint8)
    profile = {"driver": "GTiff", "width": 60, "height": 40, "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(path, "w", **profile | PLACE | place) as out:
        out.write(ids, 1)
        out.update_tags(**tags)
        table = areas.Areas(legend, out.crs, out.transform, 60)
    table.add(0, ids)
    table.write_csv(path.with_suffix(".areas.csv"))
    if picture:
        path.with_suffix(".png").write_bytes(figures.confusion(np.eye(2), ["a", "b"]))
    if item:
        path.with_suffix(".json").write_text(json.dumps({"properties": {"datetime": "2020-08-23T10:15:59Z"}}))
    return path


def make_report(maps, output, workdirs=None) -> str:
    report_verb.run(
        types.SimpleNamespace(workdirs=workdirs, reference=None, maps=[str(path) for path in maps], output=str(output))
    )
    return (output / "index.html").read_text()


def cells(text: str, kind: str) -> list[list[list[str]]]:
    """Of every table of this kind the rows of texts."""
    tables = re.findall(rf'<table class="{kind}">(.*?)</table>', text, re.DOTALL)
    rows = [re.findall("<tr[^>]*>(.*?)</tr>", table, re.DOTALL) for table in tables]
    return [
        [[re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in table]
        for table in rows
    ]


def rows_of(path):
    with path.with_suffix(".areas.csv").open(newline="") as stream:
        return {int(row["id"]): row for row in csv.DictReader(stream)}


def test_columns_are_those_that_areas_writes():
    assert map_reader.COLUMNS == areas.COLUMNS


def test_the_page_holds_the_numbers_of_the_files(tmp_path):
    path = make_map(tmp_path / "town & <i>.tif", item=True)
    text = make_report([path], tmp_path / "out")
    head, *rows = cells(text, "areas")[0]
    assert head == ["class", "pixels", "percent", "", "hectares"]
    wanted = rows_of(path)
    for c, row in zip(DFC2020.scored, rows, strict=False):
        told = wanted[c.id]
        assert row == [c.name, told["pixels"], f"{float(told['percent']):.1f}", "", f"{float(told['hectares']):.2f}"]
        assert f'style="background:{c.colour}"></span>{c.name}' in text
    mapped = 2400 - int(wanted[255]["pixels"])
    assert rows[-2][:2] == ["mapped", f"{mapped:,}"]
    assert float(rows[-2][4]) == pytest.approx(mapped / 100, rel=2e-3)  # 0.01 ha a pixel; the scale of UTM squared
    assert rows[-1][:2] == ["no data", wanted[255]["pixels"]]
    assert "scene of 2020-08-23; unet, fusion s2, trained on sample 1.0.0; checkpoint best, step 300" in text
    assert "60 x 40 pixels; EPSG:32633." in text
    assert "<title>Land cover: 1 map</title>" in text and "<i>" not in text
    assert text.count("<img ") == 1 and "http" not in re.sub(r"base64,[^\"]*", "", text).replace("http-equiv", "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["areas.csv", "index.html"]


def test_the_csv_has_every_class_of_every_map(tmp_path):
    paths = [make_map(tmp_path / "a.tif", 0), make_map(tmp_path / "b.tif", 1, legend=FLAIR1)]
    make_report(paths, tmp_path / "out")
    with (tmp_path / "out" / "areas.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == len(DFC2020.scored) + len(FLAIR1.scored)
    for row in found:
        name = row.pop("map")
        assert row == rows_of(tmp_path / f"{name}.tif")[int(row["id"])]


def test_maps_of_one_legend_are_compared(tmp_path):
    paths = [make_map(tmp_path / f"{name}.tif", i) for i, name in enumerate("ab")]
    paths.append(make_map(tmp_path / "c.tif", 2, legend=FLAIR1))
    text = make_report(paths, tmp_path / "out")
    (compared,) = cells(text, "compared")
    assert compared[0] == ["class", "a", "b"]
    wanted = [rows_of(path) for path in paths[:2]]
    for c, row in zip(DFC2020.scored, compared[1:], strict=False):
        assert row == [c.name, *(f"{float(rows[c.id]['hectares']):.2f}" for rows in wanted)]
    assert "Hectares of each class." in text and "<title>Land cover: 3 maps</title>" in text


def test_maps_that_lie_nowhere_have_dashes_and_are_compared_in_percent(tmp_path):
    nowhere = {"crs": None, "transform": rasterio.Affine(1, 0, 0, 0, -1, 40)}
    paths = [make_map(tmp_path / "a.tif", 0), make_map(tmp_path / "b.tif", 1, **nowhere)]
    text = make_report(paths, tmp_path / "out")
    assert {row[4] for row in cells(text, "areas")[1][1:-1]} == {"–"}
    assert "Percent of each class." in text


def test_rasters_that_belong_to_a_map_are_passed_over(tmp_path):
    path = make_map(tmp_path / "town.tif")
    for suffix in ("_confidence", "_probabilities", "_conformal"):
        path.with_stem(path.stem + suffix).write_bytes(path.read_bytes())
    assert map_reader.find([f"{tmp_path}/*.tif", str(path)]) == [path]
    # Without its map, such a name is nothing special.
    alone = make_map(tmp_path / "alone" / "north_confidence.tif")
    assert map_reader.find([f"{alone.parent}/*.tif"]) == [alone]


def test_runs_and_maps_share_a_page(tmp_path):
    run = make_pretraining(tmp_path / "pretrain")
    text = make_report([make_map(tmp_path / "town.tif")], tmp_path / "out", workdirs=[str(run)])
    assert re.findall('<section id="(.*?)">', text) == re.findall('<a href="#(.*?)">', text) == ["curves", "maps"]
    assert "0 scored, 1 pre-training; 1 map</title>" in text
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["areas.csv", "index.html", "scores.csv", "scores.md"]


def test_maps_of_one_name_are_named_apart(tmp_path):
    paths = [make_map(tmp_path / year / "town.tif") for year in ("2019", "2020")]
    assert [sheet.name for sheet in map_reader.read(paths)] == [str(path) for path in paths]


def test_a_map_without_picture_is_shown_without(tmp_path):
    text = make_report([make_map(tmp_path / "town.tif", picture=False)], tmp_path / "out")
    assert "No picture: town.png is not there." in text and "<img " not in text


def test_the_date_is_where_a_stac_item_has_it(tmp_path):
    path = make_map(tmp_path / "town.tif")
    item = stac.item(
        "town",
        time=stac.acquired({}, "town_20200823.tif"),
        place=stac.Georeference((40, 60), (10, 0, 0, 0, -10, 0)),
        legend=DFC2020,
        tags={},
        assets={"data": "town.tif"},
    )
    path.with_suffix(".json").write_text(json.dumps(item))
    assert map_reader.read([path])[0].origin[0] == "scene of 2020-08-23"
    dates = {"start_datetime": "2019-05-01T00:00:00Z", "end_datetime": "2020-08-23T10:15:00Z"}
    item["properties"] |= {"datetime": None} | dates
    path.with_suffix(".json").write_text(json.dumps(item))
    assert map_reader.read([path])[0].origin[0] == "scenes from 2019-05-01 to 2020-08-23"


def wrong(match, *maps, output="out"):
    with pytest.raises(InputError, match=match) as caught:
        report_verb.run(
            types.SimpleNamespace(workdirs=None, reference=None, maps=[str(path) for path in maps], output=output)
        )
    assert "\n" not in str(caught.value)


def test_what_is_no_map_is_refused(tmp_path):
    wrong("--workdirs is missing, and so is --maps")
    wrong("no map matches", f"{tmp_path}/*.tif")
    wrong("no such file", tmp_path / "town.tif")
    wrong("a folder; expected maps", tmp_path)
    path = make_map(tmp_path / "town.tif")
    path.with_suffix(".areas.csv").unlink()
    wrong(r"there is no .*town\.areas\.csv; .* made by `lcjax predict`", path)
    wrong(r"there is no .*town\.areas\.csv", f"{tmp_path}/*.tif")


@pytest.mark.parametrize(
    ("suffix", "content", "match"),
    [
        (".areas.csv", "id,name\n1,Forest\n", "town.areas.csv: not a table of areas .*KeyError"),
        (".areas.csv", "id,name,colour,pixels,percent,hectares,hectares_grid\nx,,,,,,\n", "not a table of areas"),
        (".png", "nonsense", "town.png: not a PNG"),
        (".json", "[]", "town.json: the whole: found a list, expected an object; move it away, or map"),
        (".json", '{"properties": {"datetime": 3}}', "town.json: properties.datetime: found 3, expected text"),
        (".tif", "nonsense", "town.tif: cannot be read: no raster of a known format; expected a map"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path, suffix, content, match):
    path = make_map(tmp_path / "town.tif")
    path.with_suffix(suffix).write_text(content)
    wrong(match, path)


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize(("side", "kept"), [(100, 40), (100, -30), (60_000, None)])
def test_a_picture_that_breaks_off_or_claims_to_be_huge_is_named(tmp_path, side, kept):
    path = make_map(tmp_path / "town.tif")
    pixels = zlib.compress(np.random.default_rng(0).bytes(100 * 101))
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    picture = b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    path.with_suffix(".png").write_bytes(picture[:kept])
    wrong(r"town\.png: not a PNG picture", path)
    animated = picture.replace(_chunk(b"IDAT", pixels), _chunk(b"acTL", bytes(8)) + _chunk(b"IDAT", pixels))
    path.with_suffix(".png").write_bytes(animated)  # of no frames, of which Pillow warns
    wrong(r"town\.png: not a PNG picture", path)
