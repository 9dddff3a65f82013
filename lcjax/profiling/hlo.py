"""Reads from the text (HLO) of a compiled program what it moves to and from memory, and between devices.

The compiler's own count of bytes includes what never leaves the chip's fast memory, and counts loop bodies once. Here a
loop counts as often as it runs, and only arrays in main memory count.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

from lcjax.models.kernels import traffic

# Bytes that one of n devices sends for each byte of the array, the larger one of operand and result, in a ring. Rings
# are optimal in bandwidth (Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
# workstations").
SENT = {
    "all-reduce": lambda n: 2 * (n - 1) / n,
    "all-gather": lambda n: (n - 1) / n,
    "reduce-scatter": lambda n: (n - 1) / n,
    "all-to-all": lambda n: (n - 1) / n,
    "ragged-all-to-all": lambda n: (n - 1) / n,
    "collective-broadcast": lambda n: 1.0,
    "collective-permute": lambda n: 1.0,
}

# Instructions that move nothing by themselves.
_MOVES_NOTHING = frozenset(
    ("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "while", "conditional", "call", "after-all")
) | {"async-start", "async-update", "partition-id", "replica-id", "opt-barrier", "domain", "add-dependency"}
# Calls of the TPU compiler that only reinterpret bytes.
_REINTERPRETS = re.compile(
    r'custom_call_target="(AllocateBuffer|ConcatBitcast|AssumeGather\w*|GatherScatterIndices\w*)"'
)
_SLICES = ("slice", "dynamic-slice", "gather")

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_ARRAY = re.compile(r"([a-z]\w*)\[([\d,]*)\](\{[^{}]*\})?")
_CALLED = re.compile(r"\b(body|condition|to_apply|calls|branch_computations|true_computation|false_computation)=")
_NAMES = re.compile(r"%([\w.\-]+)")
# (result, operand) that share memory: "{1}: (0, {})", or "{}: (0, {})" where there is one result.
_ALIASED = re.compile(r"\{(\d*)\}: \((\d+), \{\}\)")
# What a kernel carries with it, over several lines.
_METADATA = re.compile(r"kernel_metadata=\{\n(.*)\n\}")
_SAID = re.compile(rf'"{traffic.MOVED}":"([\d ]+)"')
_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
      name: unique in its computation.
      shape: type of the result, as in the text.
      kind: opcode, e.g. "fusion".
      operands: names of the instructions whose results it takes.
      rest: operands and attributes, as in the text.
      root: whether its result is that of the computation.
    """

    name: str
    shape: str
    kind: str
    operands: tuple[str, ...]
    rest: str
    root: bool


@dataclasses.dataclass(frozen=True)
class Collective:
    """What devices exchange by one instruction.

    Attributes:
      kind: a key of SENT.
      arrays: types of the arrays on the larger side, e.g. ("f32[96]", "bf16[768,3072]").
      size: bytes of these arrays.
      group: number of devices that take part.
      times: how often it runs in one call of the program.
    """

    kind: str
    arrays: tuple[str, ...]
    size: int
    group: int
    times: int

    @property
    def sent(self) -> float:
        """Least number of bytes that leave one device in one call of the program."""
        return self.times * self.size * SENT[self.kind](self.group) if self.group > 1 else 0.0


