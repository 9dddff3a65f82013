"""The verb: its flags, what it refuses before any work, and several scenes in one run."""

import functools
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import rasterio
import worlds
from absl import flags as absl_flags

from data_pipelines.schema.errors import InputError
from lcjax.cli import predict as predict_verb
from lcjax.configs import dfc2020
from lcjax.engine import restore
from lcjax.mapping import mapper
from lcjax.runs import model_card as cards
from lcjax.runs import workdir as workdirs


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def parse(*arguments):
    values = absl_flags.FlagValues()
    names = ("DEFINE_string", "DEFINE_list", "DEFINE_float", "DEFINE_integer", "DEFINE_enum", "DEFINE_bool")
    holder = {name: functools.partial(getattr(absl_flags, name), flag_values=values) for name in names}
    predict_verb.define_flags(types.SimpleNamespace(**holder))
    values(["predict", *map(str, arguments)])
    return values


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A workdir with config and card, and in place of the checkpoint's network the rule."""
    folder = tmp_path / "run"
    workdirs.start(folder, dfc2020.get_config("model=unet,data=sample,tiny=true"), worlds.card())
    asked = []

    def of_workdir(where, kind, *, tta, calibrated):
        asked.append((where, kind, tta))
        return mapper.Mapper(worlds.card(), worlds.probabilities, "rule", {"LCJAX_CHECKPOINT": f"{kind}, step 7"})

    monkeypatch.setattr(mapper.Mapper, "of_workdir", of_workdir)
    monkeypatch.setattr(restore, "card_of", lambda where, kind: cards.read(where))
    return types.SimpleNamespace(folder=folder, asked=asked)


def test_the_verb_draws_the_map(world, workdir, capsys):
    output = world.folder / "new" / "map.tif"
    arguments = [f"--workdir={workdir.folder}", f"--scene={world.text}", f"--output={output}", "--checkpoint=last"]
    predict_verb.run(parse(*arguments, "--overlap=4", "--batch_size=3", "--tta", "--blend=cosine", "--compress=lzw"))
    assert workdir.asked == [(workdir.folder, "last", True)]
    with rasterio.open(output) as result:
        np.testing.assert_array_equal(result.read(1), world.truth)
        assert result.tags()["LCJAX_CHECKPOINT"] == "last, step 7"
        assert result.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "LZW"
    assert str(output) in capsys.readouterr().out


def test_folders_are_mapped_and_one_bad_scene_does_not_stop_the_others(world, workdir, capsys):
    for number in (0, 1, 2):
        (world.folder / f"world{number}").mkdir()
        here = worlds.make(world.folder / f"world{number}", seed=number)
        for sensor in ("s1", "s2"):
            (world.folder / sensor).mkdir(exist_ok=True)
            (here.folder / f"{sensor}.tif").replace(world.folder / sensor / f"place{number}.tif")
    whole = (world.folder / "s2" / "place1.tif").read_bytes()
    (world.folder / "s2" / "place1.tif").write_bytes(b"II*\0")
    maps = world.folder / "maps"
    arguments = [f"--workdir={workdir.folder}", f"--scene=s1={world.folder}/s1,s2={world.folder}/s2"]
    with pytest.raises(InputError, match=r"1 of 3 scenes were not mapped; the first: .*place1.tif: cannot be read"):
        predict_verb.run(parse(*arguments, f"--output={maps}"))
    assert sorted(path.name for path in maps.glob("*.tif")) == ["place0.tif", "place2.tif"]
    assert len(workdir.asked) == 1  # the network is restored once
    assert "scene 2 of 3" in capsys.readouterr().out

    (world.folder / "s2" / "place1.tif").write_bytes(whole)
    predict_verb.run(parse(*arguments, f"--output={maps}"))
    assert sorted(path.name for path in maps.glob("*.tif")) == ["place0.tif", "place1.tif", "place2.tif"]
    assert capsys.readouterr().out.count("already mapped") == 2


def test_several_workdirs_are_an_ensemble(world, workdir, monkeypatch, capsys):
    other, output = world.folder / "other,run", world.folder / "map.tif"
    shutil.copytree(workdir.folder, other)

    def turned(inputs):
        return 0.4 * worlds.probabilities(inputs) + 0.6 * np.roll(worlds.probabilities(inputs), 1, -1)

    def of_workdir(where, kind, *, tta, calibrated):
        assert not calibrated
        answer = turned if where == other else worlds.probabilities
        return mapper.Mapper(worlds.card(), answer, str(where), {"LCJAX_CHECKPOINT": f"{kind}, step 7"})

    monkeypatch.setattr(mapper.Mapper, "of_workdir", of_workdir)
    arguments = [f"--workdir={workdir.folder},{other}", f"--scene={world.text}", f"--output={output}"]
    predict_verb.run(parse(*arguments, "--probabilities"))
    with rasterio.open(output) as result, rasterio.open(world.folder / "map_probabilities.tif") as shares:
        np.testing.assert_array_equal(result.read(1), world.truth)  # 0.7 for it, and 0.3 for the next class
        assert {*np.unique(shares.read())} == {0, 75, 175, 255}
        assert result.tags()["LCJAX_ENSEMBLE"] == "mean of the probabilities of 2 networks"
    assert (world.folder / "map_mutual_information.tif").is_file()
    for words, *more in (
        (r"--conformal=0.9: found 2 workdirs; expected one", "--conformal=0.9"),
        (r"stands there twice, and would count twice", f"--workdir={other},{other}"),
        (r"nowhere/config.json: no such file", f"--workdir={other},nowhere"),
    ):
        with pytest.raises(InputError, match=words):
            predict_verb.run(parse(*arguments, *more))


