from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.stats import sequential
from modelwright.stats.sequential import log_e_value, log_e_value_above


def _probability(failed, total, rate):
    return math.comb(total, failed) * rate**failed * (1 - rate) ** (total - failed)


@given(
    st.integers(0, 14),
    st.integers(1, 14),
    st.floats(0.0, 1.0),
    st.floats(0.0, 0.3),
    st.floats(0.0, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_the_evidence_is_at_most_one_on_average_wherever_the_null_is_true(
    canary_total, champion_total, champion_rate, tolerance, within
):
    canary_rate = within * min(1.0, champion_rate + tolerance)
    expected = sum(
        _probability(bad, canary_total, canary_rate)
        * _probability(known, champion_total, champion_rate)
        * math.exp(log_e_value((bad, canary_total), (known, champion_total), tolerance=tolerance))
        for bad in range(canary_total + 1)
        for known in range(champion_total + 1)
    )
    assert expected <= 1.0 + 1e-9


@given(st.integers(1, 30), st.floats(0.01, 0.99), st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_the_evidence_against_a_fixed_rate_is_at_most_one_on_average(total, rate, within):
    expected = sum(
        _probability(bad, total, within * rate) * math.exp(log_e_value_above((bad, total), rate=rate))
        for bad in range(total + 1)
    )
    assert expected <= 1.0 + 1e-9


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 400), st.integers(0, 400), st.floats(0.0, 0.2))
@settings(max_examples=80, deadline=None)
def test_the_divisor_is_the_largest_likelihood_that_the_null_allows(bad, good, known_bad, known_good, tolerance):
    canary, champion = (bad, bad + good), (known_bad, known_bad + known_good)
    rates = np.linspace(1e-9, 1 - tolerance - 1e-9, 4001)

    def log_likelihood(count, rate):
        return count[0] * np.log(rate) + (count[1] - count[0]) * np.log1p(-rate)

    own = np.clip(canary[0] / canary[1] if canary[1] else 0.0, 1e-9, rates + tolerance)
    best = (log_likelihood(champion, rates) + log_likelihood(canary, own)).max()
    strict = log_e_value(canary, champion, tolerance=0.0)
    assert strict >= log_e_value(canary, champion, tolerance=tolerance) - 1e-9  # more tolerance, less evidence
    assert sequential._largest_null(canary, champion, tolerance) >= best - 1e-6


@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_identical_arms_looked_at_again_and_again_are_told_apart_in_at_most_one_of_a_hundred_runs(rate):
    false_alarms = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        to_canary, failed = random.random(1500) < 0.2, random.random(1500) < rate
        canary_total, champion_total = np.cumsum(to_canary), np.cumsum(~to_canary)
        canary_failed, champion_failed = np.cumsum(to_canary & failed), np.cumsum(~to_canary & failed)
        looks = np.flatnonzero((failed & to_canary) | (np.arange(1500) % 10 == 9))
        false_alarms += any(
            log_e_value(
                (int(canary_failed[i]), int(canary_total[i])),
                (int(champion_failed[i]), int(champion_total[i])),
                tolerance=0.0,
            )
            >= math.log(100)
            for i in looks
        )
    assert false_alarms <= 8  # P(more | alpha = 0.01) < 0.004


def test_without_any_champion_answer_there_is_no_evidence_between_the_two():
    assert log_e_value((50, 50), (0, 0), tolerance=0.0) <= 0.0


def test_a_thousand_clean_answers_of_both_are_no_evidence_against_the_canary():
    assert log_e_value((0, 1000), (0, 9000), tolerance=0.005) < 0.0


@pytest.mark.parametrize(
    ("canary", "champion", "tolerance"), [((2, 1), (0, 1), 0.0), ((0, 1), (-1, 1), 0.0), ((0, 1), (0, 1), 1.0)]
)
def test_impossible_counts_and_tolerances_are_refused(canary, champion, tolerance):
    with pytest.raises(ValueError, match=r"count|tolerance"):
        log_e_value(canary, champion, tolerance=tolerance)
