"""`lcjax benchmark`: how fast a config trains on this machine, and what it costs; what every network costs anywhere."""

import json
import os
import pathlib
import re
import tempfile
from typing import Any

from data_pipelines.schema import paths, progress
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.cli import config_flag

HELP = """Measures the compiled training step of a config on the devices of this machine, or its network.

  lcjax benchmark --config=dfc2020:model=swin_unet --steps=20 --json=swin_unet.json --plot=roofline.png
  lcjax benchmark --config=dfc2020:model=unet,data=sample,tiny=true --config.data_dir=build/demo/data
  lcjax benchmark --config=dfc2020:model=unet --devices=1,2,4,8
  lcjax benchmark --config=dfc2020:model=unet --inference --scene=10980x10980
  lcjax benchmark --compare=before.json,after.json
  lcjax benchmark --config=dfc2020:model=swin_unet --config.batch_size=4096 --topology=v5e:16x16
  lcjax benchmark --config=dfc2020:model=swin_unet --config.batch_size=32768 --topology=v5e:16x16 --plan
  lcjax benchmark --list --json=networks.json
  lcjax benchmark --input --json=input.json

Batches are random integers of the published tile size, already on the device: the step alone is timed. Where
config.data_dir holds the prepared data set (of several hosts, on each), the loader is timed alone, and the same number
of steps is run once more with it: data_wait_share says what part of that time the step waited for data.
flops_per_image is what the network needs for forward and backward pass, counted in the program before it is compiled,
without what config.remat computes again (lcjax/engine/flops.py). mfu is its share of the device's dense bf16 peak, and
stands only where that is known. The share of the roofline is what the time would be at the device's peaks for those
FLOPs and for the bytes that the compiler counts (on CPUs with what caches serve), over the time that was measured;
where the peaks stand in no table a square product and a copy of this machine are timed for them. --plot draws it.
compiler_flops_per_image is the compiler's count of what it made; library calls hide from it. Where times vary too much
to mean anything, a line says so.

--devices measures the step on some of the devices after another, with as many images on each of them.

--inference measures the network alone, batch by batch as `predict` calls it, then the whole way from a made-up scene
of 1,024 px to its map: reading alone, tiles (the network, with reading and blending beside it) and files. --scene
forecasts from these what a scene of that many pixels takes; docs/planning.md.

--compare says how many times faster the second and further files of figures are than the first, with the range in which
that lies.

--topology measures nothing: it compiles the same step for the chips of a TPU slice that need not be there (pip install
'lcjax[tpu]'; a program takes minutes) and tells, of one chip, the memory, all collectives, and a bound: the longest of
the times for FLOPs, for bytes of main memory and for bytes over the links at the chip's peaks. No step can be faster;
how much slower it is, only a measurement tells. traffic_bytes_per_image is what passes main memory, bytes_per_image
the compiler's count, which has fast memory in it. efficiency compares with one chip that has as many images, which is
a second program; --noalone leaves it out. Known topologies: v5e:2x2, v5e:16x16, v6e:16x16, v5p:4x4x4, v4:2x2x1 and
so on; several slices as 2*v5e:16x16. --plan compiles four or five programs and tells which batch fits with which
config.parallel.fsdp and config.remat, and a setting for config.batch_size that fits. docs/scaling.md has figures of
both.

--list measures nothing: it prints parameters and multiply-accumulates (GMACs) of every network in every size for an
image with both Sentinel sensors and for an aerial one, and which multiple the edges of images are padded to. With
--tiny the sizes for tests and demonstrations are listed, too. It takes about half a minute.

--input measures reading instead, and needs neither config nor accelerator: synthetic records like those of SEN12MS and
FLAIR-1 from shards, from shards otherwise compressed, and from GeoTIFFs with rasterio, in one run, in a temporary
folder (about 25 MB a record). docs/input_speed.md says what the figures mean."""


def define_flags(flags) -> None:
    """The flags of the verb."""
    config_flag.define(flags)
    flags.DEFINE_integer("steps", 20, "Steps that are timed.", lower_bound=1)
    flags.DEFINE_list("devices", [], "Numbers of devices to measure one after another: 1,2,4,8.")
    flags.DEFINE_bool("inference", False, "Measure the network and the way to a map, instead of the training step.")
    flags.DEFINE_string("scene", None, "With --inference: WIDTHxHEIGHT in pixels of a scene to forecast.")
    flags.DEFINE_list("compare", [], "Files of figures to compare with the first of them, instead of a config.")
    flags.DEFINE_string("plot", None, "File for the roofline of the training step, a PNG.")
    flags.DEFINE_string("topology", None, "TPU slice to compile the config for, instead of measuring: v5e:16x16.")
    flags.DEFINE_bool("plan", False, "With --topology: what makes config.batch_size fit.")
    flags.DEFINE_bool("alone", True, "With --topology: compile for one chip, too, for the efficiency.")
    flags.DEFINE_bool("list", False, "List parameters and multiply-accumulates of every network, instead of a config.")
    flags.DEFINE_bool("tiny", False, "With --list: the tiny sizes, too.")
    flags.DEFINE_bool("input", False, "Measure how fast records are read, instead of a config.")
    flags.DEFINE_integer("records", 64, "With --input: records of each kind.", lower_bound=1)
    flags.DEFINE_string("json", None, "File for all figures, as JSON; what is printed is for people.")


