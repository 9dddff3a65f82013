"""Writes a data set as ArrayRecord shards that TFDS reads, in many processes, and goes on where it was stopped.

A shard is the unit of work. Which record goes into which shard depends on the sorted records alone, so that any number
of workers, and any number of restarts, end in the same bytes. All of it happens in a folder `VERSION.incomplete`:

  1. plan.json says what is being made; a folder begun from other files is not continued.
  2. Each shard is written under a temporary name; a note of what it holds and what was refused is renamed into place,
     then the shard. A shard that is in place is finished; only shards with refusals are made again by a later run,
     because their files may have been put right.
  3. statistics.json, description.json, ids.json and refused.csv are summed up from the notes, and TFDS metadata seal
     the set.
  4. The folder is renamed to `VERSION`. A data set is there completely or not at all.
"""

import collections
import concurrent.futures
import csv
import dataclasses
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from data_pipelines import moments
from data_pipelines.bands import Sensor
from data_pipelines.errors import InputError
from data_pipelines.files import write_atomically
from data_pipelines.legends import IGNORE
from data_pipelines.spec import DatasetSpec, Item, Record, Refused

# One record a group, or a random read decodes its neighbours too; no compression, or the reader spends its cores on it.
_OPTIONS = "group_size:1,uncompressed"
# Shards a split, bounded by records a shard: enough for every worker, not too many open files, little lost by a kill.
_SHARDS = 64
_RECORDS_PER_SHARD = (16, 512)
_PARTS = ".parts"
DESCRIPTION = "description.json"  # name, version, sensors, legend and tile: all that the loader must know
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclasses.dataclass(frozen=True)
class _Task:
    """One shard: what a worker must know to write it."""

    sensors: tuple[Sensor, ...]
    read: Callable[[Item], Record]
    tile: int
    split: str
    items: tuple[Item, ...]
    shard: pathlib.Path

    @property
    def note(self) -> pathlib.Path:
        return self.shard.parent / _PARTS / f"{self.shard.name}.json"


