"""Paired differences of runs that were scored on the same records: how large, how sure, how often each wins.

Runs share what is hard about a record, so that a difference is far surer than the two scores are: in each draw of the
bootstrap both are scored on the same blocks.
"""

import csv
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from data_pipelines.schema.errors import InputError
from lcjax.evaluation import intervals
from lcjax.ops import bootstrap
from lcjax.reporting.run_reader import MUST_AGREE, Evaluation
from lcjax.reporting.tables import MEANS, Row, Table, markdown_cell, markdown_table


@dataclasses.dataclass(frozen=True)
class ScoreDifference:
    """The difference of a score.

    Attributes:
      value: score of the run minus that of the reference; positive where the run is better.
      interval: of the value; None where there is none.
      won: share of the draws in which the run is better; equal ones count half.
    """

    value: float
    interval: tuple[float, float] | None
    won: float

    @property
    def is_sure(self) -> bool:
        """Whether the interval holds no 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A line of a table against another one of it.

    Attributes:
      row, reference: the lines.
      scores: by full name.
      better, worse, equal: records of which the run has more, fewer, as many right pixels (means over seeds).
      blocks: what was drawn.
    """

    row: Row
    reference: Row
    scores: dict[str, ScoreDifference]
    better: int
    worse: int
    equal: int
    blocks: bootstrap.Blocks


def check(first: Evaluation, second: Evaluation) -> None:
    """Raises InputError, in one line, where two evaluations cannot be compared record by record."""
    pair = f"{first.run} and {second.run}"
    unlike = [what for what, a, b in zip(MUST_AGREE, first.comparable, second.comparable, strict=True) if a != b]
    if unlike:
        raise InputError(
            f"{pair}: cannot be compared, for their {' and '.join(unlike)} differ; expected runs that were scored on "
            "the same records over the same classes"
        )
    for e in (first, second):
        if e.records is None:
            raise InputError(
                f"{e.run}: its evaluation kept no counts of records, which a comparison needs; run `lcjax evaluate` of "
                "it again"
            )
    a, b = first.records, second.records
    assert a is not None and b is not None
    if not np.array_equal(a.ids, b.ids):
        raise InputError(f"{pair}: cannot be compared, for their records differ; run `lcjax evaluate` of both again")
    if not np.array_equal(a.confusion.sum(axis=2) + a.other, b.confusion.sum(axis=2) + b.other):
        raise InputError(
            f"{pair}: cannot be compared, for the labels of their records differ; run `lcjax evaluate` of both again"
        )


def of_table(table: Table, reference: str = "") -> tuple[list[Difference], list[str]]:
    """Compares each line of a table with one of them.

    Args:
      table: its lines.
      reference: name of a run; by default that of the best line that kept counts of records.

    Returns:
      The differences, best line first; and why lines are left out.
    """
    kept = [row for row in table.rows if all(e.records for e in row.evaluations)]
    left_out = [f"{row.name}: kept no counts of records; evaluate again" for row in table.rows if row not in kept]
    named = [row for row in kept if reference in (e.run for e in row.evaluations)]
    if not kept or (reference and not named):
        return [], left_out
    base = named[0] if reference else kept[0]
    others = []
    for row in kept:
        if row is base:
            continue
        try:
            for e in row.evaluations:
                check(e, base.first)
        except InputError as error:
            left_out.append(str(error))
        else:
            others.append(row)
    return _differences(others, base) if others else [], left_out


def _differences(rows: Sequence[Row], reference: Row) -> list[Difference]:
    """Compares lines with one whose evaluations are comparable (`check`), and which is drawn once."""
    first = reference.first.records
    assert first is not None
    blocks = bootstrap.blocks(first.ids, first.groups)
    single = intervals.single_block_classes(intervals.true_pixels(first, blocks), reference.first.names)
    theirs = _draws(reference, blocks)
    return [_difference(row, reference, blocks, theirs, single) for row in rows]


