"""The places of OMBRIA: which are learned from and which are scored, and both sensors as own imagery."""

import csv
import pathlib
import random
import sys
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines.schema.files import write_atomically

NAME = "rasters/ombria"
LEGEND = "id,name,colour\n0,dry,#8b5a2b\n1,flooded,#1f77b4\n"
DATES = ("before", "after")
BANDS = {"s1": ("VV",), "s2": ("B11", "B8", "B3")}
EVERY, AT = 5, 2  # every fifth group by size is held out, from the third on
FOLDS = 3
_LISTS = threading.Lock()  # several runs may ask for the same list at once


def places_of(source: pathlib.Path) -> dict[str, str]:
    """Id of each place -> its group; groups of the events begin with "events/"."""
    path = source / "places.csv"
    if not path.is_file():
        sys.exit(f"ombria: {path}: no such file; expected --source as benchmarks/studies/ombria_layout.py makes it")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["id"]: ("" if row["split"] == "pool" else "events/") + row["group"] for row in rows}


def by_group(places: Mapping[str, str]) -> dict[str, list[str]]:
    """Group -> its places, the largest group first."""
    found: dict[str, list[str]] = {}
    for place, group in sorted(places.items()):
        found.setdefault(group, []).append(place)
    return dict(sorted(found.items(), key=lambda one: (-len(one[1]), one[0])))


def parts_of(places: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """The splits "train", "held_out" and "events", each as groups with their places."""
    groups = by_group(places)
    pool = [group for group in groups if not group.startswith("events/")]
    held_out = pool[AT::EVERY]
    split = {group: "held_out" if group in held_out else "train" for group in pool}
    found: dict[str, dict[str, list[str]]] = {"train": {}, "held_out": {}, "events": {}}
    for group, members in groups.items():
        found[split.get(group, "events")][group] = members
    return found


def fold_of(train: Mapping[str, Sequence[str]], fold: int) -> tuple[list[str], list[str]]:
    """The places to learn from and those to score of a part of the training groups; -1 scores none."""
    scored = list(train)[fold::FOLDS] if fold >= 0 else []
    learned = [place for group, members in train.items() if group not in scored for place in members]
    return learned, [place for group in scored for place in train[group]]


def drawn(places: Sequence[str], group_of: Mapping[str, str], count: int, seed: int) -> list[str]:
    """So many of the places: groups in random order, of each one place in turn; fewer of a seed are among more."""
    rng = random.Random(seed)
    groups: dict[str, list[str]] = {}
    for place in sorted(places):
        groups.setdefault(group_of[place], []).append(place)
    order = rng.sample(sorted(groups), len(groups))
    queues = [rng.sample(groups[group], len(groups[group])) for group in order]
    turns = [queue[turn] for turn in range(max(map(len, queues))) for queue in queues if turn < len(queue)]
    return turns[: count or len(turns)]


def stacked(source: pathlib.Path, place: str, sensor: str) -> np.ndarray:
    """Both dates of a sensor, (bands, H, W) uint8. Palettes are what they draw, as in some of the published files."""
    from PIL import Image

    bands = []
    for date in DATES:
        with Image.open(source / f"{sensor}_{date}" / f"{place}.png") as image:
            pixels = np.asarray(image.convert("L" if len(BANDS[sensor]) == 1 else "RGB"))
        bands += list(np.atleast_3d(pixels).transpose(2, 0, 1))
    return np.stack(bands)


def is_prepared(output: pathlib.Path) -> bool:
    """Whether the data set is there."""
    return any((output / "data" / NAME).glob("[0-9]*/dataset_info.json"))  # written last


def write(source: pathlib.Path, folder: pathlib.Path, places: Mapping[str, str]) -> None:
    """Writes both sensors and the masks as GeoTIFFs, and the two CSVs that list them."""
    from PIL import Image

    for place in places:
        for sensor, bands in BANDS.items():
            names = [f"{band}_{date}" for date in DATES for band in bands]
            write_tiff(folder / sensor / f"{place}.tif", stacked(source, place, sensor), names)
        with Image.open(source / "mask" / f"{place}.png") as image:
            flooded = (np.asarray(image.convert("L"))[None] > 0).astype(np.uint8)
        write_tiff(folder / "mask" / f"{place}.tif", flooded)
    rows = [
        f"s1/{place}.tif,s2/{place}.tif,mask/{place}.tif,{split},{group}"
        for split, groups in parts_of(places).items()
        for group, members in groups.items()
        for place in members
    ]
    write_atomically(folder / "rasters.csv", "\n".join(["s1,s2,mask,split,group", *rows]) + "\n")
    write_atomically(folder / "legend.csv", LEGEND)


def write_tiff(path: pathlib.Path, values: np.ndarray, names: Sequence[str] = ()) -> None:
    """Writes (bands, H, W) uint8, which lie nowhere."""
    import rasterio
    from rasterio.enums import ColorInterp

    from data_pipelines.geo import raster_io

    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = values.shape
    shape = {"count": count, "height": height, "width": width, "dtype": "uint8"}
    with raster_io.anywhere(), rasterio.open(path, "w", driver="GTiff", **shape) as file:
        file.write(values)
        file.colorinterp = [ColorInterp.undefined] * count
        if names:
            file.descriptions = tuple(names)


def split_file(output: pathlib.Path, name: str, places: Sequence[str]) -> str:
    """A split of some places, as a file that lists their records."""
    path = output.absolute() / "lists" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _LISTS:
        write_atomically(path, "".join(f"s1/{place}.tif_r0_c0\n" for place in places))
    return f"list:{path}"
