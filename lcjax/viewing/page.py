"""The page of a map, and what its scripts need to know of it."""

from typing import Any

from lcjax.ops.reliability import PROBABILITY_SCALE
from lcjax.reporting import markup
from lcjax.viewing.ground import TILE, Ground


def html(ground: Ground) -> str:
    """Returns the page; it asks the server that it came from for tiles and values, and nobody else."""
    title = ground.path.name
    return markup.document(
        title,
        markup.paragraph(_about(ground), "soft"),
        markup.embedded("map", description(ground), title),
        markup.render("view_footer.html"),
        [markup.asset(name) for name in ("viewer.js", "map.js")],
        asks=True,
    )


def _about(ground: Ground) -> str:
    place = "lies nowhere"
    if ground.crs is not None:
        place = ":".join(ground.crs.to_authority() or ("CRS of its own",))
    return f"{ground.width:,} x {ground.height:,} pixels, {place}"


def description(ground: Ground) -> dict[str, Any]:
    """Returns what map.js reads."""
    classes = [
        {"id": one.value, "name": one.name, "colour": one.colour, "note": ground.areas.get(one.value, "")}
        for one in ground.legend.scored
    ]
    known = {one.value for one in ground.legend.scored}
    classes += [
        {"id": one.value, "name": f"{one.name} (not scored)", "colour": one.colour, "note": ""}
        for one in ground.legend.classes
        if one.value not in known and "truth" in ground.layers
    ]
    if ground.strange != ground.legend.nodata:
        classes.append({"id": ground.strange, "name": "not in the legend", "colour": "#ff00ff", "note": ""})
    return {
        "height": ground.height,
        "width": ground.width,
        "levels": ground.levels,
        "tile": TILE,
        "layers": {name: layer.kind for name, layer in ground.layers.items()},
        "classes": classes,
        "nodata": ground.legend.nodata,
        "scale": PROBABILITY_SCALE,
        "file": f"{ground.path.stem}.png",
    }
