"""Files that torch itself has written, as torch.load(weights_only=True) and as lcjax reads them."""

import argparse
import collections
import io
import pickletools
import zipfile

import numpy as np
import pytest
import torch
import torch_files

from data_pipelines.schema.errors import InputError
from lcjax.weights import files

TYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64),
)
WAYS = [(is_zip, protocol) for is_zip in (True, False) for protocol in (2, 3, 4, 5)]
ways = pytest.mark.parametrize(("is_zip", "protocol"), WAYS)


def saved(value, folder, is_zip=True, protocol=2):
    path = folder / "weights.pth"
    torch.save(value, path, _use_new_zipfile_serialization=is_zip, pickle_protocol=protocol)
    return path


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """Of bfloat16, which numpy does not know to torch, the bits."""
    tensor = tensor.detach().contiguous()
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_equal(arrays, tensors):
    assert arrays.keys() == tensors.keys()
    for name, tensor in tensors.items():
        found = arrays[name]
        assert found.dtype.name == str(tensor.dtype).removeprefix("torch."), name
        bits = found.view(np.int16) if found.dtype.name == "bfloat16" else found
        np.testing.assert_array_equal(bits, numbers(tensor), err_msg=name)


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 4))
    network.tied = network[2]
    return network


@ways
def test_types_and_views(tmp_path, is_zip, protocol):
    base = torch.randn(4, 6)
    tensors = {str(dtype): (base * 9).abs().to(dtype) for dtype in TYPES}
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    tensors |= {"turned": base.T, "part": base[1:3, ::2], "one": base[3, 5], "none": base[:0], "same": base}
    tensors |= {"expanded": base[:1].expand(5, 6), "channels last": images}
    assert_equal(files.read(saved(tensors, tmp_path, is_zip, protocol)).arrays, tensors)


@ways
def test_a_checkpoint_with_its_optimiser(tmp_path, is_zip, protocol):
    network = model()
    optimiser = torch.optim.AdamW(network.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [30, 60])
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimiser.step()
    states = {"state_dict": network.state_dict(), "optimizer": optimiser.state_dict()}
    path = saved(
        {"epoch": 3, "arch": "resnet50", **states, "schedule": schedule.state_dict(), "seed": torch.get_rng_state()},
        tmp_path, is_zip, protocol,
    )  # fmt: skip
    loaded = torch.load(path, weights_only=protocol == 2)  # it warns of others
    expected = {f"state_dict.{name}": tensor for name, tensor in loaded["state_dict"].items()}
    for number, moments in loaded["optimizer"]["state"].items():
        expected |= {f"optimizer.state.{number}.{name}": tensor for name, tensor in moments.items()}
    weights = files.read(path)
    assert_equal(weights.arrays, expected | {"seed": loaded["seed"]})
    assert weights.metadata["epoch"] == "3" and weights.metadata["arch"] == "resnet50"


@ways
def test_parameters_and_whole_dictionaries(tmp_path, is_zip, protocol):
    network = model()
    assert_equal(files.read(saved(network.state_dict(), tmp_path, is_zip, protocol)).arrays, network.state_dict())
    named = dict(network.named_parameters())
    assert_equal(files.read(saved(named, tmp_path, is_zip, protocol)).arrays, named)


@ways
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("value", [model, lambda: {"args": argparse.Namespace(a=1)}, lambda: {"x": np.float64(1)}])
def test_what_weights_only_refuses_is_refused(tmp_path, is_zip, protocol, value):
    path = saved(value(), tmp_path, is_zip, protocol)
    with pytest.raises(Exception, match=r"weights_only|Weights only|Unsupported"):
        torch.load(path, weights_only=True)
    with pytest.raises(InputError, match="which is no plain tensor, and nothing in a file is run"):
        files.read(path)


def _written(content: bytes) -> list:
    """The instructions of a pickle."""
    return [(code.name, argument) for code, argument, _ in pickletools.genops(content)]


def test_the_stand_ins_write_what_torch_writes(tmp_path):
    """tests/torch_files.py, with which `make test` tries what torch is not there to write."""
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    theirs = collections.OrderedDict(a=tensor, b=torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)))
    ours = collections.OrderedDict(
        a=torch_files.tensor(tensor.numpy()),
        b=torch_files.parameter(np.ones(2, files.read(saved({"b": theirs["b"]}, tmp_path)).arrays["b"].dtype)),
    )
    with zipfile.ZipFile(saved(theirs, tmp_path)) as archive:
        written = archive.read("weights/data.pkl")
        names = {name.removeprefix("weights/") for name in archive.namelist()}
    made = torch_files.members(ours)
    assert _written(made["archive/data.pkl"]) == _written(written)
    assert {name.removeprefix("archive/") for name in made} <= names
    assert_equal(files.read(_kept(tmp_path, torch_files.zipped(ours))).arrays, theirs)
    for content in (torch_files.zipped(ours), torch_files.legacy(ours)):
        loaded = torch.load(io.BytesIO(content), weights_only=True)
        assert all(torch.equal(loaded[name], theirs[name]) for name in theirs)


def _kept(folder, content: bytes):
    path = folder / "made.pth"
    path.write_bytes(content)
    return path
