"""`prepare --init`: pairs by name, splits by whole groups, classes as the masks hold them."""

import collections
import csv
import pathlib

import numpy as np
import own
import pytest

from data_pipelines.datasets.rasters import init_csv
from data_pipelines.datasets.rasters.init_csv import Found
from data_pipelines.prepare import prepare
from data_pipelines.schema.display import distinct_colours
from data_pipelines.schema.errors import InputError


def rows(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def fill(root: pathlib.Path, *names: str, mask=own.ids):
    """Images, and masks where the name says so."""
    for number, name in enumerate(names):
        is_mask = any(word in name.lower() for word in ("mask", "label", "msk"))
        own.write(root / name, mask(number // 2) if is_mask else own.picture(number // 2))


@pytest.mark.parametrize(
    ("names", "pairs", "groups"),
    [
        (("images/a.tif", "masks/a.png", "images/b.jpg", "masks/b.tif"), 2, {""}),
        (("x/Images/a.tif", "x/Labels/a.tif", "y/img/a.tif", "y/msk/a_mask.tif"), 2, {"x", "y"}),
        (("a.tif", "a_mask.tif", "b_sat.jpg", "b_label.png"), 2, {""}),
        (("p/a.tif", "p/a_msk.tif", "q/a.tif", "q/a-label.tif"), 2, {"p", "q"}),
        (("images/n/a.tif", "masks/n/a.tif", "images/s/a.tif", "masks/s/a.tif"), 2, {""}),
        (("images/a.tif", "masks/a.tif", "images/b.tif", "notes/map.tif"), 1, {""}),
    ],
)
def test_pairs_by_name(tmp_path, names, pairs, groups):
    fill(tmp_path, *names)
    init_csv.init_csv("rasters", tmp_path)
    found = rows(tmp_path / "rasters.csv")
    assert len(found) == pairs
    assert all(row["mask"] != row["image"] and (tmp_path / row["mask"]).is_file() for row in found)
    assert {row["group"] for row in found} == groups


def test_what_it_writes_can_be_prepared(tmp_path, capsys):
    source = tmp_path / "photos"
    fill(source, *(name for k in range(10) for name in (f"images/i{k}.tif", f"masks/i{k}.tif")))
    init_csv.init_csv("rasters/town", source)
    said = capsys.readouterr().out
    assert f"written: {source / 'rasters.csv'}: 10 pairs; 6 train, 2 validation, 2 test" in " ".join(said.split())
    assert "lcjax prepare --dataset=rasters/town --source=" in said
    assert [(row["id"], row["name"]) for row in rows(source / "legend.csv")] == [
        ("1", "class_1"), ("2", "class_2"), ("7", "class_7")
    ]  # fmt: skip
    assert len({row["colour"] for row in rows(source / "legend.csv")}) == 3
    dataset = prepare.prepare("rasters/town", source, tmp_path / "data", tile=32)
    assert dataset.splits == {"train": 36, "validation": 12, "test": 12}


def test_folders_called_like_a_home_are_folders_all_the_same(tmp_path):
    source = tmp_path / "photos"
    fill(source, *(f"{home}/{name}.tif" for home in ("~", "~root") for name in ("a", "a_mask")))
    init_csv.init_csv("rasters/town", source)
    assert {row["image"] for row in rows(source / "rasters.csv")} == {"./~/a.tif", "./~root/a.tif"}
    prepare.prepare("rasters/town", source, tmp_path / "data", tile=32)


def test_one_group_is_all_for_training(tmp_path, capsys):
    fill(tmp_path, "images/a.tif", "masks/a.tif")
    init_csv.init_csv("rasters", tmp_path)
    said = capsys.readouterr().out
    assert "1 pair; 1 train (only 1 image)" in said
    assert "too few groups for a validation and a test split: train with" in said
    assert "--config=rasters:validation=none,test=none" in said


def test_neither_csv_is_overwritten(tmp_path):
    fill(tmp_path, "images/a.tif", "masks/a.tif")
    for name in ("rasters.csv", "legend.csv"):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=f"{name}: there already; --init does not overwrite it"):
            init_csv.init_csv("rasters", tmp_path)
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    assert not (tmp_path / "rasters.csv").exists()


def test_rare_colours_are_left_out_and_listed(tmp_path, capsys):
    def blended(seed):
        drawn = own.colours(own.ids(seed))
        drawn[:, 3, 4 + seed] = (1, 2, 3 + seed)
        return drawn

    fill(tmp_path, "images/a.tif", "masks/a.tif", "images/b.tif", "masks/b.tif", mask=blended)
    init_csv.init_csv("rasters", tmp_path)
    assert {row["colour"] for row in rows(tmp_path / "legend.csv")} == {"#0000ff", "#008000", "#808080"}
    assert "left out: 2 rare colours, 0.04% of the pixels (#010204 0.018%, #010203 0.018%)" in capsys.readouterr().out


def test_the_colours_of_a_palette_are_taken(tmp_path):
    own.write(tmp_path / "images" / "a.tif", own.picture(0))
    own.write(tmp_path / "masks" / "a.tif", own.ids(0), palette={1: (9, 8, 7, 255), 2: (1, 2, 3, 255)})
    init_csv.init_csv("rasters", tmp_path)
    assert [row["colour"] for row in rows(tmp_path / "legend.csv")] == ["#090807", "#010203", "#000000"]


def test_nothing_found(tmp_path):
    fill(tmp_path, "a.tif", "b.tif")
    with pytest.raises(InputError, match="no image with a mask found; expected folders images and masks"):
        init_csv.init_csv("rasters", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        init_csv.init_csv("rasters", tmp_path / "nowhere")


def test_masks_that_give_no_legend(tmp_path):
    fill(tmp_path / "one", "images/a.tif", "masks/a.tif", mask=lambda seed: own.ids(seed) * 0)
    with pytest.raises(InputError, match="the masks hold 1 classes; expected at least two"):
        init_csv.init_csv("rasters", tmp_path / "one")
    fill(tmp_path / "two", "images/a.tif", "masks/a.tif", mask=lambda seed: own.picture(seed, 40, 70, 1, "uint16"))
    with pytest.raises(InputError, match=r"the masks hold numbers from 1 to \d+; expected class ids from 0 to 254"):
        init_csv.init_csv("rasters", tmp_path / "two")
    fill(tmp_path / "three", "images/a.tif", "masks/a.tif", "images/b.tif")
    own.write(tmp_path / "three/masks/b.tif", own.colours(own.ids(0)))
    with pytest.raises(InputError, match="some masks hold colours and some class ids"):
        init_csv.init_csv("rasters", tmp_path / "three")
    fill(tmp_path / "four", "images/a.tif")
    own.write(tmp_path / "four/masks/a.tif", own.picture(0, bands=1, dtype="float32"))
    with pytest.raises(InputError, match="none of the 1 masks can be read"):
        init_csv.init_csv("rasters", tmp_path / "four")


# ---- splits ---------------------------------------------------------------------------------------------------------


def found(*names: str) -> list[Found]:
    return [Found(pathlib.Path(name), pathlib.Path("m") / name, pathlib.Path(name).parent) for name in names]


def split(*groups: str, pixels=None):
    pairs = found(*(f"{group}/{k}.tif" for k, group in enumerate(groups)))
    return init_csv.splits_of(pairs, groups, pixels or [100] * len(groups))[0]


def test_groups_stay_whole_and_few_of_them_leave_splits_out():
    groups = [f"g{k % 5}" for k in range(40)]
    chosen = split(*groups)
    assert len(set(zip(groups, chosen, strict=True))) == 5
    assert collections.Counter(chosen) == {"train": 24, "validation": 8, "test": 8}
    assert sorted(split("a", "b", "c")) == ["test", "train", "validation"]
    assert sorted(split("a", "b")) == ["test", "train"]
    assert split("a", "a") == ["train", "train"]


def test_shares_are_of_pixels():
    sizes = np.random.default_rng(0).integers(1, 1000, 300).tolist()
    chosen = split(*(f"g{k}" for k in range(300)), pixels=sizes)
    for name, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        of_split = sum(size for size, s in zip(sizes, chosen, strict=True) if s == name)
        assert of_split / sum(sizes) == pytest.approx(share, abs=0.01)
    assert chosen == split(*(f"g{k}" for k in range(300)), pixels=sizes)


def test_folders_named_after_splits_are_followed():
    pairs = found("train/images/a.tif", "val/images/b.tif", "test/images/c.tif", "train/images/d.tif")
    assert init_csv.groups_of(pairs) == [""] * 4
    chosen, how = init_csv.splits_of(pairs, [""] * 4, [1] * 4)
    assert chosen == ["train", "validation", "test", "train"] and how == "as the folders are called"


def test_colours_differ():
    assert len(set(distinct_colours(40))) == 40


# ---- 255, nodata, palettes, vectors ---------------------------------------------------------------------------------


def legend_of(source, *masks, **how) -> list[tuple[str, ...]]:
    """What --init makes of these masks: (id, colour, ignore) of each row."""
    for k, values in enumerate(masks):
        own.write(source / f"images/i{k}.tif", own.picture(k))
        own.write(
            source / f"masks/i{k}.tif", values, **(how if not isinstance(how.get("each"), list) else how["each"][k])
        )
    init_csv.init_csv("rasters", source)
    return [(row["id"], row["colour"], row["ignore"]) for row in rows(source / "legend.csv")]


def test_255_is_listed_where_it_is_all_there_is_beside_one_id(tmp_path, capsys):
    binary = np.where(own.ids(0) > 1, 255, 0).astype(np.uint8)
    assert [(row[0], row[2]) for row in legend_of(tmp_path / "a", binary)] == [("0", ""), ("255", "")]
    assert "255 is listed as a class, for the masks hold only 0 beside it" in capsys.readouterr().out
    assert prepare.prepare("rasters", tmp_path / "a", tmp_path / "data", tile=64).legend.nodata == 254
    several = np.where(own.ids(0) == 7, 255, own.ids(0)).astype(np.uint8)
    assert [row[0] for row in legend_of(tmp_path / "b", several)] == ["1", "2"]
    assert f"255, {np.mean(several == 255):.1%} of the pixels, is no label" in capsys.readouterr().out


def test_what_the_masks_call_nodata_is_listed(tmp_path, capsys):
    found = legend_of(tmp_path / "a", own.ids(0), nodata=1)
    assert [(row[0], row[2]) for row in found] == [("1", "1"), ("2", ""), ("7", "")]
    share = f"{np.mean(own.ids(0) == 1):.1%}"
    assert f"id 1, {share} of the pixels, is what the masks declare to be nodata, so its row" in capsys.readouterr().out
    assert prepare.prepare("rasters", tmp_path / "a", tmp_path / "data", tile=64).splits == {"train": 1 * 2}
    found = legend_of(tmp_path / "b", np.where(own.ids(0) > 1, 3, 0).astype(np.uint8), nodata=0)
    assert [(row[0], row[2]) for row in found] == [("0", ""), ("3", "")]
    assert "so `prepare` will ask for it" in capsys.readouterr().out


def test_palettes_that_number_colours_differently_give_classes_by_colour(tmp_path, capsys):
    first = {1: (9, 8, 7, 255), 2: (1, 2, 3, 255), 7: (4, 4, 200, 255)}
    second = {1: (1, 2, 3, 255), 2: (4, 4, 200, 255), 7: (9, 8, 7, 255)}
    found = legend_of(tmp_path / "a", own.ids(0), own.ids(1), each=[{"palette": first}, {"palette": second}])
    assert {row[1] for row in found} == {"#090807", "#010203", "#0404c8"}
    assert "the palettes of the masks number the same colours differently" in capsys.readouterr().out
    dataset = prepare.prepare("rasters", tmp_path / "a", tmp_path / "data", tile=128)
    classes = {row[1]: int(row[0]) for row in found}
    label = np.concatenate([dataset.source(split)[0]["label"][:40, :70] for split in dataset.splits])
    expected = []
    for k, palette in enumerate((first, second)):
        ids = [classes["#{:02x}{:02x}{:02x}".format(*rgba[:3])] for rgba in palette.values()]
        expected.append(np.select([own.ids(k)[0] == number for number in palette], ids))
    assert any(np.array_equal(label, np.concatenate(order)) for order in (expected, expected[::-1]))
    # A mask without a palette beside them tells ids alone.
    with pytest.raises(InputError, match=r"palettes that give one id several colours, and some none \(1 of 3 tell"):
        legend_of(
            tmp_path / "b", own.ids(0), own.ids(1), own.ids(2), each=[{"palette": first}, {"palette": second}, {}]
        )


def test_palettes_stand_beside_masks_of_colours(tmp_path):
    palette = {1: (0, 0, 255, 255), 2: (0, 128, 0, 255), 7: (128, 128, 128, 255)}
    found = legend_of(tmp_path, own.colours(own.ids(0)), own.ids(1), each=[{}, {"palette": palette}])
    assert {row[1] for row in found} == {"#0000ff", "#008000", "#808080"}


def test_classes_that_a_split_lacks_are_named(tmp_path, capsys):
    few = np.where(own.ids(0) == 7, 1, own.ids(0))
    for split, values in (("train", own.ids(0)), ("val", few), ("test", few)):
        own.write(tmp_path / split / "images/a.tif", own.picture(0))
        own.write(tmp_path / split / "masks/a.tif", values)
    init_csv.init_csv("rasters", tmp_path)
    said = capsys.readouterr().out
    assert "validation: no pixel of class_7" in said and "test: no pixel of class_7" in said and "train: no" not in said


def test_a_file_of_polygons_that_is_none_is_named(tmp_path):
    own.write(tmp_path / "images/a.tif", own.picture(0), crs="EPSG:32633")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.gpkg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"masks/a\.gpkg: none by its first bytes; expected a GeoPackage, GeoJSON"):
        init_csv.init_csv("rasters", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "masks"]
