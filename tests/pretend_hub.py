"""A Hugging Face hub on this machine: what the library huggingface_hub asks of the real one to fetch and to commit."""

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from huggingface_hub import constants

Files = dict[str, bytes]
REFUSALS = {
    "secret": (401, "GatedRepo"),
    "nothing": (401, "RepoNotFound"),
    "down": (503, ""),
}


@dataclasses.dataclass
class Hub:
    """A hub.

    Attributes:
      url: its address.
      asked: method and path of each request for a file.
      commits: ORG/NAME -> commit -> its files; the newest last.
      tags: ORG/NAME -> other names of commits; "main" is the newest.
      said: bytes that the hub says every file has, where that is not the truth.
      cut: the bytes after which it ends its answers early.
      private: repositories that are.
      loses: names of files that it takes and does not keep.
      uploaded: large files by their SHA-256.
    """

    url: str = ""
    asked: list[str] = dataclasses.field(default_factory=list)
    commits: dict[str, dict[str, Files]] = dataclasses.field(default_factory=dict)
    tags: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    said: int | None = None
    cut: int | None = None
    private: set[str] = dataclasses.field(default_factory=set)
    loses: tuple[str, ...] = ()
    uploaded: Files = dataclasses.field(default_factory=dict)

    def commit(self, repo: str, files: Files, name: str = "") -> str:
        """Adds a commit; returns its name."""
        there = self.commits.setdefault(repo, {})
        name = name or hashlib.sha1(f"{repo} {len(there)}".encode()).hexdigest()
        there[name] = files
        return name

    def newest(self, repo: str) -> Files:
        """The files of the newest commit."""
        return list(self.commits[repo].values())[-1]

    def resolved(self, repo: str, revision: str) -> str:
        """The commit of a branch, a tag or a commit; empty where there is none."""
        known = self.commits.get(repo, {})
        if revision == "main":
            return list(known)[-1] if known else ""
        name = self.tags.get(repo, {}).get(revision, revision)
        return name if name in known else ""


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._file(with_body=False)

    def do_GET(self) -> None:
        if found := re.match(r"/api/models/([^/]+/[^/]+)/tree/([^/?]+)", self.path):
            self._json([self._about(path, content) for path, content in self.hub.newest(found[1]).items()])
        elif found := re.match(r"/api/models/([^/]+/[^/]+)/revision/([^/?]+)", self.path):
            self._json({"id": found[1], "sha": self.hub.resolved(found[1], found[2]), "siblings": []})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)", self.path):
            self._about_repo(found[1])
        elif self.path.startswith("/api/"):  # what the library wants to know for itself
            self._answer(404)
        else:
            self._file(with_body=True)

    def do_PUT(self) -> None:
        content = self._body()
        self.hub.uploaded[hashlib.sha256(content).hexdigest()] = content
        self._answer(200)

    def do_POST(self) -> None:
        body = self._body()
        if self.path == "/api/validate-yaml":
            self._json({"warnings": [], "errors": []})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            code, said = REFUSALS.get(asked["name"], (200, ""))
            if code != 200:
                self._answer(code, {"X-Error-Code": said} if said else {})
                return
            if repo not in self.hub.commits:
                self.hub.private |= {repo} if "private" in (asked.get("visibility"), *asked) else set()
                self.hub.commit(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
            self._json({"url": f"{self.hub.url}/{repo}", "id": repo, "name": repo})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": one["path"], "shouldIgnore": False, "uploadMode": _mode(one["path"])} for one in files]
            self._json({"files": modes})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            to = {one["oid"]: {"upload": {"href": f"{self.hub.url}/upload/{one['oid']}"}} for one in objects}
            self._json({"transfer": "basic", "objects": [one | {"actions": to[one["oid"]]} for one in objects]})
        elif found := re.match(r"/api/models/([^/]+/[^/]+)/commit/", self.path):
            self._commit(found[1], [json.loads(line) for line in body.splitlines()])
        elif found := re.match(r"/api/models/([^/]+/[^/]+)/paths-info/([^/]+)", self.path):
            files = self.hub.commits[found[1]][found[2]]
            self._json([self._about(path, content) for path, content in files.items()])
        else:
            self._answer(404)

    def _about_repo(self, repo: str) -> None:
        if repo in self.hub.commits:
            self._json({"id": repo, "private": repo in self.hub.private, "siblings": []})
            return
        code, said = REFUSALS.get(repo.partition("/")[2], (404, "RepoNotFound"))
        self._answer(code, {"X-Error-Code": said} if said else {})

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        files = dict(self.hub.newest(repo))
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.uploaded[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        kept = {path: content for path, content in files.items() if path not in self.hub.loses}
        commit = self.hub.commit(repo, kept)
        self._json({"commitUrl": f"{self.hub.url}/{repo}/commit/{commit}", "commitOid": commit})

    @staticmethod
    def _about(path: str, content: bytes) -> dict[str, Any]:
        about = {"type": "file", "path": path, "size": len(content)}
        if _mode(path) == "lfs":
            digest = hashlib.sha256(content).hexdigest()
            return about | {"oid": "0" * 40, "lfs": {"oid": digest, "size": len(content), "pointerSize": 100}}
        return about | {"oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}

    def _file(self, *, with_body: bool) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")
        organisation, name, _, revision, file = self.path.lstrip("/").split("/", 4)
        repo = f"{organisation}/{name}"
        code, said = REFUSALS.get(name, (200, "") if repo in self.hub.commits else (401, "RepoNotFound"))
        commit = self.hub.resolved(repo, revision)
        if code == 200 and not commit:
            code, said = 404, "RevisionNotFound"
        elif code == 200 and file not in self.hub.commits[repo][commit]:
            code, said = 404, "EntryNotFound"
        if code != 200:
            self._answer(code, {"X-Error-Code": said} if said else {})
            return
        content = self.hub.commits[repo][commit][file]
        length = len(content) if with_body or self.hub.said is None else self.hub.said
        etag = f'"{commit}-{file.replace("/", "-")}"'
        about = {"X-Repo-Commit": commit, "ETag": etag, "Content-Length": str(length), "Connection": "close"}
        self._answer(200, about)  # closed, for the length may be a lie
        if with_body:
            self.wfile.write(content[: self.hub.cut])

    def _json(self, value: Any) -> None:
        content = json.dumps(value).encode()
        self._answer(200, {"Content-Type": "application/json", "Content-Length": str(len(content))})
        self.wfile.write(content)

    def _answer(self, code: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in ({"Content-Length": "0"} | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        pass


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".safetensors") else "regular"


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch, cache: str) -> Iterator[Hub]:
    """A hub, which the library in this process takes for the real one, and a cache of its own."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the way of files that any server can take
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
