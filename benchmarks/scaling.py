"""What four training steps need on TPU slices, as compiled.

  python benchmarks/scaling.py --output=DIR --page=FILE

Compiles each case of the list below for its topology, which takes minutes each and no TPU, and writes the page. What
the compiler said is kept in --output, a folder for one version of the code: stopped and started again it goes on with
the next case. With --compiled the page is of what is there, and nothing is compiled. Each case is compiled in a process
of its own: the compiler may crash. Another version of it may not: --case=NAME, in an environment that has the other,
compiles one case anew.
"""

import argparse
import collections
import dataclasses
import gzip
import importlib.metadata
import json
import pathlib
import signal
import subprocess
import sys
import time

import jax

from data_pipelines.schema.files import write_atomically
from lcjax.configs import dfc2020, pretrain
from lcjax.profiling import aot_compile, memory_planner, topologies

CONFIGS = {
    "swin_unet": lambda: dfc2020.get_config("model=swin_unet"),
    "resnet50_unet": lambda: dfc2020.get_config("model=resnet50_unet"),
    "two_stream_swin": lambda: dfc2020.get_config("model=two_stream_swin"),
    "pre-training": lambda: pretrain.get_config(""),
}
POD = "v5e:16x16"
CHIPS = {POD: 256, "v5e:2x2": 4, "v6e:16x16": 256, "v5p:4x4x4": 64, "v5e:1x1": 1}
IMAGES, MANY = 16, 128  # of one chip


@dataclasses.dataclass(frozen=True)
class Case:
    """One program: a config, a topology and what is set."""

    config: str
    topology: str
    setting: aot_compile.Setting

    @property
    def name(self) -> str:
        """The name of its files."""
        setting, batch_size = self.setting, self.setting.images * CHIPS[self.topology]
        fields = (self.config, self.topology.replace(":", "_"), batch_size, f"fsdp{setting.fsdp}")
        return "-".join(map(str, fields)) + f"-in{setting.parts}" + ("-remat" if setting.remat else "")


def config_of(case: Case):
    """The config of a case, with plain attention, as the page says."""
    config = CONFIGS[case.config]()
    config.attention = "xla"
    return config


def _all(topology: str, setting: aot_compile.Setting) -> list[Case]:
    return [Case(config, topology, setting) for config in CONFIGS]


