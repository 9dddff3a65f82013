"""The classes of FLAIR-1: ids, names and palette as published, and the merges that scores are published for.

Source: Garioud et al. 2022; README of IGNF/FLAIR-1.
"""

from data_pipelines.schema.legends import LandClass, Legend

FLAIR1 = Legend(
    name="flair1",
    classes=(
        LandClass(1, "building", "#db0e9a"),
        LandClass(2, "pervious surface", "#938e7b"),
        LandClass(3, "impervious surface", "#f80c00"),
        LandClass(4, "bare soil", "#a97101"),
        LandClass(5, "water", "#1553ae"),
        LandClass(6, "coniferous", "#194a26"),
        LandClass(7, "deciduous", "#46e483"),
        LandClass(8, "brushwood", "#f3a60d"),
        LandClass(9, "vineyard", "#660082"),
        LandClass(10, "herbaceous vegetation", "#55ff00"),
        LandClass(11, "agricultural land", "#fff30d"),
        LandClass(12, "plowed land", "#e4df7c"),
        LandClass(13, "swimming pool", "#3de6eb"),
        LandClass(14, "snow", "#ffffff"),
        LandClass(15, "clear cut", "#8ab3a0"),
        LandClass(16, "mixed", "#6b714f"),
        LandClass(17, "ligneous", "#c5dc42"),
        LandClass(18, "greenhouse", "#9999ff"),
        LandClass(19, "other", "#000000"),
    ),
)
_OTHER = 13
_MERGED = (*FLAIR1.classes[:12], LandClass(_OTHER, "other", "#000000"))
_MERGES = tuple((stored, _OTHER) for stored in range(_OTHER, 20))

# The report and the baseline merge the rare classes 13 to 19 into one.
FLAIR1_13 = Legend("flair1_13", _MERGED, merges=_MERGES)
# What the networks that IGN publishes as "15cl" tell apart: clear cut, mixed, ligneous and other have no weight there.
FLAIR1_15 = Legend("flair1_15", FLAIR1.classes, ignored=(15, 16, 17, 19))
# Published scores are means of the other twelve; "other" has weight 0 in the baseline's training.
FLAIR1_12 = Legend("flair1_12", _MERGED, ignored=(_OTHER,), merges=_MERGES)
