"""An open loop's requests are due when the schedule says, whatever becomes of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.bench.figures import figures_of, percentile, spread
from modelwright.bench.schedule import due_times

RATES = st.floats(1, 5000)
SECONDS = st.floats(0.01, 2)


@given(RATES, SECONDS, st.integers(1, 5))
def test_even_parts_together_ask_evenly_and_exactly_as_often_as_asked(rate, seconds, parts):
    together = np.sort(
        np.concatenate([due_times(rate, seconds, "even", seed=0, part=p, parts=parts) for p in range(parts)])
    )
    assert np.array_equal(together, due_times(rate, seconds, "even", seed=7))
    assert abs(len(together) - rate * seconds) <= 1
    assert np.allclose(np.diff(together), 1 / rate)


@given(RATES, SECONDS, st.integers(0, 99))
def test_poisson_arrivals_are_in_order_within_the_time_and_the_same_for_the_same_seed(rate, seconds, seed):
    times = due_times(rate, seconds, "poisson", seed=seed)
    assert np.all(np.diff(times) >= 0)
    assert not len(times) or 0 <= times[0] <= times[-1] < seconds
    assert np.array_equal(times, due_times(rate, seconds, "poisson", seed=seed))


def test_poisson_arrivals_come_as_often_as_asked_and_with_gaps_as_wide_as_independent_callers_leave():
    parts = [due_times(1000, 100, "poisson", seed=3, part=part, parts=2) for part in range(2)]
    gaps = np.diff(np.sort(np.concatenate(parts)))
    assert 1 / gaps.mean() == pytest.approx(1000, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(1, rel=0.05)


def test_no_rate_gives_no_requests():
    assert len(due_times(0, 1, "even", seed=0)) == 0


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=300), st.sampled_from([0.1, 50, 90, 99, 99.9, 100]))
def test_a_percentile_is_the_smallest_figure_that_enough_of_them_do_not_exceed(figures, share):
    ordered = np.sort(np.array(figures))
    found = percentile(ordered, share)
    assert found in ordered
    enough = share / 100 * len(figures) - 1e-6
    assert (ordered <= found).sum() >= enough
    assert (ordered < found).sum() < enough + 1e-3 or found == ordered[0]


def test_p99_of_a_thousand_figures_is_the_990th_and_not_one_more():
    assert percentile(np.arange(1, 1001, dtype=float), 99) == 990
    assert percentile(np.arange(1, 1001, dtype=float), 99.9) == 999


def test_who_waits_in_vain_is_in_the_percentiles_and_not_in_the_rate():
    figures = figures_of(np.array([0.001, 0.002, 5.0]), np.empty(0), unanswered=1, rate=2.0)
    assert (figures.answers, figures.rate, figures.most) == (2, 2.0, 5000.0)


def test_rounds_without_an_answer_make_no_median():
    empty = figures_of(np.empty(0), np.empty(0), unanswered=0, rate=0.0)
    assert math.isnan(spread([empty], lambda one: one.p99).median)
