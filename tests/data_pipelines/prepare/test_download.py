"""Downloads from servers on this machine: whole, broken off, killed, changed, wrong; by HTTP and by FTP."""

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import socketserver
import threading
import urllib.request
import zipfile
from collections import namedtuple

import numpy as np
import pytest

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import download
from data_pipelines.remote import servers
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Downloads, RemoteFile


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("image.tif"), np.random.default_rng(0).bytes(3_000_000))
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
        self.cuts: list[int] = []  # bytes of the next answers, before `most`
        self.also: dict[str, str] = {}  # headers of each answer
        self.head: dict[str, str] = {}  # of HEAD alone, in place of others
        self.then: bytes | None = None  # the file from the second GET on
        self.to = ""  # where it is sent on to
        self.asked: list[tuple[str, str | None]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server: Server = self.server
        if self.command == "GET" and server.then is not None and "GET" in [verb for verb, _ in server.asked]:
            server.data = server.then
        server.asked.append((self.command, self.headers["Range"]))
        if server.status:
            return self.send_error(server.status.pop(0), "\x1b[31mred\x07")
        if server.to:
            self.send_response(302)
            return self.tell({"Location": server.to, "Content-Length": "0"})
        start = int(self.headers["Range"][6:-1]) if server.parts and self.headers["Range"] else 0
        length = len(server.data)
        if start >= length:
            self.send_response(416)
            return self.tell({"Content-Range": f"bytes */{length}"})
        self.send_response(206 if start else 200)
        headers = {"Content-Length": str(length - start)} if server.tells_length else {}
        headers |= {"Content-Range": f"bytes {start}-{length - 1}/{length}"} if start else {}
        headers |= {"ETag": server.etag} if server.etag else {}
        self.tell(headers | server.also | (server.head if self.command == "HEAD" else {}))
        if self.command == "GET":
            sent = server.data[start : start + (server.cuts.pop(0) if server.cuts else server.most)]
            chunked = "Transfer-Encoding" in server.also
            self.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent) if chunked else sent)

    def tell(self, headers):
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

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


def remote(server, name="data.zip", **known) -> RemoteFile:
    return RemoteFile(part="all", url=f"http://127.0.0.1:{server.server_address[1]}/{name}", **known)


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
    note = {"url": remote(server).shown, "length": len(ZIP), "etag": server.etag, "changed": ""}
    (tmp_path / "data.zip.part.json").write_text(json.dumps(note))
    if change == "etag":
        server.etag = '"two"'
    if change == "length":
        server.data = ZIP + b" "
    assert fetched(remote(server), tmp_path) == server.data
    said = "nothing tells whether the server's file" if change == "none" else "is the beginning of another file"
    assert said in caplog.text


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


def got(server) -> list[str | None]:
    return [range_ for verb, range_ in server.asked if verb == "GET"]


def test_a_file_without_identity_is_not_gone_on_with(server, tmp_path):
    server.etag, server.cuts, server.then = "", [2_000_000], ZIP[::-1]
    assert fetched(remote(server, "data.bin"), tmp_path) == ZIP[::-1]
    assert got(server) == [None, None]


@pytest.mark.parametrize("parts", [True, False])
def test_the_total_is_compared_although_the_tag_is_the_same(parts, server, tmp_path, caplog):
    server.parts, server.cuts, server.then = parts, [2_000_000], b"another" + ZIP
    assert fetched(remote(server, "data.bin"), tmp_path) == b"another" + ZIP
    assert "is the beginning of another file" in caplog.text


def test_what_only_one_of_two_answers_says_is_not_compared(server, tmp_path):
    server.also, server.cuts = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, [2_000_000]
    server.head = {"ETag": "", "Last-Modified": ""}
    assert fetched(remote(server), tmp_path) == ZIP
    assert got(server) == [None, "bytes=2000000-"]


def test_a_head_that_says_otherwise_bars_nothing(server, tmp_path):
    server.head, server.cuts = {"ETag": '"of HEAD"', "Content-Length": "7"}, [2_000_000]
    assert fetched(remote(server), tmp_path) == ZIP
    assert got(server) == [None, "bytes=2000000-"]


def test_a_length_that_is_no_number_is_none(server, tmp_path, caplog):
    server.tells_length, server.also = False, {"Content-Length": "abc"}
    assert fetched(remote(server), tmp_path) == ZIP
    assert "does not say how long it is" in caplog.text


