"""Writes a data set as ArrayRecord shards that TFDS reads, in many processes, and goes on where it was stopped.

A shard is the unit of work. Which record goes into which shard depends on the sorted records alone, so that any number
of workers, and any number of restarts, end in the same bytes. All of it happens in a folder `VERSION.incomplete`:

  1. Archives are unpacked, and plan.json says what is being made; a folder begun from other files is not continued.
  2. Each shard is written under a temporary name; a note of what it holds and what was refused is renamed into place,
     then the shard (shard.py). A shard that is in place is finished; only shards with refusals are made again by a
     later run, because their files may have been put right.
  3. Statistics, tables, partitions and TFDS metadata are made from the notes (seal.py).
  4. The folder is renamed to `VERSION`. A data set is there completely or not at all.
"""

import concurrent.futures
import functools
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import threading
from collections.abc import Iterable, Iterator

import tqdm

from data_pipelines import archives, shard
from data_pipelines.errors import InputError
from data_pipelines.files import write_atomically
from data_pipelines.seal import REFUSED, file_stem, seal, unpacked, write_refused
from data_pipelines.shard import Layout, Note, Task
from data_pipelines.spec import DatasetSpec, Item, Refused

# Shards a split, bounded by records a shard: enough for every worker, not too many open files, little lost by a kill.
_SHARDS = 64
_RECORDS_PER_SHARD = (16, 512)


def folder_of(name: str, version: str, data_dir: pathlib.Path) -> pathlib.Path:
    """Where the prepared data set lies: DATA_DIR/NAME/VERSION, with a folder for each part of "rasters/town"."""
    return data_dir / name / version


def incomplete(folder: pathlib.Path) -> pathlib.Path:
    """Where it lies while it is being made."""
    return folder.with_name(f"{folder.name}.incomplete")


def write(
    spec: DatasetSpec,
    source: pathlib.Path,
    data_dir: pathlib.Path,
    *,
    workers: int = 1,
    max_refused: float = 0.2,
    options: dict[str, float] | None = None,
    beam: str = "",
) -> pathlib.Path:
    """Prepares a data set, or goes on with it, and returns its folder. The folder must not be there yet.

    Args:
      workers: processes of this machine.
      max_refused: share of the records that may be refused.
      options: keyword arguments of `spec.read`.
      beam: options of an Apache Beam pipeline that writes the shards instead; empty for processes of this machine.

    Raises InputError where `source` holds no record, where more than the share `max_refused` of the records is refused,
    and where an unfinished preparation was begun from other files.
    """
    final = folder_of(spec.name, spec.version, data_dir)
    folder = incomplete(final)
    try:
        roots: list[pathlib.Path] = [source]
        refused: list[list[str]] = []
        if spec.members and archives.find(source):
            found = archives.unpack(source, unpacked(folder), spec.members)
            refused = [["", f"{one.archive}/{one.member}", one.reason] for one in found]
            roots.append(unpacked(folder))
        splits = spec.index(roots)
        if not splits:
            raise InputError(f"--source={source}: no file of {spec.name} found; expected {spec.layout}")
        limit = _Limit(folder, max_refused, _places(item for items in splits.values() for item in items))
        made = _plan(spec, source, splits, folder, limit, options or {})
        read = functools.partial(spec.read, **options) if options else spec.read
        layout = Layout(spec.sensors, spec.vectors, made["tile"])
        tasks = {
            split: [
                Task(layout, read, split, chunk, folder / _shard_name(spec, split, k, len(chunks)))
                for k, chunk in enumerate(chunks)
            ]
            for split, items in splits.items()
            for chunks in [_chunks(items)]
        }
        _write_shards(spec.name, [task for some in tasks.values() for task in some], limit, workers, beam)
        notes = {split: [task.note() for task in some] for split, some in tasks.items()}
        seal(spec, layout, made, notes, refused, folder)
        folder.replace(final)
        tidy(final)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: {error.strerror}; expected a --data_dir that can be written and has room "
            "for all images, not compressed; run the same command again to go on"
        ) from error
    return final


