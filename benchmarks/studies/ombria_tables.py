"""Tables and figure of the study of OMBRIA: flood IoU and mIoU by arm, labelled places and part of the test."""

import io
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import rows
from intervals import interval
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# (arm, arm that it is compared with), seed by seed.
PAIRS = (
    ("finetuned", "scratch"),
    ("frozen", "scratch"),
    ("beside", "beside_random"),
    ("beside", "early"),
    ("unet_finetuned", "unet_scratch"),
    ("resnet18_finetuned", "resnet18_scratch"),
    ("finetuned", "random_forest"),
)
SCORES = {"flood_IoU": "IoU of the flooded class", "mIoU": "mIoU"}
PARTS = {"held_out": "held-out groups", "albania": "Albania", "france": "France", "events": "both floods of 2021"}
DRAWN = {
    "scratch": "#d55e00",
    "finetuned": "#0072b2",
    "frozen": "#009e73",
    "beside": "#cc79a7",
    "random_forest": "#666666",
}


def flood_iou(counts: np.ndarray) -> float:
    """IoU of the flooded class of confusion counts (2, 2), rows = truth; 0 where nothing is flooded."""
    either = counts[1].sum() + counts[0, 1]
    return float(counts[1, 1] / either) if either else 0.0


def mean_iou(counts: np.ndarray) -> float:
    """Mean IoU of both classes."""
    return (flood_iou(counts) + flood_iou(counts[::-1, ::-1])) / 2


def scores_of(runs: Sequence[Mapping], pool: Sequence[str]) -> list[dict]:
    """A row for each run and part of the test: held_out (what is of the pool), each event and all events."""
    found = []
    for one in runs:
        counts = {group: np.array(matrix) for group, matrix in one["counts"].items()}
        events = sorted(group for group in counts if group not in pool)
        parts = {"held_out": [group for group in pool if group in counts]}
        parts |= {group.removeprefix("events/"): [group] for group in events} | {"events": events}
        for part, groups in parts.items():
            if groups:
                total = np.sum([counts[group] for group in groups], axis=0)
                about = {key: one[key] for key in ("arm", "places", "seed")}
                found.append(about | {"part": part, "flood_IoU": flood_iou(total), "mIoU": mean_iou(total)})
    return found


def sheet(found: Sequence[Mapping]) -> str:
    """CSV: the rows of `scores_of`."""
    return rows.sheet(found, list(found[0]))


def by_seed(found: Sequence[Mapping], arm: str, part: str, places: int, score: str = "flood_IoU") -> dict[int, float]:
    """Scores of an arm by seed."""
    return {one["seed"]: one[score] for one in found if (one["arm"], one["part"], one["places"]) == (arm, part, places)}


def counts_in(found: Sequence[Mapping]) -> list[int]:
    """The numbers of labelled places, all of them (0) last."""
    return sorted({one["places"] for one in found}, key=lambda count: (count == 0, count))


def table(found: Sequence[Mapping], titles: Mapping[str, str]) -> str:
    """Markdown: by part of the test and score each arm by labelled places; then differences seed by seed."""
    lines = [
        "Mean over the seeds, ± half of its 95 % interval by Student's t where there are two seeds or more, by number",
        "of labelled places. Intervals are of seeds alone: other labels, other initial values; no other floods.",
        "",
    ]
    counts = counts_in(found)
    header = " | ".join(str(count or "all") for count in counts)
    parts = list(dict.fromkeys(one["part"] for one in found))
    for score, said in SCORES.items():
        for part in parts:
            lines += [f"## {said}, {PARTS.get(part, part)}", "", f"| arm | seeds | {header} |"]
            lines += ["|---|---|" + "--:|" * len(counts), *_arms(found, titles, part, score, counts), ""]
    for score, said in SCORES.items():
        lines += [f"## Differences of {said}, seed by seed", "", f"| arm | less | part | {header} |"]
        lines += ["|---|---|---|" + "--:|" * len(counts), *_differences(found, titles, parts, score, counts), ""]
    return "\n".join(lines)


