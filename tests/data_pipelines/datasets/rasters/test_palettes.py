"""Masks with palettes: colours of the legend decide, other colours leave ids, contradictions are refused."""

import numpy as np
import own
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_pipelines.datasets import registry
from data_pipelines.datasets.rasters import builder, class_table, masks, palettes, tables
from data_pipelines.datasets.rasters.palettes import Contradiction, ids_of_palette
from data_pipelines.prepare import prepare, quicklooks
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.legends import LandClass, Legend

COLOURS = st.integers(0, 0xFFFFFF)
TOWN = Legend(
    "town", (LandClass(0, "land", "#8429f6"), LandClass(1, "road", "#6ec1e4"), LandClass(5, "sea", "#3c1098"))
)


def rgba(colour: int) -> tuple[int, int, int, int]:
    return colour >> 16, colour >> 8 & 255, colour & 255, 255


def painted(palette: dict[int, tuple[int, ...]], indices: np.ndarray) -> np.ndarray:
    """The colours of a picture with a palette, as Pillow draws them: (H, W) 0xrrggbb."""
    picture = Image.fromarray(indices)
    picture.putpalette([number for index in range(256) for number in palette.get(index, (0, 0, 0))[:3]])
    red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB"), np.int64), -1, 0)
    return red << 16 | green << 8 | blue


@st.composite
def worlds(draw):
    """A legend, and a palette that numbers its colours in any order, with other colours beside them."""
    colours = draw(st.lists(COLOURS, min_size=4, max_size=12, unique=True))
    count = draw(st.integers(2, len(colours) - 1))
    values = draw(st.lists(st.integers(0, 254), min_size=count, max_size=count, unique=True))
    legend = Legend("x", tuple(LandClass(v, f"c{v}", f"#{c:06x}") for v, c in zip(values, colours, strict=False)))
    places = draw(st.lists(st.integers(0, 255), min_size=len(colours), max_size=len(colours), unique=True))
    palette = {place: rgba(colour) for place, colour in zip(places, colours, strict=True)}
    assume(palettes.tells_colours(palette))
    return legend, palette, places[:count], places[count:]


def meaning(palette, used, legend) -> dict[int, int]:
    """What each number is read as, where a mask is read: by its palette, or as an id."""
    found = ids_of_palette(palette, used, legend)
    by_value = {255: 255} | {c.value: c.id for c in legend.classes}
    return {number: by_value.get(number, -1) if found is None else found[number] for number in used}


@settings(max_examples=200, derandomize=True, deadline=None)
@given(worlds(), st.data())
def test_colours_of_the_legend_decide_whatever_their_numbers_are(world, data):
    legend, palette, known, unknown = world
    used = data.draw(st.sets(st.sampled_from(known), min_size=1))
    drawn = painted(palette, np.array([sorted(used)], np.uint8))[0]
    of_colour = {int(c.colour[1:], 16): c.id for c in legend.classes}
    expected = {number: of_colour[colour] for number, colour in zip(sorted(used), drawn.tolist(), strict=True)}
    assert meaning(palette, used, legend) == expected
    for part in (used - {min(used)}, {max(used)}):  # a mask is read tile by tile
        assert meaning(palette, part, legend) == {number: expected[number] for number in part}
    others = data.draw(st.sets(st.sampled_from(unknown), min_size=1))
    assert ids_of_palette(palette, others, legend) is None  # none of the legend's colours: the numbers are ids
    if others != {255}:
        with pytest.raises(Contradiction, match="which no class of the legend has, but"):
            ids_of_palette(palette, used | others, legend)
    else:  # 255 is no label, as everywhere
        assert meaning(palette, used | others, legend) == expected | {255: 255}


def test_what_cannot_be_told_is_named():
    palette = dict(enumerate(map(rgba, (0x6EC1E4, 0x8429F6, 0x101010, 0x6EC1E4))))
    with pytest.raises(
        Contradiction, match=r"gives 2 the colour #101010, which no class .* but 0 the colour #6ec1e4 of"
    ):
        ids_of_palette(palette, {0, 2}, TOWN)
    with pytest.raises(Contradiction, match="gives both 0 and 3 the colour #6ec1e4 of road"):
        ids_of_palette(palette, {0, 1, 3}, TOWN)
    with pytest.raises(Contradiction, match="gives 9 no colour"):
        ids_of_palette(palette, {0, 9}, TOWN)
    double = Legend("town", (LandClass(0, "land", "#8429f6"), LandClass(1, "road", "#8429f6")))
    with pytest.raises(Contradiction, match="#8429f6, which is that of land and of road in the legend"):
        ids_of_palette(palette, {1, 2}, double)
    # In the legend's own order both say the same.
    same = {0: rgba(0x8429F6), 1: rgba(0x8429F6)}
    assert ids_of_palette(same, {0, 1}, double) == {0: 0, 1: 1, 255: 255}


