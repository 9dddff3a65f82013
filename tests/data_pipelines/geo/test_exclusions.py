"""What is not to be used of an image is found on its pixels, whatever the grid of the file that tells it."""

import json
import pathlib
import re

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from data_pipelines.geo import exclusions, geodesy, raster_io, scl
from data_pipelines.geo.exclusions import Exclusion
from data_pipelines.geo.grids import Grid
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Refused

UTM = rasterio.CRS.from_epsg(32633)
STEP = rasterio.Affine(10, 0, 500000, 0, -10, 5400000)
GRID = Grid(UTM, STEP, 40, 60)


def write(path, numbers, transform=STEP, crs=UTM, **profile):
    height, width = numbers.shape
    profile = {"driver": "GTiff", "count": 1, "dtype": numbers.dtype, "crs": crs, "transform": transform} | profile
    with raster_io.anywhere(), rasterio.open(path, "w", height=height, width=width, **profile) as out:
        out.write(numbers, 1)
    return path


def read(text, grid=GRID, window=None):
    with exclusions.opened(exclusions.parse(str(text), "--mask"), grid, pathlib.Path("scene.tif")) as found:
        return found.read(window or Window(0, 0, grid.width, grid.height))


def classes(height=20, width=30, seed=0):
    return np.random.default_rng(seed).integers(0, 12, (height, width)).astype(np.uint8)


def test_scene_classes_of_20_m_are_those_at_the_pixels_of_10_m(tmp_path):
    numbers = classes()
    path = write(tmp_path / "SCL.tif", numbers, STEP @ rasterio.Affine.scale(2), nodata=0)
    excluded, known = read(f"{path}:cloud_high,Cloud_Shadow")
    np.testing.assert_array_equal(excluded, np.isin(numbers, (9, 3)).repeat(2, 0).repeat(2, 1))
    assert known.all()
    part, _ = read(f"{path}:9,3", window=Window(7, 11, 13, 5))
    np.testing.assert_array_equal(part, excluded[11:16, 7:20])
    assert exclusions.parse(f"{path}:9,cloud_shadow", "--mask").told == "SCL.tif: cloud_shadow, cloud_high"
    # What the file calls no data is excluded where it is named, and not for being any number but 0.
    np.testing.assert_array_equal(read(f"{path}:no_data")[0], (numbers == 0).repeat(2, 0).repeat(2, 1))


def test_without_numbers_all_but_0_and_no_data_are_excluded(tmp_path):
    numbers = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (40, 60))
    path = write(tmp_path / "mask.tif", numbers, nodata=255)
    np.testing.assert_array_equal(read(path)[0], numbers == 1)
    np.testing.assert_array_equal(read(write(tmp_path / "plain.tif", numbers))[0], numbers != 0)
    np.testing.assert_array_equal(read(f"{path}:200-255")[0], numbers == 255)


def test_another_projection_takes_the_number_at_each_centre(tmp_path):
    """In degrees, turned over, and not covering all: each centre is projected by PROJ and looked up."""
    numbers = classes(300, 320)
    lonlat = rasterio.CRS.from_epsg(4326)
    west, north = geodesy.lonlat(UTM, 499950.0, 5400050.0)
    there = rasterio.Affine(0.0000229, 0, west, 0, -0.0000151, north)
    path = write(tmp_path / "far.tif", numbers, there, lonlat)
    excluded, known = read(f"{path}:0,4-7")
    x, y = geodesy.positions(STEP, np.arange(60)[None] + 0.5, np.arange(40)[:, None] + 0.5)
    columns, rows = geodesy.positions(~there, *geodesy.transformed(UTM, lonlat, *np.broadcast_arrays(x, y)))
    inside = (columns < 320) & (rows < 300)
    near_an_edge = (abs(columns - columns.round()) < 0.13) | (abs(rows - rows.round()) < 0.13)
    assert 0.2 < inside.mean() < 1 and near_an_edge.mean() < 0.6
    looked = numbers[rows.astype(int).clip(0, 299), columns.astype(int).clip(0, 319)]
    sure = ~near_an_edge
    np.testing.assert_array_equal(known[sure], inside[sure])
    np.testing.assert_array_equal(excluded[sure], (np.isin(looked, (0, 4, 5, 6, 7)) & inside)[sure])


def test_a_mask_without_a_place_is_laid_over_an_image_of_its_proportions(tmp_path):
    numbers = classes()
    path = write(tmp_path / "m.png", numbers, rasterio.Affine.identity(), None, driver="PNG")
    np.testing.assert_array_equal(read(f"{path}:3")[0], (numbers == 3).repeat(2, 0).repeat(2, 1))
    with pytest.raises(InputError, match=r"m\.png: .*proportions.*; expected the same ground"):
        read(f"{path}:3", Grid(UTM, STEP, 40, 70))


