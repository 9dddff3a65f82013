"""Reads what finished runs wrote to their workdirs: config, metrics, scores, sample predictions.

Reads JSON and npz only, so that a page can be made on a machine without an accelerator.
"""

import dataclasses
import functools
import json
import math
import pathlib
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from data_pipelines.datasets.registry import LEGENDS
from data_pipelines.schema import paths, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from lcjax import tasks
from lcjax.ops.boundary_density import BoundaryDensity, boundary_density
from lcjax.runs import SCHEMA_VERSION
from lcjax.runs import model_card as cards

_REQUIRED = {  # key of metrics.json -> its type
    "scores": dict,
    "class_set": list,
    "class_ids": list,
    "ignored_ids": list,
    "pixels": int,
    "split": dict,
    "confusion": list,
    "dataset": str,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of one run on one split, as in `evaluation/<role>/metrics.json`.

    Attributes:
      run: name of the run.
      fields: the whole file.
      samples: "ids" (N,) str, "image" (N, H, W, 3) uint8, "truth" and "prediction" (N, H, W) uint8 legend ids, or
        empty where the run kept none.
    """

    run: str
    fields: dict[str, Any]
    samples: dict[str, np.ndarray]

    @property
    def comparable(self) -> tuple:
        """What must agree for two evaluations to stand in one table."""
        return (
            self.fields["dataset"],
            tuple(self.fields["class_set"]),
            tuple(self.fields["class_ids"]),
            tuple(self.fields["ignored_ids"]),
            self.fields["split"].get("role", ""),
            self.fields["split"].get("id", ""),
            self.fields.get("resize") or 0,
        )

    @property
    def baseline(self) -> bool:
        """Whether this is a pixel-wise classifier, which has no checkpoint."""
        return self.fields.get("checkpoint") is None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return tuple(self.fields["class_set"])

    @functools.cached_property
    def boundaries(self) -> BoundaryDensity | None:
        """Boundary density of truth and prediction in the samples; None where the run kept none."""
        if not self.samples:
            return None
        return boundary_density(self.samples["truth"], self.samples["prediction"], self.fields["class_ids"])

    def key(self, stem: str) -> str:
        """Returns the full name of a score that is given in full or by its stem ("mIoU" -> "mIoU_8"), or ""."""
        return next((name for name in self.fields["scores"] if stem in (name, name.rpartition("_")[0])), "")

    def score(self, stem: str) -> float | None:
        """Returns a score by its full name or stem, or None where it is missing or not finite."""
        value = self.fields["scores"].get(self.key(stem))
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


@dataclasses.dataclass(frozen=True)
class Run:
    """One workdir.

    Attributes:
      name: unique in the report.
      workdir: its path.
      config: of config.json.
      history: rows of metrics.jsonl in order.
      evaluations: by split.
      legend: of the card, None where there is no card.
      splits: of the card: role -> {"spec", "records", "id"}.
    """

    name: str
    workdir: pathlib.Path
    config: dict[str, Any]
    history: tuple[dict[str, Any], ...]
    evaluations: tuple[Evaluation, ...]
    legend: Legend | None
    splits: dict[str, dict]

    @property
    def pretraining(self) -> bool:
        """Whether the run scores no land cover: it has curves only."""
        return not _scores_land_cover(self.config)


def find(patterns: Sequence[str]) -> list[pathlib.Path]:
    """Finds workdirs, sorted and without duplicates.

    Args:
      patterns: paths, which may hold `*`, `?`, `[...]` and `**`. What a pattern matches besides workdirs is left out; a
        plain path must be a workdir.

    Raises:
      InputError: nothing matches, or a plain path is not a workdir.
    """
    workdirs: dict[pathlib.Path, pathlib.Path] = {}
    for pattern in patterns:
        found, wild = paths.matching(pattern, "--workdirs")
        for path in found:
            if _is_workdir(path):
                workdirs.setdefault(path.resolve(), path)
            elif not wild:
                what = "not the workdir of a run" if path.exists() else "no such folder"
                raise InputError(
                    f"--workdirs={pattern}: {what}; expected a folder with config.json or evaluation/, "
                    "as `lcjax train --workdir=...` makes it"
                )
    if not workdirs:
        raise InputError(
            f"--workdirs={','.join(patterns)}: no workdir of a run matches; expected folders with config.json or "
            "evaluation/, e.g. --workdirs='runs/*' (quoted, so that the shell leaves the star alone)"
        )
    return sorted(workdirs.values())


def read(workdirs: Iterable[pathlib.Path]) -> list[Run]:
    """Reads runs, each under a name of its own.

    Raises:
      InputError: a file cannot be read or is of another schema_version, or a run has no scores.
    """
    folders = list(workdirs)
    runs = [_read_run(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    bare = [run.workdir for run in runs if not run.pretraining and not run.evaluations]
    if bare:
        others = f" (as have {len(bare) - 1} more: {', '.join(map(str, bare[1:]))})" if bare[1:] else ""
        raise InputError(
            f"{bare[0]}: the run has no evaluation/*/metrics.json{others}; "
            f"run `lcjax evaluate --workdir={bare[0]}` first, or leave it out of --workdirs"
        )
    return runs


def legend_of(names: Sequence[str], ids: Sequence[int], runs: Iterable[Run]) -> Legend | None:
    """Returns a legend with classes of these names and ids: of a run's card, or a published one, or None.

    Args:
      names: of the classes.
      ids: of the classes.
      runs: whose cards are looked at first.
    """
    wanted = set(zip(ids, names, strict=True))
    candidates = [run.legend for run in runs if run.legend] + list(LEGENDS.values())
    return next((legend for legend in candidates if wanted <= {(c.id, c.name) for c in legend.classes}), None)


def _is_workdir(path: pathlib.Path) -> bool:
    return (path / "config.json").is_file() or any(path.glob("evaluation/*/metrics.json"))


def _names(folders: Sequence[pathlib.Path]) -> list[str]:
    """Returns folder names, or the paths as they were given where two are alike."""
    plain = [folder.resolve().name for folder in folders]
    return [name if plain.count(name) == 1 else str(path) for name, path in zip(plain, folders, strict=True)]


def _read_run(workdir: pathlib.Path, name: str) -> Run:
    card_file = workdir / cards.FILE
    try:
        card = cards.read(workdir) if card_file.is_file() else None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(
            f"{card_file}: not a readable card ({_brief(error)}); restore the file or repeat the run"
        ) from error
    config_file = workdir / "config.json"
    config = _read_json(config_file) if config_file.is_file() else {}
    tasks.check_names(config)
    scored = sorted(workdir.glob("evaluation/*/metrics.json")) if _scores_land_cover(config) else []
    return Run(
        name=name,
        workdir=workdir,
        config=config,
        history=tuple(_read_lines(workdir / "metrics.jsonl")),
        evaluations=tuple(_read_evaluation(file, name, workdir) for file in scored),
        legend=card.legend if card else None,
        splits=card.splits if card else {},
    )


def _read_evaluation(file: pathlib.Path, run: str, workdir: pathlib.Path) -> Evaluation:
    fields = _read_json(file)
    again = f"run `lcjax evaluate --workdir={workdir}` again"
    wrong = [key for key, kind in _REQUIRED.items() if not isinstance(fields.get(key), kind)]
    if wrong:
        raise InputError(f"{file}: {', '.join(wrong)} missing or of the wrong type; {again}")
    classes = len(fields["class_set"])
    if len(fields["class_ids"]) != classes or np.shape(fields["confusion"]) != (classes, classes):
        raise InputError(
            f"{file}: {classes} classes in class_set, but {len(fields['class_ids'])} class_ids and a confusion matrix "
            f"of shape {np.shape(fields['confusion'])}; {again}"
        )
    return Evaluation(run, fields, _read_samples(file.with_name("samples.npz"), again))


def _read_samples(file: pathlib.Path, again: str) -> dict[str, np.ndarray]:
    if not file.is_file():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in ("ids", "image", "truth", "prediction")}
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{file}: not readable samples ({_brief(error)}); {again}") from error


def _read_json(file: pathlib.Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: not readable JSON ({_brief(error)}); restore the file or repeat the run") from error
    if not isinstance(fields, dict):
        raise InputError(f"{file}: expected a JSON object, found {type(fields).__name__}; restore the file")
    return schema_version.check(fields, SCHEMA_VERSION, file)


def _read_lines(file: pathlib.Path) -> Iterable[dict[str, Any]]:
    if not file.is_file():
        return
    try:
        lines = file.read_text().splitlines(keepends=True)
    except (ValueError, OSError) as error:
        raise InputError(f"{file}: not readable text ({_brief(error)}); restore the file or repeat the run") from error
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            return  # a run in progress is writing this line
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError(
                f"{file}, line {number}: not JSON ({_brief(error)}); restore the file or repeat the run"
            ) from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise InputError(f'{file}, line {number}: expected an object with "step"; restore the file or repeat')
        yield row


def _scores_land_cover(config: dict[str, Any]) -> bool:
    """Whether a run's scores are of land cover; scores without a config are."""
    return "task" not in config or tasks.named(config["task"]).can_map


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
