"""The CSV of pairs: which images and which mask belong together, and who learns from them."""

import csv
import dataclasses
import io
import pathlib
import re
from collections.abc import Mapping, Sequence

from data_pipelines.datasets.rasters import columns, vector_labels
from data_pipelines.datasets.rasters.columns import BLOCK_COLUMNS, EXCLUDE, ROW_COLUMNS
from data_pipelines.datasets.rasters.vector_labels import Options
from data_pipelines.geo import exclusions, vectors
from data_pipelines.geo.cubes import store
from data_pipelines.geo.exclusions import Exclusion
from data_pipelines.remote import addresses
from data_pipelines.remote.addresses import Address, Asset
from data_pipelines.schema import csv_rows, paths
from data_pipelines.schema.errors import InputError

PAIRS = "rasters.csv"
PAIRS_COLUMNS = (columns.IMAGE, *ROW_COLUMNS)


@dataclasses.dataclass(frozen=True)
class Block:
    """A part of an image, in pixels from its upper left corner."""

    left: int
    top: int
    width: int
    height: int

    def overlaps(self, other: "Block") -> bool:
        """Whether the two share a pixel."""
        return (max(self.left, other.left) < min(self.left + self.width, other.left + other.width)) and max(
            self.top, other.top
        ) < min(self.top + self.height, other.top + other.height)


@dataclasses.dataclass(frozen=True)
class Pair:
    """One row: the images of one place or a part of them, their mask, their split, and what keeps neighbours together.

    Attributes:
      name: of the first image, as the CSV spells it; of an address what of it may be shown.
      images: name of a sensor -> its image, in the order of the columns.
      mask: None where the row has none.
      group: as the CSV names it; empty where the row is a group of its own.
      block: the part of the first image that is used, and of what lies on its grid; None for all of it.
      line: of the CSV, for messages.
      exclude: what is not to be used of the images; None for nothing.
      drawn: how the mask is drawn; None where it is a raster, or where there is none.
    """

    name: str
    images: dict[str, pathlib.Path]
    mask: pathlib.Path | None
    split: str
    group: str
    block: Block | None = None
    line: int = 0
    exclude: Exclusion | None = None
    drawn: Options | None = None

    @property
    def first(self) -> pathlib.Path:
        """The image of the first sensor, on whose grid all others lie."""
        return next(iter(self.images.values()))

    @property
    def key(self) -> tuple[pathlib.Path, pathlib.Path | None]:
        """Its first image and its mask: rows that share both are parts of an image, and read alike."""
        return self.first, self.mask

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        """All of its files: the images in order, the mask, and what is not to be used."""
        return (*self.images.values(), *(path for path in (self.mask, self.exclude and self.exclude.path) if path))


@dataclasses.dataclass(frozen=True)
class Table:
    """A CSV of pairs: its rows in order, and the columns that are not read."""

    pairs: list[Pair]
    unread: tuple[str, ...]


