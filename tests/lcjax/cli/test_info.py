"""`lcjax info`: this machine, the lists of names, configs in full, and what folders hold."""

import dataclasses
import importlib.metadata
import json
import re
import sys

import jax
import pytest
from finished import make_run
from networks import card_of

from lcjax.cli.inventory import choices, environment
from lcjax.configs import base, dfc2020
from lcjax.runs import workdir


def test_this_machine(command):
    code, out, err = command("info")
    assert (code, err) == (0, [])
    assert f"  jax {importlib.metadata.version('jax')}\n" in out
    assert f"  {jax.device_count()} x cpu (cpu)\n" in out
    assert re.search(r"host: \d+ cores, [\d.]+ GiB of memory \([\d.]+ free\)", out)
    extras = re.findall(r"^  (\w+) +(?:there|missing)", out, re.MULTILINE)
    assert extras == importlib.metadata.metadata("lcjax").get_all("Provides-Extra")


def test_check_says_what_to_do(command, monkeypatch):
    missing = {"": ["jax>=99"], "beam": ["apache-beam>=2.77"]}
    monkeypatch.setattr(environment, "_missing", lambda extra: missing.get(extra, []))
    monkeypatch.setattr(environment.glob, "glob", lambda pattern: ["/dev/nvidia0"] if "nvidia" in pattern else [])
    code, out, err = command("info", "--check")
    assert code == 2
    assert "  for beam: pip install 'lcjax[beam]' (apache-beam>=2.77)\n" in out
    assert "  jax>=99: is needed; pip install 'jax>=99'\n" in out
    assert "  /dev/nvidia0: is there, and JAX computes on cpu; unset JAX_PLATFORMS=cpu\n" in out
    assert err == ["lcjax info: 2 of the things checked do not work, as told above"]
    monkeypatch.delenv("JAX_PLATFORMS")
    assert "pip install 'lcjax[cuda]'" in command("info", "--check")[1]


def test_check_of_what_is_whole(command, monkeypatch):
    monkeypatch.setattr(environment.glob, "glob", lambda pattern: [])
    code, out, err = command("info", "--check")
    assert (code, err) == (0, [])
    assert out.endswith("  what lcjax needs is there, and the devices compute\n")


def test_requirements_that_are_not_met(monkeypatch):
    """Of a requirement with an extra, what that extra needs counts, too."""
    versions = {"lcjax": "1.0", "old": "1.9", "new": "2.0", "with_extra": "3.0"}
    needs = {
        "lcjax": [
            "old>=2",
            "new>=2",
            "absent>=1; extra == 'more'",
            "with_extra[fast]>=3; extra == 'fast'",
            "x; python_version < '3'",
        ],
        "with_extra": ["new", "engine==7; extra == 'fast'"],
    }

    def version(package):
        if package not in versions:
            raise importlib.metadata.PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(environment.metadata, "version", version)
    monkeypatch.setattr(environment.metadata, "requires", needs.get)
    assert {extra: environment._missing(extra) for extra in ("", "more", "fast")} == {
        "": ["old>=2"],
        "more": ["absent>=1"],
        "fast": ["engine==7"],
    }


@pytest.mark.parametrize("kind", choices.KINDS)
def test_lists(command, kind):
    code, out, err = command("info", kind)
    assert (code, err) == (0, [])
    lines = out.splitlines()[1:]
    patterns = ["rasters/NAME"] if kind == "datasets" else []
    assert [line.split()[0] for line in lines] == [*patterns, *choices.names(kind)]
    assert all(len(line.split()) > 3 for line in lines)


def test_lists_hold_what_packages_bring_along(command, monkeypatch, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "tasks.py").write_text('class Depth:\n    """Heights from pictures."""\n')
    (tmp_path / "theirs" / "broken.py").write_text("raise RuntimeError('no')\n")
    monkeypatch.syspath_prepend(tmp_path)
    points = [
        importlib.metadata.EntryPoint("depth", "theirs.tasks:Depth", "lcjax.tasks"),
        importlib.metadata.EntryPoint("broken", "theirs.broken:Task", "lcjax.tasks"),
    ]
    monkeypatch.setattr(
        "data_pipelines.schema.plugins.metadata.entry_points", lambda group: points if group == "lcjax.tasks" else []
    )
    code, out, _ = command("info", "tasks")
    assert code == 0
    assert re.search(r"^  depth +Heights from pictures. \[theirs\]$", out, re.MULTILINE)
    assert re.search(r"^  broken +does not work: .*theirs.broken cannot be imported", out, re.MULTILINE)


