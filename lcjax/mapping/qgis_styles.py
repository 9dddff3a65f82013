"""Styles that QGIS loads with a raster of the same name, and class names for GDAL."""

import colorsys
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from xml.sax import saxutils

from data_pipelines.schema import limits
from data_pipelines.schema.legends import Legend

DOMAIN, STAMP = "LCJAX", "SCENE_FILES"
# Name, type and usage of the columns, by the numbers of GDAL (GDALRATFieldType: 0 integer, 1 real, 2 text;
# GDALRATFieldUsage: 1 count of pixels, 2 name, 5 value, 6 to 9 red, green, blue, alpha). Counts may pass 31 bits.
_COLUMNS = (
    ("Value", 0, 5),
    ("Count", 1, 1),
    ("Class", 2, 2),
    ("Red", 0, 6),
    ("Green", 0, 7),
    ("Blue", 0, 8),
    ("Alpha", 0, 9),
)
_GOLDEN = 0.618034  # steps of this part of the circle put each hue far from those before
_EMPTY_SET = "#d7191c"  # red: none of the classes is likely enough
# Viridis (Smith & van der Walt 2015) at five even steps: its lightness rises evenly, for any colour vision.
_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")


def class_qml(legend: Legend) -> str:
    """Returns the QML of a map of class ids: colours and names of the scored classes."""
    return _palette_qml((c.value, c.name, c.colour) for c in legend.scored)


def polygon_qml(legend: Legend, column: str) -> str:
    """Returns the QML of a layer of polygons that are drawn in the colours of the classes that a column holds."""
    categories, symbols = [], []
    for number, c in enumerate(legend.scored):
        label = saxutils.quoteattr(c.name)
        categories.append(f'   <category value="{c.value}" label={label} symbol="{number}" render="true" type="long"/>')
        colour = ",".join(str(part) for part in bytes.fromhex(c.colour[1:])) + ",255"
        symbols.append(
            f'   <symbol name="{number}" type="fill" alpha="1" clip_to_extent="1" force_rhr="0">'
            '<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">'
            f'<Option name="color" type="QString" value="{colour}"/>'
            '<Option name="style" type="QString" value="solid"/>'
            '<Option name="outline_style" type="QString" value="no"/></Option></layer></symbol>'
        )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
 <renderer-v2 type="categorizedSymbol" attr="{column}" forceraster="0" symbollevels="0">
  <categories>
{chr(10).join(categories)}
  </categories>
  <symbols>
{chr(10).join(symbols)}
  </symbols>
 </renderer-v2>
