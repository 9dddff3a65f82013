"""The page of an assessment: accuracy of a map and areas of its classes, with 95 % intervals."""

from collections.abc import Sequence

from markupsafe import Markup

from lcjax.assessment.assess import CLASSES, MATRIX, RESULT, Assessment, class_rows
from lcjax.assessment.estimators import Estimate
from lcjax.mapping import areas
from lcjax.plotting import intervals
from lcjax.reporting import markup


def html(found: Assessment) -> str:
    """Returns the page; the same assessment gives the same text."""
    overall, drawn = found.accuracy.overall, found.design
    name = drawn.map.path.replace("\\", "/").rpartition("/")[2]
    low, high = (f"{100 * one:.1f}" for one in overall.interval)
    unlabelled = found.unlabelled and (
        f"{len(found.labels.cannot_say):,}",
        *(f"{100 * one:.1f}" for one in found.unlabelled),
    )
    header = markup.render(
        "assessment_header.html",
        overall=f"{100 * overall.value:.1f}",
        low=low,
        high=high,
        points=f"{len(found.labels.classes):,}",
        strata=len(drawn.strata),
        unlabelled=unlabelled,
        notes=found.notes,
    )
    how = markup.titled("How", markup.render("assessment_how.html"), level=2)
    sections = [_areas(found), _accuracies(found), _matrix(found), _strata(found), how]
    return markup.document(
        f"Accuracy and areas of {name}",
        header,
        markup.joined(sections),
        markup.render("assessment_footer.html", result=RESULT, classes=CLASSES, matrix=MATRIX),
    )


def _areas(found: Assessment) -> Markup:
    """Returns the section on areas: what the map counts, and what is estimated."""
    unit, area, rows = found.design.unit, found.design.area, class_rows(found)
    decimals = areas.decimals(area)
    mapped, estimated = f"mapped_{unit}", f"estimated_{unit}"
    bars = [
        intervals.Bar(one.name, one.colour, row[mapped], row[estimated], row["estimated_low"], row["estimated_high"])
        for one, row in zip(found.design.classes, rows, strict=True)
    ]
    picture = markup.figure(intervals.areas(bars, unit), "Areas of the classes: mapped, and estimated with intervals")
    head = [markup.heading("class"), *(markup.heading(text, "n") for text in (f"mapped {unit}", f"estimated {unit}"))]
    head += [markup.heading("95 % interval", "n"), markup.heading("±", "n"), markup.heading("% of the area", "n")]
    cells, apart = [], False
    for one, row, share in zip(found.design.classes, rows, found.accuracy.areas, strict=True):
        low, high = row["estimated_low"], row["estimated_high"]
        outside = not low <= row[mapped] <= high
        apart |= outside
        cells.append(
            (
                [
                    markup.row_heading(one.name, colour=one.colour),
                    markup.number(f"{row[mapped]:,.{decimals}f}" + " *" * outside),
                    markup.number(f"{row[estimated]:,.{decimals}f}", bold=True),
                    markup.number(f"{low:,.{decimals}f} – {high:,.{decimals}f}"),
                    markup.number(f"{area * share.half_width:,.{decimals}f}"),
                    markup.number(f"{100 * share.value:.2f} ± {100 * share.half_width:.2f}"),
                ],
                "",
            )
        )
    total = [markup.row_heading("all"), *[markup.number(f"{area:,.{decimals}f}")] * 2, *markup.empty(3)]
    cells.append((total, "total"))
    note = [markup.paragraph("* counted in the map, outside of what the sample says", "soft")] if apart else []
    caption = "Counting pixels of a map adds up its errors; the estimate does not."
    return markup.section("areas", "Areas", picture, markup.table("areas", caption, head, cells), *note)


