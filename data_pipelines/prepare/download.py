"""Fetches the files of a published data set: each goes on where it was broken off, and is checked once it is whole."""

import hashlib
import json
import logging
import os
import pathlib
import shutil
import time
import zipfile
from collections.abc import Callable, Sequence
from typing import TypeVar

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import remote_files
from data_pipelines.prepare.remote_files import Description
from data_pipelines.schema import files, locks, progress
from data_pipelines.schema.errors import InputError, did_you_mean
from data_pipelines.schema.spec import DatasetFamily, DatasetSpec, Downloads, RemoteFile

Result = TypeVar("Result")

_log = logging.getLogger("lcjax.data")

TRIES = 8  # in a row, without a byte between them
_FIRST_TRIES = 3  # to reach a server at all
_LONGEST_WAIT = 120.0  # seconds
_GZIP = b"\x1f\x8b"  # how such a file begins
_SPARE = 2**30  # bytes of the disk that stay free: 1 GB


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
    """Downloads files into a folder; returns them. Those that are there are left alone.

    Args:
      wanted: what is fetched.
      output: the folder, made if it is not there.
      wait: sleeps so many seconds between tries.

    Raises:
      InputError: a server has not what was expected or cannot be reached, the disk is too small, or another process
        downloads into the folder.
    """
    output.mkdir(parents=True, exist_ok=True)
    with locks.held(output / ".download.lock", output, doing="downloading into it", instead="name another --output"):
        missing = [file for file in wanted if not (output / file.name).exists()]
        for file in wanted:
            if file not in missing:
                _log.info("%s: is there already", output / file.name)
        said = {file: _described(file, wait) for file in missing}
        _check_room(output, said)
        for file in missing:
            _fetch(file, said[file], output, wait)
    return [output / file.name for file in wanted]


def _described(file: RemoteFile, wait: Callable[[float], None]) -> Description:
    return _again(file, lambda: remote_files.describe(file.url), wait, _FIRST_TRIES)


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
    _begin(part, file, said)
    start = part.stat().st_size
    total = said.length if said.length >= 0 else None
    with progress.bar(total=total, initial=start, desc=file.name, unit="B", unit_scale=True) as bar:
        if said.length < 0 or start < said.length:
            _again(file, lambda: _append(file, said, part, bar.update), wait, TRIES, lambda: part.stat().st_size)
    _check(file, said, part)
    os.replace(part, output / file.name)
    _note(part).unlink()
    _log.info("written: %s", output / file.name)


def _note(part: pathlib.Path) -> pathlib.Path:
    """What the beginning of a file is a beginning of."""
    return part.with_name(f"{part.name}.json")


def _begin(part: pathlib.Path, file: RemoteFile, said: Description) -> None:
    """Keeps the beginning of a file if it is of the file that the server has now; else begins anew."""
    now = json.dumps({"url": file.shown, "length": said.length, "identity": said.identity})
    note = _note(part)
    known_part = said.identity and note.exists() and files.read_whole(note, 2**20).decode(errors="replace") == now
    if not part.exists() or not known_part or part.stat().st_size > said.length >= 0:
        if part.exists() and part.stat().st_size:
            _log.warning("%s: is the beginning of another file than the server has now; beginning anew", part)
        part.write_bytes(b"")
    files.write_atomically(note, now)


def _append(file: RemoteFile, said: Description, part: pathlib.Path, tell: Callable[[int], object]) -> None:
    with part.open("ab") as out:
        for chunk in remote_files.read(file.url, out.tell(), said):
            try:
                out.write(chunk)
                out.flush()
            except OSError as error:  # of the disk, not of the connection
                raise InputError(f"{part}: {error.strerror}; the same command goes on with what is there") from error
            tell(len(chunk))
        os.fsync(out.fileno())
        if out.tell() < said.length:
            raise ConnectionError(f"the connection ended after {out.tell():,} of {said.length:,} bytes")


def _again(
    file: RemoteFile,
    do: Callable[[], Result],
    wait: Callable[[float], None],
    most: int,
    reached: Callable[[], int] = lambda: 0,
) -> Result:
    """Does what needs a server, and tries again while it breaks off, `most` times in a row without a further byte."""
    tries, before = 0, reached()
    while True:
        try:
            return do()
        except InputError:
            raise
        except remote_files.BROKEN as error:
            tries, before = (1 if reached() > before else tries + 1), reached()
            reason = str(error) or type(error).__name__
            if tries >= most:
                raise InputError(
                    f"{file.shown}: {reason}; expected an answer in {most} tries; the same command goes on from here"
                ) from error
            pause = min(2.0**tries, _LONGEST_WAIT)
            _log.warning("%s: %s; trying again in %.0f s", file.shown, reason, pause)
            wait(pause)


def _check(file: RemoteFile, said: Description, part: pathlib.Path) -> None:
    """Looks at a whole file; what is wrong is removed, so that the next command begins anew.

    Raises:
      InputError: it is of another length, kind or sum than expected.
    """
    found = ""
    size = part.stat().st_size
    kind = pathlib.PurePath(file.name).suffix
    with part.open("rb") as opened:
        first = opened.read(16)
        opened.seek(0)
        if said.length >= 0 and size != said.length:
            found = f"found {size:,} bytes; expected {said.length:,}"
        elif (kind == ".zip" and not zipfile.is_zipfile(part)) or (kind == ".gz" and not first.startswith(_GZIP)):
            found = f"begins with {first!r}; expected an archive, and this may be a page that says why there is none"
        elif file.sha256 and (sum_ := hashlib.file_digest(opened, "sha256").hexdigest()) != file.sha256:
            found = f"found the SHA-256 {sum_}; expected {file.sha256}, as its provider publishes it"
    if found:
        part.unlink()
        _note(part).unlink()
        raise InputError(f"{file.shown}: {found}; it is removed: give the command again, or fetch it by hand")
