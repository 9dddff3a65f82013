"""Tables of runs that can be compared, best first, also as CSV and Markdown."""

import csv
import dataclasses
import functools
import io
import statistics
from collections.abc import Sequence

from data_pipelines.schema.legends import Legend
from lcjax.ops.boundary_density import BoundaryDensity
from lcjax.reporting.run_reader import Evaluation, Run, legend_of

MEANS = ("OA", "mCA", "mIoU", "kappa")  # stems: in the files the number of classes follows mCA and mIoU
PER_CLASS = ("IoU", "Acc", "Precision", "F1")
SETTINGS = ("model", "fusion", "init", "freeze", "bands", "scaling", "metadata", "recipe", "cell", "resize")
ALWAYS = SETTINGS[:4]  # the others are shown only where rows differ in them


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table: a run, or several that differ in nothing but their seed.

    Attributes:
      evaluations: of the runs.
    """

    evaluations: tuple[Evaluation, ...]

    @property
    def first(self) -> Evaluation:
        """The first run; what is no score is the same in all."""
        return self.evaluations[0]

    @property
    def seeds(self) -> int:
        """Number of runs."""
        return len(self.evaluations)

    @property
    def name(self) -> str:
        """The names of the runs."""
        return ", ".join(e.run for e in self.evaluations)

    def mean(self, stem: str) -> float | None:
        """Returns the mean of a score over the runs, or None where one of them has none."""
        values = [value for e in self.evaluations if (value := e.score(stem)) is not None]
        return statistics.fmean(values) if len(values) == self.seeds else None

    def deviation(self, stem: str) -> float | None:
        """Returns the standard deviation (n - 1) of a score over the runs; None of one run."""
        values = [value for e in self.evaluations if (value := e.score(stem)) is not None]
        return statistics.stdev(values) if 1 < len(values) == self.seeds else None

    def spread(self, stem: str) -> str:
        """Returns what is known of the spread of a score: "± 0.008" over seeds, "[0.580, 0.641]" of one run, or ""."""
        if self.seeds > 1:
            deviation = self.deviation(stem)
            return "" if deviation is None else f"± {deviation:.3f}"
        between = self.first.interval(stem)
        return f"[{between[0]:.3f}, {between[1]:.3f}]" if between else ""


@dataclasses.dataclass(frozen=True)
class Compared:
    """Evaluations that stand in one table.

    Attributes:
      evaluations: the best first.
      legend: of the classes; None where none is known.
    """

    evaluations: tuple[Evaluation, ...]
    legend: Legend | None

    @property
    def fields(self) -> dict:
        """metrics.json of the first one; dataset, classes, ignored ids and split are the same in all."""
        return self.evaluations[0].fields

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.evaluations[0].names

    @property
    def colours(self) -> dict[str, str]:
        """Class name -> "#rrggbb"; empty where no legend is known."""
        return {c.name: c.colour for c in self.legend.classes} if self.legend else {}

    def notes(self) -> list[str]:
        """Returns what a reader of the table must know beyond its definitions."""
        warnings = dict.fromkeys(text for e in self.evaluations for text in e.fields["split"].get("warnings", ()))
        notes = [f"Warning: {text}." for text in warnings]
        absent = {e.run: ", ".join(e.fields.get("absent", [])) for e in self.evaluations}
        if len(set(absent.values())) > 1:
            listed = "; ".join(f"{run}: {names or 'none'}" for run, names in absent.items())
            notes.append(
                f"The means of these runs are over different classes, because their absent classes differ ({listed})."
            )
        elif any(absent.values()):
            notes.append(f"Absent, and left out of the means of every run: {next(iter(absent.values()))}.")
        return notes


class Table(Compared):
    """Evaluations on the same pixels and classes, best mIoU first."""

    @functools.cached_property
    def rows(self) -> tuple[Row, ...]:
        """The lines, best mIoU first: runs of one config with seeds of their own stand in one."""
        groups: dict[tuple, list[Evaluation]] = {}
        for e in self.evaluations:
            kept = (e.fields.get("checkpoint") or {}).get("kind")
            groups.setdefault((e.setup, kept) if e.setup else (e.run,), []).append(e)
        rows = []
        for group in groups.values():
            one = len({e.seed for e in group}) == len(group)
            rows += [Row(tuple(sorted(group, key=lambda e: e.run)))] if one else [Row((e,)) for e in group]
        return tuple(sorted(rows, key=lambda row: (-_or_minus(row.mean("mIoU")), row.name)))

    @property
    def title(self) -> str:
        """Data set, split and size of tiles."""
        title = f"{self.fields['dataset']}, {self.fields['split'].get('role', 'unnamed')} split"
        return title + (f", tiles made {resize} px wide" if (resize := self.fields.get("resize")) else "")

    @property
    def settings(self) -> tuple[str, ...]:
        """The settings to show as columns."""
        trained = [e.fields for e in self.evaluations if not e.baseline]
        return tuple(
            key for key in SETTINGS if key in ALWAYS or len({str(fields.get(key) or "") for fields in trained}) > 1
        )

    def heading(self, stem: str) -> str:
        """Returns the key in the files ("mIoU_8"), or the stem where the rows do not agree on one."""
        keys = {
            key for e in self.evaluations for key in e.fields["scores"] if key == stem or key.rpartition("_")[0] == stem
        }
        return keys.pop() if len(keys) == 1 else stem

    def best(self, key: str) -> float | None:
        """Returns the highest score of this name, or None where no row has it."""
        values = [row.mean(key) for row in self.rows]
        return max((value for value in values if value is not None), default=None)

    def spreads(self) -> list[str]:
        """Returns what stands for the spread of scores in the lines of the table, as sentences."""
        alone = [row.first.fields for row in self.rows if row.seeds == 1]
        about = next((fields["intervals"] for fields in alone if "intervals" in fields), None)
        told: list[str] = []
        if about:
            told.append(
                f"In brackets: {100 * about['level']:g} % intervals over {about['blocks']:,} {about['block']}s of the "
                "split; that two of them overlap does not say that two runs are alike (see the differences)."
            )
            told += [f"{note[0].upper()}{note[1:]}." for note in about["notes"] if note]
        if any(row.seeds > 1 for row in self.rows):
            told.append("±: the standard deviation over seeds, of runs that differ in nothing else.")
        return told

    def notes(self) -> list[str]:
        """Returns what a reader of the table must know beyond its definitions."""
        notes = super().notes()
        if len({e.fields["pixels"] for e in self.evaluations}) > 1:
            listed = "; ".join(f"{e.run}: {e.fields['pixels']:,}" for e in self.evaluations)
            notes.append(
                f"The runs were scored on different numbers of pixels of the same split ({listed}): evaluate again."
            )
        return notes


def tables(runs: Sequence[Run]) -> list[Table]:
    """Makes a table for each data set, class set, split and size of tiles; test splits and larger tables first."""
    groups: dict[tuple, list[Evaluation]] = {}
    for run in runs:
        for evaluation in run.evaluations:
            groups.setdefault(evaluation.comparable, []).append(evaluation)
    made = []
    for evaluations in groups.values():
        fields = evaluations[0].fields
        ordered = sorted(evaluations, key=lambda e: (-_or_minus(e.score("mIoU")), e.run))
        made.append(Table(tuple(ordered), legend_of(fields["class_set"], fields["class_ids"], runs)))
    return sorted(made, key=lambda t: (t.fields["split"].get("role") != "test", -len(t.evaluations), t.title))


def checkpoint(*evaluations: Evaluation) -> str:
    """Describes the checkpoint of runs: "best, step 120", "best, steps 100 to 120", or "none" for a baseline."""
    kept = [e.fields.get("checkpoint") for e in evaluations]
    if not kept[0]:
        return "none"
    steps = sorted({one.get("step", "?") for one in kept if one})
    return f"{kept[0].get('kind', '?')}, step{f's {steps[0]} to' if len(steps) > 1 else ''} {steps[-1]}"


def to_csv(tables: Sequence[Table]) -> str:
    """Formats all rows as one CSV, every score in full precision; the column `table` counts the tables from 1."""
    scores = list(dict.fromkeys(key for t in tables for e in t.evaluations for key in e.fields["scores"]))
    sure = [key for key in scores if any(e.interval(key) for t in tables for e in t.evaluations)]
    about = (
        "table",
        "dataset",
        "role",
        "split",
        "split_id",
        "run",
        *SETTINGS,
        "baseline",
        "checkpoint",
        "step",
        "seed",
    )
    counts = ("records", "pixels", "ignored_pixels", "parameters")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ends = [f"{key}_{end}" for key in sure for end in ("low", "high")]
    writer.writerow([*about, *counts, *(f"edges_{mask}" for mask in BoundaryDensity._fields), *scores, *ends])
    for number, table in enumerate(tables, 1):
        for e in table.evaluations:
            split, kept = e.fields["split"], e.fields.get("checkpoint") or {}
            writer.writerow(
                [number, e.fields["dataset"], split.get("role"), split.get("spec"), split.get("id"), e.run]
                + [e.fields.get(key, "") for key in SETTINGS]
                + ["yes" if e.baseline else "no", kept.get("kind", ""), kept.get("step", "")]
                + ["" if e.seed is None else e.seed]
                + [e.fields.get(key, "") for key in counts]
                + ["" if share is None else repr(share) for share in e.boundaries or (None, None)]
                + ["" if e.score(key) is None else repr(e.score(key)) for key in scores]
                + [repr(end) if end != "" else "" for key in sure for end in e.interval(key) or ("", "")]
            )
    return text.getvalue()


def seeds_to_csv(tables: Sequence[Table]) -> str:
    """Formats the lines of several seeds as CSV, a line for each score; empty text where there are none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "runs", "seeds", "score", "mean", "deviation"])
    several = [(number, row) for number, table in enumerate(tables, 1) for row in table.rows if row.seeds > 1]
    for number, row in several:
        for key in row.first.fields["scores"]:
            mean, deviation = row.mean(key), row.deviation(key)
            if mean is not None:
                writer.writerow([number, row.name, row.seeds, key, repr(mean), repr(deviation)])
    return text.getvalue() if several else ""