def read_table(path: pathlib.Path) -> Table:
    """Reads a CSV of pairs.

    Raises InputError where it cannot be used at all: no row, a column or a value is missing, a split that TFDS could
    not name, no split called train where there are masks, a split of which some rows have a mask, an image listed
    twice, parts of an image that overlap, a group or a file in two splits, whatever column names it.
    """
    pairs: list[Pair] = []
    rows = csv_rows.read(path, ROW_COLUMNS[:2], columns.EXAMPLE)
    known = columns.read(path, [row for _, row in rows])
    groups: dict[str, tuple[str, int]] = {}
    uses = _Uses({})
    ways: dict[tuple[pathlib.Path, pathlib.Path | None], Pair] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        for column in (*known.sensors, "split"):
            if not row[column]:
                raise InputError(
                    f"{where}: no {column}; expected a value in each of {', '.join(known.sensors)} and split"
                )
        split = row["split"]
        if not re.fullmatch("[a-z][a-z0-9_]*", split) or split == "all":
            raise InputError(
                f"{where}: split {split!r}; expected a name of small letters, digits and _, such as train, validation "
                "or test"
            )
        files = {
            column: (paths if column == "mask" else addresses).given(row[column], f"{where}: {column}", path.parent)
            for column in (*known.sensors, "mask")
            if row[column]
        }
        mask = files.pop("mask", None)
        excluded = row.get(EXCLUDE, "")
        exclude = exclusions.parse(excluded, f"{where}: {EXCLUDE}", path.parent, must_exist=False) if excluded else None
        drawn = vector_labels.options(where, row) if mask and vectors.are_vectors(mask) else None
        first = files[known.sensors[0]]
        name = str(first) if isinstance(first, Address) else row[known.sensors[0]]  # a query can be a secret
        pair = Pair(name, files, mask, split, row.get("group", ""), _block(where, row), line, exclude, drawn)
        _check_read_alike(where, pair, ways)
        uses.add(where, pair)
        if pair.group:
            earlier_split, earlier = groups.setdefault(pair.group, (split, line))
            if earlier_split != split:
                raise InputError(
                    f"{where}: group {pair.group!r} is in {split} here and in {earlier_split} in line {earlier}; "
                    "expected every group in one split, or what is scored has been seen in training"
                )
        pairs.append(pair)
    _check_splits(path, pairs)
    return Table(pairs, known.unread)


def check_files(
    path: pathlib.Path, pairs: Sequence[Pair], stand_for: Mapping[pathlib.Path, Sequence[pathlib.Path]]
) -> None:
    """Raises InputError as `read_table` for files in two rows that should be in one, by what addresses stand for.

    Args:
      path: of the CSV, for messages.
      pairs: its rows.
      stand_for: addresses -> the files that they stand for.
    """
    uses = _Uses(stand_for)
    for pair in pairs:
        uses.add(f"{path}, line {pair.line}", pair)


class _Uses:
    """Which rows have a file, under whatever name.

    Args:
      stand_for: addresses -> the files that they stand for, where that is known.
    """

    def __init__(self, stand_for: Mapping[pathlib.Path, Sequence[pathlib.Path]]):
        self._stand_for = stand_for
        self._used: dict[pathlib.Path, list[tuple[int, Block | None]]] = {}
        self._shared: dict[pathlib.Path, list[_Use]] = {}
        self._folders: dict[pathlib.Path, pathlib.Path] = {}

    def add(self, where: str, pair: Pair) -> None:
        """Takes one more row. Raises InputError where one before has a file of it and may not."""
        masks = {"mask": pair.mask} if pair.mask and not pair.drawn else {}  # polygons may be of a whole country
        real = {column: self._real(file) for column, file in (masks | pair.images).items()}
        for file in real[next(iter(pair.images))]:
            before = self._used.setdefault(file, [])
            _check_used_once(where, pair.name, pair.block, before)
            before.append((pair.line, pair.block))
        _check_partners(where, pair, real, self._shared)

    def _real(self, path: pathlib.Path) -> tuple[pathlib.Path, ...]:
        """The files that a path or an address stands for: of a STAC item each asset."""
        found: Sequence[pathlib.Path] = self._stand_for.get(path, [path])
        if found == [path] and isinstance(path, Address):
            found = [path.item.with_assets((Asset(asset.key),)) for asset in path.assets] or found
        files = (
            file if isinstance(file, Address) else paths.real(store.root_of(file) or file, self._folders)
            for file in found
        )
        return tuple(sorted(set(files)))


@dataclasses.dataclass(frozen=True)
class _Use:
    """A row that has a file: its split, its place (what its first image stands for), and its line."""

    split: str
    place: tuple[pathlib.Path, ...]
    line: int


