"""What a device could do at best: its peaks, from the table of chips or measured here, and the roof over a program.

The roofline (Williams, Waterman and Patterson 2009, "Roofline: an insightful visual performance model"): a program of
F operations that moves B bytes takes at least max(F / peak, B / bandwidth) seconds.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lcjax.profiling import timing, topologies

MEASURED, TABLE = "measured here", "data sheet"
_REPEATS = 5
_LONG_ENOUGH = 0.02  # seconds of one product, below which the clock and the launch are what is measured
_LARGEST = 16384  # edge of the largest product that is tried
# Bytes of the array that is read and written: several times what caches hold, and nothing for any accelerator.
_COPIED = 2**28


@dataclasses.dataclass(frozen=True)
class Peaks:
    """What a device can do at best.

    Attributes:
      flops: of dense products, FLOP/s, of all devices together.
      bandwidth: of main memory, bytes/s, of all devices together.
      source: `TABLE` or `MEASURED`.
    """

    flops: float
    bandwidth: float
    source: str

    def bound(self, flops: float, moved: float) -> float:
        """Seconds that a program of so many operations and bytes takes at least."""
        return max(flops / self.flops, moved / self.bandwidth)

    @property
    def ridge(self) -> float:
        """FLOPs a byte from which on products bind, and memory no more."""
        return self.flops / self.bandwidth


def peaks(device: jax.Device, count: int, dtype: str) -> Peaks:
    """The peaks of `count` devices of a kind: of the data sheet where they are in the table, else measured in a second.

    Several CPU devices are one machine, and share what it can do.

    Args:
      device: one of them.
      count: of devices that work together.
      dtype: of the products, "bfloat16" or "float32"; the table is of bfloat16 alone.
    """
    chip = topologies.chip(device.device_kind)
    if chip and chip.bandwidth and dtype == "bfloat16":
        return Peaks(chip.flops * count, chip.bandwidth * count, TABLE)
    many = 1 if device.platform == "cpu" else count
    return Peaks(_product_rate(device, dtype) * many, _copy_rate(device) * many, MEASURED)


def _best(call: Callable[[], jax.Array]) -> float:
    """Seconds of the quickest of several calls."""
    return min(timing.repeated(call, _REPEATS)) / 1e3


@functools.cache
def _product_rate(device: jax.Device, dtype: str) -> float:
    """FLOP/s of a square product, twice as large until it takes long enough."""
    product = jax.jit(lambda x: x @ x)
    edge = 1024
    while True:
        x = jax.device_put(np.full((edge, edge), 1 / edge, jnp.dtype(dtype)), device)
        seconds = _best(functools.partial(product, x))
        if seconds > _LONG_ENOUGH or edge >= _LARGEST:
            return 2 * edge**3 / seconds
        edge *= 2


@functools.cache
def _copy_rate(device: jax.Device) -> float:
    """Bytes/s, read and written, of an array to whose numbers one is added where they lie."""
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jax.device_put(np.zeros(_COPIED // 4, np.float32), device)

    def once() -> jax.Array:
        nonlocal x
        x = add(x)
        return x

    return 2 * _COPIED / _best(once)
