"""What names a raster that is no plain file: the address of one on a server, or a STAC item and some of its assets."""

import pathlib
import re
import urllib.parse
from typing import NamedTuple

from data_pipelines.remote import hosts
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import RemoteFile

LONGEST = 4000  # letters of an address
_SCHEME = re.compile(r"(https?|s3|gs)://", re.IGNORECASE)
_GDAL = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://"}  # how GDAL spells addresses
_PORTS = {"https": ":443", "http": ":80"}
_SAFE = "%/:?#[]@!$&'()*+,;=~"
_PLAIN = re.compile(r"[\w.~-]", re.ASCII)  # what means the same in an address, escaped or not
_ITEM = re.compile(r"(.+\.(?:geo)?json)(?:#([^#]*))?", re.IGNORECASE | re.DOTALL)


class Asset(NamedTuple):
    """An asset of a STAC item, as an address names it.

    Attributes:
      key: its name in the item.
      names: what its bands are called, in order; empty as the item or the file calls them.
    """

    key: str
    names: tuple[str, ...] = ()


class Address(pathlib.PosixPath):
    """An address in the place of a path.

    It is named in messages, compared, sorted and sent to other processes as a path is, and has a name, a stem and a
    suffix. Nothing is there under it for the operating system: `data_pipelines.geo.raster_io.opened` opens it.

    It is a path of one part, or two: the text, quoted, and what the file was when it was first looked at.
    """

    @classmethod
    def of(cls, text: str, version: str = "") -> "Address":
        """The address of a text; `version` is what a server said of the file, where that is held to."""
        return cls(*(urllib.parse.quote(part, safe="") for part in (text, version) if part))

    @property
    def text(self) -> str:
        """The whole of it."""
        return urllib.parse.unquote(self.parts[0])

    @property
    def version(self) -> str:
        """What the server must say of the file, as text; empty where that is open."""
        return urllib.parse.unquote(self.parts[1]) if len(self.parts) > 1 else ""

    @property
    def is_remote(self) -> bool:
        """Whether it lies on a server; else it is of a STAC item on this machine."""
        return bool(_SCHEME.match(self.text))

    @property
    def file(self) -> RemoteFile:
        """What a server is asked for."""
        return RemoteFile(part="", url=self._parted[0])

    @property
    def path(self) -> pathlib.Path:
        """The file of a STAC item on this machine."""
        return pathlib.Path(self._parted[0])

    @property
    def assets(self) -> tuple[Asset, ...]:
        """The assets of a STAC item of which the raster consists; none where it is a file of its own."""
        parts = [urllib.parse.unquote(part) for part in self._parted[1].split(",") if part]
        pairs = [part.rpartition("=") for part in parts]
        return tuple(Asset(key, tuple(filter(None, names.split("+")))) for names, _, key in pairs)

    @property
    def item(self) -> "Address":
        """The address of the STAC item itself."""
        return Address.of(self._parted[0])

    @property
    def _parted(self) -> tuple[str, str]:
        """The address of the file, and the text of the assets."""
        if self.is_remote:
            file, _, assets = self.text.partition("#")
            return file, assets
        found = _ITEM.fullmatch(self.text)
        return (found[1], found[2] or "") if found else (self.text, "")

    def with_assets(self, assets: tuple[Asset, ...]) -> "Address":
        """The raster that consists of these assets of this item."""
        told = ",".join(
            urllib.parse.quote(f"{'+'.join(names)}={key}" if names else key, safe="=+") for key, names in assets
        )
        return Address.of(f"{self.item.text}#{told}")

    def __eq__(self, other: object) -> bool:
        """Whether two are the same, with all that is not shown."""
        return isinstance(other, Address) and self.parts == other.parts

    def __hash__(self) -> int:
        """Of all of it."""
        return hash(self.parts)

    def __str__(self) -> str:
        """The address as it may be shown: a query can be a secret."""
        if not self.is_remote:
            return self.text
        return self.file.shown + (f"#{self._parted[1]}" if self._parted[1] else "")

    @property
    def name(self) -> str:
        """The last part, which names a file here, too."""
        last = self.file.name if self.is_remote else self.path.name
        return re.sub(r"[^\w.-]", "_", last.rstrip("/")).lstrip(".") or "scene"

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return pathlib.PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The end of the name, from its last dot on."""
        return pathlib.PurePosixPath(self.name).suffix

    @property
    def parent(self) -> pathlib.Path:  # type: ignore[override]
        """The folder, for messages."""
        return pathlib.PosixPath(str(self).rpartition("/")[0])

    def is_dir(self, **_: object) -> bool:
        """False: a server lists no folders."""
        return False


def given(text: object, what: str, below: pathlib.Path | None = None) -> pathlib.Path:
    """The raster that a user means: a path as `paths.given` has it, or an `Address`.

    https://, http://, s3://, gs:// and GDAL's /vsicurl/, /vsis3/ and /vsigs/ are addresses, and so is a STAC item with
    the assets wanted of it, ITEM.json#ASSET,ASSET or ITEM.json#NAME=ASSET,NAME+NAME=ASSET.

    Args:
      text: as it was given.
      what: gave it, for the message.
      below: the folder that a relative path starts from.

    Raises:
      InputError: as `paths.given`, and for a server that --remote does not name.
    """
    if isinstance(text, Address):
        found = text
    elif isinstance(text, str) and (plain := remote_text(text)):
        if len(plain) > LONGEST:
            raise InputError(
                f"{what}={paths.shown(plain)[:40]}...: {len(plain):,} letters; expected at most {LONGEST:,}"
            )
        found = Address.of(plain)
    else:
        path = paths.given(text, what, below)  # type: ignore[arg-type]
        item = _ITEM.fullmatch(str(path))
        if not item or item[2] is None or path.exists():
            return path
        return Address.of(f"{pathlib.Path(item[1]).absolute()}#{item[2]}")
    if found.is_remote:
        hosts.check(found.file.url, f"{what}={found}")
    return found


def remote_text(text: str) -> str:
    """A text as an address of https or http; empty where it names no server.

    Spellings that mean the same are one: the host in small letters, without the port of the scheme, and nothing escaped
    that needs it not.
    """
    for start, scheme in _GDAL.items():
        if text.startswith(start):
            text = scheme + text.removeprefix(start)
    if not (found := _SCHEME.match(text)):
        return ""
    scheme, rest = found[1].lower(), text[found.end() :]
    bucket, _, key = rest.partition("/")
    if place := hosts.of_bucket(scheme, bucket):
        key, sharp, assets = key.partition("#")  # a key may hold any sign
        return place + _escaped(urllib.parse.quote(key, safe="/%")) + sharp + assets
    host, path, more = re.findall(r"^([^/?#]*)([^?#]*)((?s:.*))$", urllib.parse.quote(rest, safe=_SAFE))[0]
    host = re.sub(rf"\.?(:|{_PORTS[scheme]})?$", "", host.lower())
    return f"{scheme}://{host}{_escaped(path)}{more}"


def _escaped(path: str) -> str:
    """A path in which as little as may be is escaped."""

    def plain(found: re.Match[str]) -> str:
        letter = chr(int(found[1], 16))
        return letter if _PLAIN.fullmatch(letter) else found[0].upper()

    return re.sub(r"%([0-9a-fA-F]{2})", plain, path)
