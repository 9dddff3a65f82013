"""The two CSVs that describe own imagery: which mask belongs to which image, and what the classes are."""

import csv
import dataclasses
import io
import pathlib
import re

from data_pipelines.schema import csv_rows, names, paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import IGNORE, MOST_CLASSES, LandClass, Legend

PAIRS, LEGEND = "rasters.csv", "legend.csv"
PAIRS_COLUMNS = ("image", "mask", "split", "group")
BLOCK_COLUMNS = ("left", "top", "width", "height")  # of a part of an image, in pixels; further columns of the pairs
LEGEND_COLUMNS = ("id", "name", "colour", "ignore")
_SECOND_IMAGE = re.compile(r"images?[ _.-]?[^ ].*|img.*|s1|s2|sentinel.*|(.*[ _.-])image")
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
    """One row: an image or a part of one, its mask, the split they are in, and what keeps neighbours on one side.

    Attributes:
      name: of the image, as the CSV spells it.
      group: as the CSV names it; empty where the row is a group of its own.
      block: the part of image and mask that is used; None for all of them.
      line: of the CSV, for messages.
    """

    name: str
    image: pathlib.Path
    mask: pathlib.Path
    split: str
    group: str
    block: Block | None = None
    line: int = 0


def read_pairs(path: pathlib.Path) -> list[Pair]:
    """The rows of a CSV of pairs, in its order.

    Raises InputError where the CSV cannot be used at all: no row, a column or a value is missing, a column that looks
    like a second image, a split that TFDS could not name, none called train, an image listed twice, parts of an image
    that overlap, a group in two splits.
    """
    pairs: list[Pair] = []
    rows = csv_rows.read(path, PAIRS_COLUMNS[:3], "image,mask,split,group")
    _check_columns(path, rows[0][1])
    used: dict[pathlib.Path, list[tuple[int, Block | None]]] = {}
    splits: dict[str, tuple[str, int]] = {}
    for line, row in rows:
        where = f"{path}, line {line}"
        for column in PAIRS_COLUMNS[:3]:
            if not row[column]:
                raise InputError(f"{where}: no {column}; expected a value in each of image, mask and split")
        split = row["split"]
        if not re.fullmatch("[a-z][a-z0-9_]*", split) or split == "all":
            raise InputError(
                f"{where}: split {split!r}; expected a name of small letters, digits and _, such as train, validation "
                "or test"
            )
        image, mask = (paths.given(row[column], f"{where}: {column}", path.parent) for column in ("image", "mask"))
        block, before = _block(where, row), used.setdefault(paths.real(image), [])
        _check_used_once(where, row["image"], block, before)
        before.append((line, block))
        if group := row.get("group", ""):
            known, earlier = splits.setdefault(group, (split, line))
            if known != split:
                raise InputError(
                    f"{where}: group {group!r} is in {split} here and in {known} in line {earlier}; expected every "
                    "group in one split, or what is scored has been seen in training"
                )
        pairs.append(Pair(row["image"], image, mask, split, group, block, line))
    if not any(pair.split == "train" for pair in pairs):
        found = ", ".join(sorted({pair.split for pair in pairs}))
        raise InputError(f"{path}: no row of split train, only {found}; expected images to train on")
    return pairs


def _check_columns(path: pathlib.Path, row: dict[str, str]) -> None:
    """Raises InputError for a column that looks like a second image, which would be passed over."""
    for column in row:
        if _SECOND_IMAGE.fullmatch(column):
            raise InputError(
                f"{path}: column {column!r} looks like a second image of each row, and only the column image is read; "
                "put all bands into one file (`gdal_merge.py -separate`, or `gdalbuildvrt -separate` where the grids "
                "are the same), or take the column out"
            )
    given = [column for column in BLOCK_COLUMNS if column in row]
    if given and len(given) < len(BLOCK_COLUMNS):
        raise InputError(
            f"{path}: the columns {', '.join(given)} alone; a part of an image takes all of {', '.join(BLOCK_COLUMNS)}"
        )


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
