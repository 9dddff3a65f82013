"""Small regions take the class of a neighbour: over the whole map at once, and in all that tells of the map."""

import csv
import json

import numpy as np
import pytest
import rasterio
import rasterio.features
import scipy.ndimage
import worlds
from test_map_writer import draft
from test_mapper import BESIDE, DATE, Killed, draw

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.schema.errors import InputError
from lcjax.mapping import map_writer, sieve
from lcjax.mapping.options import Options


@pytest.fixture
def world(tmp_path):
    return worlds.make(tmp_path)


def regions(ids):
    """(H, W) number of each pixel's region, and the size of each, by scipy: one class after the other."""
    numbers, count = np.zeros(ids.shape, int), 0
    for value in np.unique(ids):
        found, more = scipy.ndimage.label(ids == value)
        numbers[found > 0] = found[found > 0] + count
        count += more
    return numbers, np.bincount(numbers.ravel())


def by_hand(ids, pixels, nodata=255):
    """The sieve in numpy: small regions take the class of their largest neighbour, or of that one's, and so on."""
    numbers, sizes = regions(ids)
    largest, several = {}, set()
    for region in np.unique(numbers[ids != nodata]):
        here = numbers == region
        around = scipy.ndimage.binary_dilation(here) & ~here & (ids != nodata)
        beside = np.unique(numbers[around])
        if len(beside):
            most = beside[sizes[beside] == sizes[beside].max()]
            largest[region] = most[0]
            several |= {region} if len(most) > 1 else set()
    out, tied = ids.copy(), np.zeros(ids.shape, bool)
    for region in np.unique(numbers[ids != nodata]):
        way = [region]
        while sizes[way[-1]] < pixels and way[-1] in largest and largest[way[-1]] not in way:
            way.append(largest[way[-1]])
        tied[numbers == region] = bool(several & set(way[:-1]))
        if sizes[way[-1]] >= pixels:
            out[numbers == region] = ids[numbers == way[-1]][0]
    return out, tied


def spotted(height=120, width=90, seed=0):
    """Ids with large and small regions, and holes."""
    rng = np.random.default_rng(seed)
    smooth = scipy.ndimage.gaussian_filter(rng.normal(size=(height, width)), 2.5)
    ids = np.array([1, 2, 6], np.uint8)[np.digitize(smooth, [-0.05, 0.05])]
    spots = rng.random(ids.shape) < 0.05
    ids[spots] = rng.choice(np.array([1, 2, 6, 10], np.uint8), spots.sum())
    ids[rng.random(ids.shape) < 0.02] = 255
    ids[40:60, 30:50] = 255
    ids[50, 40] = 2  # an island in no data
    return ids


@pytest.mark.parametrize("pixels", [2, 5, 40])
def test_the_sieve_of_a_draft_is_that_of_the_whole_map(tmp_path, monkeypatch, pixels):
    ids = spotted()
    wanted = map_writer.products(DFC2020)
    monkeypatch.setattr(sieve, "_ROWS", 7)
    with draft(tmp_path / "map.tif", width=90, layers=1, boundaries=(0, 120)) as made:
        made.append(ids[:, None])
        read = sieve.reader(made, wanted, DFC2020, ids.shape, pixels)
        found = np.concatenate([read(0, 50), read(50, 120)])[:, 0]
    expected, tied = by_hand(ids, pixels)
    assert (expected != ids).sum() > 100 and tied.mean() < 0.1
    np.testing.assert_array_equal(found[~tied], expected[~tied])
    np.testing.assert_array_equal(found == 255, ids == 255)
    assert found[50, 40] == 2
    np.testing.assert_array_equal(found, rasterio.features.sieve(ids, pixels, mask=ids != 255))


def answers(inputs):
    """A class by the brightness, not quite sure of it."""
    plain = worlds.probabilities(inputs)
    return (0.6 * plain + 0.3 * np.roll(plain, 1, -1) + 0.1 * np.roll(plain, 3, -1)).astype(np.float32)


@pytest.mark.parametrize("all_of_them", [False, True])
def test_areas_and_confidence_tell_of_the_sieved_map(world, all_of_them):
    output = world.folder / "map.tif"
    ids, areas, _ = draw(world, output, network=answers, date=DATE, sieve=2, confidence=True, probabilities=all_of_them)
    np.testing.assert_array_equal(ids, rasterio.features.sieve(world.truth, 2, mask=world.truth != 255))
    changed = ids != world.truth
    assert changed.mean() > 0.1
    assert {row["id"]: row["pixels"] for row in areas.rows()}[255] == (ids == 255).sum()
    with output.with_suffix(".areas.csv").open() as file:
        assert all(int(row["pixels"]) == (ids == int(row["id"])).sum() for row in csv.DictReader(file))
    names = [c.id for c in DFC2020.scored]
    index = np.array([names.index(i) if i in names else 0 for i in range(256)])
    # The rule answers for each pixel, so its probabilities follow from the class that it gives.
    step = (index[ids] - index[world.truth]) % 8
    share = np.select([step == 0, step == 1, step == 3], [150, 75, 25], 0)
    with rasterio.open(world.folder / "map_confidence.tif") as confidence:
        np.testing.assert_array_equal(confidence.read(1), np.where(ids == 255, 255, share))
    assert (world.folder / "map_probabilities.tif").exists() == all_of_them
    told = "regions of fewer than 2 pixels took the class of a larger neighbour"
    item = json.loads(output.with_suffix(".json").read_text())
    with rasterio.open(output) as result:
        assert result.tags()["LCJAX_SIEVE"] == item["properties"]["lcjax:sieve"] == told


def test_killed_while_it_sieves_it_ends_in_the_same_bytes_and_another_size_begins_anew(world, monkeypatch):
    whole, output = world.folder / "whole" / "map.tif", world.folder / "map.tif"
    whole.parent.mkdir()
    draw(world, whole, date=DATE, sieve=5)

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(rasterio.features, "sieve", killed)
        draw(world, output, date=DATE, sieve=5)
    assert not output.exists() and (world.folder / ".map.tif.draft" / "scratch" / "ids").exists()
    _, _, said = draw(world, output, date=DATE, sieve=5, network=None)  # all rows are there
    assert "goes on from row 75 of 75" in said
    for name in (*BESIDE, "map.json"):
        assert (output.parent / name).read_bytes() == (whole.parent / name).read_bytes()
    assert not list(world.folder.glob(".*"))
    assert "already mapped" not in draw(world, output, date=DATE, sieve=6)[2]
    assert "already mapped" not in draw(world, output, date=DATE)[2]


@pytest.mark.parametrize("pixels", [1, -3, 2**31])
def test_sizes_that_no_region_has_are_refused(pixels):
    with pytest.raises(InputError, match=rf"--sieve={pixels}: expected the pixels that a region has at least, 2 to"):
        Options(sieve=pixels).check(256)
