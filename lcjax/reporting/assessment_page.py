"""The page of an assessment: accuracy of a map and areas of its classes, with 95 % intervals."""

from collections.abc import Sequence

from lcjax.assessment.assess import CLASSES, MATRIX, RESULT, Assessment, class_rows
from lcjax.assessment.estimators import Estimate
from lcjax.plotting import intervals
from lcjax.reporting import markup

_HOW = """<p>From each stratum a simple random sample of pixels was drawn and labelled by people who were not told what
the map says. Every point counts with the share of the area that it stands for, so the figures are of the whole map, not
of the points. Areas are on the ground (WGS84). Intervals are value ± 1.96 standard errors, cut where a share would be
below 0 or above 1.</p>
<p class="soft">Olofsson, Foody, Herold, Stehman, Woodcock &amp; Wulder (2014), Good practices for estimating area and
assessing accuracy of land change, Remote Sensing of Environment 148, doi:10.1016/j.rse.2014.02.015. Stehman (2014),
Estimating area and map accuracy for stratified random sampling when the strata are different from the map classes,
International Journal of Remote Sensing 35, doi:10.1080/01431161.2014.930207.</p>"""


def html(found: Assessment) -> str:
    """Returns the page; the same assessment gives the same text."""
    overall, drawn = found.accuracy.overall, found.design
    name = drawn.map.path.replace("\\", "/").rpartition("/")[2]
    low, high = (f"{100 * one:.1f}" for one in overall.interval)
    header = [
        f"<p><b>Overall accuracy {100 * overall.value:.1f} %</b> of the area ({low} to {high} %), by "
        f"{len(found.labels.classes):,} labelled points in {len(drawn.strata)} strata.</p>"
    ]
    if found.unlabelled:
        worst, best = found.unlabelled
        header.append(
            f"<p>If the map were wrong at all {len(found.labels.cannot_say):,} points where people could not say, it "
            f"would be {100 * worst:.1f} %, if right at all of them {100 * best:.1f} %.</p>"
        )
    header += [f'<p class="note">{markup.text(note)}</p>' for note in found.notes]
    sections = [_areas(found), _accuracies(found), _matrix(found), _strata(found), f"<h2>How</h2>{_HOW}"]
    files = f"<code>{RESULT}</code>: all figures; <code>{CLASSES}</code>, <code>{MATRIX}</code>: the tables."
    return markup.document(
        f"Accuracy and areas of {name}",
        "\n".join(header),
        "\n".join(sections),
        f"Made by <code>lcjax assess</code>. Beside this page: {files}",
    )


def _areas(found: Assessment) -> str:
    """Returns the section on areas: what the map counts, and what is estimated."""
    unit, area, rows = found.design.unit, found.design.area, class_rows(found)
    decimals = markup.area_decimals(area)
    mapped, estimated = f"mapped_{unit}", f"estimated_{unit}"
    bars = [
        intervals.Bar(one.name, one.colour, row[mapped], row[estimated], row["estimated_low"], row["estimated_high"])
        for one, row in zip(found.design.classes, rows, strict=True)
    ]
    picture = markup.figure(intervals.areas(bars, unit), "Areas of the classes: mapped, and estimated with intervals")
    head = [markup.heading("class"), *(markup.heading(text, "n") for text in (f"mapped {unit}", f"estimated {unit}"))]
    head += [markup.heading("95 % interval", "n"), markup.heading("±", "n"), markup.heading("% of the area", "n")]
    cells = []
    for one, row, share in zip(found.design.classes, rows, found.accuracy.areas, strict=True):
        low, high = row["estimated_low"], row["estimated_high"]
        inside = low <= row[mapped] <= high
        cells.append(
            (
                [
                    f'<th scope="row">{markup.swatch(one.name, one.colour)}</th>',
                    markup.number(f"{row[mapped]:,.{decimals}f}" + ("" if inside else " *")),
                    markup.number(f"<b>{row[estimated]:,.{decimals}f}</b>"),
                    markup.number(f"{low:,.{decimals}f} – {high:,.{decimals}f}"),
                    markup.number(f"{area * share.half_width:,.{decimals}f}"),
                    markup.number(f"{100 * share.value:.2f} ± {100 * share.half_width:.2f}"),
                ],
                "",
            )
        )
    total = ['<th scope="row">all</th>', *[markup.number(f"{area:,.{decimals}f}")] * 2, *["<td></td>"] * 3]
    cells.append((total, "total"))
    note = "* counted in the map, outside of what the sample says" if any("*" in row[0][1] for row in cells) else ""
    return f"""<section id="areas"><h2>Areas</h2>
{picture}
{markup.table("areas", "Counting pixels of a map adds up its errors; the estimate does not.", head, cells)}
<p class="soft">{note}</p></section>"""


