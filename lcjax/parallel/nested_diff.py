"""Nested dictionaries, and in what two of them differ."""


def differing(one: dict, other: dict, prefix: str = "") -> list[str]:
    """The keys of which two dictionaries hold something else, "a.b.c" for one inside others."""
    keys = []
    for key in sorted({*one, *other}):
        left, right = one.get(key), other.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            keys += differing(left, right, f"{prefix}{key}.")
        elif left != right:
            keys.append(prefix + key)
    return keys


def at(nested: dict, dotted: str) -> str:
    """What a dictionary holds at "a.b.c", as people read it."""
    for key in dotted.split("."):
        if key not in nested:
            return "absent"
        nested = nested[key]
    return repr(nested)


def differences(one: dict, other: dict, names: tuple[str, str], keys: list[str] | None = None) -> str:
    """The first differences of two dictionaries that go by these names, in a few words; of `keys` where given."""
    keys = differing(one, other) if keys is None else keys
    shown = ", ".join(f"{key} ({names[0]} {at(one, key)}, {names[1]} {at(other, key)})" for key in keys[:3])
    return shown + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
