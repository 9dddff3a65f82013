"""The section of a report's page on maps: preview, origin and areas of each, and maps of one legend compared."""

from collections.abc import Sequence

from lcjax.reporting import markup
from lcjax.reporting.map_reader import ClassArea, LandCoverMap


def section(maps: Sequence[LandCoverMap]) -> str:
    """Returns the section on these maps, or "" where there are none."""
    if not maps:
        return ""
    groups: dict[tuple, list[LandCoverMap]] = {}
    for land_map in maps:
        groups.setdefault(land_map.legend, []).append(land_map)
    compared = "".join(_comparison(group) for group in groups.values() if len(group) > 1)
    return f"""<section id="maps">
<h2>Maps</h2>
<p>Percent are of the pixels that are mapped. Hectares are true areas on the ground, on the WGS84 ellipsoid, whatever
the projection of the map does to them; the areas in its plane stand in <code>areas.csv</code> as
<code>hectares_grid</code>. No number here says how often a map is right: for that there are the scores of its run.</p>
{compared}
{"".join(_map(land_map) for land_map in maps)}
</section>"""


def _map(land_map: LandCoverMap) -> str:
    """Returns the preview of a map and the table of its classes."""
    decimals = _decimals([row.hectares for row in land_map.rows])
    most = max((row.percent or 0 for row in land_map.rows), default=0) or 1
    rows = [(_cells(row, decimals, most), "") for row in land_map.rows]
    pixels, hectares = sum(row.pixels for row in land_map.rows), _total([row.hectares for row in land_map.rows])
    total = [_name("mapped"), markup.number(f"{pixels:,}"), markup.number("100.0"), "<td></td>"]
    total.append(markup.number(_number(hectares, decimals)))
    rows.append((total, "total"))
    if land_map.empty:
        rows.append(([_name("no data"), markup.number(f"{land_map.empty:,}"), "<td></td>" * 3], "aside"))
    head = [markup.heading("class"), markup.heading("pixels", "n"), markup.heading("percent", "n"), "<td></td>"]
    head.append(markup.heading("hectares", "n"))
    picture = (
        markup.figure(land_map.picture, f"The scene and the map {land_map.name}")
        if land_map.picture
        else f'<p class="soft">No picture: {markup.text(land_map.path.with_suffix(".png").name)} is not there.</p>'
    )
    return f"""<h3>{markup.text(land_map.name)}</h3>
<p class="soft">{markup.text("; ".join(land_map.origin))}. <code>{markup.text(land_map.path)}</code></p>
{picture}
{markup.table("areas", f"Classes of {land_map.name}", head, rows)}
"""


def _cells(row: ClassArea, decimals: int, most: float) -> list[str]:
    bar = f'<span style="width:{100 * (row.percent or 0) / most:.1f}%;background:{markup.text(row.colour)}"></span>'
    return [
        f'<th scope="row">{markup.swatch(row.name, row.colour)}</th>',
        markup.number(f"{row.pixels:,}"),
        markup.number(_number(row.percent, 1)),
        f'<td class="bar">{bar if row.pixels else ""}</td>',
        markup.number(_number(row.hectares, decimals)),
    ]


def _comparison(maps: Sequence[LandCoverMap]) -> str:
    """Compares maps of one legend: hectares, or percent where a map has no hectares."""
    unit = "hectares" if all(row.hectares is not None for land_map in maps for row in land_map.rows) else "percent"
    values = [[getattr(row, unit) for row in land_map.rows] for land_map in maps]
    decimals = _decimals([value for column in values for value in column]) if unit == "hectares" else 1
    head = [markup.heading("class"), *(markup.heading(land_map.name, "n") for land_map in maps)]
    rows = []
    for row, across in zip(maps[0].rows, zip(*values, strict=True), strict=True):
        name = f'<th scope="row">{markup.swatch(row.name, row.colour)}</th>'
        rows.append(([name, *(markup.number(_number(value, decimals)) for value in across)], ""))
    if unit == "hectares":
        sums = [markup.number(_number(_total(column), decimals)) for column in values]
        rows.append(([_name("mapped"), *sums], "total"))
    return "<h3>Side by side</h3>" + markup.table("compared", f"{unit.capitalize()} of each class.", head, rows)


def _name(words: str) -> str:
    return f'<th scope="row">{markup.text(words)}</th>'


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _decimals(hectares: Sequence[float | None]) -> int:
    """Returns how many decimals hectares that add up are shown with."""
    return markup.area_decimals(_total(hectares) or 0)
