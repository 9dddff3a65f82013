"""What folders and files are called from which `prepare --init` proposes pairs, sensors and splits."""

import re

from data_pipelines.datasets.rasters import columns

IMAGES = ("images", "image", "imgs", "img", "imagery", "sat")
MASKS = ("masks", "mask", "labels", "label", "msk", "msks", "gt", "annotations")
SPLITS = {"train": "train", "training": "train", "val": "validation", "valid": "validation"}
SPLITS |= {"validation": "validation", "test": "test", "testing": "test"}
# What is called so in folders side by side is no place: the folders are, and this is their mask, image, band or sensor.
_BANDS = re.compile(
    r"b(and)?[ _-]?\d{1,2}a?|[vh][vh]|red|green|blue|coastal|pan|nir\d*|swir[ _-]?\d*|red[ _-]?edge[ _-]?\d*|thermal|"
    r"rgb|tci|aot|wvp|scl|dem|dsm|dtm|ndvi|slope|s1|s2|sar|optical|radar"
)


def sensor_name(folder: str) -> str:
    """The name of a folder in the letters that the names of sensors have."""
    return re.sub(r"[^a-z0-9]+", "_", folder.lower()).strip("_")


def is_of_masks(folder: str) -> bool:
    """Whether a folder beside those of sensors is called as masks are: as an image it would show the answers."""
    return folder.lower() in MASKS or columns.looks_like_mask(sensor_name(folder))


def is_no_place(stem: str) -> bool:
    """Whether files of this name, in folders side by side, are a part of their folder's place and not a place."""
    name = stem.lower()
    return name in (*IMAGES, *MASKS) or bool(_BANDS.fullmatch(name) or columns.MASK_WORD.fullmatch(name))
