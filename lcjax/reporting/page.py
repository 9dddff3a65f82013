"""The page of a report: one HTML file of scores, curves and maps."""

from collections.abc import Sequence

import numpy as np

from lcjax.ops import boundary_density
from lcjax.plotting import figures
from lcjax.reporting import (
    calibration_section,
    curve_section,
    difference_section,
    further_section,
    map_section,
    markup,
    patch_tables,
    place_section,
)
from lcjax.reporting.differences import Difference
from lcjax.reporting.map_reader import LandCoverMap
from lcjax.reporting.report2024 import writers
from lcjax.reporting.report2024.compare import Comparison
from lcjax.reporting.report2024.published import published
from lcjax.reporting.run_reader import Evaluation, Run
from lcjax.reporting.tables import MEANS, PER_CLASS, Table, checkpoint, number_text

SAMPLE_ROWS = 6
COLUMNS = 8  # runs side by side in one picture; more would be too small to see


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
    for name, title, section in (
        ("paper", writers.TITLE, writers.section(comparison) if comparison else ""),
        ("patches", "Classification of patches", patch_tables.section(patches)),
        ("curves", "Learning curves", curve_section.section(runs)),
        ("maps", "Maps", map_section.section(maps)),
    ):
        if section:
            contents.append((name, title))
            sections.append(section)
    links = "".join(f'<li><a href="#{name}">{markup.text(text)}</a></li>' for name, text in contents)
    header = [f'<p class="note">Left out: {markup.text(line)}</p>' for line in refused]
    header += [_introduction(tables)] if runs and not (patches and not tables) else []
    if len(contents) > 1:
        header.append(f'<nav aria-label="Contents"><ul>{links}</ul></nav>')
    files = [("scores.csv", "the same scores in full precision"), ("scores.md", "as Markdown")] if runs else []
    files += [("patches.csv, patches.md", "the scores of whole patches")] if patches else []
    several = any(row.seeds > 1 for table in tables for row in table.rows)
    files += [("seeds.csv", "means and deviations over seeds")] if several else []
    files += [("differences.csv", "the differences of runs")] if any(found for found, _ in compared) else []
    files += [("paper.md, paper.csv, paper.tex", "the tables beside the published figures")] if comparison else []
    files += [("areas.csv", "the areas of all maps")] if maps else []
    listed = "; ".join(f"<code>{name}</code>: {what}" for name, what in files)
    return markup.document(
        _title(runs, maps),
        "\n".join(header),
        "\n".join(sections),
        f"Made by <code>lcjax report</code>. Beside this page: {listed}.",
    )


def _title(runs: Sequence[Run], maps: Sequence[LandCoverMap]) -> str:
    pretraining = sum(run.pretraining for run in runs)
    counted = "1 map" if len(maps) == 1 else f"{len(maps)} maps"
    if not runs:
        return f"Land cover: {counted}"
    title = f"Land-cover runs compared: {len(runs) - pretraining} scored, {pretraining} pre-training"
    return f"{title}; {counted}" if maps else title


def _introduction(tables: Sequence[Table]) -> str:
    if not tables:
        return "<p>No run here has been scored on land cover; see the learning curves.</p>"
    rules = (
        "<p>Every score comes from one confusion matrix over all scored pixels of a split. A class with no true and no "
        "predicted pixel is absent and left out of the means; a class that is predicted but never true counts with an "
        "IoU of 0. Pixels whose label is an ignored id are not scored. <b>OA</b> is the share of pixels that are "
        "right, <b>mCA</b> the mean of the class accuracies (recalls), <b>mIoU</b> the mean of the class IoUs, "
        "<b>kappa</b> Cohen's agreement beyond chance; a number after the name is the number of classes "
        "in the class set.</p>"
    )
    if len(tables) == 1:
        return rules
    return rules + (
        f'<p class="note">These runs fall into {len(tables)} tables, because they differ in {differences(tables)}. '
        "Scores of different tables cannot be compared.</p>"
    )


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


