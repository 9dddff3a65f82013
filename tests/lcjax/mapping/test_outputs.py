"""What a map will write is known before any work; nothing that is read, and nothing of somebody else, is replaced."""

import csv
import json
import os
import pathlib
import re
import shutil

import own
import pytest
import rasterio
import rasterio.shutil
import worlds
from any_names import ANY_NAME
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.errors import InputError
from lcjax.mapping import drafts, map_writer, outputs, scene_list
from lcjax.mapping import predict as prediction
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.network import Network
from lcjax.mapping.options import Options
from lcjax.mapping.scene_list import Job

CLASSES = map_writer.products(DFC2020)
ALL = map_writer.products(DFC2020, confidence=True, probabilities=True, vector=True)
NAMES = [
    "map.tif",
    "map_confidence.tif",
    "map_probabilities.tif",
    "map.gpkg",
    "map.qml",
    "map_confidence.qml",
    "map_probabilities.qml",
    "map.tif.aux.xml",
    "map.areas.csv",
    "map.png",
    "map.json",
]


def check(*jobs, wanted=CLASSES):
    outputs.check([Job({"image": pathlib.Path(scene)}, pathlib.Path(output)) for scene, output in jobs], wanted)


def refused(*jobs, wanted=CLASSES) -> str:
    """What is said of jobs that are refused, in one line, with nothing made."""
    with pytest.raises(InputError) as caught:
        check(*jobs, wanted=wanted)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scenes" / "town.tif"
    own.write(path, own.picture(0), crs="EPSG:32633")
    return path


def test_the_files_of_a_map():
    files = outputs.files_of(pathlib.Path("maps", "map.tif"), ALL)
    assert [path.name for path in files.values()] == NAMES and {path.parent.name for path in files.values()} == {"maps"}
    dots = outputs.files_of(pathlib.Path("a.b.tiff"), CLASSES)
    assert [path.name for path in dots.values()] == [
        *("a.b.tiff", "a.b.qml", "a.b.tiff.aux.xml", "a.b.areas.csv", "a.b.png", "a.b.json")
    ]


def test_the_page_on_maps_lists_all_of_them():
    page = pathlib.Path(__file__).parents[3].joinpath("docs", "maps.md").read_text()
    table = " ".join(re.findall(r"^\| (`MAP[^|]*) \|", page, re.MULTILINE))
    for name in NAMES:
        name = name.replace("map", "MAP", 1)
        assert f"`{name}`" in table or (name.endswith(".qml") and f"`{name.removesuffix('.qml')}.tif`, `.qml`" in table)


def test_outputs_that_cannot_be_are_refused_before_work(tmp_path, scene):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.tif").mkdir()
    for output, words in (
        (tmp_path / "map.png", "ends in .tif"),
        (tmp_path / "map", "ends in .tif"),
        (tmp_path / "folder.tif", "a folder"),
        (tmp_path / "folder.tif" / ".." / "scenes" / "town.tif", "the scene itself"),
        (tmp_path / "file" / "map.tif", "cannot write there"),
        (pathlib.Path("/proc/nowhere/map.tif"), "cannot write there"),
        (tmp_path / f"{'n' * 240}.tif", "bytes too long"),
    ):
        assert words in refused((scene, output)) and not (tmp_path / "new").exists()
    check((scene, tmp_path / "a" / "b" / "map.tif"))
    assert (tmp_path / "a" / "b").is_dir() and not os.listdir(tmp_path / "a" / "b")


