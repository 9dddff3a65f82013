"""Runs on a few real files: pairs of Sentinel-1 and Sentinel-2, patches of FLAIR. They show that it runs, no more."""

import json
import math
import os
import pathlib

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from data_pipelines.prepare.prepare import prepare
from data_pipelines.schema.errors import InputError
from lcjax.configs import flair1, pretrain
from lcjax.training.run import train

REAL = os.environ.get("LCJAX_REAL_DATA", "")
SEASON, EDGE = "ROIs1158_spring", 224


def layout(root: pathlib.Path, target: pathlib.Path) -> None:
    """Pairs under names of SEN12MS: three places as they are, and both dates of a fourth, cut to the same size.

    The radar images of the fourth have pixels of another size than the optical ones.
    """
    for sensor in ("s1", "s2"):
        labelled = sorted((root / "sentinel_dfc2020").rglob(f"*_{sensor}_*.tif"))
        dates = sorted((root / "ssl4eo_pairs").glob(f"{sensor}_*.tif"))
        for number, path in enumerate([*labelled, *dates]):
            with rasterio.open(path) as file:
                pixels = file.read(window=Window(0, 0, EDGE, EDGE))
                profile = {"driver": "GTiff", "dtype": pixels.dtype, "count": len(pixels), "crs": file.crs}
                profile |= {"height": EDGE, "width": EDGE, "transform": file.transform}
            copy = target / SEASON / f"{sensor}_1" / f"{SEASON}_{sensor}_1_p{number}.tif"
            copy.parent.mkdir(parents=True, exist_ok=True)
            with rasterio.open(copy, "w", **profile) as file:
                file.write(pixels)


@pytest.mark.skipif(not REAL, reason="LCJAX_REAL_DATA names no folder of real imagery")
def test_pretraining_on_real_pairs(tmp_path):
    layout(pathlib.Path(REAL), tmp_path / "source")
    data = prepare("sample", tmp_path / "source", tmp_path / "data", max_refused=0.4)
    refused = (data.folder / "refused.csv").read_text().splitlines()[1:]
    assert len(refused) == 2 and all("corners up to" in line for line in refused)
    config = pretrain.get_config("data=sample,tiny=true")
    config.data_dir = str(tmp_path / "data")
    config.split.train = config.split.validation = "unlabelled"
    config.parallel.data = 1
    config.batch_size = config.evaluation_batch_size = 3
    config.total, config.log_every, config.evaluate_every = "20 steps", "10 steps", "10 steps"
    train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line["split"] == "validation"]
    assert [line["step"] for line in scores] == [10, 20]
    assert all(math.isfinite(line["loss"]) and 0 <= line["retrieval"] <= 1 for line in scores)
    assert all(f"retrieval/{one} to {other}" in line for line in scores for one, other in (("s1", "s2"), ("s2", "s1")))


def bigearthnet(root: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Pairs of BigEarthNet in two folders, their bands named as it has them, and the CSV that lists them."""
    optical = "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12"
    names = {"s1": ["VH", "VV"], "s2": optical.split(",")}
    rows = ["s1,s2,mask,split"]
    for path in sorted((root / "pairs_multiband" / "bigearthnet_v2").glob("*_s1.tif")):
        files = []
        for sensor, bands in names.items():
            files.append(pathlib.Path(sensor) / path.name)
            (target / sensor).mkdir(parents=True, exist_ok=True)
            with rasterio.open(str(path).replace("_s1.tif", f"_{sensor}.tif")) as file:
                profile, pixels = file.profile, file.read()
            with rasterio.open(target / files[-1], "w", **profile) as copy:
                copy.write(pixels)
                copy.descriptions = bands
        rows.append(f"{files[0]},{files[1]},,unlabelled")
    (target / "rasters.csv").write_text("\n".join(rows) + "\n")
    return target


@pytest.mark.skipif(not REAL, reason="LCJAX_REAL_DATA names no folder of real imagery")
def test_pairs_of_bigearthnet_are_own_imagery_of_two_sensors(tmp_path):
    """The transform of its Sentinel-2 files says 60 m for pixels of 10 m: refused, and taken when put right."""
    source = bigearthnet(pathlib.Path(REAL), tmp_path / "as_it_is")
    with pytest.raises(
        InputError, match=r"none of its 9 rows .*_s1\.tif: pixels of 60 x 60 m, expected 10 x 10 m as in"
    ):
        prepare("rasters/ben", source, tmp_path / "data")
    source = tmp_path / "right"
    bigearthnet(pathlib.Path(REAL), source)
    for path in (source / "s2").glob("*.tif"):
        with rasterio.open(source / "s1" / path.name) as radar, rasterio.open(path, "r+") as optical:
            optical.transform = radar.transform
    data = prepare("rasters/ben", source, tmp_path / "data", tile=120)
    assert data.splits == {"unlabelled": 9}
    assert [(s.bands[0], len(s.bands), s.dtype, s.ground_sampling) for s in data.sensors] == [
        ("VH", 2, "float32", pytest.approx(10, rel=1e-3)),
        ("B01", 12, "uint16", pytest.approx(10, rel=1e-3)),
    ]
    with rasterio.open(sorted((source / "s2").iterdir())[3]) as file:
        np.testing.assert_array_equal(data.source("unlabelled")[3]["s2"], np.moveaxis(file.read(), 0, -1))
    config = pretrain.get_config("data=rasters/ben,model=unet,train=unlabelled,validation=unlabelled,tiny=true")
    config.data_dir, config.parallel.data = str(tmp_path / "data"), 1
    config.batch_size = config.evaluation_batch_size = 8
    config.total, config.evaluate_every = "4 steps", "4 steps"
    assert math.isfinite(train(config, tmp_path / "run").scores["loss"])


@pytest.mark.skipif(not REAL, reason="LCJAX_REAL_DATA names no folder of real imagery")
def test_patches_of_flair_with_all_bands(tmp_path):
    """Linked into its published folders: five domains, which the builder parts as they were published."""
    folder = pathlib.Path(REAL) / "flair2_5band"
    for patch in json.loads((folder / "metadata.json").read_text()):
        part = "test" if patch["tortilla:data_split"] == "test" else "train"
        release = "flair_1" if part == "test" else "flair"
        for kind, own, what, stem in (("aerial", "aerial", "img", "IMG"), ("mask", "labels", "msk", "MSK")):
            target = tmp_path / "source" / f"{release}_{own}_{part}" / patch["domain"] / patch["zone"] / what
            target.mkdir(parents=True)
            name = patch["image_id"].replace("IMG", stem)
            (target / f"{name}.tif").symlink_to(folder / f"{patch['tortilla:id']}_{kind}.tif")
    data = prepare("flair1", tmp_path / "source", tmp_path / "data")
    assert data.splits == {"train": 3, "validation": 1, "other": 1}  # the last one is of a test domain of FLAIR-2
    assert (data.folder / "refused.csv").read_text().count("\n") == 1
    record = data.source("validation")[0]
    for kind, part in (("aerial", np.moveaxis(record["aerial"], -1, 0)), ("mask", record["label"][None])):
        with rasterio.open(folder / f"sample_4521_{kind}.tif") as file:
            np.testing.assert_array_equal(part, file.read())
    config = flair1.get_config("tiny=true")
    config.data_dir, config.parallel.data, config.batch_size, config.crop = str(tmp_path / "data"), 1, 3, 64
    config.total, config.evaluate_every = "4 steps", "4 steps"
    config.split.test = ""  # none of the five is of a test domain of FLAIR-1
    assert 0 <= train(config, tmp_path / "run").scores["OA"] <= 1
