"""Which of our parameters each entry of a file from elsewhere is: layouts as data, and the one reader of them.

A layout (lcjax/weights/layouts, one module an origin) says how the names of its entries begin there and here, and by
which substitutions, one after the other, the rest of a name becomes ours. The last word of a name is understood:
"weight" is a kernel, or a scale where it is a vector; "bias", "running_mean" and "running_var" are bias, mean and var.
PyTorch's (outputs, inputs, row, column) becomes (row, column, inputs, outputs), and (outputs, inputs) is transposed.
"""

import dataclasses
import itertools
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from data_pipelines.schema.errors import InputError

Rules = tuple[tuple[str, str], ...]

# What programs for training put around a network, by the name that it then has in the file.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_weights", "model_ema", "ema_state_dict", "ema", "params", "weights",
    "model", "net", "network", "module", "_orig_mod", "seg_model", "teacher", "student", "backbone", "encoder",
    "swin_unet", "swin", "vit", "resnet", "segformer", "feature_extractor", "base_model", "online_encoder",
    "online_net", "encoder_q", "momentum_encoder", "0",
)  # fmt: skip
_DEPTH = 5  # of wrappers in wrappers
_MOST_PREFIXES = 100  # that are tried: published files have a few

# The last word of a name, there and here; a weight that is a vector is a scale.
LEAVES = {"weight": "kernel", "running_mean": "mean", "running_var": "var"}


@dataclasses.dataclass(frozen=True)
class Part:
    """Entries whose names begin like `theirs` are ours below `ours`; `rules` change the rest of the name.

    A rule may end a module's name with "[1/3]": the entry is then the second of three that stand side by side in ours.

    Attributes:
      theirs: pattern of the beginning of a name.
      ours: beginning of a path: encoders/STREAM/, decoders/STREAM/, head/ or another part of our networks.
      rules: (pattern, replacement), one after the other on what follows `theirs`, in which "." parts modules.
    """

    theirs: str
    ours: str
    rules: Rules = ()