def _table_section(number: int, table: Table, matrix: bool, pairs: tuple) -> str:
    """Returns the section on one table, with the published confusion matrix of its classes if `matrix` is true."""
    fields, split = table.fields, table.fields["split"]
    classes = ", ".join(_named(name, table) for name in table.names)
    ignored = ", ".join(map(str, fields["ignored_ids"])) or "none"
    pixels = f"{fields['pixels']:,} scored pixels"
    if fields.get("ignored_pixels") is not None:
        pixels += f", {fields['ignored_pixels']:,} ignored"
    records = f"{fields['records']:,} records, " if fields.get("records") is not None else ""
    count = "1 run" if len(table.evaluations) == 1 else f"{len(table.evaluations)} runs"
    return f"""<section id="table-{number}">
<h2>Table {number}: {markup.text(table.title)}</h2>
<p>{count} scored on <code>{markup.text(split.get("spec", "?"))}</code> of {markup.text(fields["dataset"])}
(split id <code>{markup.text(split.get("id", "?"))}</code>): {records}{pixels}. {len(table.names)} classes: {classes}.
Ignored label ids: {ignored}.</p>
{_score_table(table)}
{"".join(f'<p class="note">{markup.text(note)}</p>' for note in table.notes())}
{difference_section.section(table, *pairs)}
{place_section.section(table)}
{_samples(table)}
{_boundaries(table)}
{_iou_table(table)}
{calibration_section.section(table)}
{further_section.section(table)}
{_distribution(table)}
<h3>Each run by class</h3>
<p class="soft">Acc is the class accuracy, which is the recall: the share of a class's true pixels that are found.
Confusion matrices are in percent of each row of truth.</p>
{"".join(_run_details(e, table) for e in table.evaluations)}
{_published_confusion() if matrix else ""}
</section>
"""


def _score_table(table: Table) -> str:
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
        badge = ' <span class="badge">baseline</span>' if e.baseline else ""
        badge += f' <span class="badge">{row.seeds} seeds</span>' if row.seeds > 1 else ""
        cells = [f'<th scope="row">{markup.text(row.name)}{badge}</th>']
        cells += [f"<td>{markup.text(e.fields.get(key) or '–')}</td>" for key in table.settings]
        cells += [_score_cell(row.mean(key), table.best(key), spread=row.spread(key)) for key in MEANS]
        cells.append(f"<td>{markup.text(checkpoint(*row.evaluations))}</td>")
        if known:
            count = e.fields.get("parameters")
            cells.append(f'<td class="n">{f"{count:,}" if count else "–"}</td>')
        rows.append((cells, "baseline" if e.baseline else ""))
    head += [markup.heading("parameters", "n")] if known else []
    spreads = f'<p class="soft">{markup.text(" ".join(table.spreads()))}</p>' if table.spreads() else ""
    return markup.table("scores", "Sorted by mIoU; the best of each column is in bold.", head, rows) + spreads


def _iou_table(table: Table) -> str:
    head = [markup.heading("run")] + [f'<th scope="col" class="n">{_named(name, table)}</th>' for name in table.names]
    rows = []
    for row in table.rows:
        keys = [f"IoU/{name}" for name in table.names]
        cells = [f'<th scope="row">{markup.text(row.name)}</th>']
        cells += [_score_cell(row.mean(key), table.best(key), row.spread(key), shaded=True) for key in keys]
        rows.append((cells, "baseline" if row.first.baseline else ""))
    return "<h3>IoU by class</h3>" + markup.table("iou", "Darker is higher; a dash marks an absent class.", head, rows)


def _run_details(e: Evaluation, table: Table) -> str:
    counts = np.asarray(e.fields["confusion"], np.int64)
    # On another data set a pixel may be taken for a class that this does not have.
    other = e.fields.get("predicted_other")
    truth = counts.sum(axis=1) + (0 if other is None else np.asarray(other))
    head = [markup.heading("class"), *(markup.heading(key, "n") for key in (*PER_CLASS, "true pixels", "predicted"))]
    rows = []
    for index, name in enumerate(table.names):
        cells = [f'<th scope="row">{_named(name, table)}</th>']
        cells += [_score_cell(e.score(f"{key}/{name}"), None) for key in PER_CLASS]
        cells += [f'<td class="n">{truth[index]:,}</td>', f'<td class="n">{counts[:, index].sum():,}</td>']
        rows.append((cells, ""))
    settings = ", ".join(str(e.fields[key]) for key in ("model", "fusion") if e.fields.get(key))
    caption = f"{e.run}: {settings}; checkpoint {checkpoint(e)}"
    picture = markup.figure(
        figures.confusion(counts, table.names, e.run, other),
        f"Confusion matrix of {e.run} in percent of each row of truth",
    )
    return f'<div class="run">{markup.table("classes", caption, head, rows)}{picture}</div>'


def _published_confusion() -> str:
    known = published().confusion
    drawn = figures.published_confusion(np.array(known.matrix), known.names, known.title)
    return "<h4>Published, for comparison</h4>" + markup.figure(drawn, known.title, f"Source: {known.source}.")


def _samples(table: Table) -> str:
    """Shows image, truth and predictions of the first records that every run kept."""
    having = [e for e in table.evaluations if e.samples]
    if not having:
        return ""
    shared, picked = _shared(having)
    lacking = [e.run for e in table.evaluations if not e.samples]
    if not shared:
        return '<p class="note">No sample pictures: the runs kept no record in common.</p>'
    first = having[0].samples
    predictions = {e.run: e.samples["prediction"][rows] for e, rows in zip(having, picked, strict=True)}
    image, truth = (first[name][picked[0]] for name in ("image", "truth"))
    drawn = [figures.samples(shared, image, labels, _classes(table)) for labels in _columns(truth, predictions)]
    caption = "The same records for every run, best run first."
    if lacking:
        caption += f" No pictures were kept by {markup.listed(lacking)}."
    return "<h3>Image, truth and predictions</h3>" + _pictures(drawn, "Image, truth and predictions", caption)


