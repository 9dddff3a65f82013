"""JSON from anywhere, read as typed values: what is wrong with a file is said in one line that names file and field.

The types are those of the fields that our files have: dataclasses and TypedDicts, whose numbers may be bounded by the
aliases below. Nothing else reads JSON.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import stat
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

import msgspec

from data_pipelines.schema import limits, names
from data_pipelines.schema.errors import InputError

T = TypeVar("T")

_FLOAT32 = 3.4028235e38
_ID = r"^(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])\Z"
_FLOAT64 = 1.7976931348623157e308
Number = Annotated[float, msgspec.Meta(ge=-_FLOAT32, le=_FLOAT32)]  # what networks compute with
Positive = Annotated[float, msgspec.Meta(gt=0, le=_FLOAT32)]
Real = Annotated[float, msgspec.Meta(ge=-_FLOAT64, le=_FLOAT64)]  # sums, coordinates: finite
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Ordinal = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]  # unix seconds up to the year 5138, or a time that was spent
LabelId = Annotated[int, msgspec.Meta(ge=0, le=255)]
LabelText = Annotated[str, msgspec.Meta(pattern=_ID)]  # an id as the key of an object
Tile = Annotated[int, msgspec.Meta(ge=1, le=2**16)]  # edge in pixels
Name = Annotated[str, msgspec.Meta(pattern=names.PATTERN)]
Colour = Annotated[str, msgspec.Meta(pattern=names.COLOUR)]

# How messages call what the library names otherwise.
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_PATTERNS = {
    names.PATTERN: names.EXPECTED,
    names.COLOUR: names.COLOUR_EXPECTED,
    _ID: "an id from 0 to 255, as text",
}
_STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")


def content(path: pathlib.Path, remedy: str, expected: str = "a file", limit: int = limits.JSON_BYTES) -> bytes:
    """The bytes of a file.

    Args:
      path: of the file.
      remedy: what to do about a file that cannot be read.
      expected: what should be there, for the message.
      limit: bytes that it may have.

    Raises:
      InputError: there is no such file, it is none, is larger, or cannot be read.
    """
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise InputError(f"{path}: a folder; expected {expected}; {remedy}")
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path}: a device or a pipe; expected {expected}; {remedy}")
        if about.st_size > limit:
            raise InputError(f"{path}: {about.st_size:,} bytes; expected {expected} of at most {limit:,}; {remedy}")
        return path.read_bytes()
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected {expected}; {remedy}") from error
    except (OSError, ValueError) as error:  # ValueError: a name with NUL
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); expected {expected}; {remedy}") from error


def parse(text: bytes | str, source: object, remedy: str, *, finite: bool = True) -> Any:
    """The values of a JSON text.

    Args:
      text: JSON, in UTF-8 where it is bytes.
      source: name of the file, for the message.
      remedy: what to do about a file that is damaged.
      finite: whether NaN and Infinity are refused: files of others may hold them where a number is not known.

    Raises:
      InputError: it is no JSON, names a key twice, holds NaN or Infinity, or lists within lists without end.
    """
    with _refusing(source, remedy):
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        fields = json.loads(
            decoded, object_pairs_hook=_once, parse_constant=_finite if finite else float, parse_float=_float
        )
        _check_depth(fields)
        if r"\ud" in decoded or r"\uD" in decoded:  # half a pair is text that no file can hold
            json.dumps(fields, ensure_ascii=False).encode("utf-8")
    return fields


def leading(text: str, source: object, remedy: str) -> Any:
    """The value that a text begins with, whatever follows it. Arguments and errors as of `parse`."""
    with _refusing(source, remedy):
        decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_finite, parse_float=_float)
        fields, _ = decoder.raw_decode(text)
        _check_depth(fields)
    return fields


@contextlib.contextmanager
def _refusing(source: object, remedy: str) -> Iterator[None]:
    """Raises InputError for what the JSON of the standard library refuses."""
    try:
        yield
    except RecursionError as error:
        raise InputError(f"{source}: cannot be read as JSON (lists within lists without end); {remedy}") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise InputError(f"{source}: cannot be read as JSON ({_short(error)}); {remedy}") from error


def _check_depth(fields: Any) -> None:
    level = [fields]
    for _ in range(limits.JSON_DEPTH):
        within = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        if not (level := [value for values in within for value in values]):
            return
    if any(isinstance(one, dict | list) for one in level):
        raise ValueError(f"lists within lists, more than {limits.JSON_DEPTH} deep")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r:.60} stands there twice")
    return fields


def _finite(text: str) -> float:
    raise ValueError(f"{text}, expected a finite number")


def _float(text: str) -> float:
    value = float(text)
    return value if abs(value) <= _FLOAT64 else _finite(text[:40])


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def convert(fields: Any, kind: type[T], source: object, remedy: str, *, foreign: bool = False) -> T:
    """Parsed values as what they must be.

    Args:
      fields: as `parse` returns them; they are not used again.
      kind: dataclass, TypedDict, or any other type that msgspec knows.
      source: name of the file, for the message.
      remedy: what to do about a file that is damaged.
      foreign: whether the file may hold more than `kind` names, and less of what has a default, as files of others do.

    Raises:
      InputError: a field is missing, unknown, of another type, or out of its range.
    """
    try:
        found = msgspec.convert(fields, type=kind, strict=True)
    except msgspec.ValidationError as error:
        raise InputError(f"{source}: {_told(fields, kind, str(error))}; {remedy}") from error
    except RecursionError as error:
        raise InputError(f"{source}: lists within lists without end; {remedy}") from error
    if not foreign and (difference := next(_differences(fields, found, ""), "")):
        raise InputError(f"{source}: {difference}; {remedy}")
    return found


def read(
    path: pathlib.Path,
    kind: type[T],
    remedy: str,
    *,
    foreign: bool = False,
    expected: str = "a JSON file",
    limit: int = limits.JSON_BYTES,
) -> T:
    """Reads a JSON file; arguments and errors as of `content`, `parse` and `convert`."""
    return convert(parse(content(path, remedy, expected, limit), path, remedy), kind, path, remedy, foreign=foreign)


def _differences(fields: Any, found: Any, path: str) -> Iterator[str]:
    """What of the file is in no field, and what fields of dataclasses are not in the file: we write all of them."""
    if isinstance(fields, dict):
        known = found if isinstance(found, dict) else _fields(found)
        for key in known:
            if key not in fields:
                yield f"{path}.{key}: missing".lstrip(".")
        for key, value in fields.items():
            deeper = f"{path}.{key:.60}".lstrip(".")
            if key not in known:
                yield f"{deeper}: a field that nothing reads; expected none of this name"
            elif isinstance(value, dict | list):
                yield from _differences(value, known[key], deeper)
    elif isinstance(fields, list) and isinstance(found, list | tuple):
        for place, (value, one) in enumerate(zip(fields, found, strict=True)):
            if isinstance(value, dict | list):
                yield from _differences(value, one, f"{path}[{place}]")


def _fields(found: Any) -> dict[str, Any]:
    """What a dataclass holds by name; not `vars`, in which msgspec leaves out what has its default."""
    named = dataclasses.fields(found) if dataclasses.is_dataclass(found) else ()
    return {field.name: getattr(found, field.name) for field in named}


def _told(fields: Any, kind: Any, message: str) -> str:
    """What the library says of a value that is not as expected, in our words: where, what was found, what expected."""
    words, _, place = message.partition(" - at `")
    _, of_key, place = place.rpartition("key` in `")
    steps = [name or index for name, index in _STEP.findall(place)]
    at, where = _followed(fields, kind, message, [*steps, "..."] if of_key else steps)
    if missing := re.fullmatch("Object missing required field `(.+)`", words):
        return f"{where}{'.' if where else ''}{missing[1]}: missing"
    if (got := re.fullmatch("Expected (.+), got `(.+)`", words)) or (limited := re.fullmatch("Expected (.+)", words)):
        expected = (got or limited)[1]  # type: ignore[index]
        shown = _WORDS.get(got[2], got[2]) if got and isinstance(at, dict | list) else _shown(at)
        if of_key:
            return f"{where}: an unknown key, expected {_worded(expected)}"
        return f"{where or 'the whole'}: found {shown}, expected {_worded(expected)}"
    return f"{where}{': ' if where else ''}{words}"


def _worded(expected: str) -> str:
    for pattern, words in _PATTERNS.items():
        if repr(pattern)[1:-1] in expected:
            return words
    kinds, bound = re.fullmatch("`(.+?)`(.*)", expected).groups()  # type: ignore[union-attr]
    return " or ".join(_WORDS.get(kind, kind) for kind in kinds.split(" | ")) + bound


def _shown(value: Any) -> str:
    """A value, short."""
    text = json.dumps(value) if isinstance(value, str | bool | None) else f"{value!r:.60}"
    return text if len(text) <= 60 else f"{text[:60]}..."


def _followed(fields: Any, kind: Any, message: str, steps: list[str]) -> tuple[Any, str]:
    """The value that a message is about, and its path. Of keys of dictionaries the library says no more than "..."."""
    at, where = fields, ""
    for step in steps:
        if step == "...":
            step = _culprit(fields, kind, message, at)
            at, where = at[step], f"{where}[{step!r:.60}]"
        elif step.isdigit() and isinstance(at, list):
            at, where = at[int(step)], f"{where}[{step}]"
        else:
            at, where = at[step], f"{where}.{step}".lstrip(".")
    return at, where


def _culprit(fields: Any, kind: Any, message: str, at: dict[str, Any]) -> str:
    """The first key of a dictionary within `fields` whose value the message is about, by halving."""
    items = list(at.items())
    low, high = 0, len(items)  # the message comes with the first `high` items, and not with the first `low`
    while high - low > 1:
        middle = (low + high) // 2
        at.clear()
        at.update(items[:middle])
        try:
            msgspec.convert(fields, type=kind, strict=True)
            said = ""
        except msgspec.ValidationError as error:
            said = str(error)
        low, high = (low, middle) if said == message else (middle, high)
    at.clear()
    at.update(items)
    return items[high - 1][0]
