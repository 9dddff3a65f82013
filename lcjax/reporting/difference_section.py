"""The part of a table's section that compares its runs in pairs."""

from collections.abc import Sequence

from lcjax.evaluation import intervals
from lcjax.ops import bootstrap
from lcjax.reporting import markup
from lcjax.reporting.differences import Difference, ScoreDifference
from lcjax.reporting.tables import MEANS, Table


def section(table: Table, found: Sequence[Difference], left_out: Sequence[str]) -> str:
    """Returns the differences of a table's runs from one of them, or "" where there is nothing to compare.

    Args:
      table: of two lines or more.
      found: its differences.
      left_out: why lines are not compared.
    """
    if len(table.rows) < 2:
        return ""
    notes = "".join(f'<p class="note">Not compared: {markup.text(line)}.</p>' for line in left_out)
    if not found:
        return f"<h3>Differences</h3>{notes}" if notes else ""
    reference, blocks = found[0].reference, found[0].blocks
    head = [markup.heading("run")]
    for stem in MEANS:
        head += [markup.heading(f"{table.heading(stem)} minus", "n"), markup.heading("wins", "n")]
    head.append(markup.heading("better, worse, equal", "n"))
    rows = []
    for one in found:
        cells = [f'<th scope="row">{markup.text(one.row.name)}</th>']
        for stem in MEANS:
            cells += _cells(one.scores.get(one.reference.first.key(stem)))
        cells.append(f'<td class="n">{one.better:,}, {one.worse:,}, {one.equal:,}</td>')
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
    drawn = markup.table("paired", caption, head, rows) + f'<p class="soft">{markup.text(told)}</p>'
    return f"<h3>Differences from {markup.text(reference.name)}</h3>{drawn}{notes}"


def _cells(score: ScoreDifference | None) -> list[str]:
    if score is None:
        return ['<td class="n">–</td>'] * 2
    text = f"{score.value:+.3f}"
    if score.interval is None:
        return [f'<td class="n">{text}</td>', f'<td class="n">{100 * score.won:.0f} %</td>']
    low, high = score.interval
    text = f"<b>{text}</b>" if score.is_sure else text
    between = f'<span class="spread">[{low:+.3f}, {high:+.3f}]</span>'
    return [f'<td class="n">{text}{between}</td>', f'<td class="n">{100 * score.won:.0f} %</td>']
