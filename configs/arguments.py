"""The text after the colon of --config=NAME:key=value,key=value."""

from collections.abc import Mapping

from data_pipelines.schema.errors import InputError

_BOOLEANS = {"true": True, "false": False}


def parse(text: str | None, defaults: Mapping[str, str | bool]) -> dict:
    """The arguments in a text, and for those that it does not name the defaults: the config file's ARGUMENTS.

    Raises:
      InputError: an unknown key, or a value that is not of the default's type; names what is known.
    """
    values = dict(defaults)
    for part in filter(None, (text or "").split(",")):
        key, equals, value = part.partition("=")
        if key not in defaults or not equals:
            known = ", ".join(f"{name}={default}" for name, default in defaults.items())
            raise InputError(f"config argument {part!r}: expected key=value with these keys (defaults): {known}")
        if isinstance(defaults[key], bool):
            if value.lower() not in _BOOLEANS:
                raise InputError(f"config argument {part!r}: expected {key}=true or {key}=false")
            values[key] = _BOOLEANS[value.lower()]
        else:
            values[key] = value
    return values
