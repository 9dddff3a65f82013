"""The page of a study: what was found, and what was tried."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lcjax.plotting import studies
from lcjax.plotting.studies import Axis, Mark
from lcjax.reporting import markup
from lcjax.reporting.markup import Cell
from lcjax.runs import config_fields
from lcjax.runs.timer import duration
from lcjax.sweep import process, spaces
from lcjax.sweep.study import Study, Trial

FILE = "index.html"
TABLE = "trials.csv"
STATES = ("done", "pruned", "failed", "running")
_NEAR = 0.03  # share of a range that counts as its edge
_ROWS = 60  # trials in the table of the page


def render(study: Study, trials: Sequence[Trial], best: Trial | None) -> dict[str, str]:
    """Makes the files of a study: name -> text. The same trials give the same texts.

    Args:
      study: that they are of.
      trials: all so far.
      best: of them.
    """
    return {FILE: _html(study, trials, best), TABLE: _csv(study, trials)}


def _html(study: Study, trials: Sequence[Trial], best: Trial | None) -> str:
    monitor = study.declaration.monitor
    marks = [Mark(t.number, t.state, t.score, t.scores, t.drawn) for t in trials if None not in t.drawn.values()]
    axes = [_axis(field, one) for field, one in study.space.items()]
    number = best.number if best else None
    sections = [_best_section(study, trials, best)]
    if any(mark.score is not None for mark in marks):
        how = (marks, monitor, number)
        beside = [
            markup.figure(studies.history(*how, study.declaration.sign), "The score of each trial in their order."),
            markup.figure(studies.ways(*how), "The scores of each trial by evaluation."),
        ]
        pictures = [
            markup.render("beside.html", blocks=beside),
            markup.figure(studies.by_field(axes, *how), "The score over each field.", wide=True),
        ]
        if any(mark.score is not None and mark.state != "failed" for mark in marks):
            pictures.append(markup.figure(studies.parallel(axes, *how), "Each trial as a line.", wide=True))
        sections.append(markup.titled("Pictures", *pictures, level=2))
    sections.append(_trial_section(study, trials, best))
    return markup.document(
        f"Study {study.name}: {_counted(trials)}",
        _introduction(study),
        markup.joined(sections),
        markup.render("study_footer.html", table=TABLE),
    )


def _counted(trials: Sequence[Trial]) -> str:
    states = [trial.state for trial in trials]
    parts = [f"{states.count(state)} {state}" for state in STATES if state in states]
    return f"{len(trials)} trials" + (f" ({', '.join(parts)})" if parts else "")


def _introduction(study: Study) -> Markup:
    declared = study.declaration
    return markup.render(
        "study_about.html",
        network=declared.config["model"]["name"],
        data=declared.config["dataset"],
        split=declared.config["split"]["validation"],
        monitor=declared.monitor,
        evaluations=declared.evaluations,
        sampler={"tpe": "a tree-structured Parzen estimator", "random": "chance alone"}[declared.sampler],
        pruner={
            "median": "once five are done, one below their median at the same evaluation is pruned",
            "hyperband": "trials are pruned by Hyperband",
            "none": "no trial is pruned",
        }[declared.pruner],
    )


def _best_section(study: Study, trials: Sequence[Trial], best: Trial | None) -> Markup:
    if best is None:
        return markup.titled("The best trial", markup.paragraph("No trial is done yet."), level=2)
    now = config_fields.flat(study.declaration.config)
    head = [markup.heading(word) for word in ("field", "config as it was", f"trial {best.number}", "searched")]
    rows = []
    for field, one in study.space.items():
        value = one.value(best.drawn[field])
        cells = [markup.row_heading(field), Cell(_number(now[field])), Cell(_number(value), bold=True)]
        rows.append(([*cells, Cell(study.declaration.space[field], code=True)], ""))
    about = markup.render(
        "study_best.html",
        best=best,
        monitor=study.declaration.monitor,
        score=f"{best.score:.4f}",
        against=_against_first(study, trials, best),
        config=study.folder / "best.py",
        folder=best.folder.relative_to(study.folder),
    )
    shown = markup.table("best", "What the best trial changes", head, rows)
    return markup.titled("The best trial", about, markup.notes(edges(study.space, best)), shown, level=2)


def _against_first(study: Study, trials: Sequence[Trial], best: Trial) -> str:
    now = config_fields.flat(study.declaration.config)
    first = next((trial for trial in trials if trial.number == 0), None)
    if first is None or first.state != "done" or first.score is None or first.number == best.number:
        return ""
    as_it_is = all(one.drawn(now[field]) == first.drawn[field] for field, one in study.space.items())
    return f"; the config as it was, trial 0: {first.score:.4f}" if as_it_is else ""


def edges(space: spaces.Space, best: Trial) -> list[str]:
    """What to say of fields whose best value lies at an end of its range."""
    lines = []
    for field, one in space.items():
        axis = _axis(field, one)
        share = 0.5 if axis.words else axis.share(best.drawn[field])
        if min(share, 1 - share) < _NEAR:
            end = "lower" if share < 0.5 else "upper"
            value = _number(best.drawn[field])
            lines.append(f"{field} {value} is at the {end} end of its range: a wider one may hold better")
    return lines


def _trial_section(study: Study, trials: Sequence[Trial], best: Trial | None) -> Markup:
    head = [markup.heading("trial"), markup.heading("state"), markup.heading(study.declaration.monitor, "n")]
    head += [markup.heading("evaluations", "n"), *map(markup.heading, study.space), markup.heading("time", "n")]
    sign = study.declaration.sign
    order = sorted(trials, key=lambda t: (t.state == "failed", t.score is None, -sign * (t.score or 0.0), t.number))
    rows = []
    for trial in order[:_ROWS]:
        score = "–" if trial.score is None else f"{trial.score:.4f}"
        cells = [markup.row_heading(str(trial.number)), Cell(trial.state)]
        cells.append(markup.number(score, bold=best is not None and trial.number == best.number))
        cells.append(markup.number(str(len(trial.scores))))
        cells += [Cell(_number(trial.drawn[field])) for field in study.space]
        cells.append(markup.number("–" if trial.seconds is None else duration(trial.seconds)))
        rows.append((cells, ""))
    caption = "The best score first" + (f"; {_ROWS} of {len(trials)}" if len(trials) > _ROWS else "")
    failed = [
        (trial.number, trial.reason, (trial.folder / process.OUTPUT).relative_to(study.folder))
        for trial in trials
        if trial.state == "failed"
    ]
    why = markup.titled("Why trials failed", markup.render("study_failed.html", failed=failed)) if failed else Markup()
    return markup.titled("Trials", markup.table("scores", caption, head, rows), why, level=2)


def _axis(field: str, one: spaces.Span | spaces.OneOf) -> Axis:
    if isinstance(one, spaces.OneOf):
        return Axis(field, 0, len(one.values) - 1, words=tuple(one.values))
    return Axis(field, one.low, one.high, one.log)


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _csv(study: Study, trials: Sequence[Trial]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "state", study.declaration.monitor, "evaluations", *study.space, "seconds", "reason"])
    for trial in trials:
        values: Mapping[str, Any] = trial.drawn
        score = "" if trial.score is None else repr(trial.score)
        seconds = "" if trial.seconds is None else f"{trial.seconds:.0f}"
        writer.writerow([trial.number, trial.state, score, len(trial.scores), *values.values(), seconds, trial.reason])
    return stream.getvalue()
