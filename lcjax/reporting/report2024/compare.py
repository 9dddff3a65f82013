"""Compares runs with the tables of the 2024 report; the module `writers` formats the result."""

import dataclasses
from collections.abc import Iterable, Sequence

from lcjax.reporting.report2024.published import Column, Figure, PrintedTable, published
from lcjax.reporting.run_reader import Evaluation, Run

_ROUNDING = 0.005 + 1e-9  # of a figure printed with two decimals
_MADE_UP = 16  # largest number of test records of made-up FLAIR-1
_BY_TRANSFER = ("flair/resnet_unet",)  # began with weights of others, the other cells with those of the same authors


@dataclasses.dataclass(frozen=True)
class Entry:
    """One figure.

    Attributes:
      value: a fraction, or None.
      text: as it is shown.
      score: our name of the score, e.g. "mIoU_13".
      notes: numbers of its notes.
    """

    value: float | None
    text: str
    score: str = ""
    notes: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class ComparedColumn:
    """The figures of one source for one printed column.

    Attributes:
      cell: of the printed column.
      title: of the printed column.
      source: ("printed",), ("article",) or ("notebook",); of a run its name, recipe and data set.
      ours: whether the source is a run.
      entries: from top to bottom, as the rows.
      notes: numbers of the notes on the whole column.
    """

    cell: str
    title: str
    source: tuple[str, ...]
    ours: bool
    entries: tuple[Entry, ...]
    notes: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ComparedTable:
    """A printed table with runs beside it.

    Attributes:
      number: of the table in the report.
      heading: above the table.
      rows: names as printed.
      columns: of all sources, those of one printed column together.
      notes: texts, numbered from 1.
      marked: numbers of the notes on the whole table.
    """

    number: int
    heading: str
    rows: tuple[str, ...]
    columns: tuple[ComparedColumn, ...]
    notes: tuple[str, ...]
    marked: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs beside published figures.

    Attributes:
      tables: every printed table that a run belongs to.
      best: the best published figures.
      unplaced: sentences on runs that belong to no table.
    """

    tables: tuple[ComparedTable, ...]
    best: tuple[Figure, ...]
    unplaced: tuple[str, ...]


def compare(runs: Sequence[Run]) -> Comparison | None:
    """Compares runs by their scores on test splits; returns None where no run names a cell (`config.cell`)."""
    scored = [
        e for run in runs for e in run.evaluations if e.fields["split"].get("role") == "test" and e.fields.get("cell")
    ]
    if not scored:
        return None
    known = {column.cell for table in published().tables for column in table.columns}
    unplaced = tuple(
        f"{e.run} stands in no printed table: its cell {e.fields['cell']!r} is none of {', '.join(sorted(known))}."
        for e in scored
        if e.fields["cell"] not in known
    )
    tables = [
        _compared(table, scored)
        for table in published().tables
        if {column.cell for column in table.columns} & {e.fields["cell"] for e in scored}
    ]
    return Comparison(tuple(tables), published().best if tables else (), unplaced)


class _Notes:
    """Numbers notes in the order of their first use."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, texts: Iterable[str]) -> tuple[int, ...]:
        wanted = list(dict.fromkeys(texts))
        self.texts += [text for text in wanted if text not in self.texts]
        return tuple(self.texts.index(text) + 1 for text in wanted)


def _compared(table: PrintedTable, scored: Sequence[Evaluation]) -> ComparedTable:
    notes = _Notes()
    marked = notes(mark.note for mark in table.marks if not mark.cell)
    columns = []
    for column in table.columns:
        columns += _published_columns(table, column, notes)
        ours = [e for e in scored if e.fields["cell"] == column.cell]
        columns += [_run_column(table, column, e, notes) for e in sorted(ours, key=lambda e: e.run)]
    heading = f"Table {table.number} of the 2024 report: {table.title} ({table.data})"
    return ComparedTable(
        table.number, heading, tuple(n for n, _ in table.rows), tuple(columns), tuple(notes.texts), marked
    )


