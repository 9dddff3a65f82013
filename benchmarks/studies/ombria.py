"""What pre-training on one's own pairs is worth on real floods: OMBRIA, few labels, floods of another year.

  python benchmarks/studies/ombria.py --source=DIR --output=DIR

--source holds s1_before, s1_after, s2_before, s2_after, mask (ID.png) and places.csv (id, split, group), as
`benchmarks/studies/ombria_layout.py` makes them of what was published. Sentinel-1 (VV) and Sentinel-2 (B11, B8, B3) of
a place become one image each, before and after side by side, and the two are the views of pre-training.

Groups of neighbouring places are never parted. Every fifth group of the pool, by size, is held out; with the floods of
2021, in other countries, it is what is scored in the end. All that is to be chosen (`CHOICES`) is chosen before, by
cross-validation over three parts of the other groups, one field after the other, and written into choices.json and
choices.md: which arm it is chosen on, every score, and what was taken. The test is scored after that file is there.

For each seed one pre-training of each network on all places of the training groups, without their masks; then, with 10,
25, ... and all of the labels, what `ARMS` has. Labelled places are drawn by group: groups in random order, of each one
place in turn. Every run of a network is as long as the others and is scored with its last weights. Beside them stand
classifiers of single pixels on the same places.

Writes ombria.csv, a row for each run and part of the test (held_out, each event, events), ombria.md and ombria.png, and
ombria.jsonl, the choices and what each run has counted. --rows=FILE takes such a file: what it tells of does not run
again. ombria.jsonl beside this script is that of docs/pretraining.md.
Runs stand side by side, one on each core. Stopped and started again with the same command the study goes on where it
was; --output is for one version of the configs. --plan only says what would run, and how long, by what runs like it
took; --trial=20 runs a little, scores no test, and writes trial.csv, trial.md and trial.png. --longer=900 asks, when
the test is over, whether more steps would have changed the answer: `OF_LENGTH` with so many and with as many as were
chosen, by the same cross-validation, in longer.md.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import cores
import numpy as np
import ombria_sources as sources
import ombria_tables as tables
import rows
from ombria_sources import FOLDS, NAME

from data_pipelines.schema.files import write_atomically
from lcjax.runs import evaluations, goodput, record_confusions

FOLD_LABELS = 50
ALL = 0  # labelled places: all of them
COUNTS = (10, 25, 50, 100, 200, ALL)
FEW_COUNTS = (25, 100, ALL)
CROP = 64  # pixels; a step with 128 takes four times as long, and shows a place no more often
SECONDS = {"pretrain": 150.0, "network": 60.0, "pixels": 45.0}  # of a run on a core, until one like it has ended


@dataclasses.dataclass(frozen=True)
class Arm:
    """A way to learn.

    Attributes:
      title: for the table.
      model: of the configs; empty for a classifier of single pixels.
      argument: further arguments of the config rasters; {} is the pre-training run of the seed.
      counts, seeds: with which it runs.
    """

    title: str
    model: str = ""
    argument: str = "fusion=late"
    counts: tuple[int, ...] = COUNTS
    seeds: int = 5

    @property
    def is_pretrained(self) -> bool:
        """Whether it goes on from a pre-training run."""
        return "{}" in self.argument


def _few(title: str, model: str, argument: str) -> Arm:
    return Arm(title, model, argument, FEW_COUNTS, 3)


SWIN = "two_stream_swin"
ARMS = {
    "scratch": Arm("Swin, two streams, scratch", SWIN),
    "finetuned": Arm("Swin, two streams, fine-tuned", SWIN, "fusion=late,init={}"),
    "frozen": Arm("Swin, two streams, frozen", SWIN, "fusion=late,init={},freeze=encoder"),
    "early": Arm("Swin-UNet, early, scratch", SWIN, "fusion=early"),
    "beside_random": Arm("Swin-UNet beside two random streams", SWIN, "fusion=early_plus_late"),
    "beside": Arm(
        "Swin-UNet beside two pre-trained streams, frozen", SWIN, "fusion=early_plus_late,init={},freeze=encoder"
    ),
    "unet_scratch": _few("UNet, scratch", "unet", "fusion=late"),
    "unet_finetuned": _few("UNet, fine-tuned", "unet", "fusion=late,init={}"),
    "resnet18_scratch": _few("ResNet-18 UNet, scratch", "resnet18_unet", "fusion=late"),
    "resnet18_finetuned": _few("ResNet-18 UNet, fine-tuned", "resnet18_unet", "fusion=late,init={}"),
    "logistic_regression": Arm("logistic regression of single pixels", seeds=3),
    "random_forest": Arm("random forest of single pixels", seeds=3),
}
# Field -> the arm that it is chosen on, and its values, the first of which holds until it is chosen. What all arms
# share is chosen on the arm from scratch, so that it favours none that is compared with it.
CHOICES: dict[str, tuple[str, tuple]] = {
    "steps": ("scratch", (300, 150)),
    "rate": ("scratch", (4e-3, 1e-3, 2.5e-4)),
    "layer_decay": ("finetuned", (0.5, 1.0)),
    "objective": ("finetuned", ("nt_xent", "vicreg")),
    "views_crop": ("finetuned", (32, 64)),
    "pretraining": ("finetuned", (1000, 2000)),
}

OF_LENGTH = ("scratch", "finetuned", "frozen")  # the arms that --longer compares

_OF_VIEWS = ("pretraining", "views_crop", "objective")  # of the pre-training run
_PRETRAINING: dict[str, threading.Lock] = collections.defaultdict(threading.Lock)  # by its folder
DEFAULTS: dict[str, object] = {field: known[0] for field, (_, known) in CHOICES.items()}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training with labels, and the places that it is scored on.

    Attributes:
      arm, count, seed: as of `ARMS`.
      fold: of the cross-validation; -1 of the test.
      values: of the fields of `CHOICES`.
    """

    arm: str
    count: int
    seed: int
    fold: int
    values: Mapping[str, object]

    @property
    def name(self) -> str:
        """Of its folder."""
        if self.fold < 0:
            return f"test_{self.arm}_{self.count or 'all'}_{self.seed}"
        return f"fold_{self.fold}_{self.arm}_{self.count or 'all'}_{self.seed}_{text_of(self.values)}"

    @property
    def pretrained(self) -> str:
        """Of the folder of the pre-training run that it may go on from."""
        own = {key: self.values[key] for key in _OF_VIEWS}
        return f"pretrain_{self.part}_{ARMS[self.arm].model}_{text_of(own)}_{self.seed}"

    @property
    def part(self) -> str:
        """What it is scored on, for the names of files."""
        return "test" if self.fold < 0 else f"fold_{self.fold}"


