"""From the files that people download, or their own, to shards, statistics and pictures."""

import csv
import logging
import pathlib

from data_pipelines.datasets import registry as datasets
from data_pipelines.prepare import findings, pipeline, quicklooks
from data_pipelines.reading.dataset import PreparedDataset, open_dataset
from data_pipelines.schema import on_disk, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import DatasetFamily, DatasetSpec, Described

_log = logging.getLogger("lcjax.data")


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
    resample: bool = False,
) -> PreparedDataset:
    """Prepares a data set, or finds it prepared, and logs what is there.

    `options` are those that the data set's entry names, `legend`, `tile` and `resample` are for own imagery. Raises
    InputError where `source` is not there or holds no record, where an earlier preparation is from another source or
    from files that have changed, where too many records are refused, and where `data_dir` cannot be written.
    """
    if beam:  # its workers start in other folders
        source, data_dir = source.absolute(), data_dir.absolute()
    entry = datasets.entry(name)
    folder = on_disk.folder_of(entry.name, entry.version, data_dir)
    described = _described(entry, source, legend, tile, resample)
    options = _checked(entry, options or {})
    source = described.source
    if (folder / "dataset_info.json").is_file():
        _check_same(folder, described, options)
        pipeline.tidy(folder)
        _log.info(f"{folder}: already prepared from {source}; nothing to do (delete the folder to prepare it anew)")
    else:
        _log.info(f"{name} {folder.name}: {source} -> {folder}")
        spec = described.open()
        pipeline.write(spec, source, data_dir, workers=workers, max_refused=max_refused, options=options, beam=beam)
    dataset = open_dataset(data_dir, name)
    try:
        drawn = quicklooks.draw(dataset)
    except OSError as error:
        raise InputError(
            f"{dataset.folder}: the data set is complete, but its pictures cannot be written ({error.strerror}); make "
            "room and run the same command again"
        ) from error
    _log_summary(dataset, drawn, entry.tile if isinstance(entry, DatasetSpec) else dataset.tile)
    return dataset


def _described(
    entry: DatasetSpec | DatasetFamily,
    source: pathlib.Path,
    legend: pathlib.Path | None,
    tile: int | None,
    resample: bool,
) -> Described:
    """Returns what is to be prepared. Raises InputError where it cannot be."""
    if isinstance(entry, DatasetFamily):
        return entry.describe(entry.name, source, legend, tile, resample)
    if not source.is_dir():
        what = "is a file, not the folder that holds it" if source.is_file() else "no such folder"
        raise InputError(f"--source={source}: {what}; expected the files or archives: {entry.layout}")
    return Described(source, "", lambda: entry)


def _checked(entry: DatasetSpec | DatasetFamily, options: dict[str, float]) -> dict[str, float]:
    """Returns the options. Raises InputError for one that the data set does not take."""
    for option in options.keys() - set(entry.options):
        taken = ", ".join(f"--{one}" for one in entry.options) or "neither --max_nodata nor --offset"
        raise InputError(
            f"--{option}={options[option]:g}: not for {entry.name}, whose files are read with {taken}; leave it out"
        )
    if not 0 <= options.get("max_nodata", 0) <= 1:
        raise InputError(f"--max_nodata={options['max_nodata']}: expected a share from 0 to 1, e.g. 0.05 for 5 %")
    return options


def _check_same(folder: pathlib.Path, described: Described, options: dict[str, float]) -> None:
    """Raises InputError where a finished data set was made from something else."""
    source, fingerprint = described.source, described.fingerprint
    anew = "delete this folder to prepare it anew"
    made = schema_version.read_json(folder / on_disk.STATISTICS, on_disk.Statistics, on_disk.SCHEMA_VERSION, anew)
    if made["source"] != str(source.resolve()):
        other = "give another --data_dir" if not fingerprint else "give another name (--dataset=rasters/NAME)"
        raise InputError(f"{folder}: already prepared from {made['source']}, but --source={source}; {other}, or {anew}")
    if made["fingerprint"] != fingerprint:
        raise InputError(
            f"{folder}: already prepared from {source}, but a CSV, an image, a mask, --tile or --resample has changed "
            f"since; prepare it under another name (--dataset=rasters/NAME), or {anew}"
        )
    if made["options"] != options:
        raise InputError(
            f"{folder}: already prepared with the options {made['options']}, now asked for {options}; expected "
            f"the same; give another --data_dir, or {anew}"
        )


def _log_summary(dataset: PreparedDataset, drawn: list[pathlib.Path], published_tile: int) -> None:
    """Logs the closing lines: path, records by split, what was refused, where to look."""
    if dataset.tile != published_tile:
        _log.warning(f"tiles are {dataset.tile} pixels wide, the published ones {published_tile}; prepared as found")
    for split, records in dataset.splits.items():
        counts = dataset.statistics["splits"][split]
        off, labelled = counts["off_legend_pixels"], sum(counts["class_pixels"].values())
        share = 100 * off / (off + labelled) if off else 0
        colours = f"; {share:.2f} % of the pixels have colours off the legend, not labelled" if off else ""
        filled = counts["nodata_pixels"]
        colours += f"; {filled:,} pixels without data, filled and not labelled" if filled else ""
        _log.info(f"  {split:<12}{records:>9,} records of {dataset.tile} x {dataset.tile} pixels{colours}")
    for part, records in dataset.partitions.items():
        _log.info(f"    {part:<28}{records:>9,}")
    for name, warning in dataset.partition_warnings.items():
        _log.warning(f"{name}: {warning}")
    with (dataset.folder / on_disk.REFUSED).open(newline="") as file:
        refused = sum(1 for _ in csv.reader(file)) - 1
    if refused:
        _log.info(f"  refused     {refused:>9,}; which and why: {dataset.folder / on_disk.REFUSED}")
    if found := findings.findings(dataset.legend, dataset.statistics["splits"]):
        _log.warning("\n  ".join(["worth a look:", *found]))
    _log.info(f"  shards and statistics: {dataset.folder}")
    _log.info(f"  look at: {', '.join(str(path) for path in drawn)}")
