"""Fetches the files of a published data set: each goes on where it was broken off, and is checked once it is whole."""

import contextlib
import dataclasses
import gzip
import hashlib
import json
import logging
import os
import pathlib
import shutil
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from data_pipelines.datasets import registry as datasets
from data_pipelines.remote import servers
from data_pipelines.remote.servers import Answer, Description
from data_pipelines.schema import files, locks, progress, typed_json
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.spec import DatasetFamily, DatasetSpec, Downloads, RemoteFile

_log = logging.getLogger("lcjax.data")

TRIES = 8  # in a row, without a byte between them
_FIRST_TRIES = 3  # to reach a server at all
_GZIP = b"\x1f\x8b"  # how such a file begins
_GZIPPED = (".gz", ".tgz")
_CHUNK = 1 << 20  # bytes
_SPARE = 2**30  # bytes of the disk that stay free: 1 GB


@dataclasses.dataclass(frozen=True)
class _Note:
    """What the beginning of a file is a beginning of, in the file beside it; as `Description`, with the address."""

    url: str
    length: int
    etag: str
    changed: str


def known(name: str) -> tuple[DatasetSpec, Downloads]:
    """Returns a data set and how it is downloaded.

    Raises:
      InputError: there is no such data set, or nothing of it to download.
    """
    spec = datasets.entry(name)
    if isinstance(spec, DatasetFamily):
        raise InputError(f"{name}: your own imagery, which no provider has; expected a published data set")
    if spec.downloads is None:
        names = ", ".join(other for other, spec in datasets.DATASETS.items() if spec.downloads)
        raise InputError(f"{name}: says nothing of where its files are; expected a data set that does, such as {names}")
    return spec, spec.downloads


def text(spec: DatasetSpec, downloads: Downloads) -> str:
    """Returns what a person should know before the download: terms, parts, addresses."""
    tried = f"a download was last seen to succeed on {downloads.fetched}" if downloads.fetched else "not tried since"
    lines = [spec.title, f"  terms: {spec.licence}", f"  page:  {spec.homepage}", f"  cite:  {spec.citation}"]
    if downloads.files:
        lines.append(f"\naddresses as of {downloads.source}, read on {downloads.listed}; {tried}:")
    width = max((len(file.part) for file in downloads.files), default=0)
    for file in downloads.files:
        asked = "  (only with --part)" if file.on_request else ""
        lines.append(f"  {file.part:<{width}}  {file.size:>8}  {file.shown}{asked}")
    if downloads.steps:
        lines += ["\nby hand:", *(f"  {number}. {step}" for number, step in enumerate(downloads.steps, 1))]
    return "\n".join([*lines, *([f"\n{downloads.note}"] if downloads.note else [])])


def chosen(name: str, downloads: Downloads, parts: Sequence[str]) -> list[RemoteFile]:
    """Returns the files of some parts; without parts all but those that want to be named.

    Raises:
      InputError: there is no such part, or the provider asks for an account.
    """
    if not downloads.files and not downloads.steps:
        raise InputError(
            f"{name}: lists neither files nor steps; expected some in its Downloads; see its page, {downloads.source}"
        )
    if not downloads.files:
        raise InputError(f"{name}: its provider asks for an account; expected a download by hand, in the steps above")
    if not parts:
        return [file for file in downloads.files if not file.on_request]
    names = {file.part for file in downloads.files} | {file.part.partition("/")[0] for file in downloads.files}
    for part in parts:
        if part not in names:
            expected = ", ".join(sorted(names))
            raise InputError(f"--part={part}: {did_you_mean(part, names)}expected some of {expected}")
    return [file for file in downloads.files if {file.part, file.part.partition("/")[0]} & set(parts)]


def download(
    wanted: Sequence[RemoteFile], output: pathlib.Path, wait: Callable[[float], None] = time.sleep
) -> list[pathlib.Path]:
    """Downloads files into a folder; returns them. Those that are there are compared with what is known, and stay.

    Args:
      wanted: what is fetched.
      output: the folder, made if it is not there.
      wait: sleeps so many seconds between tries.

    Raises:
      InputError: a server has not what was expected or cannot be reached, the disk is too small, a file that is there
        is another one, or another process downloads into the folder.
    """
    _check_names(wanted)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: found a file; expected a folder, or a name for one")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{output}: {error.strerror}; expected a folder, or a place where one can be made") from error
    with locks.held(output / ".download.lock", output, doing="downloading into", instead="name another --output"):
        missing = []
        for file in wanted:
            if os.path.lexists(output / file.name):
                _check_there(file, output / file.name, wait)
            else:
                missing.append(file)
        said = {file: _described(file, wait) for file in missing}
        _check_room(output, said)
        for file in missing:
            _fetch(file, said[file], output, wait)
    return [output / file.name for file in wanted]


