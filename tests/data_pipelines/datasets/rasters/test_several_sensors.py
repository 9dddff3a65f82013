"""Own imagery of several sensors: each as it was in its files, all on one grid, or refused by name."""

import os
import re

import numpy as np
import own
import pytest
import rasterio
from PIL import Image
from rasterio import Affine

from data_pipelines.datasets.rasters import builder, family, init_csv, palettes, tables
from data_pipelines.geo import raster_io
from data_pipelines.prepare import prepare
from data_pipelines.schema import band_selection
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import SENSORS

HEAD = "radar,s2_after,mask,split,group\n"
BLOCKS = "radar,s2_after,mask,split,left,top,width,height\n"
PLACE = {"crs": "EPSG:32633"}


def folder(root, places=8, labelled=6, place=PLACE):
    """Places of 40 x 70 pixels: one band of float32, three of uint8, and masks for the first ones."""
    text = ""
    for k, name in enumerate("abcdefgh"[:places]):
        split = ("train", "train", "train", "train", "validation", "test")[k] if k < labelled else "unlabelled"
        own.write(root / f"radar/{name}.tif", own.picture(k, bands=1, dtype="float32"), **place)
        own.write(root / f"s2_after/{name}.tif", own.picture(100 + k), **place)
        if k < labelled:
            own.write(root / f"mask/{name}.tif", own.ids(k), **place)
        mask = f"mask/{name}.tif" if k < labelled else ""
        text += f"radar/{name}.tif,s2_after/{name}.tif,{mask},{split},g{k}\n"
    (root / "rasters.csv").write_text(HEAD + text)
    (root / "legend.csv").write_text(own.LEGEND)
    return root


def opened(root, **how):
    """(data set, its items by split) without a shard being written."""
    described = builder.describe("rasters/pairs", root, None, 32, **how)
    spec = builder.spec(described, family.RASTERS)
    return spec, spec.index([])


def refusals(root, **how):
    """{end of the file's path: reason} of what is refused."""
    items = [item for some in opened(root, **how)[1].values() for item in some if item.refused]
    return {"/".join(item.refused.file.parts[-2:]): item.refused.reason for item in items}


def make(source, tmp_path, **how):
    return prepare.prepare("rasters/pairs", source, tmp_path / "data", **{"tile": 32, "workers": 1} | how)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    return make(folder(root / "source"), root)


def test_each_sensor_has_bands_numbers_and_scaling_of_its_own(pairs):
    radar, optical = pairs.sensors
    assert [(s.name, s.bands, s.dtype) for s in pairs.sensors] == [
        ("radar", ("gray",), "float32"),
        ("s2_after", ("red", "green", "blue"), "uint8"),
    ]
    assert radar.ground_sampling == optical.ground_sampling == pytest.approx(0.5, rel=1e-3)
    values = np.stack([own.picture(100 + k) for k in range(4)], 1).reshape(3, -1).astype(float)
    np.testing.assert_allclose(optical.scaling.offset, values.mean(1), rtol=1e-12)
    values = np.stack([own.picture(k, bands=1, dtype="float32") for k in range(4)]).astype(float)
    np.testing.assert_allclose(radar.scaling.scale, values.std(), rtol=1e-9)


def test_every_record_is_one_place_of_all_sensors_and_the_mask(pairs):
    assert pairs.splits == {"train": 24, "validation": 6, "test": 6, "unlabelled": 12}
    for split in pairs.splits:
        source = pairs.source(split)
        for record in (source[index] for index in range(len(source))):
            name, row, column = record["id"].rsplit("_", 2)
            k, top, left = "abcdefgh".index(name[6]), int(row[1:]), int(column[1:])
            part = np.s_[top : top + 32, left : left + 32]
            radar, optical = own.picture(k, bands=1, dtype="float32"), own.picture(100 + k)
            height, width = radar[0][part].shape
            np.testing.assert_array_equal(record["radar"][:height, :width, 0], radar[0][part])
            np.testing.assert_array_equal(record["s2_after"][:height, :width], np.moveaxis(optical, 0, -1)[part])
            known = record["label"][:height, :width] != 255
            assert known.any() == (split != "unlabelled")
            np.testing.assert_array_equal(record["label"][:height, :width][known], own.ids(k)[0][part][known])


