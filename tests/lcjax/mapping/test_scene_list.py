"""The texts of --scene, --output and --bands become scenes with their maps, or one clear line."""

import dataclasses
import os
import pathlib

import pytest

from data_pipelines.remote import hosts
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import S1, S2
from lcjax.mapping import scene_list
from lcjax.mapping.scene_list import jobs, parse_bands, parse_scene
from lcjax.tasks.fusion import sensors_of

ONE, TWO = sensors_of("s2", (S1, S2)), sensors_of("late", (S1, S2))


def test_scene_texts():
    assert parse_scene("a,b=c.tif", ONE) == {"s2": pathlib.Path("a,b=c.tif")}
    assert parse_scene("s2=a.tif", ONE) == {"s2": pathlib.Path("a.tif")}
    assert parse_scene("s2=b,c.tif,s1=a.tif", TWO) == {"s1": pathlib.Path("a.tif"), "s2": pathlib.Path("b,c.tif")}
    for text in ("a.tif", "s1=a.tif", "s1=a.tif,s1=b.tif", "s1=,s2=b.tif", "s1=a.tif,s2=b.tif,aerial=c.tif", "a,s2=b"):
        with pytest.raises(InputError, match="give --scene=s1=FILE,s2=FILE"):
            parse_scene(text, TWO)
    with pytest.raises(InputError, match="give --scene=s2=FILE"):
        parse_scene("s1=a.tif", ONE)


def test_band_texts():
    assert parse_bands(["s1", " b02", "B8a"], TWO) == {"s1": ["VV", "VH"], "s2": ["B2", "B8A"]}
    assert parse_bands(["b02", "vh", "VV"], TWO) == {"s1": ["VH", "VV"], "s2": ["B2"]}
    assert parse_bands(["s2", "VV"], ONE) == {"s2": [*S2.bands, "VV"]}
    assert parse_bands([], TWO) == {"s1": [], "s2": []}
    with pytest.raises(InputError, match=r"--bands: 'B99' is no band.*s2 = B1,B2"):
        parse_bands(["B1", "B99"], ONE)
    with pytest.raises(InputError, match=r"--bands: B1 beside s1, s2, which stand for all their bands"):
        parse_bands(["s1", "B1", "s2"], TWO)
    few = (S1, S2.with_bands(["B4", "B3", "B2"]))  # a file may hold more than the network takes
    assert parse_bands(["s1", "B1", "B2", "B3", "B4"], few)["s2"] == ["B1", "B2", "B3", "B4"]
    with pytest.raises(InputError, match=r"--bands: B1 is a band of none of s1, s2; name the sensors by themselves"):
        parse_bands(["VV", "VH", "B1", "B2"], few)


AFTER, BEFORE = (
    dataclasses.replace(S2, name=name, bands=bands, display=("R", "G", "B"))
    for name, bands in (("after", ("NIR", "R", "G", "B")), ("before", ("R", "G", "B")))
)
ONE_BAND, TWO_BANDS = (
    dataclasses.replace(S2, name=name, bands=bands, display=("band1",))
    for name, bands in (("b", ("band1",)), ("a", ("band1", "band2")))
)
SAME = [dataclasses.replace(S2, name=name, bands=("B4", "B3", "B2")) for name in ("before", "after")]


@pytest.mark.parametrize("sensors", [(AFTER, BEFORE), (BEFORE, AFTER)])
@pytest.mark.parametrize("words", ["before,after", "after,before", "before,NIR,R,G,B", "R,G,B,after"])
def test_a_sensor_named_by_itself_has_its_own_bands_in_any_order_of_the_sensors(sensors, words):
    found = parse_bands(words.split(","), sensors)
    assert found == {"after": ["NIR", "R", "G", "B"], "before": ["R", "G", "B"]}


@pytest.mark.parametrize(
    ("words", "before", "after"),
    [
        ("before,B3,B2,B4", "B4,B3,B2", "B3,B2,B4"),
        ("before,after", "B4,B3,B2", "B4,B3,B2"),  # what refusals advise
        ("B2,B3,B4", "B2,B3,B4", "B2,B3,B4"),  # once, for both
        ("B3,B2,B4,B3,B2,B4", "B3,B2,B4", "B3,B2,B4"),  # of each the same
        ("before", "B4,B3,B2", ""),
        ("", "", ""),
        ("B4,B4,B4", "B4,B4,B4", "B4,B4,B4"),  # nonsense, which is refused by its number
    ],
)
def test_dates_of_one_sensor_share_a_list_of_bands(words, before, after):
    found = parse_bands(words.split(",") if words else [], SAME)
    assert {name: ",".join(bands) for name, bands in found.items()} == {"before": before, "after": after}


