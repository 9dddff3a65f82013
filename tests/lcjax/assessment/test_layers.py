"""Maps and strata read strip by strip: what is counted, whose legend it is, and what is refused."""

import numpy as np
import pytest
import rasterio
from classified import write_map

from data_pipelines.schema.errors import InputError
from lcjax.assessment import layers


def count(path, excluded=lambda first, end: None, **how):
    with layers.opened(path, **how) as opened:
        return opened.population(excluded)


def test_every_pixel_is_counted_once_whatever_the_strips(tmp_path, monkeypatch):
    ids = np.random.default_rng(1).choice(np.array([1, 4, 9, 255], np.uint8), (70, 33))
    path = write_map(tmp_path / "m.tif", ids)
    whole = count(path)
    assert [(part.value, part.pixels) for part in whole.classes] == [(v, (ids == v).sum()) for v in (1, 4, 9)]
    assert whole.left_out == {"without data": (ids == 255).sum()}
    assert [part.area for part in whole.classes] == pytest.approx(
        [(ids == v).sum() * 0.01 for v in (1, 4, 9)], rel=1e-3
    )
    monkeypatch.setattr(layers, "_STRIP", 33 * 7)
    parts = count(path)
    assert parts.in_strips.shape == (10, 3) and (parts.in_strips.sum(0) == whole.in_strips.sum(0)).all()
    assert (parts.classes, parts.fingerprint) == (whole.classes, whole.fingerprint)


def test_areas_in_degrees_are_those_of_the_ground(tmp_path):
    """Rows at 60 degrees north are half as large as those at the equator, by the cosine."""
    ids = np.full((600, 16), 1, np.uint8)
    ids[300:] = 9
    path = write_map(tmp_path / "m.tif", ids, crs="EPSG:4326", transform=rasterio.Affine(0.1, 0, 0, 0, -0.1, 60))
    forest, _, water = count(path).classes
    north, south = (np.sin(np.radians(b)) - np.sin(np.radians(a)) for a, b in ((30, 60), (0, 30)))
    assert forest.pixels == water.pixels and forest.area / water.area == pytest.approx(north / south, rel=1e-2)


def test_a_map_that_lies_nowhere_has_pixels(tmp_path):
    ids = np.array([[1, 1, 9]], np.uint8)
    path = write_map(tmp_path / "m.tif", ids, crs=None, transform=rasterio.Affine.identity())
    assert [part.area for part in count(path).classes] == [2, 0, 1]


def test_strata_of_their_own(tmp_path):
    ids, strata = np.random.default_rng(2).integers(0, 2, (2, 20, 20)).astype(np.uint8)
    strata[:2] = 7
    path = write_map(tmp_path / "m.tif", ids * 8 + 1)
    other = write_map(tmp_path / "s.tif", strata, classes=(), nodata=7)
    found = count(path, strata_path=other)
    assert [(part.value, part.name, part.pixels) for part in found.strata] == [
        (v, f"stratum {v}", (strata == v).sum()) for v in (0, 1)
    ]
    assert found.left_out == {"in no stratum": 40}
    assert sum(part.pixels for part in found.classes) == 360
    assert found.fingerprint == count(path).fingerprint  # of the map alone


def test_a_legend_that_lists_255_and_one_from_a_csv(tmp_path):
    ids = np.array([[255, 0, 254, 3]], np.uint8)
    classes = {255: ("Road", "#ff0000"), 0: ("Field", "#00ff00"), 3: ("Wood", "#0000ff")}
    path = write_map(tmp_path / "m.tif", ids, classes, nodata=254)
    assert {part.name: part.pixels for part in count(path).classes} == {"Road": 1, "Field": 1, "Wood": 1}
    plain = write_map(tmp_path / "p.tif", np.array([[1, 2, 2, 3]], np.int16), classes=(), nodata=None)
    legend = tmp_path / "legend.csv"
    legend.write_text("id,name,colour,ignore\n1,a,#ff0000,\n2,b,#00ff00,\n3,c,#0000ff,1\n")
    found = count(plain, legend_csv=legend)
    assert [(part.name, part.pixels) for part in found.classes] == [("a", 1), ("b", 2)]
    assert found.left_out == {"without data": 1}  # what the legend ignores


def test_the_fingerprint_is_of_pixels_place_and_classes(tmp_path):
    ids = np.full((4, 4), 1, np.uint8)
    other = ids.copy()
    other[3, 3] = 9
    moved = rasterio.Affine(10, 0, 500_010, 0, -10, 5_400_000)
    named = {1: ("Wood", "#009900"), 4: ("b", "#f9ffa4"), 9: ("Water", "#1c0dff")}
    variants = [{}, {"ids": other}, {"transform": moved}, {"crs": "EPSG:32632"}, {"classes": named}]
    prints = set()
    for number, how in enumerate(variants):
        path = write_map(tmp_path / f"{number}.tif", **({"ids": ids} | how))
        with layers.opened(path) as opened:
            prints.add(opened.fingerprint())
            assert opened.fingerprint() == opened.population(lambda first, end: None).fingerprint
    assert len(prints) == len(variants)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "absent.tif", "no such file; expected a map of class ids"),
        (lambda folder: folder, "a folder; expected a map of class ids"),
        (
            lambda folder: write_map(folder / "m.tif", np.ones((3, 3), np.uint8), classes=()),
            "has no legend .*--legend=CSV",
        ),
        (lambda folder: write_map(folder / "m.tif", np.full((3, 3), 7, np.uint8)), "holds 7 at column 0, row 0, which"),
        (
            lambda folder: write_map(folder / "m.tif", np.full((3, 3), 255, np.uint8)),
            r"no pixel to draw from \(9 without",
        ),
        (lambda folder: write_map(folder / "m.tif", np.ones((3, 3), np.float32), ()), "1 bands of float32; expected"),
    ],
)
def test_what_is_no_map_of_classes(tmp_path, make, says):
    with pytest.raises(InputError, match=says):
        count(make(tmp_path))


def test_strata_on_another_grid(tmp_path):
    path = write_map(tmp_path / "m.tif", np.ones((3, 4), np.uint8))
    strata = write_map(tmp_path / "s.tif", np.ones((4, 4), np.uint8))
    with pytest.raises(InputError, match=r"--strata=.*s.tif: 4 x 4 pixels, expected 4 x 3 .* on the grid of the map"):
        count(path, strata_path=strata)
