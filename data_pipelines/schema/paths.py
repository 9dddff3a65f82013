"""Paths that users give: in flags, configs, CSVs and in Python; each goes through `given`, or is one of several."""

import glob
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from data_pipelines.schema.errors import InputError

NAME_BYTES = 255  # of one name, on every file system that people are known to use
PATH_BYTES = 4095
_BUCKET = re.compile(r"(gs|s3|az|abfss?|hf)://?", re.IGNORECASE)  # one slash is what pathlib leaves of two
_ADDRESS = re.compile(r"(https?|ftps?|file)://?", re.IGNORECASE)


def given(path: str | os.PathLike[str], what: str, below: pathlib.Path | None = None) -> pathlib.Path:
    """The path that a user means: `~` and `~user` are home folders, as in a shell; everything else is as it stands.

    Args:
      path: as it was given.
      what: gave it, for the message: "--workdir", "config.data_dir", "LIST.csv, line 3".
      below: the folder that a relative path starts from; None for the current one.

    Raises:
      InputError: it is empty, a bucket, an address, of an unknown user's home, or no name that a file can have.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        raise InputError(f"{what}={path!r}: expected a path")
    _check(text, what)
    found = pathlib.Path(_expanded(text, what, below or pathlib.Path()))
    if below is None and str(found).startswith("~"):  # ./~ has lost its first part, and a folder of that name is meant
        found = found.absolute()
    return found if below is None else below / found


def shown(text: str) -> str:
    """A text that may be an address, without what of it may be a secret: its query, and a user before its server."""
    address = re.fullmatch(r"(.*?\w:/{1,2})(.*)", text, re.DOTALL)  # one slash is what pathlib leaves of two
    return f"{address[1]}{re.split('[?#]', from_host(address[2]))[0]}" if address else text


def from_host(rest: str) -> str:
    """An address behind its ://, from the host on. A password may hold any sign, unescaped: it ends at the last @."""
    has_user = not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:@]*)(:\d*)?", re.split("[/?#]", rest)[0])
    return rest.rpartition("@")[2] if has_user else rest


def real(path: pathlib.Path, folders: dict[pathlib.Path, pathlib.Path] | None = None) -> pathlib.Path:
    """Where a path leads, links followed. One that leads to itself, which `Path.resolve` raises for, stays as it is.

    Args:
      path: of a file or folder.
      folders: where folders lead, as found before; filled here. For many files of few folders.
    """
    if folders is None or path.name in ("", "..") or path.is_symlink():
        return pathlib.Path(os.path.realpath(path))
    if path.parent not in folders:
        folders[path.parent] = pathlib.Path(os.path.realpath(path.parent))
    return folders[path.parent] / path.name


def several(text: str | Sequence[str] | None, what: str) -> list[str]:
    """The paths of a text that separates them by commas; a path that is there may hold commas itself.

    Args:
      text: of a flag; a list of texts is each of them; None is none.
      what: gave it.
    """
    texts = [text] if isinstance(text, str) else list(text or ())
    return [part for one in texts for part in _parted(one, what)]


def matching(pattern: str, what: str) -> tuple[list[pathlib.Path], bool]:
    """The paths that a pattern means, and whether it is one: what is there under the very name is meant literally.

    Of `run [1]/*`, where the folder `run [1]` is there, the star alone is a pattern. A path without a pattern is
    returned whether it is there or not.

    Raises:
      InputError: as `given`.
    """
    path = given(pattern, what)
    literal = next((parent for parent in (path, *path.parents) if parent.exists()), pathlib.Path())
    rest = str(path.relative_to(literal))
    if literal == path or not glob.has_magic(rest):
        return [path], False
    found = glob.glob(os.path.join(glob.escape(str(literal)), rest), recursive=True)
    return [pathlib.Path(text) for text in sorted(found)], True


def refuse_buckets(text: str, what: str) -> None:
    """Raises InputError for a text that names a bucket."""
    if _BUCKET.match(text):
        raise InputError(f"{what}: buckets are not opened; mount it and name the folder, see docs/launching.md")


def _check(text: str, what: str) -> None:
    refuse_buckets(text, f"{what}={shown(text)}")
    if _ADDRESS.match(text):
        raise InputError(f"{what}={shown(text)}: addresses are not opened; download it, and name the file or folder")
    if not text.strip():
        raise InputError(f"{what}={text!r}: empty; expected a path")
    if control := next((letter for letter in text if ord(letter) < 32 or ord(letter) == 127), ""):
        raise InputError(f"{what}={text!r}: holds {control!r}; expected a path without control characters; rename it")
    try:
        size, longest = len(text.encode()), max(len(part.encode()) for part in text.split("/"))
    except UnicodeEncodeError as error:
        raise InputError(f"{what}={text!r}: not UTF-8; rename it") from error
    if longest > NAME_BYTES or size > PATH_BYTES:
        long = f"a name of {longest:,} bytes" if longest > NAME_BYTES else f"a path of {size:,} bytes"
        raise InputError(f"{what}={text[:40]}...: {long}; expected at most {NAME_BYTES}, and {PATH_BYTES:,} in all")


def _expanded(text: str, what: str, below: pathlib.Path) -> str:
    if not text.startswith("~"):
        return text
    expanded = os.path.expanduser(text)
    if not expanded.startswith("~"):
        return expanded
    if os.path.lexists(below / text):  # such as the backup of an editor, ~scene.tif
        return text
    raise InputError(
        f"{what}={text}: there is no user {text[1:].partition('/')[0]!r} whose home it could be; write ./{text} for a "
        "file of that name"
    )


def _parted(text: str, what: str) -> Iterator[str]:
    parts = text.split(",")
    start = 0
    while start < len(parts):
        ends = range(len(parts), start + 1, -1)
        whole = ((end, ",".join(parts[start:end])) for end in ends)
        start, part = next(((end, one) for end, one in whole if _is_there(one, what)), (start + 1, parts[start]))
        if part.strip():
            yield part


def _is_there(text: str, what: str) -> bool:
    # Of a text that is several paths in truth, any may be no path.
    try:
        return given(text, what).exists()
    except (InputError, OSError):
        return False
