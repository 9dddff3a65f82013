"""Versions of the JSON files that runs write: each file says its own, and any other than the known one is refused."""

from collections.abc import Mapping
from typing import Any

from data_pipelines.schema.errors import InputError

KEY = "schema_version"


def stamp(fields: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Returns the fields of a file with its version in front."""
    return {KEY: version, **fields}


def check(fields: dict[str, Any], version: int, source: object) -> dict[str, Any]:
    """Checks the version of what was read, and returns the fields without it.

    Args:
      fields: of the file.
      version: the one that this lcjax writes.
      source: name of the file, for the message.

    Raises:
      InputError: the file says another version, or none.
    """
    found = fields.get(KEY)
    if type(found) is not int or found < version:
        stated = "no schema_version" if found is None else f"schema_version {found!r}"
        raise InputError(f"{source}: {stated}; expected {version}; run the command that wrote it again")
    if found > version:
        raise InputError(
            f"{source}: schema_version {found}, and this lcjax reads {version}; use the newer lcjax that wrote it"
        )
    return {key: value for key, value in fields.items() if key != KEY}
