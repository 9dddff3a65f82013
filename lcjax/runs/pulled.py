"""Whether a workdir was pulled from a hub: pulled.json says from where, and no training goes on in it."""

import pathlib
from typing import Annotated, TypedDict

import msgspec

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Name
from lcjax.runs import SCHEMA_VERSION

FILE = "pulled.json"
_REMEDY = "pull it again into a new folder"


class Pulled(TypedDict):
    """Where a network came from: ORG/NAME@COMMIT, and the fingerprint of its numbers."""

    source: Name
    network: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]


def write(folder: pathlib.Path, source: str, network: str) -> None:
    """Notes where the network of a workdir came from."""
    schema_version.write_json(folder / FILE, Pulled(source=source, network=network), SCHEMA_VERSION)


def read(folder: pathlib.Path) -> Pulled | None:
    """Where the network of a workdir came from; None of a run that was trained here.

    Raises:
      InputError: pulled.json is damaged.
    """
    path = folder / FILE
    return schema_version.read_json(path, Pulled, SCHEMA_VERSION, _REMEDY) if path.is_file() else None


def refuse(folder: pathlib.Path) -> None:
    """Raises InputError for a workdir that was pulled: it has no state of an optimiser, and no run to go on with."""
    if found := read(folder):
        raise InputError(
            f"--workdir={folder}: holds a network that was pulled from {found['source']}, and no run to go on with; "
            f"train in another --workdir, which begins with it by --config.init={folder}"
        )