def test_parts_of_an_unlabelled_split_have_the_statistics_of_the_whole(tmp_path):
    """Nothing tells which of their pixels overlap, are mirrored or hold no data: the whole was counted by pixel."""
    root = folder(tmp_path / "source")
    for path in sorted((root / "s2_after").iterdir())[-2:]:
        with rasterio.open(path, "r+") as file:
            pixels = file.read()
            pixels[:, :, 8:] = 0
            file.nodata = 0
            file.write(pixels)
    data = make(root, tmp_path)
    whole, part = (data.band_statistics(spec)["s2_after"] for spec in ("unlabelled", "unlabelled[:50%]"))
    assert part == whole
    known = np.stack([own.picture(106 + k)[:, :, :8] for k in range(2)], 1).reshape(3, -1).astype(float)
    assert whole["pixels"] == known.shape[1] == 2 * 40 * 8
    np.testing.assert_allclose(whole["mean"], known.mean(1), rtol=1e-12)


def test_what_holds_no_data_in_one_sensor_has_no_label_and_its_own_mean(tmp_path):
    radar = own.picture(0, bands=1, dtype="float32")
    radar[0, :5, :7] = np.nan
    root = folder(tmp_path / "source", places=6)
    own.write(root / "radar/a.tif", radar, **PLACE)
    spec, items = opened(root)
    record = spec.read(items["train"][0]).parts
    assert (record["label"][:5, :7] == 255).all() and (record["label"] != 255).sum() == 32 * 32 - 35
    seen = radar[0, :32, :32]
    np.testing.assert_allclose(record["radar"][:5, :7, 0], np.nanmean(seen.astype(float)), rtol=1e-6)
    np.testing.assert_array_equal(record["s2_after"], np.moveaxis(own.picture(100), 0, -1)[:32, :32])


NORTH = {"crs": "EPSG:32632"}
REFUSED = {
    "rows": ((own.picture(100, height=39), PLACE), r"pixels of 0\.5 x 0\.4875 m, expected 0\.5 x 0\.5 m as in a\.tif"),
    "shape": ((own.picture(100, height=39), {}), r"70 x 39 pixels, not of the proportions of the 70 x 40 of a\.tif"),
    "coarse": ((own.picture(100, height=20, width=35), {}), "35 x 20 pixels, expected 70 x 40 as in .* --resample"),
    "crs": ((own.picture(100), NORTH), r"CRS EPSG:32632, expected EPSG:32633 as in a\.tif"),
    "dates": ((own.picture(100, bands=6), PLACE), r"6 bands, expected 3 as most of s2_after in rasters\.csv"),
    "dtype": ((own.picture(100, dtype="uint16"), PLACE), "dtype uint16, expected uint8 as most of s2_after"),
}


