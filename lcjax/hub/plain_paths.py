"""Takes the paths of this machine out of what goes to a hub: of an absolute path its last part stays."""

import re
from typing import Any

_WHOLE = re.compile(r"(?:/|~|[A-Za-z]:[\\/]).*", re.DOTALL)
# In a text; a slash in a unit or an address is none.
_WITHIN = re.compile(r"(?<![\w.:/~-])(?:~|[A-Za-z]:(?=[\\/]))?(?:[\\/][^\s,;:'\"()\[\]|+\\/]+){2,}[\\/]?")


def without(value: Any) -> Any:
    """What JSON can hold, with the last part of each absolute path in its texts."""
    if isinstance(value, dict):
        return {key: without(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without(one) for one in value]
    if not isinstance(value, str):
        return value
    if _WHOLE.fullmatch(value) and not re.search(r"\s", value):
        return _last(value)
    return _WITHIN.sub(lambda found: _last(found[0]), value)


def _last(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]
