"""Styles are XML that carries the legend; GDAL reads the class names."""

from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from matplotlib import colormaps
from matplotlib.colors import to_hex

from data_pipelines.datasets.registry import LEGENDS
from data_pipelines.schema.legends import LandClass, Legend
from lcjax.mapping import qgis_styles

ODD = Legend("odd", (LandClass(3, 'moor & "bog" <wet>', "#112233"), LandClass(4, "Wälder", "#445566")), ignored=(4,))


def renderer(text: str, kind: str) -> ElementTree.Element:
    root = ElementTree.fromstring(text)
    assert root.tag == "qgis" and text.startswith("<!DOCTYPE qgis ")
    found = root.findall("pipe/rasterrenderer")
    assert [element.get("type") for element in found] == [kind] and found[0].get("band") == "1"
    return found[0]


@pytest.mark.parametrize("legend", [*LEGENDS.values(), ODD], ids=lambda legend: legend.name)
def test_class_style_has_the_colours_and_names_of_the_classes(legend):
    entries = renderer(qgis_styles.class_qml(legend), "paletted").findall("colorPalette/paletteEntry")
    found = [(int(e.get("value")), e.get("label"), e.get("color"), e.get("alpha")) for e in entries]
    assert found == [(c.id, c.name, c.colour, "255") for c in legend.scored]


def test_share_style_is_a_ramp_from_0_to_100_percent():
    shader = renderer(qgis_styles.probability_qml(), "singlebandpseudocolor").find("rastershader/colorrampshader")
    items = [(float(i.get("value")), i.get("label"), i.get("color")) for i in shader.findall("item")]
    labels = [(0, "0%"), (0.25, "25%"), (0.5, "50%"), (0.75, "75%"), (1, "100%")]
    assert [(value, label) for value, label, _ in items] == labels
    assert [colour for _, _, colour in items] == [to_hex(colormaps["viridis"](value)) for value, _, _ in items]
    assert shader.get("colorRampType") == "INTERPOLATED"
    assert (shader.get("minimumValue"), shader.get("maximumValue")) == ("0", "1")


def described(tmp_path, legend, pixels):
    """What GDAL makes of the sidecar of a map: a VRT of it, in which it tells all that it knows."""
    path = tmp_path / "map.tif"
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 5_400_000)}
    with rasterio.open(path, "w", driver="GTiff", height=4, width=4, count=1, dtype="uint8", **place) as out:
        out.write(np.ones((1, 4, 4), np.uint8))
    path.with_name("map.tif.aux.xml").write_text(qgis_styles.sidecar(legend, pixels, "0123<&"), encoding="utf-8")
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns=qgis_styles.DOMAIN) == {qgis_styles.STAMP: "0123<&"}
    rasterio.shutil.copy(path, tmp_path / "map.vrt", driver="VRT")  # rasterio has no call for names and tables
    return ElementTree.parse(tmp_path / "map.vrt").find("VRTRasterBand[@band='1']")


@pytest.mark.parametrize("legend", [*LEGENDS.values(), ODD], ids=lambda legend: legend.name)
def test_gdal_reads_the_category_names(tmp_path, legend):
    names = {c.id: c.name for c in legend.scored}
    found = described(tmp_path, legend, {}).findall("CategoryNames/Category")
    assert [c.text or "" for c in found] == [names.get(i, "") for i in range(max(names) + 1)]


@pytest.mark.parametrize("legend", [*LEGENDS.values(), ODD], ids=lambda legend: legend.name)
def test_gdal_reads_the_attribute_table(tmp_path, legend):
    pixels = {legend.scored[0].id: 5_000_000_000}
    table = described(tmp_path, legend, pixels).find("GDALRasterAttributeTable")
    assert table is not None and table.get("tableType") == "thematic"
    columns = [tuple(field.findtext(key) for key in ("Name", "Type", "Usage")) for field in table.iter("FieldDefn")]
    # Types: 0 integer, 1 real, 2 text. Usages: 1 count, 2 name, 5 value, 6 red, 7 green, 8 blue, 9 alpha.
    assert columns == [
        ("Value", "0", "5"),
        ("Count", "1", "1"),
        ("Class", "2", "2"),
        ("Red", "0", "6"),
        ("Green", "0", "7"),
        ("Blue", "0", "8"),
        ("Alpha", "0", "9"),
    ]
    rows = [[cell.text for cell in row.iter("F")] for row in table.iter("Row")]
    assert [(int(value), float(count), name) for value, count, name, *_ in rows] == [
        (c.id, pixels.get(c.id, 0), c.name) for c in legend.scored
    ]
    assert ["#{:02x}{:02x}{:02x}".format(*map(int, row[3:6])) for row in rows] == [
        c.colour.lower() for c in legend.scored
    ]
    assert {row[6] for row in rows} == {"255"}