def test_an_area_a_mask_and_a_sieve_go_through_the_verb(world, workdir):
    mask = world.folder / "mask.tif"
    with rasterio.open(world.folder / "s1.tif") as scene:
        profile = scene.profile | {"count": 1, "dtype": "uint8"}
    with rasterio.open(mask, "w", **profile) as out:
        out.write((np.arange(75 * 90).reshape(75, 90) % 7).astype(np.uint8), 1)
    arguments = [f"--workdir={workdir.folder}", f"--scene={world.text}", f"--output={world.folder / 'map.tif'}"]
    predict_verb.run(parse(*arguments, f"--mask={mask}:2-4", "--sieve=2"))
    with rasterio.open(world.folder / "map.tif") as result:
        masked = np.isin(np.arange(75 * 90).reshape(75, 90) % 7, (2, 3, 4))
        np.testing.assert_array_equal(result.read(1) == 255, masked | (world.truth == 255))
        assert {"LCJAX_MASK", "LCJAX_SIEVE"} <= result.tags().keys()
    for words, *more in (
        (r"--aoi=none.gpkg: no such file", "--aoi=none.gpkg"),
        (r"--mask=none.tif: no such file", "--mask=none.tif"),
        (r"--sieve=1: expected the pixels", "--sieve=1"),
        (r"--output=\S*mask.tif: the mask itself", f"--mask={mask}", f"--output={mask}"),
        (r"folder:3: no raster or polygons of the name s2; expected one mask for", f"--mask={world.folder}/folder:3"),
    ):
        (world.folder / "folder").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=words) as caught:
            predict_verb.run(parse(*arguments, *more))
        assert "\n" not in str(caught.value)


def test_what_a_list_names_is_refused_by_its_line(world, workdir):
    listed = world.folder / "scenes.csv"
    arguments = [f"--workdir={workdir.folder}", f"--scene={listed}", f"--output={world.folder / 'maps'}"]
    listed.write_text("s1,s2\n\ns1.tif,/vsicurl/http://127.0.0.1:9/a.tif\n")
    with pytest.raises(InputError, match=r"scenes.csv, line 3: s2=http://127.0.0.1:9/a.tif: lies on the server"):
        predict_verb.run(parse(*arguments))
    listed.write_text("s1,s2\nWMS:http://127.0.0.1:9,b.tif\ns1.tif,s2.tif\n")
    with pytest.raises(InputError, match=r"1 of 2 .*: \S*scenes.csv, line 2: \S*WMS:http:/127\S*: no such file"):
        predict_verb.run(parse(*arguments))
    assert (world.folder / "maps" / "s2.tif").is_file()


def test_what_is_missing_or_wrong_is_said_before_the_network_is_restored(world, workdir):
    good = {"workdir": workdir.folder, "scene": world.text, "output": world.folder / "map.tif"}
    for change, words in (
        ({"workdir": ""}, "--workdir: not given"),
        ({"scene": ""}, "--scene: not given"),
        ({"output": ""}, "--output: not given.*e.g. `lcjax predict"),
        ({"workdir": world.folder / "nowhere"}, "nowhere/config.json: no such file; expected the workdir of a"),
        ({"scene": world.folder / "s2.tif"}, "give --scene=s1=FILE,s2=FILE"),
        ({"scene": world.text.replace("s2.tif", "s3.tif")}, "s3.tif: no such file"),
        ({"scene": world.text.replace("s1.tif", "s2.tif")}, "missing: VV, VH|13 bands without known names"),
        ({"output": world.folder / "s1.tif"}, "the scene itself"),
        ({"overlap": 17}, "0 to 16"),
        ({"bands": "B99"}, "'B99' is no band"),
        ({"bands": "s2,s1,VV"}, "--bands: VV beside s1, s2, which stand for all their bands; leave it out"),
        ({"bands": "s2,VV,VH,VV"}, "s1.tif: 2 bands, but --bands lists 3"),
        ({"grid": "s3"}, "--grid=s3: expected one of several sensors"),
        ({"date": "yesterday"}, "--date=yesterday: expected e.g. 2020-08-23"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            predict_verb.run(parse(*(f"--{name}={value}" for name, value in (good | change).items())))
        assert "\n" not in str(caught.value)
    assert not workdir.asked and not (world.folder / "map.tif").exists()


def test_help_teaches_by_example_and_importing_costs_nothing():
    assert "lcjax predict --workdir=" in predict_verb.HELP
    script = "import sys, lcjax.cli.predict; print([m for m in ('rasterio', 'matplotlib', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
