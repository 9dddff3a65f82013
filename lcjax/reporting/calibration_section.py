"""The part of a report on probabilities: how far those that maps hold can be believed, before and after calibration."""

from markupsafe import Markup

from lcjax.plotting import figures
from lcjax.reporting import markup
from lcjax.reporting.markup import Cell
from lcjax.reporting.run_reader import Evaluation
from lcjax.reporting.tables import Table, number_text

_ERRORS = ("ECE", "classwise_ECE", "NLL")


def section(table: Table) -> Markup:
    """Returns the section of a table: calibration errors, reached coverages, diagrams; nothing where no run has any."""
    having = [e for e in table.evaluations if "calibration" in e.fields]
    if not having:
        return Markup()
    split = table.fields["split"].get("id")
    here = any(e.fields["calibration"]["fitted_on"]["id"] == split for e in having)
    note = ["Fitted to these very records, on which it looks better than on others."] if here else []
    return markup.titled(
        "Probabilities",
        markup.render("calibration_about.html"),
        markup.notes(note),
        _errors(having),
        _by_class(having),
        _sets(having),
        *map(_diagrams, having),
    )


def _errors(having: list[Evaluation]) -> Markup:
    head = [markup.heading("run"), markup.heading("temperature", "n")]
    head += [markup.heading(f"{key.replace('_', ' ')} {when}", "n") for key in _ERRORS for when in ("before", "after")]
    rows = []
    for e in having:
        found = e.fields["calibration"]
        numbers = [found["temperature"], *(found[when][key] for key in _ERRORS for when in ("before", "after"))]
        rows.append((_row(e.run, *map(number_text, numbers)), ""))
    return markup.table("calibration", "Calibration errors, before and after.", head, rows)


def _by_class(having: list[Evaluation]) -> Markup:
    names = list(dict.fromkeys(name for e in having for name in e.fields["calibration"]["after"]["ECE_of"]))
    head = [markup.heading("run"), markup.heading("when"), *(markup.heading(name, "n") for name in names)]
    rows = []
    for e in having:
        for when in ("before", "after"):
            errors = e.fields["calibration"][when]["ECE_of"]
            cells = [Cell(when), *(markup.number(number_text(errors.get(name))) for name in names)]
            rows.append(([markup.row_heading(e.run), *cells], ""))
    return markup.table("calibration", "Calibration error of each class's probability.", head, rows)


def _sets(having: list[Evaluation]) -> Markup:
    head = [markup.heading("run")]
    head += [
        markup.heading(words, "n")
        for words in ("stated", "reached", "least of a class", "classes in a set", "empty sets")
    ]
    rows = []
    for e in having:
        for one in e.fields["calibration"]["sets"]:
            least = min(one["reached_of"].items(), key=lambda item: item[1], default=("–", None))
            told = f"{number_text(least[1])} ({least[0]})"
            numbers = [number_text(one[key]) for key in ("stated", "reached")]
            numbers += [told, f"{one['classes']:.2f}", number_text(one["empty"])]
            rows.append((_row(e.run, *numbers), ""))
    caption = (
        "Conformal sets: the share of pixels whose set holds their class, stated for each class and reached here. It "
        "holds for pixels like those of the validation split."
    )
    return markup.table("calibration", caption, head, rows)


def _row(run: str, *texts: str) -> list[Cell]:
    return [markup.row_heading(run), *map(markup.number, texts)]


def _diagrams(e: Evaluation) -> Markup:
    found = e.fields["calibration"]
    panels = {"mapped class": {when: found[when]["bins"] for when in ("before", "after")}}
    panels |= {
        name: {when: found[when]["bins_of"][name] for when in ("before", "after")} for name in found["after"]["bins_of"]
    }
    caption = f"{e.run}: on the dashed line what is told comes true; below it the network is too sure of itself."
    return markup.figure(figures.reliability(panels), f"Reliability diagrams of {e.run}", caption, wide=True)
