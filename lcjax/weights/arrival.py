"""What a network took of weights from elsewhere, entry by entry; and the refusal where too little arrived."""

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.models.interfaces import ParameterGroups, begins
from lcjax.models.transfer import resized_places
from lcjax.weights import bands as band_rules
from lcjax.weights.layout import Foreign, Input

How = Literal["taken", "resized", "adapted", "replaced", "missing"]
HOWS: tuple[How, ...] = ("taken", "resized", "adapted", "replaced", "missing")


@dataclasses.dataclass(frozen=True)
class Row:
    """One array of this network.

    Attributes:
      path: its name here.
      how: "taken" as it was, "resized" to another number of places, "adapted" to other bands, "replaced" where the file
        has one that does not serve here, "missing" where the file has none; the last two keep their initial values.
      note: why, or by which rule.
    """

    path: str
    how: How
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Arrival:
    """What of a network came from elsewhere.

    Attributes:
      source: the file, as messages call it.
      sha256: of the file, in hexadecimal; "" where it is a workdir.
      origin: what wrote it, in words.
      peeled: what was peeled off all of its names.
      bands: the rule of the first layer.
      note: what the names of the file do not tell and one has to know.
      rows: one for each array of the network.
      unused: name of an entry of the file -> why nothing took it.
    """

    source: str
    sha256: str
    origin: str
    peeled: str
    bands: str
    note: str
    rows: tuple[Row, ...]
    unused: Mapping[str, str]

    def counts(self) -> dict[str, int]:
        """How many arrays arrived in which way."""
        found = collections.Counter(row.how for row in self.rows)
        return {how: found[how] for how in HOWS}

    def text(self) -> str:
        """A table, part by part."""
        head = f"{self.source}: {self.origin}"
        head += f", SHA-256 {self.sha256[:12]}..." if self.sha256 else ""
        head += f", {self.peeled!r} peeled off its names" if self.peeled else ""
        lines = [head, *([f"  note: {self.note}"] if self.note else [])]
        parts: dict[str, list[Row]] = {}
        for row in self.rows:
            parts.setdefault(part_of(row.path), []).append(row)
        width = max(map(len, parts))
        for part, rows in sorted(parts.items(), key=lambda item: not item[0].startswith("encoders")):
            of_how = {how: [row for row in rows if row.how == how] for how in HOWS}
            told = ", ".join(f"{len(found):,} {how}" for how, found in of_how.items() if found)
            lines.append(f"  {part:<{width}}  {told}")
            notes: dict[str, list[str]] = {}
            for row in rows:
                if row.note:
                    notes.setdefault(row.note, []).append(row.path.removeprefix(part).lstrip("/"))
            lines += [f"  {'':<{width}}    {_some(paths)}: {note}" for note, paths in notes.items()]
        reasons: dict[str, list[str]] = {}
        for name, why in self.unused.items():
            reasons.setdefault(why, []).append(name)
        lines += [f"  {'not used':<{width}}  {len(names):,}: {_some(names)}: {why}" for why, names in reasons.items()]
        return "\n".join(lines)


def part_of(path: str) -> str:
    """The part of a network that a path is of: encoders/NAME, decoders/NAME, adapters/NAME, head, ..."""
    first, *rest = path.split("/")
    return f"{first}/{rest[0]}" if first in ("encoders", "decoders", "adapters") else first


def _some(names: Iterable[str]) -> str:
    first, *rest = names
    return f"{first} and {len(rest):,} more" if len(rest) > 1 else ", ".join([first, *rest])


@dataclasses.dataclass(frozen=True)
class Plan:
    """What of a network takes what of a file.

    Attributes:
      groups: path of each encoder that takes anything -> its groups (Template.groups).
      bands: name of each such encoder -> the names of the bands that it sees.
      streams: name of each such encoder -> the encoder of the file that it takes.
      rule: of the first layer (bands.RULES).
      head: whether the last layer is taken where it has as many classes.
    """

    groups: Mapping[str, ParameterGroups]
    bands: Mapping[str, tuple[str, ...]]
    streams: Mapping[str, str]
    rule: str = "auto"
    head: bool = False

    def encoder(self, path: str) -> str:
        """Name of the encoder that takes from elsewhere that a path is of; "" for none."""
        return next((one.removeprefix("encoders/") for one in self.groups if begins(path, [one])), "")

    def sees_bands(self, path: str) -> bool:
        """Whether a path is of a layer whose shape depends on the bands."""
        name = self.encoder(path)
        below = path.removeprefix(f"encoders/{name}/")
        return bool(name) and begins(below, self.groups[f"encoders/{name}"].bands)

    def theirs(self, path: str) -> str:
        """The name that the file's array would have: its encoders go by other names than ours."""
        part, _, rest = path.partition("/")
        name, _, below = rest.partition("/")
        named = part in ("encoders", "decoders") and name in self.streams
        return f"{part}/{self.streams[name]}/{below}" if named else path


