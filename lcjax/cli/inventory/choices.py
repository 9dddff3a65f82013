"""What configs can name, built in and brought along by installed packages, and what a config says in full."""

import sys
from collections.abc import Callable
from typing import Any

from data_pipelines.datasets import registry as datasets
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import named
from data_pipelines.schema.plugins import BUILT_IN, Registry
from lcjax import tasks
from lcjax.configs import base
from lcjax.configs import registry as configs
from lcjax.models import registry as models
from lcjax.ops import losses
from lcjax.training.trackers import registry as trackers
from lcjax.weights.layouts import ALL


def _first_line(found: Any) -> str:
    return (getattr(found, "__doc__", None) or "").strip().partition("\n")[0]


def _loss(loss: Any) -> str:
    line, said = _first_line(loss), losses.shown(loss)
    return f"{line} {said}" if said else line


def _network(family: Any) -> str:
    line = getattr(family, "line", "") or _first_line(family)
    sizes = getattr(family, "sizes", None)
    return f"{line}; sizes {', '.join(sizes)}" if sizes else line


def _data_set(spec: Any) -> str:
    if not hasattr(spec, "sensors"):
        return _first_line(spec)
    sensors = ", ".join(f"{sensor.name} ({len(sensor.bands)} bands)" for sensor in spec.sensors)
    return f"{spec.title}: {sensors}; legends {', '.join(legend.name for legend in spec.legends)}"


def _task(task: Any) -> str:
    return _first_line(sys.modules[task.__module__]) or _first_line(task)


def _config(get_config: Callable) -> str:
    return configs.family_of("", get_config).line


# Kind -> the registry of its names, and what one line tells of an object.
_KINDS: dict[str, tuple[Registry, Callable[[Any], str]]] = {
    "models": (models.MODELS, _network),
    "datasets": (datasets.REGISTRY, _data_set),
    "tasks": (tasks.REGISTRY, _task),
    "losses": (losses.REGISTRY, _loss),
    "configs": (configs.REGISTRY, _config),
    "trackers": (trackers.REGISTRY, _first_line),
}
# Names that stand for many.
_PATTERNS = {"datasets": {f"{name}/NAME": "your own images and masks (docs/own_data.md)" for name in datasets.FAMILIES}}


def _weights() -> dict[str, str]:
    return {one.name: f"{one.title}, for {', '.join(one.models)}" for one in ALL if not one.refused}


def _protocols() -> dict[str, str]:
    found = {}
    for spec in datasets.DATASETS.values():
        for one in spec.protocols:
            parts = zip(one.splits.items(), one.records, strict=True)
            splits = ", ".join(f"{role} {part} ({records:,})" for (role, part), records in parts if part)
            classes = len(named(spec.legends, one.legend).scored)
            found[one.name] = f"{spec.name}, {classes} classes: {one.title}; {splits}; {one.source}"
    return found


# Kinds that no package adds to -> where they are named, and a line for each name.
_OURS: dict[str, tuple[str, Callable[[], dict[str, str]]]] = {
    "weights": ("config.weights.layout; config.init names the file", _weights),
    "protocols": ("config.protocol; the argument protocol= of a config sets what belongs to it", _protocols),
}
KINDS = (*_KINDS, *_OURS)


def names(kind: str) -> dict[str, str]:
    """All names of a kind -> "built in", or the package that brings it along."""
    return dict.fromkeys(_OURS[kind][1](), BUILT_IN) if kind in _OURS else _KINDS[kind][0].names()


def text(kind: str) -> str:
    """A line for each name of a kind. What is installed and cannot be imported says so in its line."""
    if kind in _OURS:
        field, lines = _OURS[kind][0], _OURS[kind][1]()
        width = max(map(len, lines))
        return "\n".join([f"{kind} ({field}):", *(f"  {name:<{width}}  {line}" for name, line in lines.items())])
    registry, line = _KINDS[kind]
    found, patterns = registry.names(), _PATTERNS.get(kind, {})
    width = max(map(len, [*found, *patterns]))
    shown = [f"  {name:<{width}}  {told}" for name, told in patterns.items()]
    for name, origin in found.items():
        try:
            told = line(registry.find(name))
        except InputError as error:
            told = f"does not work: {error}"
        brought = "" if origin == BUILT_IN else f" [{origin}]"
        shown.append(f"  {name:<{width}}  {told}{brought}")
    return "\n".join([f"{kind} ({registry.field}):", *shown])


def is_config(text: str) -> bool:
    """Whether a word means a config: a known name, a .py file, or package.module:function."""
    name, _ = configs.split(text)
    return name.endswith(".py") or ":" in name or name in names("configs")


def config_text(text: str) -> str:
    """A config in full: what it is, its arguments, and each field with value, type and meaning."""
    name, argument = configs.split(text)
    family = configs.find(name)
    config = family(argument)
    arguments = [f"  {key}={_shown(default)}" for key, default in family.arguments.items()]
    rows = base.rows(config)
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{text}: {family.line}",
        "",
        "arguments (defaults):",
        *(arguments or ["  none that it tells of"]),
        "",
        "fields:",
    ]
    for field, value, kind, meaning in rows:
        left = f"  {field:<{widths[0]}}  {value:<{min(widths[1], 24)}}  {kind:<{widths[2]}}"
        lines.append(f"{left}  {meaning}".rstrip())
    return "\n".join(lines)


def _shown(default: str | bool) -> str:
    return str(default).lower() if isinstance(default, bool) else default
