"""The verb: its flags' texts, and a map of a scene by a network that is no network."""

import functools
import os
import pathlib
import re
import subprocess
import sys
import types
import xml.etree.ElementTree

import numpy as np
import pytest
import rasterio
from absl import flags as absl_flags

from data_pipelines.bands import S1, S2, to_storage
from data_pipelines.errors import InputError
from data_pipelines.legends import DFC2020
from lcjax import predict
from lcjax import scene as scenes
from lcjax.card import FILE, Card
from lcjax.streams import sensors_of

HEIGHT, WIDTH = 75, 90


def card(fusion="late", tile=32):
    return Card("fake", fusion, sensors_of(fusion), DFC2020, tile, "sample 1.0.0", {}, {})


def probabilities(inputs):
    """A rule for each pixel: the brightness of B2 and of VV choose among the eight classes."""
    brightness = inputs["s2"][..., 1].astype(int) // 600 + (inputs["s1"][..., 0] > -1200)
    return np.eye(8, dtype=np.float32)[brightness.clip(0, 7)]


@pytest.fixture
def world(tmp_path):
    """Two scenes on one grid with a hole in each; the map that the rule draws of them."""
    rng = np.random.default_rng(0)
    radar = rng.uniform(-25, -1, (2, HEIGHT, WIDTH)).astype("float32")
    optical = rng.integers(1, 4000, (13, HEIGHT, WIDTH)).astype("uint16")
    radar[0, 5:9, 5:9] = np.nan
    optical[:, 60:, 70:] = 0
    transform = rasterio.Affine(10, 0, 600000, 0, -10, 200000)
    for name, values, bands in (("s1", radar, S1.bands), ("s2", optical, S2.bands)):
        profile = {"count": len(values), "height": HEIGHT, "width": WIDTH, "dtype": values.dtype}
        path = tmp_path / f"{name}.tif"
        with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32736", transform=transform, **profile) as out:
            out.write(values)
            for index, band in enumerate(bands, 1):
                out.set_band_description(index, band)
    inputs = {
        "s1": np.moveaxis(to_storage(S1, np.nan_to_num(radar)), 0, -1)[None],
        "s2": np.moveaxis(optical, 0, -1)[None],
    }
    truth = DFC2020.id_of_index()[probabilities(inputs)[0].argmax(-1)]
    truth[5:9, 5:9] = 255
    truth[60:, 70:] = 255
    return types.SimpleNamespace(folder=tmp_path, text=f"s1={tmp_path}/s1.tif,s2={tmp_path}/s2.tif", truth=truth)


def draw(world, output, tile=32, **options):
    said, fits = [], card(tile=tile)
    files = predict.parse_scene(world.text, fits.sensors)
    with scenes.open_scene(fits, files) as scene:
        counts = predict.map_scene(fits, probabilities, scene, output, say=said.append, **options)
    with rasterio.open(output) as result:
        return result.read(1), counts, "\n".join(said)


@pytest.mark.parametrize(
    ("tile", "overlap", "batch_size"), [(32, None, 8), (32, 0, 1), (17, 8, 3), (64, 30, 2), (99, 5, 4)]
)
def test_the_map_is_the_rule_applied_to_the_whole_image(world, tile, overlap, batch_size):
    ids, counts, _ = draw(world, world.folder / "map.tif", tile, overlap=overlap, batch_size=batch_size)
    np.testing.assert_array_equal(ids, world.truth)
    np.testing.assert_array_equal(counts, np.bincount(world.truth.ravel(), minlength=256))


