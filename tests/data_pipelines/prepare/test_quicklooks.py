import dataclasses
import functools
import io
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.datasets.sen12ms.legend import IGBP
from data_pipelines.prepare import quicklooks
from data_pipelines.schema.legends import IGNORE, LandClass, Legend
from data_pipelines.schema.sensors import AERIAL, S1, S2, Scaling, Sensor

TILE = 128


@dataclasses.dataclass
class Prepared:
    """What the pictures look at of a prepared data set; `value(sensor, split, k)` is stored all over record k."""

    folder: pathlib.Path
    sensors: tuple[Sensor, ...]
    legend: Legend
    splits: dict[str, int]
    labelled: bool = True
    constant: bool = False
    name: str = "some/town"
    version: str = "1.0.0"
    tile: int = TILE

    partitions: dict[str, int] = dataclasses.field(default_factory=dict)

    def class_pixels(self, split: str) -> dict[str, int]:
        ids = [c.id for c in self.legend.classes]
        return {str(i): 10**k for k, i in enumerate(ids[:-1])} if self.labelled else {}

    def source(self, split: str) -> list[dict]:
        return [self._record(split, k) for k in range(self.splits[split])]

    def _record(self, split: str, k: int) -> dict[str, Any]:
        rng = np.random.default_rng(k)
        images = {
            s.name: (np.full if self.constant else lambda shape, top: rng.integers(0, top, shape))(
                (TILE, TILE, len(s.bands)), 200
            ).astype(s.dtype)
            for s in self.sensors
        }
        label = rng.choice([c.id for c in self.legend.classes], (TILE, TILE)).astype(np.uint8)
        label[:, : TILE // 2 if self.labelled else TILE] = IGNORE
        return {"id": f"{split}/{k}", **images, "label": label}


OWN = Sensor(
    name="image",
    title="town.csv",
    bands=("grey",),
    dtype="float32",
    meaning="as in the files",
    scaling=Scaling(unit=1.0, low=(0.0,), high=(150.0,), offset=(0.0,), scale=(1.0,)),
    display=("grey",),
    ground_sampling=None,
    zero_is_nodata=False,
)
LONG = Legend("town", (LandClass(0, "a name of a class that goes on, and on, and does not end", "#ff0000"),))
SEASONS = ("spring", "summer", "fall", "winter")
CASES = {
    "four seasons": {"sensors": (S1, S2), "legend": IGBP, "splits": dict.fromkeys(SEASONS, 5)},
    "aerial": {"sensors": (AERIAL,), "legend": FLAIR1, "splits": {"train": 5, "validation": 1, "test": 2}},
    "one grey band": {"sensors": (OWN,), "legend": LONG, "splits": {"train": 1}},
    "constant, without labels": {
        "sensors": (OWN,), "legend": LONG, "splits": {"all": 1}, "labelled": False, "constant": True
    },
}  # fmt: skip


@pytest.mark.parametrize("case", ["aerial", "constant, without labels"])
def test_all_pictures_are_drawn_once(case, tmp_path):
    dataset = Prepared(tmp_path, **CASES[case])
    drawn = quicklooks.draw(dataset)
    assert [path.name for path in drawn] == ["class_distribution.png", "band_histograms.png", "contact_sheet.png"]
    for path in drawn:
        with Image.open(path) as image:
            assert min(image.size) > 200
    before = [path.stat().st_ino for path in drawn]
    assert [path.stat().st_ino for path in quicklooks.draw(dataset)] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in drawn)