</qgis>
"""


def probability_qml() -> str:
    """Returns the QML of band 1 of a raster of probabilities, with a legend in percent.

    QGIS applies the scale that a GeoTIFF states before it looks up a colour. So the ramp runs from 0 to 1, although the
    file holds 0 to 250 with a scale of 1/250.
    """
    steps = [i / (len(_RAMP) - 1) for i in range(len(_RAMP))]
    items = "\n".join(
        f'     <item value="{step:g}" label="{step:.0%}" color="{colour}" alpha="255"/>'
        for step, colour in zip(steps, _RAMP, strict=True)
    )
    return _qml(
        f"""  <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" nodataColor=""
    classificationMin="0" classificationMax="1">
   <minMaxOrigin>
    <limits>None</limits>
   </minMaxOrigin>
   <rastershader>
    <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" minimumValue="0" maximumValue="1">
{items}
     <rampLegendSettings useContinuousLegend="1" minimumLabel="0%" maximumLabel="100%" prefix="" suffix=""
       direction="0" orientation="2"/>
    </colorrampshader>
   </rastershader>
  </rasterrenderer>"""
    )


def scene_qml(labels: Sequence[str]) -> str:
    """Returns the QML of a raster of the numbers of scenes, from 1: neighbours in the list differ in hue."""
    hues = [(number * _GOLDEN) % 1 for number in range(len(labels))]
    colours = ["#" + bytes(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.55, 0.85)).hex() for hue in hues]
    return _palette_qml(zip(range(1, len(labels) + 1), labels, colours, strict=True))


def set_qml(classes: int) -> str:
    """Returns the QML of band 1 of a raster of conformal sets: how many of so many classes each set holds."""
    labels = ["no class", "one class", *(f"{size} classes" for size in range(2, classes + 1))]
    shades = [_EMPTY_SET, *(_shade(size / max(classes - 1, 1)) for size in range(classes))]
    return _palette_qml(zip(range(classes + 1), labels, shades, strict=True))


def _shade(place: float) -> str:
    """A colour of `_RAMP`, at a place from 0 to 1, interpolated."""
    lower = min(int(place * (len(_RAMP) - 1)), len(_RAMP) - 2)
    share = place * (len(_RAMP) - 1) - lower
    ends = [bytes.fromhex(colour[1:]) for colour in _RAMP[lower : lower + 2]]
    return "#" + bytes(round(a + share * (b - a)) for a, b in zip(*ends, strict=True)).hex()


def sidecar(legend: Legend, pixels: Mapping[int, int], stamp: str) -> str:
    """Returns GDAL's sidecar file (PAM) of a map, with what a TIFF has no place for.

    The names of the classes stand in it twice: as a list, which has a place for every id from 0 on, and in a raster
    attribute table, which has a row for each class alone. QGIS offers that as a legend where there is no QML.

    Args:
      legend: of the map.
      pixels: id -> number of pixels.
      stamp: what `STAMP` says, in the domain `DOMAIN` of its tags.
    """
    names = {c.value: c.name for c in legend.scored}
    categories = "\n".join(
        f"   <Category>{saxutils.escape(names.get(i, ''))}</Category>" for i in range(max(names, default=-1) + 1)
    )
    return f"""<PAMDataset>
 <Metadata domain="{DOMAIN}">
  <MDI key="{STAMP}">{saxutils.escape(stamp)}</MDI>
 </Metadata>
 <PAMRasterBand band="1">
  <CategoryNames>
{categories}
  </CategoryNames>
{_attribute_table(legend, pixels)}
 </PAMRasterBand>
</PAMDataset>
"""


def is_sidecar(path: pathlib.Path) -> bool:
    """Whether a file is what `sidecar` makes, of whatever map; GDAL may have added statistics to it since."""
    try:
        with path.open("rb") as file:
            text = file.read(limits.SIDECAR_BYTES)
    except OSError:
        return False
    return f'<Metadata domain="{DOMAIN}">'.encode() in text and text.startswith(b"<PAMDataset>")


def _attribute_table(legend: Legend, pixels: Mapping[int, int]) -> str:
    """Returns the raster attribute table as GDAL writes it: a row for each class, in the order of the legend."""
    columns = "\n".join(
        f"""   <FieldDefn index="{index}">
    <Name>{name}</Name>
    <Type>{kind}</Type>
    <Usage>{usage}</Usage>
   </FieldDefn>"""
        for index, (name, kind, usage) in enumerate(_COLUMNS)
    )
    rows = []
    for index, c in enumerate(legend.scored):
        red, green, blue = bytes.fromhex(c.colour[1:])
        cells = (c.value, pixels.get(c.value, 0), saxutils.escape(c.name), red, green, blue, 255)
        rows.append(f'   <Row index="{index}">' + "".join(f"<F>{cell}</F>" for cell in cells) + "</Row>")
    body = "\n".join([columns, *rows])
    return f"""  <GDALRasterAttributeTable tableType="thematic">
{body}
  </GDALRasterAttributeTable>"""


def _palette_qml(entries: Iterable[tuple[int, str, str]]) -> str:
    """The QML of band 1 of a raster whose values each have a label and a colour."""
    listed = "\n".join(
        f'    <paletteEntry value="{value}" label={saxutils.quoteattr(label)} color="{colour}" alpha="255"/>'
        for value, label, colour in entries
    )
    return _qml(
        f"""  <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
   <colorPalette>
{listed}
   </colorPalette>
  </rasterrenderer>"""
    )


def _qml(renderer: str) -> str:
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
 <pipe>
{renderer}
 </pipe>
</qgis>
"""
