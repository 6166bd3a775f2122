from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.stats import bootstrap, metrics, statistic


def _binary(rows, seed):
    random = np.random.default_rng(seed)
    p = random.random(rows)
    return random.random(rows) < p, np.stack([1 - p, p], axis=1)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    losses = np.random.default_rng(1).random(200)
    assert bootstrap.interval(losses, seed=3) == bootstrap.interval(losses, seed=3)
    assert bootstrap.interval(losses, seed=3) != bootstrap.interval(losses, seed=4)


def test_the_interval_of_a_mean_is_close_to_the_normal_one():
    losses = np.random.default_rng(2).normal(5.0, 2.0, 1000)
    found = bootstrap.interval(losses, replicates=2000)
    half = 1.96 * losses.std() / np.sqrt(len(losses))
    assert found.value == pytest.approx(losses.mean())
    assert found.low == pytest.approx(losses.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(losses.mean() + half, abs=0.15 * half)


def test_the_interval_of_the_auc_covers_the_true_auc_in_about_95_of_100_samples():
    # p uniform and y ~ Bernoulli(p): AUC = 2 * P(p_pos > p_neg) integral = 5/6
    held = 0
    for seed in range(200):
        truth, scores = _binary(150, seed)
        found = bootstrap.interval(statistic.ranking(truth, scores[:, 1]), replicates=200)
        held += found.low <= 5 / 6 <= found.high
    assert 180 <= held <= 199


def test_replicates_equal_the_metric_of_the_resampled_rows():
    truth, scores = _binary(80, 5)
    weights = next(bootstrap._weights(80, 20, 0))
    assert weights.sum(axis=1).tolist() == [80.0] * 20
    bound = metrics.statistics("binary", truth, None, scores, ("0", "1"))
    found = {name: one.replicate(weights) for name, one in bound.items()}
    for index in range(20):
        rows = np.repeat(np.arange(80), weights[index].astype(int))
        expected = metrics.evaluate("binary", truth[rows], None, scores[rows], ("0", "1"))
        assert {name: values[index] for name, values in found.items()} == pytest.approx(expected)


def test_regression_replicates_equal_the_metric_of_the_resampled_rows():
    random = np.random.default_rng(6)
    truth, predicted = random.normal(size=61), random.normal(size=61)
    weights = next(bootstrap._weights(61, 10, 0))
    bound = metrics.statistics("regression", truth, predicted, None, ())
    for index in range(10):
        rows = np.repeat(np.arange(61), weights[index].astype(int))
        expected = metrics.evaluate("regression", truth[rows], predicted[rows], None, ())
        found = {name: one.replicate(weights)[index] for name, one in bound.items()}
        assert found == pytest.approx(expected)


def test_more_rows_than_the_cap_are_resampled_on_an_even_subsample_and_scaled():
    losses = np.random.default_rng(7).normal(1.0, 1.0, 3 * bootstrap.ROWS)
    found = bootstrap.interval(losses, replicates=200)
    half = 1.96 / np.sqrt(len(losses))
    assert found.rows == bootstrap.ROWS
    assert found.value == pytest.approx(losses.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.25)


def test_a_paired_interval_is_much_narrower_than_the_two_apart():
    random = np.random.default_rng(8)
    shared = random.normal(0.0, 1.0, 500)
    candidate, champion = shared + 0.1 + random.normal(0.0, 0.05, 500), shared
    found = bootstrap.paired_interval(candidate, champion)
    assert found.value == pytest.approx(0.1, abs=0.01)
    assert found.low > 0.08
    assert found.high < 0.12


def test_a_model_against_itself_differs_by_exactly_nothing():
    truth, scores = _binary(60, 9)
    one = statistic.ranking(truth, scores[:, 1])
    found = bootstrap.paired_interval(one, one)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_sides_of_different_length_and_undefined_statistics_are_refused():
    with pytest.raises(ValueError, match="3 and 4 rows"):
        bootstrap.paired_interval(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="not defined"):
        bootstrap.interval(np.array([]))
    with pytest.raises(ValueError, match="not defined"):
        bootstrap.interval(statistic.ranking(np.ones(5, dtype=bool), np.arange(5)))


def test_evaluate_gives_every_figure_of_metrics_with_its_interval():
    truth, scores = _binary(300, 10)
    found = bootstrap.evaluate("binary", truth, None, scores, ("0", "1"), replicates=200)
    plain = metrics.evaluate("binary", truth, None, scores, ("0", "1"))
    assert {name: one.value for name, one in found.items()} == pytest.approx(plain)
    assert all(one.low <= one.value <= one.high for one in found.values())


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_an_interval_of_a_mean_stays_within_the_data(losses):
    found = bootstrap.interval(np.array(losses), replicates=50)
    assert min(losses) - 1e-9 <= found.low <= found.high <= max(losses) + 1e-9


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=25))
@settings(max_examples=60, deadline=None)
def test_the_weighted_median_of_equal_weights_is_the_median(values):
    assert statistic.median(np.array(values)).value == pytest.approx(float(np.median(values)))
