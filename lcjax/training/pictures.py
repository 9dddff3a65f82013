"""Pictures of an evaluation, for trackers (config.tracked_images): tiles with truth and map, the confusion matrix."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from data_pipelines.schema import display
from lcjax.engine.experiment import Experiment
from lcjax.models.params import Flat
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost
from lcjax.training.trackers.interface import Picture

_log = multihost.shared_logger(__name__)

Pictures = Callable[[Flat, Flat, Mapping[str, Any]], list[Picture]]


def make(experiment: Experiment) -> Pictures | None:
    """A function (parameters, statistics, evaluation sums) -> the pictures of an evaluation; None where none is asked.

    All processes call it. It computes the maps; the figures are drawn by whoever asks them for their bytes.
    """
    count = experiment.config.tracked_images
    if not count:
        return None
    if not experiment.task.can_map or experiment.validation_source is None:
        _log.warning(
            f"config.tracked_images={count} does nothing: it needs a run that maps, and a config.split.validation"
        )
        return None
    mapped = _mapped(experiment, count)

    def of_evaluation(parameters: Flat, statistics: Flat, sums: Mapping[str, Any]) -> list[Picture]:
        matrix, names = np.array(sums["confusion"]), experiment.task.names
        return [
            Picture("validation/confusion", lambda: _figures().confusion(matrix, names)),
            Picture("validation/tiles", mapped(parameters, statistics)),
        ]

    return of_evaluation


def _figures() -> Any:
    from lcjax.plotting import figures  # here, because matplotlib stands behind it

    return figures


def _mapped(experiment: Experiment, count: int) -> Callable[[Flat, Flat], Callable[[], bytes]]:
    """A function (parameters, statistics) -> what draws the same few tiles of the validation split each time."""
    task, mesh, source = experiment.task, experiment.mesh, experiment.validation_source
    assert source is not None
    records = [source[index] for index in display.chosen_samples(len(source), count)]
    # A whole number for each device; what fills it up is thrown away.
    filled = [records[place % len(records)] for place in range(mesh.size * math.ceil(len(records) / mesh.size))]
    batch = {key: np.stack([record[key] for record in filled]) for key in task.keys if key != "label"}
    given = {key: meshes.place(value, experiment.batch_sharding) for key, value in batch.items()}

    def answer(parameters: Flat, statistics: Flat, batch: dict[str, Any]) -> jax.Array:
        model = experiment.template.merge(parameters, statistics, train=False)
        return task.probabilities(model, batch).argmax(axis=-1)

    compiled = jax.jit(answer, out_shardings=NamedSharding(mesh, PartitionSpec()))
    # Read already: the figure is drawn in another thread, which leaves the records alone.
    sensor = experiment.card.sensors[-1]
    images = np.stack([display.rgb(sensor, record[sensor.name]) for record in records])
    truth = np.stack([record["label"] for record in records])
    names = [str(record["id"]) for record in records]
    legend = experiment.card.legend
    classes = [(one.id, one.name, one.colour) for one in legend.scored]

    def of_network(parameters: Flat, statistics: Flat) -> Callable[[], bytes]:
        with jax.set_mesh(mesh):
            found = jax.device_get(compiled(parameters, statistics, given))[: len(records)]
        labels = {"truth": truth, "map": legend.id_of_index()[found]}
        return functools.partial(_figures().samples, names, images, labels, classes)

    return of_network
