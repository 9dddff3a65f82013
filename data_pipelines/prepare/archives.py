"""Archives as they are downloaded, unpacked: only what is wanted, nothing outside the target, on again after a kill."""

import contextlib
import dataclasses
import errno
import functools
import gzip
import logging
import os
import pathlib
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple, Self, TypedDict

from tqdm import tqdm

from data_pipelines.schema import files, limits, names, progress, zips
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.on_disk import SCHEMA_VERSION
from data_pipelines.schema.schema_version import read_json, write_json
from data_pipelines.schema.typed_json import Count

_log = logging.getLogger("lcjax.data")

_CHUNK = 1 << 20
# What the libraries raise for damaged bytes. Decompressors also raise OSError without a number (bz2, gzip).
_DAMAGED = (tarfile.TarError, *zips.DAMAGED)
# A name that the file system does not take: too long, or a file where a folder should be.
_NOT_A_NAME = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EILSEQ, errno.EINVAL)


class Refusal(NamedTuple):
    """One member that was not unpacked."""

    archive: str
    member: str
    reason: str


def unpack(source: pathlib.Path, target: pathlib.Path, members: re.Pattern[str]) -> list[Refusal]:
    """Unpacks the wanted members of every archive (.zip, .tar, .tar.gz, .tgz) below `source`.

    A member becomes TARGET/<path of the archive below source, with its suffix>/<path of the member>. It appears under
    its name when it is complete. A note beside each folder says what the archive was and what was refused: finished
    archives are not opened again, and of those begun zips go on with the members that are missing.

    Args:
      source: a folder; folders and files with a dot in front, and __MACOSX, are left out.
      target: a folder, made if it is not there.
      members: matches the names (without folders) of the files that are wanted.

    Returns the members that match and were refused: those that would leave the target, or have a name that no folder
    takes, links and devices, encrypted ones, those that a zip cannot yield whole, and the second one of two of the same
    name.

    Raises InputError for an archive that cannot be opened or ends early, is no file, holds more than
    `data_pipelines.schema.limits` allow, and where the target cannot be written.
    """
    archives = find(source)
    for archive in archives:
        files.open_regular(archive).close()
    folders = {archive: target / archive.relative_to(source) for archive in archives}
    refused = {archive: _finished(folders[archive], _identity(archive, members)) for archive in archives}
    todo = [archive for archive in archives if refused[archive] is None]
    total = sum(archive.stat().st_size for archive in todo)
    with progress.bar(total=total, unit="B", unit_scale=True, desc=f"unpacking {source}", disable=not todo) as bar:
        for archive in todo:
            with _explained(archive, folders[archive]):
                refused[archive] = _unpack(archive, folders[archive], members, bar)
    return [row for rows in refused.values() for row in rows or ()]


