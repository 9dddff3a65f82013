"""The classes of SEN12MS: the 17 of the IGBP scheme, which are stored, and the two schemes that merge them.

Sources: MODIS MCD12Q1 (ids and names of the IGBP scheme; palette of its layer LC_Type1 in Earth Engine); Schmitt and
Wu 2021 (the simplified scheme, which is that of DFC2020).
"""

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.legends import LandClass, Legend

# 0 is no class of the scheme; 255 is what MODIS could not classify.
IGBP = Legend(
    name="igbp",
    classes=(
        LandClass(1, "Evergreen Needleleaf Forests", "#05450a"),
        LandClass(2, "Evergreen Broadleaf Forests", "#086a10"),
        LandClass(3, "Deciduous Needleleaf Forests", "#54a708"),
        LandClass(4, "Deciduous Broadleaf Forests", "#78d203"),
        LandClass(5, "Mixed Forests", "#009900"),
        LandClass(6, "Closed (Dense) Shrublands", "#c6b044"),
        LandClass(7, "Open (Sparse) Shrublands", "#dcd159"),
        LandClass(8, "Woody Savannas", "#dade48"),
        LandClass(9, "Savannas", "#fbff13"),
        LandClass(10, "Grasslands", "#b6ff05"),
        LandClass(11, "Permanent Wetlands", "#27ff87"),
        LandClass(12, "Croplands", "#c24f44"),
        LandClass(13, "Urban and Built-Up Lands", "#a5a5a5"),
        LandClass(14, "Croplands/Natural Vegetation Mosaics", "#ff6d4c"),
        LandClass(15, "Permanent Snow and Ice", "#69fff8"),
        LandClass(16, "Barren", "#f9ffa4"),
        LandClass(17, "Water Bodies", "#1c0dff"),
    ),
    ignored=(0,),
)
_SIMPLIFIED_BY_IGBP = (1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 6, 8, 9, 10)
_MERGES = tuple(enumerate(_SIMPLIFIED_BY_IGBP, start=1))

# The ten classes, all of them scored.
SIMPLIFIED = Legend("igbp_simplified", DFC2020.classes, ignored=(0,), merges=_MERGES)
# The eight classes that DFC2020 scores, for networks that go on to it.
DFC2020_8 = Legend("dfc2020_8", DFC2020.classes, ignored=DFC2020.ignored, merges=_MERGES)