def _check_names(wanted: Sequence[RemoteFile]) -> None:
    times = Counter(file.name for file in wanted)
    for file in wanted:
        if file.name in ("", ".", ".."):
            raise InputError(f"{file.shown}: found no name of a file at its end; expected as in https://host/file.zip")
        if times[file.name] > 1:
            raise InputError(
                f"{file.shown}: found {times[file.name]} files called {file.name!r}; expected names of their own in "
                "one folder: fetch them with one --part and --output after the other"
            )


def _check_there(file: RemoteFile, path: pathlib.Path, wait: Callable[[float], None]) -> None:
    """Compares a file that is there with what is known of it.

    Raises:
      InputError: it is another one.
    """
    if not path.is_file():
        raise InputError(f"{path}: found no file; expected one, or nothing by that name: move it away")
    found = ""
    if file.sha256:
        _log.info("%s: is there already; comparing its SHA-256", path)
        found = _other_sum(file, path)
    else:
        size = path.stat().st_size
        try:
            length = _described(file, wait).length
        except InputError as error:
            _log.warning("%s: is there already, and could not be compared: %s", path, error)
            return
        if length <= 0:  # some servers say 0 where they send nothing but headers
            _log.warning("%s: is there already, and could not be compared: the server does not say its length", path)
        elif size != length:
            found = f"found {size:,} bytes; expected {length:,}, as the server says"
        else:
            _log.info("%s: is there already, with the length that the server says", path)
    if found:
        raise InputError(f"{path}: is there already: {found}; move it away and give the command again")


def _other_sum(file: RemoteFile, path: pathlib.Path) -> str:
    """In which way a file has not its provider's sum; empty where it has it or none is known."""
    if not file.sha256:
        return ""
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found == file.sha256.lower():
        return ""
    return f"found the SHA-256 {found}; expected {file.sha256}, as its provider publishes it"


