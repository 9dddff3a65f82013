"""Files on servers: how long they are, and their bytes from any place on, by HTTP and by FTP."""

import contextlib
import ftplib
import http.client
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import RemoteFile

Result = TypeVar("Result")
Rule = Callable[[str], object]  # raises InputError for an address that may not be asked

_log = logging.getLogger("lcjax.data")

_CHUNK = 1 << 20  # bytes
_SILENCE = 60.0  # seconds without a byte, after which a connection counts as broken
_SLOWEST = 10_000  # bytes per second of a part: with less, and after as long as a silence, it counts as broken
_LONGEST_WAIT = 120.0  # seconds between two tries
_BUSY = (408, 429, 500, 502, 503, 504)  # answers that may be others in a while
_LONGEST = 200  # letters of a server's words that are shown
# What a connection fails with that may go well the next time.
BROKEN = (
    OSError,
    EOFError,
    ftplib.error_temp,
    ftplib.error_reply,
    ftplib.error_proto,
    http.client.HTTPException,
)


class Unreachable(InputError):
    """A server failed in all tries: it may do better another day."""


class Description(NamedTuple):
    """What a server says of a file.

    Attributes:
      length: bytes; -1 where it does not say.
      etag: of HTTP: changes where the file does; empty where it does not say.
      changed: when, in the server's words; empty where it does not say.
    """

    length: int = -1
    etag: str = ""
    changed: str = ""

    def differs(self, other: "Description") -> bool:
        """Whether the two are of different files, as far as both say the same things."""
        if self.length >= 0 and other.length >= 0 and self.length != other.length:
            return True
        return any(mine != its for mine, its in self._told_by_both(other))

    def is_surely(self, other: "Description") -> bool:
        """Whether the two are of the same file by what both say beside the length."""
        return bool(self._told_by_both(other)) and not self.differs(other)

    def _told_by_both(self, other: "Description") -> list[tuple[str, str]]:
        pairs = [(self.etag, other.etag), (self.changed, other.changed)]
        return [pair for pair in pairs if all(pair)]


class Answer(NamedTuple):
    """A file that a server is about to send.

    Attributes:
      said: of the whole file.
      start: place of the first byte that comes; not after the one asked for.
      chunks: the bytes from there. Where the connection ends early they just end: count them.
      ended: whether the server says that nothing lies behind the place asked for.
    """

    said: Description
    start: int
    chunks: Iterator[bytes]
    ended: bool = False


def describe(file: RemoteFile) -> Description:
    """Asks a server for a file's length and identity.

    Raises:
      InputError: the server has no such file, or the address is of another kind.
      BROKEN: the connection failed.
    """
    if _parts(file).scheme == "ftp":
        with _ftp(file) as (server, path):
            return _described_by_ftp(server, path)
    with _http(file, method="HEAD") as answer:
        return _described(file, answer)


def read(file: RemoteFile, start: int) -> contextlib.AbstractContextManager[Answer]:
    """Asks for the bytes of a file from `start` on; what comes may begin earlier, or belong to another file by now.

    Raises:
      InputError: the server has no such file, or not as it is.
      BROKEN: the connection failed.
    """
    return _read_by_ftp(file, start) if _parts(file).scheme == "ftp" else _read_by_http(file, start)


def part(file: RemoteFile, start: int, size: int, *, rule: Rule, silence: float = _SILENCE) -> Answer:
    """Asks by HTTP for `size` bytes of a file from `start` on; returns them, whole, in one chunk.

    Args:
      file: on the server.
      start, size: of the part; it may reach beyond the end of the file.
      rule: is asked about the address, and about each to which the server sends on.
      silence: seconds without a byte after which the connection counts as broken.

    Raises:
      InputError: the server has no such file, may not be asked, or sends no parts.
      BROKEN: the connection failed, or ended before the part did.
    """
    with _http(file, headers={"Range": f"bytes={start}-{start + size - 1}"}, rule=rule, silence=silence) as answer:
        said = _described(file, answer)
        if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return Answer(said._replace(length=_total(answer)), start, iter(()), ended=True)
        length = _total(answer) if answer.status == http.HTTPStatus.PARTIAL_CONTENT else said.length
        end = min(start + size, length) if length >= 0 else start + size
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT and (start or not 0 <= length <= size):
            raise InputError(
                f"{file.shown}: the server sends whole files and no parts; expected one that knows range requests: "
                "download the file, and name that"
            )
        found = answer.headers.get("Content-Range", f"bytes {start}-{end - 1}/")
        if found.partition("/")[0] != f"bytes {start}-{end - 1}":
            raise InputError(f"{file.shown}: found {found[:_LONGEST]!r}; expected bytes {start} to {end - 1}")
        return Answer(said._replace(length=length), start, iter((_read(answer, end - start, silence),)))