@pytest.mark.parametrize(("image", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_partner_that_does_not_fit_is_refused_by_name(tmp_path, image, reason):
    root = folder(tmp_path / "source", places=6)
    own.write(root / "s2_after/a.tif", image[0], **image[1])
    ((file, told),) = refusals(root).items()
    assert file == "s2_after/a.tif"
    assert re.search(reason, told), told


def test_of_three_the_one_that_differs_is_refused_whichever_it_is(tmp_path):
    """The first sensor's image is the odd one; the other sensor and the mask agree."""
    root = folder(tmp_path / "source", places=6)
    own.write(root / "radar/a.tif", own.picture(0, bands=1, dtype="float32"), **NORTH)
    ((file, told),) = refusals(root).items()
    assert file == "radar/a.tif" and told.startswith("CRS EPSG:32632, expected EPSG:32633 as in a.tif")


@pytest.mark.parametrize("place", [{}, PLACE], ids=["nowhere", "placed"])
def test_other_pixels_of_the_same_ground_are_resampled_when_told(tmp_path, place):
    """A plane stays a plane: bilinear, on the right pixels, whatever tile it is read for."""
    rows, columns = np.mgrid[0:40, 0:70] + 0.5
    root = folder(tmp_path / "source", places=6, place=place)
    fine = (columns + 2 * rows).astype(np.float32)[None]
    coarse = fine.reshape(1, 20, 2, 35, 2).mean((2, 4))
    for name in "abcdef":
        own.write(root / f"radar/{name}.tif", fine, **place)
        moved = {"transform": Affine(1, 0, 500_000, 0, -1, 5_000_000)} if place else {}
        own.write(root / f"s2_after/{name}.tif", np.repeat(coarse, 3, 0), **place | moved)
    with pytest.raises(InputError, match=r"expected 70 x 40 as in a\.tif; if it covers .*`lcjax prepare --resample`"):
        opened(root)
    spec, items = opened(root, resample=True)
    assert [sensor.ground_sampling for sensor in spec.sensors] == [pytest.approx(0.5, rel=1e-3) if place else None] * 2
    for item in items["train"][:3]:
        record, cut = spec.read(item).parts, item.cut
        near = [1 if start == 0 else 0 for start in (cut.top, cut.left)]  # at its edge an image has no neighbour
        end = [-1 if start + 32 >= size else None for start, size in ((cut.top, 40), (cut.left, 70))]
        inside = np.s_[near[0] : end[0], near[1] : end[1]]
        expected = np.repeat(record["radar"][inside], 3, -1)
        np.testing.assert_allclose(record["s2_after"][inside], expected, atol=1e-3, err_msg=item.id)
    assert builder.describe("x", root, None, 32, True).fingerprint != builder.describe("x", root, None, 32).fingerprint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            HEAD + "a.tif,,m.tif,train,\nb.tif,c.tif,n.tif,train,\n",
            "line 2: no s2_after; expected a value in each of radar, s2_after and split",
        ),
        (HEAD + "a.tif,,m.tif,train,\nb.tif,c.tif,n.tif,train,\n", "line 2: no s2_after"),
        (HEAD + "a.tif,a.tif,m.tif,train,\n", "line 2: radar and s2_after are both .*a.tif; expected a file for each"),
        (HEAD + "a.tif,b.tif,./b.tif,train,\n", "line 2: mask and s2_after are both .*b.tif; expected a file for each"),
        (
            HEAD + "a.tif,c.tif,m.tif,train,\nb.tif,c.tif,n.tif,test,\n",
            "line 3: s2_after .*c.tif is in test here and in",
        ),
        (
            HEAD + "a.tif,b.tif,m.tif,train,\nb.tif,c.tif,n.tif,test,\n",
            "line 3: radar .*b.tif is in test here and in train in line 2; expected every file in one split",
        ),
        (
            HEAD + "a.tif,b.tif,m.tif,train,\nc.tif,d.tif,m.tif,test,\n",
            "line 3: mask .*m.tif is in test here and in train in line 2",
        ),
        (
            BLOCKS + "a.tif,d.tif,,train,0,0,8,8\na.tif,d.tif,,test,9,0,8,8\nb.tif,d.tif,,train,0,0,8,8\n",
            "line 4: s2_after .*d.tif is in train here and in test in line 3",
        ),
        (
            HEAD.replace("radar", "early") + "a.tif,b.tif,m.tif,train,\n",
            "column 'early' holds images, and its name .* none",
        ),
        (HEAD.replace("radar", "2020") + "a.tif,b.tif,m.tif,train,\n", "column '2020' holds images"),
        ("s1,labels,mask,split\na.tif,b.tif,m.tif,train\n", "column 'labels' holds files and looks like a second mask"),
        ("s1,lc,mask,split\na.tif,b.tif,m.tif,train\n", "column 'lc' holds files and looks like a second mask"),
        ("s1,target,mask,split\na.tif,b.tif,m.tif,train\n", "column 'target' holds files and looks like a second"),
        ("left,right,mask,split\na.tif,b.tif,,train\n", "column 'left' holds files, .* such as image_left"),
        ("s1,s2,split\na.tif,b.tif,train\n", "no column mask in the header s1,s2,split"),
    ],
)
def test_a_csv_of_sensors_that_cannot_be_used(tmp_path, text, says):
    (tmp_path / "rasters.csv").write_text(text)
    with pytest.raises(InputError, match=says):
        tables.read_table(tmp_path / "rasters.csv")