def test_what_lies_beside_the_map_and_is_said(world):
    output = world.folder / "map.tif"
    _, counts, said = draw(world, output, tags={"LCJAX_CHECKPOINT": "best, step 7"})
    assert sorted(os.listdir(world.folder)) == ["map.png", "map.qml", "map.tif", "map.tif.aux.xml", "s1.tif", "s2.tif"]
    for path in (output, f"{output}.aux.xml", output.with_suffix(".qml"), output.with_suffix(".png")):
        assert str(path) in said
    rows = dict(re.findall(r"^(\S[^ ]*(?: data)?) +(\d+)", said, re.MULTILINE))
    assert {c.name: str(counts[c.id]) for c in DFC2020.scored} | {"no data": str(counts[255])} == rows
    with rasterio.open(output) as result:
        assert (
            result.tags()["LCJAX_CHECKPOINT"] == "best, step 7" and result.tags()["LCJAX_MODEL"] == "fake, fusion late"
        )
    style = xml.etree.ElementTree.parse(output.with_suffix(".qml"))
    entries = {e.get("value"): (e.get("label"), e.get("color")) for e in style.iter("paletteEntry")}
    assert entries == {str(c.id): (c.name, c.colour) for c in DFC2020.scored}
    from matplotlib.image import imread

    picture = imread(output.with_suffix(".png"))
    height, width = picture.shape[:2]
    assert 300 < height < width < 3000
    for land_class in DFC2020.scored:  # each colour that the map holds is on the picture
        colour = np.array([int(land_class.colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        assert (np.abs(picture[..., :3] - colour).max(-1) < 0.01).any() == bool(counts[land_class.id])


def test_two_runs_write_the_same_map(world):
    draw(world, world.folder / "a.tif", batch_size=1)
    draw(world, world.folder / "b.tif", batch_size=5)
    assert (world.folder / "a.tif").read_bytes() == (world.folder / "b.tif").read_bytes()


# ---- the flags' texts -----------------------------------------------------------------------------------------------


def test_scene_texts():
    one, two = sensors_of("s2"), sensors_of("late")
    assert predict.parse_scene("a,b=c.tif", one) == {"s2": pathlib.Path("a,b=c.tif")}
    assert predict.parse_scene("s2=a.tif", one) == {"s2": pathlib.Path("a.tif")}
    assert predict.parse_scene("s2=b,c.tif,s1=a.tif", two) == {
        "s1": pathlib.Path("a.tif"),
        "s2": pathlib.Path("b,c.tif"),
    }
    for text in ("a.tif", "s1=a.tif", "s1=a.tif,s1=b.tif", "s1=,s2=b.tif", "s1=a.tif,s2=b.tif,aerial=c.tif", "a,s2=b"):
        with pytest.raises(InputError, match="give --scene=s1=FILE,s2=FILE"):
            predict.parse_scene(text, two)
    with pytest.raises(InputError, match="give --scene=s2=FILE"):
        predict.parse_scene("s1=a.tif", one)


def test_band_texts():
    assert predict.parse_bands(["s1", " b02", "B8a"]) == ["VV", "VH", "B2", "B8A"]
    assert predict.parse_bands([]) == []
    with pytest.raises(InputError, match=r"--bands: 'B99' is no band.*s2 = B1,B2"):
        predict.parse_bands(["B1", "B99"])


def test_tiling_numbers():
    assert predict.check_tiling(256, None, 1) == 64
    assert predict.check_tiling(256, 0, 1) == 0
    for overlap, batch_size, words in ((-1, 1, "0 to 128"), (129, 1, "0 to 128"), (0, 0, "at least 1")):
        with pytest.raises(InputError, match=words):
            predict.check_tiling(256, overlap, batch_size)


# ---- the verb -------------------------------------------------------------------------------------------------------


def parse(*arguments):
    values = absl_flags.FlagValues()
    names = ("DEFINE_string", "DEFINE_list", "DEFINE_float", "DEFINE_integer", "DEFINE_enum")
    holder = {name: functools.partial(getattr(absl_flags, name), flag_values=values) for name in names}
    predict.define_flags(types.SimpleNamespace(**holder))
    values(["predict", *map(str, arguments)])
    return values


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """A workdir with a card, and in place of the checkpoint's network the rule."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / FILE).write_text(card().to_json())
    asked = []

    def restore(where, kind="best"):
        asked.append((where, kind))
        return types.SimpleNamespace(card=card(), step=7, probabilities=probabilities)

    monkeypatch.setitem(sys.modules, "lcjax.restore", types.SimpleNamespace(restore=restore))
    return types.SimpleNamespace(folder=folder, asked=asked)


def test_the_verb_draws_the_map(world, workdir, capsys):
    output = world.folder / "new" / "map.tif"
    arguments = [f"--workdir={workdir.folder}", f"--scene={world.text}", f"--output={output}", "--checkpoint=last"]
    predict.run(parse(*arguments, "--overlap=4", "--batch_size=3"))
    assert workdir.asked == [(workdir.folder, "last")]
    with rasterio.open(output) as result:
        np.testing.assert_array_equal(result.read(1), world.truth)
        assert result.tags()["LCJAX_CHECKPOINT"] == "last, step 7"
    assert str(output) in capsys.readouterr().out


def test_what_is_missing_or_wrong_is_said_before_the_network_is_restored(world, workdir):
    good = {"workdir": workdir.folder, "scene": world.text, "output": world.folder / "map.tif"}
    for change, words in (
        ({"workdir": ""}, "--workdir: not given"),
        ({"scene": ""}, "--scene: not given"),
        ({"output": ""}, "--output: not given.*e.g. `lcjax predict"),
        ({"workdir": world.folder / "nowhere"}, "card.json: no such file"),
        ({"scene": world.folder / "s2.tif"}, "give --scene=s1=FILE,s2=FILE"),
        ({"scene": world.text.replace("s2.tif", "s3.tif")}, "s3.tif: no such file"),
        ({"scene": world.text.replace("s1.tif", "s2.tif")}, "missing: VV, VH|13 bands without known names"),
        ({"output": world.folder / "s1.tif"}, "the scene itself"),
        ({"overlap": 17}, "0 to 16"),
        ({"bands": "B99"}, "'B99' is no band"),
        ({"bands": "s2,s1,VV"}, "s1.tif: 2 bands, but --bands lists 3"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            predict.run(parse(*(f"--{name}={value}" for name, value in (good | change).items())))
        assert "\n" not in str(caught.value)
    assert not workdir.asked and not (world.folder / "map.tif").exists()


def test_help_teaches_by_example_and_importing_costs_nothing():
    assert "lcjax predict --workdir=" in predict.HELP
    script = "import sys, lcjax.predict; print([m for m in ('rasterio', 'matplotlib', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- real scenes, where they are at hand ----------------------------------------------------------------------------


@pytest.mark.skipif("LCJAX_REAL_DATA" not in os.environ, reason="LCJAX_REAL_DATA is not set")
@pytest.mark.parametrize(("name", "carries_offset"), [("282D_485L_3_3", True), ("38D_378R_2_3", False)])
def test_real_scenes(tmp_path, name, carries_offset):
    folder, output = pathlib.Path(os.environ["LCJAX_REAL_DATA"], "scenes"), tmp_path / "map.tif"
    files = {"s1": folder / "S1RTC" / f"{name}.tif", "s2": folder / "S2L1C" / f"{name}.tif"}
    bands = predict.parse_bands(["s1", "s2"])
    with pytest.raises(InputError, match="--bands=s1,s2"), scenes.open_scene(card(), files):
        pass
    if carries_offset:
        with pytest.raises(InputError, match="--offset=-1000"), scenes.open_scene(card(), files, bands=bands):
            pass
    with scenes.open_scene(card(), files, bands=bands, offset=-1000 if carries_offset else None) as scene:
        predict.map_scene(card(), probabilities, scene, output)
        with rasterio.open(output) as result:
            assert result.crs == scene.grid.crs and result.transform == scene.grid.transform
            assert set(np.unique(result.read(1))) <= {c.id for c in DFC2020.scored}
