"""Versions of JSON files: each file says its own, and any other than the one that is known is refused by name."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, TypeVar

from data_pipelines.schema import typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically

T = TypeVar("T")

KEY = "schema_version"
_AGAIN = "run the command that wrote it again"


def stamp(fields: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Returns the fields of a file with its version in front."""
    return {KEY: version, **fields}


def check(fields: dict[str, Any], version: int, source: object, remedy: str = _AGAIN) -> dict[str, Any]:
    """Checks the version of what was read, and returns the fields without it.

    Args:
      fields: of the file, as JSON has them.
      version: the one that this lcjax writes.
      source: name of the file, for the message.
      remedy: what to do about a file of an earlier version.

    Raises:
      InputError: the file says another version, or none.
    """
    stated = fields.get(KEY)
    if type(stated) is not int or stated < version:
        told = "no schema_version" if stated is None else f"schema_version {stated!r}"
        raise InputError(f"{source}: {told}; expected {version}; {remedy}")
    if stated > version:
        raise InputError(
            f"{source}: schema_version {stated}, and this lcjax reads {version}; use the newer lcjax that wrote it"
        )
    return {key: value for key, value in fields.items() if key != KEY}


def write_json(path: pathlib.Path, fields: Mapping[str, Any], version: int) -> None:
    """Writes a file of a version, completely or not at all."""
    write_atomically(path, json.dumps(stamp(fields, version), indent=1) + "\n")


def read_json(path: pathlib.Path, kind: type[T], version: int, remedy: str = _AGAIN) -> T:
    """Reads what `write_json` wrote.

    Args:
      path: of the file.
      kind: what its fields must be, beside the version (typed_json.py).
      version: the one that this lcjax writes.
      remedy: what to do about a file that is not there, is damaged, or is of an earlier version.

    Raises:
      InputError: there is no such file, it is no JSON, it says another version or none, or a field is not what it must
        be.
    """
    text = typed_json.content(path, remedy, f"a JSON file of {KEY} {version}")
    return decode(text, kind, version, path, remedy)


def decode(text: bytes | str, kind: type[T], version: int, source: object, remedy: str = _AGAIN) -> T:
    """The fields of a JSON text, as `read_json` reads them from a file; `source` names it in messages."""
    fields = typed_json.parse(text, source, remedy)
    checked = check(fields if isinstance(fields, dict) else {}, version, source, remedy)
    return typed_json.convert(checked, kind, source, remedy)