# Flag -> the one that it goes with, and an example.
_TOGETHER = {
    "tiny": ("list", "a config is made tiny by --config=dfc2020:tiny=true"),
    "topology": ("config", "e.g. --config=dfc2020:model=unet"),
    "plan": ("topology", "e.g. --topology=v5e:16x16"),
    "devices": ("config", "e.g. --config=dfc2020:model=unet"),
    "inference": ("config", "e.g. --config=dfc2020:model=unet"),
    "scene": ("inference", "e.g. --config=dfc2020:model=unet --inference"),
    "plot": ("config", "e.g. --config=dfc2020:model=unet"),
}
# What is measured otherwise: at most one of them.
_OTHERS = ("topology", "inference", "devices")


def run(flags) -> None:
    """Runs the verb."""
    _check(flags)
    from lcjax.parallel import cpu, multihost

    if not flags.inference:
        cpu.keep_memory(os.environ)  # as `train` does
    alone = flags.list or flags.input or flags.topology or flags.compare
    if not multihost.is_main_process() and alone:
        return  # nothing that several processes could share
    found, text = _listed(flags) if alone else _measured(flags)
    if not multihost.is_main_process():
        return
    print(text)
    if flags.json:
        path = paths.given(flags.json, "--json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(found, indent=1))
    if flags.plot:
        _plot(found, paths.given(flags.plot, "--plot"))


def _check(flags) -> None:
    """Raises InputError for flags that do not go together."""
    if (flags.config is not None) + flags.list + flags.input + bool(flags.compare) != 1:
        raise InputError(
            "benchmark needs --config, e.g. --config=dfc2020:model=unet, or --list, --input or --compare, one of them"
        )
    for name, (other, example) in _TOGETHER.items():
        if getattr(flags, name) and not getattr(flags, other):
            raise InputError(f"--{name} goes with --{other}: {example}")
    if len(given := [name for name in _OTHERS if getattr(flags, name)]) > 1:
        raise InputError(f"--{given[0]} and --{given[1]}: expected one of them; give two commands")
    if flags.plot and given:
        raise InputError(f"--plot goes with the training step on all devices, and not with --{given[0]}")
    for name in ("json", "plot"):  # measuring takes minutes, and is not to be lost for a name
        if (text := getattr(flags, name)) and (path := paths.given(text, f"--{name}")).is_dir():
            raise InputError(f"--{name}={path}: a folder; expected a file to write")


def _size(text: str) -> tuple[int, int]:
    """Width and height of --scene. Raises InputError for what is none."""
    found = re.fullmatch(r"([1-9]\d{0,6})x([1-9]\d{0,6})", text)
    if found is None:
        raise InputError(f"--scene={text}: expected WIDTHxHEIGHT in pixels, e.g. --scene=10980x10980")
    return int(found[1]), int(found[2])


def _counts(words: list[str]) -> list[int]:
    """Numbers of --devices. Raises InputError for what is none."""
    if not all(re.fullmatch(r"[1-9]\d{0,5}", word) for word in words) or len(set(words)) < len(words):
        raise InputError(f"--devices={','.join(words)}: expected different numbers, e.g. --devices=1,2,4,8")
    return [int(word) for word in words]


def _listed(flags) -> tuple[Any, str]:
    """Figures, and their text, of what one process does alone."""
    if flags.compare:
        from lcjax.profiling import comparison

        rows = comparison.compare([paths.given(text, "--compare") for text in flags.compare])
        return rows, comparison.table(rows)
    if flags.list:
        from lcjax.profiling import model_table

        found = model_table.rows(
            progress.bar(model_table.networks(flags.tiny), desc="networks", unit=" networks", leave=False)
        )
        return found, model_table.table(found)
    if flags.input:
        from data_pipelines.benchmark import input_benchmark  # here, because GeoTIFFs are written for it

        with tempfile.TemporaryDirectory() as folder:
            figures = input_benchmark.measure(pathlib.Path(folder), records=flags.records)
        return figures, input_benchmark.table(figures)
    if flags.plan:
        from lcjax.profiling import memory_planner

        planned = memory_planner.plan(flags.config, flags.topology)
        return planned, memory_planner.text(planned)
    from lcjax.profiling import aot_compile

    bound = aot_compile.forecast(flags.config, flags.topology, alone=flags.alone)
    return bound, aot_compile.text(bound)


def _measured(flags) -> tuple[Any, str]:
    """Figures, and their text, of what all processes measure together."""
    from lcjax.profiling import benchmark, readable

    if flags.inference:
        from lcjax.profiling import inference

        found = inference.inference(flags.config, flags.steps, _size(flags.scene) if flags.scene else None)
    elif flags.devices:
        found = benchmark.scaling(flags.config, flags.steps, _counts(flags.devices))
    else:
        found = benchmark.benchmark(flags.config, flags.steps)
    return found, readable.text(found)


def _plot(found: dict, path: pathlib.Path) -> None:
    from lcjax.plotting import roofline

    roof = found.get("roofline")
    if roof is None:
        raise InputError(f"--plot={path}: the compiler counts no bytes here, so that there is no roofline to draw")
    drawn = roofline.roofline(
        f"{found['what'].capitalize()} on {found['device']} (peaks: {roof['peaks']})",
        f"{found['model']}, {found['precision']}",
        found["flops_per_second"],
        roof["flops_per_byte"],
        roof["peak_flops"],
        roof["bandwidth"],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, drawn)
