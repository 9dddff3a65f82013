"""Evaluation sums: of one batch on the devices, and of a whole split."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh, NamedSharding

from data_pipelines.reading import loader
from data_pipelines.reading.interfaces import Source
from data_pipelines.schema import progress
from lcjax.models.params import Flat, Template
from lcjax.parallel import mesh as meshes
from lcjax.tasks import Rows, Task
from lcjax.tasks.task import MapCounts

_MOMENT = 3.0  # seconds


def evaluation_step(task: Task, template: Template) -> jax.stages.Wrapped:
    """The jitted function (parameters, statistics, batch) -> evaluation sums, on every device."""

    def count(parameters: Flat, statistics: Flat, batch: dict[str, Any]) -> dict[str, Any]:
        sums = task.eval_step(template.merge(parameters, statistics, train=False), batch)
        replicated: dict[str, Any] = jax.tree.map(meshes.replicate, sums)
        return replicated

    return jax.jit(count)


def evaluation_batch(config: ml_collections.ConfigDict, devices: int) -> int:
    """The evaluation batch of a config, rounded up to the devices."""
    return devices * math.ceil(int(config.evaluation_batch_size) / devices)


def evaluation_batches(source: Source, batch_size: int, keys: Sequence[str], threads: int) -> Iterator[dict[str, Any]]:
    """This process's part of every record of a source, once (loader.eval_batches)."""
    return loader.eval_batches(
        source,
        batch_size=batch_size,
        keys=keys,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=threads,
    )


def shown(batches: Iterator[dict[str, Any]], records: int, batch_size: int) -> Iterator[dict[str, Any]]:
    """The batches of so many records, with a bar where they take more than a moment; process 0 alone shows it."""
    return iter(
        progress.bar(
            batches,
            total=math.ceil(records / batch_size),
            desc="evaluate",
            unit=" batches",
            delay=_MOMENT,
            disable=jax.process_index() > 0,
        )
    )


def record_step(task: Task, template: Template, further: MapCounts | None = None) -> jax.stages.Wrapped:
    """The jitted function (parameters, statistics, batch) -> sums of each example, and its "place", on every device.

    Args:
      task: whose `record_sums` they are.
      template: of the network.
      further: what else is counted of the maps, where there is any.
    """

    def count(parameters: Flat, statistics: Flat, batch: dict[str, Any]) -> dict[str, Any]:
        of_network = {name: value for name, value in batch.items() if name != "place"}
        model = template.merge(parameters, statistics, train=False)
        sums = task.record_sums(model, of_network, further) if further else task.record_sums(model, of_network)
        replicated: dict[str, Any] = jax.tree.map(meshes.replicate, sums | {"place": batch["place"]})
        return replicated

    return jax.jit(count)


def sum_over_batches(
    count: Callable[..., dict[str, Any]],
    parameters: Flat,
    statistics: Flat,
    batches: Iterable[dict[str, Any]],
    sharding: NamedSharding,
) -> dict[str, Any]:
    """Sums over all batches, in int64 or float64, and joined `Rows`; each batch is fetched while the next one runs."""
    total: dict[str, Any] = {}
    for sums in _counted(count, parameters, statistics, batches, sharding):
        total = {key: _joined(total.get(key), value) for key, value in sums.items()}
    return total


def _joined(total: Any, value: Any) -> Any:
    if isinstance(value, Rows):
        return value if total is None else Rows(np.concatenate([total.values, value.values]))
    return (0 if total is None else total) + np.asarray(value, np.result_type(value, np.int64))


def sums_of_records(
    count: Callable[..., dict[str, Any]],
    parameters: Flat,
    statistics: Flat,
    batches: Iterable[dict[str, Any]],
    sharding: NamedSharding,
    records: int,
    on_host: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = lambda sums: sums,
) -> dict[str, np.ndarray]:
    """The sums of each record by `record_step`, (records, ...) in their order, in every process.

    Args:
      batches: of `evaluation_batches`, with nothing before or after them.
      records: how many there are; what fills the last batch is none.
      on_host: what is made of the sums of a batch once they are fetched.
    """
    # Of several processes, which examples lie where in the global batch depends on the order of the devices.
    chunks = [on_host(sums) for sums in _counted(count, parameters, statistics, placed(batches), sharding)]
    order = np.argsort(np.concatenate([chunk["place"] for chunk in chunks]))[:records]
    return {key: np.concatenate([chunk[key] for chunk in chunks])[order] for key in chunks[0] if key != "place"}


def placed(batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The batches of this process, with the place of each example in the source."""
    for number, batch in enumerate(batches):
        local = len(batch["valid"])
        first = (number * jax.process_count() + jax.process_index()) * local
        yield batch | {"place": np.arange(first, first + local, dtype=np.int32)}


def _counted(
    count: Callable[..., dict[str, Any]],
    parameters: Flat,
    statistics: Flat,
    batches: Iterable[dict[str, Any]],
    sharding: NamedSharding,
) -> Iterator[dict[str, np.ndarray]]:
    """What `count` returns of each batch; each is fetched while the next one runs."""
    mesh = cast(Mesh, sharding.mesh)
    running: dict[str, Any] = {}
    for batch in batches:
        arrays = meshes.global_batch({key: value for key, value in batch.items() if key != "ids"}, sharding)
        with jax.set_mesh(mesh):
            previous, running = running, count(parameters, statistics, arrays)
        if previous:
            yield jax.device_get(previous)
    if running:
        yield jax.device_get(running)
