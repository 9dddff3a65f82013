"""The page of a study: what was found, and what was tried."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from lcjax.plotting import studies
from lcjax.plotting.studies import Axis, Mark
from lcjax.reporting import markup
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
        pictures = [
            '<div class="run">',
            markup.figure(studies.history(*how, study.declaration.sign), "The score of each trial in their order."),
            markup.figure(studies.ways(*how), "The scores of each trial by evaluation."),
            "</div>",
            markup.figure(studies.by_field(axes, *how), "The score over each field.", wide=True),
        ]
        if any(mark.score is not None and mark.state != "failed" for mark in marks):
            pictures.append(markup.figure(studies.parallel(axes, *how), "Each trial as a line.", wide=True))
        sections.append(f"<h2>Pictures</h2>{''.join(pictures)}")
    sections.append(_trial_section(study, trials, best))
    return markup.document(
        f"Study {study.name}: {_counted(trials)}",
        _introduction(study),
        "\n".join(sections),
        f"Made by <code>lcjax sweep</code>. Beside this page: <code>{TABLE}</code>: the same trials in full precision.",
    )


def _counted(trials: Sequence[Trial]) -> str:
    states = [trial.state for trial in trials]
    parts = [f"{states.count(state)} {state}" for state in STATES if state in states]
    return f"{len(trials)} trials" + (f" ({', '.join(parts)})" if parts else "")


def _introduction(study: Study) -> str:
    declared = study.declaration
    network, data = declared.config["model"]["name"], declared.config["dataset"]
    split = declared.config["split"]["validation"]
    sampler = {"tpe": "a tree-structured Parzen estimator", "random": "chance alone"}[declared.sampler]
    pruner = {
        "median": "once five are done, one below their median at the same evaluation is pruned",
        "hyperband": "trials are pruned by Hyperband",
        "none": "no trial is pruned",
    }[declared.pruner]
    return (
        f"<p>{markup.text(network)} on {markup.text(data)}. Trials are drawn by {sampler}; {pruner}. The score is "
        f"<b>{markup.text(declared.monitor)}</b> of the validation split <code>{markup.text(split)}</code>, the best "
        f"of each trial's {declared.evaluations} evaluations.</p>"
        '<p class="note">The best of many trials was chosen by this very split, so its score here flatters it. What it '
        "is worth, the test split says, once: <code>lcjax evaluate</code>.</p>"
    )


def _best_section(study: Study, trials: Sequence[Trial], best: Trial | None) -> str:
    if best is None:
        return "<h2>The best trial</h2><p>No trial is done yet.</p>"
    now = config_fields.flat(study.declaration.config)
    head = [markup.heading(word) for word in ("field", "config as it was", f"trial {best.number}", "searched")]
    rows = []
    for field, one in study.space.items():
        value = one.value(best.drawn[field])
        cells = [f'<th scope="row">{markup.text(field)}</th>', f"<td>{markup.text(_number(now[field]))}</td>"]
        cells += [f"<td><b>{markup.text(_number(value))}</b></td>"]
        cells += [f"<td><code>{markup.text(study.declaration.space[field])}</code></td>"]
        rows.append((cells, ""))
    notes = "".join(f'<p class="note">{markup.text(line)}</p>' for line in edges(study.space, best))
    folder = best.folder.relative_to(study.folder)
    network = (
        f"its network <code>{markup.text(folder)}</code> (<code>lcjax evaluate "
        f"--workdir={markup.text(best.folder)}</code>)"
        if best.here
        else "its network is in the folder of another worker"
    )
    return (
        f"<h2>The best trial</h2><p>Trial {best.number}: {markup.text(study.declaration.monitor)} "
        f"<b>{best.score:.4f}</b>{_against_first(study, trials, best)}. Its config is <code>best.py</code> (<code>"
        f"lcjax train --config={markup.text(study.folder / 'best.py')} --workdir=DIR</code>), {network}.</p>"
        f"{notes}{markup.table('best', 'What the best trial changes', head, rows)}"
    )


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


def _trial_section(study: Study, trials: Sequence[Trial], best: Trial | None) -> str:
    head = [markup.heading("trial"), markup.heading("state"), markup.heading(study.declaration.monitor, "n")]
    head += [markup.heading("evaluations", "n"), *map(markup.heading, study.space), markup.heading("time", "n")]
    sign = study.declaration.sign
    order = sorted(trials, key=lambda t: (t.state == "failed", t.score is None, -sign * (t.score or 0.0), t.number))
    rows = []
    for trial in order[:_ROWS]:
        score = "–" if trial.score is None else f"{trial.score:.4f}"
        cells = [f'<th scope="row">{trial.number}</th>', f"<td>{trial.state}</td>"]
        cells += [f'<td class="n">{f"<b>{score}</b>" if best and trial.number == best.number else score}</td>']
        cells += [f'<td class="n">{len(trial.scores)}</td>']
        cells += [f"<td>{markup.text(_number(trial.drawn[field]))}</td>" for field in study.space]
        cells += [f'<td class="n">{"–" if trial.seconds is None else duration(trial.seconds)}</td>']
        rows.append((cells, ""))
    caption = "The best score first" + (f"; {_ROWS} of {len(trials)}" if len(trials) > _ROWS else "")
    failed = [trial for trial in trials if trial.state == "failed"]
    reasons = "".join(
        f"<li>trial {trial.number}: {markup.text(trial.reason)} (<code>"
        f"{markup.text((trial.folder / process.OUTPUT).relative_to(study.folder))}</code>)</li>"
        for trial in failed
    )
    why = f"<h3>Why trials failed</h3><ul>{reasons}</ul>" if failed else ""
    return f"<h2>Trials</h2>{markup.table('scores', caption, head, rows)}{why}"


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
