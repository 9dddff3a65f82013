"""A prepared data set: what it holds, and access to its records by split, bands and legend."""

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError

from data_pipelines.datasets import registry as datasets
from data_pipelines.reading import band_statistics, record_parser
from data_pipelines.reading.interfaces import square
from data_pipelines.schema import on_disk, paths, progress, schema_version
from data_pipelines.schema.band_selection import chosen
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, Legend, named
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.spec import DatasetFamily, DatasetSpec
from data_pipelines.schema.splits import Splits

# What TFDS, ArrayRecord and the parser of records raise for bytes that are not as they were written. TFDS asks for
# TensorFlow where it does not know a feature.
_DAMAGED = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, OSError, StopIteration, ImportError)


class PreparedSource:
    """Some records of a prepared data set, as `interfaces.Source` has it.

    Args:
      stored: split -> its records, as bytes (record_parser.py).
      layout: what they hold: name -> dtype and shape.
      where: for each record the name of its split, and its place there.
      bands: sensor -> which of its stored bands are read.
      read_as: (256,) uint8, stored label -> label.
      folder: of the data set, for messages.
    """

    in_memory = False

    def __init__(
        self,
        stored: Mapping[str, Sequence[bytes]],
        layout: Mapping[str, tuple[np.dtype, tuple[int, ...]]],
        where: Sequence[tuple[str, int]],
        ids: tuple[str, ...],
        tile: int,
        bands: Mapping[str, list[int]],
        read_as: np.ndarray,
        folder: pathlib.Path,
    ):
        self.ids, self.tile, self._folder = ids, tile, folder
        self._stored, self._layout, self._where, self._bands = stored, layout, where, bands
        self._read_as = None if (read_as == np.arange(256)).all() else read_as

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": self.ids[index]} | self.read(index, list(self._layout))

    def read(
        self, index: int, keys: Sequence[str], corner: tuple[int, int] = (0, 0), size: int | None = None
    ) -> dict[str, np.ndarray]:
        """Reads these parts of a record; of images the square of `size` pixels whose upper left pixel is `corner`.

        Raises InputError for a record that is not as it was written: its shard is damaged.
        """
        split, place = self._where[index]
        layout = {key: self._layout[key] for key in keys}
        try:
            record = record_parser.arrays(self._stored[split][place], layout)
        except _DAMAGED as error:
            what = f"{self._folder}: record {self.ids[index]} of {split} cannot be read ({_short(error)})"
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):  # of the system, not of bytes
                raise InputError(f"{what}; see to the storage, or open fewer files, and start again") from error
            raise InputError(f"{what}: a shard is damaged, or missing; {on_disk.ANEW}") from error
        window = square(corner, size or self.tile)
        taken = {key: array if array.ndim == 1 else array[window] for key, array in record.items()}
        for sensor in taken.keys() & self._bands.keys():
            taken[sensor] = taken[sensor][..., self._bands[sensor]]
        if self._read_as is not None and "label" in taken:
            taken["label"] = self._read_as[taken["label"]]
        return taken

    def has_numbers(self, vector: str, looked_at: int = 32) -> bool:
        """Whether any number of a vector is known of any of some records, evenly through all of them."""
        some = np.unique(np.linspace(0, len(self) - 1, looked_at).astype(int))
        return any(not np.isnan(self.read(int(index), [vector])[vector]).all() for index in some)


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """A prepared data set, as `interfaces.Dataset` has it.

    Attributes:
      stored: its sensors, each with its bands by name and in order.
      sensors: the same, with the bands that are read.
      legend: what its labels are read as.
      tile: edge of every record in pixels.
      statistics: statistics.json, with pixels by id of `legend`: for each split its records, the pixels of each class,
        and of each stored sensor's bands mean, deviation, minimum, maximum and correlation.
      splits: name -> number of records.
      overlapping: whether tiles overlap or reach beyond their image, as the data set's entry declares it.
      legends: what its labels can be read as; the first one is what is stored.
    """

    name: str
    version: str
    folder: pathlib.Path
    stored: tuple[Sensor, ...]
    sensors: tuple[Sensor, ...]
    legend: Legend
    tile: int
    statistics: dict[str, Any]
    splits: dict[str, int]
    in_memory: ClassVar[bool] = False
    overlapping: bool = False
    legends: tuple[Legend, ...] = ()

    def source(self, spec: str) -> PreparedSource:
        """The records of a split; `Splits.ids` says what can be given. Raises InputError as it does."""
        ids = self._names.ids(spec)
        where = [self._where[record_id] for record_id in ids]
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        splits = dict.fromkeys(split for split, _ in where)
        for split in splits:
            self._check_known(split)
        try:
            stored = {split: self._builder.as_data_source(split, deserialize_method=raw) for split in splits}
            features = self._builder.info.features.items()
            layout = {name: (feature.np_dtype, feature.shape) for name, feature in features if name != "id"}
        except _DAMAGED as error:
            raise self._metadata(_short(error)) from error
        self._check_layout(layout)
        bands = {
            sensor.name: [every.bands.index(band) for band in sensor.bands]
            for sensor, every in zip(self.sensors, self.stored, strict=True)
            if sensor.bands != every.bands
        }
        return PreparedSource(stored, layout, where, ids, self.tile, bands, self.legend.read_as(), self.folder)

    def split_id(self, spec: str) -> str:
        """A short hash of ids, images and labels of a split, in order: other ones have another."""
        digests = self._records.digests
        lines = "\n".join(f"{record_id} {digests[record_id]}" for record_id in self._names.ids(spec))
        return hashlib.sha256(lines.encode()).hexdigest()[:12]

    def warnings(self, spec: str) -> list[str]:
        """What a reader of scores on a split must know, as lines; empty for most."""
        return self._names.warnings_of(spec)

    @property
    def partition_warnings(self) -> dict[str, str]:
        """What a reader of scores on a partition must know, by its name."""
        return {name: warning for name, warning in self._names.warnings.items() if warning}

    @property
    def partitions(self) -> dict[str, int]:
        """The parts of partitions: "by_scene/train" -> number of records."""
        return {name: len(ids) for name, ids in self._names.parts.items()}

    def class_pixels(self, spec: str) -> dict[str, int]:
        """Labelled pixels by id of the legend, as text, of the records of a split."""
        return _pixels_as(self.legend, self._records.pixels_of(self._names.ids(spec)))

    def record_pixels(self, spec: str) -> np.ndarray:
        """Labelled pixels of each record of a split, (records, scored classes) int64: records.csv knows them."""
        ids, count = self._names.ids(spec), len(self.legend.scored)
        classes = self.legend.index_of_id()[self.legend.read_as()].clip(max=count)  # by stored id; `count`: none
        counts = np.zeros((len(ids), count + 1), np.int64)
        for row, record_id in enumerate(ids):
            for stored, pixels in self._records.pixels[record_id].items():
                counts[row, classes[stored]] += pixels
        return counts[:, :count]

    def origins(self, spec: str) -> list[on_disk.Origin]:
        """Group, first file and place of each record of a split, in order, as far as they are known."""
        return [self._records.origins[record_id] for record_id in self._names.ids(spec)]

    def band_statistics(self, spec: str) -> dict[str, dict]:
        """Of each sensor the mean, deviation, extremes and correlation of its bands, over the records of a split.

        Of whole stored splits they are known; parts of them are read once, with progress, and what was found is kept in
        the folder where it can be written.
        """
        path = self.folder / f"band_statistics-{self.split_id(spec)}.json"
        whole = [part.strip() for part in spec.split("+")]
        if self.splits.keys() >= set(whole):
            summaries = self._added(whole)
        elif path.exists():
            summaries = on_disk.read_summaries(path, self.stored, "delete it: it will be made again")
        else:
            summaries = self._summed(spec)
            with contextlib.suppress(OSError):  # a folder that is only read: it will be summed up again
                schema_version.write_json(path, summaries, on_disk.SCHEMA_VERSION)
        return {
            sensor.name: band_statistics.of_bands(
                summaries[sensor.name], [every.bands.index(band) for band in sensor.bands]
            )
            for sensor, every in zip(self.sensors, self.stored, strict=True)
        }

    def _added(self, splits: Sequence[str]) -> dict[str, dict]:
        """The statistics of whole stored splits together."""
        of_splits = [self.statistics["splits"][split]["sensors"] for split in splits]
        if len(of_splits) == 1:
            return of_splits[0]
        counted = {
            sensor.name: [one[sensor.name] for one in of_splits if one[sensor.name]["pixels"]] for sensor in self.stored
        }
        return {
            name: functools.reduce(
                band_statistics.BandSums.__add__, map(band_statistics.BandSums.from_summary, some)
            ).summary()
            for name, some in counted.items()
        }

    def _summed(self, spec: str) -> dict[str, dict]:
        """The statistics of a part of the stored splits.

        Tiles of own images overlap and go beyond them, and pixels without data were filled: what of a record must not
        be counted twice, or at all, has no label. Of a split without labels nothing tells; then the statistics are
        those of the whole splits that the records are of, which were counted pixel by pixel.
        """
        source = dataclasses.replace(self, sensors=self.stored).source(spec)
        partly = [self.overlapping or record_id in self._records.filled for record_id in source.ids]
        stored = [self._where[record_id][0] for record_id in source.ids]
        labelled = {s: any(self.statistics["splits"][s]["class_pixels"].values()) for s in dict.fromkeys(stored)}
        if any(some and not labelled[split] for some, split in zip(partly, stored, strict=True)):
            return self._added(list(labelled))
        sums = {sensor.name: band_statistics.BandSums.of_none(len(sensor.bands)) for sensor in self.stored}
        for index in progress.bar(range(len(source)), desc=f"statistics of {self.name} {spec}", unit=" records"):
            record = source[index]
            counted = record["label"] != IGNORE if partly[index] else None
            for name in sums:
                sums[name] += band_statistics.BandSums.of(record[name], counted)
        return {name: of_sensor.summary() for name, of_sensor in sums.items()}

    def _check_known(self, split: str) -> None:
        if split not in self._builder.info.splits:
            raise InputError(
                f"{self.folder / 'dataset_info.json'}: no split {split}, which {on_disk.RECORDS} names; delete the "
                "folder and prepare it anew"
            )

    @functools.cached_property
    def _builder(self) -> tfds.core.DatasetBuilder:
        try:
            return tfds.builder_from_directory(self.folder)
        except (*_DAMAGED, ParseError) as error:
            raise self._metadata(_short(error)) from error

    def _check_layout(self, layout: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> None:
        """Raises InputError where the metadata of TFDS tell of other arrays than description.json."""
        edge = (self.tile, self.tile)
        wanted = {sensor.name: (np.dtype(sensor.dtype), (*edge, len(sensor.bands))) for sensor in self.stored}
        for name, (dtype, shape) in (wanted | {"label": (np.dtype(np.uint8), edge)}).items():
            found = layout.get(name)
            if found is None or (np.dtype(found[0]), tuple(found[1])) != (dtype, shape):
                raise self._metadata(f"{name} is not {dtype} of shape {shape}")

    def _metadata(self, what: str) -> InputError:
        return InputError(f"{self.folder}: dataset_info.json or features.json cannot be read ({what}); {on_disk.ANEW}")

    @functools.cached_property
    def _records(self) -> on_disk.Records:
        return on_disk.read_records(self.folder)

    @functools.cached_property
    def _where(self) -> dict[str, tuple[str, int]]:
        return {
            record_id: (split, place)
            for split, ids in self._records.by_split.items()
            for place, record_id in enumerate(ids)
        }

    @functools.cached_property
    def _names(self) -> Splits:
        partitions = on_disk.read_partitions(self.folder)
        return Splits(
            title=f"{self.name} {self.version}",
            stored=self._records.by_split,
            parts={f"{name}/{part}": ids for name, one in partitions.items() for part, ids in one["parts"].items()},
            warnings={name: one["warning"] for name, one in partitions.items()},
        )


def open_dataset(data_dir: pathlib.Path | str, name: str, *, legend: str = "", bands: str = "all") -> PreparedDataset:
    """Opens a data set that `prepare` has made.

    Args:
      legend: what its labels are read as, by name; empty for what is stored.
      bands: which bands are read: "all", a subset by name ("rgb", ...), or their names ("B8+B4+B3"); see bands.chosen.

    Raises InputError where there is none, or an unfinished one, and where it has no such legend or bands.
    """
    entry = datasets.entry(name)
    folder = on_disk.folder_of(entry.name, entry.version, paths.given(data_dir, "data_dir"))
    command = f"lcjax prepare --dataset={name} --source=DIR --data_dir={data_dir}"
    if not (folder / "dataset_info.json").is_file():
        state = "its preparation is unfinished" if on_disk.incomplete(folder).exists() else "no prepared data set"
        raise InputError(f"{folder}: {state}; expected the shards of {name} {entry.version}; run `{command}`")
    again = f"delete the folder and run `{command}`"
    description, statistics = on_disk.read_description(folder, again)
    for part in (on_disk.RECORDS, on_disk.PARTITIONS):
        if not (folder / part).is_file():
            raise InputError(f"{folder / part}: no such file; expected all files of the data set; {again}")
    legends = _legends(entry, description["legends"])
    read_as = named(legends, legend)
    for counts in statistics["splits"].values():
        counts["class_pixels"] = _pixels_as(read_as, {int(i): n for i, n in counts["class_pixels"].items()})
    stored = tuple(description["sensors"])
    return PreparedDataset(
        name=description["name"],
        version=description["version"],
        folder=folder,
        stored=stored,
        sensors=chosen(stored, bands),
        legend=read_as,
        tile=description["tile"],
        statistics=statistics,
        splits={split: counts["records"] for split, counts in statistics["splits"].items()},
        overlapping=entry.overlapping,
        legends=tuple(legends),
    )


def _legends(entry: DatasetSpec | DatasetFamily, stored: list[Legend]) -> list[Legend]:
    """What labels can be read as: what was written, and what the data set has learned to be read as since."""
    if isinstance(entry, DatasetFamily) or entry.legend != stored[0]:
        return stored
    names = {legend.name for legend in stored}
    return [*stored, *(legend for legend in entry.legends if legend.name not in names)]


def _pixels_as(legend: Legend, pixels: Mapping[int, int]) -> dict[str, int]:
    """Pixels by stored id as pixels by id of a legend; ids as text."""
    table = legend.read_as()
    by_label: dict[int, int] = {}
    for stored, count in pixels.items():
        by_label[int(table[stored])] = by_label.get(int(table[stored]), 0) + count
    return {str(label): by_label[label] for label in sorted(by_label)}


def _short(error: BaseException) -> str:
    """What an error of a library says, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
