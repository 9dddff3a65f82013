"""Which records a split means: "train", "validation[:80%]", "a+b", a part of a partition, "list:FILE"."""

import collections
import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

from data_pipelines.schema import csv_rows, paths
from data_pipelines.schema.errors import InputError

_SLICE = r"(\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?"
_TERM = re.compile(r"(?P<name>[^\[\]+]+)" + _SLICE)
LIST = "list:"
_LISTED = re.compile(f"(?P<name>{LIST}.+?)" + _SLICE)
# In file names of SEN12MS and DFC2020 the sensor stands where the id of the record has nothing.
_SENSOR = re.compile(r"_(s1|s2|lc|dfc)_")
_MASK = re.compile(r"^MSK_")


@dataclasses.dataclass(frozen=True)
class Splits:
    """The names that the records of a data set go by.

    Attributes:
      title: of the data set, for messages.
      stored: split -> ids of its records, in order; no id is in two of them.
      parts: "NAME/PART" of a partition -> ids.
      warnings: "NAME" of a partition -> what a reader of its scores must know.
    """

    title: str
    stored: Mapping[str, Sequence[str]]
    parts: Mapping[str, Sequence[str]]
    warnings: Mapping[str, str]

    def ids(self, spec: str) -> tuple[str, ...]:
        """The ids that a text means, in order: terms joined by "+", each a name with or without a slice.

        A name is a stored split, NAME/PART of a partition, or list:FILE, a text or CSV file that names records or
        their files, one a line; a list stands alone. A slice is [a:b], [a%:b%] or a mixture, as TensorFlow Datasets has
        it.

        Raises InputError for a name that is not there, for a text that cannot be parsed and for one that means nothing.
        """
        wanted: list[str] = []
        for term in self._terms(spec):
            ids = self._named(term["name"].strip(), spec)
            wanted += ids[_edge(term["start"], len(ids), 0) : _edge(term["stop"], len(ids), len(ids))]
        if not wanted:
            raise self._error(spec, "it holds no record; expected at least one")
        if twice := len(wanted) - len(set(wanted)):
            raise self._error(spec, f"it holds {twice} records more than once")
        return tuple(wanted)

    def warnings_of(self, spec: str) -> list[str]:
        """What a reader of scores on these records must know, one line for each partition that it takes a part of."""
        names = dict.fromkeys(term["name"].strip().partition("/")[0] for term in self._terms(spec))
        return [f"{name}: {self.warnings[name]}" for name in names if self.warnings.get(name)]

    def _terms(self, spec: str) -> list[re.Match[str]]:
        # A list stands alone: its path may hold what parts other terms.
        parts = [spec] if spec.strip().startswith(LIST) else spec.split("+")
        terms = [(_LISTED if part.strip().startswith(LIST) else _TERM).fullmatch(part.strip()) for part in parts]
        if not all(terms):
            raise self._error(spec, "it cannot be read")
        return [term for term in terms if term]

    def _named(self, name: str, spec: str) -> Sequence[str]:
        if name.startswith(LIST):
            return self._listed(paths.given(name.removeprefix(LIST), f"split {spec!r}"))
        ids = self.stored.get(name) or self.parts.get(name)
        if ids is None:
            raise self._error(spec, f"there is no {name!r}")
        return ids

    def _listed(self, path: pathlib.Path) -> list[str]:
        """The records that a file names, in its order: by id, or by one of their files, with or without folders."""
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected a list of records or of their files, one a line")
        every = [record_id for ids in self.stored.values() for record_id in ids]
        whole, last = set(every), collections.Counter(map(_last, every))
        by_last = {_last(record_id): record_id for record_id in every if last[_last(record_id)] == 1}
        cells = csv_rows.first_column(path)
        named = [cell if cell in whole else by_last.get(_plain(cell), "") for cell in cells]
        unknown = [cell for cell, record_id in zip(cells, named, strict=True) if not record_id]
        if unknown:
            raise InputError(
                f"{path}: {len(unknown)} of {len(cells)} lines name no one record of {self.title} (the first: "
                f"{unknown[0]!r}); expected ids such as {every[0]!r}, or names of their files; those that were refused "
                "are in refused.csv"
            )
        return named

    def _error(self, spec: str, what: str) -> InputError:
        names = ", ".join([*self.stored, *self.parts])
        return InputError(
            f"split {spec!r} of {self.title}: {what}. Expected one of {names}, or list:FILE; a slice of it such as "
            "validation[:75%]; or a sum such as validation+test"
        )


def absolute(spec: str) -> str:
    """A text with the path of a list from the root, so that it means the same in any folder."""
    if not spec.strip().startswith(LIST):
        return spec
    return LIST + str(paths.given(spec.strip().removeprefix(LIST), f"split {spec!r}").absolute())


def without_folders(spec: str) -> str:
    """A text with the name of a list in place of its path: what others may read of it."""
    found = _LISTED.fullmatch(spec.strip())
    if not found:
        return spec
    # Of any system: a path of another one was made there.
    return LIST + pathlib.PureWindowsPath(found["name"].removeprefix(LIST)).name + spec.strip()[found.end("name") :]


def _edge(text: str | None, count: int, default: int) -> int:
    """A boundary of a slice as a number of records; percents are rounded to the nearest, as TFDS does."""
    if text is None:
        return default
    number = round(int(text[:-1]) * count / 100) if text.endswith("%") else int(text)
    return min(max(number + count if number < 0 else number, 0), count)


def _last(record_id: str) -> str:
    """The last part of an id, which a file is named by."""
    return record_id.rpartition("/")[2]


def _plain(cell: str) -> str:
    """The last part of a record's id, from a path of one of its files."""
    return _MASK.sub("IMG_", _SENSOR.sub("_", _last(cell.replace("\\", "/")).removesuffix(".tif")))
