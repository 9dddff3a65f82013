import json

import numpy as np

from data_pipelines.reading.band_statistics import BandSums


def image(seed: int, offset: float = 1e4) -> np.ndarray:
    return np.random.default_rng(seed).normal(offset, 3, (9, 11, 2)).astype(np.float32)


def test_sums_add_up_through_json():
    parts = [BandSums.from_json(json.loads(json.dumps(BandSums.of(image(k), None).to_json()))) for k in range(3)]
    parts.insert(1, BandSums.from_json(json.loads(json.dumps(BandSums.of_none(2).to_json()))))
    whole = parts[0] + parts[1] + parts[2] + parts[3]
    values = np.concatenate([image(k) for k in range(3)]).reshape(-1, 2).astype(np.float64)
    assert whole.count == len(values)
    np.testing.assert_allclose(whole.mean, values.mean(0), rtol=1e-12)
    np.testing.assert_allclose(whole.std, values.std(0), rtol=1e-6)
    np.testing.assert_allclose(whole.correlation, np.corrcoef(values.T), atol=1e-6)
    assert (whole.low == values.min(0)).all() and (whole.high == values.max(0)).all()


def test_only_counted_pixels():
    counted = np.zeros((9, 11), bool)
    counted[2:4, 5:] = True
    np.testing.assert_allclose(BandSums.of(image(0), counted).mean, image(0)[2:4, 5:].mean((0, 1), dtype=float))
    assert BandSums.of(image(0), counted & False).summary() == {"pixels": 0}


def test_scaling_of_a_constant_band_divides_by_one():
    constant = np.full((4, 4, 2), 0.1, np.float32)
    constant[..., 1] = np.arange(16).reshape(4, 4)
    scaling = BandSums.of(constant, None).scaling()
    assert scaling.scale[0] == 1.0 and scaling.scale[1] > 4
    assert np.isfinite([scaling.low, scaling.high, scaling.offset]).all()
    np.testing.assert_array_equal(BandSums.of(constant, None).correlation, np.eye(2))
    assert BandSums.of_none(3).scaling().scale == (1.0, 1.0, 1.0)