def test_a_map_that_the_disk_cannot_hold_is_refused_before_work(tmp_path):
    wanted = map_writer.products(DFC2020, probabilities=True)
    outputs.check_room(tmp_path / "map.tif", 100, 100, wanted)
    with pytest.raises(InputError, match=r"MB are free there, but a map of 1000000 x 1000000 pixels with 9 bands"):
        outputs.check_room(tmp_path / "map.tif", 10**6, 10**6, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_no_file_of_a_map_is_a_scene(tmp_path, scene, name):
    """Under any of the names: the scene, the source of a mosaic, a link to either, another name of the same file."""
    output, taken = tmp_path / "map.tif", tmp_path / name
    words = "the scene itself" if name == "map.tif" else f"{taken} would be written, but it is the scene itself"
    shutil.copy(scene, taken)
    assert words in refused((taken, output), wanted=ALL)
    taken.unlink()

    shutil.copy(scene, tmp_path / name.upper())
    assert "the scene itself" in refused((tmp_path / name.upper(), output), wanted=ALL)
    (tmp_path / name.upper()).unlink()

    taken.symlink_to(scene)
    for other in (scene, taken):
        assert "the scene itself" in refused((other, output), wanted=ALL)
    taken.unlink()
    os.link(scene, taken)
    assert "the scene itself" in refused((scene, output), wanted=ALL)
    taken.unlink()

    if name.endswith((".tif", ".png")):
        shutil.copy(scene, tmp_path / "plain.tif")
        rasterio.shutil.copy(tmp_path / "plain.tif", taken, driver=own.DRIVERS[taken.suffix])
        rasterio.shutil.copy(taken, tmp_path / "mosaic.vrt", driver="VRT")
        said = refused((tmp_path / "mosaic.vrt", output), wanted=ALL)
        assert f"{taken} would be written, but it is read for the scene {tmp_path / 'mosaic.vrt'}" in said


def test_what_belongs_to_a_scene_is_not_replaced(tmp_path, scene):
    """As a map beside a scene of the same name in upper case would do with the sidecar of that."""
    shutil.copy(scene, tmp_path / "MAP.TIF")
    (tmp_path / "MAP.TIF.aux.xml").write_text("<PAMDataset/>")
    assert "the scene itself" in refused((tmp_path / "MAP.TIF", tmp_path / "map.tif"))
    draft = drafts.folder_of(tmp_path / "map.tif")
    draft.mkdir()
    shutil.copy(scene, draft / "rows")
    assert "lies in the draft" in refused((draft / "rows", tmp_path / "map.tif"))


def test_two_maps_of_a_command_share_no_file(tmp_path, scene):
    others = [tmp_path / f"s{number}.tif" for number in range(2)]
    for path in others:
        shutil.copy(scene, path)
    for first, second in (
        ("a.tif", "a_confidence.tif"),
        ("a.tif", "a.tiff"),
        ("a.tif", "A.tif"),
        ("b/../a.tif", "a.tif"),
    ):
        (tmp_path / "maps" / "b").mkdir(parents=True, exist_ok=True)
        jobs = [(others[0], tmp_path / "maps" / first), (others[1], tmp_path / "maps" / second)]
        for ordered in (jobs, jobs[::-1]):
            said = refused(*ordered, wanted=ALL)
            assert "would be written for two maps" in said and all(str(output) in said for _, output in jobs)
    check((others[0], tmp_path / "maps" / "a.tif"), (others[1], tmp_path / "maps" / "a_confidence.tif"))


@pytest.mark.parametrize("name", NAMES)
def test_what_somebody_else_has_put_there_stays(tmp_path, scene, name):
    output, taken = tmp_path / "maps" / "map.tif", tmp_path / "maps" / name
    taken.parent.mkdir()
    for put in (
        lambda: taken.write_text("my own"),
        lambda: taken.symlink_to("nowhere"),
        lambda: shutil.copy(scene, taken),
        lambda: taken.mkdir(),
    ):
        put()
        said = refused((scene, output), wanted=ALL)
        assert str(taken) in said and ("move it away" in said or "a folder" in said)
        shutil.rmtree(taken) if taken.is_dir() and not taken.is_symlink() else taken.unlink()
    if name != "map.tif":
        taken.write_text("my own")
        if "confidence" in name or "probabilities" in name:
            check((scene, output))  # which has no such file
    check((tmp_path / "scenes" / "town.tif", tmp_path / "other" / "map.tif"), wanted=ALL)


def test_a_folder_that_is_no_draft_stays(tmp_path, scene):
    folder = tmp_path / ".map.tif.draft"
    folder.mkdir()
    check((scene, tmp_path / "map.tif"))
    (folder / "thesis.txt").touch()
    assert f"{folder}: is there, and is no draft" in refused((scene, tmp_path / "map.tif"))


@pytest.mark.parametrize("name", ["map.tif.ovr", "map.tif.msk", "map_confidence.tif.ovr"])
def test_what_would_be_read_as_a_part_of_the_map_is_no_part_of_it(tmp_path, scene, name):
    (tmp_path / name).touch()
    assert f"{tmp_path / name}: is there, and would be read" in refused((scene, tmp_path / "map.tif"), wanted=ALL)


# ---- through the doors ----------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def by_verb(world, output, **options):
    card = worlds.card()
    jobs = [Job({name: world.folder / f"{name}.tif" for name in ("s1", "s2")}, output)]
    scene_options = prediction.SceneOptions()
    prediction.check(card, jobs, Options(**options), scene_options)
    prediction.map_jobs(
        card, lambda: Mapper(card, worlds.probabilities, "rule", {}), jobs, Options(**options), scene_options
    )


def by_network(world, output, **options):
    class Rule(Network):
        card, _plain = worlds.card(), Mapper(worlds.card(), worlds.probabilities, "rule", {})

    files = {name: world.folder / f"{name}.tif" for name in ("s1", "s2")}
    Rule(None).map(files, output, options=Options(**options))


@pytest.mark.parametrize("door", [by_verb, by_network])
def test_own_files_are_replaced_and_what_is_left_of_the_old_map_goes(world, door):
    folder = world.folder / "maps"
    output = folder / "map.tif"
    door(world, output, confidence=True)
    with rasterio.open(output) as dataset:
        ends = json.loads(dataset.tags()["LCJAX_FILES"])
    assert sorted(os.listdir(folder)) == sorted(f"map{end}" for end in ends) and "_confidence.tif" in ends
    (folder / "map_notes.tif").write_text("my own")
    door(world, output, overlap=0)
    assert not (folder / "map_confidence.tif").exists() and not (folder / "map_confidence.qml").exists()
    assert (folder / "map_notes.tif").exists()
    (folder / "map_confidence.tif").write_text("my own")
    with pytest.raises(InputError, match=r"map_confidence\.tif: is there, .*lcjax did not write it with that map"):
        door(world, output, overlap=0, confidence=True)
    assert (folder / "map_confidence.tif").read_text() == "my own"
    before = (folder / "map.qml").read_text()
    output.unlink()
    with pytest.raises(
        InputError, match=r"map\.qml: left of a map that lcjax wrote, and map\.tif itself is gone; .*\.png"
    ):
        door(world, output)
    (folder / "map.tif.aux.xml").write_text("<PAMDataset/>")  # of another program
    with pytest.raises(InputError, match=r"map\.qml: is there, .*there is no map of that name"):
        door(world, output)
    assert (folder / "map.qml").read_text() == before


@pytest.mark.parametrize("door", [by_verb, by_network])
def test_a_product_of_a_map_is_no_map(world, door):
    door(world, world.folder / "map.tif", confidence=True)
    with pytest.raises(InputError, match=r"map_confidence\.tif: is there, and is no map that lcjax wrote"):
        door(world, world.folder / "map_confidence.tif")


@pytest.mark.parametrize("door", [by_verb, by_network])
def test_a_file_that_comes_while_a_scene_is_mapped_stays(world, door, monkeypatch):
    output, probabilities = world.folder / "map.tif", worlds.probabilities

    def meddling(inputs):
        (world.folder / "map.qml").write_text("my own")
        return probabilities(inputs)

    monkeypatch.setattr(worlds, "probabilities", meddling)
    with pytest.raises(InputError, match=r"map\.qml: is there"):
        door(world, output)
    assert (world.folder / "map.qml").read_text() == "my own" and not output.exists()
    (world.folder / "map.qml").unlink()
    monkeypatch.setattr(worlds, "probabilities", None)  # nothing is computed again
    door(world, output)
    assert output.exists()


@pytest.mark.parametrize("door", [by_verb, by_network])
def test_a_scene_that_changes_anywhere_is_mapped_anew(world, door):
    """Also in one pixel, with size, time, and everything that a sample looks at as they were before."""
    output, scene = world.folder / "map.tif", world.folder / "s2.tif"
    door(world, output)
    first = output.stat().st_mtime_ns
    os.utime(scene, ns=(5, 5))
    door(world, output)
    assert output.stat().st_mtime_ns == first  # touched, no more
    with rasterio.open(scene, "r+") as file:
        window = ((40, 41), (40, 41))
        file.write(4000 - file.read(window=window), window=window)
    door(world, output)
    assert output.stat().st_mtime_ns > first


def test_a_scene_that_changes_meanwhile_gives_no_map(world, monkeypatch):
    output, probabilities = world.folder / "map.tif", worlds.probabilities

    def meddling(inputs):
        (world.folder / "s2.tif.aux.xml").write_text("<PAMDataset/>")
        os.utime(world.folder / "s1.tif", ns=(5, 5))
        data = bytearray((world.folder / "s1.tif").read_bytes())
        data[-1] ^= 1
        (world.folder / "s1.tif").write_bytes(data)
        return probabilities(inputs)

    monkeypatch.setattr(worlds, "probabilities", meddling)
    with pytest.raises(InputError, match=r"s1\.tif: has changed while it was mapped"):
        by_verb(world, output)
    assert not output.exists()


# ---- any names ------------------------------------------------------------------------------------------------------

_STEMS = st.sampled_from(["a", "A", "a_confidence", "a.b", "é", "e\u0301", "a b", "plain", "a_probabilities"])
_ENDS = st.sampled_from([".tif", ".tiff", ".TIF"])
_FOLDERS = st.sampled_from(["maps", "maps/../maps", "other"])


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.lists(st.tuples(_FOLDERS, _STEMS, _ENDS), min_size=2, max_size=4, unique=True))
def test_maps_pass_exactly_where_their_files_differ(tmp_path_factory, named):
    """Against a plain comparison of all names, with folders resolved, letters in lower case and accents composed."""
    import unicodedata

    root = tmp_path_factory.getbasetemp() / "any"
    for folder in ("maps", "other"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    places = [root / folder / f"{stem}{end}" for folder, stem, end in named]

    def written(output):
        ends = [".qml", ".png", ".json", ".areas.csv", f"{output.suffix}.aux.xml", output.suffix]
        ends += [f"_{kind}{end}" for kind in ("confidence", "probabilities") for end in (output.suffix, ".qml")]
        plain = [unicodedata.normalize("NFC", output.stem + end).casefold() for end in ends]
        return {(os.path.realpath(output.parent), name) for name in plain}

    everything = [name for output in places for name in written(output)]
    jobs = [(root / "nowhere.tif", output) for output in places]
    if len(everything) == len(set(everything)):
        check(*jobs, wanted=ALL)
    else:
        assert "would be written for two maps" in refused(*jobs, wanted=ALL)


@settings(max_examples=10, derandomize=True, deadline=None)
@given(st.sampled_from(["maps", "a [1]", "ü,=s1", ".hidden"]), _STEMS, _ENDS)
def test_a_map_of_any_name_is_whole_and_found_again(tmp_path_factory, folder, stem, end):
    world = worlds.make(tmp_path_factory.mktemp("named"))
    output = world.folder / folder / f"{stem}{end}"
    by_verb(world, output)
    assert set(os.listdir(output.parent)) == map_writer.read_mark(output).files
    with rasterio.open(output) as dataset:
        assert (dataset.read(1) == world.truth).all()
    before = output.stat().st_mtime_ns
    by_verb(world, output)
    assert output.stat().st_mtime_ns == before


@pytest.mark.filterwarnings("ignore:(Glyph|Matplotlib currently):UserWarning")  # the preview lacks such letters
@settings(max_examples=10, derandomize=True, deadline=None)
@given(st.lists(ANY_NAME, min_size=4, max_size=4, unique_by=str.casefold))
def test_scenes_of_any_name_are_mapped_from_a_list_of_any_name(tmp_path_factory, names):
    folder, table, radar, optical = names
    root = tmp_path_factory.mktemp("named")
    world, card = worlds.make(root), worlds.card()
    (root / folder).mkdir()
    for sensor, name in (("s1", radar), ("s2", optical)):
        (root / f"{sensor}.tif").rename(root / folder / f"{name}.tif")
    listed = root / folder / f"{table}.csv"
    with listed.open("w", newline="") as file:
        csv.writer(file).writerows([("s1", "s2"), (f"{radar}.tif", f"{optical}.tif")])
    jobs, options = scene_list.jobs(str(listed), card.sensors, root / folder / "maps"), prediction.SceneOptions()
    prediction.check(card, jobs, Options(), options)
    prediction.map_jobs(card, lambda: Mapper(card, worlds.probabilities, "rule", {}), jobs, Options(), options)
    (output,) = (job.output for job in jobs)
    assert output == root / folder / "maps" / f"{optical}.tif"
    assert set(os.listdir(output.parent)) == map_writer.read_mark(output).files
    with rasterio.open(output) as dataset:
        assert (dataset.read(1) == world.truth).all()
