"""Files that other files name, as a VRT its sources and a STAC item its assets: where they may lie.

A file of this machine may name files in its own folder and below it. Any file may name those on servers that the
command line names. A file on a server may name nothing else: no file of this machine.
"""

import pathlib
import re
import urllib.parse

from data_pipelines.remote import hosts
from data_pipelines.remote.addresses import Address, remote_text
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

_NO_PLAIN_NAME = re.compile(r"\s*(/vsi|<|\{|[A-Za-z][\w+.-]*:)")


def followed(source: pathlib.Path, name: str, what: str, *, relative: bool = True) -> pathlib.Path:
    """Where a file lies that another one names; links are followed. It is not looked at.

    Args:
      source: the file that names it.
      name: as it stands there.
      what: names it, for the message: "a VRT whose source".
      relative: whether a name on this machine starts from the folder of `source`, and not from the current one.

    Raises:
      Refused: it may not lie there.
    """
    aside = "expected files in its own folder or below it, or on servers that --remote names; copy it, if you trust it"
    shown = repr(name[:80])
    plain = remote_text(name)
    on_server = isinstance(source, Address) and source.is_remote
    if not plain and (_NO_PLAIN_NAME.match(name) or name != name.strip() or not name):
        raise Refused(source, f"{what} is {shown}, no plain file; {aside}")
    if plain or on_server:
        if isinstance(source, Address) and source.is_remote:
            plain = plain or remote_text(urllib.parse.urljoin(source.file.url, name))
        address = Address.of(plain.partition("#")[0])
        try:
            hosts.check(address.file.url, f"{what} {address}")
        except InputError as error:
            raise Refused(source, str(error)) from error
        return address
    # GDAL takes a VRT that is a link to lie where the link leads.
    folder = source.resolve().parent
    try:
        found = pathlib.Path(folder if relative else "", name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise Refused(source, f"{what} {shown} cannot be found ({error}); {aside}") from error
    if not found.is_relative_to(folder):
        raise Refused(source, f"{what} {shown} lies outside its folder; {aside}")
    return found
