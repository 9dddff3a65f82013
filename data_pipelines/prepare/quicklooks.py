"""Pictures of a prepared data set: how its classes and the numbers in its bands are distributed, and records."""

import functools
import itertools
import pathlib
from collections.abc import Mapping

import numpy as np

from data_pipelines.reading.dataset import PreparedDataset
from data_pipelines.reading.interfaces import Source
from data_pipelines.schema import display
from data_pipelines.schema.files import temporary
from data_pipelines.schema.legends import IGNORE, Legend
from data_pipelines.schema.sensors import S1, S2, Sensor

DISTRIBUTION = "class_distribution{}.png"  # of the stored splits, and of each partition
HISTOGRAMS = "band_histograms.png"
CONTACT_SHEET = "contact_sheet.png"
_ROWS = 4  # records of each split in the contact sheet
_NEIGHBOURS = 5
_SAMPLED = 200  # records of each split in the histograms
_PIXELS = 64  # along an edge of each of them
_BINS = 60
_TAIL = 0.1  # percent of the pixels at either end that the histograms leave out
_PANELS = 5  # in a row of histograms
_NO_LABEL = "#d9d9d9"  # snow is white in published palettes, and "other" black
# Sensor.meaning -> unit of stored number x scaling.unit; else as it is stored.
_UNITS = {S1.meaning: "sigma0 [dB]", S2.meaning: "reflectance [1e-4]"}
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")  # Okabe and Ito (2008)


def draw(dataset: PreparedDataset) -> list[pathlib.Path]:
    """Draws the pictures that are not there yet into the folder of the data set. Returns the paths of all."""
    parts: dict[str, dict[str, int]] = {}
    for part, records in dataset.partitions.items():
        parts.setdefault(part.partition("/")[0], {})[part] = records
    pictures = {DISTRIBUTION.format(""): functools.partial(distribution, dataset, dataset.splits)}
    for name, of_partition in parts.items():
        pictures[DISTRIBUTION.format(f"_{name}")] = functools.partial(distribution, dataset, of_partition)
    pictures[HISTOGRAMS] = functools.partial(histograms, dataset)
    pictures[CONTACT_SHEET] = functools.partial(contact_sheet, dataset)
    import matplotlib

    with matplotlib.rc_context({"text.parse_math": False}):  # a "$" in the name of a class is a "$"
        for name, picture in pictures.items():
            if not (dataset.folder / name).exists():
                begun = temporary(dataset.folder / name)
                picture().savefig(begun, format="png", dpi=110, bbox_inches="tight")
                begun.replace(dataset.folder / name)
    return [dataset.folder / name for name in pictures]


