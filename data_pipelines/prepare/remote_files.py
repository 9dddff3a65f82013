"""Files on servers: how long they are, and their bytes from any place on, by HTTP and by FTP."""

import contextlib
import ftplib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

from data_pipelines.schema.errors import InputError

_CHUNK = 1 << 20  # bytes
_SILENCE = 60.0  # seconds without a byte, after which a connection counts as broken
_BUSY = (408, 429, 500, 502, 503, 504)  # answers that may be others in a while
# What a connection fails with that may go well the next time.
BROKEN = (
    OSError,
    EOFError,
    ftplib.error_temp,
    ftplib.error_reply,
    ftplib.error_proto,
    http.client.HTTPException,
)


class Description(NamedTuple):
    """What a server says of a file.

    Attributes:
      length: bytes; -1 where it does not say.
      identity: changes where the file does (ETag or time); empty where it does not say.
    """

    length: int
    identity: str


def describe(url: str) -> Description:
    """Asks a server for a file's length and identity.

    Raises:
      InputError: the server has no such file, or the address is of another kind.
      BROKEN: the connection failed.
    """
    if _scheme(url) == "ftp":
        with _ftp(url) as (server, path):
            length = server.size(path)
            return Description(-1 if length is None else length, _changed(server, path))
    with _http(url, method="HEAD") as answer:
        return _described(answer)


def read(url: str, start: int, known: Description) -> Iterator[bytes]:
    """Yields the bytes of a file from `start` on.

    Raises:
      InputError: the server has no such file, or another one than it has described.
      BROKEN: the connection failed. One that ends early says nothing: count the bytes.
    """
    if _scheme(url) == "ftp":
        with _ftp(url) as (server, path), contextlib.closing(server.transfercmd(f"RETR {path}", rest=start)) as data:
            while chunk := data.recv(_CHUNK):
                yield chunk
        return
    headers = {"Range": f"bytes={start}-"} if start else {}
    with _http(url, headers=headers) as answer:
        if _described(answer).identity != known.identity:
            raise InputError(f"{url}: the file has just changed at its provider; give the command again")
        partly = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if partly and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise InputError(f"{url}: found {answer.headers.get('Content-Range')!r}; expected bytes from {start} on")
        skipped = 0 if partly else start  # where a server knows no parts, it sends the whole file again
        while chunk := answer.read(_CHUNK):
            if len(chunk) > skipped:
                yield chunk[skipped:]
            skipped = max(skipped - len(chunk), 0)


def _described(answer: Any) -> Description:
    identity = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return Description(int(answer.headers.get("Content-Length", -1)), identity)


def _scheme(url: str) -> str:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("https", "http", "ftp"):
        raise InputError(f"{url}: found an address of the kind {scheme!r}; expected https, http or ftp")
    return scheme


@contextlib.contextmanager
def _http(url: str, method: str = "GET", headers: dict[str, str] | None = None) -> Iterator[Any]:
    # identity: some servers compress on the way, and then say another length
    asked = {"User-Agent": "lcjax", "Accept-Encoding": "identity", **(headers or {})}
    request = urllib.request.Request(url, method=method, headers=asked)
    try:
        with urllib.request.urlopen(request, timeout=_SILENCE) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        said = f"the server answers {error.code} {error.reason}"
        if error.code in _BUSY:
            raise ConnectionError(said) from error
        raise InputError(f"{url}: {said}; expected the file") from error
    except urllib.error.URLError as error:
        raise ConnectionError(str(error.reason)) from error


@contextlib.contextmanager
def _ftp(url: str) -> Iterator[tuple[ftplib.FTP, str]]:
    parts = urllib.parse.urlsplit(url)
    server = ftplib.FTP(timeout=_SILENCE)
    try:
        server.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
        server.login(urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or ""))
        server.voidcmd("TYPE I")
        yield server, urllib.parse.unquote(parts.path.removeprefix("/"))
    except ftplib.error_perm as error:
        raise InputError(f"{parts.hostname}{parts.path}: the server answers {error}; expected the file") from error
    finally:
        server.close()


def _changed(server: ftplib.FTP, path: str) -> str:
    """When a file was last changed; empty where the server does not know."""
    try:
        return server.sendcmd(f"MDTM {path}")
    except ftplib.error_perm:
        return ""
