"""network.json of a repository: which network it holds, and the sums of its files."""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Annotated, Literal, TypedDict

import msgspec

from data_pipelines.schema import schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.typed_json import Count, Name
from lcjax.export import weights
from lcjax.runs import calibration, model_card, workdir
from lcjax.version import __version__

FILE = "network.json"
README = "README.md"  # which people may write on, so that its sum is not kept
SCHEMA_VERSION = 1
NEEDED = (workdir.CONFIG, model_card.FILE, weights.OURS)
KNOWN = (*NEEDED, calibration.FILE)  # nothing else is fetched
Kind = Literal["best", "last"]
_CHUNK = 1 << 22


class Sum(TypedDict):
    """What a file must be."""

    bytes: Count
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class About(TypedDict):
    """Which network it is: run, licence, fingerprint of its numbers, kind and step of its checkpoint."""

    run: Name
    licence: Name
    network: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    kind: Kind
    step: Count


class Manifest(About):
    """What network.json holds."""

    lcjax: str
    files: dict[str, Sum]


def write(folder: pathlib.Path, about: About) -> None:
    """Writes network.json over the files of a folder that will be pushed."""
    files = {name: of_file(folder / name) for name in KNOWN if (folder / name).is_file()}
    schema_version.write_json(folder / FILE, Manifest(**about, lcjax=__version__, files=files), SCHEMA_VERSION)


def read(path: pathlib.Path, source: str) -> Manifest:
    """Reads network.json.

    Raises:
      InputError: it is not one, or names other files than a network has; `source` begins the message.
    """
    remedy = "ask whoever pushed it to push it again"
    text = path.read_bytes()
    found = schema_version.decode(text, Manifest, SCHEMA_VERSION, f"{source}: {FILE}", remedy)
    if missing := [name for name in NEEDED if name not in found["files"]]:
        raise InputError(f"{source}: {FILE}: files: no {', '.join(missing)}; {remedy}")
    if unknown := [name for name in found["files"] if name not in KNOWN]:
        raise InputError(
            f"{source}: {FILE}: files: found {unknown[0]!a:.60}; expected some of {', '.join(KNOWN)}; {remedy}"
        )
    return found


def of_file(path: pathlib.Path) -> Sum:
    """The size and the SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Sum(bytes=size, sha256=digest.hexdigest())


def check(paths: Mapping[str, pathlib.Path], found: Manifest, source: str) -> None:
    """Raises InputError for a file that has other bytes than were pushed."""
    for name, path in paths.items():
        here, wanted = of_file(path), found["files"][name]
        if here != wanted:
            raise InputError(
                f"{source}: {name}: {here['bytes']:,} bytes with the SHA-256 {here['sha256'][:16]}..., expected "
                f"{wanted['bytes']:,} with {wanted['sha256'][:16]}...; pull it again, or ask whoever pushed it"
            )
