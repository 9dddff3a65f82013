"""A compiled program read from its text (HLO): what it moves to and from memory, and between devices.

The compiler's own count of bytes takes in what never leaves the chip's fast memory, and loops' bodies once; here a
loop counts as often as it runs, and only arrays in main memory count.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

# Bytes that one device sends for an array of one byte, among n: rings, which are optimal in bandwidth (Patarasuk and
# Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations"). The array is the larger one of
# operand and result.
SENT = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "ragged-all-to-all": lambda n: (n - 1) / n,
    "collective-broadcast": lambda n: 1.0,
    "collective-permute": lambda n: 1.0,
}

# Lines that move nothing by themselves.
_STILL = frozenset(
    ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "conditional", "call", "after-all")
) | {"async-start", "async-update", "partition-id", "replica-id", "opt-barrier", "domain", "add-dependency"}
# Calls of the TPU compiler that only say how bytes are to be seen.
_NAMES_ALONE = re.compile(
    r'custom_call_target="(AllocateBuffer|ConcatBitcast|AssumeGather\w*|GatherScatterIndices\w*)"'
)
_SLICES = ("slice", "dynamic-slice", "gather")

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](\{[^{}]*\})?")
_CALLED = re.compile(r"\b(body|condition|to_apply|calls|branch_computations|true_computation|false_computation)=")
_NAMES = re.compile(r"%([\w.\-]+)")
# Which result of a line lies where which operand lay: {1}: (0, {}), or {}: (0, {}) where there is one result.
_ALIASED = re.compile(r"\{(\d*)\}: \((\d+), \{\}\)")
_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Line:
    """One instruction.

    Attributes:
      shape: type of the result as it stands in the text.
      operands: names of the lines whose results it takes.
      rest: its attributes, as they stand in the text.
    """

    name: str
    shape: str
    kind: str
    operands: tuple[str, ...]
    rest: str
    root: bool


@dataclasses.dataclass(frozen=True)
class Collective:
    """What devices exchange by one line.

    Attributes:
      kind: as the table SENT names it.
      arrays: types of the arrays, larger side, e.g. ("f32[96]", "bf16[768,3072]").
      size: bytes of these arrays.
      group: how many devices take part.
      times: how often it runs in one call of the program.
    """

    kind: str
    arrays: tuple[str, ...]
    size: int
    group: int
    times: int

    @property
    def sent(self) -> float:
        """Bytes that leave one device in one call of the program, at least."""
        return self.times * self.size * SENT[self.kind](self.group) if self.group > 1 else 0.0


class Program:
    """A program by its text.

    Attributes:
      unknown: loops whose length does not stand in the text; they count once.
    """

    def __init__(self, text: str):
        devices = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", text[: text.find("\n")])
        self._devices = math.prod(map(int, devices))
        self._computations: dict[str, dict[str, Line]] = {}
        current: dict[str, Line] = {}
        for line in text.splitlines():
            header = _HEADER.match(line)
            if header:
                current = self._computations[header[2]] = {}
                if header[1]:
                    self._entry = header[2]
            elif _LINE.match(line):
                parsed = _line(line)
                current[parsed.name] = parsed
        self.unknown = 0
        self._times, self._top = self._counted()

    def collectives(self) -> list[Collective]:
        """All that devices exchange, those that cost most first."""
        found: dict[object, Collective] = {}
        for name, lines in self._computations.items():
            for line in lines.values():
                kind = line.kind.removesuffix("-start")
                if kind not in SENT or not self._times[name]:
                    continue
                shape = _result(line)
                group = self._group(line)
                if kind == "all-reduce" and _is_cut(lines, line):  # each device keeps its part, which is all it is sent
                    kind, shape = "reduce-scatter", next(found.shape for found in lines.values() if found.root)
                factor = group if kind == "reduce-scatter" else 1
                arrays = tuple(f"{dtype}[{edges}]" for dtype, edges, _ in _ARRAY.findall(shape))
                one = Collective(kind, arrays, factor * array_bytes(shape), group, self._times[name])
                # Spread over several fused lines, it is one exchange on one channel.
                channel = re.search(r"\bchannel_id=(\d+)", line.rest)
                key = (kind, channel[1]) if channel else (name, line.name)
                if key not in found or one.times > found[key].times:
                    found[key] = one
        return sorted(found.values(), key=lambda one: -one.sent)

    def between_slices(self) -> int:
        """Bytes that one device sends to other slices in one call of the program, over the network of the hosts."""
        return sum(
            self._times[name] * array_bytes(_parts(line.shape)[0])
            for name, lines in self._computations.items()
            for line in lines.values()
            if line.kind == "send" and "xla_megascale_runtime" in line.rest
        )

    def memory_bytes(self) -> int:
        """Bytes read from and written to main memory in one call of the program, on one device."""
        return sum(
            self._times[name] * self._moved(name, line)
            for name in self._top
            for line in self._computations[name].values()
        )

    def _counted(self) -> tuple[collections.Counter, set[str]]:
        """How often each computation runs, and which of them are programs of their own, not parts of one line."""
        times: collections.Counter = collections.Counter({self._entry: 1})
        top = {self._entry}
        for name in self._in_order():
            for line in self._computations[name].values():
                trips = self._trips(line) if line.kind == "while" else 1
                for role, called in _called(line):
                    times[called] += times[name] * trips
                    if name in top and line.kind != "fusion" and (role != "to_apply" or line.kind == "call"):
                        top.add(called)
        return times, top

    def _in_order(self) -> list[str]:
        """Reachable computations, each before those that it calls."""
        done: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in done:
                for line in self._computations[name].values():
                    for _, called in _called(line):
                        visit(called)
                done[name] = None

        visit(self._entry)
        return list(done)[::-1]

    def _trips(self, loop: Line) -> int:
        known = _COUNT.search(loop.rest)
        if known:
            return int(known[1])
        # A counter from 0 by 1, as jax.lax.scan makes it, below a number that stands in the condition.
        condition = self._computations[dict(_called(loop))["condition"]]
        root = next(line for line in condition.values() if line.root)
        limits = [condition[name] for name in root.operands if condition[name].kind == "constant"]
        number = re.match(r"(\d+)\)", limits[0].rest) if limits else None
        if root.kind == "compare" and "direction=LT" in root.rest and number:
            return int(number[1])
        self.unknown += 1
        return 1

    def _group(self, line: Line) -> int:
        """How many devices take part in each group of a collective."""
        meshes = re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{('[^{}]*)\}", line.rest)
        if meshes:
            sizes = dict(re.findall(r"'([^']+)'=(\d+)", meshes[1]))
            # Of an axis that was split, the part is named: 'x':(1)4 is four neighbours of it.
            named = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", meshes[2])
            return math.prod(int(part or sizes[axis]) for axis, part in named)
        counted = re.search(r"replica_groups=\[([\d,]+)\]<=", line.rest)
        if counted:
            return int(counted[1].split(",")[-1])
        listed = re.search(r"replica_groups=\{\{([\d,]+)\}", line.rest)
        if listed:
            return listed[1].count(",") + 1
        return self._devices

    def _moved(self, name: str, line: Line) -> int:
        """Bytes that one line moves each time it runs."""
        if line.kind in _STILL or line.kind.endswith("-done") or _NAMES_ALONE.search(line.rest):
            return 0
        kind = line.kind.removesuffix("-start")
        written = array_bytes(_result(line), main=True)
        operands = [self._computations[name][operand] for operand in line.operands]
        if kind in _SLICES:
            return written + array_bytes(_result(line)) * _in_main(operands[0])
        if kind == "dynamic-update-slice":
            return array_bytes(operands[1].shape, main=True) + array_bytes(operands[1].shape) * _in_main(line)
        if line.kind != "fusion":
            return written + sum(array_bytes(operand.shape, main=True) for operand in operands)
        inside = self._computations[dict(_called(line))["calls"]]
        uses = _uses(inside)
        passed = {result: int(of) for result, of in _ALIASED.findall(line.rest) if _only_exchanged(uses[int(of)])}
        still = sum(array_bytes(_parts(line.shape)[int(i)] if i else line.shape, main=True) for i in passed)
        read = sum(_read(uses[k], operand) for k, operand in enumerate(operands) if k not in passed.values())
        return read + _written(inside, line) - still


def _is_cut(lines: dict[str, Line], line: Line) -> bool:
    """Whether a part of what a fused line makes is all that comes of the fusion."""
    root = next(found for found in lines.values() if found.root)
    return root.kind == "dynamic-slice" and root.operands[0] == line.name


def _only_exchanged(users: list[tuple[Line, bool]]) -> bool:
    """Whether an operand only passes through a fused line, beside which an exchange of it goes on."""
    return all(user.kind in SENT or user.kind == "tuple" or "AsyncCollective" in user.rest for user, _ in users)


def _read(users: list[tuple[Line, bool]], operand: Line) -> int:
    """Bytes that a fused line reads of an operand, which may be slices of it."""
    if not _in_main(operand):
        return 0
    if users and all(user.kind in _SLICES and first for user, first in users):
        return min(array_bytes(operand.shape), sum(array_bytes(user.shape) for user, _ in users))
    if users and all(user.kind == "dynamic-update-slice" and first for user, first in users):
        return 0  # written in place
    return array_bytes(operand.shape, main=True)


def _written(lines: dict[str, Line], line: Line) -> int:
    """Bytes that a fused line writes, which may be a slice of its result."""
    root = next(found for found in lines.values() if found.root)
    while root.kind == "bitcast":
        root = lines[root.operands[0]]
    if root.kind == "dynamic-update-slice":
        return array_bytes(lines[root.operands[1]].shape) * _in_main(line)
    return array_bytes(line.shape, main=True)


def _line(text: str) -> Line:
    match = _LINE.match(text)
    assert match
    after = text[match.end() :]
    end = _closing(after) + 1 if after.startswith("(") else after.index(" ")
    shape, after = after[:end], after[end + 1 :]
    kind, after = after.split("(", 1)
    end = _closing("(" + after) - 1
    return Line(match[2], shape, kind, tuple(_NAMES.findall(after[:end])), after, bool(match[1]))


def _uses(lines: dict[str, Line]) -> dict[int, list[tuple[Line, bool]]]:
    """Parameter -> the lines that use it, and whether as their first operand; bitcasts are looked through."""
    source = {line.name: int(line.rest.split(")")[0]) for line in lines.values() if line.kind == "parameter"}
    found: dict[int, list[tuple[Line, bool]]] = {number: [] for number in source.values()}
    for line in lines.values():
        for place, operand in enumerate(line.operands):
            if operand in source and line.kind == "bitcast":
                source[line.name] = source[operand]
            elif operand in source:
                found[source[operand]].append((line, place == 0))
    return found


def _closing(text: str) -> int:
    """Where the parenthesis closes that the text begins with."""
    depth = 0
    for found in re.finditer(r"[()]", text):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.start()
    raise ValueError(f"no closing parenthesis: {text[:80]}")


def _called(line: Line) -> Iterator[tuple[str, str]]:
    """(role, name) of the computations that a line calls."""
    for match in _CALLED.finditer(line.rest):
        after = line.rest[match.end() :]
        listed = after[: after.index("}")] if after.startswith("{") else re.split(r"[,\s)]", after, maxsplit=1)[0]
        yield from ((match[1], name) for name in _NAMES.findall(listed))


def _result(line: Line) -> str:
    """The type of what a line makes; one that starts an exchange or a copy carries its operand along."""
    if not line.kind.endswith("-start") or line.kind == "all-reduce-start":
        return line.shape
    parts = _parts(line.shape)
    return parts[0] if line.kind == "copy-start" else parts[1]


def _parts(shape: str) -> list[str]:
    """The elements of a tuple's type."""
    parts, depth, start = [], 0, 1
    for found in re.finditer(r"[(){}\[\],]", shape):
        if found[0] in "({[":
            depth += 1
        elif found[0] in ")}]":
            depth -= 1
        if (found[0] == "," and depth == 1) or depth == 0:
            parts.append(shape[start : found.start()].strip())
            start = found.end()
    return parts


def array_bytes(shape: str, *, main: bool = False) -> int:
    """Bytes of all arrays of a type, without padding; with `main` of those in main memory."""
    total = 0
    for dtype, edges, layout in _ARRAY.findall(shape):
        if main and "S(" in layout:
            continue
        width = re.match(r"[a-z]+(\d+)", dtype)
        bits = 8 if dtype == "pred" else int(width[1]) if width else 0
        total += math.prod(map(int, edges.split(","))) * bits // 8 if edges else bits // 8
    return total


def _in_main(line: Line) -> bool:
    return "S(" not in line.shape