def _published_columns(table: PrintedTable, column: Column, notes: _Notes) -> list[ComparedColumn]:
    """Returns the printed column, the article's if there is one, and the notebook's where it differs from print."""
    marks: dict[str, list[str]] = {}
    for mark in table.marks:
        if mark.cell == column.cell:
            marks.setdefault(mark.row, []).append(mark.note)
    whole = notes(marks.get("", ()))
    printed = [
        Entry(value, _printed_text(value, score), notes=notes(marks.get(name, ())))
        for value, (name, score) in zip(column.printed, table.rows, strict=True)
    ]
    article = [Entry(value, "" if value is None else f"{value:.2f}") for value in column.article]
    notebook = [
        Entry(stored, f"{stored:.4f}") if _differ(stored, value) else Entry(None, "")
        for stored, value in zip(column.notebook, column.printed, strict=False)
    ]
    sources = {"printed": (printed, whole), "article": (article, ()), "notebook": (notebook, ())}
    return [
        ComparedColumn(column.cell, column.title, (source,), False, tuple(entries), of_all)
        for source, (entries, of_all) in sources.items()
        if any(entry.value is not None for entry in entries)
    ]


def _printed_text(value: float | None, score: str | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if score else f"{value:g}"  # a row without a score is a number of epochs


def _differ(stored: float | None, printed: float | None) -> bool:
    return stored is not None and printed is not None and abs(stored - printed) > _ROUNDING


def _run_column(table: PrintedTable, column: Column, e: Evaluation, notes: _Notes) -> ComparedColumn:
    fields = e.fields
    reasons = _not_comparable(table, fields)
    transferred = fields["cell"] in _BY_TRANSFER and _is_pretrained(fields)
    words = ("transfer" if transferred else "", "not comparable" if reasons else "")
    source = (e.run, fields.get("recipe"), fields["dataset"], *words)
    caveats = notes([*reasons, *_caveats(table, fields)])
    entries = tuple(_our_entry(e, score, notes) for _, score in table.rows)
    return ComparedColumn(column.cell, column.title, tuple(filter(None, source)), True, entries, caveats)


def _not_comparable(table: PrintedTable, fields: dict) -> list[str]:
    """Returns why a run cannot be compared at all, if so; made-up FLAIR-1 has the name of the real one."""
    if fields["dataset"].partition(" ")[0] == "sample":
        return ["made-up data: shows that it runs; not comparable"]
    if (records := fields.get("records")) and records <= _MADE_UP:
        few = f"{records} test records, the printed figures are of {table.records:,}"
        return [f"made-up data or a trial: shows that it runs; not comparable ({few})"]
    return []


def _is_pretrained(fields: dict) -> bool:
    return fields.get("init", "random") != "random"


def _caveats(table: PrintedTable, fields: dict) -> list[str]:
    """Returns how a run differs from the printed figures."""
    caveats = []
    pretrained, meant = _is_pretrained(fields), "/ssl_" in fields["cell"] or fields["cell"] in _BY_TRANSFER
    if pretrained != meant:
        caveats.append("encoders pre-trained" if pretrained else "encoders not pre-trained: from random values")
    if fields.get("freeze") and not fields["cell"].endswith("_frozen"):
        caveats.append("encoders frozen")
    if (records := fields.get("records")) and _MADE_UP < records != table.records:
        caveats.append(f"scored on {records:,} test records, the printed figures on {table.records:,}")
    if fields.get("resize"):
        caveats.append(f"images made {fields['resize']} px wide and high")
    if fields["cell"].endswith("_frozen") and not fields.get("freeze"):
        caveats.append("not frozen: the whole network was trained")
    if fields.get("metadata"):
        caveats.append("with metadata beside the images")
    if fields.get("bands", "all") != "all":
        caveats.append(f"bands: {fields['bands']}")
    return caveats + [f"split: {text}" for text in fields["split"].get("warnings", ())]


def _our_entry(e: Evaluation, score: str | None, notes: _Notes) -> Entry:
    if score is None:
        return Entry(None, "")
    value, key = e.score(score), e.key(score)
    absent, classes = e.fields.get("absent", []), len(e.names)
    if score.partition("/")[2] in absent:
        return Entry(None, "absent")
    if value is None:
        return Entry(None, "–")
    if "/" in score:
        return Entry(value, f"{value:.3f}", key)
    left_out = f"mean of {classes - len(absent)} of {classes} classes; absent: {', '.join(absent)}"
    return Entry(value, f"{value:.3f} ({key})", key, notes([left_out] if absent else []))
