"""One shard: what a worker reads, checks, writes and notes."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import NotRequired, TypedDict

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from tensorflow_datasets.core import example_serializer

from data_pipelines.geo.fill_values import Extremes
from data_pipelines.reading import band_statistics
from data_pipelines.schema import on_disk, schema_version
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import temporary, write_atomically
from data_pipelines.schema.legends import IGNORE
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import Item, Kept, Record, Refused, Vector
from data_pipelines.schema.typed_json import Count, LabelText

# One record a group, or a random read decodes its neighbours too; no compression, or the reader spends its cores on it.
OPTIONS = "group_size:1,uncompressed"
PARTS = ".parts"  # the folder of notes


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a record of a data set holds."""

    sensors: tuple[Sensor, ...]
    vectors: tuple[Vector, ...]
    tile: int

    def features(self) -> tfds.features.FeaturesDict:
        """The TFDS features: id, a tensor a sensor, label, the vectors. Raw bytes: others are upcast to 64 bits."""
        tensor = functools.partial(tfds.features.Tensor, encoding=tfds.features.Encoding.BYTES)
        edges = (self.tile, self.tile)
        images = {
            s.name: tensor(
                shape=(*edges, len(s.bands)),
                dtype=np.dtype(s.dtype),
                doc=f"{s.title}: {', '.join(s.bands)}; {s.meaning}",
            )
            for s in self.sensors
        }
        label = tensor(
            shape=edges, dtype=np.dtype(np.uint8), doc=f"ids of the legend in description.json; {IGNORE} is no label"
        )
        vectors = {
            v.name: tensor(
                shape=(len(v.numbers),), dtype=np.dtype(np.float64), doc=f"{', '.join(v.numbers)}; {v.meaning}"
            )
            for v in self.vectors
        }
        return tfds.features.FeaturesDict(
            {"id": tfds.features.Text(doc="names the record"), **images, "label": label, **vectors}
        )

    def serialiser(self) -> Callable[[str, Record], bytes]:
        """A function (id, record) -> the bytes of the record as TFDS reads them."""
        features = self.features()
        serialiser = example_serializer.ExampleSerializer(features.get_serialized_info())

        def serialise(record_id: str, record: Record) -> bytes:
            example = serialiser.get_tf_example(features.encode_example({"id": record_id, **record.parts}))
            return example.SerializeToString(deterministic=True)  # else the order of fields differs by process

        return serialise


@dataclasses.dataclass(frozen=True)
class Task:
    """One shard: what a worker must know to write it."""

    layout: Layout
    read: Callable[[Item], Record]
    split: str
    items: tuple[Item, ...]
    shard: pathlib.Path

    @property
    def note_path(self) -> pathlib.Path:
        """Where the note of the shard lies."""
        return self.shard.parent / PARTS / f"{self.shard.name}.json"

    def note(self) -> "Note":
        """What was noted when the shard was written."""
        return Note.read(self.note_path)


class _NoteFields(TypedDict):
    """The note of a shard as JSON has it."""

    size: Count
    kept: list[Kept]
    pixels: list[dict[LabelText, Count]]
    nodata: list[Count]
    refused: list[tuple[str, str, str]]
    refused_places: list[str]
    off_legend: Count
    sensors: dict[str, band_statistics.SumsFields]
    extremes: dict[str, Extremes]
    doubts: NotRequired[list[tuple[str, str]]]