class HloModule:
    """A compiled program, parsed from its text.

    Attributes:
      unknown_loops: number of loops whose trip count the text does not state; they count once.
    """

    def __init__(self, text: str):
        """Parses the text.

        Args:
          text: HLO, as `compiled.as_text()` gives it.
        """
        text = _METADATA.sub(r"kernel_metadata={\1}", text)
        devices = re.findall(r"\b(?:num_partitions|replica_count)=(\d+)", text[: text.find("\n")])
        self._devices = math.prod(map(int, devices))
        self._computations: dict[str, dict[str, Instruction]] = {}
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            header = _HEADER.match(line)
            if header:
                current = self._computations[header[2]] = {}
                if header[1]:
                    self._entry = header[2]
            elif _INSTRUCTION.match(line):
                parsed = _parse(line)
                current[parsed.name] = parsed
        self.unknown_loops = 0
        self._times, self._top = self._counted()

    def collectives(self) -> list[Collective]:
        """Returns all that devices exchange, the most expensive first."""
        collectives: dict[object, Collective] = {}
        for name, instructions in self._computations.items():
            for instruction in instructions.values():
                kind = instruction.kind.removesuffix("-start")
                if kind not in SENT or not self._times[name]:
                    continue
                shape = _result(instruction)
                group = self._group(instruction)
                if kind == "all-reduce" and _is_cut(
                    instructions, instruction
                ):  # each device keeps, and needs to be sent, only its part
                    kind, shape = "reduce-scatter", next(other.shape for other in instructions.values() if other.root)
                factor = group if kind == "reduce-scatter" else 1
                arrays = tuple(f"{dtype}[{sizes}]" for dtype, sizes, _ in _ARRAY.findall(shape))
                one = Collective(kind, arrays, factor * array_bytes(shape), group, self._times[name])
                # An exchange that is split over several fusions is one exchange on one channel.
                channel = re.search(r"\bchannel_id=(\d+)", instruction.rest)
                key = (kind, channel[1]) if channel else (name, instruction.name)
                if key not in collectives or one.times > collectives[key].times:
                    collectives[key] = one
        return sorted(collectives.values(), key=lambda one: -one.sent)

    def between_slices(self) -> int:
        """Returns the bytes that one device sends to other slices, over the hosts' network, in one call."""
        return sum(
            self._times[name] * array_bytes(_parts(instruction.shape)[0])
            for name, instructions in self._computations.items()
            for instruction in instructions.values()
            if instruction.kind == "send" and "xla_megascale_runtime" in instruction.rest
        )

    def memory_bytes(self) -> int:
        """Returns the bytes that one device reads from and writes to main memory in one call."""
        return sum(
            self._times[name] * self._moved(name, instruction)
            for name in self._top
            for instruction in self._computations[name].values()
        )

    def _counted(self) -> tuple[collections.Counter, set[str]]:
        """Returns how often each computation runs, and which of them are not part of a single instruction."""
        times: collections.Counter = collections.Counter({self._entry: 1})
        top = {self._entry}
        for name in self._in_order():
            for instruction in self._computations[name].values():
                trips = self._trips(instruction) if instruction.kind == "while" else 1
                for role, called in _called(instruction):
                    times[called] += times[name] * trips
                    if (
                        name in top
                        and instruction.kind != "fusion"
                        and (role != "to_apply" or instruction.kind == "call")
                    ):
                        top.add(called)
        return times, top

    def _in_order(self) -> list[str]:
        """Returns the reachable computations, each before those that it calls."""
        done: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in done:
                for instruction in self._computations[name].values():
                    for _, called in _called(instruction):
                        visit(called)
                done[name] = None

        visit(self._entry)
        return list(done)[::-1]

    def _trips(self, loop: Instruction) -> int:
        known = _COUNT.search(loop.rest)
        if known:
            return int(known[1])
        # A counter from 0 in steps of 1, as jax.lax.scan makes it, below a constant in the condition.
        condition = self._computations[dict(_called(loop))["condition"]]
        root = next(instruction for instruction in condition.values() if instruction.root)
        limits = [condition[name] for name in root.operands if condition[name].kind == "constant"]
        number = re.match(r"(\d+)\)", limits[0].rest) if limits else None
        if root.kind == "compare" and "direction=LT" in root.rest and number:
            return int(number[1])
        self.unknown_loops += 1
        return 1

    def _group(self, instruction: Instruction) -> int:
        """Returns the number of devices in each group of a collective."""
        meshes = re.search(r"replica_groups=mesh\[([^\]]*)\].*?\{('[^{}]*)\}", instruction.rest)
        if meshes:
            sizes = dict(re.findall(r"'([^']+)'=(\d+)", meshes[1]))
            # An axis may be split: 'x':(1)4 is a part of four neighbours.
            named = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", meshes[2])
            return math.prod(int(part or sizes[axis]) for axis, part in named)
        counted = re.search(r"replica_groups=\[([\d,]+)\]<=", instruction.rest)
        if counted:
            return int(counted[1].split(",")[-1])
        listed = re.search(r"replica_groups=\{\{([\d,]+)\}", instruction.rest)
        if listed:
            return listed[1].count(",") + 1
        return self._devices

    def _moved(self, name: str, instruction: Instruction) -> int:
        """Returns the bytes that one instruction moves each time it runs."""
        if (
            instruction.kind in _MOVES_NOTHING
            or instruction.kind.endswith("-done")
            or _REINTERPRETS.search(instruction.rest)
        ):
            return 0
        kind = instruction.kind.removesuffix("-start")
        written = array_bytes(_result(instruction), main=True)
        operands = [self._computations[name][operand] for operand in instruction.operands]
        if kind in _SLICES:
            return written + array_bytes(_result(instruction)) * _in_main(operands[0])
        if kind == "dynamic-update-slice":
            return array_bytes(operands[1].shape, main=True) + array_bytes(operands[1].shape) * _in_main(instruction)
        if instruction.kind != "fusion":
            return _of_call(instruction, operands)
        inside = self._computations[dict(_called(instruction))["calls"]]
        uses = _uses(inside)
        passed = {
            result: int(of) for result, of in _ALIASED.findall(instruction.rest) if _only_exchanged(uses[int(of)])
        }
        still = sum(
            array_bytes(_parts(instruction.shape)[int(i)] if i else instruction.shape, main=True) for i in passed
        )
        read = sum(_read(uses[k], operand) for k, operand in enumerate(operands) if k not in passed.values())
        return read + _written(inside, instruction) - still