def beginning(file: RemoteFile, size: int, *, rule: Rule, silence: float = _SILENCE) -> bytes:
    """The first bytes of a file, at most `size`, by HTTP, whether or not the server knows parts; as `part`."""
    with _http(file, headers={"Range": f"bytes=0-{size - 1}"}, rule=rule, silence=silence) as answer:
        _described(file, answer)
        return _read(answer, size, silence, known=False)


def whole(file: RemoteFile, most: int, *, rule: Rule, silence: float = _SILENCE) -> bytes:
    """All bytes of a small file, by HTTP; arguments and errors as of `part`.

    Raises InputError for more than `most` bytes.
    """
    with _http(file, rule=rule, silence=silence) as answer:
        length = _described(file, answer).length
        content = _read(answer, min(length, most + 1) if length >= 0 else most + 1, silence, known=length >= 0)
    if len(content) > most:
        raise InputError(f"{file.shown}: more than {most:,} bytes; expected at most that many")
    return content


def _read(answer: Any, size: int, silence: float, known: bool = True) -> bytes:
    """The first `size` bytes that come. Raises BROKEN for less, where so many are `known` to be there."""
    begun, content = time.monotonic(), bytearray()
    # What has come, and not what is asked for: of a server that sends a byte now and then that would be waited for.
    while len(content) < size and (chunk := answer.read1(min(_CHUNK, size - len(content)))):
        content += chunk
        if time.monotonic() - begun > silence + len(content) / _SLOWEST:
            raise TimeoutError(f"{len(content):,} of {size:,} bytes came in {time.monotonic() - begun:.0f} s")
    if known and len(content) < size:
        raise ConnectionError(f"the connection ended after {len(content):,} of {size:,} bytes")
    return bytes(content)


def again(
    shown: str,
    do: Callable[[], Result],
    wait: Callable[[float], None],
    most: int,
    reached: Callable[[], int] = lambda: 0,
) -> Result:
    """Does what needs a server, and tries again while it breaks off, `most` times in a row without a further byte.

    Args:
      shown: the address, for messages.
      do: what needs the server.
      wait: sleeps so many seconds between tries.
      most: number of tries.
      reached: number of bytes that have come so far.

    Raises Unreachable where the last try broke off, too, and what `do` raises otherwise.
    """
    tries, before = 0, reached()
    while True:
        try:
            return do()
        except InputError:
            raise
        except BROKEN as error:
            tries, before = (1 if reached() > before else tries + 1), max(before, reached())
            reason = plain(error)
            if tries >= most:
                raise Unreachable(
                    f"{shown}: {reason}; expected an answer in {most} tries; the same command goes on from here"
                ) from error
            pause = min(2.0**tries, _LONGEST_WAIT)
            _log.warning("%s: %s; trying again in %.0f s", shown, reason, pause)
            wait(pause)


def plain(error: BaseException) -> str:
    """Returns what an error says, as far as it can be shown: much of it is in a stranger's words."""
    text = str(error) or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_LONGEST]