# The most telling and the quickest first, since all of them take hours; two_stream_swin takes three times as long.
SLICES = ("v5e:2x2", "v6e:16x16", "v5p:4x4x4")
FEW, FULL = aot_compile.Setting(IMAGES), aot_compile.Setting(MANY, remat=True)
CASES = [
    *_all(POD, FEW),
    *(Case(config, topology, FEW) for topology in SLICES for config in ("swin_unet", "resnet50_unet")),
    *(Case(config, POD, FULL) for config in ("swin_unet", "resnet50_unet")),
    Case("swin_unet", POD, aot_compile.Setting(IMAGES, fsdp=16)),
    *(Case(config, "v5e:1x1", FEW) for config in ("swin_unet", "resnet50_unet")),
    *(Case("pre-training", topology, FEW) for topology in SLICES),
    Case("pre-training", POD, FULL),
    *(Case("two_stream_swin", topology, FEW) for topology in SLICES),
    Case("two_stream_swin", POD, FULL),
    # A second point for the line of its memory.
    Case("pre-training", POD, aot_compile.Setting(MANY // 2, remat=True)),
    # The largest of the four, whose batch may have to be taken in parts.
    Case("two_stream_swin", POD, aot_compile.Setting(MANY, parts=8)),
]


def compiled(case: Case, folder: pathlib.Path) -> None:
    """Puts what the compiler says of a case into the folder."""
    keep(case, folder, aot_compile.compiled(config_of(case), case.setting, topologies.devices(case.topology)))


def keep(case: Case, folder: pathlib.Path, program: aot_compile.Program) -> None:
    """Writes what is known of a case."""
    found = dataclasses.asdict(program) | {"versions": versions()}
    (folder / f"{case.name}.txt.gz").write_bytes(gzip.compress(found.pop("text").encode()))
    write_atomically(folder / f"{case.name}.json", json.dumps(found, indent=1))


def versions() -> str:
    """What compiles."""
    return f"jax {jax.__version__}, libtpu {importlib.metadata.version('libtpu')}"


def compiled_apart(case: Case, folder: pathlib.Path) -> None:
    """`compiled` in a process of its own, unless it is there; a crash of the compiler is kept as what it says."""
    if read(case, folder):
        return
    start = time.monotonic()
    ended = subprocess.run([sys.executable, __file__, f"--output={folder}", f"--case={case.name}"])
    if -ended.returncode in (signal.SIGSEGV, signal.SIGABRT):
        name = signal.Signals(-ended.returncode).name
        keep(case, folder, aot_compile.Program(time.monotonic() - start, refusal=f"the compiler crashed: {name}"))
    else:
        ended.check_returncode()


def read(case: Case, folder: pathlib.Path) -> dict | None:
    """The figures of a case that was compiled."""
    path = folder / f"{case.name}.json"
    if not path.is_file():
        return None
    text = gzip.decompress((folder / f"{case.name}.txt.gz").read_bytes()).decode()
    fields = json.loads(path.read_text())
    by = fields.pop("versions")
    program = aot_compile.Program(**fields, text=text)
    chip = topologies.chip_of(case.topology)
    return aot_compile.figures(program, case.setting, CHIPS[case.topology], chip) | {"versions": by}


INTRO = """# Training steps compiled for TPU slices

```
make scaling
lcjax benchmark --config=dfc2020:model=swin_unet --config.batch_size=4096 --config.attention=xla --topology=v5e:16x16
lcjax benchmark --config=dfc2020:model=swin_unet --config.batch_size=32768 --config.attention=xla \\
  --topology=v5e:16x16 --plan
```

**Nothing on this page was measured, and nothing of it ran on a TPU.** Each row is the full training step (augmentation,
forward and backward pass, AdamW; the function, shardings and donated state that `lcjax train` compiles), compiled ahead
of time by the TPU compiler on a machine without a TPU, and read from the compiled program: a compiled bound, not a
measurement. The first command makes this page anew; the others tell the same of one config. All blocks are plain
(`config.attention=xla`); what kernels bring is in [models.md](models.md#kernels).

## What the columns say

All of one chip.

* **memory**: arguments, temporaries, outputs that do not lie where arguments were, and the program itself, against what
  the compiler says a program may use (15.75 GiB of 16 on v5e, 31.25 of 32 on v6e, 95.74 of 95 GB on v5p). Where it does
  not fit, the compiler says what it would need.
* **compute, memory, links (ms)**: three times that a step cannot beat. FLOPs at the chip's peak of bf16; bytes that
  pass main memory at its bandwidth; bytes that leave the chip, by ring formulas, over all its links to neighbours at
  once (half of them in v5e:2x2, where a chip has two neighbours). The longest is the bound, and *images/s at most* is
  the batch of all chips by it. Latencies, kernels below the peak, padding of arrays to tiles, contention and input are
  in none of them: a real step is slower, and how much is not known here.
* Bytes of main memory are counted in the program's text: an array that the compiler keeps in the chip's fast memory
  counts only when it is copied there, a slice counts as a slice, a loop as often as it runs. The compiler's own figure,
  in brackets, counts fast memory as well, and is several times higher.
* **exchanges**: how many collectives the program has, and the bytes of their arrays. Gradients are summed in a few
  exchanges of hundreds of arrays, most of them in bfloat16, in which they come out of the backward pass; batch
  normalisation adds small ones for each layer and pass.
* **compiled in**: on two virtual cores that had other work as well. Where the compiler itself crashed, that is what the
  row says. Where a row names versions, those that the page is of crashed.

"""

_COLUMNS = (
    "config | batch | memory, GB | compute | memory | links | bound | images/s at most | exchanges | compiled in |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)
_TOPOLOGIES = {POD: "256 chips", "v5e:2x2": "4 chips", "v6e:16x16": "256 chips", "v5p:4x4x4": "64 chips"}


def _usual(known: dict[Case, dict]) -> str:
    """The versions that compiled most; those of this environment where nothing is compiled yet."""
    counted = collections.Counter(found["versions"] for found in known.values())
    return counted.most_common(1)[0][0] if counted else versions()


def _row(case: Case, found: dict, usual: str) -> str:
    batch_size = case.setting.images * CHIPS[case.topology]
    name = case.config + (", remat" if case.setting.remat else "")
    name += f", in {case.setting.parts} parts" if case.setting.parts > 1 else ""
    name += f" ({found['versions']})" if found["versions"] != usual else ""
    capacity = found["memory_capacity"] / 1e9
    seconds = f"{found['compile_seconds']:.0f} s"
    if "bound_ms" not in found:
        says = found["refusal"]
        if "memory_bytes" in found:
            says = f"{found['memory_bytes'] / 1e9:.2f} of {capacity:.2f}: does not fit"
        return f"| {name} | {batch_size:,} | **{says}** | | | | | | | {seconds} |"
    terms = found["terms_ms"]
    counted = found["bytes_per_image"] / found["traffic_bytes_per_image"]
    kinds = ", ".join(
        f"{row['times']} {kind}, {row['bytes'] / 1e6:.1f} MB" for kind, row in found["collectives"]["kinds"].items()
    )
    fits = "" if found["fits"] else ": does not fit"
    return (
        f"| {name} | {batch_size:,} | {found['memory_bytes'] / 1e9:.2f} of {capacity:.2f}{fits} | "
        f"{terms['compute']:.1f} | {terms['memory']:.1f} ({counted:.1f} x) | {terms['interconnect']:.2f} | "
        f"{found['bound_ms']:.1f} ms, {found['binding_term']} | {found['images_per_second_at_most']:,.0f} | "
        f"{kinds or 'none'} | {seconds} |"
    )


def _table(cases: list[Case], known: dict[Case, dict]) -> str:
    usual = _usual(known)
    rows = [_row(case, known[case], usual) for case in cases if case in known]
    return f"| {_COLUMNS}" + "\n".join(rows) + "\n\n" if rows else "Not compiled yet.\n\n"


def _largest(known: dict[Case, dict]) -> str:
    """What batch the pod holds, by a line through two programs where there are two."""
    text = "| config | remat | compiled: images a chip, GB | largest batch that fits |\n|---|---|---|---|\n"
    for config in CONFIGS:
        for remat in (False, True):
            points = {
                case.setting.images: found
                for case, found in known.items()
                if case == Case(config, POD, aot_compile.Setting(case.setting.images, remat=remat))
            }
            if not points:
                continue
            bytes_of = {images: found["memory_bytes"] for images, found in points.items() if "memory_bytes" in found}
            shown = ", ".join(f"{images}: {needed / 1e9:.2f}" for images, needed in sorted(bytes_of.items()))
            fit = max((images for images, found in points.items() if found["fits"]), default=0)
            says = f"at least {fit * CHIPS[POD]:,}" if fit else "none of these"
            if len(bytes_of) > 1:
                most = memory_planner.Line.through(dict(sorted(bytes_of.items())[-2:])).most(
                    topologies.CHIPS["v5e"].memory
                )
                says = f"{most * CHIPS[POD]:,} ({most} a chip)"
            text += f"| {config} | {'yes' if remat else 'no'} | {shown} | {says} |\n"
    return text + "\n"


def _spread(known: dict[Case, dict]) -> str:
    """Memory with config.parallel.fsdp beside what arithmetic says of it."""
    text = ""
    for case in CASES:
        whole = dataclasses.replace(case, setting=dataclasses.replace(case.setting, fsdp=1))
        if case == whole or case not in known or whole not in known:
            continue
        config = config_of(case)
        config.batch_size = case.setting.images * CHIPS[case.topology]
        state = memory_planner.sizes(config, topologies.devices(case.topology)).state
        fsdp, before, after = case.setting.fsdp, known[whole]["memory"], known[case]["memory"]
        predicted = before["arguments"] - state[1] + state[fsdp]
        text += (
            f"{case.config}, {config.batch_size:,} images on {case.topology}, `config.parallel.fsdp={fsdp}`: by "
            f"arithmetic, parameters, statistics and moments take {state[1] / 1e6:.1f} MB of a chip, and spread "
            f"{state[fsdp] / 1e6:.1f} MB. The program's arguments, which hold the batch as well, should fall from "
            f"{before['arguments'] / 1e6:.1f} to {predicted / 1e6:.1f} MB; compiled they are "
            f"{after['arguments'] / 1e6:.1f} MB. Temporaries go from {before['temporary'] / 1e6:,.0f} to "
            f"{after['temporary'] / 1e6:,.0f} MB, the bound from {known[whole]['bound_ms']:.1f} to "
            f"{known[case]['bound_ms']:.1f} ms.\n\n"
        )
    return text or "Not compiled yet.\n\n"


def _efficiency(known: dict[Case, dict]) -> str:
    """How the bound of one chip compares with that of many."""
    text = "| config | one chip, ms | " + " | ".join(f"{name}, {CHIPS[name]} chips" for name in ("v5e:2x2", POD))
    text += " |\n|---|---|---|---|\n"
    for config in CONFIGS:
        one, *many = (
            known.get(Case(config, name, aot_compile.Setting(IMAGES))) for name in ("v5e:1x1", "v5e:2x2", POD)
        )
        if one and all(many):
            shares = [aot_compile.efficiency(one, found) for found in many if found]
            cells = [f"{share['overlapped']:.3f} to {share['serial']:.3f}" for share in shares]
            text += f"| {config} | {one['bound_ms']:.1f} | " + " | ".join(cells) + " |\n"
    return text + "\n"


def page(known: dict[Case, dict]) -> str:
    """The whole page, of what has been compiled so far."""
    text = INTRO
    if len(known) < len(CASES):
        text += f"Of {len(CASES)} programs {len(known)} are compiled so far; the others are missing below.\n\n"
    text += f"Full size, bf16, crop 224 of 256, Sentinel-1 and Sentinel-2, all parameters trained; {_usual(known)}.\n\n"
    text += f"## {IMAGES} images a chip\n\n"
    for topology, chips in _TOPOLOGIES.items():
        text += f"### {topology}, {chips}\n\n" + _table(_all(topology, aot_compile.Setting(IMAGES)), known)
    text += f"## {MANY} images a chip\n\n### {POD}, {_TOPOLOGIES[POD]}\n\n"
    text += "With `config.remat=True`, or with `config.accumulate`, which normalises each part by itself.\n\n"
    text += _table([case for case in CASES if case.setting.images == MANY], known)
    text += f"## The largest batch on {POD}\n\n" + _largest(known)
    text += "## Spread over `fsdp`\n\n" + _spread(known)
    text += f"## From one chip to {CHIPS[POD]}\n\n"
    text += (
        f"The bound of one chip divided by that of each of many, both with {IMAGES} images a chip: where exchanges "
        "hide behind all else, and where they hide behind nothing. No measurement, and no promise: latencies are not "
        "in it.\n\n"
    )
    return text + _efficiency(known).rstrip() + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--page", type=pathlib.Path, help="where the page is written")
    parser.add_argument("--compiled", action="store_true", help="the page of what is compiled, and no more")
    parser.add_argument("--case", choices=[case.name for case in CASES], help="only this one is compiled, and no page")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    if options.case:
        compiled(next(case for case in CASES if case.name == options.case), options.output)
        return
    if not options.page:
        parser.error("--page=FILE says where the page is written")
    for number, case in enumerate(() if options.compiled else CASES, 1):
        print(f"{time.strftime('%H:%M')} {number} of {len(CASES)}: {case.name}", flush=True)
        compiled_apart(case, options.output)
    found = {case: read(case, options.output) for case in CASES}
    write_atomically(options.page, page({case: figures for case, figures in found.items() if figures}))


if __name__ == "__main__":
    main()
