"""The two CSVs that describe own imagery: which mask belongs to which image, and what the classes are."""

import csv
import dataclasses
import io
import pathlib
import re

from data_pipelines.schema import names
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend

PAIRS, LEGEND = "rasters.csv", "legend.csv"
PAIRS_COLUMNS = ("image", "mask", "split", "group")
LEGEND_COLUMNS = ("id", "name", "colour", "ignore")
_YES, _NO = ("1", "true", "yes"), ("", "0", "false", "no")


@dataclasses.dataclass(frozen=True)
class Pair:
    """One row: an image, its mask, the split they are in, and the group that keeps neighbours on one side."""

    name: str  # of the image, as the CSV spells it
    image: pathlib.Path
    mask: pathlib.Path
    split: str
    group: str

    @property
    def named_group(self) -> str:
        """The group that the CSV names; empty where the image is a group of its own."""
        return "" if self.group == str(self.image.resolve()) else self.group


def read_pairs(path: pathlib.Path) -> list[Pair]:
    """The rows of a CSV of pairs, in its order.

    Raises InputError where the CSV cannot be used at all: no row, a column or a value is missing, a split that TFDS
    could not name, none called train, an image listed twice, a group in two splits.
    """
    pairs: list[Pair] = []
    lines: dict[pathlib.Path, int] = {}
    splits: dict[str, tuple[str, int]] = {}
    for line, row in _rows(path, required=PAIRS_COLUMNS[:3], example="image,mask,split,group"):
        for column in PAIRS_COLUMNS[:3]:
            if not row[column]:
                raise InputError(f"{path}, line {line}: no {column}; expected a value in each of image, mask and split")
        split = row["split"]
        if not re.fullmatch("[a-z_]+", split) or split == "all":
            raise InputError(
                f"{path}, line {line}: split {split!r}; expected a name of small letters, such as train, validation or "
                "test"
            )
        image, mask = (path.parent / row[column] for column in ("image", "mask"))
        place = image.resolve()
        if place in lines:
            raise InputError(
                f"{path}, line {line}: image {row['image']} is already in line {lines[place]}; expected each image once"
            )
        lines[place] = line
        group = row.get("group") or str(place)
        known, before = splits.setdefault(group, (split, line))
        if known != split:
            raise InputError(
                f"{path}, line {line}: group {group!r} is in {split} here and in {known} in line {before}; expected "
                "every group in one split, or what is scored has been seen in training"
            )
        pairs.append(Pair(row["image"], image, mask, split, group))
    if not any(pair.split == "train" for pair in pairs):
        found = ", ".join(sorted({pair.split for pair in pairs}))
        raise InputError(f"{path}: no row of split train, only {found}; expected images to train on")
    return pairs


def read_legend(path: pathlib.Path, name: str) -> Legend:
    """A legend from its CSV; `name` is what it will be called. Raises InputError that names file and line."""
    classes: list[LandClass] = []
    ignored: list[int] = []
    for line, row in _rows(path, required=LEGEND_COLUMNS[:3], example="id,name,colour,ignore"):
        where = f"{path}, line {line}"
        if not re.fullmatch(r"\d{1,3}", row["id"]) or int(row["id"]) > 254:
            raise InputError(f"{where}: id {row['id']!r}; expected a whole number from 0 to 254 (255 is no label)")
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
    return Legend(name, tuple(classes), tuple(ignored))


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


def _rows(path: pathlib.Path, required: tuple[str, ...], example: str) -> list[tuple[int, dict[str, str]]]:
    """The rows that hold anything, with their lines: {column in small letters: value without spaces around it}."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected a CSV with the columns {example}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start}); save it as CSV in UTF-8") from error
    first = next((line for line in text.splitlines() if line.strip()), "")
    if not first:
        raise InputError(f"{path}: empty; expected a header {example} and a row for each entry")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    header: list[str] = []
    rows = []
    for values in reader:
        values = [value.strip() for value in values]
        if not any(values):
            continue
        if not header:
            header = ["colour" if value.lower() == "color" else value.lower() for value in values]
            missing = [column for column in required if column not in header]
            if missing:
                raise InputError(
                    f"{path}, line {reader.line_num}: no column {', '.join(missing)} in the header {','.join(values)}; "
                    f"expected {example}"
                )
            continue
        if len(values) > len(header):
            raise InputError(
                f"{path}, line {reader.line_num}: {len(values)} values, but {len(header)} columns; put a value with a "
                "comma in quotes"
            )
        rows.append((reader.line_num, dict.fromkeys(header, "") | dict(zip(header, values, strict=False))))
    if not rows:
        raise InputError(f"{path}: a header and no row; expected a row for each entry")
    return rows
