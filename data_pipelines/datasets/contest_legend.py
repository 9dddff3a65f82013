"""The classes of DFC2020: ids, names and palette of the contest, and the eight that are scored.

Sources: Robinson et al. 2021; Liebel and Schmitt 2020 (palette); Scheibenreif et al. 2022 (the eight).
"""

from data_pipelines.schema.legends import LandClass, Legend

# 0 is no label; savanna and snow do not occur in the published labels.
DFC2020 = Legend(
    name="dfc2020",
    classes=(
        LandClass(1, "Forest", "#009900"),
        LandClass(2, "Shrubland", "#c6b044"),
        LandClass(3, "Savanna", "#fbff13"),
        LandClass(4, "Grassland", "#b6ff05"),
        LandClass(5, "Wetlands", "#27ff87"),
        LandClass(6, "Croplands", "#c24f44"),
        LandClass(7, "Urban/Built-up", "#a5a5a5"),
        LandClass(8, "Snow/Ice", "#69fff8"),
        LandClass(9, "Barren", "#f9ffa4"),
        LandClass(10, "Water", "#1c0dff"),
    ),
    ignored=(0, 3, 8),
)
# All ten, as some tables count them; the two that do not occur are absent from the means (docs/scores.md).
DFC2020_10 = Legend("dfc2020_10", DFC2020.classes, ignored=(0,))
