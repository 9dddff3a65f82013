"""Peak figures of accelerators, and the chips of a TPU pod as devices to compile for on a machine without any."""

import dataclasses
import importlib.util
import math
import os
import re

import jax
from jax.experimental import topologies

from data_pipelines.schema.errors import InputError

# Examples of the names of topologies, for messages.
EXAMPLES = "v5e:2x2, v5e:16x16, v6e:16x16, v5p:4x4x4, v4:2x2x1, 2*v5e:16x16 (two slices) and so on"


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak figures of one accelerator, which is one device of JAX.

    Attributes:
      kinds: parts of `device_kind`, any of which tells the chip.
      flops: dense products in bfloat16, FLOP/s.
      memory: bytes that a program may use; 0 is unknown.
      bandwidth: of that memory, bytes/s.
      links: bytes/s that leave the chip over all its links to other chips of the slice.
      axes: dimensions of the grid of a slice.
      max_chips: largest number of chips in a slice.
      options: of the compiler, for this family.
    """

    kinds: tuple[str, ...]
    flops: float
    memory: int = 0
    bandwidth: float = 0.0
    links: float = 0.0
    axes: int = 0
    max_chips: int = 0
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
# libtpu asks a metadata server where it runs; here there is none. As a compiler it may be loaded more than once.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


def chip(kind: str) -> Chip | None:
    """Returns the chip of a `device_kind` of JAX, or None where it is not in the table."""
    # The longest match decides: "TPU v5" is a part of "TPU v5 lite".
    matches = [(len(part), chip) for chip in CHIPS.values() for part in chip.kinds if part in kind]
    return max(matches, key=lambda pair: pair[0])[1] if matches else None


def _parsed(name: str) -> tuple[int, str, Chip, list[int]]:
    """Returns the number of slices, the name of one, its chip and its grid; raises InputError for unknown ones."""
    match = _NAME.fullmatch(name)
    if match is None or match[3] not in CHIPS:
        raise InputError(f"--topology={name}: unknown; expected FAMILY:GRID of chips, e.g. {EXAMPLES}")
    slices, one, family = int(match[1] or 1), match[2], CHIPS[match[3]]
    grid = [int(size) for size in match[4].split("x")]
    if len(grid) != family.axes or math.prod(grid) > family.max_chips:
        raise InputError(
            f"--topology={name}: a slice of {match[3]} is a grid of {family.axes} edges and at most {family.max_chips} "
            f"chips; expected e.g. {EXAMPLES}"
        )
    return slices, one, family, grid


def chip_of(name: str) -> Chip:
    """Returns the chip of a topology, with only those of its links that lead to a neighbour.

    A chip has a link in each direction of each axis; of two chips in a row each has one neighbour.

    Raises:
      InputError: as `devices`.
    """
    _, _, family, grid = _parsed(name)
    neighbours = sum(min(size - 1, 2) for size in grid)
    return dataclasses.replace(family, links=family.links * neighbours / (2 * family.axes))


def devices(name: str) -> list[jax.Device]:
    """Returns the devices of a topology to compile for, not to run on.

    Args:
      name: e.g. "v5e:16x16", or "2*v5e:16x16" for two slices.

    Raises:
      InputError: the name is unknown, no pod has this grid, or the TPU compiler is not installed.
    """
    slices, one, family, grid = _parsed(name)
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(f"--topology={name}: the TPU compiler is not installed: pip install 'lcjax[tpu]'")
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    options: dict = dict(family.options)
    if math.prod(grid) == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        described = topologies.get_topology_desc(topology_name=one, platform="tpu", num_slices=slices, **options)
        return list(described.devices)
    except jax.errors.JaxRuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--topology={name}: no pod has this grid ({reason}); expected e.g. {EXAMPLES}") from error
