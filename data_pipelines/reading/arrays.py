"""Numpy arrays as a data set: the records of a Python session, read as prepared ones are."""

import dataclasses
import functools
import hashlib
import operator
import pathlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_pipelines.datasets.rasters.sensor import sensor_of
from data_pipelines.geo.geotiff import filled
from data_pipelines.reading import array_checks
from data_pipelines.reading.band_statistics import BandSums
from data_pipelines.reading.interfaces import square
from data_pipelines.schema import progress
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.on_disk import Origin
from data_pipelines.schema.sensors import Sensor
from data_pipelines.schema.splits import Splits

NAME, VERSION = "arrays", "in memory"  # on cards: "arrays in memory"
_TRAIN = "train"
_QUIET = 2.0  # seconds that a look at all records may take before it shows progress


@dataclasses.dataclass(frozen=True)
class ArraySplit:
    """The arrays of one split.

    Attributes:
      images: (N, H, W, C) of each sensor.
      masks: (N, H, W) integers; None where the split has no labels.
    """

    images: dict[str, np.ndarray]
    masks: np.ndarray | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of records, height and width."""
        return next(iter(self.images.values())).shape[:3]


@dataclasses.dataclass(frozen=True)
class _Summary:
    """One record in short.

    Attributes:
      digest: a hash of its images and its label as they are read.
      pixels: labelled pixels by id of the legend.
      sums: of each sensor, over its pixels that hold data.
    """

    digest: bytes
    pixels: Counter[int]
    sums: dict[str, BandSums]


class ArraySource:
    """Some records of arrays, as `interfaces.Source` has it; images are read-only views of the arrays where possible.

    Args:
      splits: the arrays by split.
      where: for each record the name of its split, and its place there.
      ids: for each record its id.
      sensors: of the images.
      legend: what the masks are read as.
      nodata: of each sensor: a pixel that is this in any band holds no data; None: all pixels hold data.
    """

    in_memory = True

    def __init__(
        self,
        splits: Mapping[str, ArraySplit],
        where: Sequence[tuple[str, int]],
        ids: tuple[str, ...],
        sensors: Sequence[Sensor],
        legend: Legend,
        nodata: Mapping[str, float | None],
    ):
        self.ids = ids
        self.tile = next(iter(splits.values())).shape[1]
        self._splits, self._where, self._nodata = splits, where, nodata
        self._dtypes = {sensor.name: sensor.dtype for sensor in sensors}
        self._read_as = legend.read_as()[legend.id_of_value()]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"id": self.ids[index]} | self.read(index, [*self._dtypes, "label"])

    def read(
        self, index: int, keys: Sequence[str], corner: tuple[int, int] = (0, 0), size: int | None = None
    ) -> dict[str, np.ndarray]:
        """Reads these parts of a record; of both the square of `size` pixels whose upper left pixel is `corner`."""
        split, place = self._where[index]
        masks = self._splits[split].masks
        window = square(corner, size or self.tile)

        def pixels(sensor: str) -> np.ndarray:
            # What is filled is the mean of the whole record, so that every crop of it is filled alike.
            image, valid = self._splits[split].images[sensor][place], self.valid(index, sensor)
            whole = image if valid is None else filled(image, valid)
            return whole[window].astype(self._dtypes[sensor], copy=False)

        def label() -> np.ndarray:
            if masks is None:
                return np.full((size or self.tile,) * 2, IGNORE, np.uint8)
            ids = self._read_as[masks[place][window]]
            for sensor in self._dtypes:
                if (valid := self.valid(index, sensor)) is not None:
                    ids = np.where(valid[window], ids, np.uint8(IGNORE))
            return ids

        return {key: label() if key == "label" else pixels(key) for key in keys}

    def valid(self, index: int, sensor: str) -> np.ndarray | None:
        """Where an image holds data, (H, W) bool; None where all of it does."""
        nodata = self._nodata[sensor]
        if nodata is None:
            return None
        split, place = self._where[index]
        image = self._splits[split].images[sensor][place]
        missing = np.isnan(image) if np.isnan(nodata) else image == nodata
        return None if not missing.any() else ~missing.any(axis=2)

    def has_numbers(self, vector: str) -> bool:
        """False: arrays have no numbers beside the images."""
        del vector
        return False


class ArrayDataset:
    """Arrays as a data set, as `interfaces.Dataset` has it; made by `from_arrays`.

    Its records are called "train/0", "train/1", ...: the split, and the place in its arrays.
    """

    name, version = NAME, VERSION
    folder: pathlib.Path | None = None
    in_memory = True

    def __init__(
        self,
        splits: Mapping[str, ArraySplit],
        sensors: tuple[Sensor, ...],
        legend: Legend,
        nodata: Mapping[str, float | None],
    ):
        self._arrays, self._sensors, self._nodata = splits, sensors, nodata
        self.legend, self.legends = legend, (legend,)
        self.splits = {name: split.shape[0] for name, split in splits.items()}
        self.tile: int = next(iter(splits.values())).shape[1]
        self.partitions: dict[str, int] = {}
        self._where = {
            f"{name}/{place}": (name, place) for name, count in self.splits.items() for place in range(count)
        }
        ids = {name: [f"{name}/{place}" for place in range(count)] for name, count in self.splits.items()}
        self._names = Splits(title=NAME, stored=ids, parts={}, warnings={})
        self._summaries: dict[str, _Summary] = {}

    @functools.cached_property
    def sensors(self) -> tuple[Sensor, ...]:
        """The sensors, scaled by mean and deviation of the split `train`, or of the first one where there is none."""
        scaled_by = _TRAIN if _TRAIN in self.splits else next(iter(self.splits))
        return tuple(
            dataclasses.replace(sensor, scaling=self._sums(scaled_by, sensor.name).scaling())
            for sensor in self._sensors
        )

    def source(self, spec: str) -> ArraySource:
        """Opens the records of a split. Raises InputError for a split that is not there or holds no record."""
        ids = self._names.ids(spec)
        where = [self._where[record_id] for record_id in ids]
        return ArraySource(self._arrays, where, ids, self._sensors, self.legend, self._nodata)

    def split_id(self, spec: str) -> str:
        """A short hash of ids, images and labels of a split, in order: other arrays have another one."""
        digest = hashlib.sha256()
        for record_id, summary in zip(self._names.ids(spec), self._summarised(spec), strict=True):
            digest.update(f"{record_id}\n".encode() + summary.digest)
        return digest.hexdigest()[:12]

    def warnings(self, spec: str) -> list[str]:
        """A line for the classes that are labelled nowhere in records to train on; else nothing."""
        of_train = {self._where[record_id][0] for record_id in self._names.ids(spec)} & {_TRAIN}
        if not any(self._arrays[split].masks is not None for split in of_train):
            return []
        pixels = self.class_pixels(spec)
        missing = [land_class.name for land_class in self.legend.scored if not pixels.get(str(land_class.id))]
        return [f"{spec}: no pixel is labelled {', '.join(missing)}: it cannot be learned"] if missing else []

    def class_pixels(self, spec: str) -> dict[str, int]:
        """Labelled pixels of a split by id of the legend, as text."""
        total = sum((summary.pixels for summary in self._summarised(spec)), Counter())
        return {str(label): total[label] for label in sorted(total)}

    def record_pixels(self, spec: str) -> np.ndarray:
        """Labelled pixels of each record of a split, (records, scored classes) int64."""
        ids = [land_class.id for land_class in self.legend.scored]
        rows = [[summary.pixels[label] for label in ids] for summary in self._summarised(spec)]
        return np.array(rows, np.int64)

    def origins(self, spec: str) -> list[Origin]:
        """Of arrays nothing is known of where they come from."""
        return [Origin("", "", None) for _ in self._names.ids(spec)]

    def band_statistics(self, spec: str) -> dict[str, dict]:
        """Mean, deviation, extremes and correlation of the bands over the pixels of a split that hold data."""
        return {sensor.name: self._sums(spec, sensor.name).summary() for sensor in self._sensors}

    def _sums(self, spec: str, sensor: str) -> BandSums:
        return functools.reduce(operator.add, (summary.sums[sensor] for summary in self._summarised(spec)))

    def _summarised(self, spec: str) -> list[_Summary]:
        """The summaries of the records of a split, in order; each record is looked at once."""
        source = self.source(spec)
        todo = [index for index, record_id in enumerate(source.ids) if record_id not in self._summaries]
        for index in progress.bar(todo, desc=f"looking at {spec}", unit=" records", delay=_QUIET):
            self._summaries[source.ids[index]] = _summarise(source, index, [sensor.name for sensor in self._sensors])
        return [self._summaries[record_id] for record_id in source.ids]


def _summarise(source: ArraySource, index: int, sensors: Sequence[str]) -> _Summary:
    record = source.read(index, [*sensors, "label"])
    digest = hashlib.sha256()
    for array in record.values():
        digest.update(f"{array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    label = record["label"]
    ids, counts = np.unique(label[label != IGNORE], return_counts=True)
    pixels = Counter(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
    sums = {name: BandSums.of(record[name], source.valid(index, name)) for name in sensors}
    return _Summary(digest.digest(), pixels, sums)


def from_arrays(
    splits: Mapping[str, tuple[np.ndarray | Mapping[str, np.ndarray], np.ndarray | None]],
    classes: Legend | Sequence[str | tuple[str, str]],
    *,
    bands: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    sensor: str = "image",
    nodata: float | Mapping[str, float] | None = None,
) -> ArrayDataset:
    """Makes a data set of numpy arrays: what `lcjax.data.from_arrays`, where the arguments are explained, does."""
    array_checks.check_shapes(splits)
    names = array_checks.sensor_names(next(iter(splits.values()))[0], sensor)
    arrays = {name: _read_only(names, *pair) for name, pair in splits.items()}
    images = next(iter(arrays.values())).images
    legend = array_checks.legend_of(classes, NAME)
    bands_of = array_checks.of_sensors(bands, names, "bands")
    called = {name: array_checks.band_names(bands_of[name], images[name].shape[3]) for name in names}
    missing = array_checks.of_sensors(nodata, names, "nodata")
    for name in names:
        array_checks.check_nodata(missing[name], images[name].dtype)
    for split, of_split in arrays.items():
        for name in names:
            array_checks.check_finite(split, of_split.images[name], missing[name])
        if of_split.masks is not None:
            array_checks.check_labels(split, of_split.masks, legend)
    sensors = tuple(sensor_of(called[name], images[name].dtype.name, name=name) for name in names)
    values = {name: None if value is None else float(value) for name, value in missing.items()}
    return ArrayDataset(arrays, sensors, legend, values)


def _read_only(
    names: Sequence[str], images: np.ndarray | Mapping[str, np.ndarray], masks: np.ndarray | None
) -> ArraySplit:
    """Views of the arrays through which they cannot be changed."""
    by_sensor = array_checks.images_of(images)
    given = by_sensor.values() if len(names) == 1 else (by_sensor[name] for name in names)
    views = {name: _view(array) for name, array in zip(names, given, strict=True)}
    return ArraySplit(views, None if masks is None else _view(masks))


def _view(array: np.ndarray) -> np.ndarray:
    view = array.view(np.ndarray)
    view.flags.writeable = False
    return view