def test_a_packed_body_is_refused(server, tmp_path):
    server.also = {"Content-Encoding": "gzip"}
    with pytest.raises(InputError, match="sends it packed as 'gzip'; expected the file as it is"):
        fetched(remote(server), tmp_path)


def test_without_a_length_archives_are_read_to_their_end(server, tmp_path, caplog):
    server.data, server.tells_length = gzip.compress(ZIP[:300_000]), False
    assert fetched(remote(server, "data.tar.gz"), tmp_path) == server.data
    server.most = 200_000
    with pytest.raises(InputError, match="found 200,000 bytes that cannot be unpacked"):
        fetched(remote(server, "other.tar.gz"), tmp_path)
    fetched(remote(server, "data.tif"), tmp_path)
    assert "neither length nor sum is known" in caplog.text


def test_chunks_without_the_last_one_are_kept(server, tmp_path):
    server.tells_length, server.also, server.cuts = False, {"Transfer-Encoding": "chunked"}, [2_000_000]
    assert fetched(remote(server), tmp_path) == ZIP
    assert got(server) == [None, "bytes=2000000-", f"bytes={len(ZIP)}-"]


@pytest.mark.parametrize("behind", [0, 5])
def test_a_beginning_that_is_all_or_more_is_not_asked_for_ever(behind, server, tmp_path):
    server.tells_length = False
    (tmp_path / "data.zip.part").write_bytes(ZIP + bytes(behind))
    note = {"url": remote(server).shown, "length": -1, "etag": server.etag, "changed": ""}
    (tmp_path / "data.zip.part.json").write_text(json.dumps(note))
    assert fetched(remote(server), tmp_path) == ZIP
    assert got(server) == [f"bytes={len(ZIP) + behind}-", *([None] if behind else [])]


def test_files_are_called_by_the_path_alone_and_each_otherwise(server, tmp_path):
    assert remote(server, "data.zip?x=a/b.zip#c").name == "data.zip"
    with pytest.raises(InputError, match=r"found 2 files called 'x\.zip'"):
        download.download([remote(server, "a/x.zip"), remote(server, "b/x.zip?y")], tmp_path)
    for name in ("", "a/", "..", "a/."):
        with pytest.raises(InputError, match="found no name of a file at its end"):
            fetched(remote(server, name), tmp_path)
    assert not server.asked


def test_a_server_may_send_on_to_another_one(server, tmp_path):
    with running(Server()) as other:
        server.to = remote(other, "elsewhere").url
        assert fetched(remote(server), tmp_path) == ZIP
        assert [verb for verb, _ in other.asked] == ["HEAD", "GET"]


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://h/x.zip?SECRET", "http://me:SECRET@h/x.zip", "/data.zip"])
def test_a_server_may_not_send_on_to_other_kinds_of_addresses(to, server, tmp_path):
    server.to = to
    with pytest.raises(InputError, match="302 Found and leads in a circle, out of https, or to no") as told:
        fetched(remote(server), tmp_path)
    assert "SECRET" not in str(told.value)


@pytest.mark.parametrize("to", ["http://[SECRET/x.zip", "http://h:SECRET/x.zip"])
def test_a_server_that_leads_to_no_address(to, server, tmp_path):
    server.to = to
    with pytest.raises(InputError, match=r"leads .* address") as told:
        fetched(remote(server), tmp_path)
    assert "SECRET" not in str(told.value)


def test_nobody_leads_out_of_https():
    asked = urllib.request.Request("https://h/x.zip", method="HEAD")
    onward = [
        servers.Redirects().redirect_request(asked, None, 302, "", {}, f"{scheme}://other/x.zip")
        for scheme in ("http", "https")
    ]
    assert onward[0] is None and onward[1].get_method() == "HEAD"


def test_files_that_are_there_are_compared(server, tmp_path):
    (tmp_path / "data.zip").write_bytes(b"half")
    with pytest.raises(InputError, match=f"is there already: found 4 bytes; expected {len(ZIP):,}, as the server says"):
        fetched(remote(server), tmp_path)
    with pytest.raises(InputError, match=r"is there already: found the SHA-256 .*; expected 0000"):
        fetched(remote(server, sha256="0" * 64), tmp_path)
    assert (tmp_path / "data.zip").read_bytes() == b"half"
    (tmp_path / "other.zip").mkdir()
    with pytest.raises(InputError, match=r"other\.zip: found no file; expected one, or nothing by that name"):
        fetched(remote(server, "other.zip"), tmp_path)