def text_of(values: Mapping[str, object]) -> str:
    """Values for the name of a folder."""
    return "_".join(f"{key}={value}" for key, value in values.items())


def run(*command: str) -> None:
    """Runs a Python module or script, and ends the study where it fails."""
    subprocess.run([sys.executable, *command], check=True)


# ---- runs -----------------------------------------------------------------------------------------------------------


def pretrain(options: argparse.Namespace, one: Run, learned: Sequence[str]) -> pathlib.Path:
    """The pre-training run of a run, which comes first where it has not ended."""
    folder = options.output / "runs" / one.pretrained
    kept = folder / "row.json"
    if not kept.exists():
        split = sources.split_file(options.output, f"{one.part}_pretrain", learned)
        model = f"model={ARMS[one.arm].model},objective={one.values['objective']},tiny=true"
        run(
            "-m", "launch", "train", f"--config=pretrain:data={NAME},{model}", f"--workdir={folder}",
            f"--config.data_dir={options.output / 'data'}",
            f"--config.split.train={split}", "--config.split.validation=",
            f"--config.seed={one.seed}", f"--config.total={one.values['pretraining']} steps",
            f"--config.crop={one.values['views_crop']}", "--config.sampling.name=spread_groups",
        )  # fmt: skip
        write_atomically(kept, json.dumps({"kind": "pretrain", "seconds": seconds_of(folder)}))
    return folder


