"""The section of a report's page on learning curves: one figure for runs that can be compared."""

from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup

from lcjax.plotting import figures
from lcjax.reporting import markup
from lcjax.reporting.run_reader import Run

# By kind of run: beginnings of the scores of which curves are drawn.
_CURVES = {
    "Segmentation": ("mIoU_",),
    "Classification": ("F1_macro_", "mCA_", "mAP_"),
    "Pre-training": ("retrieval", "probe "),
}


def section(runs: Iterable[Run]) -> Markup:
    """Shows a figure for each set of runs of the same task, data set, classes and validation split."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        if not run.history:
            continue
        own = [
            evaluation for evaluation in run.evaluations + run.patches if "note" not in evaluation.fields
        ]  # on its own data set
        known = {"dataset": run.dataset, "class_set": [c.name for c in run.legend.scored] if run.legend else ()}
        fields = own[0].fields if own else known
        classes = tuple(fields["class_set"])
        validation = run.splits["validation"]["id"] if "validation" in run.splits else ""
        groups.setdefault((run.kind, fields["dataset"], classes, validation, run.labels), []).append(run)
    pictures = []
    order = list(_CURVES)
    for (kind, dataset, _, validation, labels), group in sorted(
        groups.items(), key=lambda item: (order.index(item[0][0]), str(item[0]))
    ):
        panels = _panels(group, kind)
        if not panels:
            continue
        if not group[0].pretraining:
            kind = ", ".join(filter(None, [kind, dataset, labels and f"{labels} labels"]))
        about = f" (validation split id {validation})" if validation else ""
        caption = "Where the loss has many points, they are faint, and the strong line is their moving average."
        still = markup.figure(figures.learning_curves(panels), f"Learning curves: {kind}", caption, wide=True)
        drawn = markup.chart("curves", {"title": kind, "panels": [_drawable(panel) for panel in panels]}, still)
        pictures.append(markup.titled(kind + about, drawn))
    return markup.section("curves", "Learning curves", *pictures)


def _drawable(panel: figures.Panel) -> dict[str, Any]:
    """A panel as charts.js reads it."""
    curves = []
    for curve in panel.curves:
        drawn = {"run": curve.run, "steps": curve.steps, "values": _short(curve.values), "dashed": curve.dashed}
        if panel.smoothed and (mean := curve.mean()):
            drawn["mean"] = {"steps": mean[0].tolist(), "values": _short(mean[1])}
        curves.append(drawn)
    return {"title": panel.title, "unit": panel.unit, "curves": curves}


def _short(values: Iterable[float]) -> list[float]:
    """Values in six digits: more would be seen by nobody."""
    return [float(f"{value:.6g}") for value in values]


def _panels(runs: Sequence[Run], kind: str) -> list[figures.Panel]:
    """Returns panels of the loss, the validation scores and the learning rate, as far as the runs recorded them."""
    measured = dict.fromkeys(
        key
        for run in runs
        for row in run.history
        if row.get("split") == "validation"
        for key in row
        if _number(row, key)
    )
    scores = [key for key in measured if key not in ("step", "loss")]
    scores = [key for key in scores if key.startswith(_CURVES[kind])]
    loss = [line for split in ("train", "validation") for line in _curves(runs, "loss", split)]
    panels = [figures.Panel("Loss", "loss", loss, smoothed=True)]
    panels += [
        figures.Panel(f"Validation {key}", f"{key} (fraction)", _curves(runs, key, "validation")) for key in scores
    ]
    panels.append(figures.Panel("Learning rate", "learning rate", _curves(runs, "learning_rate", "train")))
    return [panel for panel in panels if panel.curves]


def _curves(runs: Sequence[Run], key: str, split: str) -> list[figures.Curve]:
    lines = []
    for run in runs:
        rows = [row for row in run.history if row.get("split") == split and _number(row, key)]
        if rows:
            steps, values = [row["step"] for row in rows], [row[key] for row in rows]
            lines.append(figures.Curve(run.name, steps, values, dashed=key == "loss" and split == "validation"))
    return lines


def _number(row: dict, key: str) -> bool:
    return isinstance(row.get(key), (int, float)) and not isinstance(row.get(key), bool)
