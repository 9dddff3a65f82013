"""What a file says of an array that it holds, before any of the array is read."""

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

# The types that weights may have; names are those of numpy.
TYPES = {
    np.dtype(name).name: np.dtype(name)
    for name in (
        *("float64", "float32", "float16", jnp.bfloat16),
        *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"),
    )
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """An array of a file.

    Attributes:
      shape: as the file says it.
      dtype: one of `TYPES`.
      read: reads the array; called only where the claims of the whole file are within the limits.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def claim(self) -> int:
        """Bytes in memory; an axis of no numbers counts as one, for numpy multiplies the others all the same."""
        return math.prod(max(size, 1) for size in self.shape) * self.dtype.itemsize
