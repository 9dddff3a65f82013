"""What is set for CPUs before JAX begins, and that nothing of the user's is changed."""

import ctypes
import importlib.metadata
import importlib.util
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


def test_what_is_set_is_told():
    kept, left = (f"memory of a training step: {how}" for how in ("kept for the next", "left to the C library"))
    here = {"JAX_PLATFORMS": "cpu"}
    assert cpu.told(here | {"XLA_FLAGS": f"--other {FLAG}"}) == f"XLA_FLAGS: {FLAG}; {kept}"
    assert cpu.told(here) == f"XLA_FLAGS: nothing for CPUs; {kept}"
    others = {"MALLOC_ARENA_MAX": "4", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    assert cpu.told(here | others).endswith(kept)
    for given in (
        {"MALLOC_TRIM_THRESHOLD_": "1"},
        {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_max=8"},
        {"JAX_CPU_ENABLE_ASYNC_DISPATCH": "1"},
    ):
        assert cpu.told(here | given).endswith(left), given


FAULTS = """
import os, resource
from lcjax.parallel import cpu
cpu.keep_memory(os.environ)
import jax, jax.numpy as jnp
# An array of 256 MB between two that are small.
step = jax.jit(lambda x: jnp.outer(x, x) @ x)
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(jnp.ones(8192)).block_until_ready()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(4)][-1])
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_step_takes_the_memory_of_the_one_before():
    environment = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    pages = 4 * 8192**2 // 4096
    assert int(done.stdout) < pages / 100
