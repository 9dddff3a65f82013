"""Where it runs, in words."""

import types

import jax
import pytest

from data_pipelines.schema.errors import InputError
from lcjax.parallel import devices


def test_cpu_says_why(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(devices, "_NVIDIA", types.SimpleNamespace(exists=lambda: False))
    assert devices.where() == "on CPU, as 8 devices (no GPU or TPU found)"
    monkeypatch.setattr(devices, "_NVIDIA", types.SimpleNamespace(exists=lambda: True))
    assert "pip install 'lcjax[cuda]'" in devices.where()
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "as JAX_PLATFORMS=cpu says" in devices.where()


def test_gpus_are_counted_by_their_kind(monkeypatch):
    gpu = types.SimpleNamespace(platform="gpu", device_kind="NVIDIA H200")
    monkeypatch.setattr(jax, "devices", lambda: [gpu, gpu])
    assert devices.where() == "on 2 x NVIDIA H200"


@pytest.mark.parametrize("error", [RuntimeError("no cuda"), AssertionError()])
def test_a_platform_that_is_not_there_is_refused(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(jax, "devices", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(InputError, match=r"^JAX_PLATFORMS=cuda: JAX finds no such device.*lcjax\[cuda\].*unset"):
        devices.check()
