"""The two CSVs that describe own imagery: which images and which mask belong together, and what the classes are."""

import csv
import dataclasses
import io
import pathlib
import re

from data_pipelines.datasets.rasters import columns
from data_pipelines.datasets.rasters.columns import BLOCK_COLUMNS, ROW_COLUMNS
from data_pipelines.remote import addresses
from data_pipelines.remote.addresses import Address
from data_pipelines.schema import csv_rows, names, paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, MOST_CLASSES, LandClass, Legend

PAIRS, LEGEND = "rasters.csv", "legend.csv"
PAIRS_COLUMNS = (columns.IMAGE, *ROW_COLUMNS)
LEGEND_COLUMNS = ("id", "name", "colour", "ignore")
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


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
    """

    name: str
    images: dict[str, pathlib.Path]
    mask: pathlib.Path | None
    split: str
    group: str
    block: Block | None = None
    line: int = 0

    @property
    def first(self) -> pathlib.Path:
        """The image of the first sensor, on whose grid all others lie."""
        return next(iter(self.images.values()))

    @property
    def files(self) -> tuple[pathlib.Path, ...]:
        """All of its files: the images in order, and the mask."""
        return (*self.images.values(), *((self.mask,) if self.mask else ()))


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
    used: dict[pathlib.Path, list[tuple[int, Block | None]]] = {}
    groups: dict[str, tuple[str, int]] = {}
    shared: dict[pathlib.Path, list[_Use]] = {}
    folders: dict[pathlib.Path, pathlib.Path] = {}
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
        first = files[known.sensors[0]]
        name = str(first) if isinstance(first, Address) else row[known.sensors[0]]  # a query can be a secret
        pair = Pair(name, files, mask, split, row.get("group", ""), _block(where, row), line)
        real = {
            name: file if isinstance(file, Address) else paths.real(file, folders)
            for name, file in (({"mask": mask} if mask else {}) | files).items()
        }
        before = used.setdefault(real[known.sensors[0]], [])
        _check_used_once(where, pair.name, pair.block, before)
        before.append((line, pair.block))
        _check_partners(where, pair, real, shared)
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


@dataclasses.dataclass(frozen=True)
class _Use:
    """A row that has a file: its split, its place (the real path of its first image), and its line."""

    split: str
    place: pathlib.Path
    line: int


def _check_partners(
    where: str, pair: Pair, real: dict[str, pathlib.Path], shared: dict[pathlib.Path, list[_Use]]
) -> None:
    """Raises InputError where two files of a row are one, or a file is in rows of two splits, whatever its column.

    Args:
      where: the row is, for messages.
      pair: the row.
      real: where each of its files leads.
      shared: of each file the rows before that have it: the first, and the first of another split or place. That is
        enough: rows that passed are all of one split, or all of one place, whose parts are told apart elsewhere.
    """
    use = _Use(pair.split, real[next(iter(pair.images))], pair.line)
    names: dict[pathlib.Path, str] = {}
    for name, file in real.items():
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


def read_legend(path: pathlib.Path, name: str) -> Legend:
    """A legend from its CSV; `name` is what it will be called. Raises InputError that names file and line."""
    classes: list[LandClass] = []
    ignored: list[int] = []
    for line, row in csv_rows.read(path, LEGEND_COLUMNS[:3], ",".join(LEGEND_COLUMNS), spelled={"color": "colour"}):
        where = f"{path}, line {line}"
        if not re.fullmatch(r"\d{1,3}", row["id"]) or int(row["id"]) > IGNORE:
            raise InputError(f"{where}: id {row['id']!r}; expected a whole number from 0 to 255")
        if not row["name"]:
            raise InputError(f"{where}: no name; expected a name for every class")
        names.check(row["name"], f"{where}: name")
        names.colour(row["colour"], f"{where}: colour")
        land_class = LandClass(int(row["id"]), row["name"], row["colour"].lower())
        for field in ("id", "name"):
            if getattr(land_class, field) in [getattr(other, field) for other in classes]:
                raise InputError(f"{where}: {field} {getattr(land_class, field)} once more; expected each {field} once")
        ignore = row.get("ignore", "").lower()
        if ignore not in (*_YES, *_NO):
            raise InputError(
                f"{where}: ignore {row['ignore']!r}; expected 1 (not a class of the network), 0 or nothing"
            )
        ignored += [land_class.id] if ignore in _YES else []
        classes.append(land_class)
    if len(classes) - len(ignored) < 2:
        raise InputError(f"{path}: {len(classes) - len(ignored)} classes to tell apart; expected at least two")
    if len(classes) > MOST_CLASSES:
        raise InputError(f"{path}: {len(classes)} classes; expected at most {MOST_CLASSES}")
    return _stored(Legend(name, tuple(classes), tuple(ignored)))


def _stored(legend: Legend) -> Legend:
    """The legend with another id for a class 255, which inside is no label: the next one, so that it stays last."""
    ids = {land_class.id for land_class in legend.classes} - {IGNORE}
    if len(ids) == len(legend.classes):
        return legend
    after = max(ids) + 1
    free = after if after < IGNORE else max(set(range(IGNORE)) - ids)
    classes = tuple(
        dataclasses.replace(land_class, id=free, written=IGNORE) if land_class.id == IGNORE else land_class
        for land_class in legend.classes
    )
    ignored = tuple(free if number == IGNORE else number for number in legend.ignored)
    return dataclasses.replace(legend, classes=classes, ignored=ignored)


def same_colour(legend: Legend) -> tuple[LandClass, LandClass] | None:
    """Two classes of one colour, where there are such."""
    seen: dict[str, LandClass] = {}
    for land_class in legend.classes:
        if land_class.colour in seen:
            return seen[land_class.colour], land_class
        seen[land_class.colour] = land_class
    return None


def to_csv(columns: tuple[str, ...], rows: list[tuple]) -> str:
    """A CSV as this module reads it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()
