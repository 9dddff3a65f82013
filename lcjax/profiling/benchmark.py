"""`lcjax benchmark`: how fast a config trains on this machine, and what it costs; what every network costs anywhere."""

import math
import pathlib
import time

import jax
import numpy as np

from data_pipelines.reading import loader
from data_pipelines.reading.dataset import open_dataset
from lcjax.engine import experiment as experiments
from lcjax.engine import steps
from lcjax.parallel import mesh as meshes
from lcjax.parallel import multihost
from lcjax.profiling import topologies

_WARMUP = 3  # steps that are not counted


def benchmark(config, count: int) -> dict:
    """The figures of one config: times are of `count` steps after warm-up."""
    meshes.check(config.parallel)
    mesh = meshes.make_mesh(config.parallel.data, config.parallel.fsdp, config.batch_size, config.accumulate)
    experiment = experiments.make(config, mesh, count)
    task, data = experiment.task, experiment.data
    state = experiment.state(mesh)
    sharding, by_device = meshes.batch_sharding(mesh), config.parallel.mode == "pmap"
    local = experiment.batch(config.batch_size // jax.process_count())
    batch = meshes.global_batch(local, sharding, by_device=by_device)

    start = time.perf_counter()
    compiled = steps.compile_train_step(experiment.step(), state, batch, config.parallel.mode)
    compile_seconds = time.perf_counter() - start
    multihost.barrier("step compiled")

    seconds = []
    for _ in range(_WARMUP + count):
        start = time.perf_counter()
        state, metrics = compiled(state, batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    milliseconds = 1e3 * np.array(seconds[_WARMUP:])
    median = float(np.median(milliseconds))

    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    # The compiler counts for one device, and of the parts of a batch one: it sees a loop's body once.
    images = config.batch_size / mesh.size / config.accumulate
    device = jax.local_devices()[0]
    figures = {
        "device": f"{mesh.size} x {device.device_kind}",
        "jax": jax.__version__,
        "model": config.model.name,
        "precision": config.precision,
        "batch_size": config.batch_size,
        "parameters": int(sum(math.prod(leaf.shape) for leaf in experiment.template.parameters.values())),
        "images_per_second": config.batch_size / median * 1e3,
        "step_ms": {"median": median, "p10": _percentile(milliseconds, 10), "p90": _percentile(milliseconds, 90)},
        "compile_seconds": compile_seconds,
    }
    needed = experiments.needed_flops(experiment, *experiment.shapes(mesh))
    figures["flops_per_image"] = needed / config.batch_size
    chip = topologies.chip(device.device_kind)
    if chip:
        figures["mfu"] = needed / (median / 1e3) / (chip.flops * mesh.size)
    if cost.get("flops", 0) > 0:
        figures |= {
            "compiler_flops_per_image": cost["flops"] / images,
            "bytes_per_image": cost.get("bytes accessed", 0) / images,
        }
    if memory:
        figures["memory_bytes"] = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        capacity = (device.memory_stats() or {}).get("bytes_limit")
        if capacity:
            figures |= {"memory_capacity": capacity, "fits": figures["memory_bytes"] <= capacity}
    prepared = pathlib.Path(config.data_dir) / data.name / data.version / "dataset_info.json"
    if multihost.all_true(prepared.is_file()):
        figures["data_wait_share"] = _data_wait(config, task, compiled, state, sharding, count, median / 1e3)
    return figures


def _data_wait(config, task, compiled, state, sharding, count: int, seconds: float) -> float:
    """The share of the loop's time, with the real loader, that is not the step's own `seconds`."""
    source = open_dataset(config.data_dir, config.dataset, legend=config.legend, bands=config.bands).source(
        config.split.train
    )
    batches = loader.train_batches(
        source,
        batch_size=config.batch_size,
        seed=config.seed,
        position=0,
        keys=task.keys,
        crop=config.crop,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        threads=config.threads,
        workers=config.workers,
    )
    by_device = config.parallel.mode == "pmap"
    batch = meshes.global_batch(next(batches), sharding, by_device=by_device)
    start = time.perf_counter()
    for _ in range(count):
        state, metrics = compiled(state, batch)
        batch = meshes.global_batch(next(batches), sharding, by_device=by_device)
        jax.block_until_ready(metrics)
    return max(0.0, 1 - count * seconds / (time.perf_counter() - start))


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent))