@dataclasses.dataclass(frozen=True)
class Note:
    """What one shard holds, and what was refused.

    Attributes:
      size: bytes of its records.
      kept: its records, in order.
      pixels: for each of them, pixels by label id, without those that have no label.
      nodata: for each of them, pixels without data that were filled.
      refused: rows (id, file, reason).
      refused_places: the first file of each record that was refused.
      off_legend: labelled pixels that the legend does not know.
      sensors: sums over the pixels of each sensor.
      extremes: how many pixels of each sensor hold its least or largest number in every band.
      doubts: id of each record whose numbers may be wrong, and what may be.
    """

    size: int
    kept: list[Kept]
    pixels: list[dict[int, int]]
    nodata: list[int]
    refused: list[list[str]]
    refused_places: list[str]
    off_legend: int
    sensors: dict[str, band_statistics.BandSums]
    extremes: dict[str, Extremes]
    doubts: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def to_json(self) -> str:
        """What `read` reads, in one line."""
        fields = dataclasses.asdict(self)
        fields["sensors"] = {name: sums.to_json() for name, sums in self.sensors.items()}
        return json.dumps(schema_version.stamp(fields, on_disk.SCHEMA_VERSION)) + "\n"

    @staticmethod
    def read(path: pathlib.Path) -> "Note":
        """Reads the note of a shard. Raises InputError for one of another version."""
        fields = schema_version.read_json(path, _NoteFields, on_disk.SCHEMA_VERSION, "delete the folder to start anew")
        kept = len(fields["kept"])
        if not len(fields["pixels"]) == len(fields["nodata"]) == kept:
            raise InputError(
                f"{path}: pixels of {len(fields['pixels'])} records and nodata of {len(fields['nodata'])}, expected "
                f"those of {kept}; delete the folder to start anew"
            )
        pixels = [{int(label): count for label, count in of_record.items()} for of_record in fields["pixels"]]
        sensors = {name: band_statistics.BandSums.from_json(sums) for name, sums in fields["sensors"].items()}
        refused = [list(row) for row in fields["refused"]]
        return Note(**{**fields, "pixels": pixels, "sensors": sensors, "refused": refused})  # type: ignore[arg-type]


def read_item(read: Callable[[Item], Record], item: Item) -> Record:
    """The record of an item. Raises Refused."""
    if item.refused:
        raise item.refused
    return read(item)


def first_file(item: Item) -> pathlib.Path:
    """What names the place of a record."""
    return next(iter(item.files.values()))


def refusal_row(item: Item, refusal: Refused) -> list[str]:
    """A row of refused.csv."""
    return [item.id, str(refusal.file), refusal.reason]


@contextlib.contextmanager
def _explained(shard: pathlib.Path) -> Iterator[None]:
    """ArrayRecord says RuntimeError of a disk that is full."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition(";")[0]
        raise InputError(
            f"{shard}: {reason}; expected a --data_dir that can be written and has room for all images, not "
            "compressed; run the same command again to go on"
        ) from error


def write(task: Task) -> Note:
    """Reads the records of one shard, and writes it and its note, each there completely or not at all.

    The note comes first: a shard that is in place has one.
    """
    serialise = task.layout.serialiser()
    tile = task.layout.tile
    begun = temporary(task.note_path.with_suffix(""))
    writer = array_record_module.ArrayRecordWriter(str(begun), OPTIONS)
    note = Note(0, [], [], [], [], [], 0, {}, {})
    size = off_legend = 0
    sums = {sensor.name: band_statistics.BandSums.of_none(len(sensor.bands)) for sensor in task.layout.sensors}
    extremes = dict.fromkeys(sums, Extremes())
    for item in task.items:
        try:
            record = read_item(task.read, item)
            edge = record.parts["label"].shape[0]
            if edge != tile:
                raise Refused(first_file(item), f"{edge} pixels wide, expected {tile} as most records are")
        except Refused as refusal:
            note.refused.append(refusal_row(item, refusal))
            note.refused_places.append(str(first_file(item)))
            continue
        serialised = serialise(item.id, record)
        with _explained(task.shard):
            writer.write(serialised)
        size += len(serialised)
        off_legend += int(record.off_legend)
        digest = hashlib.sha256(serialised).hexdigest()[:16]
        note.kept.append(Kept(item.id, record.place, item.group, item.source, record.extent, digest))
        note.nodata.append(int(record.nodata))
        note.doubts.extend([(item.id, record.doubt)] if record.doubt else [])
        labels, counts = np.unique(record.parts["label"], return_counts=True)
        note.pixels.append({int(i): int(n) for i, n in zip(labels, counts, strict=True) if i != IGNORE})
        for name in sums:
            image, counted = record.parts[name], record.counted
            sums[name] += band_statistics.BandSums.of(image, counted)
            extremes[name] += Extremes.of(image.reshape(-1, image.shape[-1]) if counted is None else image[counted])
    with _explained(task.shard):
        writer.close()
    note = dataclasses.replace(note, size=size, off_legend=off_legend, sensors=sums, extremes=extremes)
    write_atomically(task.note_path, note.to_json())
    begun.replace(task.shard)
    return note
