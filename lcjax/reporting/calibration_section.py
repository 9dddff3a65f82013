"""The part of a report on probabilities: how far those that maps hold can be believed, before and after calibration."""

from lcjax.plotting import figures
from lcjax.reporting import markup
from lcjax.reporting.run_reader import Evaluation
from lcjax.reporting.tables import Table, number_text

_ERRORS = ("ECE", "classwise_ECE", "NLL")


def section(table: Table) -> str:
    """Returns the section of a table: calibration errors, reached coverages, diagrams; "" where no run has any."""
    having = [e for e in table.evaluations if "calibration" in e.fields]
    if not having:
        return ""
    words = (
        "<p>The probabilities that <code>lcjax predict</code> writes, before and after they are divided by a "
        "temperature that the validation split chose. <b>ECE</b>, the expected calibration error, is the mean "
        "difference between the confidence in the mapped class and the share that is right, over 15 bins; "
        "<b>classwise ECE</b> the mean over classes of the same for each class's own probability; <b>NLL</b> the mean "
        "logarithmic loss. Lower is better. Calibration changes no class of a map.</p>"
    )
    split = table.fields["split"].get("id")
    if any(e.fields["calibration"]["fitted_on"]["id"] == split for e in having):
        words += '<p class="note">Fitted to these very records, on which it looks better than on others.</p>'
    drawn = "".join(_diagrams(e) for e in having)
    return f"<h3>Probabilities</h3>{words}{_errors(having)}{_by_class(having)}{_sets(having)}{drawn}"


def _errors(having: list[Evaluation]) -> str:
    head = [markup.heading("run"), markup.heading("temperature", "n")]
    head += [markup.heading(f"{key.replace('_', ' ')} {when}", "n") for key in _ERRORS for when in ("before", "after")]
    rows = []
    for e in having:
        found = e.fields["calibration"]
        numbers = [found["temperature"], *(found[when][key] for key in _ERRORS for when in ("before", "after"))]
        rows.append((_row(e.run, *map(number_text, numbers)), ""))
    return markup.table("calibration", "Calibration errors, before and after.", head, rows)


def _by_class(having: list[Evaluation]) -> str:
    names = list(dict.fromkeys(name for e in having for name in e.fields["calibration"]["after"]["ECE_of"]))
    head = [markup.heading("run"), markup.heading(""), *(markup.heading(name, "n") for name in names)]
    rows = []
    for e in having:
        for when in ("before", "after"):
            errors = e.fields["calibration"][when]["ECE_of"]
            cells = [f"<td>{when}</td>", *(f'<td class="n">{number_text(errors.get(name))}</td>' for name in names)]
            rows.append(([f'<th scope="row">{markup.text(e.run)}</th>', *cells], ""))
    return markup.table("calibration", "Calibration error of each class's probability.", head, rows)


def _sets(having: list[Evaluation]) -> str:
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


def _row(run: str, *texts: str) -> list[str]:
    cells = [f'<td class="n">{markup.text(text)}</td>' for text in texts]
    return [f'<th scope="row">{markup.text(run)}</th>', *cells]


def _diagrams(e: Evaluation) -> str:
    found = e.fields["calibration"]
    panels = {"mapped class": {when: found[when]["bins"] for when in ("before", "after")}}
    panels |= {
        name: {when: found[when]["bins_of"][name] for when in ("before", "after")} for name in found["after"]["bins_of"]
    }
    caption = f"{e.run}: on the dashed line what is told comes true; below it the network is too sure of itself."
    return markup.figure(figures.reliability(panels), f"Reliability diagrams of {e.run}", caption, wide=True)