def test_parts_of_one_place_are_in_several_splits_and_a_file_in_many_rows_of_one(tmp_path):
    parts = (("train", 0), ("test", 9), ("train", 18))
    path = tmp_path / "rasters.csv"
    path.write_text(BLOCKS + "".join(f"a.tif,b.tif,m.tif,{split},{left},0,8,8\n" for split, left in parts))
    assert [pair.split for pair in tables.read_table(path).pairs] == ["train", "test", "train"]
    path.write_text(HEAD + "a.tif,b.tif,m.tif,train,\nb.tif,c.tif,m.tif,train,\nd.tif,c.tif,n.tif,train,\n")
    assert len(tables.read_table(path).pairs) == 3


def test_links_are_followed_and_each_folder_is_looked_up_once(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"x/{name}.tif").touch()
    (tmp_path / "x/c.tif").symlink_to("b.tif")
    (tmp_path / "y").symlink_to("x")
    path = tmp_path / "rasters.csv"
    path.write_text(HEAD + "x/a.tif,x/b.tif,,train,\nx/d.tif,y/c.tif,,test,\n")
    with pytest.raises(InputError, match=r"line 3: s2_after .*y/c\.tif is in test here and in train in line 2"):
        tables.read_table(path)
    asked, realpath = [], os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda file: asked.append(file) or realpath(file))
    path.write_text(HEAD + "".join(f"x/{k}.tif,z/{k}.tif,m/{k}.tif,train,\n" for k in range(50)))
    assert len(tables.read_table(path).pairs) == 50 and len(asked) == 3


def test_files_of_more_sensors_stay_open_from_tile_to_tile(tmp_path, monkeypatch):
    names = [f"x{k}" for k in range(20)]
    for k, name in enumerate(names):
        own.write(tmp_path / f"{name}.tif", own.picture(k, bands=1))
    row = ",".join(f"{name}.tif" for name in names)
    (tmp_path / "rasters.csv").write_text(f"{','.join(names)},mask,split\n{row},,unlabelled\n")
    spec, items = opened(tmp_path)
    made, really = [], raster_io.opened
    monkeypatch.setattr(raster_io, "opened", lambda path: made.append(path) or really(path))
    assert len([spec.read(item) for item in items["unlabelled"]]) > 4
    assert len(made) == 20


def test_notes_are_told_and_not_read(tmp_path):
    (tmp_path / "rasters.csv").write_text("s1,note,s2,mask,split\na.tif,cloudy. I think,b.png,,train\n")
    table = tables.read_table(tmp_path / "rasters.csv")
    assert table.unread == ("note",)
    assert list(table.pairs[0].images) == ["s1", "s2"] and table.pairs[0].mask is None


def test_without_any_mask_no_legend_is_needed(tmp_path):
    root = folder(tmp_path / "source", labelled=0, places=3)
    (root / "legend.csv").unlink()
    spec, items = opened(root)
    assert {split: len(some) for split, some in items.items()} == {"unlabelled": 18}
    assert (spec.scaled_by, [c.name for c in spec.legend.scored]) == ("unlabelled", ["unlabelled"])
    assert (spec.read(items["unlabelled"][0]).parts["label"] == 255).all()


def test_a_sensor_may_have_a_published_name_and_numbers_of_its_own(tmp_path):
    root = folder(tmp_path / "source", places=6)
    table = root / "rasters.csv"
    table.write_text(table.read_text().replace("radar,s2_after,", "s1,s2,", 1))
    s1, s2 = opened(root)[0].sensors
    assert (s1.name, s2.name) == ("s1", "s2") and not s1.is_published and not s2.is_published
    assert all(sensor.is_published for sensor in SENSORS.values())
    assert band_selection.chosen([s1, s2], "red+blue")[1].bands == ("red", "blue")
    with pytest.raises(InputError, match=r"config\.bands='rgb': expected all, or bands of the data set"):
        band_selection.chosen([s1, s2], "rgb")  # these names are of the published sensor


def test_init_proposes_sensors_from_folders_side_by_side(tmp_path, capsys):
    root = folder(tmp_path / "source")
    for name in ("rasters.csv", "legend.csv"):
        (root / name).unlink()
    (root / "radar" / "z.tif").write_bytes((root / "radar" / "a.tif").read_bytes())
    init_csv.init_csv("rasters/pairs", root)
    said = " ".join(capsys.readouterr().out.split())
    assert "8 pairs; 4 train, 1 validation, 1 test, 2 unlabelled (by whole images)" in said
    assert "sensors: radar, s2_after" in said and "left out: 1 rasters without partner (radar/z.tif)" in said
    pairs = tables.read_table(root / "rasters.csv").pairs
    assert [list(pair.images) for pair in pairs] == [["radar", "s2_after"]] * 8
    assert [pair.split for pair in pairs if pair.mask is None] == ["unlabelled"] * 2
    assert len(opened(root)[1]["unlabelled"]) == 12