def learned(foreign: Foreign, plan: Plan) -> dict[str, Input | None]:
    """What each encoder learned to see where the file comes from; None where nobody knows."""
    found = {}
    for name, stream in plan.streams.items():
        layers = [f"encoders/{stream}/{layer}/kernel" for layer in plan.groups[f"encoders/{name}"].bands]
        kernels = [foreign.arrays[path] for path in layers if path in foreign.arrays]
        counts = [kernel.shape[2] for kernel in kernels if kernel.ndim == 4]
        found[name] = _input(foreign, stream, counts[0]) if counts else None
    return found


def _input(foreign: Foreign, stream: str, count: int) -> Input | None:
    """Chosen by the number of bands."""
    return next((one for one in foreign.layout.inputs if one.stream == stream and len(one.bands) == count), None)


def arrive(
    values: Mapping[str, np.ndarray], foreign: Foreign, plan: Plan, source: str, sha256: str = ""
) -> tuple[dict[str, np.ndarray], Arrival]:
    """A network's arrays, with all that a file has for them.

    Args:
      values: path -> initial values of all parameters and running statistics.
      foreign: the file.
      plan: what takes what.
      source: the file, for messages.
      sha256: of the file.

    Returns:
      the arrays, and what became of each.

    Raises:
      InputError: an encoder would stay random by more than its first layer, or the file is of another network.
    """
    result, rows, rules = dict(values), [], []
    whole = _fitting_parts(values, foreign, plan)
    for path, value in values.items():
        found = foreign.arrays.get(plan.theirs(path))
        if found is None:
            rows.append(Row(path, "missing", _why_missing(path, plan.encoder(path), foreign)))
        elif plan.sees_bands(path) and value.ndim == 4:
            result[path], row, rule = _first_layer(path, value, found, foreign, plan, source)
            rows.append(row)
            rules.append(rule)
        elif not plan.encoder(path) and (why := _why_replaced(path, value, found, whole, plan.head)):
            rows.append(Row(path, "replaced", why))
        else:
            result[path] = _fitted(path, value, found, foreign, plan, source)
            places = "" if found.size == value.size else f"{max(found.shape[:-1])} places become {value.shape[0]}"
            rows.append(Row(path, "resized" if places else "taken", places))
    _check(rows, foreign, plan, source)
    used = {plan.theirs(row.path) for row in rows if row.how in ("taken", "resized", "adapted")}
    unused = dict(foreign.skipped)
    for theirs, names in foreign.names.items():
        if theirs not in used:
            unused |= dict.fromkeys(names, _why_unused(theirs, plan))
    layout, told = foreign.layout, ", ".join(dict.fromkeys(rules))
    return result, Arrival(source, sha256, layout.title, foreign.prefix, told, layout.note, tuple(rows), unused)


def _first_layer(
    path: str, value: np.ndarray, found: np.ndarray, foreign: Foreign, plan: Plan, source: str
) -> tuple[np.ndarray, Row, str]:
    """The kernel that sees the bands, what became of it, and by which rule."""
    name = plan.encoder(path)
    if found.ndim != 4 or (*found.shape[:2], found.shape[3]) != (*value.shape[:2], value.shape[3]):
        raise InputError(_misfit(path, value, found, foreign, plan, source))
    known = _input(foreign, plan.streams[name], found.shape[2])
    layer = band_rules.fitted(found, known.bands if known else (), value, plan.bands[name], plan.rule)
    how: How = "taken" if layer.same else "replaced" if layer.rule == "random" else "adapted"
    return layer.kernel.astype(np.float32), Row(path, how, layer.told), layer.rule


def _fitted(path: str, value: np.ndarray, found: np.ndarray, foreign: Foreign, plan: Plan, source: str) -> np.ndarray:
    fits = shaped(path, found, value.shape)
    if fits is None:
        raise InputError(_misfit(path, value, found, foreign, plan, source))
    return fits


