"""Formats runs beside published figures as CSV, Markdown, LaTeX and a section of the page."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence

from markupsafe import Markup

from lcjax.reporting import markup
from lcjax.reporting.markup import Cell
from lcjax.reporting.report2024.compare import ComparedTable, Comparison
from lcjax.reporting.report2024.published import Figure, published

TITLE = "Beside the published figures"
_BEST = "The best published figures"
_BEST_HEAD = ("system", "data and protocol", "metric", "value", "source")


def to_csv(comparison: Comparison) -> str:
    """Returns CSV with a line for each figure; `mark` holds the notes on it and on its column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "cell", "row", "source", "score", "value", "mark"])
    for table in comparison.tables:
        for column in table.columns:
            source = ", ".join(("run", *column.source) if column.ours else column.source)
            for row, entry in zip(table.rows, column.entries, strict=True):
                if not entry.text:
                    continue
                numbers = (*(table.marked if column.source == ("printed",) else ()), *column.notes, *entry.notes)
                mark = "; ".join(table.notes[number - 1] for number in numbers)
                value = "" if entry.value is None else repr(entry.value)
                writer.writerow([table.number, column.cell, row, source, entry.score, value, mark])
    for figure in comparison.best:
        writer.writerow(["best", figure.system, figure.data, figure.source, figure.metric, repr(figure.value), ""])
    return text.getvalue()


def _best_text(figure: Figure) -> str:
    """Formats a figure with three or four decimals, as the source has, and the spread behind ±."""
    text = f"{figure.value:.4f}".removesuffix("0")
    return f"{text} ± {figure.spread:.4f}" if figure.spread is not None else text


def _best_cells(figure: Figure) -> tuple[str, ...]:
    return figure.system, figure.data, figure.metric, _best_text(figure), figure.source


def _sources_text() -> str:
    """Describes the published columns."""
    kinds = "; ".join(f"'{kind}': {source}" for kind, source in published().sources.items())
    return f"All figures are fractions of 1. Columns {kinds}."


