"""Sensors that no table knows: one by its name, and any two or more joined as the published two are."""

import dataclasses

import pytest
from networks import CLASSES, smallest

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import AERIAL, RESERVED, S1, S2, Scaling
from lcjax import tasks
from lcjax.engine import experiment as experiments
from lcjax.models import params
from lcjax.models.interfaces import OWN
from lcjax.models.transfer import Taken
from lcjax.tasks import fusion

PLANET = dataclasses.replace(
    AERIAL,
    name="planet",
    bands=("blue", "green", "red", "nir"),
    display=("red", "green", "blue"),
    scaling=Scaling(unit=1.0, low=0.0, high=255.0, offset=0.0, scale=255.0),
)


def test_the_name_of_a_sensor_is_a_fusion_of_that_sensor_alone():
    assert fusion.sensors_of("planet", [S1, PLANET]) == (PLANET,)
    (one,) = fusion.inputs_of("planet", [S1, PLANET]).items()
    assert one == ("planet", fusion.Inputs((("planet", (0, 1, 2, 3)),), 0))
    # From another run of the same sensor, band by band.
    other = dataclasses.replace(PLANET, bands=("red", "nir", "blue", "green"))
    places = tuple(("planet", place, 4) for place in (2, 3, 0, 1))
    assert fusion.taken("planet", [PLANET], "planet", [other], "runs/x") == {"planet": Taken("planet", places)}


def test_what_is_neither_a_fusion_nor_a_sensor_of_the_data_is_refused():
    with pytest.raises(
        InputError,
        match=r"config\.fusion='planet': expected one of early, .*, s1, s2, or some sensors as in early:A\+B",
    ):
        fusion.sensors_of("planet", [S1, S2])
    with pytest.raises(InputError, match=r"config\.fusion='s2': the data set has no s2; it holds planet; .* planet$"):
        fusion.sensors_of("s2", [PLANET])
    with pytest.raises(InputError, match=r"config\.init=runs/x: it holds no encoder for planet; its encoders are s2"):
        fusion.taken("planet", [PLANET], "s2", [S2], "runs/x")


RADAR = dataclasses.replace(PLANET, name="radar", bands=("VV",), display=("VV",))
AFTER = dataclasses.replace(PLANET, name="planet_after")


def shown(name, sensors):
    """Encoder -> the sensors and the places of the bands that it is shown."""
    return {encoder: dict(one.places) for encoder, one in fusion.inputs_of(name, sensors).items()}


def places(sensor, first=0):
    return tuple(range(first, first + len(sensor.bands)))


@pytest.mark.parametrize("sensors", [(S1, S2), (RADAR, PLANET), (RADAR, PLANET, AFTER)], ids=["s1_s2", "two", "three"])
def test_any_sensors_are_joined_in_order(sensors):
    names = [sensor.name for sensor in sensors]
    each = {sensor.name: {sensor.name: places(sensor)} for sensor in sensors}
    side_by_side = {sensor.name: places(sensor) for sensor in sensors}
    assert shown("early", sensors) == {"_".join(names): side_by_side}
    assert shown("late", sensors) == each
    assert list(shown("early_plus_late", sensors).items()) == [(OWN, side_by_side), *each.items()]
    for name in names:
        assert shown(name, sensors) == {name: each[name]}


def test_some_of_the_sensors_are_joined_in_the_order_named():
    held = (RADAR, PLANET, AFTER)
    assert fusion.sensors_of("late:planet_after+planet", held) == (AFTER, PLANET)
    assert list(shown("early:planet+planet_after", held)) == ["planet_planet_after"]
    # A card holds those that were taken, in that order, and means the same.
    assert shown("late:planet_after+planet", (AFTER, PLANET)) == shown("late", (AFTER, PLANET))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("early:planet", "joins two sensors or more, each once; .*expected one of early, late, early_plus_late, radar"),
        ("late:planet+planet", "joins two sensors or more, each once"),
        ("late:planet+optical", "the data set has no optical; it holds radar, planet"),
        ("late:", "expected one of radar, or some sensors as in early:A"),
        ("early:", "expected one of early, .*, or some sensors as in early:A"),
        ("both:planet+radar", "expected one of early, .*, or some sensors as in early:A"),
        ("", "expected one of early"),
    ],
)
def test_what_joins_nothing_is_refused(name, says):
    held = (RADAR, PLANET) if name != "late:" else (RADAR,)
    with pytest.raises(InputError, match=says):
        fusion.sensors_of(name, held)


def test_a_name_that_no_card_could_hold_is_refused():
    many = [dataclasses.replace(RADAR, name=f"radar_of_a_long_campaign_{number}") for number in range(10)]
    assert len(fusion.sensors_of("late", many)) == 10
    says = r"name, or that of an encoder: found 269 letters, expected a name of 1 to 200 .*early:A\+B, or take late"
    with pytest.raises(InputError, match=says):
        fusion.sensors_of("early", many)


def test_an_empty_fusion_is_what_the_data_can_be():
    assert [fusion.resolved("", held) for held in ((PLANET,), (RADAR, PLANET))] == ["planet", "early"]
    assert fusion.resolved("late", (PLANET,)) == "late"


def test_early_goes_on_from_the_last_sensor_and_late_from_each():
    held = (RADAR, PLANET)
    of_both = (("radar", 0, 1), *(("planet", place, 4) for place in range(4)))
    assert fusion.taken("early", held, "late", held, "runs/x") == {"radar_planet": Taken("planet", of_both)}
    taken = fusion.taken("early_plus_late", held, "late", held, "runs/x")
    assert {name: one.trunk for name, one in taken.items()} == {"radar": "radar", "planet": "planet"}
    with pytest.raises(InputError, match="it holds no encoder for s2; its encoders are radar, planet"):
        fusion.taken("late", (RADAR, S2), "late", held, "runs/x")