def _misfit(path: str, value: np.ndarray, found: np.ndarray, foreign: Foreign, plan: Plan, source: str) -> str:
    return (
        f"{source}: {' and '.join(foreign.names[plan.theirs(path)])} has the shape {found.shape}, and {path} of this "
        f"network has {value.shape}: another network than config.model; expected one of "
        f"{', '.join(foreign.layout.models)} in the size of the weights (`lcjax info` of that file tells which)"
    )


def shaped(path: str, found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in the shape of ours: without axes of one, or for another number of places; None if it does not fit."""
    if found.shape == shape:
        return found
    if np.squeeze(found).shape == tuple(size for size in shape if size != 1):
        return found.reshape(shape)
    flat = found[0] if found.ndim == 3 and found.shape[0] == 1 else found
    resized = resized_places(path, flat, shape)
    return resized if resized.shape == shape else None


def _why_missing(path: str, encoder: str, foreign: Foreign) -> str:
    if not encoder:
        return "begins at random"
    below = path.removeprefix(f"encoders/{encoder}/")
    return next((why for pattern, why in foreign.layout.lacks if re.search(pattern, below)), "")


def _fitting_parts(values: Mapping[str, np.ndarray], foreign: Foreign, plan: Plan) -> dict[str, bool]:
    """Of each part but the encoders whether the file has all of it in these shapes; of a mirrored one what it has."""
    fitting: dict[str, bool] = {}
    for path, value in values.items():
        if not path.startswith("encoders/"):
            found = foreign.arrays.get(plan.theirs(path))
            if found is None and foreign.mirrored:
                continue
            fits = found is not None and shaped(path, found, value.shape) is not None
            fitting[part_of(path)] = fitting.get(part_of(path), True) and fits
    return fitting


def _why_replaced(path: str, value: np.ndarray, found: np.ndarray, whole: Mapping[str, bool], head: bool) -> str:
    """Why an array outside of the encoders keeps its initial values although the file has one; "" where it does not."""
    if path.startswith("head/classify"):
        if head and all(fits for part, fits in whole.items() if part == "head" or part.startswith("decoders/")):
            return ""
        there, here = found.shape[-1], value.shape[-1]
        return f"{there} classes there, {here} here; config.weights.head takes that of the same network"
    if path.startswith("head/"):
        return "" if shaped(path, found, value.shape) is not None else "of another shape there"
    return "" if whole[part_of(path)] else "of other shapes there: the whole part begins at random"


def _why_unused(theirs: str, plan: Plan) -> str:
    part, _, rest = theirs.partition("/")
    name = rest.partition("/")[0]
    if part in ("encoders", "decoders") and name not in plan.streams.values():
        return f"this network has no encoder that takes {name}"
    return "head of the origin" if part == "head" else f"this network has no such {part.rstrip('s')}"


def _check(rows: Iterable[Row], foreign: Foreign, plan: Plan, source: str) -> None:
    """Raises InputError where an encoder stays random, or the file has more of it than the network."""
    rows = tuple(rows)
    if strangers := foreign.strangers:
        raise InputError(
            f"{source}: holds {strangers[0]} in a block of its encoder ({len(strangers):,} such entries), which "
            f"{foreign.layout.title} has not: another network, whose answers would be others here"
        )
    for encoder in plan.groups:
        stream = plan.streams[encoder.removeprefix("encoders/")]
        own = [row for row in rows if begins(row.path, [encoder])]
        missing = [row.path for row in own if row.how == "missing" and not row.note]
        if missing:
            raise InputError(
                f"{source}: holds nothing for {len(missing):,} of the {len(own):,} arrays of {encoder}, the first "
                f"{missing[0]}: they would stay random; expected the weights of config.model, of one of "
                f"{', '.join(foreign.layout.models)} (`lcjax info` of that file tells which)"
            )
        there = {plan.theirs(row.path) for row in own}
        more = [path for path in foreign.arrays if begins(path, [f"encoders/{stream}"]) and path not in there]
        if more:
            raise InputError(
                f"{source}: holds {' and '.join(foreign.names[more[0]])}, for which {encoder} has no place "
                f"({len(more):,} such): a larger network than config.model (`lcjax info` of that file tells which)"
            )
