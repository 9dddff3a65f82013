"""The verb `prepare`: from the files that people download to shards, statistics and pictures."""

import json
import os
import pathlib

from data_pipelines import datasets, loader, pictures, shards
from data_pipelines.errors import InputError

HELP = """Turns a downloaded data set into shards that training reads fast, once and for all.

  lcjax prepare --dataset=dfc2020 --source=~/downloads/dfc2020 --data_dir=~/lcjax_data

It checks every file. A record with a file that is missing, truncated, of another size, band count or data type, with
NaN or nodata, or with a label outside the legend is refused by name: refused.csv lists id, file and reason, and the
rest goes on, unless more than the share --max_refused is refused.

It writes into DATA_DIR/NAME/VERSION: the shards (ArrayRecord, read by TensorFlow Datasets without TensorFlow),
statistics.json (records, and pixels of each class, by split), refused.csv, class_distribution.png and
contact_sheet.png. Stopped or killed, the same command goes on and ends in the same bytes. Done, it does nothing.

More examples:
  lcjax prepare --dataset=sample --source=build/sample --data_dir=build/data
  lcjax prepare --dataset=dfc2020 --source=/data/dfc --data_dir=/data/shards --workers=16 --max_refused=0.01
"""


def define_flags(flags) -> None:
    """Declares the verb's flags on absl's `flags` module."""
    known = ", ".join(sorted(datasets.DATASETS))
    flags.DEFINE_string("dataset", None, f"What is prepared: {known}.")
    flags.DEFINE_string("source", None, "The folder with the unpacked files; folders inside may be nested.")
    flags.DEFINE_string("data_dir", None, "The folder that holds prepared data sets; config.data_dir of training.")
    flags.DEFINE_integer("workers", len(os.sched_getaffinity(0)), "Processes that read and write.", lower_bound=1)
    flags.DEFINE_float(
        "max_refused", 0.2, "The share of records that may be refused.", lower_bound=0.0, upper_bound=1.0
    )


def run(flags) -> None:
    """Prepares one data set and says what was written. Raises InputError for what the user can put right."""
    for name, example in (("dataset", "sample"), ("source", "build/sample"), ("data_dir", "build/data")):
        if not getattr(flags, name):
            raise InputError(f"--{name} is missing; expected for example --{name}={example} (lcjax prepare --help)")
    source, data_dir = (pathlib.Path(path).expanduser() for path in (flags.source, flags.data_dir))
    prepare(flags.dataset, source, data_dir, workers=flags.workers, max_refused=flags.max_refused)


def prepare(
    name: str, source: pathlib.Path, data_dir: pathlib.Path, *, workers: int = 1, max_refused: float = 0.2
) -> loader.Dataset:
    """Prepares a data set, or finds it prepared, and prints what is there.

    Raises InputError where `source` is not a folder or holds no record, where an earlier preparation is from another
    source, where too many records are refused, and where `data_dir` cannot be written.
    """
    spec = datasets.dataset(name)
    folder = shards.folder_of(spec.name, spec.version, data_dir)
    if not source.is_dir():
        raise InputError(f"--source={source}: no such folder; expected the unpacked files: {spec.layout}")
    there = (folder / "dataset_info.json").is_file()
    if there:
        made_from = json.loads((folder / "statistics.json").read_text())["source"]
        if made_from != str(source.resolve()):
            raise InputError(
                f"{folder}: already prepared from {made_from}, but --source={source}; "
                "give another --data_dir, or delete this folder to prepare it anew"
            )
        print(f"{folder}: already prepared from {made_from}; nothing to do (delete the folder to prepare it anew)")
    else:
        print(f"{name} {spec.version}: {source} -> {folder}", flush=True)
        shards.write(spec, source, data_dir, workers=workers, max_refused=max_refused)
    dataset = loader.open_dataset(data_dir, name)
    drawn = pictures.draw(dataset)
    _say(dataset, drawn, spec.tile)
    return dataset


def _say(dataset: loader.Dataset, drawn: list[pathlib.Path], published_tile: int) -> None:
    """The closing lines: path, records by split, what was refused, where to look."""
    if dataset.tile != published_tile:
        print(f"warning: tiles are {dataset.tile} pixels wide, the published ones {published_tile}; prepared as found")
    for split, records in dataset.splits.items():
        print(f"  {split:<12}{records:>9,} records of {dataset.tile} x {dataset.tile} pixels")
    refused = len((dataset.folder / "refused.csv").read_text().splitlines()) - 1
    if refused:
        print(f"  refused     {refused:>9,} records; which and why: {dataset.folder / 'refused.csv'}")
    print(f"  shards and statistics: {dataset.folder}")
    print(f"  look at: {', '.join(str(path) for path in drawn)}")
