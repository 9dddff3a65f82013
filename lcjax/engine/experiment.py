"""A config without its data: its training step and what goes in, to measure (`benchmark`) or compile (`forecast`)."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_pipelines.datasets import registry as datasets
from data_pipelines.reading import loader
from data_pipelines.reading.dataset import open_dataset
from lcjax import tasks
from lcjax.engine import flops, steps
from lcjax.engine import optimizer as optimizers
from lcjax.models import params
from lcjax.parallel import mesh as meshes
from lcjax.runs import model_card as cards
from lcjax.tasks import fusion as fusions


@dataclasses.dataclass(frozen=True)
class Trial:
    """What a run makes of a config before it reads a record.

    Attributes:
      data: the data set, published or prepared.
    """

    config: ConfigDict
    data: Any
    card: cards.Card
    task: tasks.Task
    template: params.Template
    optimizer: optax.GradientTransformation
    rate: optimizers.LearningRate

    def step(self):
        """The step function (state, batch) -> (state, metrics) of lcjax/engine/steps.py."""
        return steps.train_step(
            self.task, self.template, self.optimizer, self.rate, self.config.seed, self.config.accumulate
        )

    def state(self, mesh) -> steps.State:
        """The state that step 0 begins with."""
        shapes = (self.template.parameters, self.template.statistics)
        values, statistics = (params.init_params(shape, self.config.seed) for shape in shapes)
        return steps.initial_state(self.template, values, statistics, self.optimizer, mesh)

    def batch(self, size: int) -> dict[str, np.ndarray]:
        """Random integers of the published tile size."""
        generator = np.random.default_rng(self.config.seed)
        edge = loader.host_size(self.card.tile, self.config.crop)
        shape = (size, edge, edge)
        ids = [land_class.id for land_class in self.card.legend.scored]
        batch = {
            sensor.name: generator.integers(0, 2000, (*shape, len(sensor.bands))).astype(sensor.dtype)
            for sensor in self.card.sensors
        }
        batch["label"] = generator.choice(np.array(ids, np.uint8), shape)
        for vector in datasets.vectors(self.config.dataset):
            batch[vector.name] = np.full((size, len(vector.numbers)), np.nan)
        drawn = {"example": np.arange(size, dtype=np.uint32), "corner": np.zeros((size, 2), np.int32)}
        return {key: batch[key] for key in self.task.keys} | drawn

    def shapes(self, mesh) -> tuple[steps.State, dict]:
        """State and global batch as jax.ShapeDtypeStruct, each where it lies on the mesh."""
        batch = {
            key: jax.ShapeDtypeStruct((self.config.batch_size, *value.shape[1:]), value.dtype)
            for key, value in self.batch(1).items()
        }
        spread = meshes.with_shardings(batch, dict.fromkeys(batch, meshes.batch_sharding(mesh)))
        return steps.state_shapes(self.template, self.optimizer, mesh), spread


def make(config, mesh: Mesh | None = None, updates: int = 100) -> Trial:
    """The trial of a config, for a mesh; None where only sizes are asked for.

    Args:
      updates: how long the run would be that the learning rate is of.
    """
    # A published data set need not be there; own imagery is known by what was prepared alone.
    own = datasets.is_rasters(config.dataset)
    data = (
        open_dataset(config.data_dir, config.dataset, legend=config.legend, bands=config.bands)
        if own
        else datasets.dataset(config.dataset, legend=config.legend, bands=config.bands)
    )
    sensors = fusions.sensors_of(config.fusion, data.sensors)
    alike = {"train": {"class_pixels": {str(land_class.id): 1 for land_class in data.legend.scored}}}
    card = cards.Card(config.model.name, config.fusion, sensors, data.legend, data.tile, data.name, alike, {})
    task = tasks.make(config, card)
    normalisation = meshes.batch_norm_attributes(config.parallel, mesh) if mesh else {}
    template = params.Template(task.build, config.freeze, normalisation)
    optimizer = optimizers.make_optimizer(config.optimizer)
    rate = optimizers.learning_rate(config.optimizer, config.batch_size, 0, updates)
    return Trial(config, data, card, task, template, optimizer, rate)


def needed_flops(trial: Trial, state: steps.State, batch: dict) -> int:
    """What one step of the whole mesh needs, without what config.remat computes again."""
    plain = trial.config.copy_and_resolve_references()
    plain.remat, plain.accumulate = False, 1
    return flops.cost(make(plain).step(), state, batch).flops


def local_bytes(tree) -> int:
    """Bytes that one device holds of a tree of jax.ShapeDtypeStruct with shardings, without padding."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
