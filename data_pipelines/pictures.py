"""Two pictures of a prepared data set: how its classes are distributed, and what its records look like."""

import itertools
import os
import pathlib

import numpy as np

from data_pipelines import display
from data_pipelines.legends import IGNORE, Legend
from data_pipelines.loader import Dataset, Source

DISTRIBUTION = "class_distribution.png"
CONTACT_SHEET = "contact_sheet.png"
_ROWS = 4  # records of each split in the contact sheet
_NEIGHBOURS = 5


def draw(dataset: Dataset) -> list[pathlib.Path]:
    """Draws the pictures that are not there yet into the folder of the data set. Returns the paths of both."""
    pictures = {DISTRIBUTION: distribution, CONTACT_SHEET: contact_sheet}
    for name, picture in pictures.items():
        if not (dataset.folder / name).exists():
            temporary = dataset.folder / f"{name}.{os.getpid()}"
            picture(dataset).savefig(temporary, format="png", dpi=110, bbox_inches="tight")
            temporary.replace(dataset.folder / name)
    return [dataset.folder / name for name in pictures]


def distribution(dataset: Dataset):
    """Bars of the share of each class among the labelled pixels of each split, as a matplotlib figure."""
    from matplotlib.figure import Figure  # here, because training never draws this

    labelled = {n: s["class_pixels"] for n, s in dataset.statistics["splits"].items() if s["class_pixels"]}
    figure = Figure(figsize=(10, 1.2 + 2.2 * max(len(labelled), 1)), layout="constrained")
    classes = dataset.legend.classes
    axes = figure.subplots(max(len(labelled), 1), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (split, pixels) in zip(axes, labelled.items(), strict=False):
        total = sum(pixels.values())
        shares = [100 * pixels.get(str(c.id), 0) / total for c in classes]
        bars = axis.bar(range(len(classes)), shares, color=[c.colour for c in classes], edgecolor="0.3", linewidth=0.6)
        axis.bar_label(bars, [f"{share:.1f} %" if share else "none" for share in shares], fontsize=8, padding=2)
        records = dataset.splits[split]
        axis.set_title(f"{split}: {records:,} records, {total:,} labelled pixels", loc="left", fontsize=10)
        axis.set_ylabel("share of pixels [%]")
        axis.set_ylim(0, 1.15 * max(shares))
        axis.spines[["top", "right"]].set_visible(False)
    ignored = dataset.legend.ignored
    names = [f"{c.id} {c.name}" + (" (ignored)" if c.id in ignored else "") for c in classes]
    axes[-1].set_xticks(range(len(classes)), names, rotation=30, ha="right")
    figure.suptitle(f"{dataset.name} {dataset.version}: classes by split")
    if not labelled:
        axes[0].text(0.5, 0.5, "no split has labels", transform=axes[0].transAxes, ha="center")
    return figure


def contact_sheet(dataset: Dataset):
    """Rows of records, evenly from each split: each sensor and the label, as a matplotlib figure."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    optical_first = dataset.sensors[::-1]
    titles = [f"{s.name} {'-'.join(s.display)}" for s in optical_first] + ["label"]
    rows = min(_ROWS, max(dataset.splits.values()))
    figure = Figure(figsize=(1.9 * len(titles) * len(dataset.splits), 1.9 * rows + 1.2), layout="constrained")
    blocks = figure.subfigures(1, len(dataset.splits), squeeze=False, wspace=0.03)[0]
    for block, (split, count) in zip(blocks, dataset.splits.items(), strict=True):
        block.suptitle(f"{split} ({count:,} records)", fontsize=11)
        axes = block.subplots(rows, len(titles), squeeze=False)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title, fontsize=9)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[], frame_on=False)
        source = dataset.source(split)
        for row, record in zip(axes, _shown(source, min(rows, count)), strict=False):
            images = [display.rgb(sensor, record[sensor.name]) for sensor in optical_first]
            for axis, image in zip(row, [*images, colours(dataset.legend, record["label"])], strict=True):
                axis.imshow(image, interpolation="nearest")
            # What an id ends with tells records apart; more of it would run into the neighbours.
            row[0].set_ylabel(record["id"].removeprefix("ROIs").rpartition("/")[2][-30:], fontsize=6)
            if (record["label"] == IGNORE).all():
                row[-1].text(0.5, 0.5, "no label", transform=row[-1].transAxes, ha="center", va="center", fontsize=8)
    keys = [Patch(facecolor=c.colour, edgecolor="0.3", label=f"{c.id} {c.name}") for c in dataset.legend.classes]
    keys.append(Patch(facecolor="white", edgecolor="0.3", label=f"{IGNORE} no label"))
    figure.legend(handles=keys, loc="outside lower center", ncols=min(6, 2 * len(dataset.splits) + 2), fontsize=8)
    return figure


def _shown(source: Source, number: int) -> list[dict]:
    """Records evenly from a split; of a few neighbours the one with most labels, as cut images have tiles with few."""
    near = min(_NEIGHBOURS, len(source) // number)
    edges = [k * len(source) // number for k in range(number + 1)]
    starts = [(start + end - near) // 2 for start, end in itertools.pairwise(edges)]
    neighbours = [[source[index] for index in range(start, start + near)] for start in starts]
    return [max(few, key=lambda record: np.count_nonzero(record["label"] != IGNORE)) for few in neighbours]


def colours(legend: Legend, label: np.ndarray) -> np.ndarray:
    """Label ids (H, W) as a picture (H, W, 3) uint8 in the legend's colours; white where there is no label."""
    palette = legend.palette()
    palette[IGNORE] = 255
    return palette[label]
