"""From prepared shards to batches of raw numbers, in an order that one integer describes.

The training stream is infinite: stream position p is record `record_index(p, n, seed)`. Global batch k of a run that
starts at `position` holds the positions [position + k * batch_size, position + (k + 1) * batch_size), and each process
reads its own contiguous slice of it. To go on after a stop, on any number of hosts, the position is all that is needed.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from data_pipelines import datasets, shards
from data_pipelines.bands import Sensor
from data_pipelines.errors import InputError
from data_pipelines.legends import IGNORE, Legend


class Source:
    """Random access to the records of one split: len(), and [i] -> {"id": str, sensor name: ..., "label": ...}.

    Arrays are (H, W, bands) in the sensor's numbers, label (H, W) uint8 in ids of the legend, 255 where there is none.
    `ids` are the record ids in order; they are known without reading a record.
    """

    def __init__(self, records: Sequence[dict[str, Any]], ids: tuple[str, ...]):
        self.ids = ids
        self._records = records

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self._records[index], "id": self.ids[index]}


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A prepared data set.

    Attributes:
      sensors: its sensors, each with its bands by name and in order.
      tile: edge of every record in pixels.
      statistics: statistics.json: for each split its records, the pixels of each class, and of each sensor's bands
        mean, deviation, minimum and maximum.
      splits: name -> number of records.
    """

    name: str
    version: str
    folder: pathlib.Path
    sensors: tuple[Sensor, ...]
    legend: Legend
    tile: int
    statistics: dict[str, Any]
    splits: dict[str, int]

    def source(self, spec: str) -> Source:
        """The records of a split in TFDS slicing: "validation[:75%]", "validation+test".

        Raises InputError for a split that is not there, cannot be parsed or holds nothing.
        """
        try:
            instructions = self._builder.info.splits[spec].file_instructions
            records = self._builder.as_data_source(spec) if instructions else ()
        except (ValueError, KeyError) as error:
            raise InputError(
                f"split {spec!r} of {self.name} {self.version}: {' '.join(str(error).split())} Expected one of "
                f"{', '.join(self.splits)}, a slice such as validation[:75%], or a sum such as validation+test"
            ) from error
        ids = tuple(
            record_id
            for part in instructions
            for record_id in self._ids[pathlib.Path(part.filename).name][part.skip :][: part.take]
        )
        if not ids:
            raise InputError(f"split {spec!r} of {self.name} {self.version}: holds no record; expected at least one")
        return Source(records, ids)

    def split_id(self, spec: str) -> str:
        """A short hash of the ids of a split's records, in order: equal if and only if the records are the same."""
        return hashlib.sha256("\n".join(self.source(spec).ids).encode()).hexdigest()[:12]

    def class_pixels(self, spec: str) -> dict[str, int]:
        """Labelled pixels by id of the legend, of the whole splits that `spec` takes records of."""
        found: dict[str, int] = {}
        for part in parts(spec):
            for key, pixels in self.statistics["splits"][part]["class_pixels"].items():
                found[key] = found.get(key, 0) + pixels
        return found

    @functools.cached_property
    def _builder(self) -> tfds.core.DatasetBuilder:
        return tfds.builder_from_directory(self.folder)

    @functools.cached_property
    def _ids(self) -> dict[str, list[str]]:
        return json.loads((self.folder / "ids.json").read_text())


def parts(spec: str) -> list[str]:
    """The names of the splits that a spec is made of: "validation[:80%]+test" -> ["validation", "test"]."""
    return list(dict.fromkeys(part.partition("[")[0].strip() for part in spec.split("+")))


def open_dataset(data_dir: pathlib.Path | str, name: str) -> Dataset:
    """Opens a data set that `prepare` has made. Raises InputError where there is none, or an unfinished one."""
    version = datasets.version(name)
    folder = shards.folder_of(name, version, pathlib.Path(data_dir))
    command = f"lcjax prepare --dataset={name} --source=DIR --data_dir={data_dir}"
    if not (folder / "dataset_info.json").is_file():
        state = "its preparation is unfinished" if shards.incomplete(folder).exists() else "no prepared data set"
        raise InputError(f"{folder}: {state}; expected the shards of {name} {version}; run `{command}`")
    if not (folder / shards.DESCRIPTION).is_file():
        raise InputError(
            f"{folder}: prepared by an earlier version, without {shards.DESCRIPTION}; delete the folder and run "
            f"`{command}`"
        )
    description = json.loads((folder / shards.DESCRIPTION).read_text())
    statistics = json.loads((folder / "statistics.json").read_text())
    return Dataset(
        name=description["name"],
        version=description["version"],
        folder=folder,
        sensors=tuple(map(Sensor.from_dict, description["sensors"])),
        legend=Legend.from_dict(description["legend"]),
        tile=description["tile"],
        statistics=statistics,
        splits={split: counts["records"] for split, counts in statistics["splits"].items()},
    )


def record_index(position: int, count: int, seed: int) -> int:
    """Which of `count` records stands at a position of the training stream. Every epoch holds each record once."""
    epoch, offset = divmod(position, count)
    return int(_permutation(count, seed, epoch)[offset])


def record_ids(source: Source, positions: Sequence[int], seed: int) -> list[str]:
    """The ids of the records at these positions of the training stream, for reports."""
    return [source.ids[record_index(int(position), len(source), seed)] for position in positions]


def train_batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    position: int,
    keys: Sequence[str],
    process_index: int = 0,
    process_count: int = 1,
    threads: int = 2,
) -> Iterator[dict[str, np.ndarray]]:
    """Batches for ever: {key: (b, H, W, ...), "example": (b,) uint32}, b = batch_size / process_count.

    Args:
      batch_size: over all processes.
      position: of the first example in the stream; the number of examples consumed so far.
      keys: the parts of a record that are wanted.
      threads: that read ahead; 0 reads in the caller's thread.

    "example" is each example's position in the stream. Raises InputError where the batch does not divide.
    """
    local = _share(batch_size, process_count)
    first = position + process_index * local

    def example(number: int) -> dict[str, np.ndarray]:
        batch, offset = divmod(number, local)
        at = first + batch * batch_size + offset
        record = source[record_index(at, len(source), seed)]
        return {key: record[key] for key in keys} | {"example": np.uint32(at)}

    return _batches(example, sys.maxsize, local, threads)


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
    last = len(source) - 1

    def example(number: int) -> dict[str, np.ndarray]:
        batch, offset = divmod(number, local)
        at = batch * batch_size + process_index * local + offset
        record = source[min(at, last)]
        if at > last:
            record["label"] = np.full_like(record["label"], IGNORE)
        return {key: record[key] for key in keys} | {"record": min(at, last), "valid": np.bool_(at <= last)}

    for batch in _batches(example, -(-len(source) // batch_size) * local, local, threads):
        yield batch | {"ids": [source.ids[record] for record in batch.pop("record")]}


def _batches(example: Callable[[int], dict], count: int, batch_size: int, threads: int) -> Iterator[dict]:
    """example(0), example(1), ... up to `count`, read ahead by threads for about two batches, and stacked."""
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * batch_size, threads))
    return iter(grain.MapDataset.range(count).map(example).to_iter_dataset(options).batch(batch_size))


def _share(batch_size: int, process_count: int) -> int:
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"config.batch_size={batch_size}: expected a positive multiple of the {process_count} processes"
        )
    return batch_size // process_count


@functools.lru_cache(maxsize=4)  # threads read ahead into the next epoch
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(count)
