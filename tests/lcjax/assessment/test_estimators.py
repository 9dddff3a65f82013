"""The estimators against the worked examples that their authors published, formulas written out, and simulation.

The numbers of the examples are as the R package mapaccuracy 0.1.2 (https://github.com/hagc/mapaccuracy, help of
`olofsson` and `stehman2014`) and https://github.com/boothmanrylan/accuracyAssessmentTools (its tests, and
stehman2014_table2.csv) repeat them from the papers.
"""

import math
import tracemalloc

import numpy as np
import pytest

from lcjax.assessment import estimators
from lcjax.assessment.estimators import Labelled, Strata

# Olofsson et al. (2014), table 8: rows = map, columns = reference; and the pixels of the map, of 30 m.
TABLE_8 = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS_8 = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def labelled(stratum, mapped, reference, area=None):
    stratum, mapped, reference = (np.asarray(one) for one in (stratum, mapped, reference))
    return Labelled(stratum, mapped, reference, np.ones(len(stratum)) if area is None else np.asarray(area, float))


def of_matrix(counts):
    """The sample that a matrix of counts tells of, where strata are the classes of the map."""
    rows, columns = (np.repeat(one.ravel(), counts.ravel()) for one in np.indices(counts.shape))
    return labelled(rows, rows, columns)


def test_the_example_of_olofsson_et_al_2014():
    """Table 9 and section 5.2. By the paper's formulas two numbers are 0.25 and 0.02; it prints 0.23 and 0.01."""
    found = estimators.estimate(of_matrix(TABLE_8), Strata(PIXELS_8, PIXELS_8 * 0.09), 4)
    np.testing.assert_array_equal(found.counts, TABLE_8)
    table_9 = [[0.0176, 0, 0.0013, 0.0011], [0, 0.0110, 0.0016, 0.0024]]
    table_9 += [[0.0019, 0, 0.2967, 0.0213], [0.0040, 0.0020, 0.0179, 0.6212]]
    np.testing.assert_allclose(found.matrix, table_9, atol=6e-5)
    assert found.overall.value == pytest.approx(0.95, abs=0.005)
    assert found.overall.half_width == pytest.approx(0.02, abs=0.005)
    for of_class, users, producers in zip(
        range(4),
        ((0.88, 0.07), (0.73, 0.10), (0.93, 0.04), (0.96, 0.02)),
        ((0.75, 0.21), (0.85, 0.25), (0.93, 0.03), (0.96, 0.02)),
        strict=True,
    ):
        for one, (value, half) in ((found.users[of_class], users), (found.producers[of_class], producers)):
            assert (one.value, one.half_width) == (pytest.approx(value, abs=0.005), pytest.approx(half, abs=0.005))
    hectares = [21_158, 11_686, 285_770, 581_386]
    half = [6_158, 3_756, 15_510, 16_282]
    np.testing.assert_allclose([900_000 * one.value for one in found.areas], hectares, rtol=2e-4)
    np.testing.assert_allclose([900_000 * one.half_width for one in found.areas], half, rtol=2e-3)


# Stehman (2014), table 2: (stratum, map, reference, how many), strata 1 to 4 of 40,000, 30,000, 20,000, 10,000 pixels.
TABLE_2 = [
    *((0, "A", "A", 5), (0, "A", "C", 1), (0, "A", "B", 1), (0, "B", "A", 1), (0, "B", "B", 1), (0, "B", "C", 1)),
    *((1, "A", "A", 1), (1, "B", "B", 7), (1, "B", "A", 2)),
    *((2, "B", "C", 2), (2, "C", "C", 3), (2, "C", "D", 2), (2, "C", "B", 1), (2, "B", "B", 1), (2, "B", "A", 1)),
    *((3, "D", "D", 7), (3, "D", "C", 2), (3, "D", "B", 1)),
]


