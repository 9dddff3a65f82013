"""The part of a table's section that compares its runs in pairs."""

from collections.abc import Sequence

from markupsafe import Markup

from lcjax.evaluation import intervals
from lcjax.ops import bootstrap
from lcjax.reporting import markup
from lcjax.reporting.differences import Difference, ScoreDifference
from lcjax.reporting.markup import Cell
from lcjax.reporting.tables import MEANS, Table


def section(table: Table, found: Sequence[Difference], left_out: Sequence[str]) -> Markup:
    """Returns the differences of a table's runs from one of them; nothing where there is nothing to compare.

    Args:
      table: of two lines or more.
      found: its differences.
      left_out: why lines are not compared.
    """
    if len(table.rows) < 2:
        return Markup()
    notes = markup.notes(f"Not compared: {line}." for line in left_out)
    if not found:
        return markup.titled("Differences", notes)
    reference, blocks = found[0].reference, found[0].blocks
    head = [markup.heading("run")]
    for stem in MEANS:
        head += [markup.heading(f"{table.heading(stem)} minus", "n"), markup.heading("wins", "n")]
    head.append(markup.heading("better, worse, equal", "n"))
    rows = []
    for one in found:
        cells = [markup.row_heading(one.row.name)]
        for stem in MEANS:
            cells += _cells(one.scores.get(one.reference.first.key(stem)))
        cells.append(markup.number(f"{one.better:,}, {one.worse:,}, {one.equal:,}"))
        rows.append((cells, ""))
    caption = f"Score of each run minus that of {reference.name}, on the same records."
    told = (
        f"In brackets: the {100 * bootstrap.LEVEL:g} % interval over {len(blocks):,} {blocks.kind}s; in bold, where it "
        "holds no 0: the records tell the two apart. Wins: how often the run is better when they are drawn again. "
        "Better, worse, equal: of how many records it has more, fewer, as many pixels right."
    )
    told += "".join(f" {note[0].upper()}{note[1:]}." for note in intervals.block_notes(blocks))
    if len(found) > 1:
        told += f" Of {len(found)} comparisons, one in {round(1 / (1 - bootstrap.LEVEL))} is bold by chance alone."
    shown = markup.table("paired", caption, head, rows)
    return markup.titled(f"Differences from {reference.name}", shown, markup.paragraph(told, "soft"), notes)


def _cells(score: ScoreDifference | None) -> list[Cell]:
    if score is None:
        return [markup.number("–")] * 2
    between = () if score.interval is None else ("[{:+.3f}, {:+.3f}]".format(*score.interval),)
    value = markup.number(f"{score.value:+.3f}", bold=score.is_sure, below=between)
    return [value, markup.number(f"{100 * score.won:.0f} %")]
