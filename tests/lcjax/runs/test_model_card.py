"""The card survives the way through its file, and says what is missing."""

import dataclasses
import json

import pytest
import worlds

from data_pipelines.datasets.contest_legend import DFC2020
from data_pipelines.datasets.flair1.legend import FLAIR1
from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import AERIAL, S1, S2, SENSORS, Scaling, Sensor
from lcjax.runs import model_card as cards
from lcjax.tasks import fusion as fusions

CARD = cards.Card(
    model="unet",
    fusion="early",
    sensors=(S1, S2),
    legend=DFC2020,
    tile=256,
    dataset="sample 1.0.0",
    splits={"train": {"spec": "train[:75%]", "records": 3, "id": "abc", "class_pixels": {"1": 9}, "warnings": []}},
    versions={"lcjax": "0.1.0"},
)


@pytest.mark.parametrize("fusion", ["s1", "s2", "aerial", "early", "late"])
@pytest.mark.parametrize("legend", [DFC2020, FLAIR1])
def test_the_card_comes_back_equal(tmp_path, fusion, legend):
    card = dataclasses.replace(
        CARD, fusion=fusion, sensors=fusions.sensors_of(fusion, worlds.held(fusion)), legend=legend
    )
    (tmp_path / cards.FILE).write_text(card.to_json())
    found = cards.read(tmp_path)
    assert found == card  # dataclasses all the way down: bands, scaling, classes, splits
    assert found.legend.id_of_index().tolist() == legend.id_of_index().tolist()
    assert all(isinstance(sensor.scaling.low, (float, tuple)) for sensor in found.sensors)


def test_the_card_holds_what_it_needs_without_the_tables():
    fields = json.loads(CARD.to_json())
    assert [sensor["bands"] for sensor in fields["sensors"]] == [list(S1.bands), list(S2.bands)]
    scaling = {"unit": 0.01, "low": -25.0, "high": 0.0, "offset": -25.0, "scale": 25.0}
    scaling |= {"mix": None, "by_maximum": False}
    assert fields["sensors"][0]["scaling"] == scaling
    assert {"id": 7, "name": "Urban/Built-up", "colour": "#a5a5a5", "written": None} in fields["legend"]["classes"]


def test_sensors_of_a_fusion():
    assert fusions.sensors_of("late", (S1, S2)) == fusions.sensors_of("early", (S1, S2)) == (S1, S2)
    assert {fusions.sensors_of(name, SENSORS.values()) for name in SENSORS} == {
        (sensor,) for sensor in SENSORS.values()
    }
    with pytest.raises(InputError, match=r"config\.fusion='both': expected one of early, late, .* s1, s2"):
        fusions.sensors_of("both", SENSORS.values())
    own = dataclasses.replace(AERIAL, name="image")
    assert fusions.sensors_of("image", (own,)) == (own,)
    with pytest.raises(InputError, match=r"'early': joins two .*; the data set holds image; expected one of image$"):
        fusions.sensors_of("early", (own,))


def test_the_card_of_own_imagery_comes_back_equal(tmp_path):
    scaling = Scaling(unit=1.0, low=(0.25, -1.5), high=(1.0, 7.0), offset=(0.5, 3.0), scale=(0.1, 2.0))
    how = {"title": "Own", "meaning": "as stored", "display": ("nir",), "ground_sampling": None}
    own = Sensor("image", bands=("nir", "dem"), dtype="float32", scaling=scaling, zero_is_nodata=False, **how)
    card = dataclasses.replace(CARD, fusion="image", sensors=(own,), dataset="rasters/town 1.0.0")
    (tmp_path / cards.FILE).write_text(card.to_json())
    assert cards.read(tmp_path) == card


