"""Writes docs/config.md, the page of all fields of configs, from configs/base.py.

python docs/config_page.py
"""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_pipelines.schema.plugins import BUILT_IN
from lcjax.configs import base, registry
from lcjax.models import registry as models
from lcjax.runs.config_fields import Interval, Range

PAGE = pathlib.Path(__file__).parent / "config.md"

# Heading -> the first field below it, in the order of base.FIELDS.
SECTIONS = {
    "The experiment": "task",
    "Data": "data_dir",
    "Augmentation": "augmentation.group_jitter",
    "Network": "model.name",
    "Optimisation": "class_weights",
    "The run": "total",
}
# What is said of the fields that the configs of a task have beside those.
TASKS = {
    "segmentation": "Of `dfc2020`, `flair1` and `rasters`.",
    "classification": "Of `classification`. What they do: [classification.md](classification.md).",
    "contrastive": "Of `pretrain`, which has no `split.test`. How they are used: [pretraining.md](pretraining.md).",
    "vicreg": "Of `pretrain:objective=vicreg`, as those.",
    "masked": "Of `pretrain:objective=masked`, as those.",
}

INTRO = """# The fields of a config

This page is written by `python docs/config_page.py` from `lcjax/runs/config_fields.py`; a test compares the two.

```
lcjax info configs                            # which configs there are
lcjax info dfc2020                            # the arguments of one, and every field with its value
lcjax info dfc2020:model=swin_unet,size=b     # the same with arguments
```

A config is chosen by its name and arguments. Its fields can then be set one by one:

```
lcjax train --config=dfc2020:model=unet --workdir=runs/unet --config.batch_size=8 --config.optimizer.clip=0.5
```

```python
config = lcjax.config("dfc2020", model="unet", batch_size=8, **{"optimizer.clip": 0.5})
```

* A field keeps its type. A name that the config does not have, a value of another type, and one outside of what the
  field may be are refused before any record is opened.
* Durations are text: `"2000 steps"`, `"1 epoch"`, `"1000000 examples"`, or `"5 percent"` of the run. `total` itself
  cannot be in percent.
* A config file of your own is a Python file with a function `get_config(argument)`: `--config=mine.py:key=value`.
  [extending.md](extending.md) tells how to add one under a name.
"""

MODEL = """## Numbers of a network

`config.model` holds the name of the network and its numbers, which come from its `size` (`lcjax/models/presets.py`).
[models.md](models.md) describes the networks.
"""

OWN = """## What each config sets

Values without arguments, where they differ from the defaults above. Arguments change more: `lcjax info` shows the
result. Learning rates follow the network: transformers have lower ones.
"""


def page() -> str:
    """The text of the page."""
    names = list(base.FIELDS)
    starts = [names.index(first) for first in SECTIONS.values()]
    parts = [INTRO]
    for heading, start, end in zip(SECTIONS, starts, [*starts[1:], None], strict=True):
        parts.append(f"## {heading}\n\n{_fields({name: base.FIELDS[name] for name in names[start:end]})}")
    parts += [f"## Task {task}\n\n{TASKS[task]}\n\n{_fields(fields)}" for task, fields in base.TASKS.items()]
    parts += [f"{MODEL}\n{_numbers()}", f"{OWN}\n{_differences()}"]
    return "\n".join(parts)


def _fields(fields: Mapping[str, base.Field]) -> str:
    kinds = {name: kind for name, _, kind, _ in base.rows({name: field.default for name, field in fields.items()})}
    rows = [
        (_code(name), _kind(field, kinds[name]), _code(field.default), _tiny(field), field.meaning)
        for name, field in fields.items()
    ]
    return _table(("field", "type", "default", "tiny", "meaning"), rows)


def _kind(field: base.Field, kind: str) -> str:
    """The type, and the range of a number; words and units are in the meaning."""
    return f"{kind}, {field.allowed.text}" if isinstance(field.allowed, Range | Interval) else kind


def _tiny(field: base.Field) -> str:
    value = field.value(tiny=True)
    return "" if value == field.default else _code(value)


def _numbers() -> str:
    """Each number with the networks that have it."""
    having: dict[str, list[str]] = {name: [] for name in base.MODEL}
    for model, family in models.FAMILIES.items():
        for name in next(iter(family.sizes.values())):
            having[name].append(_code(model))
    rows = [(_code(f"model.{name}"), base.MODEL[name], ", ".join(having[name])) for name in base.MODEL]
    return _table(("field", "meaning", "networks"), rows)


def _differences() -> str:
    made = {name: base.flat(registry.parse(name)) for name, by in registry.REGISTRY.names().items() if by == BUILT_IN}
    rows = []
    for field, known in base.FIELDS.items():
        values = [config.get(field, known.default) for config in made.values()]
        if any(value != known.default for value in values):
            shown = ["" if value == known.default else _code(value) for value in values]
            rows.append((_code(field), *shown))
    return _table(("field", *map(_code, made)), rows)


def _code(value: Any) -> str:
    return f"`{value}`" if value != "" else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["|".join(f" {cell} " if cell else " " for cell in row) for row in [head, *rows]]
    return "".join(f"|{line}|\n" for line in [lines[0], "|".join(["---"] * len(head)), *lines[1:]])


if __name__ == "__main__":
    PAGE.write_text(page())
