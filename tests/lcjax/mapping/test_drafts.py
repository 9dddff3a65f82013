"""Maps in the making go on where they were, and are published whole, killed anywhere."""

import os
import shutil

import numpy as np
import pytest
from test_map_writer import PLAN, draft

from data_pipelines.schema.errors import InputError
from lcjax.mapping import drafts
from lcjax.mapping.scene_files import SceneFiles


def test_a_draft_goes_on_at_the_last_boundary_and_reads_back(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (8, 2, 4)).astype(np.uint8)
    output = tmp_path / "map.tif"
    with draft(output) as first:
        assert first.done == 0 and not first.continued
        first.append(rows[:3])
        first.append(rows[3:5])  # a kill in the middle of a strip
    with draft(output) as second:
        assert second.done == 3 and second.continued
        second.append(rows[3:])
        np.testing.assert_array_equal(second.read(0, 8), rows)
        np.testing.assert_array_equal(second.read(2, 7), rows[2:7])
    with (output.with_name(".map.tif.draft") / "rows").open("ab") as file:
        file.truncate(6 * 8 - 1)  # the last byte of row 6 never reached the disk
    with draft(output) as third:
        assert third.done == 3


@pytest.mark.parametrize("other", [{"plan": PLAN | {"network": "c"}}, {"layers": 1}, {"width": 5}])
def test_a_draft_of_something_else_is_begun_anew(tmp_path, other):
    with draft(tmp_path / "map.tif") as first:
        first.append(np.ones((6, 2, 4), np.uint8))
    with draft(tmp_path / "map.tif", **other) as second:
        assert second.done == 0 and not second.continued


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 2, "files": 3}', '{"schema_version": 1}'])
def test_a_plan_that_cannot_be_read_begins_anew(tmp_path, text):
    with draft(tmp_path / "map.tif") as first:
        first.append(np.ones((6, 2, 4), np.uint8))
    (tmp_path / ".map.tif.draft" / "plan.json").write_text(text)
    with draft(tmp_path / "map.tif") as second:
        assert second.done == 0


def test_a_draft_of_a_scene_that_has_changed_is_begun_anew(tmp_path):
    path = tmp_path / "scene.tif"

    def done(text: str, time: int, rows=0) -> int:
        path.write_text(text)
        os.utime(path, ns=(time, time))
        with draft(tmp_path / "map.tif", scene=SceneFiles.of([path])) as made:
            before = made.done
            made.append(np.ones((rows, 2, 4), np.uint8))
        return before

    assert [done("a", 1, 6), done("a", 1), done("a", 2)] == [0, 6, 6]  # touched, or copied with all that it holds
    assert done("b", 2) == 6  # size and time are those of before, so it is not looked into
    assert done("b", 3) == 0 and done("ab", 3) == 0


def publish(output, names, replaced=(), text="new"):
    with draft(output) as made:
        for name in names:
            (made.files / name).write_text(text)
        made.publish(names, replaced)


def test_published_files_are_whole_or_stay_where_they_are(tmp_path):
    output = tmp_path / "map.tif"
    output.write_text("old")
    with draft(output) as made:
        (made.files / "map.qml").write_text("new")
        (made.files / "map.tif").write_text("")
        for names in (["map.tif", "map.qml"], ["map.tif", "map.png"]):
            with pytest.raises(OSError, match=r"map\.tif is empty|map\.png|No such file"):
                made.publish(names)
    assert output.read_text() == "old" and not (tmp_path / "map.qml").exists()