def test_the_example_of_stehman_2014():
    """Section 4; the standard error of the producer's accuracy is 0.116.

    The paper prints 0.114: it takes s2_xh of stratum 4 for 0, where its table 3 has 0.1, as accuracyAssessmentTools
    found (tests/test_stehman.py).
    """
    rows = [row[:3] for row in TABLE_2 for _ in range(row[3])]
    stratum, mapped, reference = zip(*rows, strict=True)
    pixels = np.array([40_000, 30_000, 20_000, 10_000])
    sample = labelled(stratum, ["ABCD".index(one) for one in mapped], ["ABCD".index(one) for one in reference])
    found = estimators.estimate(sample, Strata(pixels, pixels), 4)
    told = {
        "area of A": (found.areas[0], 0.35, 0.082),
        "area of C": (found.areas[2], 0.20, 0.064),
        "overall": (found.overall, 0.63, 0.085),
        "user's of B": (found.users[1], 0.574, 0.125),
        "producer's of B": (found.producers[1], 0.794, 0.116),
    }
    for name, (one, value, error) in told.items():
        assert one.value == pytest.approx(value, abs=6e-4), name
        assert one.standard_error == pytest.approx(error, abs=6e-4), name
    assert found.matrix[1, 2] == pytest.approx(0.08)


def written_out(sample, strata, classes):
    """Stehman's formulas, unit by unit, for pixels of one size: (value, standard error) of what `estimate` gives."""
    shares = [float(n) / float(strata.pixels.sum()) for n in strata.pixels]

    def mean(values):
        return math.fsum(values) / len(values)

    def covariance(a, b):
        return math.fsum((x - mean(a)) * (y - mean(b)) for x, y in zip(a, b, strict=True)) / (len(a) - 1)

    def parts(y):
        return [[float(y[i]) for i in range(len(y)) if sample.stratum[i] == h] for h in range(len(shares))]

    def total(y):
        return math.fsum(w * mean(one) for w, one in zip(shares, parts(y), strict=True))

    def variance(y, x, ratio):
        terms = []
        for h, (of_y, of_x) in enumerate(zip(parts(y), parts(x), strict=True)):
            spread = covariance(of_y, of_y) + ratio**2 * covariance(of_x, of_x) - 2 * ratio * covariance(of_x, of_y)
            terms.append(shares[h] ** 2 * (1 - len(of_y) / float(strata.pixels[h])) * spread / len(of_y))
        return math.fsum(terms)

    def of(y, x):
        if not any(x):
            return None
        ratio = total(y) / total(x)
        return ratio, math.sqrt(variance(y, x, ratio)) / total(x)

    n = range(len(sample.stratum))
    one, nought = [1] * len(n), [0] * len(n)
    agree = [sample.mapped[i] == sample.reference[i] for i in n]
    is_mapped, is_seen = ([[at[i] == k for i in n] for k in range(classes)] for at in (sample.mapped, sample.reference))
    both = [[agree[i] and is_seen[k][i] for i in n] for k in range(classes)]
    overall = total(agree), math.sqrt(variance(agree, nought, 0.0))
    users = [of(both[k], is_mapped[k]) for k in range(classes)]
    producers = [of(both[k], is_seen[k]) for k in range(classes)]
    areas = [(total(is_seen[k]), math.sqrt(variance(is_seen[k], nought, 0.0))) for k in range(classes)]
    assert len(one) == len(n)
    return [overall, *users, *producers, *areas]


@pytest.mark.parametrize("seed", range(4))
def test_against_the_formulas_written_out(seed):
    rng = np.random.default_rng(seed)
    strata = Strata(pixels := rng.integers(60, 400, 3), pixels * 2.5)
    stratum = np.repeat(np.arange(3), rng.integers(2, 60, 3))
    reference = rng.integers(0, 5 - seed % 2, len(stratum))
    mapped = np.where(rng.random(len(stratum)) < 0.6, reference, rng.integers(0, 5 - seed % 2, len(stratum)))
    sample = labelled(stratum, mapped, reference, np.full(len(stratum), 2.5))
    found = estimators.estimate(sample, strata, 5)
    expected = written_out(sample, strata, 5)
    for one, pair in zip([found.overall, *found.users, *found.producers, *found.areas], expected, strict=True):
        assert (one is None) == (pair is None)
        if pair:
            np.testing.assert_allclose((one.value, one.standard_error), pair, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.matrix.sum(), 1)
    np.testing.assert_allclose(found.matrix.sum(0), [one.value for one in found.areas], atol=1e-14)
    np.testing.assert_allclose(np.trace(found.matrix), found.overall.value)


def test_all_pixels_labelled_leave_no_doubt():
    rng = np.random.default_rng(0)
    stratum, reference, area = rng.integers(0, 3, 500), rng.integers(0, 3, 500), rng.uniform(1, 2, 500)
    stratum[0], area[0] = 3, 1.7  # a stratum of one pixel
    strata = Strata(np.bincount(stratum), np.bincount(stratum, area))
    found = estimators.estimate(labelled(stratum, stratum.clip(0, 2), reference, area), strata, 3)
    np.testing.assert_allclose([one.value for one in found.areas], np.bincount(reference, area) / area.sum())
    assert [one.standard_error for one in (found.overall, *found.areas, *found.producers)] == [0] * 7


