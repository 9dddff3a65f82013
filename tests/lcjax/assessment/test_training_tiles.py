"""Points on training tiles: found in any CRS, refused by name, left out on request; what a run was trained on."""

import numpy as np
import pytest
from classified import PLACE, random_ids, write_map

from data_pipelines.geo import geodesy
from data_pipelines.schema import on_disk
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.spec import Extent
from lcjax.assessment import sampling, training_tiles
from lcjax.assessment.training_tiles import Mask, Tiles

UTM = geodesy.CRS.from_epsg(32633)
# Columns 20 to 39 and rows 30 to 59 of the maps of `classified`, 90 x 120 pixels of 10 m.
BOUNDS = (500_200.0, 5_399_400.0, 500_400.0, 5_399_700.0)


def in_degrees():
    """A tile in degrees that lies within the one of `BOUNDS`."""
    west, south = geodesy.lonlat(UTM, np.array(BOUNDS[0] + 5), np.array(BOUNDS[1] + 5))
    east, north = geodesy.lonlat(UTM, np.array(BOUNDS[2] - 5), np.array(BOUNDS[3] - 5))
    return Extent("EPSG:4326", tuple(float(one) for one in (west, south, east, north)))


def tiles(*extents, placeless=0):
    return Tiles("tiles of a test", tuple(f"tile{at}" for at in range(len(extents))), extents, placeless)


def test_points_are_named_by_the_tile_that_they_lie_on():
    columns, rows = np.array([20, 39, 19, 40, 30, 30]), np.array([30, 59, 40, 40, 29, 60])
    x, y = geodesy.positions(PLACE, columns + 0.5, rows + 0.5)
    far = Extent("EPSG:32633", (0.0, 0.0, 10.0, 10.0))
    found = tiles(far, Extent("EPSG:32633", BOUNDS)).under(UTM, x, y)
    assert found == ["tile1", "tile1", "", "", "", ""]
    middle = geodesy.positions(PLACE, np.array([30.5]), np.array([45.5]))
    assert tiles(in_degrees()).under(UTM, *middle) == ["tile0"]


@pytest.mark.parametrize("degrees", [False, True])
def test_the_mask_holds_the_pixels_whose_centres_lie_on_tiles(degrees):
    extent = in_degrees() if degrees else Extent("EPSG:32633", BOUNDS)
    outside = Extent("EPSG:32633", (400_000.0, 5e6, 400_100.0, 5_000_100.0))
    mask = Mask(tiles(outside, extent), UTM, PLACE, 120, 90)
    found = np.zeros((120, 90), bool)
    for first, end in ((0, 7), (7, 31), (31, 58), (58, 120)):
        part = mask(first, end)
        found[first:end] = False if part is None else part
    rows, columns = np.indices((120, 90)) + 0.5
    x, y = geodesy.positions(PLACE, columns.ravel(), rows.ravel())
    named = np.array([bool(name) for name in tiles(extent).under(UTM, x, y)]).reshape(120, 90)
    np.testing.assert_array_equal(found, named)
    assert degrees or found.sum() == 20 * 30
    assert 400 < found.sum() <= 600 and mask(0, 20) is None


@pytest.fixture
def trained_map(tmp_path, monkeypatch):
    path = write_map(tmp_path / "map.tif", random_ids(), trained_on="town 1.0.0")
    known = tiles(Extent("EPSG:32633", BOUNDS))
    monkeypatch.setattr(training_tiles, "read", lambda folder: known)
    return path


def request(path, **how):
    return sampling.Request(path, **({"size": 300, "minimum": 50, "training": "run"} | how))


def test_points_on_training_tiles_are_refused_by_name_unless_told(trained_map, tmp_path, capsys):
    with pytest.raises(InputError, match=r"trained on town .*, and points on its tiles would flatter the map"):
        sampling.sample(request(trained_map, training=""), tmp_path / "a")
    with pytest.raises(
        InputError, match=r"\d+ of 300 points lie on tiles of a test: \d+ \(on tile0\), .*--on_training"
    ):
        sampling.sample(request(trained_map), tmp_path / "a")
    left = sampling.sample(request(trained_map, on_training="exclude"), tmp_path / "b")
    assert left.left_out["on training tiles"] == 600 and "no point lies on them" in left.training
    assert not any(20 <= point.column < 40 and 30 <= point.row < 60 for point in left.points)
    assert sum(one.pixels for one in left.strata) == 120 * 90 - 100 - 600
    kept = sampling.sample(request(trained_map, on_training="allow"), tmp_path / "c")
    count = sum(20 <= point.column < 40 and 30 <= point.row < 60 for point in kept.points)
    assert count and f"{count} of the points lie on them" in kept.training
    assert f"warning: {count} of 300 points lie on" in capsys.readouterr().out
    none = sampling.sample(request(trained_map, training="none"), tmp_path / "d")
    assert none.points == kept.points and "--training=none" in none.training


def test_tiles_that_do_not_tell_their_place(trained_map, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_tiles, "read", lambda folder: tiles(placeless=4))
    with pytest.raises(InputError, match="lie nowhere, so points cannot be compared"):
        sampling.sample(request(trained_map), tmp_path / "a")
    local = write_map(tmp_path / "local.tif", random_ids(), crs='LOCAL_CS["of a site",UNIT["metre",1]]')
    far = Extent("EPSG:32633", (0.0, 0.0, 10.0, 10.0))
    monkeypatch.setattr(training_tiles, "read", lambda folder: tiles(far))
    with pytest.raises(InputError, match="the map lies nowhere, so points cannot be compared"):
        sampling.sample(request(local), tmp_path / "a")
    monkeypatch.setattr(training_tiles, "read", lambda folder: tiles(far, placeless=4))
    sampling.sample(request(trained_map), tmp_path / "a")
    assert "warning: 4 of 5 records do not tell where they lie" in capsys.readouterr().out


def test_tiles_of_a_run_are_those_it_learned_from_and_of_a_data_set_all(trained, data_dir):
    of_run = training_tiles.read(trained)
    (folder,) = (path.parent for path in data_dir.glob("sample/*/description.json"))
    of_data = training_tiles.read(folder)
    records = on_disk.read_records(folder)
    assert set(of_data.records) == set(records.origins) and of_data.placeless == 0
    assert set(of_run.records) < set(of_data.records)
    assert not set(of_run.records) & set(records.by_split["test"])
    first = of_run.extents[0]
    left, bottom, right, top = first.bounds
    crs = geodesy.CRS.from_string(first.crs)
    middle = np.array([(left + right) / 2]), np.array([(bottom + top) / 2])
    assert of_run.under(crs, *middle) == [of_run.records[0]]


def test_what_is_neither_a_run_nor_a_data_set(tmp_path):
    with pytest.raises(InputError, match=r"neither a workdir \(config.json\) nor a prepared data set"):
        training_tiles.read(tmp_path)
