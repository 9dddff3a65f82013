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


def numbered(batches: Iterable[dict[str, Any]], batch_size: int) -> Iterator[dict[str, Any]]:
    """Adds "place" to the batches of `evaluation_batches`, (b,) int32: which record each example is.

    Of several processes, which examples lie where in the global batch depends on the order of the devices. What fills
    up the last batch has the places after the last record.
    """
    local = batch_size // jax.process_count()
    for number, batch in enumerate(batches):
        first = number * batch_size + jax.process_index() * local
        yield batch | {"place": np.arange(first, first + local, dtype=np.int32)}


def shown(batches: Iterator[dict[str, Any]], records: int, batch_size: int) -> Iterator[dict[str, Any]]:
    """The batches of so many records, with a bar where they take more than a moment; process 0 alone shows it."""
    return iter(
        progress.bar(
            batches,
            total=math.ceil(records / batch_size),
            desc="evaluate",
            unit="batch",
            delay=_MOMENT,
            disable=jax.process_index() > 0,
        )
    )


def sum_over_batches(
    count: Callable[..., dict[str, Any]],
    parameters: Flat,
    statistics: Flat,
    batches: Iterable[dict[str, Any]],
    sharding: NamedSharding,
) -> dict[str, Any]:
    """Sums over all batches, in int64 or float64, and joined `Rows`; each batch is fetched while the next one runs."""
    total: dict[str, Any] = {}
    running = None
    mesh = cast(Mesh, sharding.mesh)
    for batch in batches:
        arrays = meshes.global_batch({key: value for key, value in batch.items() if key != "ids"}, sharding)
        with jax.set_mesh(mesh):
            previous, running = running, count(parameters, statistics, arrays)
        total = _add(total, previous)
    return _add(total, running)


def _add(total: dict[str, Any], sums: dict[str, Any] | None) -> dict[str, Any]:
    if sums is None:
        return total
    return {key: _joined(total.get(key), value) for key, value in jax.device_get(sums).items()}


def _joined(total: Any, value: Any) -> Any:
    if isinstance(value, Rows):
        return value if total is None else Rows(np.concatenate([total.values, value.values]))
    return (0 if total is None else total) + np.asarray(value, np.result_type(value, np.int64))
