"""benchmarks/peers/compare.py: turns, ratios, and sides that die; the sides are small scripts here."""

import importlib
import importlib.util
import io
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import pytest

from lcjax.cli import benchmark as benchmark_verb
from lcjax.profiling import benchmark, readable

FOLDER = pathlib.Path(__file__).parents[1] / "benchmarks" / "peers"
SIDE = """
import os, time, sys
import worker
mode = sys.argv[2]
assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
def build():
    if mode == "dead":
        sys.exit("no network")
    print("what libraries print")
    return (lambda: time.sleep(0.001)), 7
worker.serve(build)
"""


@pytest.fixture
def peers(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location("peers_compare", FOLDER / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("cases", None)


def row(ours, theirs, compiled):
    times = {"lcjax": ours, "torch": theirs, "torch_compile": compiled}
    return {"case": "unet", "mode": "forward", "precision": "f32", "batch": 8, "milliseconds": times}


def test_the_ratio_is_to_the_fastest_of_pytorch_round_by_round(peers):
    one = row([[10, 10, 90], [20, 20, 20]], [[30, 30, 30], [30, 30, 30]], [[15, 15, 15], [50, 50, 50]])
    # Medians of the compiled one are 15 and 50, of the eager one 30 and 30: the eager one is faster over both.
    assert peers.ratios(one, "lcjax") == [3.0, 1.5]
    text = peers.table([one])
    assert "533.33 (2.25, 1.50 to 3.00)" in text  # 8 images in 15 ms
    assert peers.table([row([[10]], [[10]], [[20]])]).count("(1.00, 1.00 to 1.00)") == 1


def test_what_was_measured_otherwise_is_measured_anew(peers):
    options = types.SimpleNamespace(batch=8, rounds=2, calls=3)
    one = row([[1, 1, 1]] * 2, [[2, 2, 2]] * 2, [[3, 3, 3]] * 2)
    key = ("unet", "forward", "f32")
    assert peers.is_of(one, key, ("lcjax", "torch"), options)
    assert not peers.is_of(one, ("unet", "forward", "bf16"), ("lcjax",), options)
    assert not peers.is_of(one, key, ("lcjax", "torch_channels_last"), options)
    for field, other in (("rounds", 3), ("calls", 4), ("batch", 64)):
        assert not peers.is_of(one, key, ("lcjax",), types.SimpleNamespace(**vars(options) | {field: other}))


def test_sides_take_turns_in_processes_of_their_own(peers, tmp_path, monkeypatch):
    (tmp_path / "side.py").write_text(f"import sys\nsys.path.insert(0, {str(FOLDER)!r})\n" + SIDE)
    side = peers.Side(str(tmp_path / "side.py"), "a")
    monkeypatch.setattr(peers, "SIDES", {"lcjax": side, "torch": side})
    how = {"output": tmp_path, "batch": 8}
    found = peers.measured("unet", "forward", "f32", ("lcjax", "torch"), **how, rounds=2, calls=3)
    assert found["parameters"] == {"lcjax": 7, "torch": 7}
    assert [[len(times) for times in rounds] for rounds in found["milliseconds"].values()] == [[3, 3], [3, 3]]
    assert min(time for rounds in found["milliseconds"].values() for times in rounds for time in times) >= 1
    assert json.loads(json.dumps(found)) == found
    with pytest.raises(SystemExit, match="ended; what it said stands above"):
        peers.measured("unet", "dead", "f32", ("lcjax",), **how, rounds=1, calls=1)


def test_every_case_and_side_is_there(peers):
    networks = {name: case for name, case in peers.CASES.items() if case.model}
    for case in networks.values():
        assert set(peers.sides(case, "training")) >= {"lcjax", "lcjax_jit", "lcjax_pmap", "torch", "torch_compile"}
        assert not {"lcjax_jit", "lcjax_pmap"} & set(peers.sides(case, "forward"))
    for name, case in peers.CASES.items():
        for mode in peers.modes(case):
            libraries = {side.partition("_")[0] for side in peers.sides(case, mode)}
            assert libraries == {"lcjax", "torch"}, (name, mode)
    assert peers.modes(peers.CASES["unet"]) == ["training", "forward", "scene"]
    assert peers.sides(peers.CASES["swin_unet"], "scene") == ["lcjax_map", "torch_map"]
    assert peers.modes(peers.CASES["sen12ms"]) == ["reading"]
    assert all((FOLDER / side.script).is_file() for side in peers.SIDES.values())
    assert {mode for side in peers.SIDES.values() for mode in side.modes} == set(peers.MODES)


def test_what_is_asked_for_has_a_precision_where_it_computes(peers):
    options = types.SimpleNamespace(
        cases=("swin_t_timm", "flair1"), modes=tuple(peers.MODES), precisions=("f32", "bf16")
    )
    assert list(peers._asked_for(options)) == [
        ("swin_t_timm", "training", "f32"),
        ("swin_t_timm", "training", "bf16"),
        ("swin_t_timm", "forward", "f32"),
        ("swin_t_timm", "forward", "bf16"),
        ("flair1", "reading", ""),
    ]


def test_each_unit_has_a_table_with_the_sides_that_it_has(peers):
    reading = {"case": "flair1", "mode": "reading", "precision": "", "batch": 32}
    reading |= {"milliseconds": {"lcjax_loader": [[1024.0]], "torch_loader": [[4096.0]]}}
    scene = {
        "case": "unet",
        "mode": "scene",
        "precision": "f32",
        "batch": 8,
        "milliseconds": {"torch_map": [[4194.304]]},
    }
    text = peers.table([row([[10]], [[20]], [[40]]), reading, scene])
    assert "| unet | forward, f32 | 800.00 (2.00, 2.00 to 2.00) | 400.00 | 200.00 |" in text  # images
    assert "| flair1 | reading | 500.00 (4.00, 4.00 to 4.00) | 125.00 |" in text  # 16 batches of 32 records
    assert "| unet | scene, f32 | 0.25 |" in text  # 1024 x 1024 pixels in 4.2 s
    assert text.index("Images per second") < text.index("Mpixel per second") < text.index("Records per second")


def test_a_call_is_timed_without_what_goes_before_it(peers, monkeypatch):
    worker = importlib.import_module("worker")
    clock, said = [0.0], []

    def passes(seconds):
        clock[0] += seconds

    monkeypatch.setattr(worker.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(worker.sys, "stdin", io.StringIO("2\n"))
    monkeypatch.setattr(worker, "_say", said.append)
    worker.serve(lambda: (lambda: passes(0.5), 7), before=lambda: passes(32))
    assert said == [{"ready": 65.0, "parameters": 7}, [500.0, 500.0]]


@pytest.fixture
def stand_in(tmp_path) -> dict[str, str]:
    """An environment whose `python` runs nothing, takes down in tmp_path/calls what is asked, and cannot prepare."""
    known = tmp_path / "bin"
    known.mkdir()
    (known / "python").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ncase "$*" in *prepare*) exit 3;; esac\n')
    (known / "python").chmod(0o755)
    return os.environ | {"PATH": f"{known}{os.pathsep}{os.environ['PATH']}"}


def test_the_script_for_a_gpu_ends_in_time_and_measures_once(tmp_path, stand_in):
    script = FOLDER / "gpu.sh"
    shellcheck = pathlib.Path(sys.executable).parent / "shellcheck"
    assert not subprocess.run([shellcheck, script], capture_output=True, text=True).stdout

    def calls():
        found = subprocess.run([script, "out"], cwd=tmp_path, env=stand_in, capture_output=True, text=True)
        assert found.returncode == 1 and "prepared: exit 3" in found.stdout
        lines = (tmp_path / "calls").read_text().splitlines()
        (tmp_path / "calls").unlink()
        return lines, sum(int(number) for number in re.findall(r"of at most (\d+)", found.stdout))

    lines, seconds = calls()
    assert len(lines) == 7 and seconds < 600
    assert f"--output={tmp_path}/out" in lines[1]  # of the folder that it was called in
    assert [line.split()[2] for line in calls()[0]] == ["prepare"]  # what failed alone


def test_what_a_gpu_is_asked_is_understood(peers, monkeypatch, tmp_path, stand_in, command):
    out = tmp_path / "out"
    numbers = {"BATCH": "2", "STEPS": "3", "TINY": ",tiny=true"}
    subprocess.run([FOLDER / "gpu.sh", out], env=stand_in | numbers, capture_output=True)
    commands = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]

    measured = []
    monkeypatch.setattr(benchmark, "benchmark", lambda config, steps: measured.append((config, steps)) or {})
    monkeypatch.setattr(readable, "text", str)
    monkeypatch.setattr(benchmark_verb, "_plot", lambda found, path: None)
    for words in commands:
        if words[:3] == ["-m", "launch", "benchmark"]:
            code, _, lines = command(*words[2:])
            assert code == 0, lines
    assert [(config.model.name, config.batch_size, steps) for config, steps in measured] == [
        ("swin_unet", 2, 3),
        ("resnet50_unet", 2, 3),
    ]
    assert {(config.precision, config.data_dir) for config, _ in measured} == {("bf16", f"{out}/data")}

    beside = []
    monkeypatch.setattr(peers, "measured", lambda *key, **how: beside.append((*key, how)) or row([[1]], [[2]], [[3]]))
    for words in commands:
        if words[0] == "benchmarks/peers/compare.py":
            monkeypatch.setattr("sys.argv", words)
            peers.main()
    assert [key[:4] for key in beside] == [
        ("swin_unet", "training", "bf16", ["lcjax", "torch", "torch_compile"]),
        ("resnet50_unet", "training", "bf16", ["lcjax", "torch_channels_last", "torch_compile"]),
    ]
    assert {key[4]["batch"] for key in beside} == {2}
