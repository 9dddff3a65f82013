"""Needs Apache Beam. Its DirectRunner starts real worker processes, which import this file for what they read with."""

import dataclasses
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import beam, pipeline, prepare
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Item, Record

FOUR = "--runner=DirectRunner --direct_num_workers=4 --direct_running_mode=multi_processing"
ONE = "--runner=DirectRunner"
HERE = pathlib.Path(__file__)
SPEC = datasets.DATASETS["sample"]


def _contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def workers_import_the_tests(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), str(HERE.parents[2])]))


@pytest.fixture
def small_shards(monkeypatch):
    """More shards than workers: 27 records of the fixture in 14 shards."""
    monkeypatch.setattr(pipeline, "_RECORDS_PER_SHARD", (2, 2))


def test_one_and_four_workers_local_and_beam_write_the_same_bytes(source, tmp_path, small_shards):
    ways = {"one": {"workers": 1}, "four": {"workers": 4}, "beam": {"beam": FOUR}}
    folders = [pipeline.write(SPEC, source, tmp_path / name, **how) for name, how in ways.items()]
    one, four, on_beam = map(_contents, folders)
    assert len([name for name in one if "array_record" in name]) == 14
    assert one == four == on_beam


def _fails(item: Item) -> Record:
    if item.id.endswith("_p7"):
        raise InputError(f"{item.id}: this is wrong; expected better; put it right")
    return SPEC.read(item)


def test_what_a_worker_says_is_handed_on_and_the_rest_is_kept(source, tmp_path, small_shards, capfd):
    with pytest.raises(InputError) as failure:
        pipeline.write(dataclasses.replace(SPEC, read=_fails), source, tmp_path, beam=ONE)
    assert str(failure.value) == "ROIs0000_validation_0_p7: this is wrong; expected better; put it right"
    assert "Traceback" not in capfd.readouterr().err  # it is in the log
    folder = on_disk.folder_of(SPEC.name, SPEC.version, tmp_path)
    assert "_fails" in (on_disk.incomplete(folder) / ".parts" / "beam" / beam.LOG).read_text()
    kept = {path: path.stat().st_ino for path in on_disk.incomplete(folder).glob("*.array_record-*")}
    assert kept
    assert pipeline.write(SPEC, source, tmp_path) == folder
    assert {path: (folder / path.name).stat().st_ino for path in kept} == kept


def _reads_nothing(item: Item) -> Record:
    raise OSError(28, "No space left on device")


def test_other_failures_are_named_with_the_log(source, tmp_path):
    with pytest.raises(InputError, match=r"^--beam: OSError: \[Errno 28\] No space left on device \(/.*/beam\.log\); "):
        next(beam.run(_tasks(source, tmp_path, _reads_nothing), ONE))


def _tasks(source: pathlib.Path, folder: pathlib.Path, read) -> list:
    """One task of two records, as `shards` makes them."""
    from data_pipelines.prepare.shard_writer import PARTS, Layout, Task

    (folder / PARTS).mkdir(exist_ok=True)
    items = tuple(SPEC.index([source])["validation"][:2])
    return [Task(Layout(SPEC.sensors, SPEC.vectors, 16), read, "validation", items, folder / "some.array_record")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--runner=Drect", r"^--beam: ValueError: Unexpected pipeline runner: Drect\. Valid values are .*DirectRunner"),
        (
            "--direct_num_workers=four",
            r"^--beam: argument --direct_num_workers: invalid int value: 'four'; expected",
        ),
        ("--workers=4", r"^--beam: --workers=4 is no option of Apache Beam \d.*; expected for example --beam='--runne"),
        ("DirectRunner", r"^--beam: DirectRunner is no option of Apache Beam"),
    ],
)
def test_options_that_beam_does_not_take(source, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        prepare.prepare("sample", source, tmp_path, beam=options)


def test_relative_paths(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"some\.array_record: expected absolute --source and --data_dir with --beam"):
        next(beam.run(_tasks(source, pathlib.Path(), SPEC.read), ONE))


def test_without_beam(source, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed; run `pip install 'lcjax\[beam\]'`"):
        next(beam.run(_tasks(source, tmp_path, SPEC.read), ONE))


def test_workers_that_do_not_share_the_folder(source, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "_LATE", 0.1)
    monkeypatch.setattr(beam, "_drive", _finishes)
    with pytest.raises(InputError, match=r"some\.array_record: not there, though .* mount at the same path"):
        next(beam.run(_tasks(source, tmp_path, SPEC.read), ONE))


def _finishes(folder: pathlib.Path, options: str) -> None:
    """A job whose workers have written elsewhere."""


def _sleeps(item: Item) -> Record:
    pathlib.Path("reading").touch()
    time.sleep(3600)
    raise AssertionError


_KILLED = """
import pathlib, sys
import test_beam
if __name__ == "__main__":
    source, folder = map(pathlib.Path, sys.argv[1:])
    next(test_beam.beam.run(test_beam._tasks(source, folder, test_beam._sleeps), test_beam.FOUR))
"""


def test_nothing_is_left_running_when_it_is_killed(source, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(_KILLED)
    process = subprocess.Popen([sys.executable, str(script), str(source), str(tmp_path)], cwd=tmp_path)
    while not (tmp_path / "reading").exists():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 30
    while _open_in_some_process(tmp_path / ".parts" / "beam" / beam.LOG):
        assert time.monotonic() < until
        time.sleep(0.1)


def _open_in_some_process(path: pathlib.Path) -> bool:
    links = (link for process in pathlib.Path("/proc").glob("[0-9]*/fd") for link in _links(process))
    return str(path) in links


def _links(folder: pathlib.Path) -> list[str]:
    try:
        return [os.readlink(link) for link in folder.iterdir()]
    except OSError:  # ended meanwhile, or another user's
        return []