@pytest.mark.parametrize(
    ("words", "sensors", "says"),
    [
        (
            "R,G,B,NIR,R,G,B",
            (AFTER, BEFORE),
            "mean after R,G,B,NIR; before R,G,B, or before R,G,B; after NIR",
        ),
        ("band1,band2,band1", (ONE_BAND, TWO_BANDS), "may mean b band1; a band2,band1, or a band1,band2; b band1"),
        ("B4,B3,B2,B3,B2,B4", SAME, r"may mean before B4,B3,B2; .*name a sensor by itself .*--bands=before,after, or"),
    ],
)
def test_a_list_that_another_order_of_the_sensors_reads_otherwise_is_refused(words, sensors, says):
    for order in (sensors, sensors[::-1]):
        with pytest.raises(InputError, match=says if order is sensors else "may mean"):
            parse_bands(words.split(","), order)


def test_many_dates_are_listed_at_once():
    dates = [dataclasses.replace(SAME[0], name=f"d{number}") for number in range(20)]
    assert set(map(tuple, parse_bands(["B3", "B2", "B4"] * 20, dates).values())) == {("B3", "B2", "B4")}
    with pytest.raises(InputError, match="may mean"):
        parse_bands(["B3", "B2", "B4"] * 19 + ["B2", "B3", "B4"], dates)


def test_a_list_that_only_one_order_fits_is_cut_by_it():
    words = ["R", "B", "G", "R", "NIR", "G", "B"]
    assert parse_bands(words, (AFTER, BEFORE)) == {"before": ["R", "B", "G"], "after": ["R", "NIR", "G", "B"]}


