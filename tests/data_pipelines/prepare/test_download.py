"""Downloads from servers on this machine: whole, broken off, killed, changed, wrong; by HTTP and by FTP."""

import contextlib
import hashlib
import http.server
import io
import json
import re
import shutil
import socketserver
import threading
import zipfile
from collections import namedtuple

import numpy as np
import pytest

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import download
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Downloads, RemoteFile


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("image.tif", np.random.default_rng(0).bytes(3_000_000))
    return packed.getvalue()


ZIP = _zip()


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, as the attributes say."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.etag = ZIP, '"one"'
        self.parts = self.tells_length = True
        self.most = 10**9  # bytes of an answer, after which the connection is closed
        self.status: list[int] = []  # of the next answers, in place of the file
        self.asked: list[tuple[str, str | None]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server: Server = self.server
        server.asked.append((self.command, self.headers["Range"]))
        if server.status:
            return self.send_error(server.status.pop(0))
        start = int(self.headers["Range"][6:-1]) if server.parts and self.headers["Range"] else 0
        self.send_response(206 if start else 200)
        if server.tells_length:
            self.send_header("Content-Length", str(len(server.data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(server.data[start : start + server.most])

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server():
    with running(Server()) as made:
        yield made


def remote(server, **known) -> RemoteFile:
    return RemoteFile(part="all", url=f"http://127.0.0.1:{server.server_address[1]}/data.zip", **known)


def fetched(file, folder, waited=None):
    waits = [] if waited is None else waited
    (path,) = download.download([file], folder, wait=waits.append)
    return path.read_bytes()


def test_a_file_comes_whole_and_only_once(server, tmp_path):
    file = remote(server, sha256=hashlib.sha256(ZIP).hexdigest())
    assert fetched(file, tmp_path) == ZIP
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip"]
    asked = len(server.asked)
    assert fetched(file, tmp_path) == ZIP
    assert len(server.asked) == asked


def test_a_connection_that_ends_early_goes_on_in_the_middle(server, tmp_path):
    server.most = 1_200_000
    waited = []
    assert fetched(remote(server), tmp_path, waited) == ZIP
    assert [range_ for verb, range_ in server.asked if verb == "GET"] == [None, "bytes=1200000-", "bytes=2400000-"]
    assert waited == [2, 2]  # each try has brought something


def test_a_command_that_was_stopped_goes_on(server, tmp_path):
    server.most = 1_000_000

    def stop(seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download.download([remote(server)], tmp_path, wait=stop)
    assert not (tmp_path / "data.zip").exists() and (tmp_path / "data.zip.part").stat().st_size == 1_000_000
    server.most = 10**9
    assert fetched(remote(server), tmp_path) == ZIP
    assert server.asked[-1] == ("GET", "bytes=1000000-")


@pytest.mark.parametrize("change", ["etag", "none", "length"])
def test_the_beginning_of_another_file_is_not_gone_on_with(change, server, tmp_path, caplog):
    server.etag = "" if change == "none" else server.etag
    (tmp_path / "data.zip.part").write_bytes(b"PK\x03\x04 of yesterday")
    note = {"url": remote(server).shown, "length": len(ZIP), "identity": server.etag}
    (tmp_path / "data.zip.part.json").write_text(json.dumps(note))
    if change == "etag":
        server.etag = '"two"'
    if change == "length":
        server.data = ZIP + b" "
    assert fetched(remote(server), tmp_path) == server.data
    assert "is the beginning of another file" in caplog.text


def test_a_server_that_knows_no_parts_sends_all_again(server, tmp_path):
    server.parts, server.most = False, 1_600_000
    with pytest.raises(InputError, match=f"1,600,000 of {len(ZIP):,} bytes; expected an answer in 8 tries"):
        fetched(remote(server), tmp_path)
    server.most = 10**9
    assert fetched(remote(server), tmp_path) == ZIP


def test_a_server_without_a_length_is_believed(server, tmp_path, caplog):
    server.tells_length = False
    assert fetched(remote(server), tmp_path) == ZIP
    assert "does not say how long it is" in caplog.text
    server.most = 2_000_000
    with pytest.raises(InputError, match="expected an archive"):
        fetched(remote(server), tmp_path / "other")


def test_a_busy_server_is_asked_again(server, tmp_path):
    server.status = [503, 503]
    waited = []
    assert fetched(remote(server), tmp_path, waited) == ZIP
    assert waited == [2, 4]
    server.status = [503] * 3
    with pytest.raises(InputError, match="answers 503 Service Unavailable; expected an answer in 3 tries"):
        fetched(remote(server), tmp_path / "other")


def test_a_file_that_is_not_there_is_said_at_once(server, tmp_path):
    server.status = [404]
    with pytest.raises(InputError, match="answers 404 Not Found; expected the file"):
        fetched(remote(server), tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("data", "known", "said"),
    [
        (b"<html>log in</html>", {}, "begins with b'<html>log in</ht'; expected an archive"),
        (ZIP, {"sha256": "0" * 64}, f"found the SHA-256 {hashlib.sha256(ZIP).hexdigest()}; expected 0000"),
    ],
)
def test_what_is_wrong_is_removed(data, known, said, server, tmp_path):
    server.data = data
    with pytest.raises(InputError, match=re.escape(said)):
        fetched(remote(server, **known), tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_disk_is_looked_at_first(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2**30 + 2_000_000))
    with pytest.raises(InputError, match=r"found 0\.0 GB free \(1 GB is kept\); expected 0\.0 GB"):
        fetched(remote(server), tmp_path)
    assert [verb for verb, _ in server.asked] == ["HEAD"]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2**30 + len(ZIP)))
    assert fetched(remote(server), tmp_path) == ZIP


def test_other_kinds_of_addresses_are_refused(tmp_path):
    with pytest.raises(InputError, match="'file'; expected https, http or ftp"):
        fetched(RemoteFile(part="all", url="file:///etc/passwd"), tmp_path)


class Ftp(socketserver.ThreadingTCPServer):
    """As much of an FTP server as the standard library's client asks for."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, most: int):
        super().__init__(("127.0.0.1", 0), FtpHandler)
        self.most, self.asked = most, []


class FtpHandler(socketserver.StreamRequestHandler):
    def handle(self):
        self.answer("220 hello")
        start, passive = 0, None
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            self.server.asked.append((word, rest))
            if word == "PASV":
                passive = socketserver.TCPServer(("127.0.0.1", 0), None)
                self.answer(
                    f"227 Entering (127,0,0,1,{passive.server_address[1] // 256},{passive.server_address[1] % 256})"
                )
            elif word == "REST":
                start = int(rest)
                self.answer("350 from there")
            elif word == "RETR":
                self.answer("150 here it comes")
                with contextlib.closing(passive.get_request()[0]) as connection:
                    connection.sendall(ZIP[start : start + self.server.most])
                passive.server_close()
                self.answer("226 done")
            else:
                answers = {"USER": "331 password?", "SIZE": f"213 {len(ZIP)}", "MDTM": "213 20200101000000"}
                wrong = (word, rest) == ("PASS", "wrong")
                self.answer("530 not logged in" if wrong else answers.get(word, "200 well"))

    def answer(self, text):
        self.wfile.write(f"{text}\r\n".encode())


def test_ftp_goes_on_in_the_middle_too(tmp_path):
    with running(Ftp(most=2_000_000)) as server:
        address = f"127.0.0.1:{server.server_address[1]}"
        file = RemoteFile(part="all", url=f"ftp://me:secret@{address}/data.zip")
        assert fetched(file, tmp_path) == ZIP
        assert ("PASS", "secret") in server.asked and ("REST", "2000000") in server.asked
        wrong = RemoteFile(part="all", url=f"ftp://me:wrong@{address}/other.zip")
        with pytest.raises(InputError, match="530 not logged in; expected the file") as told:
            fetched(wrong, tmp_path)
        assert "wrong@" not in str(told.value)


def test_parts_are_chosen_by_name():
    _, listed = download.known("sen12ms")
    assert [file.name for file in download.chosen("sen12ms", listed, ["spring", "fall/s2"])] == [
        "ROIs1158_spring_s1.tar.gz",
        "ROIs1158_spring_s2.tar.gz",
        "ROIs1158_spring_lc.tar.gz",
        "ROIs1970_fall_s2.tar.gz",
    ]
    _, listed = download.known("flair1")
    assert "toy" not in [file.part for file in download.chosen("flair1", listed, [])]
    assert [file.part for file in download.chosen("flair1", listed, ["toy"])] == ["toy"]
    with pytest.raises(InputError, match="--part=tain: did you mean 'train'"):
        download.chosen("flair1", listed, ["tain"])


def test_what_cannot_be_fetched_is_told_with_what_to_do():
    spec, listed = download.known("dfc2020")
    assert "1. Register at https://ieee-dataport.org" in download.text(spec, listed)
    with pytest.raises(InputError, match="asks for an account; expected a download by hand"):
        download.chosen("dfc2020", listed, [])
    with pytest.raises(InputError, match="your own imagery, which no provider has"):
        download.known("rasters/town")
    with pytest.raises(InputError, match="a data set that does, such as sen12ms, dfc2020, flair1"):
        download.known("sample")


def test_addresses_say_when_they_were_read_and_passwords_are_not_shown():
    for name, spec in datasets.DATASETS.items():
        if spec.downloads is None:
            continue
        assert isinstance(spec.downloads, Downloads)
        text = download.text(spec, spec.downloads)
        assert spec.licence in text and spec.homepage in text and ":m1474000@" not in text
        if spec.downloads.files:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", spec.downloads.listed)
            assert "not tried since" in text
            assert len({file.name for file in spec.downloads.files}) == len(spec.downloads.files), name
            assert len({file.part for file in spec.downloads.files}) == len(spec.downloads.files), name
