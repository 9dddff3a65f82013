"""The section of a report's page on maps: preview, origin and areas of each, and maps of one legend compared."""

from collections.abc import Sequence

from markupsafe import Markup

from lcjax.mapping import areas
from lcjax.reporting import markup
from lcjax.reporting.map_reader import ClassArea, LandCoverMap
from lcjax.reporting.markup import Cell


def section(maps: Sequence[LandCoverMap]) -> Markup:
    """Returns the section on these maps; nothing where there are none."""
    if not maps:
        return Markup()
    groups: dict[tuple, list[LandCoverMap]] = {}
    for land_map in maps:
        groups.setdefault(land_map.legend, []).append(land_map)
    compared = [_comparison(group) for group in groups.values() if len(group) > 1]
    return markup.section("maps", "Maps", markup.render("maps_about.html"), *compared, *map(_map, maps))


def _map(land_map: LandCoverMap) -> Markup:
    """Returns the preview of a map and the table of its classes."""
    decimals = _decimals([row.hectares for row in land_map.rows])
    most = max((row.percent or 0 for row in land_map.rows), default=0) or 1
    rows = [(_cells(row, decimals, most), "") for row in land_map.rows]
    pixels, hectares = sum(row.pixels for row in land_map.rows), _total([row.hectares for row in land_map.rows])
    total = [markup.row_heading("mapped"), markup.number(f"{pixels:,}"), markup.number("100.0"), *markup.empty()]
    rows.append(([*total, markup.number(_number(hectares, decimals))], "total"))
    if land_map.empty:
        rows.append(([markup.row_heading("no data"), markup.number(f"{land_map.empty:,}"), *markup.empty(3)], "aside"))
    head = [markup.heading("class"), markup.heading("pixels", "n"), markup.heading("percent", "n"), *markup.empty()]
    head.append(markup.heading("hectares", "n"))
    picture = (
        markup.figure(land_map.picture, f"The scene and the map {land_map.name}")
        if land_map.picture
        else markup.paragraph(f"No picture: {land_map.path.with_suffix('.png').name} is not there.", "soft")
    )
    return markup.titled(
        land_map.name,
        markup.render("map_about.html", origin=land_map.origin, path=land_map.path),
        picture,
        markup.table("areas", f"Classes of {land_map.name}", head, rows),
    )


def _cells(row: ClassArea, decimals: int, most: float) -> list[Cell]:
    bar = (row.percent or 0) / most if row.pixels else None
    return [
        markup.row_heading(row.name, colour=row.colour),
        markup.number(f"{row.pixels:,}"),
        markup.number(_number(row.percent, 1)),
        Cell(marks="bar", colour=row.colour if row.pixels else "", bar=bar),
        markup.number(_number(row.hectares, decimals)),
    ]


def _comparison(maps: Sequence[LandCoverMap]) -> Markup:
    """Compares maps of one legend: hectares, or percent where a map has no hectares."""
    unit = "hectares" if all(row.hectares is not None for land_map in maps for row in land_map.rows) else "percent"
    values = [[getattr(row, unit) for row in land_map.rows] for land_map in maps]
    decimals = _decimals([value for column in values for value in column]) if unit == "hectares" else 1
    head = [markup.heading("class"), *(markup.heading(land_map.name, "n") for land_map in maps)]
    rows = []
    for row, across in zip(maps[0].rows, zip(*values, strict=True), strict=True):
        cells = [markup.number(_number(value, decimals)) for value in across]
        rows.append(([markup.row_heading(row.name, colour=row.colour), *cells], ""))
    if unit == "hectares":
        sums = [markup.number(_number(_total(column), decimals)) for column in values]
        rows.append(([markup.row_heading("mapped"), *sums], "total"))
    return markup.titled("Side by side", markup.table("compared", f"{unit.capitalize()} of each class.", head, rows))


def _number(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:,.{decimals}f}"


def _total(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _decimals(hectares: Sequence[float | None]) -> int:
    """Returns how many decimals hectares that add up are shown with."""
    return areas.decimals(_total(hectares) or 0)
