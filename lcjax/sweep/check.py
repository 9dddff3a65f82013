"""Looks whether a config can be searched, before the first trial: `python -m lcjax.sweep.check`, a process of its own.

It builds the experiment of the config, and of the config with each end and choice of the space, on the devices that the
trials will have; they are free again when it ends.
"""

import dataclasses
import json
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Mapping

import ml_collections

from data_pipelines.reading.interfaces import Dataset
from data_pipelines.schema import plugins, typed_json
from data_pipelines.schema.errors import InputError
from lcjax.configs import base, registry
from lcjax.engine import experiment as experiments
from lcjax.parallel import devices, launcher
from lcjax.sweep import config_text, process, spaces

_TIMEOUT = 3600  # seconds
_IS_TEST = re.compile(r"(^|[+/])\s*test\s*($|[\[+])")


@dataclasses.dataclass(frozen=True)
class Found:
    """What is known of a config that can be searched.

    Attributes:
      monitor: the score of the validation split that trials are compared by.
      evaluations: how often a trial is scored, if it goes on to its end.
      lower_is_better: whether the score is to be low, and not high.
    """

    monitor: str
    evaluations: int
    lower_is_better: bool


def check(config: ml_collections.ConfigDict, lines: Mapping[str, str], compiled: pathlib.Path) -> Found:
    """Looks whether a config can be searched.

    Args:
      config: whose fields are searched.
      lines: its space, text by field.
      compiled: folder for what JAX compiles.

    Raises:
      InputError: it has no validation split, would be optimised on what is its test split, or a value of the space
        cannot be used.
    """
    check_named(config)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "config.py"
        config_text.write(path, config, "A config that is tried out.")
        said = process.output("lcjax.sweep.check", [str(path), json.dumps(dict(lines))], compiled, _TIMEOUT)
    answer = typed_json.parse(said.splitlines()[-1], "the check of the config", "run the command again")
    if "refused" in answer:
        raise InputError(answer["refused"])
    return typed_json.convert(answer, Found, "the check of the config", "run the command again")


def check_named(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for a config without a validation split, or with one that is called test."""
    validation = config.split.get("validation", "")
    if not validation:
        raise InputError(
            "config.split.validation is empty: a sweep chooses by the validation split; name one, such as "
            "--config.split.validation='train[80%:]' with --config.split.train='train[:80%]'"
        )
    if _IS_TEST.search(validation):
        raise InputError(
            f"config.split.validation={validation!r}: is a test split, and what a sweep chose by it would have no "
            "honest score left; hold out a part of the train split: --config.split.validation='train[80%:]' with "
            "--config.split.train='train[:80%]'"
        )


def check_records(config: ml_collections.ConfigDict, dataset: Dataset) -> None:
    """Raises InputError where records of the validation split are of the test split."""
    spec = config.split.get("test", "") or ("test" if "test" in dataset.splits else "")
    if not spec:
        return
    chosen = set(dataset.source(config.split.validation).ids)
    if both := chosen & set(dataset.source(spec).ids):
        raise InputError(
            f"config.split.validation={config.split.validation!r}: {len(both):,} of its {len(chosen):,} records are in "
            f"the test split {spec!r} (the first: {min(both)}), and a sweep must not choose by them; hold out others"
        )


def look(config: ml_collections.ConfigDict, lines: Mapping[str, str]) -> Found:
    """Builds the experiments, in this process. Arguments and errors as of `check`."""
    experiment = experiments.build(config)
    assert experiment.dataset is not None
    check_records(config, experiment.dataset)
    known = config.copy_and_resolve_references()
    known.monitor = experiment.monitor.name  # the task's own, where the config names none
    for field, value in ((field, value) for field, one in spaces.parse(lines, known).items() for value in one.ends):
        changed = config.copy_and_resolve_references()
        base.assign(changed, {field: value})
        plugins.allow_named_in(changed)  # who gives a space names what is imported
        try:
            experiments.build(changed)
        except InputError as error:
            raise InputError(f"space {field}, value {value!r:.60}: {error}") from error
    length, monitor = experiment.length, experiment.monitor
    return Found(monitor.name, -(-length.total // length.evaluate_every), monitor.lower_is_better)


def _main(path: str, lines: str) -> None:
    launcher.end_with_parent()
    if os.environ.get("JAX_PLATFORMS", "cpu") != "cpu":
        devices.check()
    try:
        config = registry.parse(path)
        plugins.allow_named_in(config)
        answer = dataclasses.asdict(look(config, json.loads(lines)))
    except InputError as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main(*sys.argv[1:])
