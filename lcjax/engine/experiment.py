"""What a config becomes: data, card, task, network, mesh, optimiser, steps. Built here, and nowhere else.

`train`, `benchmark`, compiling ahead of time, the Python door and the tests use it, so that what one of them times or
compiles is what another one trains.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding

from data_pipelines.datasets import protocols
from data_pipelines.datasets import registry as datasets
from data_pipelines.reading import group_order, loader, sampling
from data_pipelines.reading.dataset import open_dataset
from data_pipelines.reading.interfaces import Dataset, Source
from data_pipelines.schema import on_disk, paths, splits
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import Legend
from data_pipelines.schema.normalization import SCALINGS
from data_pipelines.schema.sensors import Sensor
from lcjax import tasks
from lcjax.engine import durations, eval_step, flops, initial, schedule, shared_images, silent_fields
from lcjax.engine import monitor as monitors
from lcjax.engine import optimizer as optimizers
from lcjax.engine import state as states
from lcjax.engine import train_step as train_steps
from lcjax.models import params
from lcjax.models.kernels import halves
from lcjax.models.kernels.plans import Kernel
from lcjax.ops import augmentation
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost
from lcjax.runs import config_fields
from lcjax.runs import model_card as cards
from lcjax.tasks import fusion as fusions

_log = multihost.shared_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a run makes of a config.

    Attributes:
      config: as it was resolved.
      dataset: that it learns from; None where it was built without data, to be measured or compiled.
      card: what the network must be told about its input.
      task: what a batch means.
      template: the network, in structure and shapes.
      mesh: devices that share a batch.
      optimizer: what makes directions of gradients.
      rate: the learning rate by step.
      length: durations in steps.
      monitor: the score that chooses the best checkpoint.
      tile: size of the records in pixels; that of the card is what the network sees in evaluation.
      order: of the training records; None where they are shuffled, and where there are no data.
      implementation: of the blocks in a training step, one of halves.IMPLEMENTATIONS; all else takes XLA's.
    """

    config: ml_collections.ConfigDict
    dataset: Dataset | None
    card: cards.Card
    task: tasks.Task
    template: params.Template
    mesh: Mesh
    optimizer: optax.GradientTransformation
    rate: schedule.LearningRate
    length: durations.RunLength
    monitor: monitors.Monitor
    tile: int
    order: sampling.Order | None = None
    implementation: str = halves.XLA

    # ------------------------------------------------------------------ data
    @functools.cached_property
    def train_source(self) -> Source:
        """The records that are learned from."""
        return self._source("train")

    @functools.cached_property
    def validation_source(self) -> Source | None:
        """The records that choose the checkpoint, if the config names any."""
        return self._source("validation") if self.config.split.validation else None

    def _source(self, role: str) -> Source:
        assert self.dataset is not None, "built without data"
        return self.dataset.source(self.config.split[role])

    def train_batches(self, position: int) -> Generator[dict[str, np.ndarray], None, None]:
        """This process's part of each training batch, for ever, from a position in the stream of examples."""
        config = self.config
        return loader.train_batches(
            self.train_source,
            batch_size=config.batch_size,
            seed=config.seed,
            position=position,
            keys=self.task.keys,
            crop=self._window,
            order=self.order,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=config.threads,
            workers=config.workers,
        )

    @property
    def _window(self) -> int:
        """Size in pixels of the square of a tile that the loader draws; 0 is all of it."""
        return 0 if self.task.cuts_on_device else augmentation.window(self.tile, self.config)

    def evaluation_batches(self, source: Source) -> Iterator[dict[str, Any]]:
        """This process's part of every record of a source, once."""
        return eval_step.evaluation_batches(source, self.evaluation_batch_size, self.task.keys, self.config.threads)

    def synthetic_batch(self, size: int) -> dict[str, np.ndarray]:
        """Random integers in the shapes of a training batch of `size` examples."""
        generator = np.random.default_rng(self.config.seed)
        edge = loader.host_size(self.tile, self._window)
        shape = (size, edge, edge)
        batch = {
            sensor.name: generator.integers(0, 2000, (*shape, len(sensor.bands))).astype(sensor.dtype)
            for sensor in self.card.sensors
        }
        ids = [land_class.id for land_class in self.card.legend.scored]
        batch["label"] = generator.choice(np.array(ids, np.uint8), shape)
        for vector in datasets.vectors(self.config.dataset):
            batch[vector.name] = np.full((size, len(vector.numbers)), np.nan)
        drawn = {"example": np.arange(size, dtype=np.uint32), "corner": np.zeros((size, 2), np.int32)}
        return {key: batch[key] for key in self.task.keys} | drawn

    def global_batch(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """What each process read of a training batch, on the devices."""
        return meshes.global_batch(batch, self.batch_sharding, by_device=self.config.parallel.mode == "pmap")

    # ------------------------------------------------------------------ devices
    @property
    def batch_sharding(self) -> NamedSharding:
        """How the examples of a batch lie on the mesh."""
        return meshes.batch_sharding(self.mesh)

    @property
    def evaluation_batch_size(self) -> int:
        """Examples of an evaluation batch, over all devices."""
        return eval_step.evaluation_batch(self.config, self.mesh.size)

    # ------------------------------------------------------------------ state and steps
    def start(self) -> initial.Start:
        """Parameters and statistics of step 0, on the host: drawn from the seed, or as config.init says."""
        return initial.start(self.config, self.card, self.template)

    def random_values(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters and statistics, on the host, drawn from the seed."""
        return self.template.initial_values(self.config.seed, self.config.initializer)

    def initial_state(self, values: Mapping[str, Any], statistics: Mapping[str, Any]) -> states.State:
        """The state of step 0 on the mesh."""
        return states.initial_state(
            self.template, dict(values), dict(statistics), self.optimizer, self.mesh, averaged=self._averaged
        )

    @property
    def _averaged(self) -> bool:
        return bool(self.config.optimizer.ema_decay)

    def shapes(self, mesh: Mesh | None = None) -> tuple[states.State, dict[str, Any]]:
        """State and global batch as jax.ShapeDtypeStruct, each where it lies on the mesh (of another one, if given)."""
        mesh = mesh or self.mesh
        batch = {
            key: jax.ShapeDtypeStruct((self.config.batch_size, *value.shape[1:]), value.dtype)
            for key, value in self.synthetic_batch(1).items()
        }
        spread = meshes.with_shardings(batch, dict.fromkeys(batch, meshes.batch_sharding(mesh)))
        return states.state_shapes(self.template, self.optimizer, mesh, averaged=self._averaged), spread

    def train_step(self) -> train_steps.StepFunction:
        """The step function (state, batch) -> (state, metrics)."""
        config = self.config
        return train_steps.train_step(
            self.task,
            self.template,
            self.optimizer,
            self.rate,
            config.seed,
            config.accumulate,
            head_warmup=self.length.head_warmup,
            ema_decay=config.optimizer.ema_decay,
            implementation=self.implementation,
        )

    def kernels(self) -> list[Kernel]:
        """The kernels that a training step has, as one device sees them, each shape once; nothing is compiled."""
        state, batch = self.shapes()
        if self.config.parallel.mode == "pmap":
            batch = {
                key: jax.ShapeDtypeStruct((leaf.shape[0] // self.mesh.size, *leaf.shape[1:]), leaf.dtype)
                for key, leaf in batch.items()
            }
            with halves.met() as found:
                jax.eval_shape(self.train_step(), state, batch)
        else:
            with jax.set_mesh(self.mesh), halves.met() as found:
                jax.eval_shape(self.train_step(), state, batch)
        return found

    def lower(self, state: states.State, batch: dict[str, Any]) -> jax.stages.Lowered:
        """The training step as a program, before the compiler sees it."""
        return train_steps.lower_train_step(self.train_step(), state, batch, self.config.parallel.mode)

    def compile(self, state: states.State, batch: dict[str, Any]) -> jax.stages.Compiled:
        """The training step, compiled for where state and batch lie; the state is donated."""
        return self.lower(state, batch).compile()

    @functools.cached_property
    def evaluation_step(self) -> jax.stages.Wrapped:
        """The jitted function (parameters, statistics, batch) -> evaluation sums."""
        return eval_step.evaluation_step(self.task, self.template)

    def needed_flops(self) -> int:
        """FLOPs that one step of the whole mesh needs, without what config.remat computes again."""
        plain = self.config.copy_and_resolve_references()
        plain.remat, plain.accumulate = False, 1
        task = tasks.make(plain, self.card)
        template = params.Template(task.build, plain.freeze, freeze_statistics=plain.freeze_statistics)
        alone = dataclasses.replace(self, config=plain, task=task, template=template, implementation=halves.XLA)
        return flops.cost(alone.train_step(), *self.shapes()).flops


def build(
    config: ml_collections.ConfigDict, dataset: Dataset | None = None, *, devices: Sequence[jax.Device] | None = None
) -> Experiment:
    """The experiment of a config and of its data, checked: what could not be trained to the end is refused here.

    Args:
      config: of one of the files in configs/.
      dataset: to learn from; None opens the prepared one that the config names.
      devices: that may take part; None for all.

    Raises:
      InputError: config and data do not go together.
    """
    config_fields.check(config)
    with multihost.raise_on_all():
        tasks.check_config(config)
        protocols.check_asked(config.dataset, config.protocol, config.split, config.legend)
        if dataset is None:
            dataset = _opened(config)
        else:
            _check_given(config, dataset)
        config = _with_fusion(config, dataset.sensors)
        source = dataset.source(config.split.train)
        order = sampling.of_split(dataset, config.split.train, config.sampling.name, config.sampling.strength)
        card = dataclasses.replace(make_card(config, dataset), **(order.on_card if order else {}))
    multihost.agree(json.loads(card.to_json()), "the data")
    meshes.check(config.parallel)
    task = tasks.make(config, card)
    for role in ("train", "validation"):
        if role in card.splits:
            check_labels(task, card, role)
    warnings = [text for split in card.splits.values() for text in split["warnings"]]
    for warning in dict.fromkeys(
        [*warnings, shared_images.warning(dataset, config.split.train, config.split.validation)]
    ):
        if warning:
            _log.warning(warning)
    task.check(source, dataset.folder or dataset.name)
    length = durations.of_run(config, len(source))
    asked = {"freeze": config.freeze, "freeze_statistics": config.freeze_statistics}
    if length.head_warmup:
        asked["optimizer.head_warmup"] = config.optimizer.head_warmup
    for field, value in asked.items():
        if value and config.init == initial.RANDOM:
            _log.warning(f"config.{field}={value!r} with config.init='random': what is frozen has learned nothing")
    _check_together(config, card, task, dataset.tile, dataset.name)
    experiment = _assemble(config, dataset, card, task, length, devices, dataset.tile)
    return dataclasses.replace(experiment, order=order)


def _check_together(
    config: ml_collections.ConfigDict, card: cards.Card, task: tasks.Task, tile: int, name: str
) -> None:
    """Raises InputError where fields of a config, or the config and the tiles, do not go together; warns of limits."""
    if config.crop > tile:
        raise InputError(
            f"config.crop={config.crop}: larger than the {tile} px tiles of {name}; give --config.crop={tile}, or "
            "prepare it with a larger --tile"
        )
    if config.sampling.name in sampling.METHODS and "label" not in task.keys:
        raise InputError(
            f"config.sampling.name={config.sampling.name!r}: draws records by their labels, and a {config.task} run "
            f"reads none; set it to {sampling.UNIFORM} or {group_order.NAME}"
        )
    schedule.check_plateau(config)
    for warning in silent_fields.warnings(config, reads_labels="label" in task.keys):
        _log.warning(warning)
    if limits := augmentation.check(config, card.sensors, tile, task.augmentations):
        _log.warning(limits)


def check_labels(task: tasks.Task, card: cards.Card, role: str) -> None:
    """Raises InputError where a task that reads labels has none to learn from, or to score by, in a role of a run.

    What is counted are the pixels of the classes that are scored: 255 and ignored ids are no labels here.

    Args:
      task: of the run.
      card: of the run, or one whose `splits` tell of other records.
      role: of the records, in `card.splits`.
    """
    split = card.splits[role]
    if "label" not in task.keys or any(split["class_pixels"].get(str(c.id)) for c in card.legend.scored):
        return
    what = "nothing to learn from" if role == "train" else "nothing to score"
    ignored = sum(split["class_pixels"].values())
    why = f"its {ignored:,} labelled pixels are of ignored classes" if ignored else "none of its pixels has a label"
    without = f", or set config.split.{role}='' to do without" if role == "validation" else ""
    raise InputError(
        f"split {split['spec']!r} ({role}) of {card.dataset}: {what}, for {why}; expected pixels of "
        f"{', '.join(c.name for c in card.legend.scored[:5])}{', ...' if len(card.legend.scored) > 5 else ''}; put the "
        f"masks or the legend right, or choose another split{without}"
    )


def _opened(config: ml_collections.ConfigDict) -> Dataset:
    return open_dataset(config.data_dir, config.dataset, legend=config.legend, bands=config.bands)


def _with_fusion(config: ml_collections.ConfigDict, sensors: Sequence[Sensor]) -> ml_collections.ConfigDict:
    """The config with the fusion that is meant, where it leaves that to the data."""
    if config.fusion:
        return config
    found = config.copy_and_resolve_references()
    found.fusion = fusions.resolved(config.fusion, sensors)
    return found


def _check_given(config: ml_collections.ConfigDict, dataset: Dataset) -> None:
    """Raises InputError for a data set that is not what the config of the run will say of it."""
    if dataset.in_memory:
        if jax.process_count() > 1:
            raise InputError(
                f"{dataset.name}: data in memory serve one process, and this run has {jax.process_count()}; prepare "
                "them (`lcjax prepare --help`), or start one process"
            )
        if config.bands != "all" or config.legend:
            raise InputError(
                f"config.bands={config.bands!r}, config.legend={config.legend!r}: arrays have the bands and classes "
                "that they were given; choose them there, and leave both as they are"
            )
        return
    named = _opened(config)
    for what, given, wanted in (
        ("lies in", dataset.folder, named.folder),
        ("has the bands", [s.bands for s in dataset.sensors], [s.bands for s in named.sensors]),
        ("has the legend", dataset.legend.name, named.legend.name),
    ):
        if given != wanted:
            raise InputError(
                f"data={dataset.name}: it {what} {given}, and the config names {wanted}; set config.data_dir, dataset, "
                "bands and legend as the data were opened, or leave data out"
            )


def build_without_data(
    config: ml_collections.ConfigDict, *, devices: Sequence[jax.Device] | None = None, steps: int = 100
) -> Experiment:
    """The experiment of a config whose data are not there: the same program as `build`'s but for constants.

    Own imagery is known by what was prepared alone, so it must be there. Class weights and the statistics of bands
    are made up.

    Args:
      config, devices: as of `build`.
      steps: number of steps of the schedule of the learning rate.
    """
    config_fields.check(config)
    if datasets.entry(config.dataset).needs_preparation:
        data: Any = _opened(config)
    else:
        data = datasets.dataset(config.dataset, legend=config.legend, bands=config.bands)
    config = _with_fusion(config, data.sensors)
    sensors = [_scaled(config, sensor, _made_up(sensor)) for sensor in data.sensors]
    card = card_without_data(config, sensors, data.legend, data.tile, data.name)
    _check_together(config, card, tasks.make(config, card), data.tile, data.name)
    return build_from_card(config, card, devices=devices, steps=steps, tile=data.tile)


def card_without_data(
    config: ml_collections.ConfigDict, sensors: Sequence[Sensor], legend: Legend, tile: int, name: str
) -> cards.Card:
    """The card of a run whose records are not known: each class has one labelled pixel.

    Args:
      config: of the run.
      sensors, legend, tile, name: of the data set.
    """
    pixels = {str(land_class.id): 1 for land_class in legend.scored}
    alike: dict[str, cards.Split] = {
        "train": {"spec": "train", "records": 0, "id": "", "class_pixels": pixels, "warnings": []}
    }
    fusion = fusions.resolved(config.fusion, sensors)
    taken = fusions.sensors_of(fusion, sensors)
    return cards.Card(config.model.name, fusion, taken, legend, config.window or tile, name, alike, {})


def build_from_card(
    config: ml_collections.ConfigDict,
    card: cards.Card,
    *,
    devices: Sequence[jax.Device] | None = None,
    steps: int = 100,
    tile: int = 0,
) -> Experiment:
    """The experiment of a config whose data are known by a card alone; arguments as of `build_without_data`.

    `tile` is the size of the records in pixels; 0 is that of the card, what the network sees in evaluation.
    """
    meshes.check(config.parallel)
    length = durations.without_records(config, steps)
    return _assemble(config, None, card, tasks.make(config, card), length, devices, tile or card.tile)


def build_to_measure(config: ml_collections.ConfigDict, *, devices: Sequence[jax.Device] | None = None) -> Experiment:
    """The experiment of a config with its prepared data where all processes have them, else without."""
    config_fields.check(config)
    entry = datasets.entry(config.dataset)
    folder = on_disk.folder_of(entry.name, entry.version, paths.given(config.data_dir, "config.data_dir"))
    there = multihost.all_true((folder / "dataset_info.json").is_file())
    return build(config, devices=devices) if there else build_without_data(config, devices=devices)


def _assemble(
    config: ml_collections.ConfigDict,
    dataset: Dataset | None,
    card: cards.Card,
    task: tasks.Task,
    length: durations.RunLength,
    devices: Sequence[jax.Device] | None,
    tile: int,
) -> Experiment:
    parallel = config.parallel
    mesh = meshes.make_mesh(parallel.data, parallel.fsdp, config.batch_size, config.accumulate, devices)
    attributes = meshes.batch_norm_attributes(parallel, mesh)
    template = params.Template(task.build, config.freeze, attributes, config.freeze_statistics)
    optimizers.check_head_warmup(config, template.groups, length.head_warmup)
    optimizers.check_no_decay(config, [path for path in template.parameters if not template.is_frozen(path)])
    optimizer = optimizers.make_optimizer(config.optimizer, template.groups)
    rate = schedule.learning_rate(config.optimizer, config.batch_size, length.warmup, length.total)
    monitor = monitors.of_run(config, task)
    implementation = halves.implementation(config.attention, mesh.devices.flat[0].platform)
    return Experiment(
        config,
        dataset,
        card,
        task,
        template,
        mesh,
        optimizer,
        rate,
        length,
        monitor,
        tile,
        implementation=implementation,
    )


def make_card(config: ml_collections.ConfigDict, dataset: Dataset) -> cards.Card:
    """The card of a run of this config on this data set. Raises InputError where it lacks a sensor or a split."""
    ids = {role: dataset.source(spec).ids for role, spec in sorted(config.split.items()) if spec}
    roles: dict[str, cards.Split] = {
        role: {
            "spec": splits.absolute(config.split[role]),
            "records": len(of_role),
            "id": dataset.split_id(config.split[role]),
            "class_pixels": dataset.class_pixels(config.split[role]),
            "warnings": _warnings(config, dataset, ids, role),
        }
        for role, of_role in ids.items()
    }
    protocols.check_records(config.dataset, config.protocol, {role: of["records"] for role, of in roles.items()})
    # Of parts of splits they are summed up when they are asked for, and not before.
    statistics = dataset.band_statistics(config.split.train) if _needs_statistics(config) else {}
    if empty := [name for name, of_sensor in statistics.items() if not of_sensor["pixels"]]:
        raise InputError(
            f"split {config.split.train!r} (train) of {dataset.name} {dataset.version}: no pixel of {', '.join(empty)} "
            "holds data (all are nodata, NaN or masked), so that there is nothing to learn from; look at the images, "
            "and at the nodata value that they declare"
        )
    return cards.Card(
        model=config.model.name,
        fusion=config.fusion,
        sensors=fusions.sensors_of(
            config.fusion, [_scaled(config, sensor, statistics.get(sensor.name, {})) for sensor in dataset.sensors]
        ),
        legend=dataset.legend,
        tile=config.window or dataset.tile,
        dataset=f"{dataset.name} {dataset.version}",
        splits=roles,
        versions=cards.versions(),
        data_in_memory=dataset.in_memory,
    )


def _warnings(
    config: ml_collections.ConfigDict, dataset: Dataset, ids: dict[str, tuple[str, ...]], role: str
) -> list[str]:
    """What a reader of scores on a role of the run must know: of its records, and of those that other roles share."""
    seen = set(ids[role])
    shared = {other: len(seen & set(ids[other])) for other in ids if other != role}
    return [
        *(f"{n:,} of the {len(seen):,} records of {role} are also in {other}" for other, n in shared.items() if n),
        *dict.fromkeys(
            text for spec in (config.split.train, config.split[role]) if spec for text in dataset.warnings(spec)
        ),
        *protocols.warnings(config.dataset, config.protocol),
    ]


def _needs_statistics(config: ml_collections.ConfigDict) -> bool:
    return config.scaling in ("standardised", "whitened")


def _scaled(config: ml_collections.ConfigDict, sensor: Sensor, statistics: dict[str, Any]) -> Sensor:
    """The sensor with the scaling that the config names. Raises InputError for an unknown one."""
    if config.scaling not in SCALINGS:
        raise InputError(f"config.scaling={config.scaling!r}: expected one of {', '.join(SCALINGS)}")
    return SCALINGS[config.scaling](sensor, statistics)


def _made_up(sensor: Sensor) -> dict[str, Any]:
    """Statistics in the form of those of a split."""
    count = len(sensor.bands)
    numbers = {"mean": 0.0, "std": 1.0, "min": -1.0, "max": 1.0}
    return {name: [value] * count for name, value in numbers.items()} | {"correlation": np.eye(count).tolist()}


def local_bytes(tree: Any) -> int:
    """Bytes that one device holds of a tree of jax.ShapeDtypeStruct with shardings, without padding."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
