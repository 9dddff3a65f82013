"""`lcjax benchmark`: how fast a config trains on this machine, and what it costs; what every network costs anywhere."""

import json
import math
import pathlib
import tempfile
import time

import jax
import numpy as np
from tqdm import tqdm

from data_pipelines import datasets, loader
from data_pipelines.errors import InputError
from data_pipelines.files import write_atomically
from data_pipelines.prepared import open_dataset
from lcjax import card as cards
from lcjax import catalogue, flops, optim, parameters, steps, streams, tasks
from lcjax.parallel import mesh as meshes

HELP = """Measures the compiled training step of a config on the devices of this machine.

  lcjax benchmark --config=configs/dfc2020.py:model=swin_unet --steps=20 --json=swin_unet.json
  lcjax benchmark --config=configs/dfc2020.py:model=unet,data=sample,tiny=true --config.data_dir=build/demo/data
  lcjax benchmark --list --json=networks.json
  lcjax benchmark --input --json=input.json

Batches are random integers of the published tile size, already on the device: the step alone is timed. Where
config.data_dir holds the prepared data set, the same number of steps is run once more with the loader, and
data_wait_share says what part of that time the step waited for data. flops_per_image is what the network needs for
forward and backward pass, counted in the program before it is compiled, without what config.remat computes again
(lcjax/flops.py). mfu is its share of the device's dense bf16 peak, and stands only where that is known.
compiler_flops_per_image is the compiler's count of what it made; library calls hide from it.

--list measures nothing: it prints parameters and multiply-accumulates (GMACs) of every network in every size for an
image with both Sentinel sensors and for an aerial one, and which multiple the edges of images are padded to. With
--tiny the sizes for tests and demonstrations are listed, too. It takes about half a minute.

--input measures reading instead, and needs neither config nor accelerator: synthetic records like those of SEN12MS and
FLAIR-1 from shards, from shards otherwise compressed, and from GeoTIFFs with rasterio, in one run, in a temporary
folder (about 25 MB a record). docs/input_speed.md says what the figures mean."""

# Dense bf16 FLOP/s of one device, from the vendors' data sheets, by a part of the name that JAX gives it.
_PEAKS = {
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}
_WARMUP = 3  # steps that are not counted


def define_flags(flags) -> None:
    """The flags of the verb."""
    from ml_collections import config_flags

    config_flags.DEFINE_config_file("config", None, "Config file and its arguments: configs/FILE.py:key=value,...")
    flags.DEFINE_integer("steps", 20, "Steps that are timed.", lower_bound=1)
    flags.DEFINE_bool("list", False, "List parameters and multiply-accumulates of every network, instead of a config.")
    flags.DEFINE_bool("tiny", False, "With --list: the tiny sizes, too.")
    flags.DEFINE_bool("input", False, "Measure how fast records are read, instead of a config.")
    flags.DEFINE_integer("records", 64, "With --input: records of each kind.", lower_bound=1)
    flags.DEFINE_string("json", None, "File for the figures; they are printed in any case.")


def run(flags) -> None:
    """Runs the verb."""
    if (flags.config is not None) + flags.list + flags.input != 1:
        raise InputError(
            "benchmark needs --config, e.g. --config=configs/dfc2020.py:model=unet, or --list or --input, one of them"
        )
    if flags.tiny and not flags.list:
        raise InputError("--tiny goes with --list; a config is made tiny by --config=configs/dfc2020.py:tiny=true")
    if flags.list:
        found = catalogue.rows(tqdm(catalogue.networks(flags.tiny), desc="networks", unit="network", leave=False))
        text = json.dumps(found, indent=1)
        print(catalogue.table(found))
    elif flags.input:
        from data_pipelines import throughput  # here, because GeoTIFFs are written for it

        with tempfile.TemporaryDirectory() as folder:
            figures = throughput.measure(pathlib.Path(folder), records=flags.records)
        text = json.dumps(figures, indent=1)
        print(throughput.table(figures))
    else:
        text = json.dumps(benchmark(flags.config, flags.steps), indent=1)
        print(text)
    if flags.json:
        path = pathlib.Path(flags.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)


