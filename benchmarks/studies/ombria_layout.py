"""Puts OMBRIA, as it is published, into the folders that the study takes, and finds which places are neighbours.

  python benchmarks/studies/ombria_layout.py --source=CLONE --output=DIR

--source is a clone of https://github.com/geodrak/OMBRIA (Drakonakis et al.: OmbriaNet, IEEE JSTARS 2022), which states
no licence: cite the article, and pass nothing of it on. A place is taken where both sensors were there before and after
the flood, with a mask. Images are written as what they draw: some of the published ones have a palette, in which white
may be number 0.

Writes s1_before, s1_after, s2_before, s2_after, mask (ID.png, masks 0 or 255) and places.csv: id; split, "pool" (the
authors' train and test, whose parts hold neighbours of each other) or "events_2021"; group, which is the event, or in
the pool found here: images one of whose edges continues the edge of another one (correlation of both dates and all
bands of Sentinel-2 at least `ALIKE`), and what lies between them by number, are of one group.
"""

import argparse
import csv
import io
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from data_pipelines.schema.files import write_atomically

POOL = "Ombria{S}/*/{DATE}/{S}_{date}_*.png"
EVENTS = "2021/*/Sentinel{number}/{DATE}/{name}_*.png"
SENSORS, DATES = ("s1", "s2"), ("before", "after")
EDGE = 256  # pixels
ALIKE = 0.75
NEAR = 60  # numbers apart at most: tiles are numbered row by row
Files = dict[str, dict[str, pathlib.Path]]  # id -> part ("s1_before", ..., "mask") -> file


def find(source: pathlib.Path) -> Files:
    """The files of every place that is complete, in order."""
    found: Files = {}
    for sensor in SENSORS:
        number = sensor[1]
        for date in (*DATES, "mask"):
            part = date if date == "mask" else f"{sensor}_{date}"
            name = "gt" if date == "mask" else f"im{date}"
            words = {"S": sensor.upper(), "DATE": date.upper(), "date": date, "number": number, "name": name}
            for path in sorted(source.glob(POOL.format(**words))):
                found.setdefault(path.stem.rpartition("_")[2], {}).setdefault(part, path)
            for path in sorted(source.glob(EVENTS.format(**words))):
                place = f"{path.parts[-4].lower()}_{path.stem.rpartition('_')[2]}"
                found.setdefault(place, {}).setdefault(part, path)
    parts = {*(f"{sensor}_{date}" for sensor in SENSORS for date in DATES), "mask"}
    return {place: files for place, files in sorted(found.items()) if files.keys() == parts}


def pixels(path: pathlib.Path, part: str) -> np.ndarray:
    """What an image draws, (H, W) or (H, W, 3) uint8; masks are 0 or 255."""
    with Image.open(path) as image:
        values = np.asarray(image.convert("RGB" if part.startswith("s2") else "L"))
    return np.where(values > 0, np.uint8(255), np.uint8(0)) if part == "mask" else values


def continues(one: np.ndarray, other: np.ndarray) -> float:
    """How well an edge continues another one: their correlation, (pixels, bands) each, mean of the bands."""
    one, other = one - one.mean(0), other - other.mean(0)
    scale = np.sqrt((one**2).sum(0) * (other**2).sum(0))
    return float(((one * other).sum(0) / np.maximum(scale, 1e-6)).mean())


def groups_of(images: Mapping[str, np.ndarray]) -> dict[str, str]:
    """The group of each place, "g00", "g01", ...

    Args:
      images: (H, W, bands) of each place, in the order of their numbers.
    """
    places = list(images)
    edges = [(v[:, -1], v[:, 0], v[-1], v[0]) for v in (image.astype(np.float64) for image in images.values())]
    first = list(range(len(places)))  # for each place the first one that it is known to lie with

    def root(place: int) -> int:
        while first[place] != place:
            place = first[place]
        return place

    for place in range(len(places)):
        right, left, bottom, top = edges[place]
        for other in range(place + 1, len(places)):
            if int(places[other]) - int(places[place]) > NEAR:
                break
            theirs = edges[other]
            meeting = ((right, theirs[1]), (bottom, theirs[3]), (left, theirs[0]), (top, theirs[2]))
            if max(continues(*pair) for pair in meeting) >= ALIKE:
                one, two = sorted((root(place), root(other)))
                first[two] = one
    for place in reversed(range(len(places))):  # what lies between two of a group lies with them
        for between in range(root(place), place):
            one, two = sorted((root(between), root(place)))
            first[two] = one
    names = {number: f"g{k:02}" for k, number in enumerate(sorted({root(place) for place in range(len(places))}))}
    return {place: names[root(k)] for k, place in enumerate(places)}


def write(files: Files, output: pathlib.Path) -> list[tuple[str, str, str]]:
    """Writes the images and masks; returns the rows of places.csv."""
    optical: dict[str, np.ndarray] = {}
    rows = []
    for place, parts in files.items():
        values = {part: pixels(path, part) for part, path in parts.items()}
        for part, image in values.items():
            if image.shape[:2] != (EDGE, EDGE):
                height, width = image.shape[:2]
                sys.exit(f"layout: {parts[part]}: {width} x {height} pixels; expected {EDGE} x {EDGE}")
        for part, image in values.items():
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "png")
            (output / part).mkdir(parents=True, exist_ok=True)
            write_atomically(output / part / f"{place}.png", stream.getvalue())
        if place.isdigit():
            optical[place] = np.concatenate([values[f"s2_{date}"] for date in DATES], axis=-1)
        else:
            rows.append((place, "events_2021", place.partition("_")[0]))
    return [*((place, "pool", group) for place, group in groups_of(optical).items()), *rows]


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Text of places.csv."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("id", "split", "group"), *rows])
    return text.getvalue()


def main() -> None:
    """Writes the folders and places.csv, and says what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=pathlib.Path, required=True, help="a clone of the repository")
    parser.add_argument("--output", type=pathlib.Path, required=True)
    options = parser.parse_args()
    files = find(options.source)
    if not files:
        sys.exit(
            f"layout: {options.source}: no place found; expected OmbriaS1, OmbriaS2 and 2021, as they are published"
        )
    rows = write(files, options.output)
    write_atomically(options.output / "places.csv", table(rows))
    groups = len({group for _, _, group in rows})
    print(f"{options.output}: {len(rows)} places of {groups} groups")


if __name__ == "__main__":
    main()
