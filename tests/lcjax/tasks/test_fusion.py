"""Sensors that no table knows: a fusion of one sensor is called by its name."""

import dataclasses

import pytest

from data_pipelines.schema.errors import InputError
from data_pipelines.schema.sensors import AERIAL, S1, S2, Scaling
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


BEFORE, AFTER = (dataclasses.replace(S2, name=name) for name in ("s2_before", "s2_after"))


def test_dates_of_a_sensor_share_an_encoder_that_late_and_early_and_others_go_on_from():
    assert fusion.sensors_of("dates:s2_before+s2_after", [S1, AFTER, BEFORE]) == (BEFORE, AFTER)
    dates = ("dates", [BEFORE, AFTER])
    assert fusion.known_bands(*dates) == {"s2": tuple(("s2", band) for band in S2.bands)}
    every = Taken("s2", tuple(("s2", place, 13) for place in range(13)))
    assert fusion.taken("late", [BEFORE, AFTER], *dates, "runs/x") == {"s2_before": every, "s2_after": every}
    twice = Taken("s2", every.bands * 2)
    assert fusion.taken("early", [BEFORE, AFTER], *dates, "runs/x") == {"s2_before_s2_after": twice}
    assert fusion.taken("s2", [S2], *dates, "runs/x") == {"s2": every} == fusion.taken(*dates, "s2", [S2], "runs/x")
    # A date is a date of what another run calls by the beginning of its name; never the other way round.
    assert fusion.taken("s2_after", [AFTER], "late", [S1, S2], "runs/x") == {"s2_after": every}
    with pytest.raises(InputError, match=r"it holds no encoder for s2; its encoders are s2_after"):
        fusion.taken("s2", [S2], "s2_after", [AFTER], "runs/x")
    # An encoder of its own comes first.
    own = Taken("s2_after", tuple(("s2_after", place, 13) for place in range(13)))
    assert fusion.taken("s2_after", [AFTER], "late", [S2, AFTER], "runs/x") == {"s2_after": own}


@pytest.mark.parametrize(
    ("sensors", "found"),
    [
        ([S1, S2], r"found s1 \(VV, VH\); s2 \(B1, "),
        ([BEFORE, dataclasses.replace(PLANET, name="s2_after")], r"; s2_after \(blue, green, red, nir\)"),
    ],
)
def test_what_are_no_dates_of_one_sensor_share_no_encoder(sensors, found):
    with pytest.raises(InputError, match=rf"config\.fusion='dates': expected dates of one sensor, .*{found}"):
        fusion.sensors_of("dates", sensors)
    with pytest.raises(InputError, match=r"holds s1, s2; expected one of early, late, early_plus_late, s1, s2$"):
        fusion.sensors_of("aerial", [S1, S2])


def test_an_encoder_for_dates_is_of_pre_training_alone():
    with pytest.raises(
        InputError, match=r"one encoder for several dates is for pre-training with config\.views='dates'"
    ):
        fusion.inputs_of("dates", [BEFORE, AFTER])


def test_a_name_tells_what_it_is_a_date_of():
    assert fusion.beginnings("s2_before_flood") == ["s2_before", "s2"]
    assert fusion.beginnings("planet") == []