def test_no_map_stands_beside_the_files_of_another_wherever_it_is_killed(tmp_path, monkeypatch):
    """Each removal and each move is in its turn the last; whoever comes next finishes it, whatever he wants to map."""
    whole = tmp_path / "whole"
    names = ["map.tif", "map.qml", "map_confidence.tif"]
    replaced = ["map.tif", "map.qml", "map.json"]
    last = 0
    while True:
        shutil.rmtree(whole, ignore_errors=True)
        whole.mkdir()
        for name in (*replaced, "map.txt"):
            (whole / name).write_text("old")
        left = last

        def counted(do):
            def step(*arguments, **options):
                nonlocal left
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
                return do(*arguments, **options)

            return step

        killed = False
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", counted(os.replace))
            patched.setattr(drafts.pathlib.Path, "unlink", counted(drafts.pathlib.Path.unlink))
            patched.setattr(drafts.shutil, "rmtree", counted(shutil.rmtree))
            try:
                publish(whole / "map.tif", names, replaced)
            except KeyboardInterrupt:
                killed = True
        there = {path.name: path.read_text() for path in whole.iterdir() if path.is_file()}
        if "map.tif" in there:
            sidecars = {there.get("map.qml", ""), there.get("map_confidence.tif", "")} - {""}
            assert sidecars <= {there["map.tif"]} and ("map.json" in there) == (there["map.tif"] == "old")
        if not killed:
            break
        began = (whole / ".map.tif.draft" / "publish.json").exists()
        assert drafts.names_on_the_way(whole / "map.tif") == (frozenset(names) if began else frozenset())
        with draft(whole / "map.tif", plan=PLAN | {"network": "c"}):
            there = {path.name: path.read_text() for path in whole.iterdir() if path.is_file()}
        moved = began or there["map.tif"] == "new"
        new = dict.fromkeys(names, "new") if moved else dict.fromkeys(replaced, "old")
        assert there == new | {"map.txt": "old"}
        last += 1
    assert last > 8
    assert there == dict.fromkeys(names, "new") | {"map.txt": "old"}
    assert not (whole / ".map.tif.draft").exists()


@pytest.mark.parametrize("name", ["plain.tif", "plan.tif", "rows.tif", "lock.tif", "files.tif", "publish.tif"])
def test_no_name_of_a_map_is_one_of_the_draft(tmp_path, name):
    stem = name.removesuffix(".tif")
    names = [name, f"{stem}.json", f"{stem}.qml"]
    publish(tmp_path / name, names)
    assert sorted(os.listdir(tmp_path)) == sorted(names)


@pytest.mark.parametrize(
    "fields",
    [
        '"files": ["map.tif", "../map.x"], "replaced": []',
        '"files": ["map.tif"], "replaced": ["/etc/map"]',
        '"files": ["map.tif"], "replaced": ["other"]',
        '"files": ["map.qml"], "replaced": []',
        '"files": 3, "replaced": []',
        '"files": ["map.tif", 4], "replaced": []',
    ],
)
def test_what_is_to_be_published_is_beside_the_map(tmp_path, fields):
    folder = drafts.folder_of(tmp_path / "map.tif")
    folder.mkdir()
    (folder / "publish.json").write_text('{"schema_version": 2, ' + fields + "}")
    with (
        pytest.raises(InputError, match=r"publish\.json: .*delete this folder") as caught,
        draft(tmp_path / "map.tif"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_one_at_a_time_and_nothing_stays_that_holds_nothing(tmp_path):
    output = tmp_path / "map.tif"
    with drafts.alone(output):
        assert drafts.is_busy(output)
        busy = r"map\.tif: another process is writing it .*give another --output"
        with pytest.raises(InputError, match=busy), drafts.alone(output):
            pass
    assert not os.listdir(tmp_path) and not drafts.is_busy(output)
    with draft(output) as made:
        made.append(np.ones((3, 2, 4), np.uint8))
    assert sorted(os.listdir(tmp_path / ".map.tif.draft")) == ["files", "plan.json", "rows"]


def test_whose_folder_it_is(tmp_path):
    folder = tmp_path / ".map.tif.draft"
    assert not drafts.is_foreign(folder)
    with draft(tmp_path / "map.tif"):
        pass
    assert not drafts.is_foreign(folder)
    (folder / "thesis.txt").touch()
    assert drafts.is_foreign(folder)
    (tmp_path / "file").touch()
    assert drafts.is_foreign(tmp_path / "file")
