"""The workdir of a run: its resolved config, its card, its log of metrics. Layout: docs/layout.md."""

import contextlib
import json
import math
import os
import pathlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Literal, TypedDict

import jax
import ml_collections

from data_pipelines.schema import locks, paths, schema_version, typed_json
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.typed_json import Count, Number
from lcjax.parallel import multihost, nested_diff
from lcjax.runs import SCHEMA_VERSION, config_fields, pulled
from lcjax.runs import model_card as cards

_log = multihost.shared_logger(__name__)

CONFIG = "config.json"
METRICS = "metrics.jsonl"
LOCK = ".lock"
# Fields that may change when a run is resumed: where things lie, how they are read, what is kept in memory, who is
# told, and the name of the cell, but nothing that is computed. Another attention, remat, mode or mesh changes gradients
# by rounding alone.
_MAY_CHANGE = (
    *("attention", "cell", "data_dir", "remat", "threads", "tracked_images", "trackers", "workers"),
    *("parallel.mode", "parallel.data", "parallel.fsdp"),
)


def name_of(workdir: pathlib.Path) -> str:
    """The name of a run: that of its folder, which may be given as "." or "..", too."""
    return pathlib.Path(os.path.abspath(workdir)).name


def read_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """Reads the resolved config of a run.

    Raises:
      InputError: there is none, it is damaged, or it is of another schema_version.
    """
    return ml_collections.ConfigDict(read_fields(workdir))


def read_fields(workdir: pathlib.Path) -> dict[str, Any]:
    """Reads config.json as a dictionary; errors as of `read_config`."""
    path = workdir / CONFIG
    remedy = "put back what it was, or delete it, and the train command of this run writes it again"
    expected = "the workdir of a training run (see `lcjax train --help`)"
    text = typed_json.content(path, remedy, expected)
    fields = schema_version.decode(text, dict[str, Any], SCHEMA_VERSION, path, remedy)
    return config_fields.check_read(fields, path, remedy)


@contextlib.contextmanager
def alone(folder: pathlib.Path, *, doing: str, instead: str = "choose another --workdir") -> Iterator[None]:
    """Keeps other runs from writing to a folder during the context; all processes call it, and process 0 holds it.

    Args:
      folder: a workdir, or a folder in one; it is made where there is none.
      doing: what the run does with it, as in "another process is DOING it".
      instead: what else the user can do.

    Raises:
      InputError: in all processes, where another run is at work on the folder, or it cannot be written.
    """
    with contextlib.ExitStack() as stack:
        with multihost.raise_on_all() as is_main:
            try:
                if is_main:
                    stack.enter_context(locks.held(folder / LOCK, folder, doing=doing, instead=instead))
            except OSError as error:
                raise InputError(f"{folder}: cannot be written ({error.strerror}); {instead}") from error
        yield


def start(
    workdir: pathlib.Path, config: ml_collections.ConfigDict, card: cards.Card, *, allow_other_config: bool = False
) -> None:
    """Makes the workdir, or checks that it belongs to this config and leaves it unchanged; all processes call it.

    Args:
      workdir: of the run.
      config: that the run starts or goes on with.
      card: of its network.
      allow_other_config: only warn of fields that differ, and go on with the given config.

    Raises:
      InputError: the workdir belongs to another config (the fields that differ are named), cannot be written, or is not
        the same folder for all processes.
    """
    given = json.loads(config.to_json())
    path = workdir / CONFIG
    with multihost.raise_on_all():
        pulled.refuse(workdir)
        # Without a checkpoint there is nothing to lose: an earlier start failed before it saved one.
        begun = path.is_file() and any((workdir / "checkpoints" / "last").glob("*"))
        if begun and (differing := differences(read_fields(workdir), given)):
            shown = f"{workdir}: holds a run of another config: {differing}"
            if not allow_other_config:
                raise InputError(f"{shown}; choose another --workdir, or go on all the same with --allow_other_config")
            _log.warning("%s; it goes on with what is given now", shown)
    begun_in_main = bool(multihost.from_main_process("begun" if begun else ""))  # decides for all whether they write
    if not begun_in_main:
        write(workdir, config, card)
    with multihost.raise_on_all():
        if begun != begun_in_main or not path.is_file():
            raise InputError(
                f"{workdir}: not the folder for process {jax.process_index()} that it is for process 0; --workdir must "
                "be a folder on storage that all hosts share"
            )


