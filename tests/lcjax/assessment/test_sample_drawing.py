"""Samples: what lies in the folder, blindness, going on after a kill, and what is refused before anything is drawn."""

import csv
import json
import os
import pathlib
import re
import sqlite3
import sys

import numpy as np
import pytest
import rasterio
from classified import CLASSES, random_ids, write_map

from data_pipelines.geo import geodesy
from data_pipelines.schema.errors import InputError
from lcjax.assessment import assess, design, labels, points_files, sampling
from lcjax.assessment.sampling import Request


@pytest.fixture
def land_map(tmp_path):
    return write_map(tmp_path / "map.tif", random_ids())


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def request(path, **how):
    return Request(**({"map": path, "size": 60, "minimum": 10} | how))


def test_what_the_interpreter_gets_tells_nothing_of_the_map(land_map, tmp_path):
    out = tmp_path / "sample"
    drawn = sampling.sample(request(land_map), out)
    assert sorted(path.name for path in out.iterdir()) == [
        "classes.csv", "design.json", "points.csv", "points.gpkg", "points.qml",
    ]  # fmt: skip
    rows = rows_of(out / "points.csv")
    assert list(rows[0]) == ["point", "x", "y", "longitude", "latitude", "label", "comment"]
    assert [int(row["point"]) for row in rows] == [*range(1, 61)]
    assert {row["label"] + row["comment"] for row in rows} == {""}
    ids = random_ids()
    for row, point in zip(rows, drawn.points, strict=True):
        column, line = (float(row["x"]) - 500_000) / 10, (5_400_000 - float(row["y"])) / 10
        assert (column, line) == (point.column + 0.5, point.row + 0.5)
        assert ids[point.row, point.column] == point.mapped == point.stratum
        east, north = rasterio.warp.transform(
            "EPSG:4326", "EPSG:32633", [float(row["longitude"])], [float(row["latitude"])]
        )
        assert (east[0], north[0]) == (
            pytest.approx(float(row["x"]), abs=0.02),
            pytest.approx(float(row["y"]), abs=0.02),
        )
    with sqlite3.connect(out / "points.gpkg") as base:
        columns = [row[1] for row in base.execute("PRAGMA table_info(points)")]
        assert columns == ["fid", "geom", "point", "x", "y", "longitude", "latitude", "label", "comment"]
        assert base.execute("SELECT point, x, y FROM points").fetchall() == [
            (int(row["point"]), float(row["x"]), float(row["y"])) for row in rows
        ]
        (style,) = base.execute("SELECT styleQML FROM layer_styles").fetchone()
    assert style == (out / "points.qml").read_text()
    assert [row["name"] for row in rows_of(out / "classes.csv")] == [
        *(name for name, _ in CLASSES.values()),
        "cannot say",
    ]


def test_killed_anywhere_it_ends_in_the_same_sample_and_labels_stay(land_map, tmp_path, monkeypatch):
    whole = tmp_path / "whole"
    sampling.sample(request(land_map), whole)
    names = sorted(path.name for path in whole.iterdir())

    class Killed(BaseException):
        pass

    out, replaced = tmp_path / "out", os.replace
    for allowed in range(20):  # files that get their names before the kill

        def replace(self, target, left=[allowed]):  # noqa: B006  the count is of this kill
            if not left[0]:
                raise Killed
            left[0] -= 1
            replaced(self, target)
            return target

        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.replace", replace)
            try:
                sampling.sample(request(land_map), out)
            except Killed:
                continue
        break
    assert allowed > 2, "it was killed before the first file, and between others"
    assert sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) == names
    for name in set(names) - {"points.gpkg"}:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    text = (out / "points.csv").read_text().replace(",,\n", ",Water,seen\n")
    (out / "points.csv").write_text(text)
    (out / "points.qml").unlink()
    before = (out / "points.gpkg").stat().st_mtime_ns
    sampling.sample(request(land_map), out)
    assert (out / "points.csv").read_text() == text and "Water" in text
    assert (out / "points.gpkg").stat().st_mtime_ns == before
    assert (out / "points.qml").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 1}, "holds a sample with --seed=0, found 1; a sample is never replaced"),
        ({"size": 61}, "holds a sample with --size=60, found 61"),
        ({"allocation": "equal"}, "--allocation=proportional, found equal"),
        ({"points": {"Water": 12}}, "holds a sample without --points, found Water=12"),
    ],
)
def test_another_sample_does_not_take_the_place_of_one(land_map, tmp_path, change, says):
    sampling.sample(request(land_map), tmp_path / "s")
    before = (tmp_path / "s" / "points.csv").read_bytes()
    with pytest.raises(InputError, match=says):
        sampling.sample(request(land_map, **change), tmp_path / "s")
    assert (tmp_path / "s" / "points.csv").read_bytes() == before