def tidy(folder: pathlib.Path) -> None:
    """Removes from a finished data set what was needed to make it, and files that a kill left half-written."""
    for left in folder.glob(".*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


class _Limit:
    """How many places may be refused."""

    def __init__(self, folder: pathlib.Path, share: float, places: int):
        self._folder, self._share, self._places = folder, share, places
        self._rows: list[list[str]] = []
        self._refused: set[str] = set()

    def count(self, rows: Iterable[list[str]], places: Iterable[str]) -> None:
        """Adds what was refused. Raises InputError as soon as it is too much."""
        self._rows += rows
        self._refused.update(places)
        if len(self._refused) > self._share * self._places:
            write_refused(self._folder, self._rows)
            _, file, reason = self._rows[0]
            raise InputError(
                f"{self._folder / REFUSED}: {len(self._refused)} of {self._places} records are refused so far, more "
                f"than --max_refused={self._share:g} allows (the first: {file}: {reason}); put the files right, or "
                "allow more, and run the same command again"
            )


def _chunks(items: list[Item]) -> list[tuple[Item, ...]]:
    low, high = _RECORDS_PER_SHARD
    size = min(max(-(-len(items) // _SHARDS), low), high)
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def _shard_name(spec: DatasetSpec, split: str, number: int, count: int) -> str:
    return f"{file_stem(spec)}-{split}.array_record-{number:05d}-of-{count:05d}"


def _plan(
    spec: DatasetSpec,
    source: pathlib.Path,
    splits: dict[str, list[Item]],
    folder: pathlib.Path,
    limit: _Limit,
    options: dict[str, float],
) -> dict:
    """What is being made; written once, and compared when a run goes on in the same folder."""
    ids = "\n".join(f"{split} {item.id} {item.vectors}" for split, items in splits.items() for item in items)
    made: dict = {"source": str(source.resolve())} | ({"fingerprint": spec.fingerprint} if spec.fingerprint else {})
    made |= {"options": options} if options else {}
    wanted = made | {"records": hashlib.sha256(ids.encode()).hexdigest()}
    path = folder / shard.PARTS / "plan.json"
    if spec.fingerprint and path.exists():
        plan = json.loads(path.read_text())
        if plan["source"] == wanted["source"] and not _same(wanted, plan):
            # The owner has put something right, as an earlier message may have asked.
            print(f"{folder}: begun before a file of {source} was changed; started anew", flush=True)
            shutil.rmtree(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        tile = _first_tile(spec, splits, limit, options)
        write_atomically(path, json.dumps(wanted | {"tile": tile}, indent=1) + "\n")
    plan = json.loads(path.read_text())
    if not _same(wanted, plan):
        what = (
            "its list of files has changed since"
            if plan["source"] == wanted["source"]
            else "expected the same --source"
        )
        if plan.get("options", {}) != options:
            what = f"expected the same options, {plan.get('options', {})}"
        raise InputError(
            f"{folder}: an unfinished preparation from {plan['source']}; {what}; delete this folder to start anew"
        )
    return made | {"tile": plan["tile"]}


def _same(wanted: dict, plan: dict) -> bool:
    return wanted | {"tile": plan["tile"]} == plan


def _places(items: Iterable[Item]) -> int:
    """How many different places records are of: records cut from one image are of one."""
    return len({shard.first_file(item) for item in items})


def _first_tile(spec: DatasetSpec, splits: dict[str, list[Item]], limit: _Limit, options: dict[str, float]) -> int:
    """The edge in pixels of the first record that can be read; the others must have the same."""
    found = _Limit(limit._folder, limit._share, limit._places)  # these records are counted again with their shards
    items = [item for items in splits.values() for item in items]
    for item in filter(lambda item: item.refused, items):
        assert item.refused
        found.count([shard.refusal_row(item, item.refused)], [str(shard.first_file(item))])
    for item in filter(lambda item: not item.refused, items):
        try:
            return spec.read(item, **options).parts["label"].shape[0]
        except Refused as refusal:
            found.count([shard.refusal_row(item, refusal)], [str(shard.first_file(item))])
    raise InputError(f"no record of {spec.name} can be read")


def _write_shards(name: str, tasks: list[Task], limit: _Limit, workers: int, beam: str) -> None:
    """Writes the shards that are missing, and stops as soon as too many places are refused."""
    todo = [task for task in tasks if not task.shard.exists() or task.note().refused]
    total, left = (sum(len(task.items) for task in some) for some in (tasks, todo))
    with tqdm.tqdm(total=total, initial=total - left, unit="record", desc=name) as progress:
        for task, note in _map(todo, min(workers, len(todo)), beam):
            progress.update(len(task.items))
            limit.count(note.refused, note.refused_places)


def _map(tasks: list[Task], workers: int, beam: str) -> Iterator[tuple[Task, Note]]:
    """Each task with its note, in the order in which they are finished."""
    if beam:
        from data_pipelines import beam as pipeline  # here, because it is an extra

        yield from pipeline.run(tasks, beam)
        return
    if workers <= 1:
        yield from ((task, shard.write(task)) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # forking a process that has threads is not safe
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    try:
        futures = {pool.submit(shard.write, task): task for task in tasks}
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