@pytest.fixture
def folder(tmp_path):
    for name in ("s1/b.tif", "s1/a.tif", "s2/a.tif", "s2/b.TIF", "s2/b.txt", "empty/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def test_one_scene_is_one_map(folder):
    (job,) = jobs(f"{folder}/s2/a.tif", ONE, folder / "map.tif")
    assert job.files == {"s2": folder / "s2" / "a.tif"} and job.output == folder / "map.tif"


def test_folders_give_a_map_for_each_name(folder):
    found = jobs(f"s1={folder}/s1,s2={folder}/s2", TWO, folder / "maps")
    assert [job.output for job in found] == [folder / "maps" / "a.tif", folder / "maps" / "b.tif"]
    assert found[1].files == {"s1": folder / "s1" / "b.tif", "s2": folder / "s2" / "b.TIF"}


def test_a_list_gives_a_map_for_each_row(folder):
    listed = folder / "list.csv"
    listed.write_text("s2,note,s1\ns2/a.tif,x,s1/b.tif\ns2/b.TIF,y,s1/a.tif\n", encoding="utf-8-sig")
    found = jobs(str(listed), TWO, folder / "maps")
    assert [job.output.name for job in found] == ["a.tif", "b.tif"]
    assert found[0].files == {"s1": folder / "s1" / "b.tif", "s2": folder / "s2" / "a.tif"}
    assert [job.origin for job in found] == [f"{listed}, line 2", f"{listed}, line 3"]


def test_a_list_is_read_as_spreadsheets_write_it(folder):
    listed = folder / "list.csv"
    listed.write_bytes(b'\xef\xbb\xbfS2 ;Note; S1\r\n s2/a.tif ;x, y;s1/b.tif\r\n;;\r\n"s2/b.TIF";;s1/a.tif\r\n')
    found = jobs(str(listed), TWO, folder / "maps")
    assert [job.files["s1"] for job in found] == [folder / "s1" / "b.tif", folder / "s1" / "a.tif"]
    assert [job.files["s2"] for job in found] == [folder / "s2" / "a.tif", folder / "s2" / "b.TIF"]


def test_numbers_of_a_folder_of_masks_are_not_those_of_polygons(tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("a.tif", "masks/a.gpkg"):
        (tmp_path / name).touch()
    scene, output = str(tmp_path / "a.tif"), tmp_path / "maps" / "a.tif"
    assert jobs(scene, ONE, output, str(masks))[0].mask.path == masks / "a.gpkg"
    with pytest.raises(InputError, match=r"--mask=\S*masks:cloud_high: numbers of polygons; expected a.gpkg alone"):
        jobs(scene, ONE, output, f"{masks}:cloud_high")


def test_a_mask_of_a_list_that_is_missing_is_found_when_its_scene_is_opened(tmp_path):
    (tmp_path / "list.csv").write_text("s2,mask\na.tif,\nb.tif,none.tif:3\n")
    found = jobs(str(tmp_path / "list.csv"), ONE, tmp_path / "maps")
    assert [one.mask and one.mask.path for one in found] == [None, tmp_path / "none.tif"]


def test_what_is_no_scene_is_left_out_of_a_folder(folder, capsys):
    (folder / "s2" / "._a.tif").write_text("")
    (folder / "s2" / "c.tif").mkdir()
    os.mkfifo(folder / "s2" / "d.tif")
    assert [job.output.name for job in jobs(f"{folder}/s2", ONE, folder / "maps")] == ["a.tif", "b.tif"]
    said = capsys.readouterr().out
    assert "c.tif: a folder and no scene; left out" in said and "d.tif: a pipe and no scene; left out" in said
    assert "._a" not in said


def test_a_scene_that_is_there_is_meant_by_its_name(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder / "s2"))
    for name in ("s1=x,s2=y.tif", "list.csv/a.tif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("")
    assert parse_scene("s1=x,s2=y.tif", ONE) == {"s2": pathlib.Path("s1=x,s2=y.tif")}
    assert [job.output.name for job in jobs("list.csv", ONE, folder / "maps")] == ["a.tif"]
    assert parse_scene("s1=~/a.tif,s2=~/b.TIF", TWO)["s1"] == folder / "s2" / "a.tif"


def test_what_does_not_fit_is_refused(folder):
    def write(text):
        path = folder / f"list{len(text)}.csv"
        path.write_text(text)
        return str(path)

    (folder / "s2" / "c.tif").write_text("")
    (folder / "twice").mkdir()
    for name in ("a.tif", "a.jpg"):
        (folder / "twice" / name).write_text("")
    maps = folder / "maps"
    for text, sensors, output, words in (
        (f"s1={folder}/s1,s2={folder}/s2", TWO, maps, "c.tif: .*s1 holds no file of that name"),
        (f"s1={folder}/s1,s2={folder}/s2/a.tif", TWO, maps, "a folder and a file"),
        (f"{folder}/s2", ONE, folder / "s2", "the folder of the scenes"),
        (f"{folder}/s2", ONE, folder / "map.tif", "one file for 3 scenes; expected a folder"),
        (f"{folder}/empty", ONE, maps, "no raster in it; expected files that end in .tif"),
        (f"{folder}/twice", ONE, maps, "a second scene called a "),
        (f"{folder}/no.csv", ONE, maps, "no.csv: no such file"),
        (write(""), ONE, maps, "empty; expected a header s2"),
        (write("image\na.tif\n"), ONE, maps, "no column s2 in the header image; expected s2"),
        (write("s1,s2\na.tif,\n"), TWO, maps, "line 2: an empty cell"),
        (write("s2\nx/a.tif\ny/a.tif\n"), ONE, maps, "csv, line 3: .*y/a.tif: a second scene called a "),
    ):
        with pytest.raises(InputError, match=words) as caught:
            jobs(text, sensors, output)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "s1=https://h.org/a.tif?sig=SECRET",
        "s1=https://h.org/a.tif?sig=a,b=SECRET,s1=https://h.org/a.tif?x=1,SECRET",
        "https://u:SECRET@h.org/a.tif?a,SECRET",
        "https://u:SECRET/SECRET@h.org/a.tif?a,SECRET",
        "S2=https://h.org/a.tif?a,SECRET",
        "s1={folder},s2=https://h.org/a.tif?sig=a,SECRET",
    ],
)
def test_no_line_tells_a_query(tmp_path, monkeypatch, text):
    monkeypatch.setattr(hosts, "_allowed", {})
    hosts.allow("h.org")
    with pytest.raises(InputError, match=r"--scene=.*h\.org/a\.tif.*; (give|expected)") as caught:
        scene_list.listed(text.format(folder=tmp_path), [S1, S2])
    assert "SECRET" not in str(caught.value)
