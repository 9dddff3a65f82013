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