def test_a_stratum_without_two_labels_is_no_sample():
    strata = Strata(np.array([50, 50]), np.array([50, 50]))
    for stratum in ([0, 0, 1], [0, 0, 0]):
        with pytest.raises(ValueError, match="fewer than two"):
            estimators.estimate(labelled(stratum, [0] * 3, [0] * 3), strata, 1)


def test_what_was_never_seen_has_no_accuracy():
    counts = np.array([[9, 1, 0], [0, 0, 0], [2, 3, 0]])
    found = estimators.estimate(of_matrix(counts[[0, 2]]), Strata(np.array([90, 110]), np.array([90, 110])), 3)
    assert found.users[2] is None and found.producers[2] is None  # of three classes the last is nowhere
    assert found.areas[2].value == 0 and found.producers[0].value == pytest.approx(90 * 0.9 / (90 * 0.9 + 110 * 0.4))


def test_many_classes_take_memory_by_points_and_by_cells_not_by_their_product():
    points, classes = 20_000, 200  # a matrix for each point would be 6.4 GB
    rng = np.random.default_rng(1)
    mapped, reference = rng.integers(0, classes, (2, points))
    strata = Strata(np.array([10**6]), np.array([10.0**6]))
    tracemalloc.start()
    found = estimators.estimate(labelled(np.zeros(points, int), mapped, reference), strata, classes)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20 * 8 * points + 4 * 8 * classes**2
    expected = np.zeros((classes, classes), int)
    np.add.at(expected, (mapped, reference), 1)
    np.testing.assert_array_equal(found.counts, expected)
    np.testing.assert_allclose(found.matrix, expected / points)


def test_intervals_end_at_0_and_1():
    low, high = estimators.Estimate(0.02, 0.5).interval
    assert (low, high) == (0, pytest.approx(0.02 + 1.959964 * 0.5))
    assert estimators.Estimate(0.99, 0.5).interval[1] == 1


@pytest.mark.slow
@pytest.mark.parametrize("strata_are_classes", [True, False])
def test_intervals_cover_the_true_area_of_simulated_maps(strata_are_classes):
    """1,000 maps simulated from counts: each is what a table of (stratum, map, truth) says, its sample is drawn anew.

    Of every class, the 95 % interval of its area covers the true one in 92 to 97 % of them, and so does that of the
    overall accuracy. Those of ratios, of which few points tell where strata are not the classes, may miss it more
    often. Pixels differ in size, as they do in degrees.
    """
    rng = np.random.default_rng(5)
    classes, shares = 4, np.array([0.1, 0.15, 0.3, 0.45])
    hits = np.zeros(1 + 3 * classes)
    for _ in range(1000):
        size = 30_000
        mapped = rng.choice(classes, size, p=shares)
        truth = np.where(rng.random(size) < 0.85, mapped, rng.choice(classes, size))
        stratum = mapped if strata_are_classes else rng.integers(0, 2, size) + (mapped > 1)
        area = rng.uniform(0.6, 1.4, size) * (1 + 0.3 * (truth == 0))
        pixels = np.bincount(stratum)
        strata = Strata(pixels, np.bincount(stratum, area))
        drawn = [rng.choice(np.flatnonzero(stratum == h), 300, replace=False) for h in range(len(pixels))]
        chosen = np.concatenate(drawn)
        found = estimators.estimate(
            Labelled(stratum[chosen], mapped[chosen], truth[chosen], area[chosen]), strata, classes
        )
        same = area * (mapped == truth)
        of_map, of_truth, of_both = (np.bincount(one, by) for one, by in ((mapped, area), (truth, area), (truth, same)))
        true = [same.sum() / area.sum(), *(of_both / of_map), *(of_both / of_truth), *(of_truth / area.sum())]
        for at, one in enumerate([found.overall, *found.users, *found.producers, *found.areas]):
            hits[at] += abs(one.value - true[at]) <= one.half_width
    shares_and_overall = hits[[0, *range(-classes, 0)]]
    assert shares_and_overall.min() >= 920 and shares_and_overall.max() <= 970, hits
    assert hits.min() >= (920 if strata_are_classes else 880) and hits.max() <= 970, hits
