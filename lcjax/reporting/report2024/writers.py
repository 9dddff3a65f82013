"""Our runs beside published figures as CSV, Markdown, LaTeX and a section of the page."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence

from lcjax.reporting import markup
from lcjax.reporting.report2024.compare import Laid, Paper
from lcjax.reporting.report2024.published import Figure, published

TITLE = "Beside the published figures"
_BEST = "The best published figures"
_BEST_HEAD = ("system", "data and protocol", "metric", "value", "source")


def to_csv(paper: Paper) -> str:
    """Every figure on a line of its own; `mark` holds the notes on it and on its column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "cell", "row", "source", "score", "value", "mark"])
    for laid in paper.tables:
        for stack in laid.stacks:
            source = ", ".join(("run", *stack.source) if stack.ours else stack.source)
            for row, entry in zip(laid.rows, stack.entries, strict=True):
                if not entry.text:
                    continue
                numbers = (*(laid.marked if stack.source == ("printed",) else ()), *stack.notes, *entry.notes)
                mark = "; ".join(laid.notes[number - 1] for number in numbers)
                value = "" if entry.value is None else repr(entry.value)
                writer.writerow([laid.number, stack.cell, row, source, entry.score, value, mark])
    for figure in paper.best:
        writer.writerow(["best", figure.system, figure.data, figure.source, figure.metric, repr(figure.value), ""])
    return text.getvalue()


def _best_text(figure: Figure) -> str:
    """Three or four decimals, as many as the source holds, and the spread behind ±."""
    text = f"{figure.value:.4f}".removesuffix("0")
    return f"{text} ± {figure.spread:.4f}" if figure.spread is not None else text


def _best_cells(figure: Figure) -> tuple[str, ...]:
    return figure.system, figure.data, figure.metric, _best_text(figure), figure.source


def _sources_text() -> str:
    """What the published columns are."""
    kinds = "; ".join(f"'{kind}': {source}" for kind, source in published().sources.items())
    return f"All figures are fractions of 1. Columns {kinds}."


def to_markdown(paper: Paper) -> str:
    """The tables in Markdown, with numbered notes."""
    lines = [f"# {TITLE}", "", _escaped(_sources_text()), ""]
    lines += [f"{_escaped(text)}\n" for text in paper.unplaced]
    for laid in paper.tables:
        lines += [f"## {_escaped(laid.heading)}{_markdown_notes(laid.marked)}", ""]
        heads = [
            _escaped(", ".join((stack.title, *stack.source))) + _markdown_notes(stack.notes) for stack in laid.stacks
        ]
        lines += [f"| | {' | '.join(heads)} |", "|---|" + "---:|" * len(heads)]
        for index, row in enumerate(laid.rows):
            entries = [stack.entries[index] for stack in laid.stacks]
            cells = [_escaped(entry.text) + _markdown_notes(entry.notes) for entry in entries]
            lines.append(f"| {_escaped(row)} | {' | '.join(cells)} |")
        lines += ["", *(f"{number}. {_escaped(note)}" for number, note in enumerate(laid.notes, 1)), ""]
    if paper.best:
        lines += [f"## {_BEST}", "", f"| {' | '.join(_BEST_HEAD)} |", "|---|---|---|---:|---|"]
        lines += [f"| {' | '.join(map(_escaped, _best_cells(figure)))} |" for figure in paper.best]
    return "\n".join(lines).rstrip("\n") + "\n"


