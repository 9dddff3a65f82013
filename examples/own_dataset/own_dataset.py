"""A data set for lcjax: drone photographs of fields, and masks of what grows there, as PNGs in two folders.

SOURCE/train/photos/0001.png    uint8, red, green, blue, 64 x 64 pixels
SOURCE/train/masks/0001.png     uint8, 1 crop, 2 weeds, 3 bare soil, 0 not looked at
SOURCE/validation/..., SOURCE/test/...
"""

import numpy as np
from PIL import Image

from data_pipelines.schema.legends import LandClass, Legend
from data_pipelines.schema.sensors import Scaling, Sensor
from data_pipelines.schema.spec import DatasetSpec, Item, Record, Refused

TILE = 64

DRONE = Sensor(
    name="image",
    title="Drone photographs",
    bands=("red", "green", "blue"),
    dtype="uint8",
    meaning="digital number",
    scaling=Scaling(unit=1.0, low=0.0, high=255.0, offset=127.5, scale=127.5),
    display=("red", "green", "blue"),
    ground_sampling=0.02,
    zero_is_nodata=False,
)
LEGEND = Legend(
    "fields",
    (LandClass(1, "crop", "#33a02c"), LandClass(2, "weeds", "#e31a1c"), LandClass(3, "bare soil", "#b15928")),
)


def index(folders):
    """What there is: {split: its records}, a record being an id and the files of its parts."""
    splits = {}
    for photo in sorted(path for folder in folders for path in folder.glob("*/photos/*.png")):
        split = photo.parts[-3]
        files = {"image": photo, "label": photo.parents[1] / "masks" / photo.name}
        splits.setdefault(split, []).append(Item(f"{split}/{photo.stem}", files))
    return splits


def read(item):
    """One record as it is stored. Raises Refused for a file that cannot be used, which `prepare` then lists."""
    photo, mask = (_opened(item.files[part], mode) for part, mode in (("image", "RGB"), ("label", "L")))
    if strange := sorted(set(np.unique(mask).tolist()) - {0, 1, 2, 3}):
        raise Refused(item.files["label"], f"holds {strange}; expected 0 to 3")
    return Record({"image": photo, "label": np.where(mask == 0, 255, mask).astype(np.uint8)})  # 255 is no label


def _opened(path, mode):
    try:
        with Image.open(path) as picture:
            found, values = picture.mode, np.array(picture)
    except OSError as error:
        raise Refused(path, f"cannot be opened ({error})") from error
    if found != mode or values.shape[:2] != (TILE, TILE):
        raise Refused(path, f"a picture of {found}, {values.shape}; expected {mode}, {TILE} x {TILE} pixels")
    return values


FIELDS = DatasetSpec(
    name="fields",
    version="1.0.0",
    title="Drone photographs of fields (made up)",
    sensors=(DRONE,),
    legends=(LEGEND,),
    tile=TILE,
    layout="{train,validation,test}/{photos,masks}/*.png",
    index=index,
    read=read,
)