def write(workdir: pathlib.Path, config: ml_collections.ConfigDict, card: cards.Card) -> None:
    """Writes config.json and card.json; all processes call it, and process 0 writes.

    Raises:
      InputError: the workdir cannot be written.
    """
    with multihost.raise_on_all() as is_main:
        try:
            if is_main:
                workdir.mkdir(parents=True, exist_ok=True)
                fields = schema_version.stamp(json.loads(config.to_json()), SCHEMA_VERSION)
                # Whoever evaluates the run may stand in another folder.
                fields["data_dir"] = str(paths.given(config.data_dir, "config.data_dir").absolute())
                write_atomically(workdir / CONFIG, json.dumps(fields, indent=1, sort_keys=True))
                write_atomically(workdir / cards.FILE, card.to_json())
        except OSError as error:
            raise InputError(f"{workdir}: cannot be written ({error.strerror}); choose another --workdir") from error


class _Row(TypedDict):
    """What each line of metrics.jsonl begins with."""

    step: Count
    split: Literal["train", "validation"]


def changed(workdir: pathlib.Path, config: ml_collections.ConfigDict, fields: tuple[str, ...]) -> str:
    """Describes what a config changes of the one that a run began with; "" where nothing is changed.

    Args:
      workdir: of the run.
      config: that the run goes on with.
      fields: which of the changes are looked for first, "model" standing for "model.base"; all, if none is of them.
    """
    return differences(read_fields(workdir), json.loads(config.to_json()), fields)


def differences(there: dict[str, Any], given: dict[str, Any], fields: tuple[str, ...] = ()) -> str:
    """Describes what differs of two configs that must be one, as JSON has them; "" where nothing does.

    Args:
      there: that the run began with.
      given: that it is to go on with.
      fields: as of `changed`.
    """
    differing = [key for key in nested_diff.differing(there, given) if key not in _MAY_CHANGE]
    meant = [key for key in differing if key.split(".")[0] in fields]
    return nested_diff.differences(there, given, ("there", "now"), meant or differing) if differing else ""


class Log:
    """The metrics of a run in metrics.jsonl (deterministic: no times); process 0 alone writes.

    Attributes:
      kept: the rows that earlier starts of the run left, and that still count; none in other processes.
    """

    def __init__(self, workdir: pathlib.Path, step: int, evaluated: int):
        """Opens the log, and drops the rows that a resumed run writes again.

        Args:
          workdir: of the run.
          step: that the run goes on from.
          evaluated: step of the last evaluation that the checkpoint knows of; -1 for none.
        """
        self._writes = multihost.is_main_process()
        self.kept: list[dict] = []
        if not self._writes:
            return
        path = workdir / METRICS
        last = {"train": step, "validation": evaluated}
        self.kept = [row for row in read_metrics(workdir) if row["step"] <= last[row["split"]]]
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in self.kept))
        self._file = path.open("a")

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Logs one step of one split.

        Args:
          step: number of steps done.
          split: "train" or "validation".
          values: by name.
        """
        if not self._writes:
            return
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, "split": split} | finite) + "\n")
        self._file.flush()

    def __enter__(self) -> "Log":
        """Returns itself."""
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Closes the file."""
        if self._writes:
            self._file.close()


def read_metrics(workdir: pathlib.Path) -> list[dict]:
    """Reads the whole lines of metrics.jsonl, in order: each has "step", "split" and the values by name.

    Raises:
      InputError: a line is not what it must be. The last one may be half: a kill leaves it, and a run that goes on.
    """
    path = workdir / METRICS
    if not path.exists():
        return []
    remedy = "put back what it was, or train again in another --workdir"
    text = typed_json.content(path, remedy, "the metrics of a run")
    *lines, half = text.split(b"\n")
    rows: list[dict] = []
    for number, line in enumerate(lines + [half] * half.endswith(b"}"), 1):
        source = f"{path}, line {number}"
        try:
            fields = typed_json.parse(line, source, remedy)
        except InputError:
            if line is half:
                break
            raise
        typed_json.convert(fields, _Row, source, remedy, foreign=True)
        values = {key: value for key, value in fields.items() if key not in _Row.__annotations__}
        typed_json.convert(values, dict[str, Number | None], source, remedy)
        rows.append(fields)
    return rows
