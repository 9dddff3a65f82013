"""The style of a layer of points in QGIS: hollow squares in the colours of their labels, and a form to label them.

The elements are those that QGIS 3 writes itself when a style is saved (Layer Properties > Style > Save).
"""

from collections.abc import Sequence
from xml.sax import saxutils

LABEL, COMMENT, CHIP, POINT = "label", "comment", "chip", "point"
_OPEN = "#ffffff"  # points that nobody has labelled


def qml(classes: Sequence[tuple[str, str]], cannot_say: str, fields: Sequence[str]) -> str:
    """Returns the QML.

    Args:
      classes: name and colour of each class, in the order of the list to choose from.
      cannot_say: what is written where a person cannot tell; the last of the list.
      fields: names of the layer's columns, in order.
    """
    choices = [(name, name) for name, _ in classes] + [(cannot_say, cannot_say)]
    symbols = [*classes, (cannot_say, "#7f7f7f"), ("", _OPEN)]
    categories = "\n".join(
        f'   <category value={_quoted(name)} label={_quoted(name or "not yet labelled")} symbol="{at}" render="true"/>'
        for at, (name, _) in enumerate(symbols)
    )
    drawn = "\n".join(_symbol(at, colour) for at, (_, colour) in enumerate(symbols))
    widgets = "\n".join(_field(name, choices) for name in fields)
    editable = "\n".join(
        f'  <field name={_quoted(name)} editable="{int(name in (LABEL, COMMENT))}"/>' for name in fields
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology|Fields|Forms">
 <renderer-v2 type="categorizedSymbol" attr="coalesce(&quot;{LABEL}&quot;, '')" forceraster="0" symbollevels="0">
  <categories>
{categories}
  </categories>
  <symbols>
{drawn}
  </symbols>
 </renderer-v2>
 <fieldConfiguration>
{widgets}
 </fieldConfiguration>
 <editable>
{editable}
 </editable>
 <editorlayout>generatedlayout</editorlayout>
 <featformsuppress>0</featformsuppress>
 <previewExpression>"{POINT}"</previewExpression>
</qgis>
"""


def _symbol(number: int, colour: str) -> str:
    """A hollow square, so that the pixel can be seen, with a dark rim around the colour."""
    layers = "".join(
        f'<layer class="SimpleMarker" enabled="1" locked="0" pass="0"><Option type="Map">'
        f'<Option name="name" type="QString" value="square"/>'
        f'<Option name="color" type="QString" value="0,0,0,0"/>'
        f'<Option name="outline_color" type="QString" value="{rim}"/>'
        f'<Option name="outline_width" type="QString" value="{width}"/>'
        f'<Option name="outline_width_unit" type="QString" value="MM"/>'
        f'<Option name="size" type="QString" value="4"/>'
        f'<Option name="size_unit" type="QString" value="MM"/>'
        "</Option></layer>"
        for rim, width in (("20,20,20,255", "1"), (_rgba(colour), "0.6"))
    )
    return f'   <symbol name="{number}" type="marker" alpha="1" clip_to_extent="1" force_rhr="0">{layers}</symbol>'


def _field(name: str, choices: Sequence[tuple[str, str]]) -> str:
    kinds = {LABEL: ("ValueMap", _value_map(choices)), CHIP: ("ExternalResource", _PICTURE)}
    kind, options = kinds.get(name, ("TextEdit", '<Option type="Map"/>'))
    return (
        f'  <field name={_quoted(name)} configurationFlags="None"><editWidget type="{kind}"><config>{options}</config>'
        "</editWidget></field>"
    )


def _value_map(choices: Sequence[tuple[str, str]]) -> str:
    entries = "".join(
        f'<Option type="Map"><Option name={_quoted(shown)} type="QString" value={_quoted(value)}/></Option>'
        for shown, value in choices
    )
    return f'<Option type="Map"><Option name="map" type="List">{entries}</Option></Option>'


# A picture in the form, by a path relative to the project or the file.
_PICTURE = (
    '<Option type="Map"><Option name="DocumentViewer" type="int" value="1"/>'
    '<Option name="DocumentViewerHeight" type="int" value="0"/>'
    '<Option name="DocumentViewerWidth" type="int" value="0"/>'
    '<Option name="RelativeStorage" type="int" value="1"/><Option name="FileWidget" type="bool" value="true"/>'
    '<Option name="StorageMode" type="int" value="0"/></Option>'
)


def _rgba(colour: str) -> str:
    return ",".join(str(part) for part in bytes.fromhex(colour[1:])) + ",255"


def _quoted(text: str) -> str:
    return saxutils.quoteattr(text)
