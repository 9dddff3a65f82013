"""`prepare --init`: finds images and their masks in a folder, and writes the two CSVs for their owner to edit."""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import logging
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np

from data_pipelines.datasets.rasters import (
    builder,
    class_table,
    init_blocks,
    init_legend,
    init_names,
    init_sensors,
    init_vectors,
    tables,
)
from data_pipelines.datasets.rasters.init_names import IMAGES, MASKS, SPLITS
from data_pipelines.datasets.rasters.init_sensors import Place
from data_pipelines.datasets.rasters.init_vectors import Drawn
from data_pipelines.geo import raster_io, vectors
from data_pipelines.schema import files, paths
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.files import write_atomically
from data_pipelines.schema.spec import Refused

_log = logging.getLogger("lcjax.data")

_SUFFIXES = (".tif", ".tiff", ".jpg", ".jpeg", ".png", ".jp2")
_IMAGE_END = re.compile(r"[_-](image|img|sat)$", re.IGNORECASE)
_MASK_END = re.compile(r"[_-](masks?|labels?|msk|gt)$", re.IGNORECASE)
_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
_FEW = 2  # pairs, too few for splits of whole images
_LOOKED_AT = 300  # masks from which the legend is made


@dataclasses.dataclass(frozen=True)
class Found:
    """An image, its mask, and the folder that holds both (or the folders of both), relative to the source."""

    image: pathlib.Path
    mask: pathlib.Path
    holder: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What rasters.csv will hold.

    Attributes:
      columns: its header.
      rows: in order.
      splits: of each row.
      how: the splits were chosen, as a phrase.
      remarks: what its owner should look at.
    """

    columns: tuple[str, ...]
    rows: list[tuple]
    splits: list[str]
    how: str
    remarks: tuple[str, ...] = ()


def init_csv(name: str, source: pathlib.Path, tile: int | None = None) -> None:
    """Writes rasters.csv and legend.csv into `source`.

    Args:
      name: of the data set, for what is said.
      source: the folder with images and masks.
      tile: edge of the tiles that will be cut, None for the usual one: the parts of one mosaic hold one at least.

    Raises:
      InputError: one of the two is there already, or nothing is found.
    """
    tile = builder.TILE if tile is None else tile
    if not source.is_dir():
        raise InputError(f"--source={source}: no such folder; expected the folder with your images and masks")
    targets = source / tables.PAIRS, source / class_table.LEGEND
    for path in targets:
        if path.exists():
            raise InputError(f"{path}: there already; --init does not overwrite it: rename or delete it first")
    pairs, alone = find(source)
    several: list[Place] = []
    if not pairs:
        several, alone = init_sensors.find(source, _rasters(source))
    places: Sequence[Found | Place] = pairs or several
    if not places:
        raise InputError(
            f"--source={source}: no image with a mask found; expected folders images and masks (or labels) side by "
            "side with files of the same names, or NAME.tif with NAME_mask.tif, or a folder for each sensor side by "
            f"side, or one file of polygons; or write {tables.PAIRS} yourself (docs/own_data.md)"
            f"{_folders_of_places(source)}{_vectors(source)}"
        )
    labelled = [place for place in places if place.mask]
    masks = [source / place.mask for place in places if place.mask]
    drawn = init_vectors.find(source, masks) if any(map(vectors.are_vectors, masks)) else None
    look = functools.partial(_look, source, drawn=drawn)
    chosen = np.unique(np.linspace(0, len(masks) - 1, min(len(masks), _LOOKED_AT)).astype(int))
    with raster_io.anywhere(), concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        looked = list(pool.map(look, [labelled[k] for k in chosen]))
        pixels = list(pool.map(_pixels, [source / place.image for place in labelled] if drawn else masks))
    seen = [one for one in looked if one]
    # Broken masks stay in the CSV: `prepare` names them.
    if masks and not seen and drawn:
        drawn.look(source / labelled[0].image, masks[0])  # says why
    if masks and not seen:
        raise InputError(f"--source={source}: none of the {len(masks)} masks can be read; expected ids or colours")
    classes, remarks = _classes(seen, drawn) if masks else ([], [])
    if len(chosen) < len(masks):
        remarks.append(f"from {len(chosen)} of the {len(masks)} masks: a class that is in none of them is missing")
    proposal = _rows(source, pairs, pixels, drawn, tile) if pairs else _rows_of_sensors(source, several, pixels)
    if not set(tables.BLOCK_COLUMNS) & set(proposal.columns) and len(chosen) == len(masks):
        splits = [split for split, place in zip(proposal.splits, places, strict=True) if place.mask]
        remarks += init_legend.missing(classes, seen, [s for s, one in zip(splits, looked, strict=True) if one])
    write_atomically(targets[0], tables.to_csv(proposal.columns, proposal.rows))
    if masks:
        write_atomically(targets[1], tables.to_csv(class_table.COLUMNS, classes))
    _tell(name, source, proposal, places, tile, [f"{len(classes)} classes", *remarks] if masks else [], alone)


def _look(source: pathlib.Path, place: Found | Place, drawn: Drawn | None) -> init_legend.Seen | None:
    """What the mask of a place holds; None where it cannot be read."""
    assert place.mask
    if drawn is None:
        return init_legend.look(source / place.mask)
    try:
        return drawn.look(source / place.image, source / place.mask)
    except Refused:
        return None


def _classes(seen: Sequence[init_legend.Seen], drawn: Drawn | None) -> tuple[list[init_legend.Row], list[str]]:
    """Rows of the legend, and remarks."""
    if drawn is None:
        return init_legend.classes_of(seen)
    total = sum((one.pixels for one in seen), collections.Counter())
    share = {row[0]: total[row[0]] / max(total.total(), 1) for row in drawn.rows}
    remarks = [f"{row[1]}: {share[row[0]]:.1%} of the labelled pixels" for row in drawn.rows]
    if len(drawn.rows) == 1:
        remarks.append(
            "one class alone: add a row for what lies outside, such as 0,background,#000000, and name it in the column "
            f"outside of {tables.PAIRS}"
        )
    return drawn.rows, remarks


def _tell(
    name: str,
    source: pathlib.Path,
    proposal: Proposal,
    places: Sequence[Found | Place],
    tile: int,
    remarks: Sequence[str],
    alone: Sequence[pathlib.Path],
) -> None:
    """Logs what was written, what to look at, and what to do next; `remarks` are of the classes."""
    csv, legend = source / tables.PAIRS, source / class_table.LEGEND
    counts = collections.Counter(proposal.splits)
    shown = ", ".join(f"{counts[split]} {split}" for split in (*_SHARES, init_sensors.UNLABELLED) if counts[split])
    _log.info(f"written: {csv}: {len(places)} {'pair' if len(places) == 1 else 'pairs'}; {shown} ({proposal.how})")
    if alone:
        shown = ", ".join(map(str, alone[:3])) + (", ..." if len(alone) > 3 else "")
        _log.info(f"  left out: {len(alone)} rasters without partner ({shown})")
    labelled = any(place.mask for place in places)
    for line in proposal.remarks:
        _log.info(f"  {line}")
    if labelled:
        _log.info(f"written: {legend}: {remarks[0]}")
    for line in remarks[1:]:
        _log.info(f"  {line}")
    if labelled:
        _log.info(f"now look at the names of the classes in {legend.name}, and put ignore=1 to what is no class;")
    in_blocks = bool(set(tables.BLOCK_COLUMNS) & set(proposal.columns))
    groups = "" if in_blocks else f"put what belongs together (one flight, one scene) into one group in {csv.name}; "
    _log.info(f"{groups}then")
    as_now = "" if tile == builder.TILE else f" --tile={tile}"
    _log.info(f"  lcjax prepare --dataset={name} --source={source} --data_dir=data{as_now}")
    if in_blocks:
        _log.info("blocks of one mosaic are of one place: their scores say nothing about another one")
    if labelled and (missing := [split for split in ("validation", "test") if split not in counts]):
        none = ",".join(f"{split}=none" for split in missing)
        _log.info(f"too few groups for a {' and a '.join(missing)} split: train with --config=rasters:{none}")


def _rows(
    source: pathlib.Path, pairs: Sequence[Found], pixels: Sequence[int], drawn: Drawn | None, tile: int
) -> Proposal:
    """Of pairs of an image and a mask: one mosaic or two are cut into blocks."""
    groups = groups_of(pairs)
    header = tables.PAIRS_COLUMNS + (("class_column", "outside") if drawn else ())
    more = (drawn.how.column, "") if drawn else ()
    if len(pairs) <= _FEW and not any(map(_word, pairs)):
        files = [(source / pair.image, source / pair.mask) for pair in pairs]
        with raster_io.anywhere():
            opened = [drawn.counted(*pair) if drawn else init_blocks.of_mask(pair[1]) for pair in files]
            blocks = init_blocks.propose(opened, _SHARES, tile)
        if blocks:
            rows: list[tuple] = [
                (*_files(pairs[number].image, pairs[number].mask), split, "", *more, *dataclasses.astuple(block))
                for number, split, block in blocks
            ]
            how = f"in blocks, with {init_blocks.margin_of(tile)} pixels left out between splits"
            return Proposal((*header, *tables.BLOCK_COLUMNS), rows, [split for _, split, _ in blocks], how)
    splits, how = splits_of(pairs, groups, pixels)
    whole: list[tuple] = [
        (*_files(pair.image, pair.mask), split, group, *more)
        for pair, split, group in zip(pairs, splits, groups, strict=True)
    ]
    return Proposal(header, whole, splits, how)


def _rows_of_sensors(source: pathlib.Path, places: Sequence[Place], pixels: Sequence[int]) -> Proposal:
    """Of places with an image of each sensor: those without a mask are a split of their own."""
    groups, mixed = init_sensors.groups_of(places, groups_of(places))
    labelled = [place for place in places if place.mask]
    of_labelled = [group for place, group in zip(places, groups, strict=True) if place.mask]
    chosen, how = splits_of(labelled, of_labelled, pixels) if labelled else ([], "no masks")
    left = iter(chosen)
    splits = [next(left) if place.mask else init_sensors.UNLABELLED for place in places]
    sensors = list(places[0].images)
    remarks = [f"sensors: {', '.join(sensors)} (the folders whose files have the same names; all follow the first)"]
    if not labelled:
        remarks += init_sensors.without_masks(source, places[0])
    if mixed:
        remarks.append(
            f"{mixed} places without a mask lie in folders with others that have one, and are groups of their own: "
            "take them out where pre-training may not see what is near the places of the test split"
        )
    rows: list[tuple] = [
        (*_files(*place.images.values(), place.mask), split, group)
        for place, split, group in zip(places, splits, groups, strict=True)
    ]
    return Proposal((*sensors, *tables.PAIRS_COLUMNS[1:]), rows, splits, how, tuple(remarks))


def _files(*found: pathlib.Path | None) -> tuple[str, ...]:
    names = ["" if path is None else path.as_posix() for path in found]
    # "~" alone, and "~anna", would be home folders; below the folder of the CSV they are not.
    return tuple(f"./{name}" if name.startswith("~") else name for name in names)


def _folders_of_places(source: pathlib.Path) -> str:
    """What to add where no mask was found and each folder is a place, by the names of the files; or nothing."""
    names = collections.Counter(path.stem for path in _rasters(source) if init_names.is_no_place(path.stem))
    found = [name for name, count in names.items() if count > 1]
    if not found:
        return ""
    return (
        f"; several folders hold files called {', '.join(sorted(found)[:3])}, and a folder for each place is not read: "
        "call files after their place, in folders by what they are, bands stacked (`rio stack`)"
    )


def _vectors(source: pathlib.Path) -> str:
    """What to say of several files of polygons none of which is called like an image; or nothing."""
    found = _files_of(source, init_vectors.SUFFIXES)
    if len(found) < 2:
        return ""
    return f"; several files of polygons, such as {found[0]}: call each like its image, or name it in the column mask"


def find(source: pathlib.Path) -> tuple[list[Found], list[pathlib.Path]]:
    """The pairs below a folder, sorted, and the rasters that have no partner; paths relative to it."""
    images: dict[tuple, list[pathlib.Path]] = {}
    found_masks: dict[tuple, list[pathlib.Path]] = {}
    drawn = _files_of(source, init_vectors.SUFFIXES)
    for path in _rasters(source) + drawn:
        key, is_mask = _key(path)
        (found_masks if is_mask or vectors.are_vectors(path) else images).setdefault(key, []).append(path)
    # The same key twice (a.tif and a.png) is left to the owner.
    both = [key for key in images if key in found_masks and len(images[key]) == len(found_masks[key]) == 1]
    pairs = [Found(images[key][0], found_masks[key][0], key[0]) for key in both]
    if not pairs and len(drawn) == 1:  # one file for all images, such as of a country
        pairs = [Found(image, drawn[0], key[0]) for key, some in images.items() for image in some]
    paired = {path for pair in pairs for path in (pair.image, pair.mask)}
    every = [path for group in (*images.values(), *found_masks.values()) for path in group]
    return sorted(pairs, key=lambda pair: pair.image), sorted(set(every) - paired)


def _rasters(source: pathlib.Path) -> list[pathlib.Path]:
    """The rasters below a folder, relative to it. Raises InputError for a name that no CSV can hold."""
    return _files_of(source, _SUFFIXES)


def _files_of(source: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
    found = [path.relative_to(source) for path in files.below(source) if path.suffix.lower() in suffixes]
    for path in found:
        paths.given(source / path, "--source")
    return found


def _key(path: pathlib.Path) -> tuple[tuple, bool]:
    """What an image and its mask have in common, and whether this is the mask.

    The key is (folder that holds the folders of both, the rest of the path, plain name).
    """
    parts = path.parent.parts
    for depth in reversed(range(len(parts))):
        word = parts[depth].lower()
        if word in IMAGES or word in MASKS:
            is_mask = word in MASKS
            stem = (_MASK_END if is_mask else _IMAGE_END).sub("", path.stem)
            return (pathlib.Path(*parts[:depth]), parts[depth + 1 :], stem.lower()), is_mask
    is_mask = bool(_MASK_END.search(path.stem))
    stem = (_MASK_END if is_mask else _IMAGE_END).sub("", path.stem)
    return (path.parent, (), stem.lower()), is_mask


def groups_of(pairs: Sequence[Found | Place]) -> list[str]:
    """A group for each pair: the folder that holds images and masks where there are several, else none."""
    holders = [pair.holder.as_posix() for pair in pairs]
    if len(set(holders)) == 1 or any(_word(pair) for pair in pairs):
        return [""] * len(pairs)
    return holders


def splits_of(pairs: Sequence[Found | Place], groups: Sequence[str], pixels: Sequence[int]) -> tuple[list[str], str]:
    """A split for each pair, and how it was chosen.

    Folders called train, val, test are followed. Else whole groups, the largest first, go where most is missing of
    60 % of the pixels for train and 20 % each for validation and test; with two groups there is no validation, with one
    no test either. The same files give the same splits.
    """
    words = [_word(pair) for pair in pairs]
    if all(words) and "train" in words:
        return words, "as the folders are called"
    names = [group or pair.image.as_posix() for group, pair in zip(groups, pairs, strict=True)]
    sizes: collections.Counter = collections.Counter()
    for name, size in zip(names, pixels, strict=True):
        sizes[name] += max(size, 1)
    shares = {2: {"train": 0.6, "test": 0.4}, 1: {"train": 1.0}}.get(len(sizes), _SHARES)
    missing = {split: share * sum(sizes.values()) for split, share in shares.items()}
    empty = set(missing)
    chosen: dict[str, str] = {}
    # Of equal size, in an order that has nothing to do with names that count along a flight.
    order = sorted(sizes, key=lambda name: (-sizes[name], hashlib.sha256(name.encode()).hexdigest()))
    for number, name in enumerate(order):
        left = empty if len(order) - number <= len(empty) else set(missing)
        split = max((s for s in missing if s in left), key=lambda s: missing[s])
        chosen[name] = split
        missing[split] -= sizes[name]
        empty.discard(split)
    what = "images" if not any(groups) else "folders"
    how = f"by whole {what}" if len(sizes) > 2 else f"only {len(sizes)} {what[:-1]}{'s' if len(sizes) > 1 else ''}"
    return [chosen[name] for name in names], how


def _word(pair: Found | Place) -> str:
    """The split that a folder on the way to an image is named after, or nothing."""
    return next((SPLITS[part.lower()] for part in pair.image.parent.parts if part.lower() in SPLITS), "")


def _pixels(path: pathlib.Path) -> int:
    try:
        with raster_io.opened(path) as dataset:
            return dataset.height * dataset.width
    except Refused:
        return 0
