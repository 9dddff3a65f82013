"""The part of a table's section that shows scores by place: a table, and a map where the places are known."""

import statistics

from markupsafe import Markup

from lcjax.evaluation import places
from lcjax.evaluation.places import Place
from lcjax.plotting import places as drawing
from lcjax.reporting import markup
from lcjax.reporting.tables import Row, Table, number_text

_MOST = 40  # places in the table; files have all
_SCORE = "OA"  # a class that a place does not have changes its mIoU, not its OA


def section(table: Table) -> Markup:
    """Returns table and map of scores by place; nothing of one place alone, or where no run kept counts of records."""
    kept = [row for row in table.rows if all(e.records for e in row.evaluations)]
    if not kept:
        return Markup()
    by_row = [_places(row) for row in kept]
    # Worst first, by the best line. Lines of a table are of the same records, and so of the same places.
    order = sorted(by_row[0].values(), key=lambda place: (place.scores.get(_SCORE, 2.0), place.name))
    if len(order) < 2:
        return Markup()
    kind = _kind(order)
    head = [markup.heading(kind), markup.heading("records", "n"), markup.heading("scored pixels", "n")]
    head += [markup.heading(f"{_SCORE} of {row.name}", "n") for row in kept]
    rows = []
    for place in order[:_MOST]:
        cells = [markup.row_heading(place.name)]
        cells += [markup.number(f"{place.records:,}"), markup.number(f"{place.pixels:,}")]
        for of_row in by_row:
            known = of_row.get(place.name)
            cells.append(markup.number(number_text(known.scores.get(_SCORE) if known else None)))
        rows.append((cells, ""))
    shown = f"The {_MOST} with the lowest {_SCORE} of {len(order):,} {kind}s" if len(order) > _MOST else "Lowest first"
    caption = (
        f"{shown}, by the scores of {kept[0].name}. All scores of all {kind}s stand in places.csv and places.geojson "
        "(a layer for QGIS) beside the metrics.json of each run."
    )
    shown = markup.table("places", caption, head, rows)
    return markup.titled(f"Scores by {kind}", _map(kept[0], order), shown)


def _kind(found: list[Place]) -> str:
    """What the places are; records that have no group may stand among groups."""
    return min(place.kind for place in found)


def _places(row: Row) -> dict[str, Place]:
    """The places of a line by name, with means over its seeds."""
    of_seeds = [places.of_records(e.records, e.names) for e in row.evaluations if e.records]
    found = {}
    for several in zip(*of_seeds, strict=True):
        values = [place.scores[_SCORE] for place in several if _SCORE in place.scores]
        scores = {_SCORE: statistics.fmean(values)} if values else {}
        first = several[0]
        found[first.name] = Place(first.name, first.kind, first.records, first.pixels, first.boxes, scores)
    return found


def _map(row: Row, found: list[Place]) -> Markup:
    located = [place for place in found if len(place.boxes) and _SCORE in place.scores]
    if not located:
        return Markup()
    kind = _kind(found)
    drawn = drawing.place_map(
        [place.name for place in located],
        [place.boxes for place in located],
        [place.scores[_SCORE] for place in located],
        f"{_SCORE} (share of right pixels)",
        f"{_SCORE} of {row.name} by {kind}",
    )
    return markup.figure(drawn, f"Map of {_SCORE} by {kind}", "A dot stands for a place that is too small to be seen.")