def test_greys_and_what_fills_a_palette_up_are_no_colours():
    ramp = {index: (index, index, index, 255) for index in range(256)}
    assert (
        ids_of_palette(ramp, {0, 1}, Legend("x", (LandClass(0, "a", "#000000"), LandClass(1, "b", "#ff0000")))) is None
    )
    black = Legend("x", (LandClass(0, "a", "#0000ff"), LandClass(1, "b", "#000000")))
    filled = dict.fromkeys(range(256), rgba(0)) | {7: rgba(0x0000FF)}
    assert ids_of_palette(filled, {7, 3, 255}, black) == {7: 0, 3: 1, 255: 255}  # black 255 is no label, and no b


@settings(max_examples=10, derandomize=True, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_prepare_reads_each_mask_by_its_own_palette(tmp_path_factory, seed):
    root = tmp_path_factory.mktemp("town")
    generator = np.random.default_rng(seed)
    chosen = generator.choice(0x1000000, 4, replace=False).tolist()
    drawn = []
    for k in range(3):
        own.write(root / f"i{k}.tif", own.picture(k, 32, 32))
        numbers = generator.choice(256, 4, replace=False)
        palette = {int(number): rgba(colour) for number, colour in zip(numbers, chosen, strict=True)}
        indices = numbers[generator.integers(0, 4, (32, 32))].astype(np.uint8)
        picture = Image.fromarray(indices)
        picture.putpalette([n for index in range(256) for n in palette.get(index, (1, 2, 3))[:3]])
        picture.save(root / f"m{k}.png")
        drawn.append(painted(palette, indices))
    splits = ("train", "validation", "test")
    rows = [(f"i{k}.tif", f"m{k}.png", split, "") for k, split in enumerate(splits)]
    (root / "rasters.csv").write_text(tables.to_csv(tables.PAIRS_COLUMNS, rows))
    classes = [(7 * number, f"c{number}", f"#{colour:06x}", "") for number, colour in enumerate(chosen)]
    (root / "legend.csv").write_text(tables.to_csv(class_table.COLUMNS, classes))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quicklooks, "draw", lambda _: [])
        dataset = prepare.prepare("rasters/town", root, root / "data", tile=32)
    for split, colours in zip(splits, drawn, strict=True):
        expected = np.select([colours == colour for colour in chosen], [0, 7, 14, 21], 255)
        np.testing.assert_array_equal(dataset.source(split)[0]["label"], expected)


def test_a_contradiction_is_refused_by_name_and_other_colours_are_ids(tmp_path, capsys):
    csv = own.folder(tmp_path / "town")
    for k in range(4):  # 1, 2, 7; the legend's colours are blue, green and grey
        own.write(tmp_path / f"town/m{k}.tif", own.ids(k), palette={1: (9, 9, 9, 255), 2: (1, 2, 3, 255)})
    dataset = prepare.prepare("rasters/town", csv, tmp_path / "data", tile=64)
    assert "4 masks have a palette with none of the legend's colours" in capsys.readouterr().out
    counted = {str(i): int((own.ids(3) == i).sum()) for i in (1, 2, 7)}
    assert dataset.statistics["splits"]["test"]["class_pixels"] == counted
    own.write(
        tmp_path / "town/m0.tif", own.ids(0), palette={1: (0, 128, 0, 255), 2: (1, 2, 3, 255), 7: (0, 0, 255, 255)}
    )
    with pytest.raises(
        InputError, match=r"m0\.tif: its palette gives 2 the colour #010203, .* but 1 the colour #008000"
    ):
        prepare.prepare("rasters/other", csv, tmp_path / "data", tile=64)


def test_a_palette_is_read_once_for_all_tiles_of_a_mask(tmp_path, monkeypatch):
    own.folder(tmp_path)
    palette = {1: rgba(0x0000FF), 2: rgba(0x008000), 7: rgba(0x808080)}
    for k in range(4):
        own.write(tmp_path / f"m{k}.tif", own.ids(k), palette=palette)
    spec = builder.spec(builder.describe("rasters/town", tmp_path, None, 16), registry.FAMILIES["rasters"])
    items = [item for items in spec.index([]).values() for item in items]
    made, mask = [], masks.Mask

    def counting(path, dataset):
        made.append(path)
        return mask(path, dataset)

    monkeypatch.setattr(masks, "Mask", counting)
    assert len(items) > 4 and all(spec.read(item).parts for item in items)
    assert len(made) == 4
