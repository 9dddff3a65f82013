"""Names to models, data sets, tasks, losses and configs: what is built in, and what other packages bring along.

Three kinds of names, in this order:

* what is built in;
* entry points of installed packages. They are read only for a name that is not built in, and to list what there is, so
  that what is installed beside lcjax changes nothing for those who do not use it;
* `package.module:attribute`. To import a module is to run it, so its package must have been allowed in this process:
  the command line and Python allow what they name themselves, whereas a name that was read from a file (the config in
  a workdir, a card, an export) never chooses what is imported.
"""

import dataclasses
import importlib
import re
from collections.abc import Mapping
from functools import reduce
from importlib import metadata
from typing import Any

from data_pipelines.schema.errors import InputError, did_you_mean

# Of entry points.
GROUPS = ("lcjax.models", "lcjax.datasets", "lcjax.tasks", "lcjax.losses", "lcjax.configs", "lcjax.trackers")
BUILT_IN = "built in"

_DOTTED = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_QUALIFIED = re.compile(rf"({_DOTTED}):({_DOTTED})")
# Where a config names what could be a plug-in, and where it names several among other text.
_FIELDS = ("model.name", "dataset", "task", "loss.name")
_SUMS = ("loss", "trackers")

_allowed: set[str] = set()  # top-level packages


def allow(*packages: str) -> None:
    """Lets names `package.module:attribute` of these top-level packages be imported in this process.

    Args:
      packages: as in `--allow_plugins=PACKAGE,...`; of a dotted name the first part counts.

    Raises:
      InputError: one of them is no name of a package.
    """
    for package in packages:
        if not re.fullmatch(_DOTTED, package):
            raise InputError(
                f"--allow_plugins={package}: expected names of installed packages, separated by commas, e.g. my_models"
            )
        _allowed.add(package.partition(".")[0])


def allow_named_in(config: Mapping[str, Any]) -> None:
    """Allows the packages that a config names.

    Only for configs whose author is at the keyboard: from the command line or from Python, never from a file of a run.
    """
    for field in (*_FIELDS, *_SUMS):
        value: Any = config
        for key in field.split("."):
            value = value.get(key) if hasattr(value, "get") else None
        if isinstance(value, list | tuple):
            value = ",".join(map(str, value))
        if not isinstance(value, str):
            continue
        for parts in _QUALIFIED.finditer(value) if field in _SUMS else filter(None, [_QUALIFIED.fullmatch(value)]):
            allow(parts[1])


@dataclasses.dataclass(frozen=True)
class Registry:
    """All that one field of a config may name.

    Attributes:
      field: the config field or option, for messages, e.g. "config.model.name".
      group: of the entry points, one of `GROUPS`.
      built_in: name -> object.
    """

    field: str
    group: str
    built_in: Mapping[str, Any]

    def is_built_in(self, name: str) -> bool:
        """Whether a name is one of ours, which no other package can take."""
        return name in self.built_in

    def names(self) -> dict[str, str]:
        """All names there are -> "built in", or the package that brings it along; nothing is imported."""
        return dict.fromkeys(self.built_in, BUILT_IN) | {
            name: _package(points[0]) for name, points in self._entry_points().items()
        }

    def check(self, name: str) -> None:
        """Looks whether there is something of a name, and imports nothing.

        Raises:
          InputError: the name is unknown, is not allowed, or is brought along by two packages.
        """
        if not isinstance(name, str):
            raise InputError(f"{self.field}={name!r}: expected a name")
        if name in self.built_in:
            return
        if ":" in name:
            self._check_qualified(name)
            return
        points = self._entry_points()
        if name not in points:
            known = [*self.built_in, *points]
            raise InputError(
                f"{self.field}={name!r}: {did_you_mean(name, known)}expected one of {', '.join(known)}, or "
                "package.module:attribute"
            )
        if len(points[name]) > 1:
            packages = " and ".join(sorted(map(_package, points[name])))
            raise InputError(
                f"{self.field}={name!r}: {packages} both bring along something of that name; say which by its "
                "package.module:attribute"
            )

    def find(self, name: str) -> Any:
        """The object of a name.

        Raises:
          InputError: as `check`, or what the name stands for cannot be imported.
        """
        self.check(name)
        if name in self.built_in:
            return self.built_in[name]
        return self._load(name, name if ":" in name else self._entry_points()[name][0].value)

    def _entry_points(self) -> dict[str, list[metadata.EntryPoint]]:
        """Those of installed packages by name, sorted; a path that is searched twice counts once."""
        found: dict[str, dict[tuple, metadata.EntryPoint]] = {}
        for point in metadata.entry_points(group=self.group):
            if point.name not in self.built_in:
                found.setdefault(point.name, {})[(_package(point), point.value)] = point
        return {name: list(points.values()) for name, points in sorted(found.items())}

    def _check_qualified(self, name: str) -> None:
        parts = _QUALIFIED.fullmatch(name)
        if parts is None:
            raise InputError(f"{self.field}={name!r}: expected package.module:attribute, e.g. my_models.unet:UNet")
        package = parts[1].partition(".")[0]
        if package not in _allowed:
            raise InputError(
                f"{self.field}={name!r}: comes from a file, which may not choose what is imported, and {package!r} is "
                f"not allowed here; if you trust that package, give --allow_plugins={package}"
            )

    def _load(self, name: str, qualified: str) -> Any:
        module_name, _, attribute = qualified.partition(":")
        try:
            module = importlib.import_module(module_name)
        except Exception as error:  # whatever a module that is not ours raises while it is imported
            raise InputError(
                f"{self.field}={name!r}: {module_name} cannot be imported ({type(error).__name__}: "
                f"{' '.join(str(error).split())}); install the package of that module, or mend it"
            ) from error
        try:
            return reduce(getattr, attribute.split("."), module)
        except AttributeError as error:
            raise InputError(
                f"{self.field}={name!r}: the module {module_name} has no {attribute}; write it as it stands there"
            ) from error


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.value.partition(".")[0]
