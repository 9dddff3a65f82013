"""Whatever the data set: parts of a record that lie elsewhere, or on their heads, are refused by name."""

import csv
import pathlib
from collections.abc import Callable

import damage
import numpy as np
import own
import pytest
import rasterio
from downloads import write_patch
from grid_relations import RELATIONS, farthest, joined, related
from hypothesis import given, settings
from rasterio import Affine
from rasterio.crs import CRS

from data_pipelines.datasets import registry
from data_pipelines.geo import raster_io
from data_pipelines.prepare import prepare
from data_pipelines.schema.spec import DatasetSpec, Item, Refused

UTM = {"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_000_000)}


def contest(root: pathlib.Path) -> None:
    write_patch(root, "ROIs0000_validation", 1)


def seasons(root: pathlib.Path) -> None:
    write_patch(root, "ROIs1158_spring", 1, scene="3", only=("s1", "s2", "lc"))


def aerial(root: pathlib.Path) -> None:
    image = np.add.outer(np.arange(32), np.arange(32))[..., None] + np.arange(0, 200, 40)
    for kind, folder, values in (("IMG", "img", image), ("MSK", "msk", image[..., :1] % 19 + 1)):
        path = root / "D004_2021" / "Z10_AU" / folder / f"{kind}_000826.tif"
        damage.write_raster(path, values.astype(np.uint8), crs="EPSG:2154", transform=UTM["transform"])


def town(root: pathlib.Path) -> None:
    own.folder(root)
    for k in range(4):
        own.write(root / f"i{k}.tif", own.picture(k), **UTM)
        own.write(root / f"m{k}.tif", own.ids(k), **UTM)


def first_item(name: str, root: pathlib.Path) -> tuple[Item, DatasetSpec]:
    entry = registry.entry(name)
    spec = entry if isinstance(entry, DatasetSpec) else entry.describe(name, root, None, 32, False).open()
    return next(iter(spec.index([root]).values()))[0], spec


# A file of each data set, and the part that is moved away from its partners.
PARTS = [
    *(("dfc2020", contest, part) for part in ("s1", "s2", "label")),
    *(("sen12ms", seasons, part) for part in ("s1", "s2", "label")),
    *(("sample", contest, part) for part in ("s1", "s2", "label")),
    *(("flair1", aerial, part) for part in ("aerial", "label")),
    *(("rasters/town", town, part) for part in ("image", "label")),
]
# What is done to its place, and what is said of it.
MOVES = {
    "moved": (lambda t, h, w: joined(t, Affine.translation(256, 0)), None, "corners up to 256 pixels"),
    "half a pixel": (lambda t, h, w: joined(t, Affine.translation(0, 0.5)), None, "corners up to 0.5 pixels"),
    "upside down": (
        lambda t, h, w: joined(t, Affine.translation(0, h), Affine.scale(1, -1)), None, "upside down against"
    ),
    "mirrored": (lambda t, h, w: joined(t, Affine.translation(w, 0), Affine.scale(-1, 1)), None, "mirrored against"),
    "other pixels": (lambda t, h, w: joined(t, Affine.scale(2)), None, "pixels of "),
    "other CRS": (lambda t, h, w: t, "EPSG:32719", "CRS EPSG:"),
}  # fmt: skip
HARMLESS: dict[str, Callable] = {
    "nearly": lambda t, h, w: joined(t, Affine.translation(0.4, -0.4)),
    "nowhere": lambda t, h, w: Affine.identity(),
}


def move(path: pathlib.Path, how: Callable, crs: str | None = None) -> None:
    with rasterio.open(path, "r+") as file:
        file.transform = how(file.transform, *file.shape)
        file.crs = CRS.from_string(crs) if crs else file.crs


def test_no_data_set_is_left_out():
    tested = {name.partition("/")[0] for name, *_ in PARTS}
    assert tested == {*registry.DATASETS, *registry.FAMILIES}


@pytest.mark.parametrize("what", MOVES)
@pytest.mark.parametrize(("name", "make", "part"), PARTS)
def test_a_part_that_lies_elsewhere_is_refused(tmp_path, name, make, part, what):
    how, crs, words = MOVES[what]
    make(tmp_path)
    item, _ = first_item(name, tmp_path)
    move(item.files[part], how, crs)
    item, spec = first_item(name, tmp_path)
    refusal = item.refused
    if refusal is None:
        with pytest.raises(Refused) as caught:
            spec.read(item)
        refusal = caught.value
    assert words in refusal.reason and "\n" not in refusal.reason
    # Of three files the odd one, of two the second.
    assert refusal.file == item.files[part if len(item.files) == 3 else "label"]
    assert ("rio warp" if name.startswith("rasters") else "download it again") in refusal.reason


@pytest.mark.parametrize("what", HARMLESS)
@pytest.mark.parametrize(("name", "make", "part"), PARTS)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_part_that_lies_as_good_as_there_or_nowhere_is_read(tmp_path, name, make, part, what):
    make(tmp_path)
    item, _ = first_item(name, tmp_path)
    move(item.files[part], HARMLESS[what])
    item, spec = first_item(name, tmp_path)
    assert item.refused is None and spec.read(item).parts


@settings(max_examples=10, derandomize=True, deadline=None)
@given(RELATIONS)
def test_a_mask_in_any_relation_is_prepared_or_refused_as_its_corners_say(tmp_path_factory, relation):
    root = tmp_path_factory.mktemp("town")
    town(root)
    height, width = relation["size"]
    transform, code = related(relation, UTM["transform"])
    own.write(root / "i0.tif", own.picture(0, height, width), **UTM)
    crs = {"crs": f"EPSG:{code}"} if code else {}
    with raster_io.anywhere():
        own.write(root / "m0.tif", own.ids(0, height, width), **crs, transform=transform)
    dataset = prepare.prepare("rasters/town", root, root / "data", tile=32, max_refused=1.0)
    with (dataset.folder / "refused.csv").open(newline="") as file:
        refused = {pathlib.Path(row["file"]).name for row in csv.DictReader(file)}
    elsewhere = code == 32634 or farthest(transform, UTM["transform"], height, width) >= 0.5
    assert refused == ({"m0.tif"} if elsewhere else set())
