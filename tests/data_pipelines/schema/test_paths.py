"""Paths that users give mean what they mean in a shell, or are refused in one line."""

import os
import pathlib

import pytest
from any_names import LETTERS, possible
from hypothesis import given, settings

from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError


@pytest.fixture
def home(tmp_path, monkeypatch):
    home, here = tmp_path / "home [1]", tmp_path / "here"
    for folder in (home, here):
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    return home


def test_a_tilde_is_the_home_folder(home):
    assert paths.given("~", "--x") == home
    assert paths.given("~/runs/a", "--x") == paths.given(pathlib.Path("~/runs/a"), "--x") == home / "runs" / "a"
    assert paths.given(f"~{os.environ.get('USER', 'root')}", "--x").is_absolute()
    assert paths.given("a/~/b", "--x") == pathlib.Path("a/~/b")
    assert paths.given("~/a.tif", "LIST.csv, line 2", home / "list") == home / "a.tif"
    assert paths.given("a.tif", "LIST.csv, line 2", home / "list") == home / "list" / "a.tif"


def test_real_is_the_same_from_what_was_found_of_folders(home):
    pathlib.Path("x/sub").mkdir(parents=True)
    pathlib.Path("x/a").touch()
    for link, target in (("x/b", "a"), ("y", "x/sub"), ("x/loop", "loop")):
        pathlib.Path(link).symlink_to(target)
    folders: dict = {}
    for text in ("x/a", "x/b", "y/c", "x/none", "x/loop", "y/..", ".", "x/../x/a", "/", "y/../a"):
        path = pathlib.Path(text)
        assert paths.real(path, folders) == paths.real(path) == pathlib.Path(os.path.realpath(text)), text
    assert len(folders) < 8


def test_a_folder_that_is_called_so_is_meant_by_its_path(home):
    found = paths.given("./~/x", "--x")
    assert found == pathlib.Path.cwd() / "~" / "x"
    assert paths.given(found, "--x") == found  # twice is as once
    below = pathlib.Path("scenes")
    below.mkdir()
    (below / "~town.tif").touch()
    assert paths.given("~town.tif", "LIST.csv, line 2", below) == below / "~town.tif"
    assert paths.given("./~town.tif", "LIST.csv, line 2", below) == below / "~town.tif"
    pathlib.Path("~scene.tif").touch()
    assert paths.given("~scene.tif", "--x") == pathlib.Path.cwd() / "~scene.tif"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "--x='': empty; expected a path"),
        (" ", "--x=' ': empty"),
        (None, "--x=None: expected a path"),
        (3, "--x=3: expected a path"),
        (b"runs", "expected a path"),
        ("~nobody_of_this_name/x", "there is no user 'nobody_of_this_name'"),
        ("gs://bucket/x", "--x=gs://bucket/x: buckets are not opened; mount it and name the folder"),
        (pathlib.Path("s3://bucket/x"), "--x=s3:/bucket/x: buckets are not opened"),
        ("https://example.org/x.tif", "addresses are not opened; download it"),
        ("a\0b", "holds '\\x00'; expected a path without control characters"),
        ("a\nb", "holds '\\n'"),
        ("a\udcffb", "not UTF-8; rename it"),
        ("a/" + "é" * 128 + "/b", "a name of 256 bytes; expected at most 255"),
        ("abc/" * 1100, "a path of 4,400 bytes; expected at most 255, and 4,095 in all"),
    ],
)
def test_what_is_no_path_is_refused_in_one_line(home, text, words):
    with pytest.raises(InputError) as caught:
        paths.given(text, "--x")
    assert words in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_paths_that_hold_commas(home):
    for name in ("a,b", "c", "a"):
        pathlib.Path(name).mkdir()
    assert paths.several("a,b", "--x") == ["a,b"]
    assert paths.several("c,a,b,d", "--x") == ["c", "a,b", "d"]
    assert paths.several("d,e, ,", "--x") == ["d", "e"]
    assert paths.several(["a,b", "c"], "--x") == ["a,b", "c"]
    assert paths.several(None, "--x") == []


def test_what_is_there_is_no_pattern(home):
    for name in ("run [1]/a", "run [1]/b", "run 1/c", "a*.tif", "ab.tif"):
        pathlib.Path(name).mkdir(parents=True)
    (home / "runs" / "x").mkdir(parents=True)
    for pattern, names, wild in (
        ("run [1]", ["run [1]"], False),
        ("run [1]/*", ["run [1]/a", "run [1]/b"], True),
        ("run [12]/*", ["run 1/c"], True),
        ("a*.tif", ["a*.tif"], False),
        ("[a]*.tif", ["a*.tif", "ab.tif"], True),
        ("~/runs/*", [str(home / "runs" / "x")], True),
        ("**/c", ["run 1/c"], True),
        ("nowhere", ["nowhere"], False),
        ("nowhere*", [], True),
    ):
        assert paths.matching(pattern, "--x") == ([pathlib.Path(name) for name in names], wild), pattern


def test_any_name_is_taken_as_it_stands_or_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(LETTERS.filter(possible))
    def check(name):
        try:
            found = paths.given(tmp_path / name, "--x")
        except InputError as error:
            assert len(str(error).splitlines()) == 1
            long = len(name.encode(errors="replace")) > paths.NAME_BYTES
            assert long or any(ord(x) < 32 or ord(x) == 127 or 0xD800 <= ord(x) < 0xE000 for x in name)
            return
        assert found == tmp_path / name and paths.given(found, "--x") == found
        if not found.exists():
            found.touch()
        try:
            assert paths.matching(str(found), "--x") == ([found], False)
            assert paths.several(f"{found},{found}", "--x") == [str(found)] * 2
        finally:
            found.unlink()

    check()


def test_a_link_that_leads_to_itself_is_where_it_stands(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    assert paths.real(tmp_path / "loop" / "x") == tmp_path / "loop" / "x"
    assert paths.real(tmp_path / "b" / "x") == tmp_path / "a" / "x"