def test_the_sample_of_another_map_stays_and_a_touched_map_is_the_same(land_map, tmp_path):
    sampling.sample(request(land_map), tmp_path / "s")
    os.utime(land_map, ns=(1, 1))
    sampling.sample(request(land_map), tmp_path / "s")
    write_map(land_map, random_ids(seed=1))
    with pytest.raises(InputError, match="is not the map that was sampled"):
        sampling.sample(request(land_map), tmp_path / "s")


def test_what_is_somebodys_own_stays(land_map, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "points.csv").write_text("point,label\n1,Water\n")
    with pytest.raises(InputError, match=r"points.csv: is there, and no design.json tells what it is of"):
        sampling.sample(request(land_map), tmp_path / "s")
    assert (tmp_path / "s" / "points.csv").read_text() == "point,label\n1,Water\n"
    with pytest.raises(InputError, match="trained on town"):
        sampling.sample(request(write_map(tmp_path / "t.tif", random_ids(), trained_on="town 1.0.0")), tmp_path / "new")
    assert not (tmp_path / "new").exists()  # refused before anything was drawn


def test_chips_are_of_every_point_and_a_wrong_image_is_said_before_anything_is_drawn(land_map, tmp_path, capsys):
    image = np.random.default_rng(0).integers(1, 200, (80, 90)).astype(np.uint8)
    scene = write_map(tmp_path / "scene.tif", image, classes=(), nodata=None)
    small = request(land_map, size=12, minimum=3, scenes=[scene])
    drawn = sampling.sample(small, tmp_path / "s")
    names = [row["chip"] for row in rows_of(tmp_path / "s" / "points.csv")]
    assert names == [f"chips/{number:05d}.png" for number in range(1, 13)]
    assert all((tmp_path / "s" / name).read_bytes().startswith(b"\x89PNG") for name in names)
    outside = sum(point.row >= 80 for point in drawn.points)
    assert f"scene.tif: does not reach {outside} of 12 points" in capsys.readouterr().out
    (tmp_path / "s" / names[3]).unlink()
    before = (tmp_path / "s" / names[4]).stat().st_mtime_ns
    sampling.sample(small, tmp_path / "s")
    assert (tmp_path / "s" / names[3]).exists() and (tmp_path / "s" / names[4]).stat().st_mtime_ns == before
    with pytest.raises(InputError, match=r"--scene=.*absent.tif: no such file"):
        sampling.sample(request(land_map, scenes=[tmp_path / "absent.tif"]), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("first", "then", "says"),
    [
        (["a"], ["b"], r"holds a sample with --scene=.*a.tif, found .*b.tif; a sample is never replaced"),
        ([], ["a"], r"holds a sample without --scene, found .*a.tif; a sample is never replaced"),
        (["a", "b"], [], r"holds a sample with --scene=.*a.tif,.*b.tif, found none"),
    ],
)
def test_chips_of_other_images_are_another_sample(land_map, tmp_path, first, then, says):
    scenes = {
        name: write_map(tmp_path / f"{name}.tif", np.full((120, 90), 7, np.uint8), classes=(), nodata=None)
        for name in ("a", "b")
    }
    small = {"size": 6, "minimum": 2}
    sampling.sample(request(land_map, **small, scenes=[scenes[name] for name in first]), tmp_path / "s")
    with pytest.raises(InputError, match=says):
        sampling.sample(request(land_map, **small, scenes=[scenes[name] for name in then]), tmp_path / "s")
    if first == ["a"]:
        with pytest.raises(InputError, match="holds a sample without --bands, found gray"):
            sampling.sample(request(land_map, **small, scenes=[scenes["a"]], bands=["gray"]), tmp_path / "s")


