"""What GeoJSON may say of its CRS, told before GDAL reads it: an address there is one that GDAL would ask."""

import mmap
import pathlib
import re

from data_pipelines.schema import typed_json
from data_pipelines.schema.errors import InputError

_NAMED = ("name", "epsg", "ogc")  # types of a CRS that are no address
_REMEDY = 'expected a name, such as {"type": "name", "properties": {"name": "EPSG:32633"}}; export the file anew'
_LONGEST = 2**16  # bytes of what says it
# The key "crs" as GDAL finds it, at any depth: capitals or not, letters as escapes, in either quote, comments after it.
_KEY = re.compile(
    rb"""(?P<quote>["'])(?:c|\\u0*0[46]3)(?:r|\\u0*0[57]2)(?:s|\\u0*0[57]3)(?P=quote)(?P<after>\s*)(?=[:/])""", re.I
)
_VALUE = re.compile(rb":\s*")


def check_crs(path: pathlib.Path) -> None:
    """Raises InputError for GeoJSON that gives a CRS by an address, anywhere, or in a way that cannot be told."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for key in _KEY.finditer(text):
            begun = _VALUE.match(text, key.end())
            if not begun:
                raise InputError(f"{path}: a comment beside crs, which JSON has none of; {_REMEDY}")
            if text[begun.end() : begun.end() + 1] in (b"{", b"/"):
                _check_value(path, text[begun.end() : begun.end() + _LONGEST])


def _check_value(path: pathlib.Path, value: bytes) -> None:
    """Raises InputError for a CRS, which other text follows, that is given by anything but a name."""
    fields = typed_json.leading(value.decode("utf-8", "replace"), f"{path}: crs", _REMEDY)
    folded = {key.casefold(): one for key, one in fields.items()}  # as GDAL compares them
    kind = folded.get("type", "name")
    if len(folded) < len(fields) or not isinstance(kind, str) or kind.casefold() not in _NAMED:
        raise InputError(f"{path}: a CRS of type {str(kind)[:60]!r}, which lies elsewhere; {_REMEDY}")
