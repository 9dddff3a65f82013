"""Writes a data set as ArrayRecord shards that TFDS reads, in many processes, and goes on where it was stopped.

A shard is the unit of work. Which record goes into which shard depends on the sorted records alone, so that any number
of workers, and any number of restarts, end in the same bytes. All of it happens in a folder `VERSION.incomplete`:

  1. plan.json says what is being made; a folder begun from other files is not continued.
  2. Each shard is written under a temporary name; a note of what it holds and what was refused is renamed into place,
     then the shard. A shard that is in place is finished; only shards with refusals are made again by a later run,
     because their files may have been put right.
  3. statistics.json, ids.json and refused.csv are summed up from the notes, and TFDS metadata seal the set.
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
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds
import tqdm
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from data_pipelines.errors import InputError
from data_pipelines.files import write_atomically
from data_pipelines.legends import IGNORE
from data_pipelines.spec import DatasetSpec, Item, Refused

# One record a group, or a random read decodes its neighbours too; no compression, or the reader spends its cores on it.
_OPTIONS = "group_size:1,uncompressed"
# Shards a split, bounded by records a shard: enough for every worker, not too many open files, little lost by a kill.
_SHARDS = 64
_RECORDS_PER_SHARD = (16, 512)
_PARTS = ".parts"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclasses.dataclass(frozen=True)
class _Task:
    """One shard: what a worker must know to write it."""

    spec: DatasetSpec
    tile: int
    split: str
    items: tuple[Item, ...]
    shard: pathlib.Path

    @property
    def note(self) -> pathlib.Path:
        return self.shard.parent / _PARTS / f"{self.shard.name}.json"


def folder_of(spec: DatasetSpec, data_dir: pathlib.Path) -> pathlib.Path:
    """Where the prepared data set lies: DATA_DIR/NAME/VERSION."""
    return data_dir / spec.name / spec.version


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
    folder = incomplete(folder_of(spec, data_dir))
    total = sum(len(items) for items in splits.values())
    try:
        (folder / _PARTS).mkdir(parents=True, exist_ok=True)
        plan = _plan(spec, source, splits, folder, allowed := max_refused * total)
        tasks = [
            _Task(spec, plan["tile"], split, chunk, folder / _shard_name(spec, split, number, len(chunks)))
            for split, items in splits.items()
            for chunks in [_chunks(items)]
            for number, chunk in enumerate(chunks)
        ]
        _write_shards(tasks, folder, workers, allowed, total)
        _seal(spec, plan, tasks, folder)
        final = folder_of(spec, data_dir)
        folder.replace(final)
        shutil.rmtree(final / _PARTS)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: {error.strerror}; expected a --data_dir that can be written and has room "
            f"for about {total * 2e-3:.1f} GB; run the same command again to go on"
        ) from error
    return final


def features(spec: DatasetSpec, tile: int) -> tfds.features.FeaturesDict:
    """The TFDS features of a record: id, one tensor a sensor, label. Raw bytes: others are upcast to 64 bits."""
    tensor = functools.partial(tfds.features.Tensor, encoding=tfds.features.Encoding.BYTES)
    sensors = {s.name: tensor(shape=(tile, tile, len(s.bands)), dtype=np.dtype(s.dtype)) for s in spec.sensors}
    label = tensor(shape=(tile, tile), dtype=np.dtype(np.uint8))
    return tfds.features.FeaturesDict({"id": tfds.features.Text(), **sensors, "label": label})


def _chunks(items: list[Item]) -> list[tuple[Item, ...]]:
    low, high = _RECORDS_PER_SHARD
    size = min(max(-(-len(items) // _SHARDS), low), high)
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def _shard_name(spec: DatasetSpec, split: str, number: int, count: int) -> str:
    return f"{spec.name}-{split}.array_record-{number:05d}-of-{count:05d}"


def _plan(
    spec: DatasetSpec, source: pathlib.Path, splits: dict[str, list[Item]], folder: pathlib.Path, allowed: float
) -> dict:
    """What is being made; written once, and compared when a run goes on in the same folder."""
    ids = "\n".join(f"{split} {item.id}" for split, items in splits.items() for item in items)
    wanted = {"source": str(source.resolve()), "records": hashlib.sha256(ids.encode()).hexdigest()}
    path = folder / _PARTS / "plan.json"
    if not path.exists():
        write_atomically(
            path, json.dumps(wanted | {"tile": _first_tile(spec, splits, folder, allowed)}, indent=1) + "\n"
        )
    plan = json.loads(path.read_text())
    if wanted.items() <= plan.items():
        return plan
    what = "its list of files has changed since" if plan["source"] == wanted["source"] else "expected the same --source"
    raise InputError(
        f"{folder}: an unfinished preparation from {plan['source']}; {what}; delete this folder to start anew"
    )


def _first_tile(spec: DatasetSpec, splits: dict[str, list[Item]], folder: pathlib.Path, allowed: float) -> int:
    """The edge in pixels of the first record that can be read; the others must have the same."""
    refused = []
    for item in (item for items in splits.values() for item in items):
        try:
            return spec.read(item)["label"].shape[0]
        except Refused as refusal:
            refused.append(_row(item, refusal))
            if len(refused) > allowed:
                break
    raise _too_many(folder, refused, sum(map(len, splits.values())), allowed)


def _write_shards(tasks: list[_Task], folder: pathlib.Path, workers: int, allowed: float, total: int) -> None:
    """Writes the shards that are missing, and stops as soon as too many records are refused."""
    todo = [task for task in tasks if not task.shard.exists() or _note(task)["refused"]]
    left = sum(len(task.items) for task in todo)
    refused: list[list[str]] = []
    with tqdm.tqdm(total=total, initial=total - left, unit="record", desc=tasks[0].spec.name) as progress:
        for task, note in _map(todo, min(workers, len(todo))):
            progress.update(len(task.items))
            refused += note["refused"]
            if len(refused) > allowed:
                raise _too_many(folder, refused, total, allowed)


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
    layout = features(task.spec, task.tile)
    serialiser = example_serializer.ExampleSerializer(layout.get_serialized_info())
    temporary = task.note.with_name(f"{task.shard.name}.{os.getpid()}")
    writer = array_record_module.ArrayRecordWriter(str(temporary), _OPTIONS)
    pixels = np.zeros(256, np.int64)
    size = 0
    ids: list[str] = []
    refused: list[list[str]] = []
    for item in task.items:
        try:
            record = task.spec.read(item)
            edge = record["label"].shape[0]
            if edge != task.tile:
                raise Refused(
                    next(iter(item.files.values())),
                    f"{edge} pixels wide, expected {task.tile} as in the first record of the data set",
                )
        except Refused as refusal:
            refused.append(_row(item, refusal))
            continue
        example = serialiser.get_tf_example(layout.encode_example({"id": item.id, **record}))
        serialised = example.SerializeToString(deterministic=True)  # else the order of fields differs by process
        writer.write(serialised)
        size += len(serialised)
        ids.append(item.id)
        pixels += np.bincount(record["label"].ravel(), minlength=256)
    writer.close()
    class_pixels = {str(i): int(n) for i, n in enumerate(pixels) if n and i != IGNORE}
    note = {"bytes": size, "ids": ids, "refused": refused, "class_pixels": class_pixels}
    write_atomically(task.note, json.dumps(note) + "\n")
    temporary.replace(task.shard)
    return note


def _seal(spec: DatasetSpec, plan: dict, tasks: list[_Task], folder: pathlib.Path) -> None:
    """Sums up the notes and writes what makes the folder a data set."""
    notes = collections.defaultdict(list)
    for task in tasks:
        notes[task.split].append(_note(task))
    statistics = {"tile": plan["tile"], "source": plan["source"], "splits": {}}
    for split, of_split in notes.items():
        pixels = sum((collections.Counter(note["class_pixels"]) for note in of_split), collections.Counter())
        statistics["splits"][split] = {
            "records": sum(len(note["ids"]) for note in of_split),
            "class_pixels": dict(sorted(pixels.items(), key=lambda pair: int(pair[0]))),
        }
    refused = [row for of_split in notes.values() for note in of_split for row in note["refused"]]
    empty = [split for split, counts in statistics["splits"].items() if not counts["records"]]
    _write_refused(folder, refused)
    if empty:
        raise InputError(
            f"{folder / 'refused.csv'}: every record of split {', '.join(empty)} was refused (the first: "
            f"{refused[0][1]}: {refused[0][2]}); put the files right and run the same command again"
        )
    write_atomically(folder / "statistics.json", json.dumps(statistics, indent=1) + "\n")
    write_atomically(folder / "ids.json", json.dumps({task.shard.name: _note(task)["ids"] for task in tasks}) + "\n")
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, dataset_name=spec.name, filetype_suffix="array_record", template=_TEMPLATE
    )
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features(spec, plan["tile"]),
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


def _too_many(folder: pathlib.Path, refused: list[list[str]], total: int, allowed: float) -> InputError:
    _write_refused(folder, refused)
    return InputError(
        f"{folder / 'refused.csv'}: {len(refused)} of {total} records are refused so far, more than --max_refused="
        f"{allowed / total:g} allows (the first: {refused[0][1]}: {refused[0][2]}); put the files right, or allow "
        "more, and run the same command again"
    )


def _write_refused(folder: pathlib.Path, rows: list[list[str]]) -> None:
    with (folder / "refused.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["id", "file", "reason"], *rows])
