"""Figures of a study as PNG bytes: its history, the scores of its trials on their way, and what was tried.

As in `figures`, the same input gives the same bytes. Colours: done, pruned, and the best.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from lcjax.plotting.figures import STYLE, clip, new_figure, png

_BEST, _DONE, _PRUNED, _FAILED = "#D55E00", "#0072B2", "#9aa7b5", "#000000"
_COLUMNS = 3  # panels side by side
_MARGIN = 0.04  # of an axis, beyond each end of its range
_TICKS = 5  # numbers along an axis, at most
_MARKS: dict[str, dict[str, Any]] = {
    "done": {"marker": "o", "color": _DONE},
    "pruned": {"marker": "s", "color": _PRUNED},
    "running": {"marker": "o", "color": _DONE, "fillstyle": "none"},
}


@dataclasses.dataclass(frozen=True)
class Axis:
    """One field that is searched.

    Attributes:
      field: its name.
      low, high: of its range; of words, the places of the first and the last.
      log: whether it is searched by its logarithm.
      words: of a choice.
    """

    field: str
    low: float
    high: float
    log: bool = False
    words: tuple[str, ...] = ()

    def place(self, value: Any) -> float:
        """Where a value lies on the axis: the number itself, or the place of a word."""
        return float(self.words.index(value)) if self.words else float(value)

    def share(self, value: Any) -> float:
        """Where a value lies between the ends, from 0 to 1."""
        at = [self.place(value), self.low, self.high]
        here, low, high = np.log(at) if self.log else np.array(at)
        return float((here - low) / (high - low)) if high > low else 0.5

    def ticks(self) -> list[float]:
        """Numbers to write along an axis that is searched by its logarithm: two to five of them, all in the range."""
        first, last = int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high)))
        least, most = self.low * (1 - 1e-9), self.high * (1 + 1e-9)
        for every, mantissas in ((1, (1, 2, 5)), (1, (1, 3)), *((step, (1,)) for step in range(1, last - first + 1))):
            exponents = range(first, last + 1, every)
            powers = [float(f"{mantissa}e{exponent}") for exponent in exponents for mantissa in mantissas]
            inside = [number for number in powers if least <= number <= most]
            if 2 <= len(inside) <= _TICKS:
                return inside
        # What spans less than a factor of five or so is nearly even.
        numbers = MaxNLocator(_TICKS - 1, steps=[1, 2, 5, 10]).tick_values(self.low, self.high)
        return [float(number) for number in numbers if least <= number <= most]


@dataclasses.dataclass(frozen=True)
class Mark:
    """One trial.

    Attributes:
      number: from 0.
      state: "done", "pruned", "failed" or "running".
      score: the best so far; None without any.
      scores: of each evaluation.
      values: of the fields.
    """

    number: int
    state: str
    score: float | None
    scores: Sequence[float]
    values: Mapping[str, Any]


@matplotlib.rc_context(STYLE)
def history(marks: Sequence[Mark], score: str, best: int | None, sign: int = 1) -> bytes:
    """Draws the score of each trial, and the best so far.

    Args:
      marks: of all trials.
      score: its name.
      best: number of the best trial.
      sign: 1 where a score is to be high, -1 where it is to be low.
    """
    figure = new_figure(5.6, 3.2)
    axes = figure.subplots()
    _points(axes, [(mark, float(mark.number)) for mark in marks], best)
    done = {mark.number: mark.score for mark in marks if mark.state == "done" and mark.score is not None}
    if done:
        so_far = sign * np.maximum.accumulate(sign * np.array(list(done.values())))
        axes.step(list(done), so_far, where="post", color=_BEST, linewidth=1.2)
    for mark in marks:
        if mark.state == "failed":
            axes.plot([mark.number], [0.02], "x", color=_FAILED, transform=axes.get_xaxis_transform())
    axes.set(title="Trials in their order", xlabel="trial", ylabel=score)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True)
    handles = [
        *(Line2D([], [], linestyle="", label=state, **look) for state, look in _MARKS.items()),
        Line2D([], [], linestyle="", marker="x", color=_FAILED, label="failed"),
        Line2D([], [], color=_BEST, label="best so far"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return png(figure)


@matplotlib.rc_context(STYLE)
def ways(marks: Sequence[Mark], score: str, best: int | None) -> bytes:
    """Draws the scores of each trial by evaluation; arguments as of `history`."""
    figure = new_figure(5.6, 3.2)
    axes = figure.subplots()
    for mark in sorted(marks, key=lambda one: one.number == best):
        ended = mark.state in ("pruned", "failed")
        colour, width = (_BEST, 2.0) if mark.number == best else (_PRUNED if ended else _DONE, 0.8)
        axes.plot(range(1, len(mark.scores) + 1), mark.scores, color=colour, linewidth=width)
        if ended and mark.scores:
            axes.plot([len(mark.scores)], [mark.scores[-1]], marker="x", markersize=5, color=_PRUNED)
    axes.set(title="Scores on the way", xlabel="evaluation", ylabel=score)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(True)
    lines = {"the best": _BEST, "done": _DONE, "pruned or failed": _PRUNED}
    handles = [Line2D([], [], color=colour, label=label) for label, colour in lines.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return png(figure)


@matplotlib.rc_context(STYLE)
def by_field(axes_of: Sequence[Axis], marks: Sequence[Mark], score: str, best: int | None) -> bytes:
    """Draws the score over each field, one panel a field.

    Args:
      axes_of: the fields.
      marks: of all trials.
      score: its name.
      best: number of the best trial.
    """
    columns = min(_COLUMNS, len(axes_of))
    rows = -(-len(axes_of) // columns)
    figure = new_figure(3.7 * columns, 2.7 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, one in zip(grid.flat, axes_of, strict=False):
        _points(axes, [(mark, one.place(mark.values[one.field])) for mark in marks], best)
        axes.set_xlabel(clip(one.field, 40))
        axes.grid(True)
        if one.words:
            axes.set_xticks(range(len(one.words)), [clip(word, 18) for word in one.words])
            axes.set_xlim(-0.5, len(one.words) - 0.5)
            if sum(len(clip(word, 18)) for word in one.words) > 34:
                axes.tick_params(axis="x", rotation=25)
            continue
        if one.log:
            axes.set_xscale("log")
            axes.set_xticks(ticks := one.ticks(), [f"{tick:g}" for tick in ticks])
            axes.xaxis.set_minor_locator(NullLocator())
        span, ratio = one.high - one.low, one.high / one.low if one.log else 1.0
        beyond = (one.low / ratio**_MARGIN, one.high * ratio**_MARGIN)
        axes.set_xlim(*(beyond if one.log else (one.low - _MARGIN * span, one.high + _MARGIN * span)))
    for axes in grid[:, 0]:
        axes.set_ylabel(score)
    for axes in grid.flat[len(axes_of) :]:
        axes.set_visible(False)
    return png(figure)


@matplotlib.rc_context(STYLE)
def parallel(axes_of: Sequence[Axis], marks: Sequence[Mark], score: str, best: int | None) -> bytes:
    """Draws each trial as a line over all fields, coloured by its score; arguments as of `by_field`."""
    scored = [(mark, mark.score) for mark in marks if mark.state != "failed" and mark.score is not None]
    figure = new_figure(max(5.6, 1.75 * (len(axes_of) + 1)), 3.6)
    axes = figure.subplots()
    numbers = [number for _, number in scored]
    norm = matplotlib.colors.Normalize(min(numbers), max(numbers))
    colours = matplotlib.colormaps["viridis"]
    for mark, number in sorted(scored, key=lambda one: (one[0].number == best, one[1])):
        places = [one.share(mark.values[one.field]) for one in axes_of] + [float(norm(number))]
        is_best = mark.number == best
        colour = _BEST if is_best else colours(norm(number))
        alpha = 1.0 if is_best or mark.state == "done" else 0.45
        axes.plot(range(len(places)), places, color=colour, linewidth=2.6 if is_best else 1.0, alpha=alpha)
    for place, one in enumerate(axes_of):
        axes.axvline(place, color="#889", linewidth=0.8)
        labels = [(one.share(word), word) for word in one.words] or [(0.0, f"{one.low:.3g}"), (1.0, f"{one.high:.3g}")]
        for height, label in labels:
            offset = (4, 3 if height < 1 else -9)
            box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
            axes.annotate(
                clip(label, 16), (place, height), offset, textcoords="offset points", fontsize=7, bbox=box, zorder=5
            )
    names = [clip(one.field.replace(".", ".\n"), 40) for one in axes_of]
    axes.set_xticks(range(len(axes_of) + 1), [*names, score], fontsize=8)
    axes.axvline(len(axes_of), color="#889", linewidth=0.8)
    axes.set(yticks=[], ylim=(-0.04, 1.04), xlim=(-0.1, len(axes_of) + 0.1))
    axes.set_title("Each trial as a line; the best is the thick one")
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(matplotlib.cm.ScalarMappable(norm, colours), ax=axes, pad=0.02)
    bar.set_label(score)
    return png(figure)


def _points(axes: Any, placed: Sequence[tuple[Mark, float]], best: int | None) -> None:
    for mark, place in placed:
        if mark.score is None or mark.state not in _MARKS:
            continue
        axes.plot([place], [mark.score], linestyle="", markersize=4.5, **_MARKS[mark.state])
        if mark.number == best:
            axes.plot([place], [mark.score], "o", markersize=10, fillstyle="none", color=_BEST, markeredgewidth=1.8)
