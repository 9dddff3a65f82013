"""The verb `prepare`: from the files that people download, or their own, to shards, statistics and pictures."""

import json
import os
import pathlib

from data_pipelines import datasets, loader, pictures, shards
from data_pipelines.errors import InputError

HELP = """Turns a downloaded data set, or your own images and masks, into shards that training reads fast.

  lcjax prepare --dataset=dfc2020 --source=~/downloads/dfc2020 --data_dir=~/lcjax_data

It checks every file. A record with a file that is missing, truncated, of another size, band count or data type, with
NaN or nodata, or with a label outside the legend is refused by name: refused.csv lists id, file and reason, and the
rest goes on, unless more than the share --max_refused is refused.

It writes into DATA_DIR/NAME/VERSION: the shards (ArrayRecord, read by TensorFlow Datasets without TensorFlow),
statistics.json (records, pixels of each class, mean and deviation of each band, by split), description.json (bands,
scaling, classes), refused.csv, class_distribution.png and contact_sheet.png. Stopped or killed, the same command goes
on and ends in the same bytes. Done, it does nothing.

More examples:
  lcjax prepare --dataset=sample --source=build/sample --data_dir=build/data
  lcjax prepare --dataset=dfc2020 --source=/data/dfc --data_dir=/data/shards --workers=16 --max_refused=0.01

Your own imagery (docs/own_data.md) is the data set rasters, or rasters/NAME for more than one: a CSV of images, masks
and splits, and a CSV of classes. --init looks for pairs in a folder and writes both; edit them, then prepare:
  lcjax prepare --dataset=rasters/town --source=photos --init
  lcjax prepare --dataset=rasters/town --source=photos --data_dir=data
  lcjax prepare --dataset=rasters/town --source=photos/some.csv --legend=classes.csv --tile=512 --data_dir=data
Images are cut into tiles of --tile= pixels; every labelled pixel is in one tile. Pixels without data (nodata, NaN,
mask, alpha) are neither trained on nor scored.
"""


def define_flags(flags) -> None:
    """Declares the verb's flags on absl's `flags` module."""
    known = ", ".join([*sorted(datasets.DATASETS), f"{datasets.RASTERS}/NAME"])
    flags.DEFINE_string("dataset", None, f"What is prepared: {known}.")
    flags.DEFINE_string(
        "source", None, "The folder with the unpacked files, nested or not; for rasters also the CSV itself."
    )
    flags.DEFINE_string("data_dir", None, "The folder that holds prepared data sets; config.data_dir of training.")
    flags.DEFINE_integer("workers", len(os.sched_getaffinity(0)), "Processes that read and write.", lower_bound=1)
    flags.DEFINE_float(
        "max_refused", 0.2, "The share of records (of rasters: of images) that may be refused.", lower_bound=0.0,
        upper_bound=1.0,
    )  # fmt: skip
    flags.DEFINE_string("legend", None, "For rasters: the CSV of classes, if it is not legend.csv beside the other.")
    flags.DEFINE_integer("tile", None, "For rasters: edge of a tile in pixels; 256 where it is not given.")
    flags.DEFINE_bool("init", False, "For rasters: only write the two CSVs, for you to edit, into the folder --source.")


def run(flags) -> None:
    """Prepares one data set and says what was written. Raises InputError for what the user can put right."""
    needed = [("dataset", "sample"), ("source", "build/sample"), ("data_dir", "build/data")]
    for name, example in needed[:2] if flags.init else needed:
        if not getattr(flags, name):
            raise InputError(f"--{name} is missing; expected for example --{name}={example} (lcjax prepare --help)")
    source = pathlib.Path(flags.source).expanduser()
    own = {name: getattr(flags, name) for name in ("init", "legend", "tile")}
    if not datasets.is_rasters(flags.dataset):
        for name in [name for name, value in own.items() if value]:
            raise InputError(f"--{name}: only for your own imagery (--dataset=rasters/NAME); leave it out")
    if flags.init:
        from data_pipelines.rasters import propose

        propose.propose(flags.dataset, source)
        return
    prepare(
        flags.dataset,
        source,
        pathlib.Path(flags.data_dir).expanduser(),
        workers=flags.workers,
        max_refused=flags.max_refused,
        legend=pathlib.Path(flags.legend).expanduser() if flags.legend else None,
        tile=flags.tile,
    )