def _markdown_notes(numbers: Sequence[int]) -> str:
    return f" [{', '.join(map(str, numbers))}]" if numbers else ""


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*_<>\[\]`])", r"\\\1", text).replace("\n", " ")


def to_tex(paper: Paper) -> str:
    r"""The tables for `\input{paper}`; they need the packages booktabs and graphicx."""
    blocks = [f"% For \\input{{...}}. Needs \\usepackage{{booktabs,graphicx}}.\n% {_sources_text()}"]
    for laid in paper.tables:
        groups = dict.fromkeys((stack.cell, stack.title) for stack in laid.stacks)
        widths = [sum(stack.cell == cell for stack in laid.stacks) for cell, _ in groups]
        starts = [2 + sum(widths[:index]) for index in range(len(widths))]
        titles = [
            rf"\multicolumn{{{width}}}{{c}}{{{_tex(title)}}}" for (_, title), width in zip(groups, widths, strict=True)
        ]
        rules = [rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start, width in zip(starts, widths, strict=True)]
        heads = [
            r"\shortstack{{{}}}".format(r" \\ ".join(map(_tex, stack.source))) + _tex_notes(stack.notes)
            for stack in laid.stacks
        ]
        rows = [
            _tex_row([_tex(row), *(_tex(s.entries[i].text) + _tex_notes(s.entries[i].notes) for s in laid.stacks)])
            for i, row in enumerate(laid.rows)
        ]
        body = [_tex_row(["", *titles]), "".join(rules), _tex_row(["", *heads]), r"\midrule", *rows]
        notes = [rf"\textsuperscript{{{n}}} {_tex(note)}." for n, note in enumerate(laid.notes, 1)]
        caption = _tex(laid.heading) + _tex_notes(laid.marked)
        blocks.append(_tex_table("l" + "r" * len(heads), caption, f"report-{laid.number}", body, notes))
    if paper.best:
        body = [_tex_row(_BEST_HEAD), r"\midrule", *(_tex_row(map(_tex, _best_cells(f))) for f in paper.best)]
        blocks.append(_tex_table("lllrl", _BEST, "best", body, []))
    return "\n\n".join(blocks) + "\n"


def _tex_table(columns: str, caption: str, label: str, body: Sequence[str], notes: Sequence[str]) -> str:
    """A float no wider than the text: what is wider shrinks."""
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


def section(paper: Paper) -> str:
    """The section "paper" of a page."""
    sources = f"<p>{markup.text(_sources_text())}</p>"
    notes = "".join(f'<p class="note">{markup.text(text)}</p>' for text in paper.unplaced)
    laid = "".join(map(_html_table, paper.tables))
    return f'<section id="paper"><h2>{TITLE}</h2>{sources}{notes}{laid}{_html_best(paper)}</section>'


def _html_table(laid: Laid) -> str:
    head = ["<td></td>"]
    for stack in laid.stacks:
        words = "<br>".join(map(markup.text, (stack.title, *stack.source)))
        head.append(f'<th scope="col" class="n{" ours" * stack.ours}">{words}{_superscript(stack.notes)}</th>')
    rows = []
    for index, row in enumerate(laid.rows):
        cells = [f'<th scope="row">{markup.text(row)}</th>']
        for stack in laid.stacks:
            entry = stack.entries[index]
            text = markup.text(entry.text) + _superscript(entry.notes)
            cells.append(f'<td class="n{" ours" * stack.ours}">{text}</td>')
        rows.append((cells, ""))
    notes = "".join(f"<li>{markup.text(note)}</li>" for note in laid.notes)
    title = f"<h3>{markup.text(laid.heading)}{_superscript(laid.marked)}</h3>"
    caption = "Shaded: our runs. Small numbers: notes below."
    return f'{title}{markup.table(f"paper paper-{laid.number}", caption, head, rows)}<ol class="soft">{notes}</ol>'


def _html_best(paper: Paper) -> str:
    if not paper.best:
        return ""
    head = [markup.heading(words, "n" if words == "value" else "") for words in _BEST_HEAD]
    rows = []
    for figure in paper.best:
        system, data, metric, value, source = map(markup.text, _best_cells(figure))
        cells = [f'<th scope="row">{system}</th>', f"<td>{data}</td>", f"<td>{metric}</td>"]
        rows.append(([*cells, f'<td class="n">{value}</td>', f"<td>{source}</td>"], ""))
    caption = "Of other data and protocols than the tables above."
    return f"<h3>{_BEST}</h3>" + markup.table("best", caption, head, rows)


def _superscript(numbers: Sequence[int]) -> str:
    return f"<sup>{', '.join(map(str, numbers))}</sup>" if numbers else ""


FILES: dict[str, Callable[[Paper], str]] = {"paper.csv": to_csv, "paper.md": to_markdown, "paper.tex": to_tex}
