"""benchmarks/peers: each network there tells as much as ours, and learns."""

import importlib
import pathlib

import pytest
import torch

FOLDER = pathlib.Path(__file__).parents[2] / "benchmarks" / "peers"
NETWORKS = (
    "unet",
    "resnet50_unet",
    "efficientnet_lite0_unet",
    "swin_unet",
    "swin_upernet",
    "swin_t_timm",
    "swin_t_transformers",
)


@pytest.fixture
def worker(monkeypatch):
    """torch_worker.py, beside its own neighbours."""
    monkeypatch.syspath_prepend(FOLDER)
    torch_worker = importlib.import_module("torch_worker")
    assert [name for name, case in torch_worker.CASES.items() if case.model] == list(NETWORKS)
    return torch_worker


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_tells_as_much_as_ours_and_learns(worker, name):
    case = worker.CASES[name]
    network, count, answer, device, _ = worker.network_of(case, "f32", "eager")
    with torch.inference_mode():
        told = answer(network.eval(), torch.zeros((2, worker.BANDS, case.edge, case.edge), device=device))
    assert told.shape == (2, worker.CLASSES, *((case.edge, case.edge) if not case.patches else ()))
    step, counted = worker._build(case, "training", "f32", 2, "eager")
    step()
    assert counted == count
