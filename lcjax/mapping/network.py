"""A trained network in Python: classes or probabilities of arrays, and maps of scenes."""

import datetime
import functools
import pathlib
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np

from data_pipelines.geo import exclusions
from data_pipelines.remote import addresses
from data_pipelines.schema import paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import Sensor, holds_data
from lcjax.engine import restore
from lcjax.mapping import predict, scene_area, scene_list
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.mapping.scene_list import Job
from lcjax.ops.tiling import Tiling, blended_strips
from lcjax.runs import calibration as calibrations
from lcjax.runs.calibration import Calibration
from lcjax.runs.model_card import Card

Images = np.ndarray | Mapping[str, np.ndarray]

_DEFAULTS = Options()


class Network:
    """The network of a run, as `lcjax.load` gives it.

    An image is an array (H, W, bands) of any size, with the stored numbers of the data and the bands in the order of
    the card; for several sensors, a dictionary of arrays by name. An image larger than a tile of the card goes through
    the network tile by tile, and the answers are blended, as in maps.

    A pixel of an array holds no data where a band is NaN or infinite and, of Sentinel sensors, where all bands are 0;
    other no-data values are known of files alone.
    """

    def __init__(self, trained: restore.Trained, checkpoint: str = "best", calibrated_in: pathlib.Path | None = None):
        """Takes a restored network; `calibrated_in` is the workdir whose calibration.json is followed, if any."""
        self._trained, self._checkpoint, self._calibrated_in = trained, checkpoint, calibrated_in

    @property
    def card(self) -> Card:
        """Sensors, bands, classes and tile of the network."""
        return self._trained.card

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in the order of the probabilities."""
        return [land_class.name for land_class in self.card.legend.scored]

    @property
    def step(self) -> int:
        """Number of training steps behind the checkpoint."""
        return self._trained.step

    @functools.cached_property
    def calibration(self) -> Calibration | None:
        """What probabilities are calibrated by; None where the run has no calibration.json.

        Raises:
          InputError: it is of another checkpoint, or damaged.
        """
        folder = self._calibrated_in
        table = calibrations.read(folder) if folder else None
        return self._trained.calibration(table, folder, self._checkpoint) if folder and table is not None else None

    @functools.cached_property
    def _plain(self) -> Mapper:
        return Mapper.of_trained(self._trained, self._checkpoint)

    @functools.cached_property
    def _mapper(self) -> Mapper:
        if self.calibration is None:
            return self._plain
        return Mapper.of_trained(self._trained, self._checkpoint, calibration=self.calibration)

    def probabilities(self, image: Images) -> np.ndarray:
        """Returns the probability of each class at each pixel, (H, W, K) float32; NaN where a pixel holds no data.

        They are calibrated where the run is. That changes no class of `predict`, which may differ from the most
        probable one where tiles or windows are blended.

        Args:
          image: an array, or for several sensors a dictionary of arrays by name.

        Raises:
          InputError: the image has other sensors, bands or numbers than the card.
        """
        return self._answers(image, self._mapper)

    def _answers(self, image: Images, mapper: Mapper) -> np.ndarray:
        """The probabilities that a mapper tells."""
        inputs = self._checked(image)
        height, width = next(iter(inputs.values())).shape[:2]
        sensors = self.card.sensors
        holds = {s.name: holds_data(inputs[s.name], s.zero_is_nodata, axis=-1) for s in sensors}
        # As in maps: the network is shown pixels without data as numbers that scale to zero.
        inputs = {s.name: np.where(holds[s.name][..., None], inputs[s.name], s.empty) for s in sensors}
        valid = np.logical_and.reduce(list(holds.values()))
        tile = self.card.tile
        strips = blended_strips(
            lambda first, end: ({name: array[first:end] for name, array in inputs.items()}, valid[first:end]),
            mapper.network(_DEFAULTS.batch_size),
            lambda strip_KxHxW: jnp.moveaxis(strip_KxHxW[-len(self.classes) :], 0, -1),
            Tiling(height, width, tile, _DEFAULTS.check(tile)),
        )
        answers = np.concatenate([rows for _, rows, _ in strips])
        return np.where(valid[..., None], answers, np.float32(np.nan))

    def predict(self, image: Images) -> np.ndarray:
        """Returns the most probable class at each pixel, (H, W) uint8: ids of the legend, 255 where there is no data.

        Where the legend lists 255 as a class, it is written, and `legend.nodata` where there is no data.

        Args:
          image: as for `probabilities`.

        Raises:
          InputError: as `probabilities`.
        """
        probabilities = self._answers(image, self._plain)
        empty = np.isnan(probabilities[..., 0])
        indices = np.argmax(np.where(empty[..., None], 0, probabilities), axis=-1)
        legend = self.card.legend
        return np.where(empty, np.uint8(legend.nodata), legend.value_of_index()[indices])

    def map(
        self,
        scene: str | pathlib.Path | Mapping[str, str | pathlib.Path],
        output: str | pathlib.Path,
        *,
        bands: Sequence[str] = (),
        offset: float | None = None,
        grid: str = "",
        date: datetime.datetime | None = None,
        aoi: str = "",
        mask: str = "",
        options: Options = _DEFAULTS,
    ) -> pathlib.Path:
        """Writes the map of a scene and its sidecar files, as `lcjax predict` does, and returns its path.

        Args:
          scene: a raster or a STAC item, or one for each sensor by name; on a server that
            `data_pipelines.remote.hosts.allow` was told of, also its address.
          output: a name that ends in .tif.
          bands: names of the bands in file order, where the files name none.
          offset: number added to the digital numbers of Sentinel-2; None takes it from the metadata.
          grid: name of the sensor onto whose grid the others are warped, where their grids differ.
          date: when the scene was taken; None takes it from the scene's tags or name.
          aoi: polygons outside which nothing is mapped, FILE or FILE:LAYER.
          mask: what is not to be mapped, FILE or FILE:NUMBERS as for --mask.
          options: overlap, blending, sieve, further layers.

        Raises:
          InputError: the scene does not fit the card, or the map cannot be written.
        """
        excluded = exclusions.parse(mask, "mask") if mask else None
        jobs = [Job(self._files(scene), paths.given(output, "output"), mask=excluded)]
        area = scene_area.read_aoi(aoi) if aoi else None
        scene_options = predict.SceneOptions(bands, offset, grid, date, area)
        predict.check(self.card, jobs, options, scene_options)
        folder = self._calibrated_in
        calibrated = folder is not None and predict.check_calibration(folder, options)
        if options.conformal and not calibrated:
            raise InputError(
                f"conformal={options.conformal:g}: found a network without calibration; expected a calibrated one"
            )
        mapper = (lambda: self._mapper) if calibrated else (lambda: self._plain)
        predict.map_jobs(self.card, mapper, jobs, options, scene_options)
        return jobs[0].output

    def _files(self, scene: str | pathlib.Path | Mapping[str, str | pathlib.Path]) -> dict[str, pathlib.Path]:
        if isinstance(scene, Mapping):
            files = {name: addresses.given(path, f"scene[{name!r}]") for name, path in scene.items()}
            return scene_list.with_assets(files, self.card.sensors)
        names = [sensor.name for sensor in self.card.sensors]
        if len(names) > 1:
            raise InputError(f"scene={scene}: the network takes {', '.join(names)}; give a dictionary of files by name")
        return scene_list.with_assets({names[0]: addresses.given(scene, "scene")}, self.card.sensors)

    def _checked(self, image: Images) -> dict[str, np.ndarray]:
        sensors = {sensor.name: sensor for sensor in self.card.sensors}
        if not isinstance(image, Mapping):
            if len(sensors) > 1:
                raise InputError(f"one array, but the network takes {', '.join(sensors)}; give a dictionary by name")
            image = dict.fromkeys(sensors, image)
        if image.keys() != sensors.keys():
            raise InputError(f"images of {', '.join(image)}; the network takes {', '.join(sensors)}")
        arrays = {name: _as_stored(name, image[name], sensor) for name, sensor in sensors.items()}
        shapes = {name: array.shape[:2] for name, array in arrays.items()}
        if len(set(shapes.values())) > 1:
            shown = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in shapes.items())
            raise InputError(f"the images of the sensors differ in height and width: {shown}; expected one grid")
        return arrays


def _as_stored(name: str, image: np.ndarray, sensor: Sensor) -> np.ndarray:
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[-1] != len(sensor.bands) or 0 in array.shape:
        raise InputError(
            f"{name}: an array of shape {array.shape}; expected (H, W, {len(sensor.bands)}), with the bands "
            f"{', '.join(sensor.bands)}"
        )
    if not np.can_cast(array.dtype, sensor.dtype, "safe"):
        raise InputError(
            f"{name}: numbers of type {array.dtype}; expected {sensor.dtype}, as in training ({sensor.meaning})"
        )
    return array.astype(sensor.dtype, copy=False)


def load(workdir: str | pathlib.Path, checkpoint: str = "best", *, calibrated: bool = True) -> Network:
    """Loads the network of a run.

    Args:
      workdir: of the run.
      checkpoint: "best" or "last".
      calibrated: whether probabilities are those of calibration.json, where the run has one.

    Raises:
      InputError: there is no such run or checkpoint, or its network has no classes to map.
    """
    folder = paths.given(workdir, "workdir")
    return Network(restore.restore(folder, checkpoint), checkpoint, folder if calibrated else None)
