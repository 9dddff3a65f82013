"""Writes a data set as ArrayRecord shards that TFDS reads, in many processes, and goes on where it was stopped.

A shard is the unit of work. Which record goes into which shard depends on the sorted records alone, so that any number
of workers, and any number of restarts, end in the same bytes. All of it happens in a folder `VERSION.incomplete`:

  1. Archives are unpacked, and plan.json says what is being made; a folder begun from other files is not continued.
  2. Each shard is written under a temporary name; a note of what it holds and what was refused is renamed into place,
     then the shard (shard_writer.py). A shard that is in place is finished; only shards with refusals are made again
     by a later run, because their files may have been put right.
  3. Statistics, tables, partitions and TFDS metadata are made from the notes (finalize.py).
  4. The folder is renamed to `VERSION`. A data set is there completely or not at all.
"""

import collections
import dataclasses
import functools
import hashlib
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterable
from typing import Any

from data_pipelines.prepare import archives, shard_writer
from data_pipelines.prepare.executors import run
from data_pipelines.prepare.finalize import file_stem, finalize, unpacked, write_refused
from data_pipelines.prepare.shard_writer import Layout, Task
from data_pipelines.schema import locks, on_disk, schema_version
from data_pipelines.schema import progress as bars
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import DatasetSpec, Item, Refused

_log = logging.getLogger("lcjax.data")

# Shards a split, bounded by records a shard: enough for every worker, not too many open files, little lost by a kill.
_SHARDS = 64
_RECORDS_PER_SHARD = (16, 512)
_PLAN, _LOCK = "plan.json", "lock"
_LOOKED_AT = 5  # records that tell the size of all


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
    final = on_disk.folder_of(spec.name, spec.version, data_dir)
    folder = on_disk.incomplete(final)
    try:
        lock = folder / shard_writer.PARTS / _LOCK
        with locks.held(lock, folder, doing="preparing", instead="give another --data_dir"):
            _write(spec, source, folder, workers, max_refused, options or {}, beam)
            folder.replace(final)
            tidy(final)
    except OSError as error:
        raise InputError(
            f"{error.filename or folder}: {error.strerror}; expected a --data_dir that can be written and has room "
            "for all images, not compressed; run the same command again to go on"
        ) from error
    return final


def _write(
    spec: DatasetSpec,
    source: pathlib.Path,
    folder: pathlib.Path,
    workers: int,
    max_refused: float,
    options: dict[str, float],
    beam: str,
) -> None:
    """Everything but the last name of the folder."""
    lost = _unpack(spec, source, unpacked(folder))
    root_of = functools.cache(functools.partial(_root_of, source, unpacked(folder)))
    splits = {
        split: [_with_source(_without_lost(item, lost), root_of) for item in items]
        for split, items in spec.index([source, unpacked(folder)]).items()
    }
    if not splits:
        if not (folder / shard_writer.PARTS / _PLAN).exists():
            shutil.rmtree(folder)  # nothing was begun
        raise InputError(f"--source={source}: no file of {spec.name} found; expected {spec.layout}")
    everything = [item for items in splits.values() for item in items]
    limit = Limit(folder, max_refused, _places(everything))
    named = {item.refused.file for item in everything if item.refused}
    nameless = [["", str(path), reason] for path, reason in lost.items() if path not in named]
    made = _plan(spec, source, splits, folder, max_refused, options)
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
    finalize(spec, layout, made, notes, nameless, folder)


def _unpack(spec: DatasetSpec, source: pathlib.Path, target: pathlib.Path) -> dict[pathlib.Path, str]:
    """Unpacks the archives below `source`. Returns the files that could not be had, and why.

    An empty file stands for each of them, so that what it belongs to is known, refused by name and counted.
    """
    if spec.members is None:
        return {}
    lost = {}
    for one in archives.unpack(source, target, spec.members):
        path = target / pathlib.Path(one.archive).relative_to(source) / one.member
        stands = not archives.unsafe(one.member) and _stands_for(path)
        lost[path if stands else pathlib.Path(f"{one.archive}/{one.member}")] = one.reason
    return lost


