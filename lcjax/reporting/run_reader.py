"""Reads what finished runs wrote to their workdirs: config, metrics, scores, sample predictions.

Reads JSON and npz only, so that a page can be made on a machine without an accelerator. A file that is not what was
written gives no numbers: its run is left out, and that is said.
"""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.datasets.registry import LEGENDS
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from lcjax import tasks
from lcjax.ops.boundary_density import BoundaryDensity, boundary_density
from lcjax.runs import evaluations, record_confusions
from lcjax.runs import model_card as cards
from lcjax.runs import workdir as workdirs
from lcjax.runs.record_confusions import RecordConfusions

# What `Evaluation.comparable` holds, in words.
MUST_AGREE = (
    *("data sets", "class sets", "class ids", "ignored ids"),
    *("splits", "records of the split", "sizes of tiles"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The scores of one run on one split, as in `evaluation/<role>/metrics.json`.

    Attributes:
      run: name of the run.
      fields: the whole file.
      samples: "ids" (N,) str, "image" (N, H, W, 3) uint8, "truth" and "prediction" (N, H, W) uint8 legend ids, or
        empty where the run kept none.
      records: the counts of each record; None where the run kept none.
      setup: equal for runs whose configs differ in nothing but the seed; empty where there is no config.
      seed: of the run; None where there is no config.
    """

    run: str
    fields: dict[str, Any]
    samples: dict[str, np.ndarray]
    records: RecordConfusions | None = None
    setup: str = ""
    seed: int | None = None

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

    def interval(self, stem: str) -> tuple[float, float] | None:
        """Returns the interval of a score by its full name or stem, or None where there is none."""
        found: tuple[float, float] | None = self.fields.get("intervals", {"scores": {}})["scores"].get(self.key(stem))
        return found


@dataclasses.dataclass(frozen=True)
class Run:
    """One workdir.

    Attributes:
      name: unique in the report.
      workdir: its path.
      config: of config.json.
      history: rows of metrics.jsonl in order.
      evaluations: by split.
      patches: by split, of a run that classifies whole patches.
      legend: of the card, None where there is no card.
      splits: of the card: role -> {"spec", "records", "id"}.
      dataset: of the card: what the run was trained on; "" where there is no card.
    """

    name: str
    workdir: pathlib.Path
    config: dict[str, Any]
    history: tuple[dict[str, Any], ...]
    evaluations: tuple[Evaluation, ...]
    legend: Legend | None
    splits: Mapping[str, cards.Split]
    dataset: str = ""
    patches: tuple[Evaluation, ...] = ()

    @property
    def kind(self) -> str:
        """What it learned, as a heading says it."""
        if _classifies(self.config):
            return "Classification"
        return "Segmentation" if _scores_land_cover(self.config) else "Pre-training"

    @property
    def labels(self) -> str:
        """Of a run that classifies whole patches, "single" or "multi"; else ""."""
        return str(self.config.get("labels", "")) if _classifies(self.config) else ""

    @property
    def pretraining(self) -> bool:
        """Whether the run scores no land cover: it has curves only."""
        return self.kind == "Pre-training"


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
                workdirs.setdefault(paths.real(path), path)
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


def read(workdirs: Iterable[pathlib.Path], refused: list[str] | None = None) -> list[Run]:
    """Reads runs, each under a name of its own.

    Args:
      workdirs: of the runs.
      refused: where it is given, a run of which a file cannot be believed is left out, and a line that says which and
        why is added to it.

    Raises:
      InputError: no run is left, or a run has no scores; a run cannot be read, and `refused` is not given.
    """
    folders = list(workdirs)
    runs: list[Run] = []
    for folder, name in zip(folders, _names(folders), strict=True):
        try:
            runs.append(_read_run(folder, name))
        except InputError as error:
            if refused is None or len(folders) == 1:
                raise
            refused.append(str(error))
    if refused and not runs:
        raise InputError(f"none of {len(folders)} runs can be read; the first: {refused[0]}")
    bare = [run.workdir for run in runs if not run.pretraining and not run.evaluations + run.patches]
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
    plain = [paths.real(folder).name for folder in folders]
    return [name if plain.count(name) == 1 else str(path) for name, path in zip(plain, folders, strict=True)]


def _read_run(workdir: pathlib.Path, name: str) -> Run:
    card = cards.read(workdir) if (workdir / cards.FILE).exists() else None
    config = workdirs.read_fields(workdir) if (workdir / workdirs.CONFIG).exists() else {}
    tasks.check_names(config)
    scored = sorted(workdir.glob(f"evaluation/*/{evaluations.METRICS}"))
    maps, classifies = _scores_land_cover(config), _classifies(config)
    return Run(
        name=name,
        workdir=workdir,
        config=config,
        history=tuple(workdirs.read_metrics(workdir)),
        evaluations=tuple(_read_evaluation(file.parent, name, config) for file in scored if maps),
        legend=card.legend if card else None,
        splits=card.splits if card else {},
        dataset=card.dataset if card else "",
        patches=tuple(Evaluation(name, evaluations.read_of_patches(file.parent), {}) for file in scored if classifies),
    )


def _read_evaluation(folder: pathlib.Path, run: str, config: dict[str, Any]) -> Evaluation:
    fields = evaluations.read(folder, of_classes=True)
    rest = {name: value for name, value in config.items() if name != "seed"}
    return Evaluation(
        run,
        fields,
        evaluations.read_samples(folder),
        record_confusions.read(folder, fields),
        json.dumps(rest, sort_keys=True) if config else "",
        config.get("seed"),
    )


def _scores_land_cover(config: dict[str, Any]) -> bool:
    """Whether a run's scores are of land cover; scores without a config are."""
    return "task" not in config or tasks.named(config["task"]).can_map


def _classifies(config: dict[str, Any]) -> bool:
    """Whether a run's scores are of whole patches."""
    return "task" in config and tasks.named(config["task"]).can_classify
