"""Differences between two nested dictionaries."""

from typing import Any


def differing(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> list[str]:
    """Returns the sorted keys whose values differ; a nested key is dotted: "a.b.c"."""
    keys = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            keys += differing(left, right, f"{prefix}{key}.")
        elif left != right:
            keys.append(prefix + key)
    return keys


def at(nested: dict[str, Any], dotted: str) -> str:
    """Returns the repr of the value at a dotted key, or "absent"."""
    for key in dotted.split("."):
        if key not in nested:
            return "absent"
        nested = nested[key]
    return repr(nested)


def differences(
    one: dict[str, Any], other: dict[str, Any], names: tuple[str, str], keys: list[str] | None = None
) -> str:
    """Describes the first three differences in a few words.

    Args:
      one: the first dictionary.
      other: the second dictionary.
      names: what the message calls the first and the second.
      keys: dotted keys to describe; by default all that differ.
    """
    keys = differing(one, other) if keys is None else keys
    shown = ", ".join(f"{key} ({names[0]} {at(one, key)}, {names[1]} {at(other, key)})" for key in keys[:3])
    return shown + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
