"""How the work of a kernel is cut so that it fits in the fast memory of a chip. No kernel is imported here.

A strip is one row of windows. Tokens of a window lie in rows of `pitch` places, which is the window's width rounded up
to 8 (the rows of a TPU's registers), so that cutting windows out moves whole registers. The places between are zeros.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp

# Bytes of fast memory that a kernel may take: what every TPU since v4 gives a program, and where an image does not fit
# in that, what v5e, v5p and v6e have (128, 64 and 128 MiB), less what else lies there.
FAST_MEMORY = (14 * 2**20, 40 * 2**20)
EPSILON = 1e-5  # of the layer norms
_ROWS = 8  # of a register of float32
_LANES = 128  # of a register
TOKENS = 512  # that go through a product together, about
_HIDDEN = 512  # hidden channels of an MLP that are held at once, about
_IMAGES = 8  # of a grid step, at most
_ABSENT = -1e30  # logit of a place that holds no token
MASKED = -100.0  # added to the logits of token pairs that do not touch; the value of the original
_ROUNDS = (8, 4, 2, 1)  # products of a grid step that are tried

Shape = tuple[int, ...]


def rounded(size: int) -> int:
    """A number of rows, rounded up to whole registers."""
    return -(-size // _ROWS) * _ROWS


def divisors(number: int) -> list[int]:
    """All of them, the smallest first."""
    small = [part for part in range(1, math.isqrt(number) + 1) if number % part == 0]
    return sorted({*small, *(number // part for part in small)})


def divisor(number: int, most: int) -> int:
    """The largest divisor that is at most so large; 1 at least."""
    return max((part for part in divisors(number) if part <= most), default=1)


def held(shape: tuple[int, ...], itemsize: int) -> int:
    """Bytes of a block in fast memory, whose last two axes fill whole registers."""
    *outer, rows, lanes = shape
    return math.prod(outer) * rounded(rows) * -(-lanes // _LANES) * _LANES * itemsize


def _tokens_tried() -> tuple[int, ...]:
    """Tokens of a product, the best first."""
    return TOKENS, TOKENS // 2, TOKENS // 4


def _row_cuts(rows: int, width: int) -> Iterator[tuple[int, int]]:
    """Ways to cut rows of so many tokens, the best first: rows of a product, and products of a grid step."""
    for tokens in _tokens_tried():
        at_once = divisor(rows, tokens // rounded(width))
        for rounds in _ROUNDS:
            yield at_once, divisor(rows // at_once, rounds)


@dataclasses.dataclass(frozen=True)
class Windows:
    """How an image is cut into windows.

    Attributes:
      height, width: of the image, in tokens.
      window: side of a window.
      shift: by how many tokens the windows are shifted to the right and down; 0 if they are not.
    """

    height: int
    width: int
    window: int
    shift: int

    @property
    def strips(self) -> int:
        """Windows below each other, the last of which may hold padding."""
        return -(-self.height // self.window)

    @property
    def across(self) -> int:
        """Windows side by side, the last of which may hold padding."""
        return -(-self.width // self.window)

    @property
    def pitch(self) -> int:
        """Places of a row of a window in fast memory."""
        return rounded(self.window)

    @property
    def tokens(self) -> int:
        """Places of a window in fast memory, those between its rows among them."""
        return self.window * self.pitch

    def row(self, strip: jax.Array, place: int) -> jax.Array:
        """The row of the padded image that is this one of a strip; below `height` it is one of the image."""
        return (strip * self.window + place + self.shift) % (self.strips * self.window)

    @functools.cached_property
    def runs(self) -> tuple[tuple[int, int, int, int], ...]:
        """(window, place in it, column of the image, columns): what lies side by side in both, without padding."""
        padded = self.across * self.window
        runs: list[list[int]] = []
        for place in range(padded):
            column = (place + self.shift) % padded
            window, inside = divmod(place, self.window)
            if column >= self.width:
                continue
            if runs and runs[-1][0] == window and runs[-1][2] + runs[-1][3] == column:
                runs[-1][3] += 1
            else:
                runs.append([window, inside, column, 1])
        return tuple((a, b, c, d) for a, b, c, d in runs)

    def padded(self, bias_KxNxN: jax.Array) -> jax.Array:
        """The bias of pairs of tokens (heads, window^2, window^2) for the places of a window in fast memory.

        Places without a token are attended to by nobody.
        """
        heads, edge, between = bias_KxNxN.shape[0], self.window, self.pitch - self.window
        pairs = bias_KxNxN.reshape(heads, edge, edge, edge, edge)
        pairs = jnp.pad(pairs, ((0, 0), (0, 0), (0, between), (0, 0), (0, 0)))
        pairs = jnp.pad(pairs, ((0, 0),) * 4 + ((0, between),), constant_values=_ABSENT)
        return pairs.reshape(heads, self.tokens, self.tokens)


@dataclasses.dataclass(frozen=True)
class Attention:
    """What is known of the attention of a block before it runs.

    Attributes:
      windows: how its images are cut.
      batch: images.
      channels: of a token.
      heads: of the attention.
      dtype: name of the type of the tokens and of the products' factors.
      interpret: whether the kernel runs in Pallas' interpreter, on any device, for tests.
    """

    windows: Windows
    batch: int
    channels: int
    heads: int
    dtype: str
    interpret: bool = False

    @property
    def size(self) -> int:
        """Channels of a head."""
        return self.channels // self.heads

    @property
    def together(self) -> int:
        """Heads of one product."""
        return max(1, min(self.heads, _LANES // self.size))

    def plan(self, *, backward: bool) -> "AttentionPlan | None":
        """How the work is cut so that it fits in fast memory; None where it does not fit at all."""
        return _first_that_fits([*self._plans()], backward=backward)

    def _plans(self) -> "Iterator[AttentionPlan]":
        """Ways to cut it, the best first."""
        groups = self.heads // self.together
        even = self.heads % self.together == 0 and self.together * self.size % _LANES == 0
        for tiles in divisors(groups) if even else [1]:
            for tokens in _tokens_tried():
                at_once = tokens // (self.windows.across * self.windows.tokens)
                for images in reversed(divisors(self.batch)):
                    if images <= _IMAGES:
                        yield AttentionPlan(self, tiles, images, divisor(images * self.windows.strips, at_once))


@dataclasses.dataclass(frozen=True)
class AttentionPlan:
    """How the work of a block is cut.

    Attributes:
      of: the block.
      tiles: parts that the heads are taken in, one after the other.
      images: of a grid step.
      strips: of windows that go through a product together.
    """

    of: Attention
    tiles: int
    images: int
    strips: int

    @property
    def grid(self) -> tuple[int, int]:
        """Parts of the heads, and steps over the batch."""
        return self.tiles, self.of.batch // self.images

    @property
    def rounds(self) -> int:
        """Products of a grid step, one after the other."""
        return self.images * self.of.windows.strips // self.strips

    @property
    def heads(self) -> int:
        """Heads of a part."""
        return self.of.heads // self.tiles

    @property
    def channels(self) -> int:
        """Channels of a part."""
        return self.heads * self.of.size

    @property
    def count(self) -> int:
        """Windows of a product."""
        return self.strips * self.of.windows.across

    @property
    def tokens(self) -> int:
        """Places of a product."""
        return self.count * self.of.windows.tokens

    @property
    def groups(self) -> Iterator[tuple[slice, slice]]:
        """(channels, heads) of each product of queries and keys."""
        for first in range(0, self.heads, self.of.together):
            last = min(first + self.of.together, self.heads)
            yield slice(first * self.of.size, last * self.of.size), slice(first, last)

    def held(self, *, backward: bool) -> int:
        """Bytes of fast memory that it takes, about: blocks are held twice, and numbers on their way once."""
        windows, c, size = self.of.windows, self.of.channels, jnp.dtype(self.of.dtype).itemsize
        images = self.images * held((windows.height, windows.width, c), size)
        result = images if self.tiles == 1 else images * 4 // size
        weights = 3 * held((c, self.channels), size) + held((self.channels, c), size)
        sums = weights * 4 // size
        bias = held((self.heads, windows.tokens, windows.tokens), 4)
        tokens, of_part = held((self.tokens, c), 4), held((self.tokens, self.channels), 4)
        inside = 4 * of_part + held((windows.window, windows.width, c), 4)
        if backward:
            return 2 * (2 * images + result + weights + sums + 2 * bias) + inside + 4 * tokens
        return 2 * (images + result + weights + bias) + inside + 2 * tokens

    @property
    def places(self) -> Shape:
        """The tokens of a product in fast memory, by window, row and column."""
        return (self.count, self.of.windows.window, self.of.windows.pitch, self.of.channels)

    @property
    def rows(self) -> Shape:
        """A strip as it lies in the image, in fast memory."""
        return (self.of.windows.window, self.of.windows.width, self.of.channels)


@dataclasses.dataclass(frozen=True)
class Mlp:
    """What is known of the MLP of a block before it runs.

    Attributes:
      batch: images.
      height, width: of an image, in tokens.
      channels: of a token; the hidden ones are four times as many.
      dtype: name of the type of the tokens and of the products' factors.
      interpret: whether the kernel runs in Pallas' interpreter, on any device, for tests.
    """

    batch: int
    height: int
    width: int
    channels: int
    dtype: str
    interpret: bool = False

    def plan(self, *, backward: bool) -> "MlpPlan | None":
        """How the work is cut so that it fits in fast memory; None where it does not fit at all."""
        return _first_that_fits([*self._plans()], backward=backward)

    def _plans(self) -> "Iterator[MlpPlan]":
        """Ways to cut it, the best first."""
        whole, rows = 4 * self.channels, self.batch * self.height
        lanes = [_LANES * part for part in divisors(whole // _LANES)] if whole % _LANES == 0 else []
        for hidden in [whole, *(part for part in reversed(lanes) if part < whole)]:
            for at_once, rounds in _row_cuts(rows, self.width):
                yield MlpPlan(self, hidden, at_once, rounds)


@dataclasses.dataclass(frozen=True)
class MlpPlan:
    """How the work is cut.

    Attributes:
      of: the MLP.
      hidden: hidden channels of a part; the parts come one after the other.
      rows: that go through a product together.
      rounds: products of a grid step, one after the other.
    """

    of: Mlp
    hidden: int
    rows: int
    rounds: int

    @property
    def parts(self) -> int:
        """Parts of the hidden channels."""
        return 4 * self.of.channels // self.hidden

    @property
    def grid(self) -> tuple[int, int]:
        """Parts of the hidden channels, and steps over the rows of all images."""
        return self.parts, self.of.batch * self.of.height // (self.rows * self.rounds)

    @property
    def pitch(self) -> int:
        """Places of a row in fast memory."""
        return rounded(self.of.width)

    @property
    def slices(self) -> list[slice]:
        """Hidden channels of a part that are held at once."""
        at_once = (
            _LANES * divisor(self.hidden // _LANES, _HIDDEN // _LANES) if self.hidden % _LANES == 0 else self.hidden
        )
        return [slice(first, first + at_once) for first in range(0, self.hidden, at_once)]

    @property
    def places(self) -> Shape:
        """The tokens of a product in fast memory."""
        return (self.rows, self.pitch, self.of.channels)

    def held(self, *, backward: bool) -> int:
        """Bytes of fast memory that it takes, about: blocks are held twice, and numbers on their way once."""
        size = jnp.dtype(self.of.dtype).itemsize
        block = held((self.rows * self.rounds, self.of.width, self.of.channels), size)
        result = block if self.parts == 1 else block * 4 // size
        weights = 2 * held((self.of.channels, self.hidden), size)
        sums = 2 * held((self.of.channels, self.hidden), 4)
        tokens = (self.rows * self.pitch, self.of.channels)
        inside = held(tokens, 4)
        across = held((tokens[0], self.slices[0].stop), 4)
        if backward:
            return 2 * (2 * block + result + weights + sums) + 5 * inside + 3 * across
        return 2 * (block + result + weights) + 3 * inside + 2 * across


@dataclasses.dataclass(frozen=True)
class Head:
    """What is known of the head of a network before it runs.

    Attributes:
      batch: images.
      height, width: of an image, in tokens.
      inputs: channels of a token.
      channels: of a pixel.
      factor: pixels along the side of a token.
      classes: logits of a pixel.
      dtype: name of the type of the tokens and of the products' factors.
      interpret: whether the kernel runs in Pallas' interpreter, on any device, for tests.
    """

    batch: int
    height: int
    width: int
    inputs: int
    channels: int
    factor: int
    classes: int
    dtype: str
    interpret: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of a token."""
        return self.factor**2

    @property
    def logits(self) -> int:
        """Logits of a token."""
        return self.pixels * self.classes

    def plan(self, *, backward: bool) -> "HeadPlan | None":
        """How the work is cut so that it fits in fast memory; None where it does not fit at all."""
        cuts = _row_cuts(self.batch * self.height, self.width)
        return _first_that_fits([HeadPlan(self, *cut) for cut in cuts], backward=backward)