@dataclasses.dataclass(frozen=True)
class Input:
    """What an encoder learned to see.

    Attributes:
      bands: their names, in order; empty where they are not known.
      scaling: values of config.scaling that show a network the numbers that it learned with; empty for any.
      stream: of the layout.
      origin: a word on the data, for messages and docs.
    """

    bands: tuple[str, ...]
    scaling: tuple[str, ...] = ()
    stream: str = "image"
    origin: str = ""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The entries of one origin.

    Attributes:
      name: what config.weights.layout calls it.
      title: in words.
      models: families here (`lcjax info models`) that take it.
      parts: the first that fits a name has it.
      first: pattern of the name of the kernel that sees the bands, of each encoder.
      marks: patterns; a file is of this origin where `first` and each of them fit some name.
      against: patterns; a file is not of this origin where one of them fits a name.
      unused: (pattern of names, why nothing here takes them).
      copies: (pattern of names, replacement): entries that stand twice and must be equal.
      lacks: (pattern of our paths below an encoder, why the origin has nothing for them).
      mirrors: whether a decoder of ours, the mirror of such an encoder, may begin with its blocks (`mirrored`).
      turns: (pattern of our paths, name of a turn in `TURNS`), where the usual one is wrong.
      inputs: what its encoders are known to have learned from; the number of bands chooses.
      refused: not empty: why a file of this origin cannot be taken.
      asked: a file is of this origin only where config.weights.layout says so: another has the same names.
      note: what the names do not tell and one has to know, for messages and docs.
      source: where the weights are published, and their licence.
    """

    name: str
    title: str
    models: tuple[str, ...]
    parts: tuple[Part, ...]
    first: str
    marks: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    unused: tuple[tuple[str, str], ...] = ()
    copies: Rules = ()
    lacks: tuple[tuple[str, str], ...] = ()
    mirrors: bool = False
    turns: tuple[tuple[str, str], ...] = ()
    inputs: tuple[Input, ...] = ()
    refused: str = ""
    asked: bool = False
    note: str = ""
    source: str = ""


def _up(value: np.ndarray) -> np.ndarray:
    """A transposed convolution (inputs, outputs, row, column) as a dense layer unfolded in space (layers.UpConv)."""
    return value.transpose(0, 2, 3, 1).reshape(value.shape[0], -1)


def _unfolded(value: np.ndarray) -> np.ndarray:
    """A merging of patches whose four neighbours are the last of (channel, neighbour), in columns, for ours."""
    order = [0, 2, 1, 3]
    if value.ndim == 1:
        return value.reshape(-1, 4)[:, order].T.reshape(-1)
    return value.reshape(value.shape[0], -1, 4)[:, :, order].transpose(2, 1, 0).reshape(-1, value.shape[0])


def _as_it_is(value: np.ndarray) -> np.ndarray:
    return value


TURNS = {"up": _up, "unfolded": _unfolded, "as it is": _as_it_is}


UNKNOWN = "no entry that its layout knows"  # why it is skipped


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A file's entries by our names.

    Attributes:
      layout: that it was read by.
      prefix: what was peeled off all names, "model.encoder." for example.
      arrays: our path -> values, float32, in our layout of axes.
      names: our path -> the entries that it was made of.
      skipped: name of an entry -> why nothing takes it.
      mirrored: whether decoders begin with blocks of the encoders, and for the rest at random.
    """

    layout: Layout
    prefix: str
    arrays: Mapping[str, np.ndarray]
    names: Mapping[str, tuple[str, ...]]
    skipped: Mapping[str, str]
    mirrored: bool = False

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of its encoders."""
        return tuple(dict.fromkeys(path.split("/")[1] for path in self.arrays if path.startswith("encoders/")))

    @property
    def strangers(self) -> tuple[str, ...]:
        """Unknown entries that stand in a block of an encoder, beside known ones: what they do would be left out."""
        known = [name for path, names in self.names.items() if path.startswith("encoders/") for name in names]
        blocks = set(map(self._block, known)) - {""}
        return tuple(name for name, why in self.skipped.items() if why == UNKNOWN and self._block(name) in blocks)

    def _block(self, name: str) -> str:
        """The first two words of a longer name: "layer1.0" of "layer1.0.conv1.weight"."""
        words = name.removeprefix(self.prefix).split(".")
        return ".".join(words[:2]) if len(words) > 3 else ""


def recognised(
    arrays: Mapping[str, np.ndarray], layouts: Sequence[Layout], where: str, wanted: str = ""
) -> tuple[Layout, str]:
    """The layout of a file and what is to be peeled off its names.

    Of several that fit, the one that knows most entries; of equal ones, one that is known to have learned from as many
    bands, and else the first in `layouts`.

    Args:
      arrays: by the names of the file.
      layouts: to choose from.
      where: the file, for messages.
      wanted: name of a layout that was asked for; "" recognises it.

    Raises:
      InputError: nothing fits, `wanted` is unknown or does not fit, or the origin is one that is refused.
    """
    names = list(arrays)
    known = {layout.name: layout for layout in layouts if not layout.refused}
    if wanted and wanted not in known:
        raise InputError(f"config.weights.layout={wanted!r}: expected one of {', '.join(known)}, or empty")
    tried = [known[wanted]] if wanted else [layout for layout in layouts if not layout.asked]
    best: tuple[tuple[int, bool], Layout, str] | None = None
    for prefix in _prefixes(names):
        inner = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        for layout in tried:
            if not _fits(layout, inner):
                continue
            known_entries = sum(our_name(name, layout) is not None for name in inner)
            first = [arrays[prefix + name] for name in inner if re.search(layout.first, name)]
            bands = {kernel.shape[1] for kernel in first if kernel.ndim == 4}
            score = known_entries, bands <= {len(one.bands) for one in layout.inputs}
            if best is None or score > best[0]:
                best = score, layout, prefix
    if best is None:
        shown = ", ".join(names[:3]) + (f", ... ({len(names):,} entries)" if len(names) > 3 else "")
        what = f"the layout {wanted}" if wanted else f"a layout of {', '.join(known)}"
        raise InputError(
            f"{where}: its entries are {shown}; expected those of {what}; docs/weights.md says which weights are known"
        )
    _, layout, prefix = best
    if layout.refused:
        raise InputError(f"{where}: {layout.title}: {layout.refused}")
    return layout, prefix


def _prefixes(names: Sequence[str]) -> list[str]:
    """What may be peeled off: nothing, or wrappers in wrappers, the outer ones first."""
    rank = {wrapper: place for place, wrapper in enumerate(WRAPPERS)}
    found: set[tuple[str, ...]] = {()}
    for name in names:
        words = name.split(".")[: _DEPTH + 1]
        wrappers = itertools.takewhile(rank.__contains__, words[:-1])
        found |= set(itertools.accumulate(((wrapper,) for wrapper in wrappers), initial=()))
    ordered = sorted(found, key=lambda words: (len(words), [rank[word] for word in words]))
    return ["".join(f"{word}." for word in words) for words in ordered[:_MOST_PREFIXES]]


def _fits(layout: Layout, names: Sequence[str]) -> bool:
    def somewhere(pattern: str) -> bool:
        return any(re.search(pattern, name) for name in names)

    return all(map(somewhere, (layout.first, *layout.marks))) and not any(map(somewhere, layout.against))


def converted(arrays: Mapping[str, np.ndarray], layout: Layout, prefix: str, where: str) -> Foreign:
    """A file's entries by our names, in our layout of axes.

    Args:
      arrays: by the names of the file.
      layout, prefix: of `recognised`.
      where: the file, for messages.

    Raises:
      InputError: entries that must be equal are not, or one of several that stand side by side is missing.
    """
    pieces: dict[str, dict[tuple[int, int], tuple[str, np.ndarray]]] = {}
    skipped = {name: f"lies outside of {prefix}" for name in arrays if not name.startswith(prefix)}
    for full, value in arrays.items():
        if full in skipped:
            continue
        name = full.removeprefix(prefix)
        why = next((why for pattern, why in layout.unused if re.search(pattern, name)), "")
        if not why and name.endswith("num_batches_tracked"):
            why = "counts batches"
        if not why:
            why = _why_copied(full, name, arrays, layout, prefix, where)
        path = None if why else our_name(name, layout)
        if path is None:
            skipped[full] = why or UNKNOWN
            continue
        path, place = _placed(path, value)
        if place in pieces.setdefault(path, {}):
            raise InputError(f"{where}: {full} and {pieces[path][place][0]} are both {path} here; expected one of them")
        pieces[path][place] = full, _turned(full, value, path, layout, where)
    joined = {path: _joined(path, found, where) for path, found in pieces.items()}
    names = {path: tuple(found[place][0] for place in sorted(found)) for path, found in pieces.items()}
    return Foreign(layout, prefix, joined, names, skipped)


def _why_copied(full: str, name: str, arrays: Mapping[str, np.ndarray], layout: Layout, prefix: str, where: str) -> str:
    """Why an entry that stands twice is not taken; "" for one that does not."""
    for pattern, replacement in layout.copies:
        other = prefix + re.sub(pattern, replacement, name)
        if re.search(pattern, name) and other in arrays:
            if not np.array_equal(arrays[full], arrays[other]):
                raise InputError(f"{where}: {full} and {other} differ; expected the same values twice")
            return "stands there twice, with the same values"
    return ""


def our_name(name: str, layout: Layout) -> str | None:
    """Our path of an entry, before its last word is understood; None for one that the layout does not know."""
    for part in layout.parts:
        found = re.match(part.theirs, name)
        if found:
            rest = name[found.end() :]
            for pattern, replacement in part.rules:
                rest = re.sub(pattern, replacement, rest)
            return part.ours + rest.replace(".", "/")
    return None


def _placed(path: str, value: np.ndarray) -> tuple[str, tuple[int, int]]:
    """The path with its last word in our terms; and which of how many side by side the entry is."""
    place = (0, 1)
    if found := re.search(r"\[(\d)/(\d)\]", path):
        place = int(found[1]), int(found[2])
        path = path.replace(found[0], "")
    module, _, leaf = path.rpartition("/")
    leaf = "scale" if leaf == "weight" and value.ndim == 1 else LEAVES.get(leaf, leaf)
    return f"{module}/{leaf}", place


def _turned(name: str, value: np.ndarray, path: str, layout: Layout, where: str) -> np.ndarray:
    """In our layout of axes, float32."""
    with np.errstate(over="ignore"):
        floats = np.asarray(value).astype(np.float32)
    if not np.isfinite(floats).all():
        raise InputError(f"{where}: {name} holds numbers beyond those of float32, up to {np.abs(value).max():.3g}")
    for pattern, turn in layout.turns:
        if re.search(pattern, path):
            try:
                return TURNS[turn](floats)
            except ValueError as error:
                raise InputError(
                    f"{where}: {name} has the shape {floats.shape}, which it has in no {layout.title}"
                ) from error
    if not path.endswith("/kernel"):
        return floats
    if floats.ndim == 4:
        return floats.transpose(2, 3, 1, 0)
    return floats.T


def _joined(path: str, found: Mapping[tuple[int, int], tuple[str, np.ndarray]], where: str) -> np.ndarray:
    """The pieces of a path side by side."""
    count = next(iter(found))[1]
    missing = [place for place in range(count) if (place, count) not in found]
    if missing:
        have = ", ".join(name for name, _ in found.values())
        raise InputError(f"{where}: holds {have}, and {count} such entries make {path}; expected all of them")
    values = [found[place, count][1] for place in range(count)]
    if not values or (count > 1 and any(not value.ndim or value.shape != values[0].shape for value in values)):
        shapes = ", ".join(f"{name} {value.shape}" for name, value in found.values())
        raise InputError(f"{where}: holds {shapes}, which make {path}; expected equal shapes")
    return values[0] if count == 1 else np.concatenate(values, axis=-1)


_BLOCK = re.compile(r"encoders/(\w+)/stages/(\d+)/(\d+)/.*")


def mirrored(foreign: Foreign, paths: Collection[str], where: str) -> Foreign:
    """With an encoder's blocks in the mirrored decoder, too; without blocks that find no place.

    So Swin-Unet begins in its authors' code: the blocks of an ImageNet Swin at the same resolution, those beyond the
    decoder's depth left out, and the layers between stages at random.

    Args:
      foreign: entries of an encoder.
      paths: of all arrays of the network that is begun, by the encoders' names in `foreign`.
      where: the file, for messages.

    Raises:
      InputError: the file has no encoder that is mirrored, or a decoder; or the network has no mirror.
    """
    last = max((int(block[2]) for path in paths if (block := _BLOCK.fullmatch(path))), default=0)
    found: dict[str, str] = {}
    for path in foreign.arrays if foreign.layout.mirrors else ():
        if block := _BLOCK.fullmatch(path):
            stage = block.span(2)
            other = f"decoders{path[len('encoders') : stage[0]]}{last - 1 - int(block[2])}{path[stage[1] :]}"
            found |= {other: path} if other in paths else {}
    if not found or any(path.startswith("decoders/") for path in foreign.arrays):
        raise InputError(
            f"{where}: config.weights.decoder='mirrored' starts the decoder of swin_unet or two_stream_swin with the "
            f"blocks of a Swin encoder, and the file is of {foreign.layout.title}; set config.weights.decoder=''"
        )
    over = [path for path in foreign.arrays if path not in paths and _BLOCK.fullmatch(path)]
    skipped = {name: "of a block that the mirrored network has not" for path in over for name in foreign.names[path]}
    kept = {path: path for path in foreign.arrays if path not in over} | found
    return dataclasses.replace(
        foreign,
        arrays={path: foreign.arrays[source] for path, source in kept.items()},
        names={path: foreign.names[source] for path, source in kept.items()},
        skipped={**foreign.skipped, **skipped},
        mirrored=True,
    )