def _stands_for(path: pathlib.Path) -> bool:
    """Leaves an empty file where one should be; False where another one is there, or none can be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path.stat().st_size == 0
    except (FileExistsError, NotADirectoryError):
        return False


def _without_lost(item: Item, lost: dict[pathlib.Path, str]) -> Item:
    """The item, refused where one of its files could not be unpacked."""
    gone = next((path for path in item.files.values() if path in lost), None)
    return dataclasses.replace(item, refused=Refused(gone, lost[gone])) if gone and not item.refused else item


def _with_source(item: Item, root_of: Callable[[pathlib.Path], pathlib.Path | None]) -> Item:
    """The item with the name of its first file: the same on every machine, unpacked here or before."""
    path = shard_writer.first_file(item)
    root = root_of(path.parent)
    return dataclasses.replace(item, source=str(path.relative_to(root) if root else path))


def _root_of(source: pathlib.Path, target: pathlib.Path, folder: pathlib.Path) -> pathlib.Path | None:
    """Where the names of the files in a folder begin: below its archive, below the source, or None: they stay whole."""
    if folder.is_relative_to(target):
        return archives.root_of(folder, target)
    given = source if source.is_dir() else source.parent
    return given if folder.is_relative_to(given) else None


def tidy(folder: pathlib.Path) -> None:
    """Removes from a finished data set what was needed to make it, and files that a kill left half-written."""
    for left in folder.glob(".*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


class Limit:
    """How many places may be refused."""

    def __init__(self, folder: pathlib.Path, share: float, places: int):
        self.folder, self._share, self._places = folder, share, places
        self._rows: list[list[str]] = []
        self._refused: set[str] = set()

    def count(self, rows: Iterable[list[str]], places: Iterable[str]) -> None:
        """Adds what was refused. Raises InputError as soon as it is too much."""
        self._rows += rows
        self._refused.update(places)
        if len(self._refused) > self._share * self._places:
            write_refused(self.folder, self._rows)
            _, file, reason = self._rows[0]
            raise InputError(
                f"{self.folder / on_disk.REFUSED}: {len(self._refused)} of {self._places} records are refused so far, "
                f"more than --max_refused={self._share:g} allows (the first: {file}: {reason}); put the files right, "
                "or allow more, and run the same command again"
            )


def _chunks(items: list[Item]) -> list[tuple[Item, ...]]:
    low, high = _RECORDS_PER_SHARD
    size = min(max(-(-len(items) // _SHARDS), low), high)
    return [tuple(items[start : start + size]) for start in range(0, len(items), size)]


def _shard_name(spec: DatasetSpec, split: str, number: int, count: int) -> str:
    return f"{file_stem(spec)}-{split}.array_record-{number:05d}-of-{count:05d}"


class Plan(on_disk.Made):
    """What plan.json holds: what is being made, and a hash of its records."""

    records: str


def _plan(
    spec: DatasetSpec,
    source: pathlib.Path,
    splits: dict[str, list[Item]],
    folder: pathlib.Path,
    max_refused: float,
    options: dict[str, float],
) -> dict:
    """What is being made; written once, and compared when a run goes on in the same folder."""
    ids = "\n".join(f"{split} {item.id} {item.vectors}" for split, items in splits.items() for item in items)
    made: dict = {"source": str(source.resolve()), "fingerprint": spec.fingerprint, "options": options}
    wanted = made | {"records": hashlib.sha256(ids.encode()).hexdigest()}
    path = folder / shard_writer.PARTS / _PLAN
    anew = "delete this folder to start anew"
    plan: Any = schema_version.read_json(path, Plan, on_disk.SCHEMA_VERSION, anew) if path.exists() else None
    if plan and not _same(wanted, plan):
        if plan["source"] != wanted["source"]:
            what = "expected the same --source"
        elif plan["options"] != options:
            what = f"expected the same options, {plan['options']}"
        else:
            what = "its list of files has changed since"
        if not spec.fingerprint or plan["source"] != wanted["source"]:
            raise InputError(f"{folder}: an unfinished preparation from {plan['source']}; {what}; {anew}")
        # The owner has put something right, as an earlier message may have asked.
        _log.info(f"{folder}: begun before a file of {source} was changed; started anew")
        for shards_begun in (*_finished(folder), *(folder / shard_writer.PARTS).glob("*.array_record-*")):
            shards_begun.unlink()
        plan = None
    if not plan or not _finished(folder):  # the file that gave the tile may have been put right
        limit = Limit(folder, max_refused, _places(item for items in splits.values() for item in items))
        plan = wanted | {"tile": _tile(spec, splits, limit, options)}
        schema_version.write_json(path, plan, on_disk.SCHEMA_VERSION)
    return made | {"tile": plan["tile"]}


def _finished(folder: pathlib.Path) -> list[pathlib.Path]:
    return list(folder.glob("*.array_record-*"))


def _same(wanted: dict, plan: dict) -> bool:
    return wanted | {"tile": plan["tile"]} == plan


def _places(items: Iterable[Item]) -> int:
    """How many different places records are of: records cut from one image are of one."""
    return len({shard_writer.first_file(item) for item in items})


def _tile(spec: DatasetSpec, splits: dict[str, list[Item]], limit: Limit, options: dict[str, float]) -> int:
    """The edge in pixels that most of some records evenly from all have, the published one where it is among the most.

    Raises InputError where too many cannot be read.
    """
    items = [item for items in splits.values() for item in items]
    for item in items:
        if item.refused:
            limit.count([shard_writer.refusal_row(item, item.refused)], [str(shard_writer.first_file(item))])
    readable = [item for item in items if not item.refused]
    edges: collections.Counter[int] = collections.Counter()
    # Evenly first, then, while none could be read, all of them.
    for k, item in enumerate([*readable[:: -(-len(readable) // _LOOKED_AT) or 1], *readable]):
        if edges and k >= _LOOKED_AT:
            break
        try:
            edges[spec.read(item, **options).parts["label"].shape[0]] += 1
        except Refused as refusal:
            limit.count([shard_writer.refusal_row(item, refusal)], [str(shard_writer.first_file(item))])
    if not edges:
        raise InputError(f"{limit.folder}: no record of {spec.name} can be read")
    most = max(edges.values())
    return spec.tile if edges[spec.tile] == most else next(edge for edge, count in edges.items() if count == most)


def _write_shards(name: str, tasks: list[Task], limit: Limit, workers: int, beam: str) -> None:
    """Writes the shards that are missing, and stops as soon as too many places are refused."""
    for half in (limit.folder / shard_writer.PARTS).glob(".*.array_record-*"):
        half.unlink()  # what a kill left
    todo = [task for task in tasks if not task.shard.exists() or task.note().refused]
    total, left = (sum(len(task.items) for task in some) for some in (tasks, todo))
    with bars.bar(total=total, initial=total - left, unit=" records", desc=name) as progress:
        for task, note in run(todo, min(workers, len(todo)), beam):
            progress.update(len(task.items))
            limit.count(note.refused, note.refused_places)
