"""The training step compiled for a TPU pod on a machine that has none: does it fit, and what bounds its time.

`benchmark --topology` and `--plan` print what is found here. All of it is read from the compiled program; nothing runs.
"""

import dataclasses
import importlib.metadata
import math
import re
import sys
import time
from collections.abc import Iterable, Iterator

import jax

from data_pipelines.schema.errors import InputError
from lcjax.engine import experiment as experiments
from lcjax.parallel import mesh as meshes
from lcjax.profiling import hlo, topologies

KIND = "compiled bound, not a measurement"

# What the compiler says where a program needs more memory than there is.
_NEEDED = re.compile(r"Used ([\d.]+)([KMGT]?) of|required for [\w ]+\(([\d.]+)([KMGT]?)\) exceeds")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Program:
    """What the compiler says of a step, for one chip; it counts the bodies of loops once.

    Attributes:
      seconds: what compiling took.
      flops, bytes: computed; read and written, in fast memory, too.
      memory: the parts of what is held at once, bytes; where it does not fit, arguments alone, by arithmetic.
      text: the compiled program.
      refusal: why the compiler gave up, one line, and then there is little else; empty where it did not.
    """

    seconds: float
    flops: float = 0.0
    bytes: float = 0.0
    memory: dict[str, int] = dataclasses.field(default_factory=dict)
    text: str = ""
    refusal: str = ""

    @property
    def memory_bytes(self) -> int | None:
        """All that is held at once; None where the compiler gave up without telling."""
        if self.refusal:
            needed = needed_bytes(self.refusal)
            beside = self.memory.get("arguments", 0) if "temporaries" in self.refusal else 0
            return needed and needed + beside
        return sum(self.memory.values()) - 2 * self.memory["aliased"]  # outputs lie where arguments were


@dataclasses.dataclass(frozen=True)
class Setting:
    """What can be chosen without a change of what is learned, but for normalisation by parts.

    Attributes:
      images: of one chip in one step.
      parts: config.accumulate.
    """

    images: int
    fsdp: int = 1
    parts: int = 1
    remat: bool = False

    def __str__(self) -> str:
        words = [f"{self.images} images a chip"]
        words += [f"fsdp={self.fsdp}"] if self.fsdp > 1 else []
        words += [f"in {self.parts} parts"] if self.parts > 1 else []
        return ", ".join([*words, "remat"] if self.remat else words)


