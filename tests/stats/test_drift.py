import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from modelwright.stats import drift
from modelwright.stats.profile import category_profile, level_counts

COUNTS = st.lists(st.integers(0, 2000), min_size=2, max_size=12).map(np.array)


@given(COUNTS, st.data())
def test_psi_is_symmetric_and_never_negative(before, data):
    now = np.array(data.draw(st.lists(st.integers(0, 2000), min_size=len(before), max_size=len(before))))
    one, other = drift.distance(before, now), drift.distance(now, before)
    if one is None:
        assert before.sum() == 0 or now.sum() == 0
        return
    assert other is not None
    assert one.psi == pytest.approx(other.psi)
    assert one.psi >= 0
    assert 0 <= one.p_value <= 1
    assert 0 <= one.effect <= one.psi


@pytest.mark.parametrize(("reference", "window"), [(1000, 50), (5000, 500), (5000, 5000), (50_000, 200)])
def test_psi_p_values_are_uniform_when_nothing_changed(reference, window):
    random = np.random.default_rng(window)
    shares = np.full(10, 0.1)
    p = np.array(
        [
            found.p_value
            for before, now in zip(
                random.multinomial(reference, shares, 4000), random.multinomial(window, shares, 4000), strict=True
            )
            if (found := drift.distance(before, now)) is not None
        ]
    )
    assert (p <= 0.05).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
    assert (p <= 0.01).mean() <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 4000)
    assert (p <= 0.05).mean() >= 0.03


def test_two_bins_are_tested_exactly():
    found = drift.distance(np.array([999, 1]), np.array([100, 0]))
    assert found is not None
    assert found.p_value > 0.5


@given(COUNTS, COUNTS)
def test_merging_keeps_every_row_and_depends_on_the_reference_alone(before, now):
    size = min(len(before), len(now))
    before, now = before[:size], now[:size]
    merged_before, merged_now = drift.merged(before, now)
    assert merged_before.sum() == before.sum()
    assert merged_now.sum() == now.sum()
    other_before, _ = drift.merged(before, np.roll(now, 1))
    assert merged_before.tolist() == other_before.tolist()


def test_merged_bins_expect_five_rows_in_the_window():
    before, now = drift.merged(np.full(10, 100), np.full(10, 2))
    assert (before / before.sum() * now.sum() >= 5).all()
    assert len(before) == 3


def test_shift_is_mann_whitney_on_ties():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 8, 300), random.integers(0, 8, 200) + (random.random(200) < 0.3)
    found = drift.shift(np.bincount(one, minlength=9), np.bincount(other, minlength=9))
    expected = stats.mannwhitneyu(other, one, method="asymptotic", use_continuity=False)
    assert found is not None
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.01)
    assert found.effect == pytest.approx(expected.statistic / (300 * 200) - 0.5)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 500), st.integers(1, 500))
def test_the_excess_test_is_the_beta_binomial_tail(hits, rows, known_hits, known_rows):
    hits, known_hits = min(hits, rows), min(known_hits, known_rows)
    p_value = drift.more_than_expected(hits, rows, known_hits, known_rows)
    assert 0 <= p_value <= 1
    a, b = known_hits + 1, known_rows - known_hits
    if b > 0 and hits * (a + b) > rows * a:
        assert p_value == pytest.approx(min(1.0, stats.betabinom.sf(hits - 1, rows, a, b)), rel=1e-6, abs=1e-12)


def test_dispersion_makes_every_test_more_careful():
    before, now = np.full(10, 500), np.array([60, 40] * 5)
    for test in (drift.distance, drift.shift):
        plain, careful = test(before, now), test(before, now, dispersion=5.0)
        assert plain is not None
        assert careful is not None
        assert careful.p_value > plain.p_value
    assert drift.share_changed(30, 500, 100, 5000, dispersion=5.0) > drift.share_changed(30, 500, 100, 5000)