def _check_partners(
    where: str, pair: Pair, real: dict[str, tuple[pathlib.Path, ...]], shared: dict[pathlib.Path, list[_Use]]
) -> None:
    """Raises InputError where two files of a row are one, or a file is in rows of two splits, whatever its column.

    Args:
      where: the row is, for messages.
      pair: the row.
      real: the files that each of its columns stands for.
      shared: of each file the rows before that have it: the first, and the first of another split or place. That is
        enough: rows that passed are all of one split, or all of one place, whose parts are told apart elsewhere.
    """
    use = _Use(pair.split, real[next(iter(pair.images))], pair.line)
    names: dict[pathlib.Path, str] = {}
    for name, file in ((name, file) for name, files in real.items() for file in files):
        if (other := names.setdefault(file, name)) != name:
            raise InputError(f"{where}: {other} and {name} are both {pair.images[name]}; expected a file for each")
        before = shared.setdefault(file, [])
        if earlier := next((one for one in before if one.split != use.split and one.place != use.place), None):
            told = pair.images.get(name, pair.mask)
            raise InputError(
                f"{where}: {name} {told} is in {use.split} here and in {earlier.split} in line {earlier.line}; "
                "expected every file in one split, or what is scored has been seen in training"
            )
        if not before or (len(before) == 1 and (before[0].split, before[0].place) != (use.split, use.place)):
            before.append(use)


def _check_read_alike(where: str, pair: Pair, ways: dict[tuple[pathlib.Path, pathlib.Path | None], Pair]) -> None:
    """Raises InputError where two parts of an image are told to draw the same mask in two ways, or exclude others."""
    other = ways.setdefault(pair.key, pair)
    if (other.drawn, other.exclude) != (pair.drawn, pair.exclude):
        raise InputError(
            f"{where}: {', '.join((*columns.VECTOR_COLUMNS, EXCLUDE))}: not all as in line {other.line}, of the same "
            "image and mask; expected the same in all parts of an image"
        )


def _check_splits(path: pathlib.Path, pairs: list[Pair]) -> None:
    """Raises InputError for a split of which some rows alone have a mask, and where nothing is there to train on."""
    first: dict[str, Pair] = {}
    for pair in pairs:
        other = first.setdefault(pair.split, pair)
        if (other.mask is None) != (pair.mask is None):
            without, with_mask = (pair, other) if pair.mask is None else (other, pair)
            raise InputError(
                f"{path}, line {without.line}: no mask, but line {with_mask.line} of the split {pair.split} has one; "
                "expected one in every row of a split, or in none (then it is unlabelled); give rows without a mask a "
                "split of their own, such as unlabelled"
            )
    if any(pair.mask for pair in pairs) and "train" not in first:
        raise InputError(f"{path}: no row of split train, only {', '.join(sorted(first))}; expected images to train on")


def _block(where: str, row: dict[str, str]) -> Block | None:
    """The part of the image that a row is of. Raises InputError for what is none."""
    given = [row.get(column, "") for column in BLOCK_COLUMNS]
    if not any(given):
        return None
    if not all(re.fullmatch(r"\d{1,9}", text) for text in given) or 0 in (numbers := [int(text) for text in given])[2:]:
        shown = ", ".join(f"{column} {text!r}" for column, text in zip(BLOCK_COLUMNS, given, strict=True))
        raise InputError(
            f"{where}: {shown}; expected whole numbers of pixels from the upper left corner of the image, width and "
            "height at least 1, or nothing in all four for the whole image"
        )
    return Block(*numbers)


def _check_used_once(where: str, image: str, block: Block | None, before: list[tuple[int, Block | None]]) -> None:
    """Raises InputError where pixels would be in two rows."""
    for line, other in before:
        if block is None or other is None:
            raise InputError(
                f"{where}: image {image} is already in line {line}; expected each image once, or parts of it that do "
                f"not overlap ({', '.join(BLOCK_COLUMNS)})"
            )
        if block.overlaps(other):
            raise InputError(
                f"{where}: overlaps the part of image {image} in line {line}; expected parts that do not, and a margin "
                "between those of different splits"
            )


def to_csv(columns: tuple[str, ...], rows: list[tuple]) -> str:
    """A CSV as this module reads it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()
