"""A layout read backwards: our arrays by the names and with the axes of another library, for whoever uses that.

A layout's substitutions lead from their names to ours. Backwards each may or may not have been applied, so all ways are
tried. Of the names that come out those count that the layout itself makes our path of and, as a name that is half ours
fits, too, that hold no word that is ours alone; of several, the one that most substitutions were undone for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.weights.arrival import part_of
from lcjax.weights.layout import LEAVES, Layout, Part, converted, our_name

_ENCODER = re.compile(r"encoders/(\w+)/")
_BY_STREAM = re.compile(r"(encoders|decoders)/(\w+)/")


def theirs(arrays: Mapping[str, np.ndarray], layout: Layout, where: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Our arrays as a library of the layout's origin has them.

    Args:
      arrays: by our paths: parameters and statistics of a network.
      layout: whose names are wanted.
      where: what is written, for messages.

    Returns:
      The arrays by their names, and our paths for which the layout has none: of decoders and heads, each as a whole.

    Raises:
      InputError: the layout is not of such a network, has names for half of a part of it, or cannot be read backwards.
    """
    streams = dict.fromkeys(_ENCODER.findall(" ".join(arrays)))
    known = dict.fromkeys(_ENCODER.findall(" ".join(part.ours for part in layout.parts)))
    if not set(streams) <= set(known) and len(streams) != 1:
        raise InputError(
            f"{where}: encoders for {', '.join(streams)}, and {layout.name} has one for {', '.join(known)}; choose a "
            "layout with as many encoders"
        )
    renamed = {name: name if name in known else next(iter(known)) for name in streams}
    found, left, expected = {}, [], {}
    for path, value in arrays.items():
        there = _renamed(path, renamed)
        ranked = _names(there, layout)
        names = [name for name, undone in ranked.items() if undone == max(ranked.values())]
        if len(names) == 1:
            found[names[0]], expected[there] = _turned(value, there), value
        elif names:
            raise InputError(
                f"{where}: {layout.title} has {' and '.join(names)} for {path}; expected one of them; choose another "
                "layout"
            )
        else:
            left.append(path)
    whole = {part_of(_renamed(path, renamed)) for path in arrays if _ENCODER.match(path)} | set(map(part_of, expected))
    for path in left:
        lacks = any(re.search(pattern, _ENCODER.sub("", path)) for pattern, _ in layout.lacks)
        if part_of(_renamed(path, renamed)) in whole and not lacks:
            raise InputError(f"{where}: {layout.title} has no name for {path}; choose another layout")
    back = converted(found, layout, "", where).arrays
    if back.keys() != expected.keys() or not all(np.array_equal(back[path], expected[path]) for path in back):
        raise InputError(f"{where}: {layout.name} is read in one direction alone; choose another layout")
    return found, left


def _renamed(path: str, streams: Mapping[str, str]) -> str:
    """A path with its stream called as in the layout."""
    return _BY_STREAM.sub(lambda match: f"{match[1]}/{streams.get(match[2], match[2])}/", path)


def _turned(value: np.ndarray, path: str) -> np.ndarray:
    """In PyTorch's order of axes."""
    if not path.endswith("/kernel"):
        return np.asarray(value)
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T)


def _names(path: str, layout: Layout) -> dict[str, int]:
    """The names of which the layout makes a path, and how many substitutions were undone for each."""
    module, _, leaf = path.rpartition("/")
    words = [word for word, here in LEAVES.items() if here == leaf] or [leaf]
    found = {}
    for word in ["weight"] if leaf == "scale" else words:
        wanted = f"{module}/{word}"
        for part in layout.parts:
            begin = _literal(part.theirs)
            if begin is not None and wanted.startswith(part.ours):
                ours = _words(two for _, two in part.rules) - _words(one for one, _ in part.rules)
                for rest, undone in _before(wanted.removeprefix(part.ours).replace("/", "."), part).items():
                    if our_name(begin + rest, layout) == wanted and not ours & set(rest.split(".")):
                        found[begin + rest] = undone
    return found


def _words(texts: Iterable[str]) -> set[str]:
    """The words of names in patterns or replacements."""
    return {word for text in texts for word in re.findall(r"[a-z_]\w*", text.replace("\\b", " "))}


def _before(name: str, part: Part) -> dict[str, int]:
    """What a name may have been before the part's substitutions, and more, and how many were undone for each."""
    found = {name: 0}
    for pattern, replacement in reversed(part.rules):
        if inverted := _inverted(pattern, replacement):
            ours, template = inverted
            found = {re.sub(ours, template, one): undone + 1 for one, undone in found.items()} | found
    return found


def _inverted(pattern: str, replacement: str) -> tuple[str, str] | None:
    """The substitution that undoes one: a pattern on our names, and what stands for it there; None where there is none.

    Of patterns, those are understood that hold plain letters, dots, and groups that the replacement names, each once;
    of a name, whole words are replaced.
    """
    groups: list[str] = []
    template = ""
    for token in _tokens(pattern.removeprefix("^")):
        if token.startswith("("):
            groups.append(token)
            template += rf"\g<g{len(groups)}>"
        elif token not in (r"\b", "$"):
            plain = _plain(token)
            if plain is None:
                return None
            template += plain
    pieces = re.split(r"\\(\d)", replacement)
    if not replacement or sorted(pieces[1::2]) != [str(number + 1) for number in range(len(groups))]:
        return None
    ours = "^" if pattern.startswith("^") else "" if replacement.startswith(".") else r"(?<![^.])"
    for place, piece in enumerate(pieces):
        ours += f"(?P<g{piece}>{groups[int(piece) - 1][1:-1]})" if place % 2 else re.escape(piece)
    return ours + ("" if replacement.endswith(".") else r"(?![^.])"), template


def _literal(pattern: str) -> str | None:
    """The shortest text that a pattern without numbers fits; None where it has some."""
    tokens = list(_tokens(pattern.removeprefix("^")))
    plain = [_plain(token) for token in tokens if not token.startswith("(")]
    is_known = all(token.endswith("?") for token in tokens if token.startswith("("))
    return "".join(text for text in plain if text) if is_known and None not in plain else None


def _plain(token: str) -> str | None:
    """What a token stands for, if that is one letter."""
    if len(token) == 2 and not token[1].isalnum():
        return token[1]
    return token if token.isalnum() or token in "_/-" else None


def _tokens(pattern: str) -> Iterator[str]:
    """A pattern's letters, escapes, and groups with a "?" behind them; looks ahead and behind are left out."""
    place = 0
    while place < len(pattern):
        end = place + (2 if pattern[place] == "\\" else 1)
        if pattern[place] == "(":
            depth = 1
            while depth:
                depth += {"(": 1, ")": -1}.get(pattern[end], 0)
                end += 1
            end += pattern[end : end + 1] == "?"
        token, place = pattern[place:end], end
        if not re.match(r"\(\?(=|!|<=|<!)", token):
            yield token
