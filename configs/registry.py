"""Names to configs: those that lie here, those of installed packages, and one's own files and functions.

A config is a function `get_config(text)` that returns an ml_collections.ConfigDict; the text is what the command line
has after the colon, `--config=dfc2020:model=unet,tiny=true`, and where there is none it is called without. A module
that takes `key=value,key=value` names its keys and their defaults in ARGUMENTS, as the files beside this one do; what
`lcjax sweep` searches it names in SPACE (docs/sweep.md).

    registry.parse("dfc2020:model=unet,tiny=true")                       as --config=... on the command line
    registry.create("dfc2020", model="unet", tiny=True, batch_size=4)    from Python
"""

import dataclasses
import importlib.util
import numbers
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections

from data_pipelines.schema import paths, plugins
from data_pipelines.schema.errors import InputError
from lcjax.configs import base, classification, dfc2020, flair1, pretrain, rasters
from lcjax.runs import config_fields

REGISTRY = plugins.Registry(
    field="config",
    group="lcjax.configs",
    built_in={
        module.__name__.rpartition(".")[2]: module.get_config
        for module in (dfc2020, flair1, pretrain, rasters, classification)
    },
)


@dataclasses.dataclass(frozen=True)
class Family:
    """Configs that differ by their arguments.

    Attributes:
      name: as it was given: a name, a path, or package.module:function.
      get_config: the function.
      arguments: the keys that it knows in its text, with defaults; empty where it does not tell.
      line: one line about it.
      space: what a sweep searches, a text for each field (lcjax/sweep/spaces.py); empty where it does not tell.
    """

    name: str
    get_config: Callable[..., Any]
    arguments: Mapping[str, str | bool]
    line: str
    space: Mapping[str, str]

    def __call__(self, text: str = "") -> ml_collections.ConfigDict:
        """The config for a text of arguments, which may name plug-ins: who calls this is at the keyboard.

        Raises:
          InputError: the arguments do not fit, or the function fails or returns something else.
        """
        named = dict(word.partition("=")[::2] for word in text.split(","))
        plugins.allow_named_in({"model": {"name": named.get("model")}, "dataset": named.get("data")})
        try:
            config = self.get_config(text) if text else self.get_config()
        except InputError:
            raise
        except Exception as error:  # whatever a function that is not ours raises
            raise InputError(f"config {self.name}: {_told(error)}") from error
        if not isinstance(config, ml_collections.ConfigDict):
            raise InputError(
                f"config {self.name}: returned {type(config).__name__}; expected an ml_collections.ConfigDict"
            )
        return config


def find(name: str) -> Family:
    """The configs of a name, of a path that ends in .py, or of package.module:function.

    Who calls this names what is imported; a name that was read from a file must not come here.

    Raises:
      InputError: there is none, or its module cannot be imported.
    """
    if name.endswith(".py"):
        return _from_file(name)
    if ":" in name:
        plugins.allow(name.partition(":")[0])
    return family_of(name, REGISTRY.find(name))


def family_of(name: str, get_config: Any) -> Family:
    """The configs of a function, with what its module tells. Raises InputError where it is no function."""
    if not callable(get_config):
        raise InputError(f"config={name}: is a {type(get_config).__name__}; expected a function such as get_config")
    return _family(name, get_config, vars(sys.modules[get_config.__module__]))


def parse(text: str) -> ml_collections.ConfigDict:
    """The config of a text as it stands on the command line: a name, and after a colon its arguments.

    Raises:
      InputError: there is no such config, or an argument does not fit.
    """
    name, argument = split(text)
    return find(name)(argument)


def split(text: str) -> tuple[str, str]:
    """Name and arguments of "NAME:arguments", "FILE.py:arguments" or "package.module:function:arguments"."""
    name, _, argument = text.partition(":")
    attribute, _, rest = argument.partition(":")
    is_module = not name.endswith(".py") and all(part.isidentifier() for part in attribute.split("."))
    if is_module and name not in REGISTRY.names():
        return f"{name}:{attribute}", rest
    return name, argument