def test_polygons_exclude_the_pixels_whose_centre_they_hold(tmp_path):
    corners = [(500020, 5399980), (500101, 5399980), (500101, 5399899), (500020, 5399899), (500020, 5399980)]
    ring = [list(map(float, geodesy.lonlat(UTM, *map(float, corner)))) for corner in corners]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path = tmp_path / "clouds.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    expected = np.zeros((40, 60), bool)
    expected[2:10, 2:10] = True
    np.testing.assert_array_equal(read(path)[0], expected)
    with pytest.raises(InputError, match=r"clouds.geojson:3: numbers of polygons; expected clouds.geojson alone"):
        exclusions.parse(f"{path}:3", "--mask")


def test_polygons_elsewhere_exclude_nothing_and_it_is_said(tmp_path, caplog):
    ring = [[13.0, 50.0], [13.1, 50.0], [13.1, 50.1], [13.0, 50.0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    path = tmp_path / "clouds.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    image, exclusion = pathlib.Path("scene.tif"), Exclusion(path)
    with exclusions.opened(exclusion, GRID, image) as found:
        excluded, known = found.read(Window(0, 0, 60, 40))
        assert not excluded.any() and known.all()
        assert exclusions.survey(found, exclusion, GRID, image) == 0
    assert "clouds.geojson: nothing of scene.tif is excluded: all of its features lie elsewhere" in caplog.text


def test_numbers_of_a_folder_are_not_those_of_polygons():
    folder = Exclusion(pathlib.Path("masks"), (3,))
    assert exclusions.of_file(folder, pathlib.Path("masks/a.tif"), "--mask=masks:3").numbers == (3,)
    with pytest.raises(InputError, match=r"--mask=masks:3: numbers of polygons; expected a.gpkg alone"):
        exclusions.of_file(folder, pathlib.Path("masks/a.gpkg"), "--mask=masks:3")


def test_in_a_list_a_file_that_is_missing_is_refused_when_it_is_opened(tmp_path):
    def parsed(text):
        return exclusions.parse(text, "LIST.csv, line 2", tmp_path, must_exist=False)

    assert parsed("none.tif:3,snow") == Exclusion(tmp_path / "none.tif", (3, 11), True)
    assert parsed("a:b.tif") == Exclusion(tmp_path / "a:b.tif")
    with pytest.raises(InputError, match="numbers of polygons"):
        parsed("none.gpkg:3")
    with (
        pytest.raises(Refused, match=r"none.tif: no such file; expected a raster or polygons"),
        exclusions.opened(parsed("none.tif:3"), GRID, pathlib.Path("scene.tif")),
    ):
        pass


def test_a_name_with_a_colon_is_a_file_where_there_is_one(tmp_path):
    path = write(tmp_path / "a:3", classes())
    assert exclusions.parse(str(path), "--mask") == Exclusion(path)
    assert exclusions.parse(f"{path}:3", "--mask") == Exclusion(path, (3,))
    assert exclusions.parse("a:3", "LIST.csv", tmp_path) == Exclusion(path)


def test_what_is_no_mask_is_said_in_one_line(tmp_path):
    good = write(tmp_path / "scl.tif", classes())
    write(tmp_path / "float.tif", classes().astype(np.float32))
    write(tmp_path / "other.tif", classes() + np.uint8(40))
    write(tmp_path / "two.tif", classes(), count=2)
    for text, words in (
        (tmp_path / "none.tif", r"none.tif: no such file; expected a raster or polygons"),
        (f"{tmp_path}/none.tif:3", r"none.tif:3: no such file"),
        (f"{good}:clouds_high", r"'clouds_high' is neither a number, nor .* did you mean 'cloud_high'\?"),
        (f"{good}:", r"'' is neither a number"),
        (f"{good}:1,x", r"'x' is neither a number"),
        (f"{good}:5-3", r"'5-3' is no range"),
        (f"{good}:0-99999999", r"'0-99999999' is no range"),
        (tmp_path / "float.tif", r"float.tif: numbers of type float32; expected whole ones"),
        (tmp_path / "two.tif", r"two.tif: 2 bands; expected one"),
        (
            f"{tmp_path}/other.tif:snow",
            r"other.tif: holds \d+, which is no scene class of Sentinel-2; expected 0",
        ),
        (tmp_path, r"a folder|no raster"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            read(text)
        assert "\n" not in str(caught.value)


def test_the_names_are_those_of_the_twelve_numbers():
    assert sorted(scl.CLASSES.values()) == list(range(scl.FIRST, scl.LAST + 1))
    assert all(re.fullmatch("[a-z_]+", name) for name in scl.CLASSES)