def distribution(dataset: PreparedDataset, splits: Mapping[str, int]):
    """Bars of the share of each class among the labelled pixels of each split, as a matplotlib figure.

    `splits` are stored splits, or parts of a partition, with their number of records.
    """
    from matplotlib.figure import Figure  # here, because training never draws this

    labelled = {split: pixels for split in splits if (pixels := dataset.class_pixels(split))}
    classes = dataset.legend.classes
    ignored = dataset.legend.ignored
    names = [f"{c.value} {c.name}" + (" (ignored)" if c.id in ignored else "") for c in classes]
    height = 0.7 + 2.2 * max(len(labelled), 1) + 0.05 * max(map(len, names))
    figure = Figure(figsize=(max(10, 0.6 * len(classes)), height), layout="constrained")
    axes = figure.subplots(max(len(labelled), 1), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (split, pixels) in zip(axes, labelled.items(), strict=False):
        total = sum(pixels.values())
        shares = [100 * pixels.get(str(c.id), 0) / total for c in classes]
        bars = axis.bar(range(len(classes)), shares, color=[c.colour for c in classes], edgecolor="0.3", linewidth=0.6)
        axis.bar_label(bars, [_percent(share) for share in shares], fontsize=8, padding=2)
        axis.set_title(f"{split}: {_records(splits[split])}, {total:,} labelled pixels", loc="left", fontsize=10)
        axis.set_ylabel("share of pixels [%]")
        axis.set_ylim(0, 1.15 * max(shares))
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xticks(range(len(classes)), names, rotation=40, ha="right", rotation_mode="anchor")
    figure.suptitle(f"{dataset.name} {dataset.version}: classes by split")
    if not labelled:
        axes[0].text(0.5, 0.5, "no split has labels", transform=axes[0].transAxes, ha="center")
    return figure


def _records(number: int) -> str:
    return f"{number:,} record{'s' * (number != 1)}"


def _percent(share: float) -> str:
    return "none" if not share else f"{share:.1f}" if share >= 0.1 else f"{share:.2f}" if share >= 0.01 else "<0.01"


def histograms(dataset: PreparedDataset):
    """How the numbers of each band are distributed in each split, in physical units, as a matplotlib figure.

    Of some records evenly from each split, and of some pixels evenly from each: the labelled ones, or all where a
    record has no label.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    values = {split: _sample(dataset.source(split), dataset) for split in dataset.splits}
    columns = min(_PANELS, max(3, *(len(sensor.bands) for sensor in dataset.sensors)))
    rows = [-(-len(sensor.bands) // columns) for sensor in dataset.sensors]
    figure = Figure(figsize=(2.6 * columns, 0.8 + sum(0.4 + 1.7 * count for count in rows)), layout="constrained")
    blocks = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=[0.4 + 1.7 * count for count in rows])[:, 0]
    for sensor, block, count in zip(dataset.sensors, blocks, rows, strict=True):
        block.suptitle(f"{sensor.name}: {sensor.title}", fontsize=11)
        panels = block.subplots(count, columns, squeeze=False)
        for axis in panels.flat[len(sensor.bands) :]:
            axis.set_axis_off()
        for row in panels:
            row[0].set_ylabel("pixels [% of the split]", fontsize=8)
        for band, axis in enumerate(panels.flat[: len(sensor.bands)]):
            _panel(axis, sensor, band, {split: of_split[sensor.name][:, band] for split, of_split in values.items()})
    sampled = ", ".join(f"{min(_SAMPLED, n):,} of {n:,} {split}" for split, n in dataset.splits.items())
    step = _step(dataset.tile)
    thinned = f"; 1 pixel of {step**2}" if step > 1 else ""
    figure.suptitle(f"{dataset.name} {dataset.version}: bands by split\nrecords: {sampled}{thinned}", fontsize=12)
    keys = [Line2D([], [], color=_colour(k), label=split) for k, split in enumerate(dataset.splits)]
    keys.append(Line2D([], [], color="0.4", linestyle="--", label="where the scaling clips, if within the range shown"))
    figure.legend(handles=keys, loc="outside lower center", ncols=_columns(figure, keys), fontsize=9)
    return figure


def _sample(source: Source, dataset: PreparedDataset) -> dict[str, np.ndarray]:
    """Sensor name -> (n, bands) stored numbers."""
    step = _step(dataset.tile)
    number = min(_SAMPLED, len(source))
    sampled: dict[str, list[np.ndarray]] = {sensor.name: [] for sensor in dataset.sensors}
    for k in range(number):
        record = source[k * len(source) // number]
        labelled = record["label"][::step, ::step] != IGNORE
        chosen = labelled if labelled.any() else ~labelled
        for name, kept in sampled.items():
            kept.append(record[name][::step, ::step][chosen])
    return {name: np.concatenate(kept) for name, kept in sampled.items()}


def _step(tile: int) -> int:
    return max(1, tile // _PIXELS)


def _panel(axis, sensor: Sensor, band: int, values: dict[str, np.ndarray]) -> None:
    """Draws one band, split name -> (n,) stored numbers, as lines of the share of pixels in each bin."""
    unit = sensor.scaling.unit
    edges = _edges(np.concatenate(list(values.values())))
    for k, stored in enumerate(values.values()):
        shares = 100 * np.histogram(stored, edges)[0] / len(stored)
        axis.stairs(shares, edges * unit, color=_colour(k), linewidth=1.2, fill=len(edges) == 2)
    clip = [np.broadcast_to(bound, len(sensor.bands))[band] for bound in (sensor.scaling.low, sensor.scaling.high)]
    for bound in clip:
        if edges[0] * unit < bound < edges[-1] * unit:
            axis.axvline(bound, color="0.4", linestyle="--", linewidth=1)
    axis.set_title(sensor.bands[band], loc="left", fontsize=9, fontweight="bold")
    axis.set_title(f"clip {clip[0]:,.5g} to {clip[1]:,.5g}", loc="right", fontsize=7, color="0.4")
    axis.set_xlabel(_UNITS.get(sensor.meaning, sensor.meaning), fontsize=8)
    axis.set_ylim(bottom=0)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _edges(stored: np.ndarray) -> np.ndarray:
    """Edges of bins over nearly all numbers. Those of integers hold equally many of them, or the line would be a comb.

    A float band that is constant has a single bin around its number.
    """
    low, high = np.percentile(stored, (_TAIL, 100 - _TAIL))
    if np.issubdtype(stored.dtype, np.integer):
        low, high = np.floor(low), np.ceil(high)
        width = -(-(high - low + 1) // _BINS)
        return np.arange(low, high + width + 1, width) - 0.5
    return np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _colour(number: int) -> str:
    return _LINES[number % len(_LINES)]


def _columns(figure, keys: list) -> int:
    """How many columns of a legend fit under a figure."""
    longest = max(len(key.get_label()) for key in keys)
    return max(1, int(figure.get_figwidth() / (0.5 + 0.055 * longest)))  # inches, of letters at 8 points


def contact_sheet(dataset: PreparedDataset):
    """Rows of records, evenly from each split: each sensor and the label, as a matplotlib figure."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    optical_first = dataset.sensors[::-1]
    titles = [f"{s.name} {'-'.join(s.display)}" for s in optical_first] + ["label"]
    rows = min(_ROWS, max(dataset.splits.values()))
    size = (max(6, 1.9 * len(titles) * len(dataset.splits)), 1.9 * rows + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    blocks = figure.subfigures(1, len(dataset.splits), squeeze=False, wspace=0.03)[0]
    for block, (split, count) in zip(blocks, dataset.splits.items(), strict=True):
        block.suptitle(f"{split} ({_records(count)})", fontsize=11)
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
    keys = [Patch(facecolor=c.colour, edgecolor="0.3", label=f"{c.value} {c.name}") for c in dataset.legend.classes]
    unlabelled = "no label" if dataset.legend.nodata != IGNORE else f"{IGNORE} no label"
    keys.append(Patch(facecolor=_NO_LABEL, edgecolor="0.3", label=unlabelled))
    figure.legend(handles=keys, loc="outside lower center", ncols=_columns(figure, keys), fontsize=8)
    return figure


def _shown(source: Source, number: int) -> list[dict]:
    """Records evenly from a split; of a few neighbours the one with most labels, as cut images have tiles with few."""
    near = min(_NEIGHBOURS, len(source) // number)
    edges = [k * len(source) // number for k in range(number + 1)]
    starts = [(start + end - near) // 2 for start, end in itertools.pairwise(edges)]
    neighbours = [[source[index] for index in range(start, start + near)] for start in starts]
    return [max(few, key=lambda record: np.count_nonzero(record["label"] != IGNORE)) for few in neighbours]


def colours(legend: Legend, label: np.ndarray) -> np.ndarray:
    """Label ids (H, W) as a picture (H, W, 3) uint8 in the legend's colours; light grey where there is no label."""
    palette = legend.palette()
    palette[IGNORE] = int(_NO_LABEL[1:3], 16)
    return palette[label]
