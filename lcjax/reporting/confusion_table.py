"""Confusion matrices as tables: each cell tells its share and its count, by hand and by eye."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from lcjax.plotting.figures import OTHER
from lcjax.reporting import markup

HOW = "Confusion matrices are in percent of each row of truth; the cell under the cursor tells its pixels."


def table(
    counts: np.ndarray, names: Sequence[str], caption: str, unit: str, other: Sequence[int] | None = None
) -> Markup:
    """Returns a confusion matrix in percent of each row; a class that is never true has a row of dashes.

    Args:
      counts: (K, K), rows = truth, columns = prediction.
      names: the K class names.
      caption: of the table.
      unit: what is counted.
      other: (K,) counts of each class that were taken for none of them: a last column.
    """
    columns = [*names]
    if other is not None:
        counts, columns = np.column_stack([counts, other]), [*names, OTHER]
    rows = []
    for name, row in zip(names, np.asarray(counts, np.int64).tolist(), strict=True):
        total = sum(row)
        cells = []
        for taken_for, count in zip(columns, row, strict=True):
            share = count / total if total else None
            about = f"true {name}, predicted {taken_for}: {count:,} of {total:,} {unit}"
            cells.append({"share": share, "text": _percent(share), "about": about, "hit": name == taken_for})
        rows.append((name, cells))
    return markup.render("confusion.html", caption=caption, names=columns, rows=rows)


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    percent = 100 * share
    return "0" if percent == 0 else f"{percent:.1f}" if percent < 9.95 else f"{percent:.0f}"