def test_no_sensor_can_be_called_like_a_fusion():
    assert {*fusion.MODES, *fusion.ADAPTED, OWN} - {"aerial"} <= set(RESERVED)


@pytest.mark.parametrize("sensors", [(RADAR, PLANET), (RADAR, PLANET, AFTER)], ids=["two", "three"])
def test_encoders_of_any_name_are_frozen_and_their_own_is_not(sensors):
    config = smallest("swin_unet")
    config.fusion = "early_plus_late"
    card = experiments.card_without_data(config, sensors, CLASSES, 64, "rasters")
    template = params.Template(tasks.make(config, card).build, "encoder")
    encoders = {path.split("/")[1]: template.is_frozen(path) for path in template.parameters if "encoders/" in path}
    assert encoders == {OWN: False} | dict.fromkeys([sensor.name for sensor in sensors], True)
    assert sorted(template.groups) == sorted(f"encoders/{sensor.name}" for sensor in sensors)  # of layer-wise rates


S2_BEFORE, S2_AFTER = (dataclasses.replace(S2, name=name) for name in ("s2_before", "s2_after"))


def test_dates_of_a_sensor_share_an_encoder_that_late_and_early_and_others_go_on_from():
    assert fusion.sensors_of("dates:s2_before+s2_after", [S1, S2_AFTER, S2_BEFORE]) == (S2_BEFORE, S2_AFTER)
    dates = ("dates", [S2_BEFORE, S2_AFTER])
    assert fusion.known_bands(*dates) == {"s2": tuple(("s2", band) for band in S2.bands)}
    every = Taken("s2", tuple(("s2", place, 13) for place in range(13)))
    assert fusion.taken("late", [S2_BEFORE, S2_AFTER], *dates, "runs/x") == {"s2_before": every, "s2_after": every}
    twice = Taken("s2", every.bands * 2)
    assert fusion.taken("early", [S2_BEFORE, S2_AFTER], *dates, "runs/x") == {"s2_before_s2_after": twice}
    assert fusion.taken("s2", [S2], *dates, "runs/x") == {"s2": every} == fusion.taken(*dates, "s2", [S2], "runs/x")
    # A date is a date of what another run calls by the beginning of its name; never the other way round.
    assert fusion.taken("s2_after", [S2_AFTER], "late", [S1, S2], "runs/x") == {"s2_after": every}
    with pytest.raises(InputError, match=r"it holds no encoder for s2; its encoders are s2_after"):
        fusion.taken("s2", [S2], "s2_after", [S2_AFTER], "runs/x")
    # An encoder of its own comes first.
    own = Taken("s2_after", tuple(("s2_after", place, 13) for place in range(13)))
    assert fusion.taken("s2_after", [S2_AFTER], "late", [S2, S2_AFTER], "runs/x") == {"s2_after": own}


@pytest.mark.parametrize(
    ("sensors", "found"),
    [
        ([S1, S2], r"found s1 \(VV, VH\); s2 \(B1, "),
        ([S2_BEFORE, dataclasses.replace(PLANET, name="s2_after")], r"; s2_after \(blue, green, red, nir\)"),
    ],
)
def test_what_are_no_dates_of_one_sensor_share_no_encoder(sensors, found):
    with pytest.raises(InputError, match=rf"config\.fusion='dates': expected dates of one sensor, .*{found}"):
        fusion.sensors_of("dates", sensors)
    with pytest.raises(InputError, match=r"holds s1, s2; expected one of early, late, early_plus_late, s1, s2$"):
        fusion.sensors_of("aerial", [S1, S2])


def test_dates_whose_encoder_would_have_a_name_that_is_taken_are_refused():
    own = [dataclasses.replace(PLANET, name=name) for name in ("own_1", "own_2")]
    with pytest.raises(InputError, match=r"'dates': the names of own_1, own_2 begin with own, which means something"):
        fusion.sensors_of("dates", own)
    with pytest.raises(InputError, match="expected one of early, late, early_plus_late, own_1, own_2, or"):
        fusion.sensors_of("", own)
    with pytest.raises(
        InputError, match="expected one of early, late, early_plus_late, dates, s2_before, s2_after, or"
    ):
        fusion.sensors_of("", [S2_BEFORE, S2_AFTER])


def test_what_is_shown_to_other_encoders_is_published_imagery():
    own = dataclasses.replace(PLANET, name="aerial", meaning="numbers of the files")
    assert shown("aerial", (own,)) == {"aerial": {"aerial": places(own)}}
    for sensors in ((own,), (dataclasses.replace(AERIAL, meaning="numbers of the files"),)):
        with pytest.raises(InputError, match=r"aerial of the data set is imagery of your own; expected one of aerial$"):
            fusion.sensors_of("as_sentinel", sensors)
    assert fusion.sensors_of("as_sentinel", (AERIAL,)) == (AERIAL,)


def test_an_encoder_for_dates_is_of_pre_training_alone():
    with pytest.raises(
        InputError, match=r"one encoder for several dates is for pre-training with config\.views='dates'"
    ):
        fusion.inputs_of("dates", [S2_BEFORE, S2_AFTER])


def test_a_name_tells_what_it_is_a_date_of():
    assert fusion.beginnings("s2_before_flood") == ["s2_before", "s2"]
    assert fusion.beginnings("planet") == []