def test_the_distribution_of_each_partition_is_drawn(tmp_path):
    parts = {"by_zone/train": 3, "by_zone/test": 2, "random/train": 4}
    drawn = quicklooks.draw(Prepared(tmp_path, **CASES["aerial"], partitions=parts))
    assert [path.name for path in drawn][:3] == [
        "class_distribution.png", "class_distribution_by_zone.png", "class_distribution_random.png"
    ]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_drawn_outside_or_over_another(case, tmp_path):
    """Texts and legends of every picture lie inside it; legends do not cover axes."""
    dataset = Prepared(tmp_path, **CASES[case])
    distribution = functools.partial(quicklooks.distribution, splits=dataset.splits)
    for draw in (distribution, quicklooks.histograms, quicklooks.contact_sheet):
        figure = draw(dataset)
        figure.savefig(io.BytesIO(), format="png", dpi=50)
        width, height = figure.get_size_inches() * figure.dpi
        boxes = [legend.get_window_extent() for legend in figure.legends]
        for box in boxes:
            assert 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
            assert not any(box.overlaps(axis.get_window_extent()) for axis in figure.axes)


def _panels(figure) -> dict[str, Any]:
    return {axis.get_title(loc="left"): axis for axis in figure.axes if axis.get_title(loc="left")}


def _lines(axis) -> list:
    return [patch.get_data() for patch in axis.patches]


def test_histograms_are_shares_of_the_labelled_pixels_in_physical_units(tmp_path):
    dataset = Prepared(tmp_path, (S1, S2), IGBP, {"train": 3, "test": 2})
    panels = _panels(quicklooks.histograms(dataset))
    assert list(panels) == [*S1.bands, *S2.bands]
    records = dataset.source("train")
    thinned = [record["s1"][::2, ::2][record["label"][::2, ::2] != IGNORE] for record in records]
    expected = 0.01 * np.concatenate(thinned)[:, 1]
    train, test = _lines(panels["VH"])
    np.testing.assert_allclose(train.values, 100 * np.histogram(expected, train.edges)[0] / len(expected))
    assert 99.5 < train.values.sum() < 100.0001
    assert (train.edges == test.edges).all() and (train.values != test.values).any()
    assert train.edges[0] == pytest.approx(-0.005) and train.edges[-1] >= 1.985  # stored 0 to 199 are 0 to 1.99 dB
    assert panels["VH"].get_xlabel() == "sigma0 [dB]"
    assert panels["B4"].get_xlabel() == "reflectance [1e-4]"


def test_clip_ranges_are_marked_where_they_can_be_seen(tmp_path):
    panels = _panels(quicklooks.histograms(Prepared(tmp_path, (S1, S2, OWN), IGBP, {"train": 2})))
    marks = {name: [line.get_xdata()[0] for line in panels[name].lines] for name in ("VV", "B1", "grey")}
    assert marks == {"VV": [0.0], "B1": [0.0], "grey": [150.0]}  # stored numbers are 0 to 199
    assert panels["VV"].get_title(loc="right") == "clip -25 to 0"
    assert panels["B1"].get_title(loc="right") == "clip 0 to 10,000"


def test_a_constant_band_is_one_bar(tmp_path):
    (line,) = _lines(_panels(quicklooks.histograms(Prepared(tmp_path, **CASES["constant, without labels"])))["grey"])
    assert (line.values.tolist(), line.edges.tolist()) == ([100.0], [199.5, 200.5])


def test_bins_of_integers_hold_equally_many(tmp_path):
    for top in (3, 59, 61, 100, 255, 10_000):
        edges = quicklooks._edges(np.arange(top + 1, dtype=np.uint16).repeat(2000 // (top + 1) + 1))
        widths = np.diff(edges)
        assert (widths == widths[0]).all() and widths[0] == round(widths[0]) and len(widths) <= 60
        assert edges[0] % 1 == 0.5


def test_shares_are_written_without_hiding_rare_classes():
    shares = (0, 0.004, 0.03, 0.1, 17.84, 100)
    assert [quicklooks._percent(share) for share in shares] == ["none", "<0.01", "0.03", "0.1", "17.8", "100.0"]


def test_no_label_has_a_colour_of_its_own():
    ids = np.array([[14, 19, IGNORE]], np.uint8)
    assert quicklooks.colours(FLAIR1, ids).tolist() == [[[255, 255, 255], [0, 0, 0], [217, 217, 217]]]