def test_init_of_places_without_masks(tmp_path, capsys):
    root = folder(tmp_path / "source", labelled=0, places=3)
    for name in ("rasters.csv", "legend.csv"):
        (root / name).unlink()
    init_csv.init_csv("rasters/pairs", root)
    assert "3 pairs; 3 unlabelled (no masks)" in capsys.readouterr().out
    assert not (root / "legend.csv").exists()
    assert len(opened(root)[1]["unlabelled"]) == 18


NO_SENSORS = {
    "a folder for each place": ("a/image", "a/mask", "b/image", "b/mask", "c/image", "c/mask"),
    "bands": ("scene1/B02", "scene1/B8A", "scene1/red", "scene2/B02", "scene2/B8A", "scene2/red"),
    "polarisations": ("scene1/VV", "scene1/VH", "scene2/VV", "scene2/VH"),
    "landcover": ("x/lc", "x/s1", "y/lc", "y/s1"),
    "splits": ("train/000", "train/001", "test/000", "test/001"),
}


@pytest.mark.parametrize("names", NO_SENSORS.values(), ids=NO_SENSORS)
def test_init_takes_no_folders_of_places_or_splits_for_sensors(tmp_path, names):
    for k, name in enumerate(names):
        own.write(tmp_path / f"{name}.tif", own.picture(k, bands=1))
    with pytest.raises(InputError, match="no image with a mask found") as told:
        init_csv.init_csv("rasters", tmp_path)
    assert not (tmp_path / "rasters.csv").exists()
    assert ("a folder for each place is not read" in str(told.value)) == (names != NO_SENSORS["splits"])


@pytest.mark.parametrize("folder_of_masks", ["lc", "LandCover", "segmentation", "target", "reference", "Ground Truth"])
def test_init_takes_what_is_called_like_masks_for_masks(tmp_path, folder_of_masks):
    for k, name in enumerate("abcdef"):
        own.write(tmp_path / f"s1/{name}.tif", own.picture(k, bands=1))
        own.write(tmp_path / f"lc08/{name}.tif", own.picture(k))
        own.write(tmp_path / f"{folder_of_masks}/{name}.tif", own.ids(k))
    init_csv.init_csv("rasters", tmp_path)
    pairs = tables.read_table(tmp_path / "rasters.csv").pairs
    assert {tuple(pair.images) for pair in pairs} == {("lc08", "s1")}
    assert {pair.mask.parent.name for pair in pairs} == {folder_of_masks}


def test_init_says_which_folder_may_be_of_masks(tmp_path, capsys):
    for k, name in enumerate("ab"):
        own.write(tmp_path / f"s1/{name}.tif", own.picture(k, bands=1))
        own.write(tmp_path / f"s2/{name}.tif", own.picture(k))
        own.write(tmp_path / f"osm/{name}.tif", own.ids(k))
    init_csv.init_csv("rasters", tmp_path)
    assert "no folder of masks was found, but osm may be one" in " ".join(capsys.readouterr().out.split())


def test_what_init_writes_is_read_whatever_the_folders_are_called(tmp_path):
    """Folders called as columns that mean something else."""
    folders = ("left", "top", "width", "height", "group", "split", "image", "label 2", "s2")
    for folder in folders:
        for k, name in enumerate("abcdef"):
            own.write(tmp_path / f"{folder}/{name}.tif", own.ids(k) if "label" in folder else own.picture(k))
    init_csv.init_csv("rasters", tmp_path)
    table = tables.read_table(tmp_path / "rasters.csv")
    assert len(table.pairs) == 6 and not table.unread
    named = {name: path.parent.name for name, path in table.pairs[0].images.items()}
    assert named == {"s2": "s2"} | {f"image_{folder}": folder for folder in folders[:-2]}
    assert all(pair.mask and not pair.block for pair in table.pairs)