def folder_of(name: str, version: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Where the prepared data set lies: DATA_DIR/NAME/VERSION, with a folder for each part of "rasters/town"."""
    return data_dir / name / version


def incomplete(folder: pathlib.Path) -> pathlib.Path:
    """Where it lies while it is being made."""
    return folder.with_name(f"{folder.name}.incomplete")


def write(
    spec: DatasetSpec, source: pathlib.Path, data_dir: pathlib.Path, *, workers: int, max_refused: float
) -> pathlib.Path:
    """Prepares a data set, or goes on with it, and returns its folder. The folder must not be there yet.

    Raises InputError where `source` holds no record, where more than the share `max_refused` of the records is refused,
    and where an unfinished preparation was begun from other files.
    """
    splits = spec.index(source)
    if not splits:
        raise InputError(f"--source={source}: no file of {spec.name} found; expected {spec.layout}")
    final = folder_of(spec.name, spec.version, data_dir)
    folder = incomplete(final)
    total = _places(item for items in splits.values() for item in items)
    try:
        plan = _plan(spec, source, splits, folder, allowed := max_refused * total)
        tasks = [
            _Task(
                spec.sensors, spec.read, plan["tile"], split, chunk, folder / _shard_name(spec, split, k, len(chunks))
            )
            for split, items in splits.items()
            for chunks in [_chunks(items)]
            for k, chunk in enumerate(chunks)
        ]
        _write_shards(spec.name, tasks, folder, workers, allowed, total)
        _seal(spec, plan, tasks, folder)
        folder.replace(final)
        shutil.rmtree(final / _PARTS)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: {error.strerror}; expected a --data_dir that can be written and has room "
            "for all images, not compressed; run the same command again to go on"
        ) from error
    return final


def features(sensors: tuple[Sensor, ...], tile: int) -> tfds.features.FeaturesDict:
    """The TFDS features of a record: id, one tensor a sensor, label. Raw bytes: others are upcast to 64 bits."""
    tensor = functools.partial(tfds.features.Tensor, encoding=tfds.features.Encoding.BYTES)
    images = {s.name: tensor(shape=(tile, tile, len(s.bands)), dtype=np.dtype(s.dtype)) for s in sensors}
    label = tensor(shape=(tile, tile), dtype=np.dtype(np.uint8))
    return tfds.features.FeaturesDict({"id": tfds.features.Text(), **images, "label": label})


def _chunks(items: list[Item]) -> list[tuple[Item, ...]]:
    low, high = _RECORDS_PER_SHARD
    size = min(max(-(-len(items) // _SHARDS), low), high)
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def _shard_name(spec: DatasetSpec, split: str, number: int, count: int) -> str:
    return f"{_file_stem(spec)}-{split}.array_record-{number:05d}-of-{count:05d}"


def _file_stem(spec: DatasetSpec) -> str:
    """How TFDS names the files of "rasters/town": by what stands before the slash."""
    return spec.name.partition("/")[0]


def _plan(
    spec: DatasetSpec, source: pathlib.Path, splits: dict[str, list[Item]], folder: pathlib.Path, allowed: float
) -> dict:
    """What is being made; written once, and compared when a run goes on in the same folder."""
    ids = "\n".join(f"{split} {item.id}" for split, items in splits.items() for item in items)
    wanted = {"source": str(source.resolve()), "records": hashlib.sha256(ids.encode()).hexdigest()}
    if spec.fingerprint:
        wanted["fingerprint"] = spec.fingerprint
    path = folder / _PARTS / "plan.json"
    if spec.fingerprint and path.exists():
        plan = json.loads(path.read_text())
        if plan["source"] == wanted["source"] and not _same(wanted, plan):
            # The owner has put something right, as an earlier message may have asked.
            print(f"{folder}: begun before a file of {source} was changed; started anew", flush=True)
            shutil.rmtree(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        tile = _first_tile(spec, splits, folder, allowed)
        write_atomically(path, json.dumps(wanted | {"tile": tile}, indent=1) + "\n")
    plan = json.loads(path.read_text())
    if _same(wanted, plan):
        return plan
    what = "its list of files has changed since" if plan["source"] == wanted["source"] else "expected the same --source"
    raise InputError(
        f"{folder}: an unfinished preparation from {plan['source']}; {what}; delete this folder to start anew"
    )


def _same(wanted: dict, plan: dict) -> bool:
    return wanted.items() <= plan.items()


def _places(items: Iterable[Item]) -> int:
    """How many different places records are of: records cut from one image are of one."""
    return len({next(iter(item.files.values())) for item in items})


def _first_tile(spec: DatasetSpec, splits: dict[str, list[Item]], folder: pathlib.Path, allowed: float) -> int:
    """The edge in pixels of the first record that can be read; the others must have the same."""
    items = [item for items in splits.values() for item in items]
    refused = [(item, item.refused) for item in items if item.refused]
    if _places(item for item, _ in refused) <= allowed:
        for item in items:
            try:
                return _read(spec.read, item).parts["label"].shape[0]
            except Refused as refusal:
                refused += [] if item.refused else [(item, refusal)]
                if _places(item for item, _ in refused) > allowed:
                    break
    raise _too_many(folder, [_row(*pair) for pair in refused], _places(i for i, _ in refused), _places(items), allowed)


def _read(read: Callable[[Item], Record], item: Item) -> Record:
    if item.refused:
        raise item.refused
    return read(item)


def _write_shards(
    name: str, tasks: list[_Task], folder: pathlib.Path, workers: int, allowed: float, places: int
) -> None:
    """Writes the shards that are missing, and stops as soon as too many places are refused."""
    todo = [task for task in tasks if not task.shard.exists() or _note(task)["refused"]]
    total, left = (sum(len(task.items) for task in some) for some in (tasks, todo))
    refused: list[list[str]] = []
    places_refused: set[str] = set()
    with tqdm.tqdm(total=total, initial=total - left, unit="record", desc=name) as progress:
        for task, note in _map(todo, min(workers, len(todo))):
            progress.update(len(task.items))
            refused += note["refused"]
            places_refused |= set(note["refused_places"])
            if len(places_refused) > allowed:
                raise _too_many(folder, refused, len(places_refused), places, allowed)


def _map(tasks: list[_Task], workers: int) -> Iterator[tuple[_Task, dict]]:
    """Each task with its note, in the order in which they are finished."""
    if workers <= 1:
        yield from ((task, _write_shard(task)) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads is not safe
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    try:
        futures = {pool.submit(_write_shard, task): task for task in tasks}
        for future in concurrent.futures.as_completed(futures):
            yield futures[future], future.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise InputError(
            "a worker was ended from outside, perhaps for want of memory; run the same command with fewer --workers: "
            "finished shards are kept"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Workers of a killed parent would wait for ever for their next task."""

    def watch():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_shard(task: _Task) -> dict:
    """Reads the records of one shard and writes it, with its note. Returns the note."""
    layout = features(task.sensors, task.tile)
    serialiser = example_serializer.ExampleSerializer(layout.get_serialized_info())
    temporary = task.note.with_name(f"{task.shard.name}.{os.getpid()}")
    writer = array_record_module.ArrayRecordWriter(str(temporary), _OPTIONS)
    pixels = np.zeros(256, np.int64)
    size = off_legend = 0
    sums = {sensor.name: moments.Moments.of_none(len(sensor.bands)) for sensor in task.sensors}
    ids: list[str] = []
    refused: list[list[str]] = []
    places: set[str] = set()
    for item in task.items:
        try:
            record = _read(task.read, item)
            edge = record.parts["label"].shape[0]
            if edge != task.tile:
                raise Refused(
                    next(iter(item.files.values())),
                    f"{edge} pixels wide, expected {task.tile} as in the first record of the data set",
                )
        except Refused as refusal:
            refused.append(_row(item, refusal))
            places.add(str(next(iter(item.files.values()))))
            continue
        example = serialiser.get_tf_example(layout.encode_example({"id": item.id, **record.parts}))
        serialised = example.SerializeToString(deterministic=True)  # else the order of fields differs by process
        writer.write(serialised)
        size += len(serialised)
        ids.append(item.id)
        pixels += np.bincount(record.parts["label"].ravel(), minlength=256)
        off_legend += record.off_legend
        for name in sums:
            sums[name] += moments.Moments.of(record.parts[name], record.counted)
    writer.close()
    note = {
        "bytes": size,
        "ids": ids,
        "refused": refused,
        "refused_places": sorted(places),
        "class_pixels": {str(i): int(n) for i, n in enumerate(pixels) if n and i != IGNORE},
        "off_legend": off_legend,
        "sensors": {name: of_sensor.to_json() for name, of_sensor in sums.items()},
    }
    write_atomically(task.note, json.dumps(note) + "\n")
    temporary.replace(task.shard)
    return note


def _seal(spec: DatasetSpec, plan: dict, tasks: list[_Task], folder: pathlib.Path) -> None:
    """Sums up the notes and writes what makes the folder a data set."""
    notes = collections.defaultdict(list)
    for task in tasks:
        notes[task.split].append(_note(task))
    refused = [row for of_split in notes.values() for note in of_split for row in note["refused"]]
    empty = [split for split, of_split in notes.items() if not any(note["ids"] for note in of_split)]
    _write_refused(folder, refused)
    if empty:
        raise InputError(
            f"{folder / 'refused.csv'}: every record of split {', '.join(empty)} was refused (the first: "
            f"{refused[0][1]}: {refused[0][2]}); put the files right and run the same command again"
        )
    sums = {
        split: {
            sensor.name: functools.reduce(
                moments.Moments.__add__, (moments.Moments.from_json(note["sensors"][sensor.name]) for note in of_split)
            )
            for sensor in spec.sensors
        }
        for split, of_split in notes.items()
    }
    statistics = {key: value for key, value in plan.items() if key != "records"} | {"splits": {}}
    for split, of_split in notes.items():
        pixels = sum((collections.Counter(note["class_pixels"]) for note in of_split), collections.Counter())
        statistics["splits"][split] = {
            "records": sum(len(note["ids"]) for note in of_split),
            "class_pixels": dict(sorted(pixels.items(), key=lambda pair: int(pair[0]))),
            "off_legend_pixels": sum(note["off_legend"] for note in of_split),
            "sensors": {name: of_sensor.summary() for name, of_sensor in sums[split].items()},
        }
    sensors = spec.sensors
    if spec.scaled_by:
        sensors = tuple(
            dataclasses.replace(sensor, scaling=sums[spec.scaled_by][sensor.name].scaling()) for sensor in sensors
        )
    description = {
        "name": spec.name,
        "version": spec.version,
        "sensors": [dataclasses.asdict(sensor) for sensor in sensors],
        "legend": dataclasses.asdict(spec.legend),
        "tile": plan["tile"],
    }
    write_atomically(folder / "statistics.json", json.dumps(statistics, indent=1) + "\n")
    write_atomically(folder / DESCRIPTION, json.dumps(description, indent=1) + "\n")
    write_atomically(folder / "ids.json", json.dumps({task.shard.name: _note(task)["ids"] for task in tasks}) + "\n")
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=_file_stem(spec), filetype_suffix="array_record", template=_TEMPLATE
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features(spec.sensors, plan["tile"]),
        split_infos=[
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(note["ids"]) for note in of_split],
                num_bytes=sum(note["bytes"] for note in of_split),
                filename_template=template,
            )
            for split, of_split in notes.items()
        ],
        version=spec.version,
        check_data=False,  # the check needs TensorFlow
        description=spec.title,
        homepage=spec.homepage,
        citation=spec.citation,
        license=spec.licence,
    )


def _note(task: _Task) -> dict:
    return json.loads(task.note.read_text())


def _row(item: Item, refusal: Refused) -> list[str]:
    return [item.id, str(refusal.file), refusal.reason]


def _too_many(folder: pathlib.Path, rows: list[list[str]], refused: int, places: int, allowed: float) -> InputError:
    _write_refused(folder, rows)
    return InputError(
        f"{folder / 'refused.csv'}: {refused} of {places} records are refused so far, more than --max_refused="
        f"{allowed / places:g} allows (the first: {rows[0][1]}: {rows[0][2]}); put the files right, or allow "
        "more, and run the same command again"
    )


def _write_refused(folder: pathlib.Path, rows: list[list[str]]) -> None:
    with (folder / "refused.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["id", "file", "reason"], *rows])
