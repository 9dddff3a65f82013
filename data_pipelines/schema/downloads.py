"""Where the files of a published data set can be had."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file at its provider.

    Attributes:
      part: what people call it, with a slash where parts have parts: "spring/s1" is also a part of "spring".
      url: address, https, http or ftp; user and password stand in it where the provider publishes them.
      size: as the provider says it, for people; the server is asked for the bytes.
      sha256: as the provider publishes it; empty where it does not.
      on_request: whether it is left out unless it is named.
    """

    part: str
    url: str
    size: str = ""
    sha256: str = ""
    on_request: bool = False

    @property
    def name(self) -> str:
        """Of the file, without folders."""
        return self.url.rpartition("/")[2]

    @property
    def shown(self) -> str:
        """The address, without what stands before its host."""
        scheme, _, rest = self.url.partition("://")
        host, _, path = rest.partition("/")
        return f"{scheme}://{host.rpartition('@')[2]}/{path}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Downloads:
    """How a data set is downloaded.

    Attributes:
      files: what can be fetched; none where the provider asks for an account.
      source: the page that lists the addresses.
      listed: day on which they were read there, as "2026-11-29".
      fetched: day on which a download by them was last seen to succeed; empty where none has been.
      steps: what people do by hand, in order, where nothing can be fetched.
      note: what else they should know.
    """

    files: tuple[RemoteFile, ...] = ()
    source: str
    listed: str
    fetched: str = ""
    steps: tuple[str, ...] = ()
    note: str = ""