@pytest.mark.parametrize("crs", [None, 'LOCAL_CS["of a site",UNIT["metre",1]]'])
def test_a_map_that_lies_nowhere_gets_no_chips_at_once_or_later(land_map, tmp_path, crs):
    scene = write_map(tmp_path / "scene.tif", np.full((120, 90), 7, np.uint8), classes=(), nodata=None)
    nowhere = write_map(tmp_path / "n.tif", random_ids(), crs=crs)
    with pytest.raises(InputError, match="--scene: the map lies nowhere"):
        sampling.sample(request(nowhere, scenes=[scene]), tmp_path / "s")
    assert not (tmp_path / "s").exists()
    sampling.sample(request(nowhere), tmp_path / "s")
    with pytest.raises(InputError, match="--scene: the map lies nowhere"):
        sampling.sample(request(nowhere, scenes=[scene]), tmp_path / "s")


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (None, rasterio.Affine(1e-4, 0, 0.5, 0, -1e-4, 2)),
        (None, rasterio.Affine(0, 2e-5, 0.5, 3e-5, 0, 2)),
        ("EPSG:32633", rasterio.Affine(0.03, 0.04, 500_000, 0.04, -0.03, 5_400_000)),
        ("EPSG:4326", rasterio.Affine(1e-7, 0, 13, 0, -1e-7, 52)),
    ],
)
def test_coordinates_tell_a_thousandth_of_a_pixel_however_small_it_is(tmp_path, crs, transform):
    path = write_map(tmp_path / "m.tif", random_ids(), crs=crs, transform=transform)
    drawn = sampling.sample(request(path), tmp_path / "s")
    for row, point in zip(rows_of(tmp_path / "s" / "points.csv"), drawn.points, strict=True):
        place = geodesy.positions(~transform, np.array(float(row["x"])), np.array(float(row["y"])))
        assert place == pytest.approx((point.column + 0.5, point.row + 0.5), abs=1.1e-3)
    assert len(labels.read(tmp_path / "s" / "points.csv", drawn).open) == 60


def test_paths_lead_to_the_same_files_from_any_folder(tmp_path, monkeypatch):
    ids = random_ids()
    path = write_map(tmp_path / "m.tif", ids, ())
    write_map(tmp_path / "strata.tif", np.where(ids == 255, 255, ids > 1).astype(np.uint8), ())
    lines = [f'{value},"{name.replace(chr(34), chr(34) * 2)}",{colour}' for value, (name, colour) in CLASSES.items()]
    (tmp_path / "legend.csv").write_text("\n".join(["id,name,colour", *lines]) + "\n")
    monkeypatch.chdir(tmp_path)
    own = {"legend": pathlib.Path("legend.csv"), "strata": pathlib.Path("strata.tif")}
    drawn = sampling.sample(request(path, **own), tmp_path / "s")
    assert drawn.strata_path == str(tmp_path / "strata.tif")
    text = (tmp_path / "s" / "points.csv").read_text().replace(",,\n", ",Water,\n")
    (tmp_path / "s" / "points.csv").write_text(text)
    os.utime(path, ns=(1, 1))  # so that the map is compared by its pixels, for which its legend is read
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert assess.assess(tmp_path / "s" / "points.csv", tmp_path / "s" / design.FILE).accuracy.overall.value < 1
    own = {"legend": pathlib.Path("../legend.csv"), "strata": pathlib.Path("../strata.tif")}
    sampling.sample(request(path, **own), tmp_path / "s")


