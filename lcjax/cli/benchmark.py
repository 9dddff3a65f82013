"""`lcjax benchmark`: how fast a config trains on this machine, and what it costs; what every network costs anywhere."""

import json
import pathlib
import tempfile

from data_pipelines.schema import paths, progress
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from lcjax.cli import config_flag

HELP = """Measures the compiled training step of a config on the devices of this machine.

  lcjax benchmark --config=dfc2020:model=swin_unet --steps=20 --json=swin_unet.json
  lcjax benchmark --config=dfc2020:model=unet,data=sample,tiny=true --config.data_dir=build/demo/data
  lcjax benchmark --config=dfc2020:model=swin_unet --config.batch_size=4096 --topology=v5e:16x16
  lcjax benchmark --config=dfc2020:model=swin_unet --config.batch_size=32768 --topology=v5e:16x16 --plan
  lcjax benchmark --list --json=networks.json
  lcjax benchmark --input --json=input.json

Batches are random integers of the published tile size, already on the device: the step alone is timed. Where
config.data_dir holds the prepared data set (of several hosts, on each), the same number of steps is run once more with
the loader, and data_wait_share says what part of that time the step waited for data. flops_per_image is what the
network needs for forward and backward pass, counted in the program before it is compiled, without what config.remat
computes again (lcjax/engine/flops.py). mfu is its share of the device's dense bf16 peak, and stands only where that is
known.
compiler_flops_per_image is the compiler's count of what it made; library calls hide from it.

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
    flags.DEFINE_string("topology", None, "TPU slice to compile the config for, instead of measuring: v5e:16x16.")
    flags.DEFINE_bool("plan", False, "With --topology: what makes config.batch_size fit.")
    flags.DEFINE_bool("alone", True, "With --topology: compile for one chip, too, for the efficiency.")
    flags.DEFINE_bool("list", False, "List parameters and multiply-accumulates of every network, instead of a config.")
    flags.DEFINE_bool("tiny", False, "With --list: the tiny sizes, too.")
    flags.DEFINE_bool("input", False, "Measure how fast records are read, instead of a config.")
    flags.DEFINE_integer("records", 64, "With --input: records of each kind.", lower_bound=1)
    flags.DEFINE_string("json", None, "File for the figures; they are printed in any case.")


def run(flags) -> None:
    """Runs the verb."""
    if (flags.config is not None) + flags.list + flags.input != 1:
        raise InputError(
            "benchmark needs --config, e.g. --config=dfc2020:model=unet, or --list or --input, one of them"
        )
    if flags.tiny and not flags.list:
        raise InputError("--tiny goes with --list; a config is made tiny by --config=dfc2020:tiny=true")
    if flags.topology and not flags.config:
        raise InputError("--topology goes with --config, e.g. --config=dfc2020:model=unet")
    if flags.plan and not flags.topology:
        raise InputError("--plan goes with --topology, e.g. --topology=v5e:16x16")
    from lcjax.parallel import multihost

    if not multihost.is_main_process() and (flags.list or flags.input or flags.topology):
        return  # nothing that several processes could share
    if flags.list:
        from lcjax.profiling import model_table

        found = model_table.rows(
            progress.bar(model_table.networks(flags.tiny), desc="networks", unit="network", leave=False)
        )
        text = json.dumps(found, indent=1)
        print(model_table.table(found))
    elif flags.input:
        from data_pipelines.benchmark import input_benchmark  # here, because GeoTIFFs are written for it

        with tempfile.TemporaryDirectory() as folder:
            figures = input_benchmark.measure(pathlib.Path(folder), records=flags.records)
        text = json.dumps(figures, indent=1)
        print(input_benchmark.table(figures))
    elif flags.plan:
        from lcjax.profiling import memory_planner

        planned = memory_planner.plan(flags.config, flags.topology)
        text = json.dumps(planned, indent=1)
        print(memory_planner.text(planned))
    elif flags.topology:
        from lcjax.profiling import aot_compile

        bound = aot_compile.forecast(flags.config, flags.topology, alone=flags.alone)
        text = json.dumps(bound, indent=1)
        print(aot_compile.text(bound))
    else:
        from lcjax.profiling.benchmark import benchmark

        text = json.dumps(benchmark(flags.config, flags.steps), indent=1)
        if not multihost.is_main_process():
            return
        print(text)
    if flags.json:
        path = paths.given(flags.json, "--json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
