"""The page of a report: one HTML file of scores, curves and maps."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from lcjax.ops import boundary_density
from lcjax.plotting import figures
from lcjax.reporting import (
    calibration_section,
    confusion_table,
    curve_section,
    difference_section,
    explorer_section,
    further_section,
    map_section,
    markup,
    patch_tables,
    place_section,
)
from lcjax.reporting.differences import Difference
from lcjax.reporting.map_reader import LandCoverMap
from lcjax.reporting.markup import Cell
from lcjax.reporting.report2024 import writers
from lcjax.reporting.report2024.compare import Comparison
from lcjax.reporting.report2024.published import published
from lcjax.reporting.run_reader import Evaluation, Run
from lcjax.reporting.tables import MEANS, PER_CLASS, Table, checkpoint, number_text

COLUMNS = 8  # runs side by side in one picture; more would be too small to see
FEW = 4  # columns that have room to be large


def html(
    runs: Sequence[Run],
    tables: Sequence[Table],
    maps: Sequence[LandCoverMap] = (),
    comparison: Comparison | None = None,
    refused: Sequence[str] = (),
    compared: Sequence[tuple[Sequence[Difference], Sequence[str]]] = (),
    patches: Sequence[patch_tables.PatchTable] = (),
) -> str:
    """Returns the page; the same input gives the same text.

    Args:
      runs: for the curves.
      tables: of the runs' scores.
      maps: for the section on maps.
      comparison: with the 2024 report, if a run belongs to it.
      refused: why a run is left out, one line for each that is.
      compared: of each table the differences of its runs, and why runs are not compared.
      patches: tables of the runs that classify whole patches.
    """
    contents = [(f"table-{number}", f"Table {number}: {table.title}") for number, table in enumerate(tables, 1)]
    known = [table for table in tables if set(published().confusion.names) <= set(table.names)][:1]
    sections = [
        _table_section(number, table, table in known, pairs)
        for (number, table), pairs in zip(enumerate(tables, 1), compared or [([], [])] * len(tables), strict=True)
    ]
    curves = curve_section.section(runs)
    for name, title, section in (
        ("paper", writers.TITLE, writers.section(comparison) if comparison else Markup()),
        ("patches", "Classification of patches", patch_tables.section(patches)),
        ("curves", "Learning curves", curves),
        ("maps", "Maps", map_section.section(maps)),
    ):
        if section:
            contents.append((name, title))
            sections.append(section)
    header = markup.render(
        "report_header.html",
        refused=refused,
        scored=len(tables),
        unscored=bool(runs) and not patches,
        differences=differences(tables),
        contents=contents,
    )
    footer = markup.render("report_footer.html", files=_files(runs, tables, maps, comparison, compared, patches))
    return markup.document(_title(runs, maps), header, markup.joined(sections), footer, _scripts(bool(curves)))


def _scripts(curves: bool) -> list[Markup]:
    names = ["tables.js", "viewer.js", "explorer.js"] + ["charts.js"] * curves
    return [markup.bokeh()] * curves + [markup.asset(name) for name in names]


def _files(runs, tables, maps, comparison, compared, patches) -> list[tuple[str, str]]:
    """Names of the files beside the page, and what they hold."""
    several = any(row.seeds > 1 for table in tables for row in table.rows)
    every = (
        (runs, "scores.csv", "the same scores in full precision"),
        (runs, "scores.md", "as Markdown"),
        (patches, "patches.csv, patches.md", "the scores of whole patches"),
        (several, "seeds.csv", "means and deviations over seeds"),
        (any(found for found, _ in compared), "differences.csv", "the differences of runs"),
        (comparison, "paper.md, paper.csv, paper.tex", "the tables beside the published figures"),
        (maps, "areas.csv", "the areas of all maps"),
    )
    return [(name, what) for there, name, what in every if there]


def _title(runs: Sequence[Run], maps: Sequence[LandCoverMap]) -> str:
    pretraining = sum(run.pretraining for run in runs)
    counted = "1 map" if len(maps) == 1 else f"{len(maps)} maps"
    if not runs:
        return f"Land cover: {counted}"
    title = f"Land-cover runs compared: {len(runs) - pretraining} scored, {pretraining} pre-training"
    return f"{title}; {counted}" if maps else title


def differences(tables: Sequence[Table]) -> str:
    """Names what differs between tables, of all that must agree within one."""
    kinds = {
        "data set": {t.fields["dataset"] for t in tables},
        "class set": {(t.names, tuple(t.fields["class_ids"])) for t in tables},
        "ignored ids": {tuple(t.fields["ignored_ids"]) for t in tables},
        "split": {(t.fields["split"].get("role"), t.fields["split"].get("id")) for t in tables},
        "size of tiles": {t.fields.get("resize") or 0 for t in tables},
    }
    return markup.listed([name for name, values in kinds.items() if len(values) > 1])


def _table_section(number: int, table: Table, matrix: bool, pairs: tuple) -> Markup:
    """Returns the section on one table, with the published confusion matrix of its classes if `matrix` is true."""
    by_class = "Acc is the class accuracy, which is the recall: the share of a class's true pixels that are found."
    return markup.section(
        f"table-{number}",
        f"Table {number}: {table.title}",
        _about(table),
        _score_table(table),
        markup.notes(table.notes()),
        difference_section.section(table, *pairs),
        place_section.section(table),
        explorer_section.section(table),
        _samples(table),
        _boundaries(table),
        _iou_table(table),
        calibration_section.section(table),
        further_section.section(table),
        _distribution(table),
        markup.titled(
            "Each run by class",
            markup.paragraph(f"{by_class} {confusion_table.HOW}", "soft"),
            *(_run_details(e, table) for e in table.evaluations),
        ),
        _published_confusion() if matrix else Markup(),
    )


def _about(table: Table) -> Markup:
    fields = table.fields
    pixels = f"{fields['pixels']:,} scored pixels"
    if fields.get("ignored_pixels") is not None:
        pixels += f", {fields['ignored_pixels']:,} ignored"
    return markup.render(
        "table_about.html",
        count="1 run" if len(table.evaluations) == 1 else f"{len(table.evaluations)} runs",
        fields=fields,
        split=fields["split"],
        records=f"{fields['records']:,} records, " if fields.get("records") is not None else "",
        pixels=pixels,
        classes=[(name, table.colours.get(name, "")) for name in table.names],
        ignored=", ".join(map(str, fields["ignored_ids"])) or "none",
    )


def _score_table(table: Table) -> Markup:
    known = any(e.fields.get("parameters") for e in table.evaluations)
    head = [
        markup.heading("run"),
        *map(markup.heading, table.settings),
        *(markup.heading(table.heading(key), "n") for key in MEANS),
        markup.heading("checkpoint"),
    ]
    rows = []
    for row in table.rows:
        e = row.first
        badges = ("baseline",) * e.baseline + (f"{row.seeds} seeds",) * (row.seeds > 1)
        cells = [markup.row_heading(row.name, badges=badges)]
        cells += [Cell(str(e.fields.get(key) or "–")) for key in table.settings]
        cells += [_score(row.mean(key), table.best(key), spread=row.spread(key)) for key in MEANS]
        cells.append(Cell(checkpoint(*row.evaluations)))
        if known:
            count = e.fields.get("parameters")
            cells.append(markup.number(f"{count:,}" if count else "–"))
        rows.append((cells, "baseline" if e.baseline else ""))
    head += [markup.heading("parameters", "n")] if known else []
    shown = [markup.table("scores", "Sorted by mIoU; the best of each column is in bold.", head, rows)]
    shown += [markup.paragraph(" ".join(table.spreads()), "soft")] if table.spreads() else []
    return markup.joined(shown)


def _iou_table(table: Table) -> Markup:
    head = [markup.heading("run")]
    head += [markup.heading(name, "n", colour=table.colours.get(name, "")) for name in table.names]
    rows = []
    for row in table.rows:
        keys = [f"IoU/{name}" for name in table.names]
        cells = [markup.row_heading(row.name)]
        cells += [_score(row.mean(key), table.best(key), row.spread(key), shaded=True) for key in keys]
        rows.append((cells, "baseline" if row.first.baseline else ""))
    shown = markup.table("iou", "Darker is higher; a dash marks an absent class.", head, rows)
    return markup.titled("IoU by class", shown)


def _run_details(e: Evaluation, table: Table) -> Markup:
    counts = np.asarray(e.fields["confusion"], np.int64)
    # On another data set a pixel may be taken for a class that this does not have.
    other = e.fields.get("predicted_other")
    truth = counts.sum(axis=1) + (0 if other is None else np.asarray(other))
    head = [markup.heading("class"), *(markup.heading(key, "n") for key in (*PER_CLASS, "true pixels", "predicted"))]
    rows = []
    for index, name in enumerate(table.names):
        cells = [markup.row_heading(name, colour=table.colours.get(name, ""))]
        cells += [_score(e.score(f"{key}/{name}"), None) for key in PER_CLASS]
        cells += [markup.number(f"{truth[index]:,}"), markup.number(f"{counts[:, index].sum():,}")]
        rows.append((cells, ""))
    settings = ", ".join(str(e.fields[key]) for key in ("model", "fusion") if e.fields.get(key))
    classes = markup.table("classes", f"{e.run}: {settings}; checkpoint {checkpoint(e)}", head, rows)
    matrix = confusion_table.table(counts, table.names, f"Confusion matrix of {e.run}, pixels", "pixels", other)
    return markup.render("beside.html", blocks=[classes, matrix])


def _published_confusion() -> Markup:
    known = published().confusion
    drawn = figures.published_confusion(np.array(known.matrix), known.names, known.title)
    shown = markup.figure(drawn, known.title, f"Source: {known.source}.")
    return markup.titled("Published, for comparison", shown, level=4)


def _samples(table: Table) -> Markup:
    """Shows image, truth and predictions of the first records that every run kept."""
    having = [e for e in table.evaluations if e.samples]
    if not having:
        return Markup()
    shared, picked = explorer_section.shared(having)
    lacking = [e.run for e in table.evaluations if not e.samples]
    if not shared:
        return markup.notes(["No sample pictures: the runs kept no record in common."])
    first = having[0].samples
    predictions = {e.run: e.samples["prediction"][rows] for e, rows in zip(having, picked, strict=True)}
    image, truth = (first[name][picked[0]] for name in ("image", "truth"))
    drawn = [
        figures.samples(
            shared, image, labels, explorer_section.classes(table), side=1.6 if len(labels) <= FEW else 1.15
        )
        for labels in _columns(truth, predictions)
    ]
    caption = "The same records for every run, best run first."
    if lacking:
        caption += f" No pictures were kept by {markup.listed(lacking)}."
    return markup.titled("Image, truth and predictions", _pictures(drawn, "Image, truth and predictions", caption))


def _columns(truth: np.ndarray, predictions: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Groups labels into pictures that fit the page: the truth and a few runs each."""
    groups = np.array_split(list(predictions), -(-len(predictions) // COLUMNS))
    return [{"truth": truth} | {run: predictions[run] for run in group.tolist()} for group in groups]


def _pictures(drawn: Sequence[bytes], title: str, caption: str) -> Markup:
    """Returns pictures below each other, the last with the caption of all."""
    captions = [*[""] * (len(drawn) - 1), caption]
    return markup.joined(markup.figure(one, title, text, wide=True) for one, text in zip(drawn, captions, strict=True))


def _boundaries(table: Table) -> Markup:
    """Shows how smooth the masks are: how often neighbours differ, and the place where most do, enlarged."""
    measured = [(e, e.boundaries) for e in table.evaluations if e.boundaries]
    if not measured:
        return Markup()
    head = [markup.heading("run")]
    head += [markup.heading(words, "n") for words in ("edges, truth", "edges, prediction", "ratio", "tiles")]
    rows = []
    for e, density in measured:
        cells = [_score(value, None) for value in (density.truth, density.prediction, density.ratio)]
        rows.append(([markup.row_heading(e.run), *cells, markup.number(str(len(e.samples["ids"])))], ""))
    caption = (
        "Edges: of all neighbouring pairs of scored pixels in the sample tiles, the share whose class differs. A ratio "
        "below 1 is a mask smoother than the truth."
    )
    shown = markup.table("edges", caption, head, rows)
    return markup.titled("Smooth or rough masks", shown, _enlarged(measured, table))


def _enlarged(measured: Sequence[tuple[Evaluation, boundary_density.BoundaryDensity]], table: Table) -> Markup:
    having = [e for e, _ in measured]
    shared, picked = explorer_section.shared(having)
    if not shared:
        return Markup()
    first = having[0].samples
    truth = first["truth"][picked[0]]
    record, rows, columns = boundary_density.densest_square(truth, table.fields["class_ids"])
    place = (slice(record, record + 1), rows, columns)
    predictions = {e.run: e.samples["prediction"][chosen][place] for e, chosen in zip(having, picked, strict=True)}
    image = first["image"][picked[0]][place]
    drawn = [
        figures.samples([shared[record]], image, labels, explorer_section.classes(table), side=2.4)
        for labels in _columns(truth[place], predictions)
    ]
    size = f"{rows.stop - rows.start} x {columns.stop - columns.start} pixels"
    caption = f"Enlarged, without smoothing: the {size} of {shared[record]} where most classes meet."
    return _pictures(drawn, "Truth and predictions enlarged", caption)


def _distribution(table: Table) -> Markup:
    """Shows class shares by split, once for each set of counts; names the runs where they do not agree."""
    drawn: dict[str, tuple[dict, list[str]]] = {}
    for e in table.evaluations:
        every = e.fields.get("distribution") or {}
        counts = {
            split: pixels for split, pixels in every.items() if sum(pixels.values())
        }  # an empty split is unlabelled
        if counts:
            drawn.setdefault(repr(counts), (counts, []))[1].append(e.run)
    pictures = []
    for counts, runs in drawn.values():
        order = [c.name for c in table.legend.classes] if table.legend else list(table.names)
        held = {name for split in counts.values() for name, pixels in split.items() if pixels or name in table.names}
        names = [name for name in order if name in held] + sorted(held - set(order))
        caption = "Scored pixels of each class in what the runs train on, choose by and test on, in percent." + (
            f" As seen by {markup.listed(runs)}." if len(drawn) > 1 else ""
        )
        image = figures.distribution(counts, names, table.colours)
        pictures.append(markup.figure(image, "Class distribution by split", caption, wide=True))
    return markup.titled("Class distribution by split", *pictures)


def _score(value: float | None, best: float | None, spread: str = "", shaded: bool = False) -> Cell:
    text = number_text(value)
    if value is None:
        return markup.number(text)
    marks, shade = ("n shade", max(value, 0)) if shaded else ("n", None)
    return Cell(text, marks, bold=value == best, below=(spread,) if spread else (), shade=shade)
