"""The roof over a program, and times that are too noisy."""

import jax
import numpy as np
import pytest

from lcjax.profiling import roofline, timing, topologies


def test_the_bound_is_the_longer_of_both_times():
    peaks = roofline.Peaks(100.0, 10.0, roofline.MEASURED)
    assert peaks.ridge == 10.0
    assert peaks.bound(200.0, 10.0) == 2.0 and peaks.bound(100.0, 50.0) == 5.0
    assert peaks.bound(10 * peaks.ridge, 10.0) == pytest.approx(1.0)  # at the ridge both are the same


def test_what_stands_in_the_table_is_not_measured(monkeypatch):
    chip = topologies.CHIPS["v5e"]
    monkeypatch.setattr(topologies, "chip", lambda kind: chip)
    found = roofline.peaks(jax.devices()[0], 4, "bfloat16")
    assert found == roofline.Peaks(4 * chip.flops, 4 * chip.bandwidth, roofline.TABLE)


def test_several_devices_of_a_cpu_are_one_machine(monkeypatch):
    monkeypatch.setattr(roofline, "_product_rate", lambda device, dtype: 7.0)
    monkeypatch.setattr(roofline, "_copy_rate", lambda device: 3.0)
    assert roofline.peaks(jax.devices()[0], 8, "float32") == roofline.Peaks(7.0, 3.0, roofline.MEASURED)


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_against_numpy_and_what_is_noisy(seed):
    times = np.random.default_rng(seed).uniform(90, 110, 50).tolist()
    found = timing.summary(times)
    ordered = np.sort(times)
    assert found["median"] == pytest.approx((ordered[24] + ordered[25]) / 2)
    assert ordered[4] <= found["p10"] <= ordered[5] and ordered[44] <= found["p90"] <= ordered[45]
    assert not timing.noise(found)
    assert "measure again" in timing.noise({"median": 100.0, "p10": 90.0, "p90": 111.0})


def test_warm_up_is_not_counted():
    calls = []
    assert len(timing.repeated(lambda: calls.append(0), 4)) == 4 and len(calls) == 4 + timing.WARMUP
