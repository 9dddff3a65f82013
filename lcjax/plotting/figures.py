"""Figures as PNG bytes: learning curves, confusion matrices, class shares, sample predictions.

Figures are drawn on their own Agg canvas, so no global state of matplotlib changes. The same input gives the same
bytes. Line colours are those of Okabe & Ito (2008), which readers with any colour vision tell apart; class colours are
those of the legend.
"""

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

LINE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES: tuple[Literal["-"] | tuple[float, Sequence[float]], ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1, 1.2)),
    (0, (5, 1.5, 1, 1.5)),
)
DPI = 144  # 1.5 times the 96 pixels per inch of a page, for dense screens
OTHER = "other"  # what a pixel was taken for that was taken for none of the classes
UNLABELLED = "#d9d9d9"  # pixels that carry no class
_SMOOTHED_FROM = 80  # points; below that, every point of a line can be seen
STYLE: dict = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.parse_math": False,  # a "$" in the name of a run is a "$"
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#667",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": False,
    "grid.color": "#dde",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


@dataclasses.dataclass(frozen=True)
class Curve:
    """One curve of a panel.

    Attributes:
      run: name, by which the colour is chosen.
      steps: x values.
      values: y values.
      dashed: whether it is the run's second quantity (the validation loss beside the loss).
    """

    run: str
    steps: Sequence[float]
    values: Sequence[float]
    dashed: bool = False

    def mean(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Returns steps and values of the moving average of a long curve; None of one whose points can be seen."""
        if self.dashed or len(self.values) < _SMOOTHED_FROM:
            return None
        width = len(self.values) // 20
        mean = np.convolve(np.asarray(self.values, float), np.full(width, 1 / width), mode="valid")
        return np.asarray(self.steps, float)[width - 1 :], mean


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes of `learning_curves`.

    Attributes:
      title: above the axes.
      unit: label of the vertical axis.
      curves: to draw.
      smoothed: whether to draw long curves faint, with their moving average over them.
    """

    title: str
    unit: str
    curves: Sequence[Curve]
    smoothed: bool = False


@matplotlib.rc_context(STYLE)
def learning_curves(panels: Sequence[Panel]) -> bytes:
    """Draws learning curves side by side; a run has the same colour in every panel.

    Args:
      panels: from left to right; runs are coloured in the order of their first appearance.
    """
    runs = list(dict.fromkeys(curve.run for panel in panels for curve in panel.curves))
    styles = {
        run: (LINE_COLOURS[i % len(LINE_COLOURS)], LINE_STYLES[i // len(LINE_COLOURS) % len(LINE_STYLES)])
        for i, run in enumerate(runs)
    }
    rows_of_legend = -(-len(runs) // 3)
    figure = new_figure(4.0 * len(panels), 3.1 + 0.22 * rows_of_legend)
    figure.set_layout_engine("constrained", wspace=0.04)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        for curve in panel.curves:
            _draw_curve(axes, curve, panel.smoothed, *styles[curve.run])
        axes.set(title=panel.title, xlabel="step", ylabel=panel.unit)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
        axes.grid(True)
        axes.margins(x=0.02)
        values = [value for curve in panel.curves for value in curve.values if np.isfinite(value)]
        if values and min(values) >= 0:
            axes.set_ylim(bottom=0)
        if any(curve.dashed for curve in panel.curves):
            kinds = [Line2D([], [], color="#444"), Line2D([], [], color="#444", linestyle=(0, (4, 2)), marker=".")]
            axes.legend(kinds, ["training", "validation"], fontsize=8, handlelength=3)
    handles = [Line2D([], [], color=colour, linestyle=style, linewidth=2) for colour, style in styles.values()]
    figure.legend(handles, [clip(run, 44) for run in runs], loc="outside lower center", ncols=3)
    return png(figure)


@matplotlib.rc_context(STYLE)
def confusion(
    matrix: np.ndarray, names: Sequence[str], title: str = "", other: Sequence[int] | np.ndarray | None = None
) -> bytes:
    """Draws a confusion matrix in percent of each row; a class without true pixels has a blank row.

    Args:
      matrix: (K, K) pixel counts, rows = truth, columns = prediction.
      names: the K class names.
      title: above the matrix.
      other: (K,) pixels of each class that were taken for none of them: a last column.
    """
    counts = np.asarray(matrix, np.float64)
    if other is not None:
        counts = np.pad(np.column_stack([counts, other]), ((0, 1), (0, 0)))
        names = [*names, OTHER]
    totals = counts.sum(axis=1, keepdims=True)
    percent = np.divide(100 * counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
    return _matrix(percent, names, title, "truth (each row sums to 100 %)", decimals=1)


@matplotlib.rc_context(STYLE)
def published_confusion(shares: np.ndarray, names: Sequence[str], title: str) -> bytes:
    """Draws a published confusion matrix, in whole percent as its source gives it.

    Args:
      shares: (K, K) rounded fractions of each row, rows = truth.
      names: the K class names.
      title: above the matrix.
    """
    return _matrix(100 * np.asarray(shares, np.float64), names, title, "truth (each row in percent)", decimals=0)


@matplotlib.rc_context(STYLE)
def distribution(shares: Mapping[str, Mapping[str, int]], names: Sequence[str], colours: Mapping[str, str]) -> bytes:
    """Draws the share of each class in each split as bars, in percent of the given pixels.

    Args:
      shares: split -> class name -> pixels.
      names: the classes in the order in which they are drawn, from the top.
      colours: class name -> "#rrggbb"; a class without one is grey.
    """
    figure = new_figure(1.5 + 2.4 * len(shares), 1.1 + 0.27 * len(names))
    grid = figure.subplots(1, len(shares), sharex=True, sharey=True, squeeze=False)[0]
    rows = np.arange(len(names))
    for axes, (split, pixels) in zip(grid, shares.items(), strict=True):
        total = sum(pixels.values())
        percent = np.array([100 * pixels.get(name, 0) / max(total, 1) for name in names])
        axes.barh(rows, percent, color=[colours.get(n, UNLABELLED) for n in names], edgecolor="#445", linewidth=0.6)
        for row, value in zip(rows, percent, strict=True):
            axes.text(value, row, f" {value:.1f}", va="center", fontsize=8, color="#334")
        axes.set_yticks(rows, [clip(name, 24) for name in names])
        axes.set(title=f"{clip(split, 20)}: {_short(total)} pixels", xlabel="% of scored pixels")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.16)
    grid[0].invert_yaxis()
    return png(figure)


Bins = Sequence[Sequence[float]]  # [pixels, mean probability, share of the pixels that it is true of] of each


@matplotlib.rc_context(STYLE)
def reliability(panels: Mapping[str, Mapping[str, Bins]], columns: int = 4) -> bytes:
    """Draws reliability diagrams: what was told against what came true, and the share of pixels in each bin.

    Args:
      panels: title -> {name of a curve -> its bins}; curves of one name have one colour, the last also has the bars.
      columns: panels side by side.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    figure = new_figure(2.35 * columns, 2.35 * rows + 0.35)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        axes.plot([0, 1], [0, 1], color="#99a", linewidth=0.8, linestyle=(0, (4, 2)))
        for name, bins in curves.items():
            pixels, told, true = np.array(bins, np.float64).T
            there = pixels > 0
            style = LINE_COLOURS[names.index(name) % len(LINE_COLOURS)]
            axes.plot(told[there], true[there], color=style, marker=".", markersize=5, linewidth=1.3)
        edges = np.linspace(0, 1, len(pixels) + 1)
        axes.stairs(pixels / max(pixels.sum(), 1), edges, fill=True, color=style, alpha=0.18)
        axes.set_title(clip(title, 26), fontsize=9)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.grid(True)
    for place, axes in enumerate(grid.flat):
        axes.set_visible(place < len(panels))
        axes.tick_params(labelbottom=place + columns >= len(panels))
    figure.supxlabel("probability that was told", fontsize=9)
    figure.supylabel("share that came true", fontsize=9)
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=LINE_COLOURS[i % len(LINE_COLOURS)], marker=".", linewidth=1.3) for i in range(len(names))
    ]
    shade = LINE_COLOURS[(len(names) - 1) % len(LINE_COLOURS)]
    handles.append(Patch(facecolor=shade, alpha=0.18))
    figure.legend(handles, [*names, f"pixels, {names[-1]}"], loc="outside upper center", ncols=len(handles), fontsize=8)
    return png(figure)


@matplotlib.rc_context(STYLE)
def samples(
    ids: Sequence[str],
    images: np.ndarray,
    labels: Mapping[str, np.ndarray],
    classes: Sequence[tuple[int, str, str]],
    unlabelled: str = "not labelled, not scored",
    side: float = 1.6,
) -> bytes:
    """Draws rows of image, truth and predictions, with one legend.

    Args:
      ids: (N,) record ids, one a row.
      images: (N, H, W, 3) uint8.
      labels: column title -> (N, H, W) uint8 legend ids; the first is the truth.
      classes: (id, name, "#rrggbb") of every class of the legend; the figure lists those that occur. Any other id is
        drawn grey.
      unlabelled: name of the grey pixels.
      side: of a picture, in inches.
    """
    palette = np.full((256, 3), _rgb(UNLABELLED), np.uint8)
    for number, _, colour in classes:
        palette[number] = _rgb(colour)
    present = np.unique(np.concatenate([np.unique(values) for values in labels.values()]))
    known = [entry for entry in classes if entry[0] in present]
    handles = [Patch(facecolor=colour, edgecolor="#445", linewidth=0.6) for _, _, colour in known]
    texts = [name for _, name, _ in known]
    if set(present.tolist()) - {number for number, _, _ in classes}:
        handles.append(Patch(facecolor=UNLABELLED, edgecolor="#445", linewidth=0.6))
        texts.append(unlabelled)
    columns = {"image": images} | {title: palette[values] for title, values in labels.items()}
    per_row = max(3, len(columns))
    height = side * len(ids) + 0.55 + 0.22 * -(-len(handles) // per_row)
    figure = new_figure(0.3 + side * len(columns), height)
    grid = figure.subplots(len(ids), len(columns), squeeze=False)
    for column, (title, pictures) in enumerate(columns.items()):
        grid[0, column].set_title(_fold(title, round(11 * side)), fontsize=8, loc="center", fontweight="normal")
        for row, picture in enumerate(pictures):
            grid[row, column].imshow(picture, interpolation="nearest" if column else "antialiased")
    for row, name in enumerate(ids):
        grid[row, 0].set_ylabel(clip(str(name), 26), fontsize=6)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.spines[:].set(color="#99a", linewidth=0.5)
    figure.legend(handles, texts, loc="outside lower center", ncols=per_row, fontsize=8)
    return png(figure)


@dataclasses.dataclass(frozen=True)
class Classified:
    """A patch and its labels.

    Attributes:
      name: of the record.
      image: (H, W, 3) uint8.
      truth: names of its labels; None where they are not known.
      given: name and probability of each class that it is given.
    """

    name: str
    image: np.ndarray
    truth: tuple[str, ...] | None
    given: tuple[tuple[str, float], ...]


@matplotlib.rc_context(STYLE)
def patches(shown: Sequence[Classified]) -> bytes:
    """Draws patches side by side, above each its labels, below what it is given: black where it is right, else red."""
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    lines = max(max(len(one.truth or ()), len(one.given), 1) for one in shown)
    figure = new_figure(2.4 * columns, (2.5 + 0.28 * lines) * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, one in zip(grid.flat, shown, strict=False):
        axes.imshow(one.image)
        truth = "\n".join(one.truth or ("no label",) if one.truth is not None else ("not labelled",))
        axes.set_title(f"{clip(one.name, 34)}\n{truth}", fontsize=7, loc="left", fontweight="normal")
        right = one.truth is not None and set(one.truth) == {name for name, _ in one.given}
        said = "\n".join(f"→ {name} {100 * share:.0f} %" for name, share in one.given) or "→ no label"
        axes.text(
            0, -0.03, said, transform=axes.transAxes, va="top", fontsize=7, color="#223" if right else "#b03a00"
        )  # fmt: skip
    return png(figure)


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty figure of this size in inches, on a canvas of its own."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png(figure: Figure) -> bytes:
    """A figure as a file; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _matrix(percent: np.ndarray, names: Sequence[str], title: str, truth: str, decimals: int) -> bytes:
    """Draws a matrix of percentages; those below 10 get so many decimals, and a row of NaN is blank."""
    size = 0.43 * len(names)
    figure = new_figure(size + 2.1, size + 1.9)
    axes = figure.subplots()
    axes.set_facecolor("#f3f3f3")
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.argwhere(np.isfinite(percent)).tolist():
        value = percent[row, column]
        text = "0" if value == 0 else f"{value:.{decimals}f}" if value < 9.95 else f"{value:.0f}"
        colour = "white" if value > 55 else "#99a" if value < 0.05 else "#223"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    for row in np.flatnonzero(np.isnan(percent[:, 0])).tolist():
        axes.text((len(names) - 1) / 2, row, "none true", ha="center", va="center", color="#778", fontsize=8)
    labels = [clip(name, 22) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels)
    axes.set(xlabel="prediction", ylabel=truth)
    axes.set_title(clip(title, 10 + 6 * len(names)))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return png(figure)


def _draw_curve(axes, curve: Curve, smoothed: bool, colour: str, style) -> None:
    steps, values = np.asarray(curve.steps, float), np.asarray(curve.values, float)
    mean = curve.mean() if smoothed else None
    if curve.dashed:
        axes.plot(steps, values, color=colour, linestyle=(0, (4, 2)), marker=".", markersize=4, linewidth=1.2)
    elif mean is not None:
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.3)
        axes.plot(*mean, color=colour, linestyle=style, linewidth=1.6)
    else:
        marker = "." if len(values) < 30 else None
        axes.plot(steps, values, color=colour, linestyle=style, linewidth=1.6, marker=marker)


def _rgb(colour: str) -> list[int]:
    return [int(colour[i : i + 2], 16) for i in (1, 3, 5)]


def _short(count: float) -> str:
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {letter}"
    return f"{count:.0f}"


def clip(text: str, length: int) -> str:
    """A text that is cut to so many characters where it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def _fold(text: str, length: int) -> str:
    """Breaks a text into at most two lines of about `length` characters."""
    if len(text) <= length:
        return text
    cut = max((text.rfind(mark, 0, length) + 1 for mark in " _-/"), default=0) or length
    return text[:cut] + "\n" + clip(text[cut:], length)