def _columns(truth: np.ndarray, predictions: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """Groups labels into pictures that fit the page: the truth and a few runs each."""
    groups = np.array_split(list(predictions), -(-len(predictions) // COLUMNS))
    return [{"truth": truth} | {run: predictions[run] for run in group.tolist()} for group in groups]


def _pictures(drawn: Sequence[bytes], title: str, caption: str) -> str:
    """Returns pictures below each other, the last with the caption of all."""
    captions = [*[""] * (len(drawn) - 1), caption]
    return "".join(markup.figure(one, title, text, wide=True) for one, text in zip(drawn, captions, strict=True))


def _shared(having: Sequence[Evaluation]) -> tuple[list[str], list[list[int]]]:
    """Returns the first records that every run kept, and their rows in the samples of each run."""
    where = [{str(name): row for row, name in enumerate(e.samples["ids"])} for e in having]
    shared = [name for name in where[0] if all(name in rows for rows in where)][:SAMPLE_ROWS]
    return shared, [[rows[name] for name in shared] for rows in where]


def _boundaries(table: Table) -> str:
    """Shows how smooth the masks are: how often neighbours differ, and the place where most do, enlarged."""
    measured = [(e, e.boundaries) for e in table.evaluations if e.boundaries]
    if not measured:
        return ""
    head = [markup.heading("run")]
    head += [markup.heading(words, "n") for words in ("edges, truth", "edges, prediction", "ratio", "tiles")]
    rows = []
    for e, density in measured:
        cells = [_score_cell(value, None) for value in (density.truth, density.prediction, density.ratio)]
        count = f'<td class="n">{len(e.samples["ids"])}</td>'
        rows.append(([f'<th scope="row">{markup.text(e.run)}</th>', *cells, count], ""))
    caption = (
        "Edges: of all neighbouring pairs of scored pixels in the sample tiles, the share whose class differs. A ratio "
        "below 1 is a mask smoother than the truth."
    )
    return "<h3>Smooth or rough masks</h3>" + markup.table("edges", caption, head, rows) + _enlarged(measured, table)


def _enlarged(measured: Sequence[tuple[Evaluation, boundary_density.BoundaryDensity]], table: Table) -> str:
    having = [e for e, _ in measured]
    shared, picked = _shared(having)
    if not shared:
        return ""
    first = having[0].samples
    truth = first["truth"][picked[0]]
    record, rows, columns = boundary_density.densest_square(truth, table.fields["class_ids"])
    place = (slice(record, record + 1), rows, columns)
    predictions = {e.run: e.samples["prediction"][chosen][place] for e, chosen in zip(having, picked, strict=True)}
    image = first["image"][picked[0]][place]
    drawn = [
        figures.samples([shared[record]], image, labels, _classes(table), side=2.4)
        for labels in _columns(truth[place], predictions)
    ]
    size = f"{rows.stop - rows.start} x {columns.stop - columns.start} pixels"
    caption = f"Enlarged, without smoothing: the {size} of {shared[record]} where most classes meet."
    return _pictures(drawn, "Truth and predictions enlarged", caption)


def _distribution(table: Table) -> str:
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
    return "<h3>Class distribution by split</h3>" + "".join(pictures) if pictures else ""


def _classes(table: Table) -> list[tuple[int, str, str]]:
    """Returns (id, name, colour) of the classes, with colours of our own where no legend is known."""
    if table.legend is None:
        colours = figures.LINE_COLOURS
        pairs = enumerate(zip(table.fields["class_ids"], table.names, strict=True))
        return [(number, name, colours[i % len(colours)]) for i, (number, name) in pairs]
    unscored = set(table.fields["ignored_ids"])
    return [
        (c.id, c.name + (" (not scored)" if c.id in unscored else ""), c.colour)
        for c in sorted(table.legend.classes, key=lambda c: c.id)
    ]


def _score_cell(value: float | None, best: float | None, spread: str = "", shaded: bool = False) -> str:
    text = number_text(value)
    if value is None:
        return f'<td class="n">{text}</td>'
    if value == best:
        text = f"<b>{text}</b>"
    if spread:
        text += f'<span class="spread">{markup.text(spread)}</span>'
    if shaded:
        return f'<td class="n shade" style="background:rgba(0,114,178,{0.4 * max(value, 0):.3f})">{text}</td>'
    return f'<td class="n">{text}</td>'


def _named(name: str, table: Table) -> str:
    """Returns a class name with a swatch of its colour."""
    return markup.swatch(name, table.colours.get(name))