@dataclasses.dataclass(frozen=True)
class HeadPlan:
    """How the work is cut.

    Attributes:
      of: the head.
      rows: that go through a product together.
      rounds: products of a grid step, one after the other.
    """

    of: Head
    rows: int
    rounds: int

    @property
    def grid(self) -> tuple[int]:
        """Steps over the rows of all images."""
        return (self.of.batch * self.of.height // (self.rows * self.rounds),)

    @property
    def pitch(self) -> int:
        """Places of a row in fast memory."""
        return rounded(self.of.width)

    def held(self, *, backward: bool) -> int:
        """Bytes of fast memory that it takes, about: blocks are held twice, and numbers on their way once."""
        of, size = self.of, jnp.dtype(self.of.dtype).itemsize
        count = self.rows * self.rounds
        tokens, logits = held((count, of.width, of.inputs), size), held((count, of.width, of.logits), 4)
        matrices = ((of.pixels, of.inputs, of.channels), (of.pixels, of.channels, of.logits))
        weights, sums = (sum(held(matrix, width) for matrix in matrices) for width in (size, 4))
        inside = sum(held((self.rows * self.pitch, channels), 4) for channels in (of.inputs, of.channels, of.logits))
        if backward:
            return 2 * (2 * tokens + logits + weights + sums) + 4 * inside
        return 2 * (tokens + logits + weights) + 2 * inside


Kernel = Attention | Mlp | Head
Plan = TypeVar("Plan", AttentionPlan, MlpPlan, HeadPlan)


def _first_that_fits(plans: Sequence[Plan], *, backward: bool) -> Plan | None:
    """The first plan that takes no more than the least of FAST_MEMORY that any of them fits in."""
    sizes = [plan.held(backward=backward) for plan in plans]
    for most in FAST_MEMORY:
        for plan, size in zip(plans, sizes, strict=True):
            if size <= most:
                return plan
    return None