def first_label_by_colours(root, capsys):
    """The first label, by the CSVs that --init proposes of masks of which one has a palette that runs backwards."""
    for name in ("rasters.csv", "legend.csv"):
        (root / name).unlink()
    init_csv.init_csv("rasters/pairs", root)
    assert "1 of 6 masks have a palette that draws the smaller numbers lighter" in capsys.readouterr().out
    spec, items = opened(root)
    first = next(item for some in items.values() for item in some if item.id == "radar/a.tif_r0_c0")
    return spec.read(first).parts["label"]


WHITE_IS_0 = {0: (255, 255, 255, 255), 1: (0, 0, 0, 255)}


def test_a_palette_that_runs_backwards_is_not_taken_for_plain_numbers(tmp_path, capsys):
    """As programs write that make files small: white, the 1 of the other masks, is number 0."""
    values = [np.random.default_rng(k).integers(0, 2, (1, 40, 70), np.uint8) for k in range(6)]
    root = folder(tmp_path / "source", places=6)
    for k, name in enumerate("abcdef"):
        own.write(root / f"mask/{name}.tif", values[k], **PLACE)
    own.write(root / "mask/a.tif", 1 - values[0], palette=WHITE_IS_0, **PLACE)
    (root / "legend.csv").write_text("id,name,colour\n0,dry,#8b5a2b\n1,flooded,#1f77b4\n")
    ((file, told),) = refusals(root).items()
    assert file == "mask/a.tif" and told.startswith("its palette draws the smaller numbers lighter")
    np.testing.assert_array_equal(first_label_by_colours(root, capsys), values[0][0, :32, :32])


@pytest.mark.parametrize(
    ("number", "palette"),
    [(0, {0: (255, 255, 255, 255)}), (1, {0: (255, 255, 255, 255), 1: (0, 0, 0, 255)})],
    ids=["white", "black"],
)
def test_a_palette_of_a_mask_that_holds_one_number_is_not_taken_for_plain_numbers(tmp_path, capsys, number, palette):
    """A mask of nothing but white, which is number 0 of its palette, and 1 in the others."""
    root = folder(tmp_path / "source", places=6)
    for k, name in enumerate("abcdef"):
        own.write(root / f"mask/{name}.tif", np.random.default_rng(k).integers(0, 2, (1, 40, 70), np.uint8), **PLACE)
    (root / "mask/a.tif").unlink()
    drawn = Image.fromarray(np.full((40, 70), number, np.uint8))
    drawn.putpalette([value for rgba in palette.values() for value in rgba[:3]])
    drawn.save(root / "mask/a.png")
    table = root / "rasters.csv"
    table.write_text(table.read_text().replace("mask/a.tif", "mask/a.png"))
    (root / "legend.csv").write_text("id,name,colour\n0,dry,#8b5a2b\n1,flooded,#1f77b4\n")
    ((file, told),) = refusals(root).items()
    assert file == "mask/a.png" and told.startswith("its palette draws the smaller numbers lighter")
    assert (first_label_by_colours(root, capsys) == 1 - number).all()


GREYS = {
    "white alone": ({0: 255}, 0, True),
    "filled up with black": ({0: 255} | dict.fromkeys(range(1, 256), 0), 0, True),
    "dark, and darker": ({0: 100, 1: 50, 2: 0}, 0, True),
    "black, 0 is white": ({0: 255, 1: 0}, 1, True),
    "grey, 0 is white": ({0: 255, 1: 128, 2: 0}, 1, True),
    "black alone": ({0: 0}, 0, False),
    "black of two": ({0: 0, 1: 255}, 0, False),
    "white of two": ({0: 0, 1: 255}, 1, False),
    "a ramp": ({k: k for k in range(256)}, 1, False),
    "stretched": ({0: 0, 1: 60, 2: 120}, 1, False),
}


@pytest.mark.parametrize(("greys", "number", "backwards"), GREYS.values(), ids=GREYS)
def test_which_palettes_draw_their_only_number_backwards(greys, number, backwards):
    palette = {index: (grey, grey, grey, 255) for index, grey in greys.items()}
    assert palettes.runs_backwards(palette, {number}) == backwards
    assert not palettes.runs_backwards(palette | {9: (200, 0, 0, 255)}, {number})  # a palette of colours