def create(name: str, **values: Any) -> ml_collections.ConfigDict:
    """A config, with arguments and fields set.

    Args:
      name: as for `parse`, with or without arguments.
      **values: arguments of the config, or else fields (`lcjax info NAME` lists both); nested fields by dotted name, as
        in `**{"optimizer.learning_rate": 1e-3}`, or as dictionaries. Where both are called alike, it is the argument.

    Raises:
      InputError: there is no such config, argument or field, or a value is not of its type.
    """
    name, argument = split(name)
    family = find(name)
    given = {key: value for key, value in values.items() if key in family.arguments}
    words = [f"{key}={_text(key, value, family.arguments[key])}" for key, value in given.items()]
    config = family(",".join(filter(None, [argument, *words])))
    fields = base.flat({key: value for key, value in values.items() if key not in given})
    known = base.flat(config)
    for field, value in fields.items():
        if field not in known:
            raise InputError(_unknown(family, field, known))
        base.assign(config, {field: _checked(f"config.{field}", value, known[field])})
    config_fields.check_values(base.flat(config))
    return config


def _from_file(name: str) -> Family:
    path = paths.given(name, "--config")
    if not path.is_file():
        raise InputError(
            f"--config={name}: no such file; expected a Python file with a function get_config, or one of "
            f"{', '.join(REGISTRY.names())}"
        )
    spec = importlib.util.spec_from_file_location("config_file", path)
    assert spec and spec.loader  # as the name ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for it there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file that is not ours raises
        raise InputError(f"--config={name}: {_told(error)}") from error
    if not callable(getattr(module, "get_config", None)):
        raise InputError(f"--config={name}: has no function get_config; expected one that returns a ConfigDict")
    return _family(name, module.get_config, vars(module))


def _told(error: Exception) -> str:
    """What went wrong in somebody's code, and where, as one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = (
        "" if isinstance(error, SyntaxError) else f" (line {frame.lineno} of {frame.filename})"
    )  # which tells itself
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def _family(name: str, get_config: Callable, module: Mapping[str, Any]) -> Family:
    doc = (module.get("__doc__") or get_config.__doc__ or "").strip()
    space = module.get("SPACE", {})
    if not isinstance(space, dict) or not all(isinstance(word, str) for line in space.items() for word in line):
        raise InputError(f"config {name}: SPACE={space!r:.100}: expected a dictionary of text by field (docs/sweep.md)")
    return Family(name, get_config, module.get("ARGUMENTS", {}), doc.partition("\n")[0], space)


def _text(key: str, value: Any, default: str | bool) -> str:
    """An argument as it stands in the text."""
    text = str(_checked(f"config argument {key}", value, default))
    if "," in text:
        raise InputError(f"config argument {key}={value!r}: arguments are separated by commas; expected none in it")
    return text


_KINDS: dict[type, tuple[Any, Callable, str]] = {
    bool: (bool, bool, "True or False"),
    int: (numbers.Integral, int, "a whole number"),
    float: (numbers.Real, float, "a number"),
    str: (str | os.PathLike, os.fspath, "text"),
    tuple: (tuple | list, tuple, "a tuple"),
}


def _checked(name: str, value: Any, default: Any) -> Any:
    """A value as the type of the default; InputError where it is of another."""
    if type(default) not in _KINDS:
        return value
    accepted, convert, what = _KINDS[type(default)]
    if not isinstance(value, accepted) or (isinstance(value, bool) and type(default) is not bool):
        raise InputError(f"{name}={value!r}: expected {what}, such as {default!r}")
    return convert(value)


def _unknown(family: Family, field: str, known: Mapping[str, Any]) -> str:
    hint = config_fields.meant(field, [*family.arguments, *known])
    return (
        f"config {family.name} has no {field!r}: {hint}arguments are {', '.join(family.arguments) or 'none'}, fields "
        f"{', '.join(known)}"
    )