def test_without_the_extra_the_csv_serves(land_map, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    sampling.sample(request(land_map), tmp_path / "s")
    assert not (tmp_path / "s" / "points.gpkg").exists() and len(rows_of(tmp_path / "s" / "points.csv")) == 60
    assert "pip install 'lcjax[vector]'" in capsys.readouterr().out


def test_a_standard_error_says_how_many(land_map, tmp_path, capsys):
    drawn = sampling.sample(
        request(land_map, size=None, standard_error=0.04, users={"": 0.8, "Water": 0.95}), tmp_path / "s"
    )
    pixels = np.array([one.pixels for one in drawn.strata])
    weights, users = pixels / pixels.sum(), np.array([0.8, 0.8, 0.95])
    spread = np.sqrt(users * (1 - users))
    wanted = (weights @ spread) ** 2 / (0.04**2 + weights @ spread**2 / pixels.sum())
    assert len(drawn.points) == np.ceil(wanted)
    told = re.search(r"expected standard error of overall accuracy: ([\d.]+)", capsys.readouterr().out)
    assert float(told[1]) == pytest.approx(0.04, abs=0.002)


def test_points_have_the_area_of_their_pixels_and_strata_that_of_theirs(tmp_path):
    ids = random_ids(60, 40)
    path = write_map(tmp_path / "m.tif", ids, crs="EPSG:4326", transform=rasterio.Affine(0.5, 0, 0, 0, -0.5, 80))
    drawn = sampling.sample(request(path, size=1500, minimum=100), tmp_path / "s")
    assert drawn.unit == "hectares"
    for stratum in drawn.strata:
        mean = np.mean([point.area for point in drawn.points if point.stratum == stratum.value])
        assert mean == pytest.approx(stratum.area / stratum.pixels, rel=0.1)
    north = max(point.area for point in drawn.points if point.row == 59)
    assert north > 1.5 * max(point.area for point in drawn.points if point.row < 20)
    nowhere = write_map(tmp_path / "n.tif", ids, crs=None, transform=rasterio.Affine.identity())
    drawn = sampling.sample(request(nowhere), tmp_path / "n")
    assert drawn.unit == "pixels" and {point.area for point in drawn.points} == {1}
    assert {row["longitude"] for row in rows_of(tmp_path / "n" / "points.csv")} == {""}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"size": None}, "--size, --standard_error: expected one of them"),
        ({"standard_error": 0.1}, "--size, --standard_error: expected one of them"),
        ({"size": 0}, "--size=0: expected 1 to 1,000,000 points"),
        ({"size": None, "standard_error": 0.02}, "--users_accuracy: missing"),
        ({"size": None, "standard_error": 0.0, "users": {"": 0.5}}, "--standard_error=0: expected 0.0005 to 0.5"),
        ({"users": {"": 1.2}}, "--users_accuracy: found 1.2; expected 0 to 1"),
        ({"minimum": 1}, "--minimum=1: expected 2 or more"),
        ({"points": {"water": 20}}, "--points: 'water' is no stratum of the map: did you mean 'Water'"),
        ({"users": {"Water": 0.9}}, "nothing is expected of Forest, Bare"),
        ({"allocation": "optimal"}, "--allocation=optimal: needs --users_accuracy"),
        ({"allocation": "best"}, "--allocation=best: expected one of proportional, equal, optimal"),
        ({"seed": -1}, "--seed=-1"),
        ({"on_training": "exclude"}, "--on_training=exclude: needs --training=WORKDIR"),
        ({"on_training": "allow", "training": "none"}, "--on_training=allow: needs --training=WORKDIR"),
        ({"bands": ["b1"]}, "--bands=b1: are of --scene, which is missing"),
        ({"points": {"Water": 1}}, "--points=Water=1: expected 2 points or more"),
        ({"size": 9000}, r"Forest: [\d,]+ points were to be drawn, and it has [\d,]+ pixels"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(land_map, tmp_path, asked, says):
    if asked == {"size": 9000}:
        land_map = write_map(land_map, random_ids(95, 90))
        asked = {"size": 8500, "allocation": "equal"}
        says = r"(Forest|Water|Bare).*: 2,83\d points were to be drawn, and it has [\d,]+ pixels; expected no more"
    with pytest.raises(InputError, match=says) as error:
        sampling.sample(request(land_map, **asked), tmp_path / "s")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda fields: fields["points"][3].update(point=7), r"points\[3\]: not one of its classes and strata"),
        (lambda fields: fields["points"][3].update(mapped=2), r"points\[3\]"),
        (lambda fields: fields["points"].pop(), "strata: do not have the points that are listed"),
        (lambda fields: fields["map"].update(width=0), "map.width: found 0"),
        (lambda fields: fields["map"].update(crs="EPSG:0"), "map.crs: found 'EPSG:0', which is no CRS"),
        (lambda fields: fields["map"].update(transform=[0] * 6), "map.transform: its pixels have no area"),
        (lambda fields: fields.update(schema_version=0), "schema_version 0"),
        (lambda fields: fields.pop("strata"), "strata: missing"),
    ],
)
def test_a_damaged_design_is_refused(land_map, tmp_path, change, says):
    sampling.sample(request(land_map), tmp_path / "s")
    file = tmp_path / "s" / design.FILE
    fields = json.loads(file.read_text())
    change(fields)
    file.write_text(json.dumps(fields))
    with pytest.raises(InputError, match=says):
        design.read(file)


@pytest.mark.parametrize("crs", [None, "EPSG:32633"])
def test_a_map_whose_pixels_have_no_area_is_refused(tmp_path, crs):
    path = write_map(tmp_path / "m.tif", random_ids(), crs=crs, transform=rasterio.Affine(0, 0, 5, 0, 0, 6))
    with pytest.raises(InputError, match=r"--map=.*m.tif: its transform gives pixels no area"):
        sampling.sample(request(path), tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_class_cannot_be_called_what_stands_for_none(tmp_path):
    classes = {1: (points_files.CANNOT_SAY.upper(), "#000000")}
    with pytest.raises(InputError, match="which stands for none; rename it"):
        sampling.sample(request(write_map(tmp_path / "m.tif", np.ones((9, 9), np.uint8), classes)), tmp_path / "s")
