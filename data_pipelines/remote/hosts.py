"""Which servers may be asked for rasters: those that the command line names, and nobody else.

The rule holds for every request: the address that a user or a CSV names, those that a STAC item or a VRT names, and
each to which a server sends on.
"""

import dataclasses
import re
import urllib.parse

from data_pipelines.schema.errors import InputError

_PORTS = {"https": 443, "http": 80}
_NAME = r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\]"
_BUCKET = r"[a-z0-9][a-z0-9._-]*"
_EXAMPLE = "e.g. --remote=data.example.org, --remote=localhost:8000 or --remote=s3://BUCKET"
# Where buckets are read. A certificate is of names without a dot more: buckets with one are folders of the server.
_S3, _S3_DOTTED = "https://{bucket}.s3.amazonaws.com/", "https://s3.amazonaws.com/{bucket}/"
_GS = "https://storage.googleapis.com/{bucket}/"


@dataclasses.dataclass(frozen=True)
class Host:
    """A server, or a bucket on one.

    Attributes:
      name: pattern of the name, in small letters.
      port: None is that of the scheme.
      folder: with which the paths of its files begin.
    """

    name: str
    port: int | None = None
    folder: str = "/"

    def has(self, url: str) -> bool:
        """Whether an address, of the schemes https and http, lies there."""
        parts = urllib.parse.urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
        there = port == (self.port or _PORTS[parts.scheme]) and re.fullmatch(self.name, _plain(parts))
        return bool(there) and parts.path.startswith(self.folder)


_allowed: dict[str, Host] = {}


def allow(*texts: str) -> None:
    """Lets servers be asked by this process.

    Args:
      texts: as in `--remote=HOST,...`: names of servers, with a port where it is not that of the scheme; s3://BUCKET
        and gs://BUCKET are these buckets alone.

    Raises:
      InputError: one of them is none of these.
    """
    for text in texts:
        _allowed[text] = _host(text)


def allowed() -> tuple[str, ...]:
    """The texts that `allow` was given, for another process."""
    return tuple(_allowed)


def of_bucket(scheme: str, bucket: str) -> str:
    """The address of a public bucket, to which the key is added; empty where `scheme` is none of s3 and gs."""
    address = {"s3": _S3_DOTTED if "." in bucket else _S3, "gs": _GS}.get(scheme, "")
    return address.format(bucket=bucket)


def check(url: str, what: str) -> None:
    """Raises InputError unless an address is one that may be asked; `what` names it."""
    try:
        parts = urllib.parse.urlsplit(url)
        name, _ = parts.hostname, parts.port
    except ValueError:
        name = None
    if not name or parts.scheme not in _PORTS or "@" in parts.netloc or not url.isprintable() or " " in url:
        raise InputError(
            f"{what}: not an address that can be asked; expected as in https://HOST/FILE.tif, without user"
        )
    if any(segment in (".", "..") for segment in urllib.parse.unquote(parts.path).replace("\\", "/").split("/")):
        raise InputError(f"{what}: holds . or .. as the name of a folder; expected the plain address of a file")
    if not any(host.has(url) for host in _allowed.values()):
        named = f"--remote names {', '.join(_allowed)}" if _allowed else "--remote names none"
        host = parts.netloc.lower()
        raise InputError(
            f"{what}: lies on the server {host}, and {named}; expected servers that the command line names: if you "
            f"trust it, add --remote={host}"
        )


def _plain(parts: urllib.parse.SplitResult) -> str:
    """The name of a server, as it is compared."""
    name = (parts.hostname or "").rstrip(".")
    return f"[{name}]" if ":" in name else name


def _host(text: str) -> Host:
    plain = text.strip().lower()
    if bucket := re.fullmatch(rf"s3://({_BUCKET})/?", plain):
        if "." in bucket[1]:
            return Host(r"s3([.-][a-z0-9-]+)?\.amazonaws\.com", folder=f"/{bucket[1]}/")
        return Host(rf"{re.escape(bucket[1])}\.s3([.-][a-z0-9-]+)?\.amazonaws\.com")
    if bucket := re.fullmatch(rf"gs://({_BUCKET})/?", plain):
        return Host(r"storage\.googleapis\.com", folder=f"/{bucket[1]}/")
    if not (named := re.fullmatch(rf"({_NAME})(?::(\d{{1,5}}))?", plain)) or int(named[3] or 1) not in range(1, 65536):
        raise InputError(f"--remote={text}: expected names of servers, with commas between them, {_EXAMPLE}")
    return Host(re.escape(named[1]), int(named[3]) if named[3] else None)
