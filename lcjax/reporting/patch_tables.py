"""Tables of runs that classify whole patches, best first: as a section of the page, as CSV and as Markdown."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from lcjax.reporting import confusion_table, markup
from lcjax.reporting.markup import Cell
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


def section(tables: Sequence[PatchTable]) -> Markup:
    """Returns the section of the page on classified patches; nothing where there are none."""
    if not tables:
        return Markup()
    rules = markup.render("patches_about.html")
    return markup.section("patches", "Classification of patches", rules, *map(_table_section, tables))


def _table_section(table: PatchTable) -> Markup:
    fields, split = table.fields, table.fields["split"]
    head = [markup.heading("run"), *map(markup.heading, ALWAYS)]
    head += [markup.heading(name, "n") for name in table.means.values()] + [markup.heading("checkpoint")]
    best = {key: max((e.score(key) or 0.0 for e in table.evaluations), default=0.0) for key in table.means}
    rows = []
    for e in table.evaluations:
        cells = [markup.row_heading(e.run), *(Cell(str(e.fields.get(key) or "–")) for key in ALWAYS)]
        cells += [markup.number(number_text(e.score(key)), bold=e.score(key) == best[key]) for key in table.means]
        rows.append(([*cells, Cell(checkpoint(e))], ""))
    about = (
        f"Split {split.get('spec', '?')}, id {split.get('id', '?')}: {fields['patches']:,} labelled patches, "
        f"{fields.get('ignored_patches', 0):,} without a labelled pixel"
    )
    shown = [markup.table("scores", about, head, rows), markup.notes(table.notes())]
    return markup.titled(table.title, *shown, *(_run_details(e, table) for e in table.evaluations))


def _run_details(e: Evaluation, table: PatchTable) -> Markup:
    """Scores of a run by class and, of single labels, its confusion matrix."""
    counts = {name: np.array(values) for name, values in e.fields["patch_counts"].items()}
    true, given = counts["hits"] + counts["missed"], counts["hits"] + counts["wrong"]
    head = [markup.heading("class"), *(markup.heading(key, "n") for key in _PER_CLASS)]
    head += [markup.heading(words, "n") for words in ("patches, truth", "patches, predicted")]
    rows = []
    for index, name in enumerate(e.names):
        cells = [markup.row_heading(name, colour=table.colours.get(name, ""))]
        cells += [markup.number(number_text(e.score(f"{key}/{name}"))) for key in _PER_CLASS]
        cells += [markup.number(f"{int(values[index]):,}") for values in (true, given)]
        rows.append((cells, ""))
    shown = [markup.table("classes", f"{e.run}: checkpoint {checkpoint(e)}", head, rows)]
    if matrix := e.fields.get("patch_confusion"):
        shown.append(
            confusion_table.table(np.array(matrix), e.names, f"Confusion matrix of {e.run}, patches", "patches")
        )
    return markup.render("beside.html", blocks=shown)