def setting_of(config, chips: int) -> Setting:
    """What a config says, on so many chips."""
    return Setting(config.batch_size // chips, config.parallel.fsdp, config.accumulate, config.remat)


def compiled(config, setting: Setting, devices: list[jax.Device]) -> Program:
    """The step of a config compiled for the devices as `train` compiles it, with another setting."""
    config = config.copy_and_resolve_references()
    config.batch_size, config.accumulate, config.remat = setting.images * len(devices), setting.parts, setting.remat
    config.parallel.data, config.parallel.fsdp = -1, setting.fsdp
    experiment = experiments.build_to_measure(config, devices=devices)
    shapes = experiment.shapes()
    start = time.perf_counter()
    try:
        program = experiment.compile(*shapes)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        refusal = " ".join(str(error).split())[:1000]
        return Program(
            time.perf_counter() - start, memory={"arguments": experiments.local_bytes(shapes)}, refusal=refusal
        )
    seconds = time.perf_counter() - start
    cost, memory, text = program.cost_analysis(), program.memory_analysis(), program.as_text()
    assert cost and memory and text, "the TPU compiler tells all of this"
    parts = {
        "arguments": memory.argument_size_in_bytes,
        "temporary": memory.temp_size_in_bytes,
        "outputs": memory.output_size_in_bytes,
        "aliased": memory.alias_size_in_bytes,
        "code": memory.generated_code_size_in_bytes,
    }
    return Program(seconds, cost["flops"], cost["bytes accessed"], parts, text)


def needed_bytes(refusal: str) -> int | None:
    """What the compiler says that it would need, in a message that it does not fit; None where it does not say."""
    found = _NEEDED.search(refusal)
    number, unit = (found[1] or found[3], found[2] or found[4]) if found else (None, "")
    return round(float(number) * _UNITS[unit or ""]) if number else None


def bound(program: Program, parts: int, chip: topologies.Chip) -> dict:
    """The roofline bound of a step in ms: the longest of three times that it cannot beat, each as if alone.

    "compute": FLOPs at the peak of bf16; "memory": bytes of main memory at its bandwidth; "interconnect": bytes that
    leave the chip, by ring formulas, at the bandwidth of its links to neighbours, all at once. Latencies are in none of
    them, nor is what goes to other slices over the network of the hosts, whose bandwidth is not the chip's.
    """
    read = hlo.HloModule(program.text)
    collectives, traffic = read.collectives(), read.memory_bytes()
    sent = sum(one.sent for one in collectives)
    # The update is counted with each part, where there are several: less than 1 % of their FLOPs.
    flops = program.flops * parts
    terms = {
        "compute": 1e3 * flops / chip.flops,
        "memory": 1e3 * traffic / chip.bandwidth,
        "interconnect": 1e3 * sent / chip.links if sent else 0.0,  # a chip that is alone has no links
    }
    binding = max(terms, key=lambda name: terms[name])
    return {
        "bound_ms": terms[binding],
        "binding_term": binding,
        "terms_ms": terms,
        "flops": flops,
        "traffic_bytes": traffic,
        "collectives": {"kinds": _by_kind(collectives), "list": [_row(one) for one in collectives]},
        **({"between_slices_bytes": crossing} if (crossing := read.between_slices()) else {}),
        **({"loops_of_unknown_length": read.unknown_loops} if read.unknown_loops else {}),
    }


def _by_kind(collectives: Iterable[hlo.Collective]) -> dict[str, dict]:
    kinds: dict[str, dict] = {}
    for one in collectives:
        kind = kinds.setdefault(one.kind, {"times": 0, "bytes": 0, "sent_bytes": 0.0})
        kind["times"] += one.times
        kind["bytes"] += one.times * one.size
        kind["sent_bytes"] += one.sent
    return kinds


def _row(one: hlo.Collective) -> dict:
    # A gradient of all parameters is one exchange of hundreds of arrays: the largest say what it is.
    shown = sorted(set(one.arrays), key=hlo.array_bytes, reverse=True)[:8]
    return {
        "kind": one.kind,
        "bytes": one.size,
        "arrays": len(one.arrays),
        "largest": shown,
        "group": one.group,
        "times": one.times,
    }


def figures(program: Program, setting: Setting, chips: int, chip: topologies.Chip) -> dict:
    """What a compiled step tells, all of one chip; no key for what is not known."""
    needed = program.memory_bytes
    fits = not program.refusal and needed is not None and needed <= chip.memory
    found: dict = {"compile_seconds": program.seconds, "memory_capacity": chip.memory, "fits": fits}
    if needed is not None:
        found["memory_bytes"] = needed
    if program.refusal:
        return found | {"refusal": program.refusal}
    limits = bound(program, setting.parts, chip)
    images = setting.images
    return found | {
        "memory": program.memory,
        "compiler_flops_per_image": limits["flops"] / images,
        "bytes_per_image": program.bytes * setting.parts / images,
        "traffic_bytes_per_image": limits["traffic_bytes"] / images,
        "images_per_second_at_most": 1e3 * images * chips / limits["bound_ms"],
        **{key: value for key, value in limits.items() if key not in ("flops", "traffic_bytes")},
    }


def efficiency(one: dict, many: dict) -> dict:
    """How much of one chip's bound is left of each of many, at the same images a chip.

    "overlapped": exchanges hide behind all else as far as they can; "serial": behind nothing.
    """

    def serial(found: dict) -> float:
        terms = found["terms_ms"]
        return max(terms["compute"], terms["memory"]) + terms["interconnect"]

    return {"overlapped": one["bound_ms"] / many["bound_ms"], "serial": serial(one) / serial(many)}


def forecast(config, topology: str, *, alone: bool = True) -> dict:
    """What the step of a config needs on a topology; with `alone` also on one chip, for the efficiency.

    Raises InputError for a topology, mesh or batch that does not go together.
    """
    devices, chip = chosen(config, topology)
    setting = setting_of(config, len(devices))
    jobs = [(setting, devices)]
    if alone and len(devices) > 1:
        jobs.append((dataclasses.replace(setting, fsdp=1), devices[:1]))
    many, *one = (
        figures(program, setting, len(devices), chip)
        for program, setting, devices in compiled_in_turn(config, topology, jobs)
    )
    found = about(config, topology, len(devices)) | many
    experiment = experiments.build_to_measure(config, devices=devices)
    found["flops_per_image"] = experiment.needed_flops() / config.batch_size
    if one and "bound_ms" in one[0] and "bound_ms" in many:
        found["efficiency"] = efficiency(one[0], many) | {"one_chip_bound_ms": one[0]["bound_ms"]}
    return found


def chosen(config, topology: str) -> tuple[list[jax.Device], topologies.Chip]:
    """The devices of a topology that a config's mesh takes, and what each can do. Raises InputError, as `train`."""
    if config.parallel.get("mode", "jit") != "jit":
        raise InputError(f"config.parallel.mode={config.parallel.mode!r}: only 'jit' is compiled for a topology")
    devices = topologies.devices(topology)
    mesh = meshes.make_mesh(config.parallel.data, config.parallel.fsdp, config.batch_size, config.accumulate, devices)
    return devices[: mesh.size], topologies.chip_of(topology)


def about(config, topology: str, chips: int) -> dict:
    """What was compiled, and with what."""
    return {
        "kind": KIND,
        "topology": topology,
        "chips": chips,
        "jax": jax.__version__,
        "libtpu": importlib.metadata.version("libtpu"),
        "model": config.model.name,
        "task": config.task,
        "precision": config.precision,
        "batch_size": config.batch_size,
        "images_per_chip": config.batch_size // chips,
        "fsdp": config.parallel.fsdp,
        "accumulate": config.accumulate,
        "remat": config.remat,
        "attention": config.attention,
    }


def compiled_in_turn(
    config, topology: str, jobs: list[tuple[Setting, list[jax.Device]]], before: int = 0
) -> Iterator[tuple[Program, Setting, list[jax.Device]]]:
    """Each program when it is compiled, with a line of progress on stderr, which counts so many before."""
    seconds: list[float] = []
    for number, (setting, devices) in enumerate(jobs, 1):
        left = sum(seconds) / len(seconds) * (len(jobs) - len(seconds)) / 60 if seconds else 0
        eta = f"about {math.ceil(left)} min left" if seconds else "minutes each"
        what = f"{config.model.name}, {config.task}, on {len(devices)} of {topology}, {setting}"
        print(f"compiling {before + number} of {before + len(jobs)} ({eta}): {what}", file=sys.stderr, flush=True)
        program = compiled(config, setting, devices)
        seconds.append(program.seconds)
        yield program, setting, devices


def text(found: dict) -> str:
    """The figures of `forecast`, to read."""
    head = f"{found['model']}, {found['task']}, {found['batch_size']} images on {found['chips']} chips of "
    head += f"{found['topology']}: {found['kind']}"
    capacity = found["memory_capacity"] / 1e9
    needed = f"{found['memory_bytes'] / 1e9:.2f}" if "memory_bytes" in found else "more than the"
    lines = [head, f"memory        {needed} of {capacity:.2f} GB a chip: {'fits' if found['fits'] else 'does not fit'}"]
    if "terms_ms" in found:
        for term, milliseconds in found["terms_ms"].items():
            mark = "  <- binds" if term == found["binding_term"] else ""
            lines.append(f"{term:<13} {milliseconds:9.2f} ms at least{mark}")
        lines.append(f"rate          {found['images_per_second_at_most']:,.0f} images/s at most")
        for kind, row in found["collectives"]["kinds"].items():
            lines.append(f"{kind:<13} {row['times']} times, {row['bytes'] / 1e6:.1f} MB a chip")
        if "between_slices_bytes" in found:
            crossing = found["between_slices_bytes"] / 1e6
            lines.append(
                f"other slices  {crossing:.1f} MB a chip go there in a step, over a network that is in no bound"
            )
    if "efficiency" in found:
        shares = found["efficiency"]
        lines.append(
            f"efficiency    {shares['overlapped']:.3f} of one chip's bound where exchanges hide behind the rest, "
            f"{shares['serial']:.3f} where they do not"
        )
    return "\n".join([*lines, f"compiled in   {found['compile_seconds']:.0f} s"])
