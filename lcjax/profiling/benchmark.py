"""How fast a config trains on this machine, and what it costs."""

import contextlib
import math
import resource
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from data_pipelines.schema.errors import InputError
from lcjax.engine import attention
from lcjax.engine import experiment as experiments
from lcjax.engine.state import State
from lcjax.models.registry import DTYPES
from lcjax.parallel import devices as places
from lcjax.parallel import multihost
from lcjax.profiling import hlo, roofline, timing, topologies

_log = multihost.shared_logger(__name__)

TRAINING = "training step"


def benchmark(config, count: int, devices: Sequence[jax.Device] | None = None) -> dict:
    """The figures of one config: times are of `count` steps after warm-up.

    Args:
      config: of the run.
      count: steps that are timed.
      devices: that take part; None for all.
    """
    experiment = attention.settled(experiments.build_to_measure(config, devices=devices))
    state = experiment.initial_state(*experiment.random_values())
    batch = experiment.global_batch(experiment.synthetic_batch(config.batch_size // jax.process_count()))
    start = time.perf_counter()
    lowered = experiment.lower(state, batch)
    trace_seconds = time.perf_counter() - start
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - start
    multihost.barrier("step compiled")

    _log.info(f"measured {places.where()}")
    held = _Held(state)
    milliseconds = timing.repeated(lambda: held.step(compiled, batch), count)
    edge = config.crop or experiment.tile
    figures = about(config, experiment, TRAINING, config.batch_size) | rates(
        milliseconds, config.batch_size, edge, experiment.mesh.size
    )
    figures |= {"compile_seconds": compile_seconds, "trace_seconds": trace_seconds}
    needed = experiment.needed_flops()
    figures["flops_per_image"] = needed / config.batch_size
    figures |= reached(needed, figures["step_ms"]["median"] / 1e3, experiment.mesh.size)
    # The compiler counts for one device, and of the parts of a batch one: it sees a loop's body once.
    images = config.batch_size / experiment.mesh.size / config.accumulate
    figures |= _compiled_figures(compiled, images, jax.local_devices()[0])
    figures |= _roof(figures, jnp.dtype(DTYPES[config.precision]).name)
    if experiment.dataset is not None:
        figures |= _loading(experiment, compiled, held, count, figures["step_ms"]["median"] / 1e3)
    return figures | peak_memory(jax.local_devices()[0])


class _Held:
    """The state, which a step takes and gives back, and its metrics."""

    def __init__(self, state: State):
        self.state = state

    def step(self, compiled: jax.stages.Compiled, batch: dict[str, Any]) -> dict[str, Any]:
        """Takes a step, and returns what it tells of itself."""
        self.state, metrics = compiled(self.state, batch)
        return metrics


def about(config, experiment: experiments.Experiment, what: str, images: int) -> dict:
    """What is measured, by how many images at once, and where."""
    device = jax.local_devices()[0]
    return {
        "what": what,
        "device": f"{experiment.mesh.size} x {device.device_kind}",
        "devices": experiment.mesh.size,
        "jax": jax.__version__,
        "model": config.model.name,
        "task": config.task,
        "precision": config.precision,
        "batch_size": images,
        "parameters": int(sum(math.prod(leaf.shape) for leaf in experiment.template.parameters.values())),
    }


def rates(milliseconds: Sequence[float], images: int, edge: int, devices: int) -> dict:
    """What the times of a call tell that takes so many images of `edge` pixels; warns where they vary too much."""
    times = timing.summary(milliseconds)
    if warning := timing.noise(times):
        _log.warning(warning)
    rate = images / times["median"] * 1e3
    return {
        "images_per_second": rate,
        "images_per_second_per_device": rate / devices,
        "megapixels_per_second": rate * edge**2 / 1e6,
        "step_ms": times,
        "noisy": bool(warning),
    }


def reached(flops: int, seconds: float, devices: int) -> dict:
    """FLOP/s of a call that needs so many, and the share of the devices' peak where that is known."""
    found = {"flops_per_second": flops / seconds}
    if chip := topologies.chip(jax.local_devices()[0].device_kind):
        found["mfu"] = flops / seconds / (chip.flops * devices)
    return found


def _roof(figures: dict, dtype: str) -> dict:
    """How near the program comes to what the devices could do with its FLOPs and bytes; nothing of unknown bytes."""
    moved = figures.get("traffic_bytes_per_image", figures.get("bytes_per_image"))
    if not moved:
        return {}
    peaks = roofline.peaks(jax.local_devices()[0], figures["devices"], dtype)
    images, seconds = figures["batch_size"], figures["step_ms"]["median"] / 1e3
    bound = peaks.bound(figures["flops_per_image"] * images, moved * images)
    return {
        "roofline": {
            "peak_flops": peaks.flops,
            "bandwidth": peaks.bandwidth,
            "peaks": peaks.source,
            "flops_per_byte": figures["flops_per_image"] / moved,
            "bound_ms": 1e3 * bound,
            "share": bound / seconds,
        }
    }


def _compiled_figures(compiled: jax.stages.Compiled, images: float, device: jax.Device) -> dict:
    """What the compiler tells of the program for `images` images on one device."""
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    figures: dict = {}
    if cost.get("flops", 0) > 0:
        figures = {
            "compiler_flops_per_image": cost["flops"] / images,
            "bytes_per_image": cost.get("bytes accessed", 0) / images,
        }
    if device.platform == "tpu" and (text := compiled.as_text()):  # the only text whose memories are told apart
        figures["traffic_bytes_per_image"] = hlo.HloModule(text).memory_bytes() / images
    if memory:
        figures["memory_bytes"] = memory.temp_size_in_bytes + memory.argument_size_in_bytes
        if capacity := (device.memory_stats() or {}).get("bytes_limit"):
            figures |= {"memory_capacity": capacity, "fits": figures["memory_bytes"] <= capacity}
    return figures


def peak_memory(device: jax.Device) -> dict:
    """The most that was held at once: on the device where it tells, and by this process."""
    held = (device.memory_stats() or {}).get("peak_bytes_in_use")
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return ({"peak_device_bytes": held} if held else {}) | {"peak_process_bytes": resident}


def _loading(
    experiment: experiments.Experiment, compiled: jax.stages.Compiled, held: _Held, count: int, seconds: float
) -> dict:
    """The loader's own rate, and the share of the loop's time, with the loader, that is not the step's `seconds`."""
    with contextlib.closing(experiment.train_batches(position=0)) as batches:
        next(batches)
        start = time.perf_counter()
        for _ in range(count):
            next(batches)
        alone = count / (time.perf_counter() - start)
        batch = experiment.global_batch(next(batches))
        start = time.perf_counter()
        for _ in range(count):
            metrics = held.step(compiled, batch)
            batch = experiment.global_batch(next(batches))
            jax.block_until_ready(metrics)
        share = max(0.0, 1 - count * seconds / (time.perf_counter() - start))
    return {"input_images_per_second": alone * experiment.config.batch_size, "data_wait_share": share}


def scaling(config, count: int, counts: Sequence[int]) -> dict:
    """The training step on some of the devices after another: as many images on each of them.

    Args:
      config: its batch is that of the largest number of devices.
      count: steps that are timed.
      counts: numbers of devices.

    Raises:
      InputError: there are not so many devices, the batch cannot be divided, or there are several processes.
    """
    if jax.process_count() > 1:
        raise InputError("--devices: of one process alone; start the same command on more hosts to measure more")
    there, most = jax.devices(), max(counts)
    if most > len(there):
        more = f"; JAX_NUM_CPU_DEVICES={most} makes as many" if there[0].platform == "cpu" else ""
        raise InputError(f"--devices: {most} are asked for, and there are {len(there)} ({there[0].device_kind}){more}")
    if config.batch_size % most:
        raise InputError(f"config.batch_size={config.batch_size}: expected a multiple of the {most} devices")
    rows = []
    for number in sorted(counts):
        part = config.copy_and_resolve_references()
        part.batch_size, part.parallel.data = config.batch_size // most * number, -1
        rows.append(benchmark(part, count, there[:number]))
    first = rows[0]["images_per_second"] / rows[0]["devices"]
    for row in rows:
        row["efficiency"] = row["images_per_second"] / row["devices"] / first
    return {"what": "scaling", "rows": rows}
