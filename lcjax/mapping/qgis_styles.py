"""Styles that QGIS loads with a raster of the same name, and class names for GDAL."""

from collections.abc import Mapping
from xml.sax import saxutils

from data_pipelines.schema.legends import Legend

# Viridis (Smith & van der Walt 2015) at five even steps: its lightness rises evenly, for any colour vision.
_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")


def class_qml(legend: Legend) -> str:
    """Returns the QML of a map of class ids: colours and names of the scored classes."""
    entries = "\n".join(
        f'    <paletteEntry value="{c.id}" label={saxutils.quoteattr(c.name)} color="{c.colour}" alpha="255"/>'
        for c in legend.scored
    )
    return _qml(
        f"""  <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
   <colorPalette>
{entries}
   </colorPalette>
  </rasterrenderer>"""
    )


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


def category_names(names: Mapping[int, str]) -> str:
    """Returns GDAL's sidecar file (PAM) with the class names of band 1, for which a TIFF has no place.

    Args:
      names: id -> name.
    """
    rows = "".join(f"   <Category>{saxutils.escape(names.get(i, ''))}</Category>\n" for i in range(max(names) + 1))
    band = f' <PAMRasterBand band="1">\n  <CategoryNames>\n{rows}  </CategoryNames>\n </PAMRasterBand>\n'
    return f"<PAMDataset>\n{band}</PAMDataset>\n"


def _qml(renderer: str) -> str:
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology">
 <pipe>
{renderer}
 </pipe>
</qgis>
"""
