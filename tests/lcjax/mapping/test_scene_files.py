"""What GDAL reads for a scene is known, and so is whether it is what it was."""

import os
import re
import shutil

import numpy as np
import own
import pytest
import rasterio.shutil

from data_pipelines.geo import raster_io
from data_pipelines.schema.errors import InputError
from lcjax.mapping.scene_files import SceneFiles, listed


def names(path) -> set[str]:
    return {file.name for file in listed(path)}


def test_sidecars_and_the_sources_of_mosaics_count_also_those_within(tmp_path):
    for name in ("a", "b"):
        own.write(tmp_path / f"{name}.tif", own.picture(0), crs="EPSG:32633")
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.build_overviews([2])
    (tmp_path / "b.tif.aux.xml").write_text("<PAMDataset/>\n")
    (tmp_path / "b.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    assert names(tmp_path / "a.tif") == {"a.tif"}
    assert {"b.tif", "b.tif.aux.xml"} <= names(tmp_path / "b.tif")
    rasterio.shutil.copy(tmp_path / "b.tif", tmp_path / "inner.vrt", driver="VRT")
    (tmp_path / "outer.vrt").write_text((tmp_path / "inner.vrt").read_text().replace("b.tif", "inner.vrt"))
    assert {"outer.vrt", "inner.vrt", "b.tif", "b.tif.aux.xml"} <= names(tmp_path / "outer.vrt")


def test_of_what_is_no_raster_it_is_the_file(tmp_path):
    (tmp_path / "x.tif").write_text("no raster")
    assert listed(tmp_path / "x.tif") == [tmp_path / "x.tif"]
    assert listed(tmp_path / "nowhere.tif") == [tmp_path / "nowhere.tif"]
    assert SceneFiles.of([tmp_path / "nowhere.tif"]).stats == ()


def test_the_content_is_of_every_byte_of_every_file_and_of_no_name_or_time(tmp_path):
    own.write(tmp_path / "a.tif", own.picture(0), crs="EPSG:32633")
    scene = SceneFiles.of([tmp_path / "a.tif"])
    shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif")
    other = SceneFiles.of([tmp_path / "b.tif"])
    assert other.content == scene.content and other.stamp != scene.stamp
    for position in (0, 5000, -1):  # in the middle of the pixels, where no sample may look
        data = bytearray((tmp_path / "a.tif").read_bytes())
        data[position] ^= 1
        (tmp_path / "b.tif").write_bytes(data)
        assert SceneFiles((tmp_path / "b.tif",), ()).content != scene.content
    shutil.copy(tmp_path / "a.tif", tmp_path / "b.tif")
    (tmp_path / "b.tif.aux.xml").write_text("<PAMDataset/>\n")
    assert SceneFiles.of([tmp_path / "b.tif"]).content != scene.content
    pair = [tmp_path / name for name in ("1", "2")]
    for texts in (("ab", "c"), ("a", "bc")):
        for path, text in zip(pair, texts, strict=True):
            path.write_text(text)
        assert SceneFiles(tuple(pair), ()).content != SceneFiles(tuple(pair[::-1]), ()).content
        pair.reverse()


def test_a_scene_that_changes_while_it_is_mapped_is_named(tmp_path):
    path = tmp_path / "a.tif"
    own.write(path, own.picture(0), crs="EPSG:32633")
    scene = SceneFiles.of([path])
    scene.check_unchanged(scene.content)
    os.utime(path, ns=(1, 1))
    scene.check_unchanged(scene.content)  # touched, no more
    with rasterio.open(path, "r+") as file:
        file.write(np.zeros((1, 1), np.uint8), 1, window=((5, 6), (5, 6)))
    with pytest.raises(InputError, match=re.escape(f"{path}: has changed while it was mapped")):
        scene.check_unchanged(scene.content)
    path.unlink()
    with pytest.raises(InputError, match=re.escape(f"{path}: has changed while it was mapped")):
        scene.check_unchanged(scene.content)


def test_large_files_show_how_far_it_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lcjax.mapping.scene_files._LARGE", 10)
    monkeypatch.setattr("data_pipelines.schema.progress._is_watched", lambda: True)  # at a terminal
    (tmp_path / "a").write_bytes(bytes(11))
    assert SceneFiles((tmp_path / "a",), ()).content
    assert "look at scene" in capsys.readouterr().err


def test_a_scene_in_a_folder_of_odd_names(tmp_path):
    folder = tmp_path / "a [1] é,=s1"
    own.write(folder / "x y.tif", own.picture(0), crs="EPSG:32633")
    with raster_io.anywhere():
        assert listed(folder / "x y.tif") == [folder / "x y.tif"]
