"""What is set for CPUs before JAX begins, and that nothing of the user's is changed."""

import importlib.metadata
import importlib.util
import pathlib
import subprocess
import sys

import pytest

from lcjax.parallel import cpu

FLAG = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"


@pytest.fixture(autouse=True)
def tried_version(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.10.2")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, FLAG),
        ({"XLA_FLAGS": "--xla_backend_optimization_level=0"}, f"--xla_backend_optimization_level=0 {FLAG}"),
        ({"XLA_FLAGS": "--xla_cpu_experimental_ynn_fusion_type=dot"}, "--xla_cpu_experimental_ynn_fusion_type=dot"),
        ({"XLA_FLAGS": "flags.txt"}, "flags.txt"),
    ],
)
def test_flag_is_added_to_what_the_user_has_set(given, expected):
    environment = {"JAX_PLATFORMS": "cpu"} | given
    cpu.set_flags(environment)
    cpu.set_flags(environment)  # a child process begins with what its parent has set
    assert environment["XLA_FLAGS"] == expected


def test_another_jaxlib_and_accelerators_are_left_alone(monkeypatch):
    environment = {}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "libtpu")
    cpu.set_flags(environment)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.13.0")
    cpu.set_flags(environment | {"JAX_PLATFORMS": "cpu"})
    assert environment == {}


def test_jax_knows_the_flag_and_computes():
    """Unknown flags would end the process."""
    code = "import lcjax, os, jax.numpy as jnp; print(os.environ.get('XLA_FLAGS'), jnp.ones(3).sum())"
    environment = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "3.0"


@pytest.mark.parametrize(("policy", "begins"), [("always [madvise] never", True), ("[always] madvise never", False)])
def test_program_begins_again_where_large_pages_are_on_request(monkeypatch, tmp_path, policy, begins):
    started = []
    (tmp_path / "enabled").write_text(policy)
    monkeypatch.setattr(cpu, "_POLICY", tmp_path / "enabled")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-B", "-m", "lcjax", "train"])
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr("os.execve", lambda program, words, environment: started.append((words, environment)))
    cpu.begin_with_large_pages()
    assert [words for words, _ in started] == ([sys.orig_argv] if begins else [])
    for _, environment in started:
        assert environment["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
        monkeypatch.setenv("GLIBC_TUNABLES", environment["GLIBC_TUNABLES"])
        cpu.begin_with_large_pages()  # and then it goes on
    assert len(started) == begins


def test_what_is_set_is_told(tmp_path):
    (tmp_path / "enabled").write_text("always [madvise] never")
    assert cpu.told({"XLA_FLAGS": f"--other {FLAG}"}, tmp_path / "enabled")[0] == f"XLA_FLAGS: {FLAG}"
    assert "GLIBC_TUNABLES=glibc.malloc.hugetlb=1 makes" in cpu.told({}, tmp_path / "enabled")[1]
    assert "2 MB" in cpu.told({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}, tmp_path / "enabled")[1]
    assert "the system chooses" in cpu.told({}, pathlib.Path("/nowhere"))[1]


@pytest.mark.parametrize(
    ("words", "is_command"),
    [
        ("python -m lcjax train", True),
        ("python /opt/bin/lcjax train", True),
        ("python -B launch.py train", True),
        ("python - train", False),
        ("python -c import train", False),
        ("python -m memray run -m lcjax train", False),
        ("python -m ipykernel_launcher -f file", False),
        ("python study.py train", False),
    ],
)
def test_only_a_command_of_its_own_is_started_again(monkeypatch, tmp_path, words, is_command):
    started = []
    program = next((word for word in words.split() if word in ("/opt/bin/lcjax", "launch.py", "study.py")), "-")
    (tmp_path / "enabled").write_text("always [madvise] never")
    monkeypatch.setattr(cpu, "_POLICY", tmp_path / "enabled")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "orig_argv", words.split())
    monkeypatch.setattr(sys, "argv", [program, "train"])
    monkeypatch.setattr("os.execve", lambda *given: started.append(given))
    cpu.begin_with_large_pages()
    assert bool(started) is is_command


def test_a_python_that_cannot_be_started_goes_on(monkeypatch, tmp_path):
    (tmp_path / "enabled").write_text("always [madvise] never")
    monkeypatch.setattr(cpu, "_POLICY", tmp_path / "enabled")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "lcjax", "train"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    cpu.begin_with_large_pages()
