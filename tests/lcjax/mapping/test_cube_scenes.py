"""Scenes in Zarr stores are mapped as the files would be; a restart notices what has changed in them."""

import json

import numpy as np
import pytest
import rasterio
import worlds
from printed import printed

from data_pipelines.geo import quiet
from data_pipelines.schema.errors import InputError
from lcjax.mapping import predict as prediction
from lcjax.mapping import scene_list
from lcjax.mapping.mapper import Mapper, Options
from lcjax.mapping.predict import SceneOptions
from lcjax.mapping.scene_files import SceneFiles


@pytest.fixture
def world(tmp_path):
    """The world of worlds.py, as files and as stores."""
    made = worlds.make(tmp_path)
    for name in ("s1", "s2"):
        to_zarr(tmp_path / f"{name}.tif", tmp_path / f"{name}.zarr")
    return made


def to_zarr(file, path):
    with quiet.silently():
        import rioxarray

        found = rioxarray.open_rasterio(file, mask_and_scale=False)
        found.to_dataset(name="image").to_zarr(path, zarr_format=2, encoding={"image": {"chunks": (2, 32, 40)}})


def draw(text: str, output) -> str:
    card = worlds.card()
    mapper = Mapper(card, worlds.probabilities, "rule", {})
    with printed() as said:
        jobs = scene_list.jobs(text, card.sensors, output)
        prediction.check(card, jobs, Options(), SceneOptions())
        prediction.map_jobs(card, lambda: mapper, jobs, Options(), SceneOptions())
    return said.text


def test_the_map_is_that_of_the_files(world, tmp_path):
    text = f"s1={tmp_path}/s1.zarr,s2={tmp_path}/s2.zarr/image"
    draw(text, tmp_path / "map.tif")
    draw(f"s1={tmp_path}/s1.tif,s2={tmp_path}/s2.tif", tmp_path / "here.tif")
    with rasterio.open(tmp_path / "map.tif") as found, rasterio.open(tmp_path / "here.tif") as known:
        np.testing.assert_array_equal(found.read(), known.read())
        np.testing.assert_array_equal(found.read(1), world.truth)
        assert (found.crs, found.transform) == (known.crs, known.transform)
    assert "already mapped" in draw(text, tmp_path / "map.tif")
    chunk = next(path for path in sorted((tmp_path / "s2.zarr/image").iterdir()) if not path.name.startswith("."))
    chunk.unlink()  # a chunk that is not there holds the fill value
    assert "already mapped" not in draw(text, tmp_path / "map.tif")


def test_what_comes_while_it_is_mapped_is_noticed(world, tmp_path):
    chunk = next(path for path in sorted((tmp_path / "s2.zarr/image").iterdir()) if not path.name.startswith("."))
    content = chunk.read_bytes()
    chunk.unlink()
    files = SceneFiles.of([tmp_path / "s2.zarr"])
    files.check_unchanged(files.content)
    chunk.write_bytes(content)
    with pytest.raises(InputError, match=rf"{chunk.name}: has come while its store was mapped"):
        files.check_unchanged(files.content)
    before = SceneFiles.of([tmp_path / "s2.zarr"]).content
    chunk.rename(chunk.with_name("9.9.9"))  # the same bytes elsewhere on the ground
    assert SceneFiles.of([tmp_path / "s2.zarr"]).content != before


def test_stores_in_a_folder_are_scenes(world, tmp_path):
    for name in ("s1", "s2"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.zarr").rename(tmp_path / name / "a.zarr")
    draw(f"s1={tmp_path}/s1,s2={tmp_path}/s2", tmp_path / "maps")
    with rasterio.open(tmp_path / "maps" / "a.tif") as found:
        np.testing.assert_array_equal(found.read(1), world.truth)


def test_a_store_that_cannot_be_read_is_named(world, tmp_path):
    text = f"s1={tmp_path}/s1.zarr,s2={tmp_path}/s2.zarr"
    description = tmp_path / "s2.zarr/image/.zarray"
    (tmp_path / "s2.zarr/image/.zarray").write_text(json.dumps(json.loads(description.read_text()) | {"chunks": 3}))
    with pytest.raises(InputError, match=r"s2\.zarr/image/\.zarray: not a description of an array"):
        draw(text, tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()