def benchmark(config, count: int) -> dict:
    """The figures of one config: times are of `count` steps after warm-up."""
    # A published data set need not be there; own imagery is known by what was prepared alone.
    own = datasets.is_rasters(config.dataset)
    data = (
        open_dataset(config.data_dir, config.dataset, legend=config.legend, bands=config.bands)
        if own
        else datasets.dataset(config.dataset, legend=config.legend, bands=config.bands)
    )
    sensors = streams.sensors_of(config.fusion, data.sensors)
    alike = {"train": {"class_pixels": {str(land_class.id): 1 for land_class in data.legend.scored}}}
    card = cards.Card(config.model.name, config.fusion, sensors, data.legend, data.tile, data.name, alike, {})
    task = tasks.make(config, card)
    mesh = meshes.make(config.parallel.data, config.parallel.fsdp, config.batch_size, config.accumulate)
    template = parameters.Template(task.build, config.freeze)
    optimizer = optim.transformation(config.optimizer)
    rate = optim.learning_rate(config.optimizer, config.batch_size, 0, count)
    values = parameters.initial(template.parameters, config.seed)
    statistics = parameters.initial(template.statistics, config.seed)
    state = steps.initial_state(template, values, statistics, optimizer, mesh)
    sharding = meshes.batch_sharding(mesh)
    batch = meshes.global_batch(_random_batch(task.keys, card, config), sharding)

    start = time.perf_counter()
    step = steps.train_step(task, template, optimizer, rate, config.seed, config.accumulate)
    compiled = steps.compile_train_step(step, state, batch)
    compile_seconds = time.perf_counter() - start

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
    device = jax.devices()[0]
    figures = {
        "device": f"{mesh.size} x {device.device_kind}",
        "jax": jax.__version__,
        "model": config.model.name,
        "precision": config.precision,
        "batch_size": config.batch_size,
        "parameters": int(sum(math.prod(leaf.shape) for leaf in template.parameters.values())),
        "images_per_second": config.batch_size / median * 1e3,
        "step_ms": {"median": median, "p10": _percentile(milliseconds, 10), "p90": _percentile(milliseconds, 90)},
        "compile_seconds": compile_seconds,
    }
    needed = _step_flops(config, card, optimizer, rate, state, batch)
    figures["flops_per_image"] = needed / config.batch_size
    peak = next((peak for name, peak in _PEAKS.items() if name in device.device_kind), None)
    if peak:
        figures["mfu"] = needed / (median / 1e3) / (peak * mesh.size)
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
    if (pathlib.Path(config.data_dir) / data.name / data.version / "dataset_info.json").is_file():
        figures["data_wait_share"] = _data_wait(config, task, compiled, state, sharding, count, median / 1e3)
    return figures


def _step_flops(config, card: cards.Card, optimizer, rate, state: steps.State, batch: dict) -> int:
    """What one step of the whole mesh needs, without what config.remat computes again."""
    plain = config.copy_and_resolve_references()
    plain.remat = False
    task = tasks.make(plain, card)
    template = parameters.Template(task.build, config.freeze)
    return flops.cost(steps.train_step(task, template, optimizer, rate, config.seed), state, batch).flops


def _random_batch(keys: tuple[str, ...], card: cards.Card, config) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(config.seed)
    edge = loader.shipped(card.tile, config.crop)
    shape = (config.batch_size, edge, edge)
    ids = [land_class.id for land_class in card.legend.scored]
    batch = {
        sensor.name: generator.integers(0, 2000, (*shape, len(sensor.bands))).astype(sensor.dtype)
        for sensor in card.sensors
    }
    batch["label"] = generator.choice(np.array(ids, np.uint8), shape)
    for vector in datasets.vectors(config.dataset):
        batch[vector.name] = np.full((config.batch_size, len(vector.numbers)), np.nan)
    drawn = {
        "example": np.arange(config.batch_size, dtype=np.uint32),
        "corner": np.zeros((config.batch_size, 2), np.int32),
    }
    return {key: batch[key] for key in keys} | drawn


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
        threads=config.threads,
        workers=config.workers,
    )
    batch = meshes.global_batch(next(batches), sharding)
    start = time.perf_counter()
    for _ in range(count):
        state, metrics = compiled(state, batch)
        batch = meshes.global_batch(next(batches), sharding)
        jax.block_until_ready(metrics)
    return max(0.0, 1 - count * seconds / (time.perf_counter() - start))


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent))
