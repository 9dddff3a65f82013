"""Weights of the Hugging Face Hub, from a hub on this machine that answers as the real one does."""

import dataclasses
import http.server
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import constants

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from lcjax.weights import files, hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLD = "f" * 40
CONTENT = safetensors.numpy.save({"conv1.weight": np.arange(4, dtype=np.float32)})
REFUSALS = {
    "secret": (401, "GatedRepo"),
    "nothing": (401, "RepoNotFound"),
    "down": (503, ""),
}


@dataclasses.dataclass
class Hub:
    """A hub with one repository, organisation/network, of two commits.

    Attributes:
      url: its address.
      asked: method and path of each request.
      said: bytes that the hub says the file has.
      cut: the bytes after which it ends its answers early.
    """

    url: str = ""
    asked: list[str] = dataclasses.field(default_factory=list)
    said: int = len(CONTENT)
    cut: int | None = None


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A hub, which the library in this process takes for the real one, and a cache of its own."""
    state = Hub()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            if self.path.startswith("/api/"):  # what the library wants to know for itself
                self.send_error(404)
                return
            state.asked.append(f"{self.command} {self.path}")
            _organisation, name, _, revision, file = self.path.lstrip("/").split("/", 4)
            code, said = REFUSALS.get(name, (200, ""))
            commits = {"main": COMMIT, "v1": OLD, COMMIT: COMMIT, OLD: OLD}
            if code == 200 and revision not in commits:
                code, said = 404, "RevisionNotFound"
            elif code == 200 and file not in ("model.safetensors", "folder/model.safetensors"):
                code, said = 404, "EntryNotFound"
            self.send_response(code)
            if said:
                self.send_header("X-Error-Code", said)
            if code == 200:
                self.send_header("X-Repo-Commit", commits[revision])
                self.send_header("ETag", f'"{commits[revision]}-{file.replace("/", "-")}"')
                self.send_header("Content-Length", str(len(CONTENT) if with_body else state.said))
            else:
                self.send_header("Content-Length", "0")
            self.end_headers()
            if with_body and code == 200:
                self.wfile.write(CONTENT[: state.cut])

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", state.url)
    template = f"{state.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


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