def _difference(
    row: Row, reference: Row, blocks: bootstrap.Blocks, theirs: dict[str, np.ndarray], single: set[str]
) -> Difference:
    """Compares two lines; of several seeds, the means over them.

    Args:
      row, reference: the lines.
      blocks: of their records.
      theirs: `_draws` of the reference.
      single: classes that are true in one block at most, whose scores are left out.
    """
    ours = _draws(row, blocks)
    scores = {}
    for key in ours.keys() & theirs.keys():
        a, b = row.mean(key), reference.mean(key)
        if a is None or b is None:
            continue
        drawn = ours[key] - theirs[key]
        known = drawn[~np.isnan(drawn)]
        won = float(((known > 0) + 0.5 * (known == 0)).mean()) if len(known) else 0.5
        scores[key] = ScoreDifference(a - b, bootstrap.interval(drawn, len(blocks)), won)
    scores = intervals.of_several_blocks({key: scores[key] for key in ours if key in scores}, single)
    ahead = _right(row) - _right(reference)
    better, worse, equal = (int(np.count_nonzero(which)) for which in (ahead > 0, ahead < 0, ahead == 0))
    return Difference(row, reference, scores, better, worse, equal, blocks)


def _draws(row: Row, blocks: bootstrap.Blocks) -> dict[str, np.ndarray]:
    """The scores of a line in each draw, means over its seeds."""
    of_seeds = [intervals.score_draws(e.records, blocks, e.names) for e in row.evaluations if e.records]
    return {key: np.mean([drawn[key] for drawn in of_seeds], axis=0) for key in of_seeds[0]}


def _right(row: Row) -> np.ndarray:
    """Right pixels of each record, means over the seeds."""
    right = [np.trace(e.records.confusion, axis1=1, axis2=2) for e in row.evaluations if e.records]
    return np.mean(np.array(right, np.int64), axis=0)


def to_csv(tables: Sequence[tuple[int, Sequence[Difference]]]) -> str:
    """Formats differences as CSV, in full precision: a line for each score of each pair.

    Args:
      tables: number of a table, and its differences.
    """
    text = io.StringIO()
    about = (
        "table",
        "run",
        "reference",
        "level",
        "blocks",
        "block",
        "records_better",
        "records_worse",
        "records_equal",
    )
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*about, "score", "difference", "low", "high", "draws_won"])
    for number, found in tables:
        for one in found:
            counts = (one.better, one.worse, one.equal)
            pair = (
                number,
                one.row.name,
                one.reference.name,
                bootstrap.LEVEL,
                len(one.blocks),
                one.blocks.kind,
                *counts,
            )
            for key, score in one.scores.items():
                ends = ("", "") if score.interval is None else map(repr, score.interval)
                writer.writerow([*pair, key, repr(score.value), *ends, repr(score.won)])
    return text.getvalue()


def to_markdown(tables: Sequence[tuple[int, Sequence[Difference]]]) -> str:
    """Formats the differences of the means as Markdown, those whose interval holds no 0 in bold; "" of none.

    Args:
      tables: number of a table, and its differences.
    """
    blocks = []
    for number, found in tables:
        if not found:
            continue
        reference, about = found[0].reference, found[0].blocks
        keys = [key for stem in MEANS if (key := reference.first.key(stem))]
        lines = [
            f"## Table {number}: differences from {markdown_cell(reference.name)}",
            "",
            f"{100 * bootstrap.LEVEL:g} % intervals over {len(about):,} {about.kind}s; how often the run wins.",
            "",
        ]
        rows = [[markdown_cell(one.row.name), *(_told(one.scores.get(key)) for key in keys)] for one in found]
        lines += markdown_table(["run"], keys, rows)
        blocks.append("\n".join(lines))
    return "\n" + "\n\n".join(blocks) + "\n" if blocks else ""


def _told(score: ScoreDifference | None) -> str:
    if score is None:
        return "–"
    won = f"{100 * score.won:.0f} %"
    if score.interval is None:
        return f"{score.value:+.3f}, {won}"
    low, high = score.interval
    bold = "**" if score.is_sure else ""
    return f"{bold}{score.value:+.3f}{bold} [{low:+.3f}, {high:+.3f}], {won}"