def _accuracies(found: Assessment) -> Markup:
    """Returns the section on user's and producer's accuracy."""
    head = [markup.heading("class"), markup.heading("points mapped", "n"), markup.heading("points seen", "n")]
    head += [markup.heading("user's accuracy", "n"), markup.heading("producer's accuracy", "n")]
    counts = found.accuracy.counts
    rows = [
        (
            [
                markup.row_heading(one.name, colour=one.colour),
                markup.number(f"{counts[at].sum():,}"),
                markup.number(f"{counts[:, at].sum():,}"),
                markup.number(_percent(found.accuracy.users[at])),
                markup.number(_percent(found.accuracy.producers[at])),
            ],
            "",
        )
        for at, one in enumerate(found.design.classes)
    ]
    overall = [markup.row_heading("overall"), *[markup.number(f"{counts.sum():,}")] * 2]
    rows.append(([*overall, markup.number(_percent(found.accuracy.overall), span=2)], "total"))
    words = markup.paragraph(
        "User's accuracy: of what is mapped as a class, the share that is it. Producer's accuracy: of what is a class, "
        "the share that is mapped as it. In percent of the area ± half of the 95 % interval; a dash where no point "
        "tells."
    )
    return markup.section("accuracy", "Accuracy", words, markup.table("accuracy", "Accuracy by class.", head, rows))


def _matrix(found: Assessment) -> Markup:
    """Returns the section on the error matrix, in percent of the area and in points."""
    names = [one.name for one in found.design.classes]
    shares = [[f"{100 * cell:.2f}" if cell else "–" for cell in row] for row in found.accuracy.matrix.tolist()]
    sums = [f"{100 * one:.2f}" for one in found.accuracy.matrix.sum(1)]
    below = [f"{100 * one:.2f}" for one in found.accuracy.matrix.sum(0)]
    counts = [[f"{cell:,}" if cell else "–" for cell in row] for row in found.accuracy.counts.tolist()]
    totals, across = ([f"{one:,}" for one in found.accuracy.counts.sum(axis)] for axis in (1, 0))
    return markup.section(
        "matrix",
        "Error matrix",
        markup.paragraph("Rows are what the map says, columns what people saw."),
        _square("In percent of the area.", names, shares, sums, [*below, "100.00"]),
        _square("In points.", names, counts, totals, [*across, f"{found.accuracy.counts.sum():,}"]),
    )


def _square(
    caption: str, names: Sequence[str], cells: Sequence[Sequence[str]], sums: Sequence[str], below: Sequence[str]
) -> Markup:
    head = [markup.heading("map \\ seen"), *(markup.heading(name, "n") for name in names), markup.heading("sum", "n")]
    rows = [
        (
            [
                markup.row_heading(name),
                *(markup.number(text, bold=at == place) for place, text in enumerate(row)),
                markup.number(total),
            ],
            "",
        )
        for at, (name, row, total) in enumerate(zip(names, cells, sums, strict=True))
    ]
    rows.append(([markup.row_heading("sum"), *map(markup.number, below)], "total"))
    return markup.table("matrix", caption, head, rows)


def _strata(found: Assessment) -> Markup:
    """Returns the section on the sample."""
    drawn = found.design
    strata_of = {point.point: point.stratum for point in drawn.points}
    of_strata = [strata_of[point] for point in found.labels.classes]
    head = [markup.heading("stratum"), markup.heading("pixels", "n"), markup.heading(drawn.unit, "n")]
    head += [markup.heading("points", "n"), markup.heading("labelled", "n")]
    rows = [
        (
            [
                markup.row_heading(one.name),
                markup.number(f"{one.pixels:,}"),
                markup.number(f"{one.area:,.1f}"),
                markup.number(f"{one.points:,}"),
                markup.number(f"{of_strata.count(one.value):,}"),
            ],
            "",
        )
        for one in drawn.strata
    ]
    about = markup.render(
        "assessment_sample.html",
        points=f"{len(drawn.points):,}",
        seed=drawn.asked.get("seed"),
        strata_path=drawn.strata_path,
        map=drawn.map,
        size=f"{drawn.map.width:,} x {drawn.map.height:,}",
        source=found.source,
    )
    return markup.section("sample", "Sample", about, markup.table("strata", "Strata of the sample.", head, rows))


def _percent(one: Estimate | None) -> str:
    return f"{100 * one.value:.1f} ± {100 * one.half_width:.1f}" if one else "–"
