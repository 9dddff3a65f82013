"""One mosaic or two: blocks with margins, every class in every split, and what it writes can be prepared."""

import collections
import csv
import itertools

import numpy as np
import own
import pytest

from data_pipelines.datasets.rasters import init_blocks, init_csv, tables
from data_pipelines.datasets.rasters.tables import Block
from data_pipelines.prepare import prepare, quicklooks

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def gap(one: Block, other: Block) -> int:
    """Pixels between two blocks, along rows or columns."""
    across = max(one.left, other.left) - min(one.left + one.width, other.left + other.width)
    down = max(one.top, other.top) - min(one.top + one.height, other.top + other.height)
    return max(across, down)


def land(height: int, width: int) -> np.ndarray:
    """Stripes of classes 1 and 2, and a class 7 in three corners."""
    values = np.where(np.arange(width) // 40 % 2, 1, 2).astype(np.uint8)[None].repeat(height, 0)
    values[:50, :50] = values[-50:, :50] = values[:50, -50:] = 7
    return values


def mask(path, height, width):
    own.write(path, land(height, width)[None])
    return path


@pytest.mark.parametrize("size", [(400, 700), (500, 500), (120, 900)])
def test_blocks_lie_apart_and_hold_every_class(tmp_path, size):
    found = init_blocks.propose([init_blocks.of_mask(mask(tmp_path / "m.tif", *size))], SHARES, 64)
    assert {split for _, split, _ in found} == set(SHARES)
    for (_, a, one), (_, b, other) in itertools.combinations(found, 2):
        assert gap(one, other) >= (16 if a != b else 0)
        if a != b and (one.top < other.top + other.height and other.top < one.top + one.height):
            assert gap(one, other) >= 32  # half a tile, side by side
    held = collections.defaultdict(set)
    for _, split, block in found:
        assert min(block.width, block.height) >= 64 and block.left >= 0 and block.top >= 0
        held[split] |= set(np.unique(land(*size)[block.top :, block.left :][: block.height, : block.width]).tolist())
    assert all({1, 2} <= of_split for of_split in held.values())
    if size != (120, 900):  # its corners are in two cells alone
        assert all(7 in of_split for of_split in held.values())
    assert found == init_blocks.propose([init_blocks.of_mask(tmp_path / "m.tif")], SHARES, 64)
    kept = sum(block.width * block.height for *_, block in found)
    assert kept > 0.6 * size[0] * size[1]


@pytest.mark.parametrize("seed", range(4))
def test_what_lies_in_margins_does_not_count(tmp_path, seed):
    """Small polygons: each split has enough of each class in the blocks that are left of it."""
    draws = np.random.default_rng(seed)
    labels = np.full((512, 512), 255, np.uint8)
    for number in range(36):
        top, left = draws.integers(0, 490, 2)
        labels[top : top + 22, left : left + 22] = number % 5
    own.write(tmp_path / "m.tif", labels[None], nodata=255)
    found = init_blocks.propose([init_blocks.of_mask(tmp_path / "m.tif")], SHARES, 64)
    held: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for _, split, block in found:
        part = labels[block.top :, block.left :][: block.height, : block.width]
        held[split].update(part[part < 255].tolist())
    everywhere = collections.Counter(labels[labels < 255].tolist())
    for split, share in SHARES.items():
        assert all(held[split][number] >= 0.15 * share * everywhere[number] for number in range(5)), held


def test_small_masks_are_not_cut(tmp_path):
    assert init_blocks.propose([init_blocks.of_mask(mask(tmp_path / "m.tif", 190, 120))], SHARES, 64) == []
    (tmp_path / "broken.tif").write_bytes(b"no raster")
    assert init_blocks.propose([init_blocks.of_mask(tmp_path / "broken.tif")], SHARES, 64) == []


def test_one_mosaic_is_written_in_blocks_that_can_be_prepared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quicklooks, "draw", lambda _: [])
    monkeypatch.setattr(init_csv.builder, "TILE", 64)
    own.write(tmp_path / "images/a.tif", own.picture(0, 400, 700))
    mask(tmp_path / "masks/a.tif", 400, 700)
    init_csv.init_csv("rasters", tmp_path)
    said = capsys.readouterr().out
    assert "in blocks, with 32 pixels left out between splits" in said and "say nothing about another one" in said
    with (tmp_path / "rasters.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["image"] for row in rows} == {"images/a.tif"}
    pairs = tables.read_table(tmp_path / "rasters.csv").pairs
    dataset = prepare.prepare("rasters", tmp_path, tmp_path / "data")
    assert set(dataset.splits) == set(SHARES)
    for split in SHARES:
        pixels = sum(pair.block.width * pair.block.height for pair in pairs if pair.split == split)
        assert sum(dataset.statistics["splits"][split]["class_pixels"].values()) == pixels


def test_two_mosaics_share_the_blocks(tmp_path):
    paths = [mask(tmp_path / f"{k}.tif", 200, 300) for k in range(2)]
    found = init_blocks.propose([init_blocks.of_mask(path) for path in paths], SHARES, 64)
    assert {number for number, *_ in found} == {0, 1} and {split for _, split, _ in found} == set(SHARES)