def to_markdown(tables: Sequence[Table]) -> str:
    """Formats the score tables as Markdown: three decimals, the best of each column in bold."""
    blocks = []
    for number, table in enumerate(tables, 1):
        split = table.fields["split"]
        head, numbers = ["run", *table.settings], [*map(table.heading, MEANS)]
        classes = markdown_cell(", ".join(table.names))
        lines = [
            f"## Table {number}: {table.title}",
            "",
            f"Split `{split.get('spec', '')}`, id `{split.get('id', '')}`. Classes: {classes}.",
            "",
        ]
        rows = []
        for row in table.rows:
            name = markdown_cell(row.name) + (" (baseline)" if row.first.baseline else "")
            cells = [name, *(markdown_cell(str(row.first.fields.get(key) or "–")) for key in table.settings)]
            for key in MEANS:
                value = row.mean(key)
                bold = "**" if value is not None and value == table.best(key) else ""
                cells.append(f"{bold}{number_text(value)}{bold} {row.spread(key)}".rstrip())
            rows.append(cells)
        lines += markdown_table(head, numbers, rows)
        blocks.append("\n".join([*lines, *(f"\n{markdown_cell(note)}" for note in table.notes())]))
    return "\n\n".join(blocks) + "\n"


def number_text(value: float | None) -> str:
    """Formats a score with three decimals, or as a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"


def _or_minus(value: float | None) -> float:
    return -1.0 if value is None else value


def markdown_table(head: Sequence[str], numbers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table in Markdown.

    Args:
      head: of the columns of words.
      numbers: heads of those of numbers, which follow them.
      rows: cells, each as it stands in a table (`markdown_cell`).
    """
    rule = "|" + "---|" * len(head) + "---:|" * len(numbers)
    first, *others = (f"| {' | '.join(cells)} |" for cells in ([*head, *numbers], *rows))
    return [first, rule, *others]


def markdown_cell(text: str) -> str:
    """A text as it stands in a cell of a table in Markdown."""
    return text.replace("|", "\\|").replace("\n", " ")
