"""How fast a network answers: alone, and on the whole way from a scene to its map."""

import logging
import pathlib
import tempfile
import time
from collections.abc import Callable

import jax
import numpy as np

from data_pipelines.benchmark import made_up_scene
from lcjax.engine import experiment as experiments
from lcjax.engine import flops, restore
from lcjax.mapping import scene
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.ops.tiling import Tiling, strip_bytes
from lcjax.parallel import devices as places
from lcjax.parallel import multihost
from lcjax.profiling import benchmark, timing
from lcjax.runs import loggers
from lcjax.runs.model_card import Card
from lcjax.runs.timer import Timer

_log = multihost.shared_logger(__name__)

INFERENCE = "inference"
_EDGE = 1024  # pixels of the scene that is mapped to measure the way: some forty tiles
_STRIP = 256  # rows that are read at a time


def inference(config, count: int, size: tuple[int, int] | None = None) -> dict:
    """The figures of a config's network: times are of `count` batches after warm-up, then of the map of a scene.

    Args:
      config: of a segmentation; its parameters are drawn from its seed.
      count: batches that are timed.
      size: width and height in pixels of a scene whose map is to be forecast.

    Raises:
      InputError: the config's task has no classes to map.
    """
    experiment = experiments.build_to_measure(config)
    trained = untrained(experiment)
    mapper = Mapper.of_trained(trained, "made up")
    edge = experiment.card.tile
    batch = {
        name: rows
        for name, rows in experiment.synthetic_batch(1).items()
        if name in {sensor.name for sensor in experiment.card.sensors}
    }
    images = Options().batch_size * mapper.devices
    whole = {name: np.resize(rows, (images, edge, edge, rows.shape[-1])) for name, rows in batch.items()}
    start = time.perf_counter()
    jax.block_until_ready(mapper.probabilities(whole))
    compile_seconds = time.perf_counter() - start

    _log.info(f"measured {places.where()}")
    milliseconds = timing.repeated(lambda: mapper.probabilities(whole), count)
    figures = benchmark.about(config, experiment, INFERENCE, images)
    figures |= benchmark.rates(milliseconds, images, edge, mapper.devices) | {"compile_seconds": compile_seconds}
    shapes = {name: jax.ShapeDtypeStruct(rows.shape, rows.dtype) for name, rows in whole.items()}
    needed = flops.cost(_forward(trained), trained.parameters, trained.statistics, shapes).flops
    figures |= {"flops_per_image": needed / images}
    figures |= benchmark.reached(needed, figures["step_ms"]["median"] / 1e3, mapper.devices)
    figures["scene"] = _way(mapper, experiment.card)
    if size:
        figures["forecast"] = forecast(experiment.card, figures["scene"], *size)
    return figures | benchmark.peak_memory(jax.local_devices()[0])


def untrained(experiment: experiments.Experiment) -> restore.Trained:
    """The network of an experiment as its seed draws it, for what asks how fast it is."""
    parameters, statistics = experiment.random_values()
    return restore.Trained(
        experiment.config, experiment.card, 0, experiment.task, experiment.template, parameters, statistics
    )


def _forward(trained: restore.Trained) -> Callable:
    def forward(parameters: dict, statistics: dict, batch: dict) -> jax.Array:
        return trained.task.probabilities(trained.template.merge(parameters, statistics, train=False), batch)

    return forward


def _way(mapper: Mapper, card: Card) -> dict:
    """What a made-up scene takes on its way to a map, in seconds by part."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        files = {
            sensor.name: made_up_scene.write(folder / f"{sensor.name}.tif", sensor, _EDGE) for sensor in card.sensors
        }
        # Random numbers tell nothing of a processing baseline.
        offset = 0.0 if scene.has_offset(card) else None
        with scene.open_scene(card, files, offset=offset) as opened:
            start = time.perf_counter()
            for first in range(0, _EDGE, _STRIP):
                opened.read(first, min(first + _STRIP, _EDGE))
            reading = time.perf_counter() - start
            timer = Timer()
            start = time.perf_counter()
            with loggers.quiet("lcjax.mapping", logging.WARNING):  # what a map of nothing shows is of no interest
                mapper.map(opened, folder / "map.tif", timer=timer)
            total = time.perf_counter() - start
    tiles = Tiling(_EDGE, _EDGE, card.tile, Options().check(card.tile)).count
    return {
        "width": _EDGE,
        "height": _EDGE,
        "tiles": tiles,
        "seconds": {"reading_alone": reading, "tiles": timer.seconds["tiles"], "files": timer.seconds["files"]},
        "total_seconds": total,
        "megapixels_per_second": _EDGE**2 / total / 1e6,
    }


def forecast(card: Card, way: dict, width: int, height: int) -> dict:
    """What the map of another scene takes by what one took: tiles by their number, files by their pixels.

    Args:
      card: of the network.
      way: of `inference`, under "scene".
      width, height: of the other scene in pixels.
    """
    tiling = Tiling(height, width, card.tile, Options().check(card.tile))
    pixels = width * height / (way["width"] * way["height"])
    spent = way["seconds"]
    rest = way["total_seconds"] - spent["tiles"]
    seconds = {"tiles": spent["tiles"] / way["tiles"] * tiling.count, "files": rest * pixels}
    dtypes = [sensor.dtype for sensor in card.sensors for _ in sensor.bands]
    return {
        "kind": "forecast from a measured scene",
        "width": width,
        "height": height,
        "tiles": tiling.count,
        "seconds": seconds,
        "total_seconds": sum(seconds.values()),
        "strip_bytes": strip_bytes(tiling, dtypes, len(card.legend.scored)),
    }
