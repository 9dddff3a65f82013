"""Pre-training on real pairs of Sentinel-1 and Sentinel-2. Five views of four places show that it runs, no more."""

import json
import math
import os
import pathlib

import pytest
import rasterio
from rasterio.windows import Window

from data_pipelines.prepare.prepare import prepare
from lcjax.configs import pretrain
from lcjax.training.run import train

REAL = os.environ.get("LCJAX_REAL_DATA", "")
SEASON, EDGE = "ROIs1158_spring", 224


def layout(root: pathlib.Path, target: pathlib.Path) -> None:
    """Pairs under names of SEN12MS: three places as they are, and both dates of a fourth, cut to the same size."""
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
    prepare("sample", tmp_path / "source", tmp_path / "data")
    config = pretrain.get_config("data=sample,tiny=true")
    config.data_dir = str(tmp_path / "data")
    config.split.train = config.split.validation = "unlabelled"
    config.parallel.data = 1
    config.batch_size = config.evaluation_batch_size = 5
    config.total, config.log_every, config.evaluate_every = "20 steps", "10 steps", "10 steps"
    train(config, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scores = [line for line in lines if line["split"] == "validation"]
    assert [line["step"] for line in scores] == [10, 20]
    assert all(math.isfinite(line["loss"]) and 0 <= line["retrieval"] <= 1 for line in scores)
    assert all(f"retrieval/{one} to {other}" in line for line in scores for one, other in (("s1", "s2"), ("s2", "s1")))
