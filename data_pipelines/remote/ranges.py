"""A file on a server, read by parts: each is checked to be of the same file, tried again, and kept for a while."""

import collections
import concurrent.futures
import contextlib
import functools
import hashlib
import itertools
import logging
import pathlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from data_pipelines.remote import hosts, servers
from data_pipelines.remote.addresses import Address
from data_pipelines.remote.servers import Description
from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused, RemoteFile

_log = logging.getLogger("lcjax.data")

TRIES = 5  # in a row
SILENCE = 30.0  # seconds without a byte, after which a connection counts as broken
_BLOCK = 2**16  # bytes: what is fetched begins and ends at a multiple of it
_AT_ONCE = 4  # connections for one read
CHANGED = "has changed on its server; run the same command again, and what was made of it is begun anew"


def pause(seconds: float) -> None:
    """Waits between two tries."""
    time.sleep(seconds)


class Bytes(Protocol):
    """What can be read by parts.

    Attributes:
      length: in bytes.
      version: a text that changes where the content does, as far as that can be known.
    """

    length: int
    version: str

    def parts(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of each part (offset, size); less where the file ends before."""


class Held:
    """Bytes in memory."""

    def __init__(self, content: bytes):
        self._content, self.length, self.version = content, len(content), hashlib.sha256(content).hexdigest()[:16]

    def parts(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """As of `Bytes`."""
        return [self._content[offset : offset + size] for offset, size in wanted]


class _Cache:
    """Blocks of files that were fetched; the ones that were used last are kept."""

    def __init__(self, most: int):
        self._most, self._size, self._lock = most, 0, threading.Lock()
        self._blocks: collections.OrderedDict[tuple[str, str, int], bytes] = collections.OrderedDict()

    def get(self, key: tuple[str, str, int]) -> bytes | None:
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
            return self._blocks.get(key)

    def put(self, key: tuple[str, str, int], block: bytes) -> None:
        with self._lock:
            self._size += len(block) - len(self._blocks.pop(key, b""))
            self._blocks[key] = block
            while self._size > self._most:
                self._size -= len(self._blocks.popitem(last=False)[1])


_cache = _Cache(limits.REMOTE_CACHE_BYTES)
_openings = itertools.count()


class Ranged:
    """A file on a server, as it was when this was made.

    Args:
      address: of the file.

    Attributes:
      length, version: as of `Bytes`.

    Raises:
      Refused: there is no such file, or not by parts, or its server may not be asked.
      InputError: its server fails, or has another file by now.
    """

    def __init__(self, address: Address):
        self._address, self._file = address, address.file
        said, first = self._asked(0, _BLOCK)
        self.length = said.length if said.length >= 0 else 0
        self.version = f"{said.etag or said.changed} {self.length}"
        self._said = said
        if address.version and address.version != self.version:
            raise InputError(f"{address}: {CHANGED}")
        self._kept_as = self.version
        if not said.etag and not said.changed:
            _warn_of_no_version(str(address))
            self._kept_as = f"opening {next(_openings)}"  # what was kept of another one may be of another file
        _cache.put(self._key(0), first)

    def parts(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """As of `Bytes`.

        Raises InputError where the server fails time and again, or has another file by now.
        """
        needed = sorted({block for offset, size in wanted for block in self._blocks_of(offset, size)})
        blocks = {number: block for number in needed if (block := _cache.get(self._key(number))) is not None}
        spans = list(_runs(number for number in needed if number not in blocks))
        if len(spans) < 2:
            found = [self._span(span) for span in spans]
        else:
            with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
                found = list(pool.map(self._span, spans))
        blocks |= {number: block for span in found for number, block in span.items()}
        return [self._cut(blocks, offset, size) for offset, size in wanted]

    def _blocks_of(self, offset: int, size: int) -> range:
        end = min(offset + size, self.length)
        return range(offset // _BLOCK, -(-end // _BLOCK)) if end > offset else range(0)

    def _cut(self, blocks: dict[int, bytes], offset: int, size: int) -> bytes:
        numbers = self._blocks_of(offset, size)
        start = offset - numbers.start * _BLOCK
        return b"".join(blocks[number] for number in numbers)[start : start + size]

    def _span(self, numbers: range) -> dict[int, bytes]:
        start = numbers.start * _BLOCK
        size = min(len(numbers) * _BLOCK, self.length - start)
        said, content = self._asked(start, size)
        if said.differs(self._said) or len(content) != size:
            raise InputError(f"{self._address}: {CHANGED}")
        blocks = {number: content[k * _BLOCK : (k + 1) * _BLOCK] for k, number in enumerate(numbers)}
        for number, block in blocks.items():
            _cache.put(self._key(number), block)
        return blocks

    def _key(self, number: int) -> tuple[str, str, int]:
        return self._file.url, self._kept_as, number

    def _asked(self, start: int, size: int) -> tuple[Description, bytes]:
        ask = functools.partial(servers.part, self._file, start, size, rule=_rule_of(self._file), silence=SILENCE)
        with refusing(self._address):
            answer = servers.again(str(self._address), ask, pause, TRIES)
        content = b"".join(answer.chunks)
        if answer.said.length < 0 and not answer.ended:
            raise Refused(self._address, "its server does not tell its length; expected one that does: download it")
        return answer.said, content


@contextlib.contextmanager
def refusing(path: pathlib.Path) -> Iterator[None]:
    """Makes what is wrong with a file its refusal; that a server fails time and again is none, and stays what it is."""
    try:
        yield
    except (Refused, servers.Unreachable):
        raise
    except InputError as error:
        raise Refused(path, str(error).removeprefix(f"{path}: ")) from error


def whole(address: Address, most: int) -> bytes:
    """All of a small file on a server. Raises Refused for more than `most` bytes, and as `Ranged`."""
    ask = functools.partial(servers.whole, address.file, most, rule=_rule_of(address.file), silence=SILENCE)
    with refusing(address):
        return servers.again(str(address), ask, pause, TRIES)


def beginning(address: Address, size: int) -> bytes:
    """The first bytes of a file on any server, at most `size`. Raises as `Ranged` where they cannot be had."""
    ask = functools.partial(servers.beginning, address.file, size, rule=_rule_of(address.file), silence=SILENCE)
    with refusing(address):
        return servers.again(str(address), ask, pause, TRIES)


def _rule_of(file: RemoteFile) -> servers.Rule:
    def check(url: str) -> None:
        target = RemoteFile(part="", url=url)
        hosts.check(url, file.shown if url == file.url else f"{file.shown}: leads to {target.shown}")

    return check


def _runs(numbers: Iterable[int]) -> Iterable[range]:
    """Numbers in order as ranges without gaps, none longer than a request may be."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        first, *rest = (number for _, number in run)
        end = (rest[-1] if rest else first) + 1
        most = limits.REMOTE_PART_BYTES // _BLOCK
        yield from (range(start, min(start + most, end)) for start in range(first, end, most))


@functools.lru_cache(maxsize=1000)  # once for each
def _warn_of_no_version(shown: str) -> None:
    _log.warning(
        "%s: its server tells neither ETag nor date of it: that it has changed is noticed by its length alone", shown
    )
