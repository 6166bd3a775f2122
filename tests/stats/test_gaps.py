import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelwright.stats import gaps, statistic
from modelwright.stats.fdr import benjamini_hochberg


def _two(seed, rows=60, others=300, shift=0.0):
    random = np.random.default_rng(seed)
    return statistic.mean(random.normal(shift, 1, rows)), statistic.mean(random.normal(0, 1, others))


@given(st.integers(0, 50), st.floats(-3, 3))
def test_a_gap_is_the_difference_of_the_figures_and_lies_in_its_interval(seed, shift):
    group, rest = _two(seed, shift=shift)
    measured, found = gaps.measure({"rmse": group}, {"rmse": rest}, {})
    gap = found["rmse"]
    assert gap.value == measured["rmse"].value - rest.value
    assert gap.low <= gap.value <= gap.high
    assert 0 <= gap.p <= 1


@given(st.integers(0, 50))
def test_the_group_and_the_rest_changed_over_have_the_opposite_gap(seed):
    group, rest = _two(seed, rows=80, others=80)
    forth, back = (
        gaps.measure({"mae": one}, {"mae": other}, {})[1]["mae"] for one, other in [(group, rest), (rest, group)]
    )
    assert forth.value == -back.value
    assert abs(forth.p - back.p) < 0.25  # drawn anew, so not the same to the last digit


def test_the_interval_of_a_mean_is_that_of_two_independent_samples():
    group, rest = _two(0, rows=400, others=4000)
    gap = gaps.measure({"mae": group}, {"mae": rest}, {})[1]["mae"]
    wanted = 1.96 * np.sqrt(1 / 400 + 1 / 4000)
    np.testing.assert_allclose([gap.value - gap.low, gap.high - gap.value], wanted, rtol=0.15)


def test_a_side_above_the_rows_that_are_drawn_keeps_the_width_of_all_its_rows():
    group, rest = _two(1, rows=4 * gaps.ROWS, others=4 * gaps.ROWS)
    gap = gaps.measure({"mae": group}, {"mae": rest}, {})[1]["mae"]
    np.testing.assert_allclose(gap.high - gap.low, 2 * 1.96 * np.sqrt(2 / (4 * gaps.ROWS)), rtol=0.15)


@given(st.integers(1, 200), st.booleans())
def test_a_group_that_is_right_throughout_may_still_be_wrong_as_often_as_an_exact_bound_allows(cases, right):
    group = statistic.mean(np.full(cases, float(right)))
    one = gaps.measure({"accuracy": group}, {}, {"accuracy": cases})[0]["accuracy"]
    bound = 0.025 ** (1 / cases)
    low, high = (one.low, one.high) if right else (1 - one.high, 1 - one.low)
    np.testing.assert_allclose([low, high], [bound, 1.0], atol=0.005)


def test_a_calibration_error_is_measured_and_not_compared():
    truth, p = np.arange(60) % 2 == 0, np.full(60, 0.5)
    one = statistic.calibration(truth, p)
    measured, found = gaps.measure({"calibration_error": one}, {"calibration_error": one}, {})
    assert set(measured) == {"calibration_error"}
    assert found == {}


def test_what_is_not_defined_on_a_side_is_left_out():
    one_class = statistic.ranking(np.ones(40, dtype=bool), np.linspace(0, 1, 40))
    both = statistic.ranking(np.arange(40) % 2 == 0, np.linspace(0, 1, 40))
    assert gaps.measure({"roc_auc": one_class}, {"roc_auc": both}, {}) == ({}, {})
    measured, found = gaps.measure({"roc_auc": both}, {"roc_auc": one_class}, {})
    assert (set(measured), found) == ({"roc_auc"}, {})


def _groups_of_chance(seed, groups=12, rows=40):
    random = np.random.default_rng(seed)
    return random.random(groups * rows) < 0.75, np.repeat(np.arange(groups), rows)


def test_a_dozen_small_groups_of_the_same_quality_are_rarely_told_apart():
    told = []
    for seed in range(40):
        right, place = _groups_of_chance(seed)
        whole, p = {"accuracy": statistic.mean(right)}, []
        for group in range(12):
            ours, others = (np.flatnonzero(mask) for mask in (place == group, place != group))
            sides = ({"accuracy": whole["accuracy"].take(side)} for side in (ours, others))
            _, found = gaps.measure(*sides, {})
            p.append(gaps.doubted(found, whole, len(ours))["accuracy"].p)
        told.append(benjamini_hochberg(p).min() <= 0.05)
    assert np.mean(told) <= 0.1


def test_a_group_that_is_worse_stays_told_apart_when_it_is_doubted():
    right, place = _groups_of_chance(0)
    right[place == 3] &= np.arange(40) % 2 == 0
    whole = {"accuracy": statistic.mean(right)}
    sides = ({"accuracy": whole["accuracy"].take(np.flatnonzero(mask))} for mask in (place == 3, place != 3))
    _, found = gaps.measure(*sides, {})
    doubted = gaps.doubted(found, whole, 40)["accuracy"]
    assert found["accuracy"].p <= doubted.p < 0.001
    assert (doubted.value, doubted.low, doubted.high) == (
        found["accuracy"].value,
        found["accuracy"].low,
        found["accuracy"].high,
    )


def test_a_p_value_that_is_large_is_not_doubted():
    whole = {"mae": statistic.mean(np.tile([0.0, 1.0], 40))}
    found = {"mae": gaps.Difference(0.01, -0.2, 0.2, 0.9)}
    assert gaps.doubted(found, whole, 40) == found


def test_a_group_of_many_rows_none_of_them_rare_is_not_doubted():
    right = np.concatenate([np.ones(3000), np.zeros(6000)])
    whole = {"accuracy": statistic.mean(right)}
    found = {"accuracy": gaps.Difference(0.01, 0.005, 0.02, 0.01)}
    assert gaps.doubted(found, whole, 3000) == found
    assert gaps.doubted(found, whole, 3000, drawn=(3000, 2000))["accuracy"].p > 0.01
    assert [gaps.drawn_rows(10_000, rare) for rare in (5000, 500, 100, 50, 0)] == [2000, 2000, 10_000, 10_000, 10_000]
    assert gaps.drawn_rows(1_000_000, 10) == 20_000
