"""What is set for CPUs before JAX begins, and that nothing of the user's is changed."""

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
    assert cpu.told({"XLA_FLAGS": f"--other {FLAG}"}) == f"XLA_FLAGS: {FLAG}"
    assert cpu.told({}) == "XLA_FLAGS: nothing for CPUs"