def prepare(
    name: str,
    source: pathlib.Path,
    data_dir: pathlib.Path,
    *,
    workers: int = 1,
    max_refused: float = 0.2,
    legend: pathlib.Path | None = None,
    tile: int | None = None,
) -> loader.Dataset:
    """Prepares a data set, or finds it prepared, and prints what is there.

    `legend` and `tile` are for own imagery. Raises InputError where `source` is not there or holds no record, where an
    earlier preparation is from another source or from files that have changed, where too many records are refused, and
    where `data_dir` cannot be written.
    """
    folder = shards.folder_of(name, datasets.version(name), data_dir)
    own = _describe(name, source, legend, tile) if datasets.is_rasters(name) else None
    if own is None and not source.is_dir():
        raise InputError(
            f"--source={source}: no such folder; expected the unpacked files: {datasets.dataset(name).layout}"
        )
    source = own.csv if own else source
    if (folder / "dataset_info.json").is_file():
        _check_same(folder, name, source, own.fingerprint if own else "")
        print(f"{folder}: already prepared from {source}; nothing to do (delete the folder to prepare it anew)")
    else:
        print(f"{name} {folder.name}: {source} -> {folder}", flush=True)
        spec = _rasters().spec(own) if own else datasets.dataset(name)
        shards.write(spec, source, data_dir, workers=workers, max_refused=max_refused)
    dataset = loader.open_dataset(data_dir, name)
    drawn = pictures.draw(dataset)
    _say(dataset, drawn, dataset.tile if own else datasets.dataset(name).tile)
    return dataset


def _rasters():
    from data_pipelines.rasters import builder  # here, because published data sets need none of it

    return builder


def _describe(name: str, source: pathlib.Path, legend: pathlib.Path | None, tile: int | None):
    builder = _rasters()
    return builder.describe(name, source, legend, builder.TILE if tile is None else tile)


def _check_same(folder: pathlib.Path, name: str, source: pathlib.Path, fingerprint: str) -> None:
    """Raises InputError where a finished data set was made from something else."""
    made = json.loads((folder / "statistics.json").read_text())
    if made["source"] != str(source.resolve()):
        other = "give another --data_dir" if not fingerprint else "give another name (--dataset=rasters/NAME)"
        raise InputError(
            f"{folder}: already prepared from {made['source']}, but --source={source}; "
            f"{other}, or delete this folder to prepare it anew"
        )
    if made.get("fingerprint", "") != fingerprint:
        raise InputError(
            f"{folder}: already prepared from {source}, but a CSV, an image, a mask or --tile has changed since; "
            "prepare it under another name (--dataset=rasters/NAME), or delete this folder to prepare it anew"
        )


def _say(dataset: loader.Dataset, drawn: list[pathlib.Path], published_tile: int) -> None:
    """The closing lines: path, records by split, what was refused, where to look."""
    if dataset.tile != published_tile:
        print(f"warning: tiles are {dataset.tile} pixels wide, the published ones {published_tile}; prepared as found")
    for split, records in dataset.splits.items():
        counts = dataset.statistics["splits"][split]
        off, labelled = counts["off_legend_pixels"], sum(counts["class_pixels"].values())
        share = 100 * off / (off + labelled) if off else 0
        colours = f"; {share:.2f} % of the pixels have colours off the legend, not labelled" if off else ""
        print(f"  {split:<12}{records:>9,} records of {dataset.tile} x {dataset.tile} pixels{colours}")
    refused = len((dataset.folder / "refused.csv").read_text().splitlines()) - 1
    if refused:
        print(f"  refused     {refused:>9,} records; which and why: {dataset.folder / 'refused.csv'}")
    print(f"  shards and statistics: {dataset.folder}")
    print(f"  look at: {', '.join(str(path) for path in drawn)}")
