"""How fast a config trains on this machine, and what it costs."""

import contextlib
import math
import time

import jax
import numpy as np

from lcjax.engine import attention
from lcjax.engine import experiment as experiments
from lcjax.engine.state import State
from lcjax.parallel import devices, multihost
from lcjax.profiling import topologies

_log = multihost.shared_logger(__name__)

_WARMUP = 3  # steps that are not counted


def benchmark(config, count: int) -> dict:
    """The figures of one config: times are of `count` steps after warm-up."""
    experiment = attention.settled(experiments.build_to_measure(config))
    state = experiment.initial_state(*experiment.random_values())
    batch = experiment.global_batch(experiment.synthetic_batch(config.batch_size // jax.process_count()))
    start = time.perf_counter()
    compiled = experiment.compile(state, batch)
    compile_seconds = time.perf_counter() - start
    multihost.barrier("step compiled")

    _log.info(f"measured {devices.where()}")
    milliseconds, state = _timed(compiled, state, batch, count)
    median = float(np.median(milliseconds))
    mesh, device = experiment.mesh, jax.local_devices()[0]
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
    needed = experiment.needed_flops()
    figures["flops_per_image"] = needed / config.batch_size
    if chip := topologies.chip(device.device_kind):
        figures["mfu"] = needed / (median / 1e3) / (chip.flops * mesh.size)
    # The compiler counts for one device, and of the parts of a batch one: it sees a loop's body once.
    figures |= _compiled_figures(compiled, config.batch_size / mesh.size / config.accumulate, device)
    if experiment.dataset is not None:
        figures["data_wait_share"] = _data_wait(experiment, compiled, state, count, median / 1e3)
    return figures


def _timed(compiled, state, batch: dict, count: int) -> tuple[np.ndarray, State]:
    """Milliseconds of each step after warm-up, and the state after the last."""
    seconds = []
    for _ in range(_WARMUP + count):
        start = time.perf_counter()
        state, metrics = compiled(state, batch)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    return 1e3 * np.array(seconds[_WARMUP:]), state


def _compiled_figures(compiled: jax.stages.Compiled, images: float, device: jax.Device) -> dict:
    """What the compiler tells of the step of `images` images on one device."""
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    figures: dict = {}
    if cost.get("flops", 0) > 0:
        figures = {
            "compiler_flops_per_image": cost["flops"] / images,
            "bytes_per_image": cost.get("bytes accessed", 0) / images,
        }
    if memory:
        figures["memory_bytes"] = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        if capacity := (device.memory_stats() or {}).get("bytes_limit"):
            figures |= {"memory_capacity": capacity, "fits": figures["memory_bytes"] <= capacity}
    return figures


def _data_wait(experiment: experiments.Experiment, compiled, state: State, count: int, seconds: float) -> float:
    """The share of the loop's time, with the real loader, that is not the step's own `seconds`."""
    batches = experiment.train_batches(position=0)
    with contextlib.closing(batches):
        batch = experiment.global_batch(next(batches))
        start = time.perf_counter()
        for _ in range(count):
            state, metrics = compiled(state, batch)
            batch = experiment.global_batch(next(batches))
            jax.block_until_ready(metrics)
        return max(0.0, 1 - count * seconds / (time.perf_counter() - start))


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent))