def test_the_folder_must_be_one(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: found a file; expected a folder"):
        fetched(remote(server), tmp_path / "file")
    with pytest.raises(InputError, match="Not a directory; expected a folder"):
        fetched(remote(server), tmp_path / "file" / "below")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://me:p@ss/w@h/x.zip", "ftp://h/x.zip"),
        ("ftp://me:pa/ss?@h:21/x.zip", "ftp://h:21/x.zip"),
        ("https://h:80/@a/x.zip?Signature=SECRET@", "https://h:80/@a/x.zip"),
        ("https://[::1]:80/x.zip#a", "https://[::1]:80/x.zip"),
    ],
)
def test_secrets_of_an_address_are_not_shown(url, shown):
    assert RemoteFile(part="all", url=url).shown == shown


@pytest.mark.parametrize("url", ["http://me:SECRET@127.0.0.1/x.zip", "http://h:a/x.zip?SECRET", "ftp://h/%0aSECRET/x"])
def test_addresses_that_cannot_be_asked_for_are_refused(url, tmp_path):
    with pytest.raises(InputError, match="expected"):
        fetched(RemoteFile(part="all", url=url), tmp_path)


def test_what_the_server_calls_its_answer_is_not_shown(server, tmp_path):
    server.status = [403]
    with pytest.raises(InputError, match="answers 403 Forbidden; expected the file") as told:
        fetched(remote(server, "data.zip?SECRET"), tmp_path)
    assert str(told.value).isprintable() and "SECRET" not in str(told.value)


def test_a_full_disk_is_not_taken_for_the_connection(server, tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"data\.zip\.part: No space left on device; the same command goes on"):
        fetched(remote(server), tmp_path)
    assert got(server) == [None]


def test_the_log_tells_what_is_fetched(server, tmp_path, caplog):
    caplog.set_level("INFO")
    fetched(remote(server), tmp_path)
    assert "fetching data.zip, 0.003 GB, from byte 0" in caplog.text


def test_a_data_set_without_files_and_steps_says_so():
    with pytest.raises(InputError, match="mine: lists neither files nor steps"):
        download.chosen("mine", Downloads(source="https://h", listed="2026-11-29"), [])


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

    def __init__(self, most: int, rest="350 from there"):
        super().__init__(("127.0.0.1", 0), FtpHandler)
        self.most, self.rest, self.asked = most, rest, []
        self.data, self.then = ZIP, ZIP
        self.time = "20200101000000"


class FtpHandler(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.ExitStack() as opened:
            self.converse(opened)

    def converse(self, opened):
        self.answer("220 hello")
        start, passive = 0, None
        for line in self.rfile:
            word, _, rest = line.decode().strip().partition(" ")
            self.server.asked.append((word, rest))
            if word == "PASV":
                if passive:
                    passive.server_close()
                passive = opened.enter_context(socketserver.TCPServer(("127.0.0.1", 0), None))
                self.answer(
                    f"227 Entering (127,0,0,1,{passive.server_address[1] // 256},{passive.server_address[1] % 256})"
                )
            elif word == "REST":
                start = int(rest) if self.server.rest.startswith("350") else 0
                self.answer(self.server.rest)
            elif word == "RETR":
                self.answer("150 here it comes")
                with contextlib.closing(passive.get_request()[0]) as connection:
                    connection.sendall(self.server.data[start : start + self.server.most])
                passive.server_close()
                if self.server.then != self.server.data:
                    self.server.data, self.server.time, self.server.most = self.server.then, "20250101000000", 10**9
                self.answer("226 done")
            else:
                answers = {"USER": "331 password?", "SIZE": f"213 {len(self.server.data)}"}
                answers["MDTM"] = f"213 {self.server.time}"
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


def test_two_files_are_not_spliced_by_ftp(tmp_path):
    with running(Ftp(most=2_000_000)) as server:
        server.then = ZIP[::-1]
        file = RemoteFile(part="all", url=f"ftp://127.0.0.1:{server.server_address[1]}/data.bin")
        assert fetched(file, tmp_path) == ZIP[::-1]


def test_a_server_of_ftp_that_begins_at_the_beginning_only(tmp_path):
    with running(Ftp(most=2_000_000, rest="502 what?")) as server:
        waited = []

        def wait(seconds):
            waited.append(seconds)
            server.most = 10**9

        file = RemoteFile(part="all", url=f"ftp://127.0.0.1:{server.server_address[1]}/data.zip")
        (path,) = download.download([file], tmp_path, wait)
        assert path.read_bytes() == ZIP
        assert waited == [2] and ("REST", "2000000") in server.asked


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