@contextlib.contextmanager
def _disk(path: pathlib.Path) -> Iterator[None]:
    """Says of the disk what would else look as if it were of the connection."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; the same command goes on with what is there") from error


def _described(file: RemoteFile, wait: Callable[[float], None]) -> Description:
    return servers.again(file.shown, lambda: servers.describe(file), wait, _FIRST_TRIES)


def _check_room(output: pathlib.Path, said: dict[RemoteFile, Description]) -> None:
    parts = [_part(output, file) for file in said]
    there = sum(part.stat().st_size for part in parts if part.exists())
    needed = sum(max(description.length, 0) for description in said.values()) - there
    free = shutil.disk_usage(output).free - _SPARE
    if needed > free:
        raise InputError(
            f"{output}: found {max(free, 0) / 1e9:.1f} GB free (1 GB is kept); expected {needed / 1e9:.1f} GB; name a "
            "smaller --part or another --output, and mind that `lcjax prepare` unpacks, too"
        )
    for file, description in said.items():
        if description.length < 0:
            _log.warning("%s: the server does not say how long it is, so the room for it was not checked", file.shown)


def _part(output: pathlib.Path, file: RemoteFile) -> pathlib.Path:
    return output / f"{file.name}.part"


def _fetch(file: RemoteFile, said: Description, output: pathlib.Path, wait: Callable[[float], None]) -> None:
    """Downloads one file, from where an earlier try has ended."""
    part = _part(output, file)
    with _disk(part), part.open("ab"):  # there is one
        start = part.stat().st_size
    known = _begun(part, file)
    total = said.length if said.length >= 0 else None
    size = "of unknown size" if total is None else f"{total / 1e9:.3g} GB"
    _log.info("fetching %s, %s, from byte %s", file.name, size, f"{start:,}")
    with progress.bar(total=total, initial=start, desc=file.name, unit="B", unit_scale=True) as bar:
        if not start or start != known.length or known.differs(said):
            servers.again(
                file.shown,
                lambda: _append(file, said, part, bar.update),
                wait,
                TRIES,
                lambda: part.stat().st_size,
            )
    _check(file, _begun(part, file), part)
    with _disk(part):
        os.replace(part, output / file.name)
        _note(part).unlink()
    _log.info("written: %s", output / file.name)


def _note(part: pathlib.Path) -> pathlib.Path:
    """What the beginning of a file is a beginning of."""
    return part.with_name(f"{part.name}.json")


def _begun(part: pathlib.Path, file: RemoteFile) -> Description:
    """What the server said when it sent the beginning of a file; nothing where that is not known."""
    note = _note(part)
    if not note.exists():
        return Description()
    try:
        found = typed_json.read(note, _Note, "it is written anew")
    except InputError:  # that a beginning is worth nothing is said where there is one
        return Description()
    return Description(found.length, found.etag, found.changed) if found.url == file.shown else Description()


def _append(file: RemoteFile, said: Description, part: pathlib.Path, tell: Callable[[int], object]) -> None:
    """Goes on with the beginning of a file where it surely is of the one that the server has now; else begins anew."""
    start, known = part.stat().st_size, _begun(part, file)
    if start and not known.etag and not known.changed:
        _log.warning("%s: nothing tells whether the server's file is still the one this began; beginning anew", part)
        start = 0
    with servers.read(file, start) as answer:
        same = known.is_surely(answer.said)
        if answer.ended:  # such an answer need not say of which file
            same = answer.said.length == start and (same or known.is_surely(said))
        if start and not same:
            _log.warning("%s: is the beginning of another file than the server has now; beginning anew", part)
            start = 0
        if start or not answer.start:
            _receive(file, answer, part, start, tell)
            return
    with servers.read(file, 0) as answer:
        _receive(file, answer, part, 0, tell)


def _receive(file: RemoteFile, answer: Answer, part: pathlib.Path, start: int, tell: Callable[[int], object]) -> None:
    """Writes what comes behind the first `start` bytes of a file, which are there."""
    tell(start - part.stat().st_size)
    skipped = start - answer.start
    with contextlib.ExitStack() as opened:
        with _disk(part):
            out = opened.enter_context(part.open("r+b", buffering=0))  # nothing is left to be written at its end
            out.seek(out.truncate(start))
            if not start:
                note = _Note(file.shown, *answer.said)
                files.write_atomically(_note(part), json.dumps(dataclasses.asdict(note)))
        for chunk in answer.chunks:
            new = memoryview(chunk)[skipped:]
            skipped -= len(chunk) - len(new)
            tell(len(new))
            while new:
                with _disk(part):
                    new = new[out.write(new) :]
        with _disk(part):
            os.fsync(out.fileno())
            end = out.tell()
    if end < answer.said.length:
        raise ConnectionError(f"the connection ended after {end:,} of {answer.said.length:,} bytes")


def _check(file: RemoteFile, known: Description, part: pathlib.Path) -> None:
    """Looks at a whole file; what is wrong is removed, so that the next command begins anew.

    Raises:
      InputError: it is of another length, kind or sum than expected.
    """
    size = part.stat().st_size
    if known.length >= 0 and size != known.length:
        found = f"found {size:,} bytes; expected {known.length:,}"
    else:
        found = _other_kind(file, part) or _other_sum(file, part)
    if not found and not file.sha256 and known.length < 0:
        found = _cut_short(file, part)
    if found:
        part.unlink()
        _note(part).unlink()
        raise InputError(f"{file.shown}: {found}; it is removed: give the command again, or fetch it by hand")


def _other_kind(file: RemoteFile, part: pathlib.Path) -> str:
    """In which way a file is not of the kind that its name says; empty where it is, or the name says none."""
    with part.open("rb") as opened:
        first = opened.read(16)
    if file.name.endswith(".zip"):
        archive = zipfile.is_zipfile(part)
    else:
        archive = not file.name.endswith(_GZIPPED) or first.startswith(_GZIP)
    return (
        ""
        if archive
        else f"begins with {first!r}; expected an archive, and this may be a page that says why there is none"
    )


def _cut_short(file: RemoteFile, part: pathlib.Path) -> str:
    """In which way a file of unknown length is not whole; empty where it is, or where nothing tells."""
    if file.name.endswith(_GZIPPED):
        _log.info("%s: the server does not say its length; reading it to its end", file.name)
        try:
            with gzip.open(part) as unpacked:
                while unpacked.read(_CHUNK):
                    pass
        except (EOFError, OSError, zlib.error) as error:
            return f"found {part.stat().st_size:,} bytes that cannot be unpacked ({error}); expected a whole archive"
    elif not file.name.endswith(".zip"):  # its end holds the list of files, which has been looked at
        _log.warning("%s: is there, but neither length nor sum is known by which to check that it is whole", file.name)
    return ""
