"""The part of a table's section on what was scored on request: boundary IoU, and the recall of objects by size."""

from typing import Any

from markupsafe import Markup

from lcjax.reporting import markup
from lcjax.reporting.markup import Cell
from lcjax.reporting.run_reader import Evaluation
from lcjax.reporting.tables import Table, number_text


def section(table: Table) -> Markup:
    """Returns the tables of the runs that have such scores; nothing where none has."""
    return markup.joined(filter(None, [_boundary(table), _objects(table)]))


def _boundary(table: Table) -> Markup:
    having = [e for e in table.evaluations if "boundary" in e.fields]
    if not having:
        return Markup()
    mean = f"boundary_mIoU_{len(table.names)}"
    head = [markup.heading("run"), markup.heading("distance", "n"), markup.heading(mean, "n")]
    head += [markup.heading(name, "n", colour=table.colours.get(name, "")) for name in table.names]
    rows = []
    for e in having:
        told = e.fields["boundary"]
        cells = [markup.row_heading(e.run), markup.number(f"{told['distance']}: {told['pixels']} px")]
        cells += [_cell(told, key) for key in (mean, *(f"boundary_IoU/{name}" for name in table.names))]
        rows.append((cells, ""))
    caption = (
        "IoU of the pixels within this distance of a contour, in truth and in prediction: how right outlines are. A "
        "dash marks a class without a contour."
    )
    return markup.titled("Boundary IoU by class", markup.table("boundary", caption, head, rows))


def _objects(table: Table) -> Markup:
    having = [e for e in table.evaluations if "objects" in e.fields]
    return markup.titled("Objects found, by size", *(_of_run(e, table) for e in having))


def _of_run(e: Evaluation, table: Table) -> Markup:
    told = e.fields["objects"]
    head = [
        markup.heading("class"),
        *(markup.heading(words, "n") for words in size_names(told)),
        markup.heading("all", "n"),
    ]
    rows = []
    for name in table.names:
        counts = [
            *told["counts"].get(name, []),
            [sum(pair) for pair in zip(*told["counts"].get(name, []), strict=True)],
        ]
        cells = [markup.row_heading(name, colour=table.colours.get(name, ""))]
        keys = [*(f"{name}/{size}" for size in range(len(told["edges"]) + 1)), f"{name}/all"]
        for key, (found, every) in zip(keys, counts, strict=True):
            cells.append(_cell(told, key, f"{found:,} of {every:,}" if every else ""))
        rows.append((cells, ""))
    caption = (
        f"{e.run}: share of the connected areas of each class in the truth of which at least "
        f"{told['found_from']:.0%} is predicted as it."
    )
    return markup.table("objects", caption, head, rows)


def size_names(told: dict[str, Any]) -> list[str]:
    """Names the size classes: "10 to 99 px (0.1 ha to 0.99 ha)"."""
    edges = [1, *told["edges"]]
    hectares = told.get("pixel_hectares")
    names = []
    for place, edge in enumerate(edges):
        last = edges[place + 1] - 1 if place + 1 < len(edges) else None
        pixels = f"{edge:,} px and more" if last is None else f"{edge:,} to {last:,} px"
        if hectares:
            ground = f"{edge * hectares:.2g} ha"
            pixels += f" (from {ground})" if last is None else f" ({ground} to {last * hectares:.2g} ha)"
        names.append(pixels)
    return names


def _cell(told: dict[str, Any], key: str, of: str = "") -> Cell:
    between = told["intervals"].get(key)
    spread = f"[{between[0]:.3f}, {between[1]:.3f}]" if between else ""
    return markup.number(number_text(told["scores"].get(key)), below=tuple(filter(None, (spread, of))))
