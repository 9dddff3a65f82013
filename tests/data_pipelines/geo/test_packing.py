"""Numbers mean what their files state of them: another packing is converted, or refused where it does not fit."""

import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.geo import packing
from data_pipelines.schema.spec import Refused

PATH = pathlib.Path("scene.tif")
MILLI, TENTHS = ((1e-3, 0.0),), ((1e-4, 0.0),)


def convert(values, mine, wanted, dtype="int16", valid=None):
    raw = np.asarray(values, dtype)[None, None]
    return packing.converted(PATH, raw, np.ones(raw.shape[1:], bool) if valid is None else valid, mine, wanted, dtype)


bands = st.tuples(
    st.sampled_from([1e-4, 2e-4, 1e-3, 1e-2, 0.5, 2.75e-5, -1e-4]), st.sampled_from([0.0, -0.1, 0.2, 273.15, -1000.0])
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16", "float32"]),
    st.lists(st.tuples(bands, bands), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_what_was_measured_stays_within_half_a_step_or_the_file_is_refused(dtype, packings, seed):
    mine, wanted = (tuple(pair[k] for pair in packings) for k in (0, 1))
    integer = dtype != "float32"
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if integer else (-30_000, 30_000)
    raw = np.random.default_rng(seed).integers(low, high, (len(packings), 4, 5), endpoint=True).astype(dtype)
    valid = np.random.default_rng(seed + 1).random((4, 5)) < 0.5
    scale, offset, to_scale, to_offset = np.array([[*a, *b] for a, b in packings]).T[..., None, None]
    measured = raw.astype(np.float64) * scale + offset
    wanted_numbers = (measured - to_offset) / to_scale
    fits = not integer or ((wanted_numbers > low - 0.5) & (wanted_numbers < high + 0.5))[:, valid].all()
    edge = integer and (np.abs(np.stack([wanted_numbers - low, wanted_numbers - high])) - 0.5 < 1e-3)
    edge = edge & (np.abs(np.abs(np.stack([wanted_numbers - low, wanted_numbers - high])) - 0.5) < 1e-3)
    if np.any(edge):  # a hair's breadth from what is representable: either is right
        return
    try:
        found = packing.converted(PATH, raw, valid, mine, wanted, dtype)
    except Refused as refusal:
        assert not fits and refusal.file == PATH
        assert packing.told(mine) in refusal.reason and packing.told(wanted) in refusal.reason
        return
    assert fits and found.dtype == dtype
    kept = found.astype(np.float64) * to_scale + to_offset
    step = 0.5 * np.abs(to_scale) if integer else np.abs(to_scale * wanted_numbers) * 1e-6 + 1e-6
    assert (np.abs(kept - measured)[:, valid] <= (step * (1 + 1e-6) + 1e-9 + 0 * kept)[:, valid]).all()


def test_the_same_packing_changes_no_number_also_after_float32():
    raw = np.arange(-5, 5, dtype=np.int16).reshape(1, 2, 5)
    valid = np.ones((2, 5), bool)
    for wanted in ((), TENTHS, ((float(np.float32(1e-4)), float(np.float32(-0.1))),)):
        mine = wanted if len(wanted) == 0 else ((1e-4, -0.1 if wanted[0][1] else 0.0),)
        assert packing.converted(PATH, raw, valid, mine, wanted, "int16") is raw
        assert packing.conversion(PATH, mine, wanted) is None


def test_coarser_and_shifted_numbers_are_converted():
    np.testing.assert_array_equal(convert([20, 600], MILLI, TENTHS)[0, 0], [200, 6000])
    np.testing.assert_array_equal(convert([1200, 7000], ((1e-4, -0.1),), TENTHS)[0, 0], [200, 6000])
    np.testing.assert_array_equal(convert([204, 6006], TENTHS, MILLI)[0, 0], [20, 601])


def test_numbers_that_do_not_fit_are_refused_unless_they_are_no_data():
    with pytest.raises(Refused) as caught:
        convert([20, 9999], MILLI, TENTHS)
    assert caught.value.reason == (
        "scale 0.001, offset 0: with scale 0.0001, offset 0 as in the images of the training a number becomes 99990, "
        "and int16 holds -32768 to 32767; write all images with one scale and offset that hold all numbers"
    )
    found = convert([20, 9999], MILLI, TENTHS, valid=np.array([[True, False]]))
    assert found[0, 0, 0] == 200


@pytest.mark.parametrize(
    ("mine", "wanted", "words"),
    [
        ((), TENTHS, "no scale and no offset, expected scale 0.0001, offset 0 as in the images of the training; if"),
        (TENTHS, (), "scale 0.0001, offset 0, expected no scale and no offset as in the images of the training"),
        ((), TENTHS, "`gdal_translate -a_scale 0.0001 -a_offset 0 scene.tif OUT.tif`"),
        (((1, 0), (2, 0)), ((1, 0), (1, 0)), "scale 1, 2, offset 0, expected scale 1, offset 0"),
        (((2, 0), (1, 0)), ((2, 0), (2, 0)), "scale 2, 1, offset 0, expected scale 2, offset 0"),
    ],
)
def test_what_states_nothing_cannot_be_compared_with_what_does(mine, wanted, words):
    with pytest.raises(Refused) as caught:
        packing.conversion(PATH, mine, wanted)
    assert words in caught.value.reason


def test_a_band_that_states_nothing_in_both_is_left_alone():
    gain, shift = packing.conversion(PATH, ((1, 0), (1e-3, 0)), ((1, 0), (1e-4, 0)))
    np.testing.assert_allclose(gain, [1, 10])
    np.testing.assert_array_equal(shift, [0, 0])
