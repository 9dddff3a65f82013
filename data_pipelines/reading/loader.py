"""From prepared shards to batches of raw numbers, in an order that one integer describes.

The training stream is infinite: stream position p is record `record_index(p, n, seed, order)`. Global batch k of a run
that starts at `position` holds the positions [position + k * batch_size, position + (k + 1) * batch_size), and each
process reads its own contiguous slice of it. To go on after a stop, on any number of hosts, with any number of worker
processes, the position is all that is needed.
"""

import functools
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import grain
import numpy as np
from absl import flags

from data_pipelines.reading import memory
from data_pipelines.reading.interfaces import Source
from data_pipelines.reading.sampling import Order
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE

memory.keep_freed()  # here, so that worker processes do it too

_CORNER = 1  # tells the draw of an example's corner from that of an epoch's order


def record_index(position: int, count: int, seed: int, order: Order | None = None) -> int:
    """Which of `count` records stands at a position of the training stream.

    Every epoch holds each record once, unless they are drawn (sampling.py): then it is as many draws.
    """
    if order:
        return order.index(position, seed)
    epoch, offset = divmod(position, count)
    return int(_permutation(count, seed, epoch)[offset])


def record_ids(source: Source, positions: Sequence[int], seed: int, order: Order | None = None) -> list[str]:
    """The ids of the records at these positions of the training stream, for reports."""
    return [source.ids[record_index(int(position), len(source), seed, order)] for position in positions]


def corner(position: int, tile: int, crop: int, seed: int) -> tuple[int, int]:
    """Top and left of the random crop at a position of the training stream; (0, 0) where `crop` is 0: all of it."""
    if crop in (0, tile):
        return 0, 0
    top, left = np.random.default_rng((seed, position, _CORNER)).integers(0, tile - crop + 1, 2)
    return int(top), int(left)


def host_size(tile: int, crop: int) -> int:
    """The edge in pixels of what goes to the device: the crop where that saves more than half, else the whole tile.

    Elsewhere the device cuts.
    """
    return crop if crop and 2 * crop**2 < tile**2 else tile


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    position: int,
    keys: Sequence[str],
    crop: int = 0,
    order: Order | None = None,
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
    workers: int = 0,
) -> Generator[dict[str, np.ndarray], None, None]:
    """Batches for ever: {key: (b, H, W, ...), "corner": (b, 2) int32, "example": (b,) uint32}.

    b = batch_size / process_count; H = W = `host_size(tile, crop)`.

    Args:
      batch_size: over all processes.
      position: of the first example in the stream; the number of examples consumed so far.
      keys: the parts of a record that are wanted.
      crop: edge of the random crop; 0 for whole tiles.
      order: of these records; None shuffles them anew in each epoch.
      threads: that read ahead, in each worker; 0 reads in the caller's thread.
      workers: processes that read and cut; 0 does it in this one. For hosts with many cores.

    "corner" is where in these images (top, left) the crop lies; it has been cut where it is (0, 0) and H = crop.
    "example" is each example's position in the stream. Whoever closes the batches ends the workers. Raises InputError
    where the batch does not divide, and where records in memory are asked for by more than one process.
    """
    local = _share(batch_size, process_count)
    _check_readers(threads, workers)
    _check_reach(source, process_count, workers)
    first = position + process_index * local

    def example(number: int) -> dict[str, Any]:
        batch, offset = divmod(number, local)
        at = first + batch * batch_size + offset
        index = record_index(at, len(source), seed, order)
        tile = source.tile
        where, size = corner(at, tile, crop, seed), host_size(tile, crop)
        cut = where if size < tile else (0, 0)
        left = (where[0] - cut[0], where[1] - cut[1])  # for the device
        drawn = {"corner": np.array(left, np.int32), "example": np.uint32(at)}
        return source.read(index, keys, cut, size) | drawn

    return _batches(example, sys.maxsize, local, threads, workers)


def eval_batches(
    source: Source,
    *,
    batch_size: int,
    keys: Sequence[str],
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
) -> Iterator[dict[str, Any]]:
    """Every record exactly once, in order: {key: (b, H, W, ...), "valid": (b,) bool, "ids": list of b strings}.

    The last global batch is filled with the last record, label 255 and valid False, so that every process yields the
    same number of batches of the same shape. Arguments as in `train_batches`.
    """
    local = _share(batch_size, process_count)
    _check_reach(source, process_count)
    last = len(source) - 1

    def example(number: int) -> dict[str, Any]:
        batch, offset = divmod(number, local)
        at = batch * batch_size + process_index * local + offset
        record = source.read(min(at, last), keys)
        if at > last and "label" in record:
            record["label"] = np.full_like(record["label"], IGNORE)
        return record | {"record": min(at, last), "valid": np.bool_(at <= last)}

    for batch in _batches(example, -(-len(source) // batch_size) * local, local, threads, workers=0):
        yield batch | {"ids": [source.ids[record] for record in batch.pop("record")]}


def _batches(
    example: Callable[[int], dict], count: int, batch_size: int, threads: int, workers: int
) -> Generator[dict, None, None]:
    """example(0), example(1), ... up to `count`, read ahead by threads for about two batches, and stacked.

    Worker w of n reads the elements w, w + n, w + 2n, ... and the batches of the workers are taken in turn: numbered so
    that batches are the same with any n.
    """
    turns = max(workers, 1)

    def element(number: int) -> dict:
        row, worker = divmod(number, turns)
        batch, offset = divmod(row, batch_size)
        return example((batch * turns + worker) * batch_size + offset)

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * batch_size, threads))
    batches = grain.MapDataset.range(count).map(element).to_iter_dataset(options).batch(batch_size)
    if workers:
        if not flags.FLAGS.is_parsed():  # Grain asks for flags of its own; notebooks have parsed none
            flags.FLAGS.mark_as_parsed()
        how = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        batches = batches.mp_prefetch(how, _end_with_parent)
    iterator = iter(batches)
    try:
        yield from iterator
    finally:  # closed, or no longer wanted by anyone: ends the processes and frees what they share
        iterator.close()


def _end_with_parent(*_) -> None:
    """A worker process ends when the process that reads from it is killed: nobody else would tell it to."""
    parent = multiprocessing.parent_process()
    assert parent

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _check_readers(threads: int, workers: int) -> None:
    """Raises InputError for numbers of threads and worker processes that cannot be."""
    for name, number in (("threads", threads), ("workers", workers)):
        if number < 0:
            raise InputError(f"config.{name}={number}: expected 0 or more")


def _check_reach(source: Source, process_count: int, workers: int = 0) -> None:
    """Arrays of one process are out of the others' reach; a copy for each worker would multiply them."""
    if not source.in_memory:
        return
    if process_count > 1:
        raise InputError(
            f"the data are arrays of one Python process, but {process_count} processes share the run; prepare them as "
            "a data set on disk (docs/own_data.md)"
        )
    if workers:
        raise InputError(f"config.workers={workers}: the data are arrays of this Python process; expected 0")


def _share(batch_size: int, process_count: int) -> int:
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"config.batch_size={batch_size}: expected a positive multiple of the {process_count} processes"
        )
    return batch_size // process_count


@functools.lru_cache(maxsize=4)  # threads read ahead into the next epoch
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)
