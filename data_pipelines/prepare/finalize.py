"""What makes a folder of finished shards a data set: statistics, tables, partitions and the metadata of TFDS."""

import collections
import csv
import dataclasses
import functools
import io
import itertools
import pathlib
from collections.abc import Mapping

import tensorflow_datasets as tfds

from data_pipelines.geo.fill_values import Extremes
from data_pipelines.prepare.shard_writer import PARTS, Layout, Note
from data_pipelines.reading.band_statistics import BandSums
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import temporary, write_atomically
from data_pipelines.schema.legends import IGNORE
from data_pipelines.schema.schema_version import write_json
from data_pipelines.schema.spec import DatasetSpec, Kept, Partition

_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def finalize(
    spec: DatasetSpec,
    layout: Layout,
    made: dict,
    splits: dict[str, list[Note]],
    refused: list[list[str]],
    folder: pathlib.Path,
) -> None:
    """Sums up the notes of all shards and writes what the folder needs to be read.

    Args:
      made: what the data set is made from; goes into statistics.json.
      splits: the notes of each split's shards, in order.
      refused: rows (id, file, reason) of what was refused before any shard was written.

    Raises InputError where nothing is left of a split.
    """
    rows = refused + [row for notes in splits.values() for note in notes for row in note.refused]
    write_refused(folder, rows)
    empty = [split for split, notes in splits.items() if not any(note.kept for note in notes)]
    if empty:
        first = next(row for note in splits[empty[0]] for row in note.refused)
        raise InputError(
            f"{folder / on_disk.REFUSED}: every record of split {', '.join(empty)} was refused (the first: "
            f"{first[1]}: {first[2]}); put the files right and run the same command again"
        )
    sums = {
        split: {
            sensor.name: functools.reduce(BandSums.__add__, (note.sensors[sensor.name] for note in notes))
            for sensor in spec.sensors
        }
        for split, notes in splits.items()
    }
    statistics = made | {"splits": {split: _statistics(notes, sums[split]) for split, notes in splits.items()}}
    sensors = spec.sensors
    if spec.scaled_by:
        sensors = tuple(
            dataclasses.replace(sensor, scaling=sums[spec.scaled_by][sensor.name].scaling()) for sensor in sensors
        )
    description = {
        "name": spec.name,
        "version": spec.version,
        "sensors": [dataclasses.asdict(sensor) for sensor in sensors],
        "legends": [dataclasses.asdict(legend) for legend in spec.legends],
        "vectors": [{"name": v.name, "numbers": v.numbers, "meaning": v.meaning} for v in spec.vectors],
        "tile": layout.tile,
    }
    write_json(folder / on_disk.STATISTICS, statistics, on_disk.SCHEMA_VERSION)
    write_json(folder / on_disk.DESCRIPTION, description, on_disk.SCHEMA_VERSION)
    kept = {split: [record for note in notes for record in note.kept] for split, notes in splits.items()}
    _write_records(folder / on_disk.RECORDS, spec, splits, spec.groups(kept))
    partitions = spec.partitions(kept)
    _check(spec.name, partitions, kept)
    parts = {name: dataclasses.asdict(partition) for name, partition in partitions.items()}
    on_disk.write_partitions(folder, parts)
    _write_tfds(spec, layout, splits, folder)


def write_refused(folder: pathlib.Path, rows: list[list[str]]) -> None:
    """Writes refused.csv. What was unpacked into the folder is named by its archive: the copies will be gone."""
    rows = [[record, file.removeprefix(f"{unpacked(folder)}/"), reason] for record, file, reason in rows]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["id", "file", "reason"], *rows])
    write_atomically(folder / on_disk.REFUSED, text.getvalue())


def unpacked(folder: pathlib.Path) -> pathlib.Path:
    """Where archives are unpacked while a data set is made in `folder`."""
    return folder / PARTS / "unpacked"


def file_stem(spec: DatasetSpec) -> str:
    """How TFDS names the files of "rasters/town": by what stands before the slash."""
    return spec.name.partition("/")[0]


def _statistics(notes: list[Note], sums: dict[str, BandSums]) -> dict:
    pixels: collections.Counter[int] = collections.Counter()
    for of_record in itertools.chain.from_iterable(note.pixels for note in notes):
        pixels.update(of_record)
    doubts = [doubt for note in notes for doubt in note.doubts]
    in_doubt = {"records": len(doubts), "first": doubts[0][0], "reason": doubts[0][1]} if doubts else None
    return {
        "records": sum(len(note.kept) for note in notes),
        "class_pixels": {str(label): count for label, count in sorted(pixels.items())},
        "off_legend_pixels": sum(note.off_legend for note in notes),
        "nodata_pixels": sum(sum(note.nodata) for note in notes),
        "fills": {
            name: {"value": found[0], "share": found[1]}
            for name in sums
            if (found := functools.reduce(Extremes.__add__, (note.extremes[name] for note in notes)).fill)
        },
        "sensors": {name: of_sensor.summary() for name, of_sensor in sums.items()},
        **({"doubts": in_doubt} if in_doubt else {}),
    }


def _write_records(
    path: pathlib.Path, spec: DatasetSpec, splits: dict[str, list[Note]], groups: Mapping[str, str]
) -> None:
    """A row for each record: its columns of `on_disk.COLUMNS`, and its pixels by label id.

    Args:
      groups: id -> group of the records that do not know their own.
    """
    labels = [label for label in spec.legend.allowed_ids if label != IGNORE]
    begun = temporary(path)
    with begun.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*on_disk.COLUMNS, *(f"{on_disk.CLASS_PREFIX}{label}" for label in labels)])
        for split, notes in splits.items():
            for note in notes:
                for kept, nodata, pixels in zip(note.kept, note.nodata, note.pixels, strict=True):
                    grouped = dataclasses.replace(kept, group=groups.get(kept.id, kept.group))
                    row = on_disk.records_row(split, grouped, nodata)
                    writer.writerow(row + [pixels.get(label, 0) for label in labels])
    begun.replace(path)


def _check(name: str, partitions: dict[str, Partition], kept: dict[str, list[Kept]]) -> None:
    """A partition that is not one would leak from training into scores."""
    known = {one.id for records in kept.values() for one in records}
    for title, partition in partitions.items():
        ids = [record_id for part in partition.parts.values() for record_id in part]
        if len(set(ids)) < len(ids) or not known.issuperset(ids):
            raise ValueError(f"{name}: {title} does not part its records")


def _write_tfds(spec: DatasetSpec, layout: Layout, splits: dict[str, list[Note]], folder: pathlib.Path) -> None:
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=file_stem(spec), filetype_suffix="array_record", template=_TEMPLATE
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=layout.features(),
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(note.kept) for note in notes],
                num_bytes=sum(note.size for note in notes),
                filename_template=template,
            )
            for split, notes in splits.items()
        ],
        version=spec.version,
        check_data=False,  # the check needs TensorFlow
        description=spec.title,
        homepage=spec.homepage,
        citation=spec.citation,
        license=spec.licence,
    )
