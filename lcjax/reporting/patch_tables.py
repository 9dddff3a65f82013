"""Tables of runs that classify whole patches, best first: as a section of the page, as CSV and as Markdown."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from lcjax.plotting import figures
from lcjax.reporting import markup
from lcjax.reporting.run_reader import Evaluation, Run, legend_of
from lcjax.reporting.tables import ALWAYS, SETTINGS, Compared, checkpoint, markdown_cell, markdown_table, number_text

# By the labels of a patch: which scores are shown, by their stems, and what labels they are of.
MEANS = {
    "single": ("F1_macro", "mCA", "mAP", "OA", "kappa"),
    "multi": ("F1_macro", "F1_micro", "mCA", "mAP", "subset_accuracy"),
}
_LABELS = {"single": "single labels (the most frequent class of a patch)", "multi": "several labels"}
_PER_CLASS = ("Acc", "Precision", "F1", "AP")
_CHOSEN = "F1_macro"


class PatchTable(Compared):
    """Evaluations on the same patches, classes and kind of labels, best F1_macro first."""

    @property
    def title(self) -> str:
        """Data set, split and kind of labels."""
        fields = self.fields
        labels = _LABELS[fields["labels"]]
        if "least_share" in fields:
            labels += f" (classes of at least {100 * fields['least_share']:g} % of a patch)"
        return f"{fields['dataset']}, {fields['split'].get('role', 'unnamed')} split, {labels}"

    @property
    def means(self) -> dict[str, str]:
        """Stem of each score that is shown -> its full name."""
        return {stem: self.evaluations[0].key(stem) or stem for stem in MEANS[self.fields["labels"]]}


def tables(runs: Sequence[Run]) -> list[PatchTable]:
    """Makes a table for each data set, class set, split and kind of labels; test splits and larger tables first."""
    groups: dict[tuple, list[Evaluation]] = {}
    for run in runs:
        for e in run.patches:
            groups.setdefault((*e.comparable, e.fields["labels"], e.fields.get("least_share")), []).append(e)
    made = [
        PatchTable(
            tuple(sorted(group, key=lambda e: (-(e.score(_CHOSEN) or 0), e.run))),
            legend_of(group[0].fields["class_set"], group[0].fields["class_ids"], runs),
        )
        for group in groups.values()
    ]
    return sorted(made, key=lambda t: (t.fields["split"].get("role") != "test", -len(t.evaluations), t.title))


def to_csv(tables: Sequence[PatchTable]) -> str:
    """Formats all rows as one CSV, every score in full precision; the column `table` counts the tables from 1."""
    scores = list(dict.fromkeys(key for t in tables for e in t.evaluations for key in e.fields["scores"]))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    about = ("table", "dataset", "role", "split", "split_id", "labels", "least_share", "run", *SETTINGS)
    writer.writerow([*about, "checkpoint", "step", "patches", "ignored_patches", *scores])
    for number, table in enumerate(tables, 1):
        for e in table.evaluations:
            split, kept = e.fields["split"], e.fields.get("checkpoint") or {}
            writer.writerow(
                [number, e.fields["dataset"], split.get("role"), split.get("spec"), split.get("id")]
                + [e.fields["labels"], e.fields.get("least_share", ""), e.run]
                + [e.fields.get(key, "") for key in SETTINGS]
                + [kept.get("kind", ""), kept.get("step", ""), e.fields["patches"], e.fields.get("ignored_patches", "")]
                + ["" if e.score(key) is None else repr(e.score(key)) for key in scores]
            )
    return text.getvalue()


def to_markdown(tables: Sequence[PatchTable]) -> str:
    """Formats the tables as Markdown, three decimals."""
    blocks = []
    for number, table in enumerate(tables, 1):
        rows = [
            [
                *(markdown_cell(text) for text in (e.run, *(str(e.fields.get(key) or "–") for key in ALWAYS))),
                *(number_text(e.score(key)) for key in table.means),
            ]
            for e in table.evaluations
        ]
        lines = markdown_table(["run", *ALWAYS], [*table.means.values()], rows)
        head = f"## Patches {number}: {table.title}\n"
        blocks.append("\n".join([head, *lines, *(f"\n{note}" for note in table.notes())]))
    return "\n\n".join(blocks) + "\n"


def section(tables: Sequence[PatchTable]) -> str:
    """Returns the section of the page on classified patches; empty where there are none."""
    if not tables:
        return ""
    rules = (
        '<p class="soft">A patch counts as one, whatever its size; one without a labelled pixel is not scored. '
        "<b>F1</b> by class is the harmonic mean of precision and recall: <b>macro</b> averages it over the classes, "
        "<b>micro</b> counts all labels together; <b>mCA</b> is the mean recall; <b>mAP</b> the mean over the classes "
        "of the average precision; <b>subset_accuracy</b> the share of patches all of whose labels are right.</p>"
    )
    shown = "".join(map(_table_section, tables))
    return f'<section id="patches"><h2>Classification of patches</h2>{rules}{shown}</section>'


def _table_section(table: PatchTable) -> str:
    fields, split = table.fields, table.fields["split"]
    head = [markup.heading("run"), *map(markup.heading, ALWAYS)]
    head += [markup.heading(name, "n") for name in table.means.values()] + [markup.heading("checkpoint")]
    best = {key: max((e.score(key) or 0.0 for e in table.evaluations), default=0.0) for key in table.means}
    rows = []
    for e in table.evaluations:
        cells = [f'<th scope="row">{markup.text(e.run)}</th>']
        cells += [f"<td>{markup.text(e.fields.get(key) or '–')}</td>" for key in ALWAYS]
        for key in table.means:
            text = number_text(e.score(key))
            cells.append(f'<td class="n">{f"<b>{text}</b>" if e.score(key) == best[key] else text}</td>')
        rows.append(([*cells, f"<td>{markup.text(checkpoint(e))}</td>"], ""))
    about = (
        f"Split {split.get('spec', '?')}, id {split.get('id', '?')}: {fields['patches']:,} labelled patches, "
        f"{fields.get('ignored_patches', 0):,} without a labelled pixel"
    )
    return (
        f"<h3>{markup.text(table.title)}</h3>{markup.table('scores', about, head, rows)}"
        + "".join(f'<p class="note">{markup.text(note)}</p>' for note in table.notes())
        + "".join(_run_details(e, table) for e in table.evaluations)
    )


def _run_details(e: Evaluation, table: PatchTable) -> str:
    """Scores of a run by class and, of single labels, its confusion matrix."""
    counts = {name: np.array(values) for name, values in e.fields["patch_counts"].items()}
    true, given = counts["hits"] + counts["missed"], counts["hits"] + counts["wrong"]
    head = [markup.heading("class"), *(markup.heading(key, "n") for key in _PER_CLASS)]
    head += [markup.heading(words, "n") for words in ("patches, truth", "patches, predicted")]
    rows = []
    for index, name in enumerate(e.names):
        cells = [f'<th scope="row">{markup.swatch(name, table.colours.get(name))}</th>']
        cells += [f'<td class="n">{number_text(e.score(f"{key}/{name}"))}</td>' for key in _PER_CLASS]
        cells += [f'<td class="n">{int(values[index]):,}</td>' for values in (true, given)]
        rows.append((cells, ""))
    shown = markup.table("classes", f"{e.run}: checkpoint {checkpoint(e)}", head, rows)
    if matrix := e.fields.get("patch_confusion"):
        drawn = figures.confusion(np.array(matrix), e.names, e.run)
        shown += markup.figure(drawn, f"Confusion matrix of {e.run} in percent of each row of truth, patches")
    return f'<div class="run">{shown}</div>'