def network(options: argparse.Namespace, one: Run, split: str, test: str, before: pathlib.Path | str) -> pathlib.Path:
    """Trains and scores a network, after a pre-training run; returns the folder of its scores."""
    arm, folder = ARMS[one.arm], options.output / "runs" / one.name
    config = f"rasters:data={NAME},model={arm.model},{arm.argument.format(before)},validation=none,tiny=true"
    tuned = arm.is_pretrained and "freeze" not in arm.argument
    decay = [f"--config.optimizer.layer_decay={one.values['layer_decay']}"] if tuned else []
    run(
        "-m", "launch", "train", f"--config={config}", f"--workdir={folder}",
        f"--config.data_dir={options.output / 'data'}", f"--config.split.train={split}", f"--config.split.test={test}",
        f"--config.seed={one.seed}", f"--config.total={one.values['steps']} steps",
        f"--config.crop={CROP}", f"--config.optimizer.learning_rate={one.values['rate']}",
        "--config.scaling=sensor", *decay,
    )  # fmt: skip
    if not (folder / "evaluation" / "test" / evaluations.METRICS).exists():
        run("-m", "launch", "evaluate", f"--workdir={folder}", f"--data_dir={options.output / 'data'}")
    return folder / "evaluation" / "test"


def pixels(options: argparse.Namespace, one: Run, split: str, test: str) -> pathlib.Path:
    """Fits and scores a classifier of single pixels; returns the folder of its scores."""
    folder = options.output / "runs" / one.name
    data = (f"--data_dir={options.output / 'data'}", f"--dataset={NAME}", f"--train={split}", f"--test={test}")
    how = ("--fusion=early", f"--models={one.arm}", "--windows=7", f"--seed={one.seed}", f"--output={folder}")
    run("benchmarks/pixel_baseline.py", *data, *how)
    return folder / one.arm / "evaluation" / "test"


def seconds_of(folder: pathlib.Path) -> float:
    """How long a run took."""
    return goodput.summary(folder / goodput.FILE).kept