def to_markdown(comparison: Comparison) -> str:
    """Returns the tables in Markdown, with numbered notes."""
    lines = [f"# {TITLE}", "", _escaped(_sources_text()), ""]
    lines += [f"{_escaped(text)}\n" for text in comparison.unplaced]
    for table in comparison.tables:
        lines += [f"## {_escaped(table.heading)}{_markdown_notes(table.marked)}", ""]
        heads = [
            _escaped(", ".join((column.title, *column.source))) + _markdown_notes(column.notes)
            for column in table.columns
        ]
        lines += [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
        for index, row in enumerate(table.rows):
            entries = [column.entries[index] for column in table.columns]
            cells = [_escaped(entry.text) + _markdown_notes(entry.notes) for entry in entries]
            lines.append(f"| {_escaped(row)} | {' | '.join(cells)} |")
        lines += ["", *(f"{number}. {_escaped(note)}" for number, note in enumerate(table.notes, 1)), ""]
    if comparison.best:
        lines += [f"## {_BEST}", "", f"| {' | '.join(_BEST_HEAD)} |", "|---|---|---|---:|---|"]
        lines += [f"| {' | '.join(map(_escaped, _best_cells(figure)))} |" for figure in comparison.best]
    return "\n".join(lines).rstrip("\n") + "\n"


def _markdown_notes(numbers: Sequence[int]) -> str:
    return f" [{', '.join(map(str, numbers))}]" if numbers else ""


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*_<>\[\]`])", r"\\\1", text).replace("\n", " ")


def to_tex(comparison: Comparison) -> str:
    r"""Returns the tables for `\input{paper}`; they need the packages booktabs and graphicx."""
    blocks = [f"% For \\input{{...}}. Needs \\usepackage{{booktabs,graphicx}}.\n% {_sources_text()}"]
    for table in comparison.tables:
        groups = dict.fromkeys((column.cell, column.title) for column in table.columns)
        widths = [sum(column.cell == cell for column in table.columns) for cell, _ in groups]
        starts = [2 + sum(widths[:index]) for index in range(len(widths))]
        titles = [
            rf"\multicolumn{{{width}}}{{c}}{{{_tex(title)}}}" for (_, title), width in zip(groups, widths, strict=True)
        ]
        rules = [rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start, width in zip(starts, widths, strict=True)]
        heads = [
            r"\shortstack{{{}}}".format(r" \\ ".join(map(_tex, column.source))) + _tex_notes(column.notes)
            for column in table.columns
        ]
        rows = [
            _tex_row([_tex(row), *(_tex(s.entries[i].text) + _tex_notes(s.entries[i].notes) for s in table.columns)])
            for i, row in enumerate(table.rows)
        ]
        body = [_tex_row(["", *titles]), "".join(rules), _tex_row(["", *heads]), r"\midrule", *rows]
        notes = [rf"\textsuperscript{{{n}}} {_tex(note)}." for n, note in enumerate(table.notes, 1)]
        caption = _tex(table.heading) + _tex_notes(table.marked)
        blocks.append(_tex_table("l" + "r" * len(heads), caption, f"report-{table.number}", body, notes))
    if comparison.best:
        body = [_tex_row(_BEST_HEAD), r"\midrule", *(_tex_row(map(_tex, _best_cells(f))) for f in comparison.best)]
        blocks.append(_tex_table("lllrl", _BEST, "best", body, []))
    return "\n\n".join(blocks) + "\n"


def _tex_table(columns: str, caption: str, label: str, body: Sequence[str], notes: Sequence[str]) -> str:
    """Returns a float that shrinks to the width of the text where it is wider."""
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    if notes:
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\footnotesize {' '.join(notes)}}}")
    return "\n".join([*lines, r"\end{table}"])


def _tex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _tex_notes(numbers: Sequence[int]) -> str:
    return rf"\textsuperscript{{{','.join(map(str, numbers))}}}" if numbers else ""


_TEX: dict[str, str] = {character: "\\" + character for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': "''",
    "±": r"$\pm$",
    "–": "--",
    "\n": " ",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def section(comparison: Comparison) -> Markup:
    """Returns the section "paper" of a page."""
    return markup.section(
        "paper",
        TITLE,
        markup.paragraph(_sources_text()),
        markup.notes(comparison.unplaced),
        *map(_html_table, comparison.tables),
        _html_best(comparison),
    )


def _html_table(table: ComparedTable) -> Markup:
    head = [Cell()]
    for column in table.columns:
        words = "\n".join((column.title, *column.source))
        head.append(markup.heading(words, _marks(column.ours), notes=tuple(column.notes)))
    rows = []
    for index, row in enumerate(table.rows):
        entries = [(column.entries[index], column.ours) for column in table.columns]
        cells = [Cell(entry.text, _marks(ours), notes=tuple(entry.notes)) for entry, ours in entries]
        rows.append(([markup.row_heading(row), *cells], ""))
    shown = markup.table(f"paper paper-{table.number}", "Shaded: our runs. Small numbers: notes below.", head, rows)
    return markup.titled(
        table.heading, shown, markup.render("numbered.html", lines=table.notes), notes=tuple(table.marked)
    )


def _marks(ours: bool) -> str:
    return "n ours" if ours else "n"


def _html_best(comparison: Comparison) -> Markup:
    if not comparison.best:
        return Markup()
    head = [markup.heading(words, "n" if words == "value" else "") for words in _BEST_HEAD]
    rows = []
    for figure in comparison.best:
        system, data, metric, value, source = _best_cells(figure)
        cells = [markup.row_heading(system), Cell(data), Cell(metric), markup.number(value), Cell(source)]
        rows.append((cells, ""))
    caption = "Of other data and protocols than the tables above."
    return markup.titled(_BEST, markup.table("best", caption, head, rows))


FILES: dict[str, Callable[[Comparison], str]] = {"paper.csv": to_csv, "paper.md": to_markdown, "paper.tex": to_tex}
