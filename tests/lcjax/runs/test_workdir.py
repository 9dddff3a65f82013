"""Workdirs: what may change when a run goes on, and runs from before a choice was there."""

import json
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


@pytest.mark.parametrize("model", ["unet", "unet,fusion=s2", "swin_unet", "two_stream_swin"])
def test_a_run_from_before_there_was_a_choice_is_what_it_was(tmp_path, model):
    """Also one that is a cell of the report now."""
    config = dfc2020.get_config(f"model={model},tiny=true")
    assert bool(config.cell) == ("s2" in model)
    begin(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    old = json.loads(path.read_text())
    for key in ("accumulate", "cell", "jitter", "metadata", "recipe", "remat", "resize", "speckle"):
        del old[key]
    for key in ("batch_rule", "layer_decay", "plateau_factor", "plateau_patience", "reference_batch"):
        del old["optimizer"][key]
    old["model"].pop("upsampling", None)
    old["model"].pop("decoder_depths", None)
    path.write_text(json.dumps(old))
    assert json.loads(workdir.read_config(tmp_path).to_json()) == json.loads(config.to_json()) | {"cell": ""}
    workdir.start(tmp_path, config, card_of(config))


def test_a_pre_training_run_from_before_there_were_probes_goes_on(tmp_path):
    config = pretrain.get_config("tiny=true")
    begin(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    old = json.loads(path.read_text())
    del old["probe"]
    path.write_text(json.dumps(old))
    workdir.start(tmp_path, config, card_of(config))
    assert workdir.read_config(tmp_path).probe.to_dict() == {"train": "", "test": ""}


def test_a_damaged_config_is_named(tmp_path):
    config = dfc2020.get_config("model=unet,tiny=true")
    begin(tmp_path, config)
    path = tmp_path / workdir.CONFIG
    path.write_text(path.read_text()[:100])
    for read in (lambda: workdir.read_config(tmp_path), lambda: workdir.start(tmp_path, config, card_of(config))):
        with pytest.raises(InputError, match=rf"{path}: is damaged .*; delete it, and the train command"):
            read()
    path.unlink()
    workdir.start(tmp_path, config, card_of(config))
    assert json.loads(workdir.read_config(tmp_path).to_json()) == json.loads(config.to_json())


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
from configs import dfc2020
from data_pipelines.schema.errors import InputError
from lcjax import workdir
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
