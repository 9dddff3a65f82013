"""From `prepare` to `predict`: what was measured counts, in whatever scale and offset a file packs it."""

import csv
import pathlib

import numpy as np
import own
import pytest
import rasterio
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from data_pipelines.geo import raster_io
from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.schema.errors import InputError
from lcjax.mapping import predict
from lcjax.mapping.mapper import Mapper
from lcjax.mapping.options import Options
from lcjax.mapping.scene_list import Job
from lcjax.runs.model_card import Card

SIZE = 32
# What the files of three images state, and what that of the fourth does; nothing is what most files state.
PACKINGS = st.sampled_from([None, (1e-4, 0.0), (1e-4, -0.1), (2e-4, 0.0), (1e-3, 0.0), (2.75e-5, -0.2), (0.5, 273.15)])


def write(path: pathlib.Path, measured: np.ndarray, packing: tuple[float, float] | None) -> np.ndarray:
    """Writes what was measured (bands, H, W) as int16; returns what the file then says of it."""
    scale, offset = packing or (1.0, 0.0)
    raw = np.rint((measured - offset) / scale)
    assume(np.abs(raw).max() < 2**15)
    own.write(path, raw.astype(np.int16))
    if packing:
        with raster_io.anywhere(), rasterio.open(path, "r+") as file:
            file.scales, file.offsets = (scale,) * len(raw), (offset,) * len(raw)
    return raw * scale + offset


def prepared(root: pathlib.Path, common, odd, seed: int):
    """A data set whose fourth image states another packing; returns it, and what the files say was measured."""
    scale, offset = common or (1.0, 0.0)
    values = np.random.default_rng(seed).integers(0, 3000, (4, 2, SIZE, SIZE)) * scale + offset
    said = [write(root / f"i{k}.tif", values[k], odd if k == 3 else common) for k in range(4)]
    for k in range(4):
        own.write(root / f"m{k}.tif", own.ids(k, SIZE, SIZE))
    rows = [f"i{k}.tif,m{k}.tif,{'validation' if k == 2 else 'train'}\n" for k in range(4)]
    (root / "rasters.csv").write_text("image,mask,split\n" + "".join(rows))
    (root / "legend.csv").write_text(own.LEGEND)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quicklooks, "draw", lambda _: [])
        return prepare.prepare("rasters/town", root, root / "data", tile=SIZE, max_refused=0.3), said


def mapped(dataset, scene: pathlib.Path, middle: float) -> np.ndarray:
    """The map by a rule in place of a network: what is stored of the first band is more than `middle`, or not."""
    card = Card("rule", "image", dataset.sensors, dataset.legend, SIZE, "rasters/town 1.0.0", {}, {})

    def rule(inputs):
        return np.eye(2, dtype=np.float32)[(inputs["image"][..., 0] > middle).astype(int)]

    output = scene.parent / "map.tif"
    jobs, options = [Job({"image": scene}, output)], predict.SceneOptions()
    predict.check(card, jobs, Options(), options)
    predict.map_jobs(card, lambda: Mapper(card, rule, "rule", {}), jobs, Options(), options)
    with raster_io.anywhere(), rasterio.open(output) as file:
        return file.read(1)


@settings(max_examples=10, derandomize=True, deadline=None)
@given(PACKINGS, PACKINGS, st.integers(0, 2**32 - 1))
def test_what_was_measured_is_learned_and_mapped_or_refused_by_both(tmp_path_factory, common, odd, seed):
    root = tmp_path_factory.mktemp("town")
    dataset, said = prepared(root, common, odd, seed)
    with (dataset.folder / "refused.csv").open(newline="") as file:
        refused = [pathlib.Path(row["file"]).name for row in csv.DictReader(file)]
    if (common is None) != (odd is None):
        assert refused == ["i3.tif"]
        with pytest.raises(InputError, match=r"i3\.tif: .*no scale and no offset"):
            mapped(dataset, root / "i3.tif", 1500)
        return
    assert refused == []
    scale, offset = common or (1.0, 0.0)
    source = dataset.source("train")
    stored = [source[k]["image"] for k in range(3)]
    for image, measured in zip(stored, (said[0], said[1], said[3]), strict=True):
        found = np.moveaxis(image, -1, 0) * scale + offset
        assert np.abs(found - measured).max() <= scale / 2 * (1 + 1e-6)
    expected = np.where(stored[2][..., 0] > 1500, 2, 1)
    np.testing.assert_array_equal(mapped(dataset, root / "i3.tif", 1500), expected)