def _parts(file: RemoteFile) -> urllib.parse.SplitResult:
    """An address in parts, if it is one that can be asked for."""
    try:
        parts = urllib.parse.urlsplit(file.url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:  # its words hold the address
        raise InputError(f"{file.shown}: not an address; expected as in https://host/file.zip") from error
    if parts.scheme not in ("https", "http", "ftp"):
        raise InputError(f"{file.shown}: found an address of the kind {parts.scheme!r}; expected https, http or ftp")
    if not host or not urllib.parse.unquote(file.url).isprintable() or " " in file.url:
        raise InputError(f"{file.shown}: not an address; expected a host, and signs and blanks written as in %20")
    if parts.scheme != "ftp" and "@" in parts.netloc:
        raise InputError(f"{file.shown}: found a user before the host; expected that of ftp only: fetch it by hand")
    return parts


@contextlib.contextmanager
def _read_by_ftp(file: RemoteFile, start: int) -> Iterator[Answer]:
    with _ftp(file) as (server, path):
        said = _described_by_ftp(server, path)
        try:
            data = server.transfercmd(f"RETR {path}", rest=start or None)
        except ftplib.error_perm:
            if not start:
                raise
            start = 0  # some servers know no REST
            data = server.transfercmd(f"RETR {path}")

        def chunks() -> Iterator[bytes]:
            while chunk := data.recv(_CHUNK):
                yield chunk
            if said.length < 0:
                data.close()
                server.voidresp()  # the only word on whether that was all

        with contextlib.closing(data):
            yield Answer(said, start, chunks())


@contextlib.contextmanager
def _read_by_http(file: RemoteFile, start: int) -> Iterator[Answer]:
    headers = {"Range": f"bytes={start}-"} if start else {}
    with _http(file, headers=headers) as answer:
        said = _described(file, answer)
        if answer.status == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            yield Answer(said._replace(length=_total(answer)), start, iter(()), ended=True)
            return
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:  # some servers know no parts
            yield Answer(said, 0, _chunks(answer))
            return
        found = answer.headers.get("Content-Range", "")
        if not found.startswith(f"bytes {start}-"):
            raise InputError(f"{file.shown}: found {found[:_LONGEST]!r}; expected bytes from {start} on")
        yield Answer(said._replace(length=_total(answer)), start, _chunks(answer))


def _chunks(answer: Any) -> Iterator[bytes]:
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except http.client.IncompleteRead as error:
            yield error.partial
            raise
        if not chunk:
            return
        yield chunk


def _described(file: RemoteFile, answer: Any) -> Description:
    packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if packed not in ("", "identity"):
        raise InputError(
            f"{file.shown}: the server sends it packed as {packed[:20]!r}; expected the file as it is: fetch it by hand"
        )
    length = _number(answer.headers.get("Content-Length", ""))
    return Description(length, answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", ""))


def _total(answer: Any) -> int:
    return _number(answer.headers.get("Content-Range", "").rpartition("/")[2])


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to other servers, but not out of encryption, nor to other kinds of addresses.

    Args:
      rule: is asked about each of them.
    """

    def __init__(self, rule: Rule = lambda url: None):
        self._rule = rule

    def http_error_302(self, req, fp, code, msg, headers):  # type: ignore[no-untyped-def]
        """Returns the answer of the next server; None where none is led to."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except InputError:
            fp.close()
            raise
        except ValueError:  # not an address
            return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        """Returns the next request; None where there shall be none."""
        target = urllib.parse.urlsplit(newurl)
        allowed = ("https",) if req.type == "https" else ("https", "http")
        if target.scheme not in allowed or "@" in target.netloc:
            return None
        self._rule(newurl)
        asked = super().redirect_request(req, fp, code, msg, headers, newurl)
        if asked is not None:
            asked.method = req.get_method()
        return asked


_OPENER = urllib.request.build_opener(Redirects())


@contextlib.contextmanager
def _http(
    file: RemoteFile,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    rule: Rule | None = None,
    silence: float = _SILENCE,
) -> Iterator[Any]:
    opener = urllib.request.build_opener(Redirects(rule)) if rule else _OPENER
    if rule:
        rule(file.url)
    # identity: some servers compress on the way, and then say another length
    asked = {"User-Agent": "lcjax", "Accept-Encoding": "identity", **(headers or {})}
    try:
        with contextlib.ExitStack() as opened:
            try:
                request = urllib.request.Request(file.url.partition("#")[0], method=method, headers=asked)
                answer = opened.enter_context(opener.open(request, timeout=silence))
            except urllib.error.HTTPError as error:
                if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or "Range" not in asked:
                    raise
                answer = opened.enter_context(error)
            except InputError:
                raise
            except (http.client.InvalidURL, ValueError) as error:  # its words hold the address
                raise InputError(f"{file.shown}: leads to what is not an address; expected the file") from error
            yield answer
    except urllib.error.HTTPError as error:
        error.close()
        said = f"the server answers {_phrase(error.code)}"
        if error.code in _BUSY:
            raise ConnectionError(said) from error
        where = ""
        if 300 <= error.code < 400:
            where = " and leads in a circle, out of https, or to no address or another kind of one"
        raise InputError(f"{file.shown}: {said}{where}; expected the file") from error
    except urllib.error.URLError as error:
        raise ConnectionError(str(error.reason)) from error


def _phrase(code: int) -> str:
    """A status in the words of the standard: those of the server may hold anything."""
    try:
        return f"{code} {http.HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


@contextlib.contextmanager
def _ftp(file: RemoteFile) -> Iterator[tuple[ftplib.FTP, str]]:
    parts = _parts(file)
    server = ftplib.FTP(timeout=_SILENCE)
    try:
        server.connect(parts.hostname or "", parts.port or ftplib.FTP_PORT)
        server.login(urllib.parse.unquote(parts.username or ""), urllib.parse.unquote(parts.password or ""))
        server.voidcmd("TYPE I")
        yield server, urllib.parse.unquote(parts.path.removeprefix("/"))
    except ftplib.error_perm as error:
        raise InputError(f"{file.shown}: the server answers {plain(error)}; expected the file") from error
    finally:
        server.close()


def _described_by_ftp(server: ftplib.FTP, path: str) -> Description:
    """What a server says of a file: SIZE and MDTM are not known to all."""
    length = _asked(server, f"SIZE {path}")
    return Description(_number(length.removeprefix("213")), changed=_asked(server, f"MDTM {path}", also="550"))


def _asked(server: ftplib.FTP, command: str, also: str = "") -> str:
    """What a server answers; empty where it does not know the command, or answers with the code `also`."""
    try:
        return server.sendcmd(command)
    except ftplib.error_perm as error:
        if str(error)[:3] in ("500", "501", "502", "504", also):
            return ""
        raise