def test_rare_levels_share_buckets_and_every_row_is_counted_once():
    random = np.random.default_rng(0)
    levels = np.array([str(int(value)) for value in random.zipf(1.5, 3000) % 500], dtype=object)
    known = category_profile(levels)
    seen, _ = level_counts(levels[:400])
    before, now = drift.category_bins(known, {**seen, "never seen": 7})
    assert before.sum() == 3000
    assert now.sum() == 407
    assert len(before) <= 20


def test_a_capped_profile_does_not_claim_new_levels():
    known = category_profile(np.array([str(i % 50) for i in range(500)], dtype=object), level_cap=10)
    assert drift.unseen_levels(400, 500, known) == 1.0


def test_good_turing_expects_unseen_levels_where_many_were_seen_once():
    long_tail = category_profile(np.array([str(i) for i in range(1000)], dtype=object))
    few = category_profile(np.array([str(i % 5) for i in range(1000)], dtype=object))
    assert drift.unseen_levels(95, 100, long_tail) > 0.1
    assert drift.unseen_levels(5, 100, few) < 1e-3


def test_unseen_levels_that_bring_many_rows_each_are_no_news():
    speaking, seeds = 0, 200
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        known = category_profile(random.integers(0, 300, 1000).astype(str).astype(object))
        window = random.integers(0, 300, 1000).astype(str)
        hits = sum(level not in known.levels for level in window)
        speaking += drift.unseen_levels(hits, 1000, known) <= 0.05
    assert speaking / seeds <= 0.05


def test_one_row_of_a_rare_value_is_no_shift():
    assert drift.shift(np.array([900, 100]), np.array([0, 1])) is None
    assert drift.shift(np.array([900, 100]), np.array([45, 15])) is not None


def test_the_rows_needed_are_where_the_effect_becomes_detectable():
    needed = drift.rows_needed(20_000, 0.1, 10, 0.001)
    assert needed is not None
    assert drift.detectable(20_000, needed, 10, 0.001) <= 0.1 < drift.detectable(20_000, needed - 5, 10, 0.001)
    assert drift.rows_needed(50, 0.1, 10, 0.001) is None


def test_a_detectable_shift_is_found_eight_times_in_ten():
    random = np.random.default_rng(0)
    shares = np.full(10, 0.1) + np.linspace(-0.04, 0.04, 10)
    psi = float(((shares - 0.1) * np.log(shares / 0.1)).sum())
    rows = drift.rows_needed(100_000, psi, 10, 0.01)
    assert rows is not None
    before = np.full(10, 10_000)
    found = [drift.distance(before, now) for now in random.multinomial(rows, shares, 500)]
    assert 0.7 < np.mean([one is not None and one.p_value <= 0.01 for one in found]) < 0.9


def test_independent_blocks_are_not_overdispersed_and_sticky_ones_are():
    random = np.random.default_rng(0)
    assert drift.overdispersion(list(random.multinomial(500, np.full(10, 0.1), 40))) < 1.3
    sticky = [np.bincount(np.repeat(random.integers(0, 10, 50), 10), minlength=10) for _ in range(40)]
    assert drift.overdispersion(sticky) == pytest.approx(10, rel=0.3)
    assert drift.overdispersion([np.array([1, 2])]) == 1.0


def test_the_estimated_dispersion_restores_the_level_on_autocorrelated_rows():
    random = np.random.default_rng(1)

    def sticky(rows):
        return np.bincount(np.repeat(random.integers(0, 10, rows // 10), 10), minlength=10)

    factor = drift.overdispersion([sticky(500) for _ in range(200)])
    pairs = [(sticky(5000), sticky(500)) for _ in range(300)]
    plain = [drift.distance(before, now) for before, now in pairs]
    careful = [drift.distance(before, now, dispersion=factor) for before, now in pairs]
    assert np.mean([one is not None and one.p_value <= 0.05 for one in plain]) > 0.5
    assert np.mean([one is not None and one.p_value <= 0.05 for one in careful]) < 0.1