@pytest.mark.parametrize("word", ["dfc2020:model=swin_unet,tiny=true", "configs/dfc2020.py:model=swin_unet,tiny=true"])
def test_a_config_in_full(command, word):
    code, out, err = command("info", word)
    assert (code, err) == (0, [])
    shown, _, fields = out.partition("fields:\n")
    assert [line.strip().split("=")[0] for line in shown.splitlines() if line.startswith("  ")] == list(
        dfc2020.ARGUMENTS
    )
    config = base.flat(dfc2020.get_config("model=swin_unet,tiny=true"))
    assert sorted(line.split()[0] for line in fields.splitlines()) == sorted(config)
    assert re.search(r"^  batch_size +8 +int +examples of one step", fields, re.MULTILINE)
    assert re.search(r"^  model.depths +\(1, 2, 1\) +tuple +blocks in each stage of the encoder$", fields, re.MULTILINE)
    order = [line.split()[0] for line in fields.splitlines()]
    assert order.index("crop") < order.index("model.name") < order.index("fusion") < order.index("total")


@pytest.fixture
def run(tmp_path):
    """A workdir as a training run leaves it, but for the arrays."""
    config = dfc2020.get_config("model=unet,data=sample,tiny=true,init=runs/pretrain,freeze=encoder")
    folder = tmp_path / "runs" / "unet"
    alike = {"id": "a", "class_pixels": {"1": 9}, "warnings": []}
    splits = {
        "train": {"spec": "validation[:80%]", "records": 6400} | alike,
        "test": {"spec": "test", "records": 986} | alike,
    }
    workdir.write(folder, config, dataclasses.replace(card_of(config), splits=splits))
    for kind, step in (("last", 8), ("last", 12), ("best", 8)):
        (folder / "checkpoints" / kind / str(step)).mkdir(parents=True)
    rows = [
        {"step": 12, "split": "train", "loss": 0.5},
        {"step": 8, "split": "validation", "OA": 0.5, "IoU/water": 0.25},
    ]
    (folder / workdir.METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    make_run(folder, 0, scores={"mIoU_8": 0.125, "IoU/a": 0.0}, baseline=True)
    return folder


def test_a_workdir(command, run):
    code, out, err = command("info", str(run))
    assert (code, err) == (0, [])
    assert out.splitlines()[0] == f"{run}: a training run (segmentation)"
    said = dict(re.findall(r"^  (\w+(?: \w+)?) +(.+)$", out, re.MULTILINE))
    assert said["network"] == "unet, fusion early, init runs/pretrain, frozen: encoder"
    assert said["last"] == "checkpoint of step 12"
    assert said["best"] == "checkpoint of step 8"
    assert said["validation"] == "step 8: OA 0.5000"
    assert said["train"] == "6,400 records of validation[:80%]"
    assert out.endswith("  test        mIoU_8 0.1250 (lcjax evaluate)\n")
    assert "Forest" in said["classes"] and said["classes"].startswith("8 of dfc2020")
    assert "bands       s2: B1" in out


def test_a_folder_of_runs(command, run):
    _, out, _ = command("info", str(run.parent))
    assert f"{run}: a training run" in out


def test_what_a_folder_names_is_not_imported(command, run, tmp_path, monkeypatch):
    (tmp_path / "nobodys.py").write_text("raise SystemExit('was run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = run / workdir.CONFIG
    config = json.loads(path.read_text())
    config["task"] = config["dataset"] = config["model"]["name"] = "nobodys:anything"
    path.write_text(json.dumps(config))
    code, out, _ = command("info", str(run), "--allow_plugins=nobodys")
    assert code == 0
    assert "nobodys:anything" in out
    assert "nobodys" not in sys.modules


def test_a_prepared_data_set_and_a_folder_of_them(command, data_dir):
    code, out, err = command("info", str(data_dir))
    assert (code, err) == (0, [])
    (folder,) = data_dir.glob("sample/*")
    assert command("info", str(folder))[1] == out
    assert out.startswith(f"{folder}: the data set sample {folder.name}, prepared (")
    assert "\n  partitions  reference" in out
    for split, records in (("validation", 8), ("test", 4), ("unlabelled", 8)):
        assert re.search(rf"^  {split} +{records} records$", out, re.MULTILINE)
    assert "bands       s1: VV, VH\n" in out
    assert re.search(r"legend +dfc2020, \d+ classes: Forest", out)


def test_files_that_cannot_be_read_are_named(command, run):
    def refused(says):
        code, _, err = command("info", str(run))
        assert code == 2 and says in err[0], err

    (run / "evaluation" / "test" / "metrics.json").write_text('{"schema_version": 99}')
    refused("metrics.json: schema_version 99, and this lcjax reads 2")
    (run / "config.json").write_text("{")
    refused("config.json: cannot be read as JSON")
    (run / "config.json").rename(run / "description.json")
    (run / "description.json").write_text('{"schema_version": 3}')
    refused("description.json: name: missing")
