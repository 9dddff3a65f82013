"""Chips and what they can do, and the chips of a TPU pod as devices to compile for on a machine that has none."""

import dataclasses
import importlib.util
import math
import os
import re

import jax
from jax.experimental import topologies

from data_pipelines.schema.errors import InputError

# Families of TPUs whose topologies have a name, and what the names look like.
FORMS = "v5e:2x2, v5e:16x16, v6e:16x16, v5p:4x4x4, v4:2x2x1, 2*v5e:16x16 (two slices) and so on"


@dataclasses.dataclass(frozen=True)
class Chip:
    """What one accelerator can do at most, as JAX counts devices.

    Attributes:
      kinds: parts of the name that JAX gives the device, one of which it has.
      flops: dense products in bfloat16, FLOP/s.
      memory: what a program may use of the memory, bytes; 0 is unknown.
      bandwidth: of that memory, bytes/s.
      links: what leaves the chip over its links to other chips of the slice, all at once, bytes/s.
      axes, most: of the grid of a slice how many edges there are, and how many chips at most.
      options: what the compiler has to be told of the family.
    """

    kinds: tuple[str, ...]
    flops: float
    memory: int = 0
    bandwidth: float = 0.0
    links: float = 0.0
    axes: int = 0
    most: int = 0
    options: tuple[tuple[str, str], ...] = ()


def _gib(number: float) -> int:
    return int(number * 2**30)


# FLOP/s, bandwidth and links of TPUs: docs.cloud.google.com/tpu/docs/v4, v5e, v5p-training and v6e, "peak compute per
# chip (bf16)", "HBM bandwidth per chip", and half of "bidirectional inter-chip interconnect bandwidth per chip", or all
# of "inter-chip interconnect bandwidth", which is of one direction. Where that has been revised (v5e 819 or 800 GB/s,
# v6e 1640 or 1600 GB/s and 3584 or 3200 Gbit/s) the larger: a bound must not be beaten. Memory: what the TPU compiler
# (libtpu 0.0.42) lets a program have of the 32, 16, 95 and 32 GB there. FLOP/s of GPUs: NVIDIA's data sheets, without
# sparsity; where no form is named, of the SXM modules.
CHIPS = {
    # One device is both cores of a chip ("megacore"), as on real pods.
    "v4": Chip(("TPU v4",), 275e12, _gib(30.75), 1228e9, 300e9, 3, 4096, (("chip_config_name", "megacore"),)),
    "v5e": Chip(("TPU v5 lite", "TPU v5e"), 197e12, _gib(15.75), 819e9, 200e9, 2, 256),
    "v5p": Chip(("TPU v5p", "TPU v5"), 459e12, _gib(95.74), 2765e9, 600e9, 3, 8960),
    "v6e": Chip(("TPU v6 lite", "TPU v6e"), 918e12, _gib(31.25), 1640e9, 448e9, 2, 256),
    "A100": Chip(("A100",), 312e12),
    "H100": Chip(("H100",), 989e12),
    "H200": Chip(("H200",), 989e12),
    "H100 PCIe": Chip(("H100 PCIe",), 756e12),
    "H100 NVL": Chip(("H100 NVL", "H200 NVL"), 835e12),
}

_NAME = re.compile(r"(?:([1-9]\d*)\*)?((v\d\w*):([1-9]\d*(?:x[1-9]\d*)+))")
# libtpu asks where it runs, and there is nobody to answer; a compiler alone may be loaded more than once.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def chip(kind: str) -> Chip | None:
    """The chip of a `device_kind` of JAX; None if it is not in the table."""
    # The longest part decides: "TPU v5" is a part of "TPU v5 lite".
    found = [(len(part), chip) for chip in CHIPS.values() for part in chip.kinds if part in kind]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _parsed(name: str) -> tuple[int, str, Chip, list[int]]:
    """Slices, one slice's name, its chip and edges. Raises InputError for what cannot be."""
    match = _NAME.fullmatch(name)
    if match is None or match[3] not in CHIPS:
        raise InputError(f"--topology={name}: unknown; expected FAMILY:GRID of chips, e.g. {FORMS}")
    slices, grid, family = int(match[1] or 1), match[2], CHIPS[match[3]]
    edges = [int(edge) for edge in match[4].split("x")]
    if len(edges) != family.axes or math.prod(edges) > family.most:
        raise InputError(
            f"--topology={name}: a slice of {match[3]} is a grid of {family.axes} edges and at most {family.most} "
            f"chips; expected e.g. {FORMS}"
        )
    return slices, grid, family, edges


def chip_of(name: str) -> Chip:
    """The chip of a topology, with those of its links that lead to a neighbour there. Raises InputError, as `devices`.

    A link in each direction of an edge; of two chips in a row each has one neighbour.
    """
    _, _, family, edges = _parsed(name)
    neighbours = sum(min(edge - 1, 2) for edge in edges)
    return dataclasses.replace(family, links=family.links * neighbours / (2 * family.axes))


def devices(name: str) -> list[jax.Device]:
    """The devices of a topology, e.g. "v5e:16x16", or of several such slices: to compile for, never to run on.

    Raises:
      InputError: an unknown name, a grid that no pod of the family has, or no TPU compiler on this machine.
    """
    slices, grid, family, edges = _parsed(name)
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(f"--topology={name}: the TPU compiler is not installed: pip install 'lcjax[tpu]'")
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    options: dict = dict(family.options)
    if math.prod(edges) == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        found = topologies.get_topology_desc(topology_name=grid, platform="tpu", num_slices=slices, **options)
        return list(found.devices)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--topology={name}: no pod has this grid ({reason}); expected e.g. {FORMS}") from error
