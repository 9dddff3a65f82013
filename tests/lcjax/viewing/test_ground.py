"""What a page shows of a ground are the pixels of the files, wherever they lie; what does not fit is told in a line."""

import json
import shutil

import numpy as np
import pytest
import rasterio
from looked_at import CLASSES, HEIGHT, NODATA, PLACE, WIDTH, make
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from data_pipelines.schema.errors import InputError
from lcjax.viewing import ground, page


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make(tmp_path_factory.mktemp("ground"))


@pytest.fixture(scope="module")
def shown(world):
    return ground.opened(world.map, world.scene, world.truth)


def whole(shown: ground.Ground, name: str, level: int, bands: int = 1) -> np.ndarray:
    """All tiles of a level side by side, (h, w, bands)."""
    step = 2**level
    height, width = -(-shown.height // step), -(-shown.width // step)
    put = np.zeros((height, width, bands), np.uint8)
    for row in range(-(-height // ground.TILE)):
        for column in range(-(-width // ground.TILE)):
            size = shown.tile_shape(level, column, row)
            tile = np.frombuffer(shown.tile(name, level, column, row), np.uint8).reshape(*size, bands)
            put[row * ground.TILE :, column * ground.TILE :][: size[0], : size[1]] = tile
    return put


def test_tiles_are_the_pixels_of_the_map(shown, world):
    assert shown.levels == 3  # 700 x 600 pixels; the last level is one tile
    np.testing.assert_array_equal(whole(shown, "map", 0)[..., 0], world.ids)
    np.testing.assert_array_equal(whole(shown, "confidence", 0)[..., 0], world.confidence)
    assert shown.tile_shape(2, 0, 0) == (150, 175)
    # Of 4 x 4 pixels one, near the middle of them.
    coarse = whole(shown, "map", 2)[..., 0]
    choices = np.stack([world.ids[a::4, b::4][:150, :175] for a in range(4) for b in range(4)])
    assert (choices == coarse).any(0).all()


def test_no_tile_lies_beyond_the_map(shown):
    assert 0 in shown.tile_shape(0, 3, 0) and 0 in shown.tile_shape(0, 0, 3)
    assert shown.tile_shape(0, 2, 2) == (HEIGHT - 512, WIDTH - 512)


def test_truth_in_another_crs_is_laid_on_the_map_as_gdal_does(shown, world):
    with rasterio.open(world.truth) as truth, rasterio.open(world.map) as target:
        grid = {"crs": target.crs, "transform": target.transform, "width": WIDTH, "height": HEIGHT}
        with WarpedVRT(truth, resampling=Resampling.nearest, tolerance=1e-9, **grid) as view:  # each pixel by itself
            expected = view.read(1)
    found = whole(shown, "truth", 0)[..., 0]
    np.testing.assert_array_equal(found, np.where(expected == 77, shown.strange, expected))
    assert (found == shown.strange).any()  # 77 is no class


def test_a_scene_is_stretched_and_clear_where_it_has_no_data(shown, world):
    picture = whole(shown, "scene", 0, 4)
    assert (picture[..., 3] == np.where(world.hole, 0, 255)).all()
    assert picture[~world.hole][:, :3].min() == 0 and picture[~world.hole][:, :3].max() == 255
    red = world.bands[2][~world.hole].astype(float)  # of B2, B3, B4
    order = np.argsort(red, kind="stable")
    assert (np.diff(picture[~world.hole][order, 0].astype(int)) >= 0).all()


def test_values_are_those_of_the_files_at_a_pixel(shown, world):
    row, column = 300, 411
    found = shown.values(column, row)
    assert found["map"] == world.ids[row, column]
    assert found["confidence"] == pytest.approx(world.confidence[row, column] / 250)
    assert found["scene"] == {name: int(world.bands[i][row, column]) for i, name in ((2, "B4"), (1, "B3"), (0, "B2"))}
    hole = np.argwhere(world.hole)[0]
    assert "scene" not in shown.values(int(hole[1]), int(hole[0]))
    longitude, latitude = shown.place(WIDTH / 2, HEIGHT / 2)
    assert 14 < longitude < 16 and 47 < latitude < 49


def test_the_page_knows_classes_and_areas(shown, world):
    known = page.description(shown)
    assert [(one["id"], one["name"], one["colour"]) for one in known["classes"][:3]] == CLASSES
    share = 100 * (world.ids == 1).sum() / (world.ids != NODATA).sum()
    assert known["classes"][0]["note"].startswith(f"{share:.1f} %, ")
    assert known["classes"][-1]["name"] == "not in the legend"
    assert json.loads(json.dumps(known))["layers"] == {
        "map": "classes", "confidence": "share", "scene": "image", "truth": "classes",
    }  # fmt: skip


def refused(match: str, *files, **more) -> None:
    with pytest.raises(InputError, match=match) as caught:
        ground.opened(*files, **more)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_told_in_a_line(world, tmp_path):
    with rasterio.open(world.scene) as scene:
        profile, bands = scene.profile, scene.read()
    away = tmp_path / "away.tif"
    moved = profile | {"transform": profile["transform"] @ rasterio.Affine.translation(90_000, 0)}
    with rasterio.open(away, "w", **moved) as out:
        out.write(bands)
    refused("lies elsewhere than .*map.tif; expected the same ground", world.map, away)
    refused("3 bands; expected one band of whole numbers", world.map, truth=world.scene)
    shares = tmp_path / "shares.tif"
    with rasterio.open(shares, "w", **profile | {"count": 1, "dtype": "float32", "driver": "GTiff"}) as out:
        out.write(bands[0].astype(np.float32), 1)
    refused("shares.tif: one band of float32; expected whole numbers, those of", world.map, truth=shares)
    line = tmp_path / "line.tif"
    with rasterio.open(line, "w", **profile | {"count": 1, "transform": rasterio.Affine(10, 10, 0, 10, 10, 0)}) as out:
        out.write(bands[0], 1)
    refused("line.tif: its transform gives pixels no area", world.map, truth=line)
    refused("no such file; expected an image", world.map, tmp_path / "none.tif")
    refused("no such file; expected a raster of one band", world.map, truth=tmp_path / "none.tif")
    refused("has no legend .*--legend=CSV", world.truth)
    refused("--bands=B9: expected one band of", world.map, world.scene, bands=["B9"])
    (tmp_path / "text.tif").write_text("no raster")
    refused("no raster of a known format", tmp_path / "text.tif")


def test_a_map_without_a_place_is_shown_alone(world, tmp_path):
    lost, nowhere = tmp_path / "lost.tif", tmp_path / "nowhere.tif"
    with rasterio.open(world.map) as source:
        profile = source.profile | {"crs": None, "transform": None, "driver": "GTiff"}
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(lost, "w", **profile) as out:
            out.write(source.read())
            out.update_tags(**source.tags())
            out.write_colormap(1, source.colormap(1))
    shown = ground.opened(lost)
    assert shown.place(3, 3) is None and shown.areas == {}
    np.testing.assert_array_equal(whole(shown, "map", 0)[..., 0], world.ids)
    refused(r"has no place \(CRS and transform\), by which --scene could be laid", lost, world.scene)
    with rasterio.open(world.scene) as source:
        profile = source.profile | {"crs": None, "transform": None, "driver": "GTiff"}
        with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(nowhere, "w", **profile) as out:
            out.write(source.read())
    refused(r"has no place \(CRS and transform\); expected an image", world.map, nowhere)
    refused(r"has no place \(CRS and transform\); expected a raster of the map's ground", world.map, truth=lost)


def test_a_truth_of_a_small_part_of_the_map_is_shown_there(world, tmp_path, capsys):
    plot = tmp_path / "plot.tif"  # 3 x 3 pixels of a field, between the places that are tried all over the map
    profile = {"count": 1, "width": 3, "height": 3, "dtype": "uint8", "crs": PLACE["crs"]}
    at = PLACE["transform"] @ rasterio.Affine.translation(411, 305)
    with rasterio.open(plot, "w", driver="GTiff", transform=at, **profile) as out:
        out.write(np.full((1, 3, 3), 2, np.uint8))
    shown = ground.opened(world.map, truth=plot)
    assert "covers less than 1 % of the map" in capsys.readouterr().out
    found = whole(shown, "truth", 0)[..., 0]
    assert (found[305:308, 411:414] == 2).all() and (found == 2).sum() == 9


def lay_beside(folder, world, values: np.ndarray, scale: float = 1 / 250, **more):
    """A copy of the map, with this as its confidence; returns the copy's path."""
    path = folder / "map.tif"
    shutil.copy(world.map, path)
    count, height, width = values.shape
    profile = {"count": count, "height": height, "width": width, "dtype": values.dtype, **PLACE, **more}
    with rasterio.open(folder / "map_confidence.tif", "w", driver="GTiff", **profile) as out:
        out.write(values)
        out.scales = (scale,) * count
    return path


LEVELS = np.full((1, HEIGHT, WIDTH), 90, np.uint8)


@pytest.mark.parametrize(
    ("values", "more", "told"),
    [
        ((LEVELS / 100).astype(np.float32), {}, "one band of float32"),
        (LEVELS.astype(np.int16), {}, "one band of int16"),
        (LEVELS, {"scale": 1.0}, "no scale and no offset"),  # percent
        (LEVELS, {"scale": 0.01}, "scale 0.01, offset 0"),
        (LEVELS.repeat(3, 0), {}, "3 bands"),
        (LEVELS[:, :-1], {}, "700 x 599 pixels, expected 700 x 600 as in map.tif"),
        (LEVELS, {"transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}, "away from map.tif"),
        (LEVELS, {"crs": None, "transform": rasterio.Affine.identity()}, "it has no place"),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_confidence_that_is_not_of_lcjax_is_left_out_with_a_line(world, tmp_path, capsys, values, more, told):
    shown = ground.opened(lay_beside(tmp_path, world, values, **more))
    assert shown.layers.keys() == {"map"}
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "no confidence: " in line]
    assert "map_confidence.tif: " in line and told in line


def test_the_confidence_of_lcjax_is_shown(world, tmp_path):
    shown = ground.opened(lay_beside(tmp_path, world, LEVELS))
    assert shown.values(5, 5)["confidence"] == pytest.approx(90 / 250)


def test_a_legend_of_all_numbers_of_a_byte_is_shown(world, tmp_path, capsys):
    table, path = tmp_path / "legend.csv", tmp_path / "many.tif"
    rows = [f"{number},class {number},#{number:06x}" for number in range(255)]
    table.write_text("\n".join(["id,name,colour", *rows, ""]))
    ids = np.arange(256, dtype=np.int16).reshape(1, 16, 16)
    ids[0, 0, 0] = 300
    profile = {"count": 1, "height": 16, "width": 16, "dtype": "int16", **PLACE}
    with rasterio.open(path, "w", driver="GTiff", **profile) as out:
        out.write(ids)
    shown = ground.opened(path, legend=table)
    np.testing.assert_array_equal(whole(shown, "map", 0).ravel()[1:], np.arange(1, 256))
    assert whole(shown, "map", 0)[0, 0, 0] == 255
    assert "the legend names all numbers of a byte" in capsys.readouterr().out
    assert len(page.description(shown)["classes"]) == 255


def test_a_legend_of_its_own_names_the_classes_of_any_map(world, tmp_path):
    table = tmp_path / "legend.csv"
    table.write_text("id,name,colour\n1,wood,#008000\n2,lake,#0000ff\n9,town,#ff0000\n77,rock,#808080\n")
    shown = ground.opened(world.truth, legend=table)
    assert [one["name"] for one in page.description(shown)["classes"]] == [
        "wood",
        "lake",
        "town",
        "rock",
        "not in the legend",
    ]


def test_a_raster_without_overviews_is_said_to_be_slow(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ground, "_SLOW", 100)
    world = make(tmp_path, cog=False)
    ground.opened(world.map)
    assert "map.tif: has no overviews" in capsys.readouterr().out