def _accuracies(found: Assessment) -> str:
    """Returns the section on user's and producer's accuracy."""
    head = [markup.heading("class"), markup.heading("points mapped", "n"), markup.heading("points seen", "n")]
    head += [markup.heading("user's accuracy", "n"), markup.heading("producer's accuracy", "n")]
    counts = found.accuracy.counts
    rows = [
        (
            [
                f'<th scope="row">{markup.swatch(one.name, one.colour)}</th>',
                markup.number(f"{counts[at].sum():,}"),
                markup.number(f"{counts[:, at].sum():,}"),
                markup.number(_percent(found.accuracy.users[at])),
                markup.number(_percent(found.accuracy.producers[at])),
            ],
            "",
        )
        for at, one in enumerate(found.design.classes)
    ]
    overall = ['<th scope="row">overall</th>', *[markup.number(f"{counts.sum():,}")] * 2]
    rows.append(([*overall, f'<td class="n" colspan="2">{_percent(found.accuracy.overall)}</td>'], "total"))
    return f"""<section id="accuracy"><h2>Accuracy</h2>
<p>User's accuracy: of what is mapped as a class, the share that is it. Producer's accuracy: of what is a class, the
share that is mapped as it. In percent of the area ± half of the 95 % interval; a dash where no point tells.</p>
{markup.table("accuracy", "Accuracy by class.", head, rows)}</section>"""


def _matrix(found: Assessment) -> str:
    """Returns the section on the error matrix, in percent of the area and in points."""
    names = [one.name for one in found.design.classes]
    shares = [[f"{100 * cell:.2f}" if cell else "–" for cell in row] for row in found.accuracy.matrix.tolist()]
    sums = [f"{100 * one:.2f}" for one in found.accuracy.matrix.sum(1)]
    below = [f"{100 * one:.2f}" for one in found.accuracy.matrix.sum(0)]
    counts = [[f"{cell:,}" if cell else "–" for cell in row] for row in found.accuracy.counts.tolist()]
    totals, across = ([f"{one:,}" for one in found.accuracy.counts.sum(axis)] for axis in (1, 0))
    return f"""<section id="matrix"><h2>Error matrix</h2>
<p>Rows are what the map says, columns what people saw.</p>
{_square("In percent of the area.", names, shares, sums, [*below, "100.00"])}
{_square("In points.", names, counts, totals, [*across, f"{found.accuracy.counts.sum():,}"])}</section>"""


def _square(
    caption: str, names: Sequence[str], cells: Sequence[Sequence[str]], sums: Sequence[str], below: Sequence[str]
) -> str:
    head = [markup.heading("map \\ seen"), *(markup.heading(name, "n") for name in names), markup.heading("sum", "n")]
    rows = [
        (
            [
                f'<th scope="row">{markup.text(name)}</th>',
                *(markup.number(f"<b>{text}</b>" if at == place else text) for place, text in enumerate(row)),
                markup.number(total),
            ],
            "",
        )
        for at, (name, row, total) in enumerate(zip(names, cells, sums, strict=True))
    ]
    rows.append((['<th scope="row">sum</th>', *map(markup.number, below)], "total"))
    return markup.table("matrix", caption, head, rows)


def _strata(found: Assessment) -> str:
    """Returns the section on the sample."""
    drawn = found.design
    strata_of = {point.point: point.stratum for point in drawn.points}
    of_strata = [strata_of[point] for point in found.labels.classes]
    head = [markup.heading("stratum"), markup.heading("pixels", "n"), markup.heading(drawn.unit, "n")]
    head += [markup.heading("points", "n"), markup.heading("labelled", "n")]
    rows = [
        (
            [
                f'<th scope="row">{markup.text(one.name)}</th>',
                markup.number(f"{one.pixels:,}"),
                markup.number(f"{one.area:,.1f}"),
                markup.number(f"{one.points:,}"),
                markup.number(f"{of_strata.count(one.value):,}"),
            ],
            "",
        )
        for one in drawn.strata
    ]
    by = "the classes of the map" if not drawn.strata_path else f"of <code>{markup.text(drawn.strata_path)}</code>"
    return f"""<section id="sample"><h2>Sample</h2>
<p>{len(drawn.points):,} points, seed {markup.text(drawn.asked.get("seed"))}; strata are {by}. Map:
<code>{markup.text(drawn.map.path)}</code>, {drawn.map.width:,} x {drawn.map.height:,} pixels, fingerprint
<code>{markup.text(drawn.map.fingerprint[:16])}</code>. Labels: <code>{markup.text(found.source)}</code>.</p>
{markup.table("strata", "Strata of the sample.", head, rows)}</section>"""


def _percent(one: Estimate | None) -> str:
    return f"{100 * one.value:.1f} ± {100 * one.half_width:.1f}" if one else "–"