def root_of(folder: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """The folder below `target` that holds all of the archive that `folder` was unpacked from."""
    below = [path for path in (folder, *folder.parents) if path != target and path.is_relative_to(target)]
    return next(path for path in reversed(below) if _note(path).exists())


def find(source: pathlib.Path) -> list[pathlib.Path]:
    """The archives below `source`, in a fixed order; warns of those of kinds that are not opened."""
    paths = list(files.below(source))
    if others := [path for path in paths if path.name.lower().endswith(_OTHERS)]:
        _log.warning(f"left out {', '.join(map(str, others))}: expected {', '.join(_OPENERS)}; unpack by hand")
    return [path for path in paths if path.name.lower().endswith(tuple(_OPENERS))]


class _Identity(TypedDict):
    """What tells an archive from another one."""

    bytes: Count
    modified_ns: int
    members: str


class _Unpacked(TypedDict):
    """The note on an archive: what it was, and what of it was refused; null while it is being unpacked."""

    archive: _Identity
    refused: list[tuple[str, str, str]] | None


def _note(folder: pathlib.Path) -> pathlib.Path:
    return folder.with_name(f".{folder.name}.json")


def _identity(archive: pathlib.Path, members: re.Pattern[str]) -> dict:
    about = archive.stat()
    return {"bytes": about.st_size, "modified_ns": about.st_mtime_ns, "members": members.pattern}


def _noted(folder: pathlib.Path, identity: dict) -> _Unpacked | None:
    """The note if there is one of this archive."""
    path = _note(folder)
    if not path.exists():
        return None
    note = read_json(path, _Unpacked, SCHEMA_VERSION, "delete the folder that the data set is made in, to start anew")
    return note if note["archive"] == identity else None


def _finished(folder: pathlib.Path, identity: dict) -> list[Refusal] | None:
    note = _noted(folder, identity)
    return None if note is None or note["refused"] is None else [Refusal(*row) for row in note["refused"]]


def _unpack(archive: pathlib.Path, folder: pathlib.Path, members: re.Pattern[str], bar: tqdm) -> list[Refusal]:
    identity = _identity(archive, members)
    if not _noted(folder, identity) and folder.exists():
        shutil.rmtree(folder)  # of an archive that was another one
    folder.mkdir(parents=True, exist_ok=True)
    write_json(_note(folder), {"archive": identity, "refused": None}, SCHEMA_VERSION)

    refused, seen, begun, total = [], set(), bar.n, 0
    with _opened(archive) as listing:
        if isinstance(listing, list):  # a tar tells what is in it only as it is read
            wanted = [member for member in listing if _is_wanted(member.name, members)]
            _check_expansion(archive, identity["bytes"], sum(member.size for member in wanted))
            _check_room(archive, folder, wanted)
        for member in listing:
            total += member.size
            _check_expansion(archive, identity["bytes"], total)
            if _is_wanted(member.name, members):
                path = folder / member.name.replace("\0", "")
                reason = unsafe(member.name) or member.wrong or ("a second member of this name" * (path in seen))
                reason = reason or _write(member, path)
                seen.add(path)
                if reason:
                    refused.append(Refusal(str(archive), names.printable(member.name), reason))
            bar.update(begun + member.begin - bar.n)
    bar.update(begun + identity["bytes"] - bar.n)
    write_json(_note(folder), {"archive": identity, "refused": refused}, SCHEMA_VERSION)
    return refused


def _is_wanted(name: str, members: re.Pattern[str]) -> bool:
    *folders, name = re.split(r"[/\\]", name.partition("\0")[0])
    return "__MACOSX" not in folders and members.fullmatch(name) is not None


def unsafe(name: str) -> str:
    """Why a name could lead out of the target, here or on Windows, or is none; empty where it is well."""
    if "\0" in name or "\\" in name:
        return "NUL or backslash in its name, expected a plain path"
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        return "an absolute path, expected one inside the archive"
    parts = name.split("/")
    if ".." in parts:
        return '".." in its path, expected a path inside the archive'
    if len(parts) > limits.FOLDER_DEPTH:
        return f"{len(parts)} folders deep, expected at most {limits.FOLDER_DEPTH}"
    longest = max(len(os.fsencode(part)) for part in parts)
    if longest > limits.NAME_BYTES:
        return f"a name of {longest:,} bytes, expected at most {limits.NAME_BYTES}"
    return ""


def _check_expansion(archive: pathlib.Path, packed: int, unpacked: int) -> None:
    most = max(limits.UNPACKED_EXPANSION * packed, limits.UNPACKED_SMALL)
    if unpacked > most:
        raise InputError(
            f"{archive}: {packed:,} bytes that unpack to {unpacked:,} and more; expected at most {most:,}; if it is "
            "what it should be, unpack it by hand"
        )


def _check_room(archive: pathlib.Path, folder: pathlib.Path, members: list["_Member"]) -> None:
    free = shutil.disk_usage(folder).free
    missing = (m for m in members if not unsafe(m.name) and not os.path.exists(folder / m.name))
    needed = sum(member.size for member in missing)
    if needed > free:
        raise InputError(
            f"{archive}: needs {needed / 1e9:,.2f} GB in {folder}, where {free / 1e9:,.2f} GB are free; make room or "
            "give a --data_dir on a larger disk"
        )


# What is in an archive.


@dataclasses.dataclass(frozen=True)
class _Member:
    """One file, folder, link, ... in an archive.

    Attributes:
      size: in bytes, unpacked.
      begin: in the bytes of the archive.
      open: gives its bytes.
      wrong: why it is refused unread.
      alone: the others can be read when it is damaged, as in a zip; a tar is one stream.
    """

    name: str
    size: int
    begin: int
    open: Callable[[], Any]
    wrong: str
    alone: bool


def _write(member: _Member, path: pathlib.Path) -> str:
    """Writes a member and returns an empty string, or why it cannot be."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        if member.alone and path.is_file() and path.stat().st_size == member.size:
            return ""  # written before a kill
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as packed, temporary.open("wb") as file:
            left = member.size  # no more than what was declared and room was found for
            while left and (chunk := packed.read(min(left, _CHUNK))):
                left -= file.write(chunk)
            # The end of the stream is where its checksum is compared.
            if left or packed.read(1):
                raise EOFError(f"{member.size:,} bytes are declared, {member.size - left:,} found")
        temporary.replace(path)
    except (*_DAMAGED, OSError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        number = getattr(error, "errno", None)
        if number in _NOT_A_NAME:
            return f"cannot be unpacked ({os.strerror(number)})"
        if number is not None or not member.alone:
            raise
        return f"cannot be unpacked ({error}); download the archive again"
    return ""


@contextlib.contextmanager
def _zipped(archive: pathlib.Path) -> Iterator[list[_Member]]:
    with files.open_regular(archive) as raw, zips.opened(archive, raw, "unpack it by hand") as file:
        # In the order in which they lie on the disk.
        infos = sorted(file.infolist(), key=lambda info: info.header_offset)
        # zipfile cuts `filename` at a NUL.
        yield [
            _Member(
                i.orig_filename, i.file_size, i.header_offset, functools.partial(file.open, i), _wrong(i), alone=True
            )
            for i in infos
        ]


def _wrong(info: zipfile.ZipInfo) -> str:
    kind = stat.S_IFMT(info.external_attr >> 16)  # zero where the archive was not made on Unix
    if kind not in (0, stat.S_IFREG):
        return "a link or a device, expected a file"
    return "encrypted, expected a file without a password" if info.flag_bits & 1 else ""


@contextlib.contextmanager
def _tarred(archive: pathlib.Path) -> Iterator[Iterable[_Member]]:
    packed = archive.suffix.lower() != ".tar"
    with contextlib.ExitStack() as stack:
        raw = stack.enter_context(files.open_regular(archive))
        stream = stack.enter_context(gzip.GzipFile(fileobj=raw)) if packed else raw
        file = stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header))
        yield _tar_members(file, raw)
        # To the end of the stream, where its checksum is.
        behind = 0
        while chunk := stream.read(_CHUNK):
            behind += len(chunk)
            _check_expansion(archive, archive.stat().st_size, behind)


def _tar_members(file: tarfile.TarFile, raw: IO[bytes]) -> Iterator[_Member]:
    for info in file:
        wrong = "" if info.isreg() else "a link or a device, expected a file"
        if info.issparse():
            wrong = "a sparse file, expected one with all its bytes"  # its size is what it says
        yield _Member(info.name, info.size, raw.tell(), functools.partial(file.extractfile, info), wrong, False)
        file.members.clear()  # type: ignore[attr-defined]  # it would grow with the archive


_TEXTS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class _Header(tarfile.TarInfo):
    """A header that must be whole: tarfile takes a damaged or missing one for the end of the archive.

    What tarfile reads whole to understand it must be small: texts, and the maps of sparse files, which are not read.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _TEXTS and header.size > limits.HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size:,} bytes, expected at most {limits.HEADER_BYTES:,}")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"{header.name}: a sparse file, expected files with all their bytes")
        if header.size < 0:
            raise tarfile.ReadError(f"{header.name}: {header.size} bytes")
        return header

    def _proc_gnusparse_10(self, *_) -> None:
        raise tarfile.ReadError(f"{self.name}: a sparse file, expected files with all their bytes")

    @classmethod
    def fromtarfile(cls, file: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(file)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the blocks of zeros at the end
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


_OTHERS = (".7z", ".rar", ".tar.bz2", ".tar.xz", ".tar.zst")
_OPENERS = {".zip": _zipped, ".tar": _tarred, ".tar.gz": _tarred, ".tgz": _tarred}


def _opened(archive: pathlib.Path) -> contextlib.AbstractContextManager[Iterable[_Member]]:
    return next(opener for suffix, opener in _OPENERS.items() if archive.name.lower().endswith(suffix))(archive)


@contextlib.contextmanager
def _explained(archive: pathlib.Path, folder: pathlib.Path) -> Iterator[None]:
    """Turns what the libraries raise for a whole archive, and a full disk, into InputError."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        if error.errno is None:
            raise _damaged(archive, error) from error
        full = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
        raise InputError(
            f"{archive}: cannot be unpacked into {folder} ({full}); make room or give a --data_dir that can be "
            "written; what is complete stays, and the same command goes on"
        ) from error
    except _DAMAGED as error:
        raise _damaged(archive, error) from error


def _damaged(archive: pathlib.Path, error: Exception) -> InputError:
    return InputError(
        f"{archive}: cannot be read to its end ({error}); found {archive.stat().st_size:,} bytes, damaged or "
        "incomplete; download it again"
    )
