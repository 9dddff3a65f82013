"""What is made of the rows of a map is whole, named, coloured, and known again."""

import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import rasterio

from data_pipelines.datasets.contest_legend import DFC2020
from lcjax.mapping import drafts, map_writer
from lcjax.mapping.scene_files import SceneFiles

PLAN = {"scene": "a", "network": "b"}
IDS = np.array([1, 2, 6, 10, 255], np.uint8)


SCENE = SceneFiles((), ())


@contextlib.contextmanager
def draft(output, plan=PLAN, scene=SCENE, width=4, layers=2, boundaries=(0, 3, 6, 8)):
    with (
        drafts.alone(output),
        drafts.Draft(output, plan, scene, width=width, layers=layers, boundaries=boundaries) as made,
    ):
        yield made


def test_the_summary_holds_ids_and_shares():
    probabilities = np.zeros((8, 2, 3), np.float32)
    probabilities[3] = 1
    probabilities[:, 0, 0] = [0.5, 0.3, 0.2, 0, 0, 0, 0, 0]
    wanted = map_writer.products(DFC2020, confidence=True, probabilities=True)
    assert [len(product.bands) for product in wanted] == [1, 1, 8]
    found = np.asarray(map_writer.summary(DFC2020, wanted)(jnp.asarray(probabilities)))
    assert found.shape == (2, 10, 3) and found.dtype == np.uint8
    assert found[0, :, 0].tolist() == [1, 125, 125, 75, 50, 0, 0, 0, 0, 0]
    assert found[1, :, 2].tolist() == [5, 250, 0, 0, 0, 250, 0, 0, 0, 0]  # Wetlands: id 5, the fourth class
    assert [product.kind for product in map_writer.products(DFC2020)] == ["classes"]


def grid(folder, crs="EPSG:32633", height=600, width=700):
    """An open dataset, turned and on odd coordinates."""
    turned = rasterio.Affine(9.9, 1.1, 500000.123456789, 1.1, -9.9, 5400000.987654321)
    if crs == "EPSG:4326":
        turned = rasterio.Affine(0.00013, 0, 16.123456789, 0, -0.00009, 47.987654321)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": height, "width": width}
    with rasterio.open(folder / "grid.tif", "w", crs=crs, transform=turned, **profile):
        pass
    return rasterio.open(folder / "grid.tif")


def written(folder, rows, wanted, compress="deflate", crs="EPSG:32633"):
    """The products of these rows (rows, layers, width), published; and the ids as they passed by."""
    output = folder / "map.tif"
    height, layers, width = rows.shape
    with (
        draft(output, width=width, layers=layers, boundaries=(0, height)) as made,
        grid(folder, crs, height, width) as place,
    ):
        made.append(rows)
        tags = {"LCJAX_MODEL": "fake"}
        names = [product.path(output).name for product in wanted]
        marks = map_writer.marks(PLAN, made, names)
        passed = [*map_writer.write_products(made, wanted, place, DFC2020, tags, marks, compress)]
        made.publish(names)
    assert [top for top, _ in passed] == list(range(0, height, 512))
    return output, np.concatenate([ids for _, ids in passed])


@pytest.mark.parametrize(("crs", "compress"), [("EPSG:32633", "deflate"), ("EPSG:4326", "lzw")])
def test_the_map_keeps_place_and_carries_names_and_colours(tmp_path, crs, compress):
    ids = np.random.default_rng(3).choice(IDS, (600, 700))
    ids[:, 350:] = 10
    output, passed = written(tmp_path, ids[:, None], map_writer.products(DFC2020), compress, crs)
    np.testing.assert_array_equal(passed, ids)
    assert sorted(os.listdir(tmp_path)) == ["grid.tif", "map.tif"]  # no draft stays
    with rasterio.open(tmp_path / "grid.tif") as source, rasterio.open(output) as result:
        np.testing.assert_array_equal(result.read(1), ids)
        assert result.crs == source.crs and result.transform == source.transform
        assert result.dtypes == ("uint8",) and result.nodata == 255 and result.descriptions == ("land cover",)
        assert result.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and result.block_shapes == [(512, 512)]
        assert result.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == compress.upper()
        assert result.overviews(1) == [2]
        colours = result.colormap(1)
        assert colours[1] == (0, 0x99, 0, 255) and colours[10] == (0x1C, 0x0D, 0xFF, 255) and colours[255][3] == 0
        classes = {c.id: c.name for c in DFC2020.scored}
        assert json.loads(result.tags()["LCJAX_CLASSES"]) == {str(i): name for i, name in classes.items()}
        assert result.tags(1) == {f"CLASS_{i}": name for i, name in classes.items()}
        assert result.tags()["LCJAX_LEGEND"] == "dfc2020" and result.tags()["LCJAX_MODEL"] == "fake"
    with rasterio.open(output, overview_level=0) as overview:
        assert set(np.unique(overview.read(1))) <= {1, 2, 6, 10, 255}  # classes, not their means
    assert map_writer.read_map(output, 100).shape == (86, 100)
    assert map_writer.is_finished(output, PLAN, SCENE)
    assert not map_writer.is_finished(output, PLAN | {"network": "c"}, SCENE)
    assert map_writer.read_mark(output).files == {"map.tif"} and not map_writer.read_mark(tmp_path / "grid.tif")


def test_shares_are_read_as_probabilities(tmp_path):
    wanted = map_writer.products(DFC2020, confidence=True, probabilities=True)
    rows = np.random.default_rng(3).integers(0, 251, (40, 10, 50)).astype(np.uint8)
    rows[:5] = 255
    output, _ = written(tmp_path, rows, wanted)
    with rasterio.open(output.with_name("map_confidence.tif")) as confidence:
        np.testing.assert_array_equal(confidence.read(1), rows[:, 1])
        assert confidence.nodata == 255 and confidence.scales == (0.004,) and confidence.offsets == (0,)
    with rasterio.open(output.with_name("map_probabilities.tif")) as shares:
        np.testing.assert_array_equal(shares.read(), np.moveaxis(rows[:, 2:], 1, 0))
        assert shares.descriptions == tuple(f"probability of {c.name}" for c in DFC2020.scored)
        assert shares.scales == (0.004,) * 8 and shares.nodata == 255
        assert shares.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


_FILL = """
import pathlib, resource, signal, sys
import numpy as np
sys.path.insert(0, {tests!r})
from lcjax.mapping import drafts, map_writer
from lcjax.mapping.scene_files import SceneFiles
from data_pipelines.datasets.contest_legend import DFC2020
from test_map_writer import written
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
rows = np.random.default_rng(0).integers(1, 11, (900, 1, 900)).astype(np.uint8)
try:
    written(pathlib.Path({folder!r}), rows, map_writer.products(DFC2020))
except map_writer.ERRORS as error:
    print(type(error).__name__)
else:
    print("written")
"""


@pytest.mark.parametrize(("limit", "expected"), [(500_000, False), (810_100, False), (resource.RLIM_INFINITY, True)])
def test_what_cannot_be_written_whole_is_noticed(tmp_path, limit, expected):
    """Files may not grow beyond a limit, as on a full disk: while rows are added, or when GeoTIFFs are made."""
    script = _FILL.format(tests=str(pathlib.Path(__file__).parent), limit=limit, folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip(), done.stderr
    assert (done.stdout.strip() == "written") == expected and (tmp_path / "map.tif").exists() == expected
