"""Workdirs: what may change when a run goes on, and what of another version is refused."""

import json
import pathlib
import subprocess
import sys

import launched
import pytest
from networks import card_of

from data_pipelines.schema.errors import InputError
from lcjax.configs import dfc2020, pretrain
from lcjax.runs import workdir


def begin(folder, config):
    """A workdir with what stands for a checkpoint."""
    workdir.start(folder, config, card_of(config))
    (folder / "checkpoints" / "last" / "1").mkdir(parents=True)


def test_a_run_goes_on_with_other_memory_but_not_as_another_run(tmp_path):
    config = dfc2020.get_config("model=unet,tiny=true")
    begin(tmp_path, config)
    config.remat, config.workers = True, 2
    workdir.start(tmp_path, config, card_of(config))
    config.seed = 7
    with pytest.raises(InputError, match=r"holds a run of another config: seed \(there 42, now 7\)"):
        workdir.start(tmp_path, config, card_of(config))


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (3, r"schema_version 3, and this lcjax reads 2; use the newer lcjax that wrote it"),
        (
            0,
            r"schema_version 0; expected 2; put back what it was, or delete it, and the train command of this .*",
        ),
        (
            None,
            r"no schema_version; expected 2; put back what it was, or delete it, and the train command of this .*",
        ),
    ],
)
def test_a_config_of_another_version_is_refused(tmp_path, version, words):
    config = dfc2020.get_config("model=unet,tiny=true")
    begin(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    fields = json.loads(path.read_text())
    assert fields.pop("schema_version") == 2
    assert fields == json.loads(config.to_json()) | {"data_dir": str(pathlib.Path(config.data_dir).absolute())}
    path.write_text(json.dumps(fields if version is None else fields | {"schema_version": version}))
    for read in (lambda: workdir.read_config(tmp_path), lambda: workdir.start(tmp_path, config, card_of(config))):
        with pytest.raises(InputError, match=rf"^{path}: {words}$"):
            read()


def test_a_config_without_a_field_is_refused(tmp_path):
    """No field has a value that runs had before it was there."""
    config = pretrain.get_config("tiny=true")
    begin(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    fields = json.loads(path.read_text())
    del fields["probe"]
    path.write_text(json.dumps(fields))
    with pytest.raises(
        InputError, match=r"config\.json: config: has no field probe.train, probe.test; .*; put back what it was"
    ):
        workdir.start(tmp_path, config, card_of(config))


def test_a_run_that_may_go_on_as_another_says_so(tmp_path, capsys):
    config = dfc2020.get_config("model=unet,tiny=true")
    begin(tmp_path, config)
    config.seed = 7
    workdir.start(tmp_path, config, card_of(config), allow_other_config=True)
    expected = f"{tmp_path}: holds a run of another config: seed (there 42, now 7); it goes on with what is given now"
    assert capsys.readouterr().out == f"warning: {expected}\n"


def test_a_damaged_config_is_named(tmp_path):
    config = dfc2020.get_config("model=unet,tiny=true")
    begin(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    path.write_text(path.read_text()[:100])
    for read in (lambda: workdir.read_config(tmp_path), lambda: workdir.start(tmp_path, config, card_of(config))):
        with pytest.raises(
            InputError,
            match=rf"{path}: cannot be read as JSON .*; put back what it was, or delete it, and the train command",
        ):
            read()
    path.unlink()
    workdir.start(tmp_path, config, card_of(config))
    there = json.loads(workdir.read_config(tmp_path).to_json())
    assert there == json.loads(config.to_json()) | {"data_dir": str(pathlib.Path(config.data_dir).absolute())}


def test_what_was_logged_after_the_checkpoint_is_dropped(tmp_path):
    """An evaluation of the checkpoint's own step too, where the checkpoint does not know of it: it comes again."""
    with workdir.Log(tmp_path, 0, -1) as log:
        for step in (10, 20, 30):
            log.write(step, "train", {"loss": 1.0})
            log.write(step, "validation", {"mIoU_8": 0.5})
    with (tmp_path / workdir.METRICS).open("a") as file:
        file.write('{"step": 40, "spl')
    for evaluated, kept in ((20, [10, 20]), (10, [10])):
        workdir.Log(tmp_path, 20, evaluated).__exit__()
        rows = [json.loads(line) for line in (tmp_path / workdir.METRICS).read_text().splitlines()]
        assert [row["step"] for row in rows if row["split"] == "train"] == [10, 20]
        assert [row["step"] for row in rows if row["split"] == "validation"] == kept


_APART = """
import pathlib, sys
sys.path[:0] = [{root!r}, {tests!r}]
import jax
jax.distributed.initialize({address!r}, 2, int(sys.argv[1]))
from networks import card_of
from lcjax.configs import dfc2020
from data_pipelines.schema.errors import InputError
from lcjax.runs import workdir
config = dfc2020.get_config("model=unet,tiny=true")
try:
    workdir.start(pathlib.Path({folder!r}, sys.argv[1]), config, card_of(config))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("begun", ["", "0", "1"])
def test_a_workdir_that_is_not_shared_is_said(begun, tmp_path):
    """Each process has its own; in one of them there is a run already."""
    if begun:
        begin(tmp_path / begun, dfc2020.get_config("model=unet,tiny=true"))
    child = _APART.format(
        root=str(launched.ROOT),
        tests=str(launched.ROOT / "tests"),
        address=f"localhost:{launched.free_port()}",
        folder=str(tmp_path),
    )
    command = [sys.executable, "-c", child]
    processes = [subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True) for number in (0, 1)]
    said = [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes]
    expected = f"{tmp_path}/1: not the folder for process 1 that it is for process 0; --workdir must be a folder on"
    assert said[1].startswith(expected) and said[0] == f"process 1: {said[1]}"
