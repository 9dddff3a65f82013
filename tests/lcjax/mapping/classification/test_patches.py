"""Tables of patches: what stands in them, of splits and of scenes, and what is refused before any work."""

import collections
import csv
import re
import shutil

import jax
import numpy as np
import pytest
import rasterio
import worlds

from data_pipelines.geo import geopackage
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Extent
from lcjax.engine import restore
from lcjax.mapping import scene
from lcjax.mapping.classification import patch_table, patches
from lcjax.mapping.classification.scene_tiles import DATA, SceneTiles
from lcjax.mapping.predict import SceneOptions


def rows_of(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answers(trained, records: list[dict]) -> np.ndarray:
    """Probabilities of each record alone."""
    model = trained.template.merge(trained.parameters, trained.statistics, train=False)
    images = [sensor.name for sensor in trained.card.sensors]
    return np.concatenate([trained.task.probabilities(model, {k: r[k][None] for k in images}) for r in records])


def test_the_records_of_a_split(classifier, data_dir, tmp_path):
    output = tmp_path / "out" / "test.gpkg"
    patches.write_split(classifier, "test", output)
    patches.write_split(classifier, "test", output)  # a table of ours may be replaced
    trained, data = restore.restore(classifier), open_dataset(data_dir, "sample")
    source, told = data.source("test"), on_disk.read_records(data.folder).origins
    names, ids = trained.task.names, [c.id for c in trained.card.legend.scored]
    rows, probabilities = rows_of(output.with_suffix(".csv")), answers(trained, [source[i] for i in range(4)])
    assert [row["id"] for row in rows] == list(source.ids)
    for i, row in enumerate(rows):
        counts = collections.Counter(source[i]["label"].ravel().tolist())
        assert row["truth"] == names[max(range(8), key=lambda k: (counts[ids[k]], -k))]
        found = [float(row[f"p_{name}"]) for name in names]
        np.testing.assert_allclose(found, probabilities[i], atol=2e-5)
        assert row["predicted"] == names[int(np.argmax(probabilities[i]))] and float(row["data_share"]) == 1
        origin = told[row["id"]]
        assert (row["group"], row["source"], row["crs"]) == (origin.group, origin.source, origin.extent.crs)
        assert tuple(float(row[side]) for side in ("left", "bottom", "right", "top")) == origin.extent.bounds
    columns, outlines = geopackage.read(output, patch_table.LAYER, ["id", "predicted", f"p_{names[0]}"])
    assert columns["id"] == list(source.ids) and columns["predicted"] == [row["predicted"] for row in rows]
    left, bottom, right, top = told[source.ids[0]].extent.bounds
    ring = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    assert outlines[0] == geopackage.polygon(ring)
    # Each role means the records that the run had in it.
    patches.write_split(classifier, "validation", tmp_path / "validation.csv")
    spec = trained.card.splits["validation"]["spec"]
    assert spec != "validation"
    assert [row["id"] for row in rows_of(tmp_path / "validation.csv")] == list(data.source(spec).ids)


def test_a_scene_is_one_tile_where_it_is_smaller_and_holes_are_told(classifier, tmp_path):
    world = worlds.make(tmp_path)
    patches.write_scenes(classifier, world.text, tmp_path / "scene.csv", SceneOptions())
    (row,) = rows_of(tmp_path / "scene.csv")
    share = np.mean(world.truth != 255)
    assert float(row["data_share"]) == pytest.approx(share, abs=1e-6) and row["truth"] == "" and row["predicted"]
    assert (row["id"], row["group"]) == ("s2_0_0", "s2")
    assert (row["crs"], float(row["left"]), float(row["top"])) == ("EPSG:32736", 600000.0, 200000.0)
    assert float(row["right"]) == 600000 + 10 * worlds.WIDTH


def test_tiles_lie_side_by_side_and_the_last_ends_where_the_scene_does(tmp_path):
    world, card = worlds.make(tmp_path), worlds.card(tile=32)
    files = {name: tmp_path / f"{name}.tif" for name in ("s1", "s2")}
    with scene.open_scene(card, files) as opened:
        tiles = SceneTiles(opened, "town", 32)
        corners = [(top, left) for top in (0, 32, 43) for left in (0, 32, 58)]
        assert list(tiles.ids) == [f"town_{top}_{left}" for top, left in corners] and len(tiles) == 9
        whole, valid = opened.read(0, worlds.HEIGHT)
        for index, (top, left) in enumerate(corners):
            cut = slice(top, top + 32), slice(left, left + 32)
            record = tiles[index]
            np.testing.assert_array_equal(record["s2"], whole["s2"][cut])
            assert record[DATA] == pytest.approx(valid[cut].mean()) and (record["label"] == 255).all()
        place = tiles.extents()[-1]
        bounds = (600000 + 580, 200000 - 10 * worlds.HEIGHT, 600000 + 10 * worlds.WIDTH, 200000 - 430)
        assert place == Extent("EPSG:32736", bounds)
    assert world.truth.shape == (worlds.HEIGHT, worlds.WIDTH)


def test_what_has_no_data_is_given_no_label_and_one_bad_scene_stops_no_other(classifier, tmp_path):
    world = worlds.make(tmp_path)
    for name in ("s1", "s2"):
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            profile, values, names = file.profile, file.read(), file.descriptions
        profile.update(height=600, width=300)
        wide = np.zeros((len(values), 600, 300), values.dtype)
        wide[:, : worlds.HEIGHT, : worlds.WIDTH] = np.nan_to_num(values)
        with rasterio.open(tmp_path / f"wide_{name}.tif", "w", **profile) as file:
            file.write(wide)
            file.descriptions = names
    listed = tmp_path / "scenes.csv"
    listed.write_text("s1,s2\ns1.tif,s2.tif\ns1.tif,gone.tif\nwide_s1.tif,wide_s2.tif\n")
    with pytest.raises(InputError, match=r"1 of 3 scenes were not classified; the first: .*line 3: .*gone\.tif"):
        patches.write_scenes(classifier, str(listed), tmp_path / "all.csv", SceneOptions())
    rows = rows_of(tmp_path / "all.csv")
    assert [row["group"] for row in rows] == ["s2", *["wide_s2"] * 6]
    empty = [row for row in rows if float(row["data_share"]) == 0]
    assert len(empty) == 4 and not any(row["predicted"] for row in empty)
    assert all(row["predicted"] for row in rows if row not in empty)
    assert world.truth.size


def test_several_systems_are_shown_in_longitude_and_latitude(classifier, tmp_path):
    task = restore.restore(classifier).task
    extents = [Extent("EPSG:32633", (5e5, 5e6, 5e5 + 10, 5e6 + 10)), None, Extent("EPSG:32634", (5e5, 0, 5e5 + 9, 9))]
    rows = [patch_table.Row(str(i), "", "", place, 1.0, (i,), (0, 1), (0.5,) * 8) for i, place in enumerate(extents)]
    patch_table.write(tmp_path / "x.gpkg", rows, task)
    columns, outlines = geopackage.read(tmp_path / "x.gpkg", patch_table.LAYER, ["id", "truth"])
    assert columns["id"] == ["0", "2"] and columns["truth"] == ["Forest; Shrubland"] * 2
    corner = np.frombuffer(outlines[0][13:29])
    np.testing.assert_allclose(corner, [15.0, 45.153], atol=2e-3)
    assert len(rows_of(tmp_path / "x.csv")) == 3
    with pytest.raises(InputError, match="no patch knows its place"):
        patch_table.write(tmp_path / "y.gpkg", rows[1:2], task)


def test_no_label_is_told_from_none_that_covers_enough(classifier, tmp_path):
    task = restore.restore(classifier).task
    rows = [
        patch_table.Row(str(i), "", "", None, data, (), true, (0.1,) * 8)
        for i, (data, true) in enumerate([(1.0, None), (1.0, ()), (0.0, None)])
    ]
    patch_table.write(tmp_path / "x.csv", rows, task)
    found = [(row["truth"], row["predicted"]) for row in rows_of(tmp_path / "x.csv")]
    assert found == [("", "(none)"), ("(none)", "(none)"), ("", "")]


def test_both_kinds_of_table_are_written_by_one_process_at_a_time(tmp_path):
    with (
        patch_table.alone(tmp_path / "x.csv"),
        pytest.raises(InputError, match="another process is writing it"),
        patch_table.alone(tmp_path / "x.gpkg"),
    ):
        pass


def test_a_folder_of_scenes_beside_its_table_and_one_compilation_for_all(classifier, tmp_path, monkeypatch):
    places = {}
    for name in ("s1", "s2"):
        places[name] = tmp_path / name
        places[name].mkdir()
    world = worlds.make(tmp_path)
    for name in places:
        for scene_name in ("a", "b"):
            shutil.copy(world.folder / f"{name}.tif", places[name] / f"{scene_name}.tif")
    compiled, jit = [], jax.jit
    monkeypatch.setattr(patches.jax, "jit", lambda function: compiled.append(function) or jit(function))
    patches.write_scenes(classifier, f"s1={tmp_path}/s1,s2={tmp_path}/s2", tmp_path / "s2.csv", SceneOptions())
    assert [row["id"] for row in rows_of(tmp_path / "s2.csv")] == ["a_0_0", "b_0_0"] and len(compiled) == 1


def test_a_scene_without_a_place_is_refused_before_any_work(classifier, tmp_path, monkeypatch):
    worlds.make(tmp_path)
    monkeypatch.setattr(SceneTiles, "extents", lambda tiles: [None] * len(tiles))
    monkeypatch.setattr(SceneTiles, "read", lambda *_: pytest.fail("read before it was checked"))
    text = f"s1={tmp_path}/s1.tif,s2={tmp_path}/s2.tif"
    with pytest.raises(InputError, match="no patch knows its place, so that a GeoPackage would show nothing"):
        patches.write_scenes(classifier, text, tmp_path / "x.gpkg", SceneOptions())


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (
            ["--split=test", "--output=map.tif"],
            r"--output=.*map\.tif: a classification run gives whole patches classes",
        ),
        (["--split=validation[:2]", "--output=a.csv"], r"--split=validation\[:2\]: expected one of"),
        (["--output=a.csv"], r"--scene: not given; expected either --scene or --split"),
        (["--split=test", "--scene=x.tif", "--output=a.csv"], r"--scene: given beside --split; expected either"),
        (["--split=test", "--output=a.csv", "--confidence"], r"--confidence: .* is a classification run, whose table"),
        (
            ["--split=test", "--output=a.csv", "--tta"],
            r"--tta: .* is a classification run, which shows each tile as it",
        ),
        (["--split=test", "--output=a.csv", "--bands=s2"], r"--bands=\['s2'\]: goes with --scene; leave it out"),
        (
            ["--scene=x.tif", "--output=a.csv", "--data_dir=d"],
            r"--data_dir=d: goes with --split of a classification run",
        ),
        (
            ["--split=test", "--output=a.csv", "--batch_size=2"],
            r"--batch_size: .* says how many tiles are shown at once",
        ),
        (["--split=test", "--output=mine.csv"], r"mine\.csv: is there, and is no table of patches"),
    ],
)
def test_what_a_classifier_cannot_be_asked(flags, says, classifier, tmp_path, command):
    (tmp_path / "mine.csv").write_text("id,what\n")
    flags = [flag.replace("--output=", f"--output={tmp_path}/") for flag in flags]
    code, _, (line,) = command("predict", f"--workdir={classifier}", *flags)
    assert code == 2 and re.search(says, line), line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.csv"]


def test_a_segmentation_gives_no_patches(trained, tmp_path, command):
    code, _, (line,) = command("predict", f"--workdir={trained}", "--split=test", f"--output={tmp_path}/a.csv")
    assert code == 2 and "--split=test: is for classification runs, and" in line
    with pytest.raises(InputError, match="a segmentation run, which gives whole patches no classes"):
        patches.write_split(trained, "test", tmp_path / "a.csv")