@pytest.mark.parametrize(("version", "words"), [(3, "schema_version 3, and this lcjax reads 2"), (None, "no schema_v")])
def test_a_card_of_another_version_is_refused(tmp_path, version, words):
    fields = json.loads(CARD.to_json())
    assert fields.pop("schema_version") == 2
    text = json.dumps(fields if version is None else fields | {"schema_version": version})
    (tmp_path / cards.FILE).write_text(text)
    with pytest.raises(InputError, match=rf"^{tmp_path}/card\.json: {words}"):
        cards.read(tmp_path)
    with pytest.raises(InputError, match=rf"^the card of the checkpoint: {words}"):
        cards.from_json(text)


@pytest.mark.parametrize("gone", ["tile", "versions"])
def test_a_card_without_a_field_is_refused(tmp_path, gone):
    fields = json.loads(CARD.to_json())
    del fields[gone]
    (tmp_path / cards.FILE).write_text(json.dumps(fields))
    with pytest.raises(InputError, match=rf"card\.json: {gone}: missing; put back what training wrote"):
        cards.read(tmp_path)


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file; expected the card of a trained network"):
        cards.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("[]", "no schema_version; expected 2"),
        ('{"schema_version": 2}', "model: missing"),
        ('{"schema_version": 2, "model": "unet", "fusion": "s2", "sensors": 3}', "sensors: found 3, expected a list"),
    ],
)
def test_a_broken_card_is_refused(tmp_path, text, words):
    (tmp_path / cards.FILE).write_text(text)
    with pytest.raises(InputError, match=rf"card\.json: {words}.*; put back what training wrote"):
        cards.read(tmp_path)


WRONG = [
    ("tile", 0, "tile: found 0, expected a whole number >= 1"),
    ("tile", 10**9, "tile: found 1000000000, expected a whole number <= 65536"),
    ("sensors.0.scaling.scale", 0, r"sensors\[0\].scaling.scale: found 0, expected a number > 0"),
    (
        "sensors.0.scaling.scale",
        [1.0],
        r"sensors\[0\]: scaling.scale: found another number of them, .* each of 2 bands",
    ),
    ("sensors.0.scaling.unit", 1e300, r"sensors\[0\].scaling.unit: found 1e\+300, expected a number <= 3.40"),
    ("sensors.1.dtype", "object", r"sensors\[1\]: dtype: found 'object', expected one of uint8"),
    ("sensors.1.bands.1", "B1", r"sensors\[1\]: bands: found 13 names, 12 different"),
    ("sensors.1.display", ["B4", "B3", "B99"], r"sensors\[1\]: display: found B4, B3, B99"),
    ("legend.classes.0.colour", "red;background:url(x)", r"legend.classes\[0\]: colour: found .*expected #rrggbb"),
    ("legend.classes.0.name", "a\0b", r"legend.classes\[0\].name: found .*without control characters"),
    ("legend.classes.0.name", "a" * 201, r"legend.classes\[0\].name: found .* expected a name of 1 to 200 letters"),
    ("legend.classes.0.id", 256, r"legend.classes\[0\].id: found 256, expected a whole number <= 255"),
    ("legend.classes.0.id", 2, "legend: classes: the id 2 stands there twice"),
    ("splits.train.records", -1, r"splits\['train'\].records: found -1, expected a whole number >= 0"),
    ("splits.train.class_pixels", {"300": 1}, r"splits\['train'\].class_pixels\['300'\]: an unknown key"),
    ("sensors.0.more", 1, r"sensors\[0\].more: a field that nothing reads"),
]


@pytest.mark.parametrize(("path", "value", "words"), WRONG, ids=[f"{path}={value!s:.20}" for path, value, _ in WRONG])
def test_a_field_that_cannot_be_is_named(path, value, words):
    fields = json.loads(CARD.to_json())
    *folders, key = (int(step) if step.isdigit() else step for step in path.split("."))
    at = fields
    for folder in folders:
        at = at[folder]
    at[key] = value
    with pytest.raises(InputError, match=f"^here: {words}") as caught:
        cards.from_json(json.dumps(fields), "here")
    assert "\n" not in str(caught.value)


def test_versions_name_the_libraries():
    assert {"lcjax", "jax", "flax", "numpy"} <= set(cards.versions())
