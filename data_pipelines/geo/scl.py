"""The scene classes of Sentinel-2 level 2A: what the numbers of a raster SCL mean.

Source: ESA, Sentinel-2 Level-2A Algorithm Theoretical Basis Document, scene classification.
"""

FIRST, LAST = 0, 11
CLASSES = {
    "no_data": 0,
    "saturated_or_defective": 1,
    "dark_area": 2,  # "cast shadows" in newer products, which a cloud need not throw
    "cloud_shadow": 3,
    "vegetation": 4,
    "not_vegetated": 5,
    "water": 6,
    "unclassified": 7,
    "cloud_medium": 8,
    "cloud_high": 9,
    "thin_cirrus": 10,
    "snow": 11,
}