def _of_call(instruction: Instruction, operands: list[Instruction]) -> int:
    """Returns the bytes that an instruction moves which reads its operands and writes its results.

    Each of them once, or as often as a kernel of ours says (lcjax.models.kernels.traffic), if it lies in main memory.
    """
    arrays = [*(operand.shape for operand in operands), *_results(instruction)]
    once = [array_bytes(shape, main=True) for shape in arrays]
    said = _SAID.search(instruction.rest) if instruction.kind == "custom-call" else None
    if said is None:
        return sum(once)
    moved = [int(number) for number in said[1].split()]
    assert len(moved) == len(once), f"{instruction.name}: says what {len(moved)} arrays move, and has {len(once)}"
    return sum(max(least, all_times) for least, all_times in zip(once, moved, strict=True) if least)


def _is_cut(instructions: dict[str, Instruction], instruction: Instruction) -> bool:
    """Whether the computation returns only a slice of this instruction's result."""
    root = next(other for other in instructions.values() if other.root)
    return root.kind == "dynamic-slice" and root.operands[0] == instruction.name


def _only_exchanged(users: list[tuple[Instruction, bool]]) -> bool:
    """Whether an operand only passes through a fusion while its exchange goes on."""
    return all(user.kind in SENT or user.kind == "tuple" or "AsyncCollective" in user.rest for user, _ in users)


def _read(users: list[tuple[Instruction, bool]], operand: Instruction) -> int:
    """Returns the bytes that a fusion reads of an operand, of which it may take slices."""
    if not _in_main(operand):
        return 0
    if users and all(user.kind in _SLICES and first for user, first in users):
        return min(array_bytes(operand.shape), sum(array_bytes(user.shape) for user, _ in users))
    if users and all(user.kind == "dynamic-update-slice" and first for user, first in users):
        return 0  # written in place
    return array_bytes(operand.shape, main=True)


