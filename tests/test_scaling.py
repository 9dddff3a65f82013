"""The page of compiled steps: kept program by program, made of what is there."""

import contextlib
import importlib.metadata
import math
import pathlib
import runpy
import signal
import subprocess

import jax
import pytest

from lcjax.profiling import aot_compile, topologies

SCRIPT = pathlib.Path(__file__).parent.parent / "benchmarks" / "scaling.py"
# Reads and writes 4 MB: 8 MB at 819 GB/s are 0.00977 ms.
TEXT = """
HloModule jit_step, replica_count=1, num_partitions=256

ENTRY %main (x: f32[1000,1000]) -> f32[1000,1000] {
  %x = f32[1000,1000]{1,0} parameter(0)
  ROOT %y = f32[1000,1000]{1,0} negate(%x)
}
""".strip()


@pytest.fixture
def script(monkeypatch) -> dict:
    monkeypatch.setattr(topologies, "devices", lambda name: [])
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0")
    return runpy.run_path(str(SCRIPT), run_name="imported")


def test_a_program_is_compiled_once_and_its_figures_stand_on_the_page(script, monkeypatch, tmp_path):
    parts = {"arguments": 10**9, "temporary": 3 * 10**9, "outputs": 10**9, "aliased": 10**9, "code": 0}
    monkeypatch.setattr(aot_compile, "compiled", lambda *_: aot_compile.Program(61.0, 197e9, 64e6, parts, TEXT))
    assert "Of 25 programs 0 are compiled so far" in script["page"]({}) and "Not compiled yet." in script["page"]({})
    first = script["CASES"][0]
    second = next(case for case in script["CASES"] if case.config == "swin_unet" and case.setting.remat)
    script["compiled"](first, tmp_path)
    monkeypatch.setattr(
        aot_compile,
        "compiled",
        lambda *_: aot_compile.Program(5.0, memory={"arguments": 0}, refusal="Used 20.00G of 15.75G hbm"),
    )
    script["compiled_apart"](first, tmp_path)  # not again
    script["compiled"](second, tmp_path)
    known = {case: script["read"](case, tmp_path) for case in (first, second)}
    page = script["page"](known)
    # 197 GFLOP at 197 TFLOP/s; the compiler's bytes are eight times those of main memory; 4096 images in 1 ms.
    row = "4.00 of 16.91 | 1.0 | 0.0 (8.0 x) | 0.00 | 1.0 ms, compute | 4,096,000 | none | 61 s"
    assert f"| swin_unet | 4,096 | {row} |" in page
    assert "| swin_unet, remat | 32,768 | **21.47 of 16.91: does not fit** |" in page
    assert f"all parameters trained; jax {jax.__version__}, libtpu 0." in page
    # A third is compiled anew elsewhere.
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.1")
    script["compiled"](script["CASES"][1], tmp_path)
    more = script["page"](known | {script["CASES"][1]: script["read"](script["CASES"][1], tmp_path)})
    assert f"| resnet50_unet (jax {jax.__version__}, libtpu 0.1) | 4,096 |" in more
    assert f"all parameters trained; jax {jax.__version__}, libtpu 0." in more
    assert f"Of {len(script['CASES'])} programs 2 are compiled so far" in page
    assert script["read"](script["CASES"][2], tmp_path) is None


@pytest.mark.parametrize("crashed", [True, False])
def test_a_crash_of_the_compiler_is_told_and_no_other(script, monkeypatch, tmp_path, crashed):
    number = signal.SIGSEGV if crashed else signal.SIGKILL
    monkeypatch.setattr(subprocess, "run", lambda command: subprocess.CompletedProcess(command, -number))
    case = script["CASES"][0]
    with contextlib.nullcontext() if crashed else pytest.raises(subprocess.CalledProcessError):
        script["compiled_apart"](case, tmp_path)
    found = script["read"](case, tmp_path)
    assert bool(found) == crashed
    if found:
        assert "| swin_unet | 4,096 | **the compiler crashed: SIGSEGV** |" in script["page"]({case: found})


def test_every_case_has_its_files(script):
    cases = script["CASES"]
    assert len({case.name for case in cases}) == len(set(cases)) == len(cases)
    for case in cases:
        assert math.prod(map(int, case.topology.split(":")[1].split("x"))) == script["CHIPS"][case.topology]
