"""What names and colours from files may be: they go into pictures, tables, pages and XML."""

import difflib
import re
from collections.abc import Iterable

from data_pipelines.schema import limits
from data_pipelines.schema.errors import InputError

# Letters that no name holds: control characters, breaks of lines, marks that turn the direction of writing, halves of
# pairs and what is no character. XML cannot hold most of them.
_FORBIDDEN = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
PATTERN = rf"^(?=.*\S)[^{_FORBIDDEN}]{{1,{limits.MAX_NAME}}}\Z"
EXPECTED = f"a name of 1 to {limits.MAX_NAME} letters without control characters"
COLOUR = r"^#[0-9a-fA-F]{6}\Z"
COLOUR_EXPECTED = "#rrggbb, e.g. #1c0dff"


def wrong(name: str) -> str:
    """What is wrong with a name, as words: what was found, what was expected; empty where nothing is."""
    if re.search(PATTERN, name):
        return ""
    found = f"{len(name):,} letters" if len(name) > limits.MAX_NAME else f"{name!a}"
    return f"found {found}, expected {EXPECTED}"


def check(name: str, what: str) -> str:
    """Returns a name. Raises InputError for one that cannot be; `what` says whose name it is."""
    if problem := wrong(name):
        raise InputError(f"{what}: {problem}")
    return name


def is_inside(name: str) -> bool:
    """Whether a name of a file, with slashes between folders, stays below the folder that it is relative to."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and "\0" not in name and "\\" not in name


def printable(text: str) -> str:
    """A text from a file, for a message: as it is, or with escapes where it holds what would not be seen as it is."""
    return text if text.isprintable() else ascii(text)[1:-1]


def meant(name: str, known: Iterable[str], alike: float = 0.6) -> str:
    """Asks for the known name that a wrong one is nearest to; empty where none is as near as `alike`, from 0 to 1."""
    close = difflib.get_close_matches(name, known, 1, alike)
    return f"did you mean {close[0]!r}? " if close else ""


def colour(text: str, what: str = "colour") -> str:
    """Returns a colour. Raises InputError for what is not written as #rrggbb; `what` says whose it is."""
    if not re.search(COLOUR, text):
        raise InputError(f"{what}: found {text[:40]!a}, expected {COLOUR_EXPECTED}")
    return text