def _written(instructions: dict[str, Instruction], instruction: Instruction) -> int:
    """Returns the bytes that a fusion writes, which may be a slice of its result."""
    root = next(other for other in instructions.values() if other.root)
    while root.kind == "bitcast":
        root = instructions[root.operands[0]]
    if root.kind == "dynamic-update-slice":
        return array_bytes(instructions[root.operands[1]].shape) * _in_main(instruction)
    return array_bytes(instruction.shape, main=True)


def _parse(text: str) -> Instruction:
    match = _INSTRUCTION.match(text)
    assert match
    after = text[match.end() :]
    end = _closing(after) + 1 if after.startswith("(") else after.index(" ")
    shape, after = after[:end], after[end + 1 :]
    kind, after = after.split("(", 1)
    end = _closing("(" + after) - 1
    return Instruction(match[2], shape, kind, tuple(_NAMES.findall(after[:end])), after, bool(match[1]))


def _uses(instructions: dict[str, Instruction]) -> dict[int, list[tuple[Instruction, bool]]]:
    """Returns parameter -> the instructions that use it, directly or through bitcasts, and whether as first operand."""
    source = {
        instruction.name: int(instruction.rest.split(")")[0])
        for instruction in instructions.values()
        if instruction.kind == "parameter"
    }
    uses: dict[int, list[tuple[Instruction, bool]]] = {number: [] for number in source.values()}
    for instruction in instructions.values():
        for place, operand in enumerate(instruction.operands):
            if operand in source and instruction.kind == "bitcast":
                source[instruction.name] = source[operand]
            elif operand in source:
                uses[source[operand]].append((instruction, place == 0))
    return uses


def _closing(text: str) -> int:
    """Returns where the parenthesis that begins the text closes."""
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"no closing parenthesis: {text[:80]}")


def _called(instruction: Instruction) -> Iterator[tuple[str, str]]:
    """Yields (role, name) of the computations that an instruction calls."""
    for match in _CALLED.finditer(instruction.rest):
        after = instruction.rest[match.end() :]
        listed = after[: after.index("}")] if after.startswith("{") else re.split(r"[,\s)]", after, maxsplit=1)[0]
        yield from ((match[1], name) for name in _NAMES.findall(listed))


def _result(instruction: Instruction) -> str:
    """Returns the type of the result; an instruction that starts an exchange or a copy carries its operand along."""
    if not instruction.kind.endswith("-start") or instruction.kind == "all-reduce-start":
        return instruction.shape
    parts = _parts(instruction.shape)
    return parts[0] if instruction.kind == "copy-start" else parts[1]


def _results(instruction: Instruction) -> list[str]:
    """Returns the types of the results, each by itself."""
    shape = _result(instruction)
    return _parts(shape) if shape.startswith("(") else [shape]


def _parts(shape: str) -> list[str]:
    """Splits the type of a tuple into its elements."""
    parts, depth, start = [], 0, 1
    for match in re.finditer(r"[(){}\[\],]", shape):
        if match[0] in "({[":
            depth += 1
        elif match[0] in ")}]":
            depth -= 1
        if (match[0] == "," and depth == 1) or depth == 0:
            parts.append(shape[start : match.start()].strip())
            start = match.end()
    return parts


def array_bytes(shape: str, *, main: bool = False) -> int:
    """Returns the bytes of all arrays of a type, without padding.

    Args:
      shape: type as in the text.
      main: count only arrays in main memory.
    """
    total = 0
    for dtype, sizes, layout in _ARRAY.findall(shape):
        if main and "S(" in layout:
            continue
        width = re.match(r"[a-z]+(\d+)", dtype)
        bits = 8 if dtype == "pred" else int(width[1]) if width else 0
        total += math.prod(map(int, sizes.split(","))) * bits // 8 if sizes else bits // 8
    return total


def _in_main(instruction: Instruction) -> bool:
    return "S(" not in instruction.shape
