"""What a network costs: multiply-accumulates (MACs) counted in the traced program, before any compiler has seen it.

Conventions of MACs, those of published figures:

- Counted are dot products and convolutions, those of attention (queries by keys, weights by values) among them.
  Counters that look at layers, as fvcore and ptflops do, leave the latter out.
- Not counted: elementwise arithmetic, biases, norms, softmax, pooling by comparisons. Interpolation, averaging over
  bins and the resizing of tables are written as dot products here, because accelerators are good at those; they are
  not counted either (`resampling` tells what they take), as nobody counts them.
- A convolution multiplies every tap at every output, those on its padding too, as in published figures. The zeros
  between the inputs of a transposed convolution are no work.
- What is padded to whole windows is work: an image whose size fits the windows costs less for each pixel.
- A scan counts as often as it runs, a conditional as its dearest branch; one that asks for the platform as what
  platforms without a form of their own compute. A while loop with products inside is refused: its length does not
  stand in the program.

FLOPs are what is really to be computed, and what compilers count: two for each MAC, without those on padding but with
those of resampling, and one for each number that any other line makes, unless it is only moved.

A training step counts forward and backward pass without what `config.remat` computes again: "model FLOPs", of which
MFU is the quotient by time and by the peak of the device.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr

from lcjax.models.resample import SCOPE
from lcjax.models.segmenter import PARTS

# Lines that only move numbers.
_MOVES = frozenset(
    (
        "broadcast_in_dim",
        "concatenate",
        "copy",
        "pad",
        "reshape",
        "slice",
        "squeeze",
        "transpose",
        "dynamic_slice",
        "dynamic_update_slice",
        "gather",
        "rev",
        "split",
    )
)


@dataclasses.dataclass(frozen=True)
class Equation:
    """One line of a traced program.

    Attributes:
      traced: the line as JAX has it.
      times: how often it runs.
      scope: names of the scopes around it.
    """

    traced: Any
    times: int
    scope: str

    @property
    def macs(self) -> int:
        """Of all the times it runs; 0 if it is no product."""
        count = _PRODUCTS.get(self.traced.primitive.name)
        return self.times * count(self.traced) if count else 0

    @property
    def flops(self) -> int:
        """Of all the times it runs."""
        name = self.traced.primitive.name
        if name == "conv_general_dilated":
            return 2 * self.times * _convolution(self.traced, _on_inputs)
        if name in _PRODUCTS:
            return 2 * self.macs
        return 0 if name in _MOVES else self.times * sum(made.aval.size for made in self.traced.outvars)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a function costs.

    Attributes:
      parts: MACs by part of the network, "other" what stands in none.
      resampling: MACs of interpolation and averages, which is in no part.
      flops: of all.
    """

    parts: dict[str, int]
    resampling: int
    flops: int

    @property
    def macs(self) -> int:
        """Of all parts."""
        return sum(self.parts.values())


def cost(function: Callable[..., Any], *arguments: Any) -> Cost:
    """The cost of a function of arrays, or of trees of jax.ShapeDtypeStruct: nothing is compiled or run."""
    parts = dict.fromkeys((*PARTS, "other"), 0)
    resampling = flops = 0
    for equation in equations(function, *arguments):
        flops += equation.flops
        names = re.findall(r"\w+", equation.scope)
        if SCOPE in names:
            resampling += equation.macs
        else:
            parts[next((part for part in PARTS if part in names), "other")] += equation.macs
    return Cost({part: macs for part, macs in parts.items() if macs}, resampling, flops)


def equations(function: Callable[..., Any], *arguments: Any) -> list[Equation]:
    """The lines of a traced function that compute, those inside calls and loops among them."""
    return list(_equations(jax.make_jaxpr(function)(*arguments).jaxpr, 1, ""))


def _equations(jaxpr: Jaxpr, times: int, scope: str) -> Iterator[Equation]:
    for line in jaxpr.eqns:
        inside = f"{scope}/{line.source_info.name_stack}"
        name, called = line.primitive.name, list(_called(line.params.values()))
        if not called:
            yield Equation(line, times, inside)
        elif name == "cond":
            # Other forms compute again what they do not keep, or have no products: they are no measure of the work.
            platforms = line.params.get("branches_platforms") or ()
            called = [called[platforms.index(None)]] if None in platforms else called
            branches = [list(_equations(branch, times, inside)) for branch in called]
            yield from max(branches, key=lambda branch: sum(equation.macs for equation in branch))
        else:
            times_inside = times * line.params["length"] if name == "scan" else times
            for body in called:
                for equation in _equations(body, times_inside, inside):
                    if name == "while" and equation.macs:
                        raise ValueError(
                            "a product inside a while loop: how often it runs does not stand in the program"
                        )
                    yield equation


def _called(parameters: Iterable[Any]) -> Iterator[Jaxpr]:
    for value in parameters:
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _called(value)


def _dot(line: Any) -> int:
    (contracted, _), _ = line.params["dimension_numbers"]
    left, result = line.invars[0].aval.shape, line.outvars[0].aval.shape
    return int(math.prod(result) * math.prod(left[axis] for axis in contracted))


Touches = Callable[[np.ndarray, int, int], np.ndarray]


def _on_padding_too(places: np.ndarray, size: int, dilation: int) -> np.ndarray:
    multiplied: np.ndarray = places % dilation == 0
    return multiplied


def _on_inputs(places: np.ndarray, size: int, dilation: int) -> np.ndarray:
    multiplied: np.ndarray = (places % dilation == 0) & (places >= 0) & (places <= (size - 1) * dilation)
    return multiplied


def _convolution(line: Any, touches: Touches = _on_padding_too) -> int:
    """MACs of a conv_general_dilated.

    Args:
      line: of a traced program.
      touches: (places, size, dilation) -> which of the places that taps fall on, counted from the first input along one
        axis of so many inputs and so dilated, are multiplied.
    """
    numbers = line.params["dimension_numbers"]
    left, right, result = (variable.aval.shape for variable in (*line.invars, *line.outvars))
    taps = 1
    for axis, (before, _) in enumerate(line.params["padding"]):
        stride, dilation, spread = (
            line.params[key][axis] for key in ("window_strides", "lhs_dilation", "rhs_dilation")
        )
        outputs, kernel = result[numbers.out_spec[2 + axis]], right[numbers.rhs_spec[2 + axis]]
        places = np.arange(outputs)[:, None] * stride + np.arange(kernel) * spread - before
        taps *= int(np.count_nonzero(touches(places, left[numbers.lhs_spec[2 + axis]], dilation)))
    batch, channels = (result[axis] for axis in numbers.out_spec[:2])
    # The kernel's inputs are those of one group.
    return int(batch * channels * right[numbers.rhs_spec[1]] * taps)


_PRODUCTS = {"dot_general": _dot, "conv_general_dilated": _convolution}
