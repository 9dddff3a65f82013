"""Weights of the Hugging Face Hub, from a hub on this machine that answers as the real one does."""

import os
import re
import subprocess
import sys

import numpy as np
import pretend_hub
import pytest
import safetensors.numpy
from huggingface_hub import constants

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from lcjax.weights import files, hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLD = "f" * 40
CONTENT = safetensors.numpy.save({"conv1.weight": np.arange(4, dtype=np.float32)})


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A hub with one repository, organisation/network, of two commits."""
    files = dict.fromkeys(("model.safetensors", "folder/model.safetensors"), CONTENT)
    with pretend_hub.served(monkeypatch, str(tmp_path / "cache")) as state:
        for commit in (OLD, COMMIT):
            state.commit("organisation/network", files, commit)
        state.tags["organisation/network"] = {"v1": OLD}
        yield state


def test_one_file_and_the_commit_that_it_is_of(served):
    path, origin = hub.fetched("hf:organisation/network/model.safetensors")
    assert origin == f"organisation/network/model.safetensors@{COMMIT}"
    assert files.read(path).arrays["conv1.weight"].tolist() == [0, 1, 2, 3]
    assert {line.split()[1] for line in served.asked} == {"/organisation/network/resolve/main/model.safetensors"}
    assert sum(line.startswith("GET") for line in served.asked) == 1

    path, origin = hub.fetched("hf:organisation/network/folder/model.safetensors@v1")
    assert origin == f"organisation/network/folder/model.safetensors@{OLD}"
    assert path.read_bytes() == CONTENT
    # What is told of it fetches it again, and needs no hub, for the cache holds it.
    asked = len(served.asked)
    assert hub.fetched(f"hf:{origin}") == (path, origin)
    assert len(served.asked) == asked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hf:organisation/network/other.bin", "the repository has no such file"),
        ("hf:organisation/network/model.safetensors@v2", "no such branch, tag or commit"),
        ("hf:organisation/nothing/model.safetensors", "the hub has no such repository, or a private one"),
        ("hf:organisation/secret/model.safetensors", "accepted its terms"),
    ],
)
def test_what_the_hub_does_not_have(served, text, said):
    with pytest.raises(InputError, match=f"^config.init={re.escape(text)}: .*{said}.*$"):
        hub.fetched(text)


@pytest.mark.parametrize(
    "text",
    [
        "hf:", "hf:network", "hf:organisation/network", "hf:organisation/network/", "hf:organisation/network/../x",
        "hf:organisation/network/a/../b", "hf:/etc/passwd/x", "hf:o/n/x@", "hf:o/n/x@v1@v2", "hf:o/n/a\nb",
        "hf:http://host/o/n", "hf:o/n//x", "hf:o/n/" + "x" * 300,
    ],
)  # fmt: skip
def test_what_names_no_file_of_a_repository(served, text):
    with pytest.raises(InputError, match="expected hf:ORG/REPO/FILE"):
        hub.fetched(text)
    assert not served.asked


def test_a_file_that_is_too_large_is_not_fetched(served, monkeypatch):
    served.said = limits.WEIGHTS_BYTES + 1
    with pytest.raises(InputError, match="8,589,934,593 bytes; expected at most"):
        hub.fetched("hf:organisation/network/model.safetensors")
    assert not [line for line in served.asked if line.startswith("GET")]


def test_a_file_of_other_bytes_than_were_said(served):
    served.said = len(CONTENT) + 10
    with pytest.raises(InputError, match=r"cannot be fetched \(.*\); try again"):
        hub.fetched("hf:organisation/network/model.safetensors")


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"pip install 'lcjax\[hub\]'"):
        hub.fetched("hf:organisation/network/model.safetensors")


def test_without_network(served, monkeypatch):
    """Another address than the one that was made answers nobody; what the cache holds is found all the same."""
    path, origin = hub.fetched("hf:organisation/network/model.safetensors")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.fetched("hf:organisation/network/model.safetensors") == (path, origin)
    with pytest.raises(InputError, match="the hub cannot be reached, and the cache does not hold the file"):
        hub.fetched("hf:organisation/network/folder/model.safetensors")


def test_nothing_is_imported_of_it_where_it_is_not_asked_for():
    code = "import sys, lcjax.weights.hub; assert 'huggingface_hub' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=60)
