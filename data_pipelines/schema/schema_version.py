"""Versions of JSON files: each file says its own, and any other than the one that is known is refused by name."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically

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


def read_json(path: pathlib.Path, version: int, remedy: str = _AGAIN) -> dict[str, Any]:
    """Reads what `write_json` wrote.

    Args:
      path: of the file.
      version: the one that this lcjax writes.
      remedy: what to do about a file that is not there, is damaged, or is of an earlier version.

    Raises:
      InputError: there is no such file, it is no JSON, or it says another version or none.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; expected one of schema_version {version}; {remedy}") from error
    except ValueError as error:  # neither UTF-8 nor JSON
        raise InputError(f"{path}: cannot be read as JSON ({error}); {remedy}") from error
    return check(fields if isinstance(fields, dict) else {}, version, path, remedy)