def counts_of(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Confusion counts (2, 2) by group of the places that an evaluation scored."""
    fields = evaluations.read(folder, of_classes=True)
    records = record_confusions.read(folder, fields)
    if records is None:
        sys.exit(f"ombria: {folder}: no counts by record; delete the folder, and start again")
    total: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros((2, 2), np.int64))
    for group, counts in zip(records.groups.tolist(), records.confusion, strict=True):
        total[group] += counts
    return total


def kept_in(options: argparse.Namespace, one: Run) -> pathlib.Path:
    """Where the row of a run is kept when it has ended."""
    return options.output / "runs" / one.name / "row.json"


def row(options: argparse.Namespace, one: Run, places: Mapping[str, str]) -> dict:
    """The counts of a run by group, which runs first where it has not."""
    kept = kept_in(options, one)
    if not kept.exists():
        train = sources.parts_of(places)["train"]
        learned, scored = sources.fold_of(train, one.fold)
        labelled = sources.drawn(learned, places, one.count, one.seed)
        split = sources.split_file(options.output, f"{one.part}_{one.count or 'all'}_{one.seed}", labelled)
        scored_by = sources.split_file(options.output, f"{one.part}_scored", scored) if scored else "held_out+events"
        before: pathlib.Path | str = ""
        if ARMS[one.arm].is_pretrained:
            with _PRETRAINING[one.pretrained]:  # which several go on from
                before = pretrain(options, one, learned)
        began, model = time.monotonic(), ARMS[one.arm].model
        folder = network(options, one, split, scored_by, before) if model else pixels(options, one, split, scored_by)
        counts = {group: matrix.tolist() for group, matrix in counts_of(folder).items()}
        told = {"arm": one.arm, "places": one.count, "seed": one.seed, "fold": one.fold, "values": dict(one.values)}
        told |= {"kind": "network" if model else "pixels", "seconds": time.monotonic() - began, "counts": counts}
        write_atomically(kept, json.dumps(told))
    found: dict = json.loads(kept.read_text())
    if found["values"] != dict(one.values):
        sys.exit(f"ombria: {kept}: made with {found['values']}, not {dict(one.values)}; take another --output")
    return found


# ---- choices --------------------------------------------------------------------------------------------------------


def choose(options: argparse.Namespace, places: Mapping[str, str]) -> dict[str, object]:
    """What was chosen on the training groups alone; made and written where it is not there yet."""
    path = options.output / "choices.json"
    if path.exists():
        return {field: told["chosen"] for field, told in json.loads(path.read_text()).items()}
    values = dict(DEFAULTS)
    told: dict[str, dict] = {}
    for field, (arm, known) in CHOICES.items():
        tried = [Run(arm, FOLD_LABELS, 0, fold, values | {field: value}) for value in known for fold in range(FOLDS)]
        found = by_fold(options, tried, places)
        scores = {str(value): [score for one, score in found if one["values"][field] == value] for value in known}
        values[field] = max(known, key=lambda value: statistics.mean(scores[str(value)]))
        told[field] = {"arm": arm, "scores": scores, "chosen": values[field]}
    write_atomically(options.output / "choices.md", tables.choices_table(told))
    write_atomically(path, json.dumps(told, indent=1))
    return values


def by_fold(options: argparse.Namespace, tried: Sequence[Run], places: Mapping[str, str]) -> list[tuple[dict, float]]:
    """The rows of runs of the cross-validation with their flood IoU, fold by fold."""
    done = list(cores.side_by_side(lambda one: row(options, one, places), tried, options.jobs))
    return [(one, tables.flood_iou(sum_of(one["counts"]))) for one in sorted(done, key=lambda one: one["fold"])]


def write_longer(options: argparse.Namespace, values: Mapping[str, object], places: Mapping[str, str]) -> None:
    """Writes how arms score on the folds with the chosen number of steps, and with more."""
    lengths = (int(str(values["steps"])), options.longer)
    tried = [
        Run(arm, FOLD_LABELS, 0, fold, {**values, "steps": steps})
        for steps in lengths
        for arm in OF_LENGTH
        for fold in range(FOLDS)
    ]
    found = by_fold(options, tried, places)
    scores = {
        (arm, steps): [score for one, score in found if (one["arm"], one["values"]["steps"]) == (arm, steps)]
        for arm in OF_LENGTH
        for steps in lengths
    }
    titles = {key: arm.title for key, arm in ARMS.items()}
    write_atomically(options.output / "longer.md", tables.lengths_table(scores, titles))


def sum_of(counts: Mapping[str, Sequence]) -> np.ndarray:
    """Confusion counts of all groups together."""
    return np.sum([np.array(matrix) for matrix in counts.values()], axis=0)


def tests_of(options: argparse.Namespace, values: Mapping[str, object]) -> Iterator[Run]:
    """The runs that are tested, the first seed of all arms first."""
    for seed in options.seeds:
        for count in options.counts:
            for name in options.arms:
                if count in ARMS[name].counts and seed < ARMS[name].seeds:
                    yield Run(name, count, seed, 0 if options.trial else -1, values)


def plan(options: argparse.Namespace) -> str:
    """What would run, and for how long, by the median of what runs like it took; what has run is left out."""
    done = {path.parent.name: json.loads(path.read_text()) for path in options.output.glob("runs/*/row.json")}
    chosen = (options.output / "choices.json").exists()
    values = choose(options, {}) if chosen else DEFAULTS
    todo = [one for one in tests_of(options, values) if one.name not in done]
    left = {"pretrain": len({one.pretrained for one in todo if ARMS[one.arm].is_pretrained} - done.keys())}
    left["network"] = sum(bool(ARMS[one.arm].model) for one in todo)
    left["pixels"] = len(todo) - left["network"]
    if not chosen:
        left["network"] += FOLDS * sum(len(known) for _, known in CHOICES.values())
        left["pretrain"] += FOLDS * sum(len(CHOICES[field][1]) for field in _OF_VIEWS)
    lines, total = [], 0.0
    for kind, count in left.items():
        took = [one["seconds"] for one in done.values() if one["kind"] == kind]
        each = statistics.median(took) if took else SECONDS[kind]
        total += count * each
        measured = "" if took else " (not measured yet)"
        lines.append(f"{kind:10} {count:4} runs, {each / 60:5.1f} minutes each{measured}")
    return "\n".join([*lines, f"{total / options.jobs / 3600:.1f} hours in all, {options.jobs} at a time"])


def write_tables(options: argparse.Namespace, values: Mapping[str, object], pool: Sequence[str]) -> None:
    """Writes the tables and the figure of what has run with these values; those of a trial under names of its own.

    Args:
      options: of the command line.
      values: of the fields of `CHOICES`; runs of the choices, and of other trials, have others.
      pool: its groups.
    """
    kind, name = ("fold_0", "trial") if options.trial else ("test", "ombria")
    kept = [json.loads(path.read_text()) for path in sorted(options.output.glob(f"runs/{kind}_*/row.json"))]
    scores = tables.scores_of([one for one in kept if one["values"] == dict(values)], pool)
    titles = {key: arm.title for key, arm in ARMS.items()}
    write_atomically(options.output / f"{name}.jsonl", rows.text(options.output))
    write_atomically(options.output / f"{name}.csv", tables.sheet(scores))
    write_atomically(options.output / f"{name}.md", tables.table(scores, titles))
    write_atomically(options.output / f"{name}.png", tables.draw(scores, titles))


def main() -> None:
    """Runs the study, or what is left of it, and writes its tables and its figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, required=True, help="holds places.csv and the folders of images")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--arms", type=lambda text: text.split(","), default=list(ARMS), help=", ".join(ARMS))
    parser.add_argument(
        "--counts",
        type=lambda text: [int(one) for one in text.split(",")],
        default=COUNTS,
        help="labelled places, e.g. 25,100,0; 0 is all",
    )
    parser.add_argument(
        "--seeds", type=lambda text: [int(one) for one in text.split(",")], default=range(5), help="e.g. 0,1,2"
    )
    parser.add_argument("--trial", type=int, default=0, help="so many steps of every network, scored on the first fold")
    parser.add_argument("--jobs", type=int, default=len(cores.known()), help="runs at a time, each on its core")
    parser.add_argument("--rows", type=pathlib.Path, help="ombria.jsonl of a study whose runs are not to run again")
    parser.add_argument(
        "--longer", type=int, default=0, help="after the test: steps that it is compared with on the folds"
    )
    parser.add_argument("--choose", action="store_true", help="only choose, and do not look at the test")
    parser.add_argument("--plan", action="store_true", help="only say what would run")
    options = parser.parse_args()
    if unknown := [name for name in options.arms if name not in ARMS]:
        parser.error(f"--arms: {', '.join(unknown)}; expected some of {', '.join(ARMS)}")
    if options.jobs < 1:
        parser.error(f"--jobs={options.jobs}: expected 1 or more")
    if options.rows:
        rows.take(options.output, options.rows)
    if options.plan:
        print(plan(options))
        return
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((options.output / "compiled").absolute()))
    # Pages of 2 MB: 1.2 times as many steps in a second for a network on one core, and the same numbers.
    os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    places = sources.places_of(options.source)
    if not sources.is_prepared(options.output):
        sources.write(options.source, options.output / "source", places)
        where = (f"--source={options.output / 'source'}", f"--data_dir={options.output / 'data'}")
        run("-m", "launch", "prepare", f"--dataset={NAME}", *where, "--max_refused=0")
    short = {"steps": options.trial, "pretraining": options.trial}
    values = DEFAULTS | short if options.trial else choose(options, places)
    if options.choose:
        return
    parts = sources.parts_of(places)
    pool = [group for groups in (parts["train"], parts["held_out"]) for group in groups]
    tests = list(tests_of(options, values))
    todo = [one for one in tests if not kept_in(options, one).exists()]
    for one in tests:
        if one not in todo:
            row(options, one, places)  # is of these values
    for count, _ in enumerate(cores.side_by_side(lambda one: row(options, one, places), todo, options.jobs)):
        if count % options.jobs == 0:  # the figure takes a second of what runs beside
            write_tables(options, values, pool)
    if tests:
        write_tables(options, values, pool)
    if options.longer:
        write_longer(options, values, places)


if __name__ == "__main__":
    main()
