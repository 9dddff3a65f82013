"""What is found below a folder, and what is opened."""

import os

import pytest

from data_pipelines.datasets.rasters import init_csv
from data_pipelines.schema import files, limits
from data_pipelines.schema.errors import InputError


def names(folder):
    return [str(path.relative_to(folder)) for path in files.below(folder)]


@pytest.mark.parametrize("aim", [".", "..", "../elsewhere", "a"])
def test_links_to_folders_are_not_followed_and_said(tmp_path, capsys, aim):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "y.tif").touch()
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    (source / "a" / "x.tif").touch()
    (source / "link").symlink_to(aim)
    assert names(source) == ["a/x.tif"]
    said = capsys.readouterr().out
    assert said.startswith(f"warning: {source}: 1 links to folders are not followed (the first: {source / 'link'} -> ")
    assert names(source) == ["a/x.tif"] and not capsys.readouterr().out  # once


def test_a_folder_that_is_a_link_itself_is_walked_and_links_to_files_are_files(tmp_path, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x.tif").touch()
    (tmp_path / "there" / "z.tif").symlink_to("x.tif")
    (tmp_path / "link").symlink_to("there")
    assert names(tmp_path / "link") == ["x.tif", "z.tif"] and not capsys.readouterr().out


def test_folders_too_deep_are_named(tmp_path):
    here = tmp_path
    for _ in range(limits.FOLDER_DEPTH):
        here = here / "d"
    here.mkdir(parents=True)
    (here / "x.tif").touch()
    assert len(names(tmp_path)) == 1
    (here / "one_more").mkdir()
    with pytest.raises(InputError, match=f"{here}: {limits.FOLDER_DEPTH} folders within each other"):
        names(tmp_path)


def test_init_walks_as_prepare_does(tmp_path, capsys):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.tif").touch()
    (tmp_path / "images" / "up").symlink_to("..")
    pairs, alone = init_csv.find(tmp_path)
    assert len(pairs) == 1 and not alone and "links to folders are not followed" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "missing", "link"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    path = tmp_path / "x"
    make = {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "folder": path.mkdir,
        "missing": lambda: None,
        "link": lambda: path.symlink_to("nothing"),
    }
    make[kind]()
    what = {"missing": "No such file", "link": "No such file"}.get(kind, f"a {kind}; expected a file")
    with pytest.raises(InputError, match=f"^{path}: {what}"):
        files.open_regular(path)
    with pytest.raises(InputError, match=f"^{path}: {what}"):
        files.read_whole(path, 10)


def test_a_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    assert files.read_whole(tmp_path / "x", 5) == b"12345"
    with pytest.raises(InputError, match="larger than 0 MB"):
        files.read_whole(tmp_path / "x", 4)


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "made" / "folder"
    with pytest.raises(KeyboardInterrupt), files.whole_folder(path) as draft:
        (draft / "half").write_text("x")
        raise KeyboardInterrupt
    assert not list(path.parent.iterdir())
    (path.parent / ".folder.draft").mkdir()  # as a kill leaves it
    (path.parent / ".folder.draft" / "half").write_text("x")
    path.mkdir()
    with files.whole_folder(path) as draft:
        (draft / "whole").write_text("x")
    assert [one.name for one in path.parent.rglob("*")] == ["folder", "whole"]
