"""From the files that people download, or their own, to shards, statistics and pictures."""

import csv
import json
import pathlib

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import pipeline, quicklooks
from data_pipelines.reading.dataset import PreparedDataset, open_dataset
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError


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
) -> PreparedDataset:
    """Prepares a data set, or finds it prepared, and prints what is there.

    `options` (max_nodata, offset) are for published data sets, `legend` and `tile` for own imagery. Raises InputError
    where `source` is not there or holds no record, where an earlier preparation is from another source or from files
    that have changed, where too many records are refused, and where `data_dir` cannot be written.
    """
    if beam:  # its workers start in other folders
        source, data_dir = source.absolute(), data_dir.absolute()
    folder = on_disk.folder_of(name, datasets.version(name), data_dir)
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
    made = json.loads((folder / on_disk.STATISTICS).read_text())
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


def _say(dataset: PreparedDataset, drawn: list[pathlib.Path], published_tile: int) -> None:
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
    with (dataset.folder / on_disk.REFUSED).open(newline="") as file:
        refused = sum(1 for _ in csv.reader(file)) - 1
    if refused:
        print(f"  refused     {refused:>9,}; which and why: {dataset.folder / on_disk.REFUSED}")
    print(f"  shards and statistics: {dataset.folder}")
    print(f"  look at: {', '.join(str(path) for path in drawn)}")