def _arms(
    found: Sequence[Mapping], titles: Mapping[str, str], part: str, score: str, counts: Sequence[int]
) -> Iterator[str]:
    for arm, title in titles.items():
        values = [list(by_seed(found, arm, part, count, score).values()) for count in counts]
        seeds = sorted({len(one) for one in values} - {0})
        if seeds:
            cells = " | ".join(_mean(one, "") for one in values)
            yield f"| {title} | {' to '.join(map(str, (seeds[0], *seeds[1:][-1:])))} | {cells} |"


def _differences(
    found: Sequence[Mapping], titles: Mapping[str, str], parts: Sequence[str], score: str, counts: Sequence[int]
) -> Iterator[str]:
    for one, other in PAIRS:
        for part in parts:
            pairs = [(by_seed(found, one, part, c, score), by_seed(found, other, part, c, score)) for c in counts]
            cells = [
                _mean([ours[seed] - theirs[seed] for seed in ours if seed in theirs], "+") for ours, theirs in pairs
            ]
            if any(cells):
                yield f"| {titles[one]} | {titles[other]} | {PARTS.get(part, part)} | {' | '.join(cells)} |"


def _mean(values: Sequence[float], sign: str) -> str:
    """Mean and half of its interval, as a table says them."""
    if not values:
        return ""
    mean, low, high = interval(values)
    return f"{mean:{sign}.3f}" + (f" ± {(high - low) / 2:.3f}" if len(values) > 1 else "")


def choices_table(told: Mapping[str, Mapping]) -> str:
    """Markdown: what was chosen, on which arm, and the scores of every fold."""
    lines = [
        "Chosen on parts of the training groups, one field after the other, before the test was scored; flood IoU:",
        "",
        "| field | arm | value | folds | mean | |",
        "|---|---|--:|---|--:|---|",
    ]
    for field, one in told.items():
        for value, folds in one["scores"].items():
            shown = ", ".join(f"{score:.3f}" for score in folds)
            taken = "chosen" if value == str(one["chosen"]) else ""
            lines.append(f"| {field} | {one['arm']} | {value} | {shown} | {statistics.mean(folds):.3f} | {taken} |")
    return "\n".join(lines) + "\n"


def lengths_table(scores: Mapping[tuple[str, int], Sequence[float]], titles: Mapping[str, str]) -> str:
    """Markdown: flood IoU on the folds by arm and steps."""
    lines = ["Flood IoU on parts of the training groups:", "", "| arm | steps | folds | mean |", "|---|--:|---|--:|"]
    for (arm, steps), folds in scores.items():
        shown = ", ".join(f"{score:.3f}" for score in folds)
        lines.append(f"| {titles[arm]} | {steps} | {shown} | {statistics.mean(folds):.3f} |")
    return "\n".join(lines) + "\n"


def draw(found: Sequence[Mapping], titles: Mapping[str, str]) -> bytes:
    """Flood IoU by labelled places: points for the seeds, lines through their means, for the two whole parts."""
    counts = counts_in(found)
    figure = Figure(figsize=(9.6, 4.2), dpi=144, layout="constrained")
    FigureCanvasAgg(figure)
    wholes = {"held_out": "held-out groups", "events": "floods of 2021"}
    for axes, (part, title) in zip(figure.subplots(1, 2, sharey=True), wholes.items(), strict=True):
        for arm, colour in DRAWN.items():
            values = {place: by_seed(found, arm, part, count) for place, count in enumerate(counts)}
            known = {place: list(of_seeds.values()) for place, of_seeds in values.items() if of_seeds}
            axes.plot(list(known), [statistics.mean(one) for one in known.values()], color=colour, label=titles[arm])
            for place, one in known.items():
                axes.plot([place] * len(one), one, ".", color=colour)
        axes.set_xticks(range(len(counts)), [str(count or "all") for count in counts])
        axes.set(title=title, xlabel="labelled places")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("IoU of the flooded class")
    figure.axes[0].legend(frameon=False, fontsize=8)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
