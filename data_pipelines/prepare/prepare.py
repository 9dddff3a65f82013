"""The verb `prepare`: from the files that people download, or their own, to shards, statistics and pictures."""

import csv
import json
import os
import pathlib

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import finalize, pipeline, quicklooks
from data_pipelines.reading.dataset import Dataset, open_dataset
from data_pipelines.schema.errors import InputError

HELP = """Turns a downloaded data set, or your own images and masks, into shards that training reads fast.

  lcjax prepare --dataset=dfc2020 --source=~/downloads/dfc2020 --data_dir=~/lcjax_data

--source is the folder as it was downloaded: files, archives (zip, tar, tar.gz) or both, nested or not. It checks every
file. A record with a file that is missing, truncated, damaged, of another size, band count or data type, with more NaN
or nodata than --max_nodata=0, or with a label outside the legend is refused by name: refused.csv lists id, file and
reason, and the rest goes on, unless more than the share --max_refused is refused.

It writes into DATA_DIR/NAME/VERSION: the shards (ArrayRecord, read by TensorFlow Datasets without TensorFlow),
statistics.json (records, pixels of each class, mean and deviation of each band, by split), description.json (bands,
scaling, classes), records.csv (each record: place and pixels of each class), partitions.json (other ways to part it),
refused.csv, and pictures: class_distribution.png, band_histograms.png and contact_sheet.png. Stopped or killed, the
same command goes on and ends in the same bytes. Done, it does nothing. What each data set needs and how it is parted is
told in data_pipelines/NAME/README.md, disk and hours in docs/data.md.

More examples:
  lcjax prepare --dataset=sample --source=build/sample --data_dir=build/data
  lcjax prepare --dataset=sen12ms --source=/data/sen12ms --data_dir=/data/shards --workers=16 --max_refused=0.01
  lcjax prepare --dataset=flair1 --source=~/downloads/flair-1 --data_dir=/data/shards
Sentinel-2 products from January 2022 on carry an offset; on many machines (docs/clusters.md):
  lcjax prepare --dataset=dfc2020 --source=new_places --data_dir=/data/shards --offset=-1000
  lcjax prepare --dataset=sen12ms --source=/mnt/sen12ms --data_dir=/mnt/shards --beam="--runner=SparkRunner ..."

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
        "source", None, "The folder with the files or archives, nested or not; for rasters also the CSV itself."
    )
    flags.DEFINE_string("data_dir", None, "The folder that holds prepared data sets; config.data_dir of training.")
    flags.DEFINE_integer("workers", len(os.sched_getaffinity(0)), "Processes that read and write.", lower_bound=1)
    flags.DEFINE_float(
        "max_refused", 0.2, "The share of records (of rasters: of images) that may be refused.", lower_bound=0.0,
        upper_bound=1.0,
    )  # fmt: skip
    flags.DEFINE_float(
        "max_nodata", 0.0, "The share of the pixels of a file that may be NaN or nodata: filled with the mean of the "
        "others and not labelled. Not for rasters, which take any.", lower_bound=0.0, upper_bound=1.0,
    )  # fmt: skip
    flags.DEFINE_integer("offset", 0, "Added to Sentinel-2: -1000 for products from January 2022 on.")
    flags.DEFINE_string("beam", "", "Options of an Apache Beam pipeline that writes the shards (docs/clusters.md).")
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
    options = {name: getattr(flags, name) for name in ("max_nodata", "offset") if getattr(flags, name)}
    if flags.init:
        from data_pipelines.datasets.rasters import init_csv

        init_csv.propose(flags.dataset, source)
        return
    prepare(
        flags.dataset,
        source,
        pathlib.Path(flags.data_dir).expanduser(),
        workers=flags.workers,
        max_refused=flags.max_refused,
        options=options,
        beam=flags.beam,
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
    options: dict[str, float] | None = None,
    beam: str = "",
    legend: pathlib.Path | None = None,
    tile: int | None = None,
) -> Dataset:
    """Prepares a data set, or finds it prepared, and prints what is there.

    `options` (max_nodata, offset) are for published data sets, `legend` and `tile` for own imagery. Raises InputError
    where `source` is not there or holds no record, where an earlier preparation is from another source or from files
    that have changed, where too many records are refused, and where `data_dir` cannot be written.
    """
    if beam:  # its workers start in other folders
        source, data_dir = source.absolute(), data_dir.absolute()
    folder = pipeline.folder_of(name, datasets.version(name), data_dir)
    own = _describe(name, source, legend, tile) if datasets.is_rasters(name) else None
    if own is None and not source.is_dir():
        what = "is a file, not the folder that holds it" if source.is_file() else "no such folder"
        raise InputError(f"--source={source}: {what}; expected the files or archives: {datasets.dataset(name).layout}")
    options = _checked(name, options or {})
    source = own.csv if own else source
    if (folder / "dataset_info.json").is_file():
        _check_same(folder, name, source, own.fingerprint if own else "", options)
        pipeline.tidy(folder)
        print(f"{folder}: already prepared from {source}; nothing to do (delete the folder to prepare it anew)")
    else:
        print(f"{name} {folder.name}: {source} -> {folder}", flush=True)
        spec = _rasters().spec(own) if own else datasets.DATASETS[name]
        pipeline.write(spec, source, data_dir, workers=workers, max_refused=max_refused, options=options, beam=beam)
    dataset = open_dataset(data_dir, name)
    try:
        drawn = quicklooks.draw(dataset)
    except OSError as error:
        raise InputError(
            f"{dataset.folder}: the data set is complete, but its pictures cannot be written ({error.strerror}); make "
            "room and run the same command again"
        ) from error
    _say(dataset, drawn, dataset.tile if own else datasets.dataset(name).tile)
    return dataset


def _rasters():
    from data_pipelines.datasets.rasters import builder  # here, because published data sets need none of it

    return builder


def _describe(name: str, source: pathlib.Path, legend: pathlib.Path | None, tile: int | None):
    builder = _rasters()
    return builder.describe(name, source, legend, builder.TILE if tile is None else tile)


def _checked(name: str, options: dict[str, float]) -> dict[str, float]:
    """The options; raises InputError for one that the data set does not have."""
    own = datasets.is_rasters(name)
    optical = not own and "s2" in {sensor.name for sensor in datasets.dataset(name).sensors}
    for option, fits, what in (("max_nodata", not own, "published data sets"), ("offset", optical, "Sentinel-2")):
        if option in options and not fits:
            raise InputError(f"--{option}={options[option]:g}: only for {what}, not for {name}; leave it out")
    if not 0 <= options.get("max_nodata", 0) <= 1:
        raise InputError(f"--max_nodata={options['max_nodata']}: expected a share from 0 to 1, e.g. 0.05 for 5 %")
    return options


def _check_same(
    folder: pathlib.Path, name: str, source: pathlib.Path, fingerprint: str, options: dict[str, float]
) -> None:
    """Raises InputError where a finished data set was made from something else."""
    made = json.loads((folder / finalize.STATISTICS).read_text())
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
    if made.get("options", {}) != options:
        raise InputError(
            f"{folder}: already prepared with the options {made.get('options', {})}, now asked for {options}; expected "
            "the same; give another --data_dir, or delete this folder to prepare it anew"
        )


def _say(dataset: Dataset, drawn: list[pathlib.Path], published_tile: int) -> None:
    """The closing lines: path, records by split, what was refused, where to look."""
    if dataset.tile != published_tile:
        print(f"warning: tiles are {dataset.tile} pixels wide, the published ones {published_tile}; prepared as found")
    for split, records in dataset.splits.items():
        counts = dataset.statistics["splits"][split]
        off, labelled = counts["off_legend_pixels"], sum(counts["class_pixels"].values())
        share = 100 * off / (off + labelled) if off else 0
        colours = f"; {share:.2f} % of the pixels have colours off the legend, not labelled" if off else ""
        filled = counts["nodata_pixels"]
        colours += f"; {filled:,} pixels without data, filled and not labelled" if filled else ""
        print(f"  {split:<12}{records:>9,} records of {dataset.tile} x {dataset.tile} pixels{colours}")
    for part, records in dataset.partitions.items():
        print(f"    {part:<28}{records:>9,}")
    for name, warning in dataset.partition_warnings.items():
        print(f"    warning: {name}: {warning}")
    with (dataset.folder / finalize.REFUSED).open(newline="") as file:
        refused = sum(1 for _ in csv.reader(file)) - 1
    if refused:
        print(f"  refused     {refused:>9,}; which and why: {dataset.folder / finalize.REFUSED}")
    print(f"  shards and statistics: {dataset.folder}")
    print(f"  look at: {', '.join(str(path) for path in drawn)}")
