from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from modelwright.core.errors import BadInputError
from modelwright.stats import metrics


@st.composite
def binary_rows(draw):
    rows = draw(st.integers(2, 60))
    truth = np.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    truth[:2] = [True, False]
    # few distinct values, so that ties are common
    p = np.array(draw(st.lists(st.integers(0, 12), min_size=rows, max_size=rows))) / 12
    return truth, p


@st.composite
def multiclass_rows(draw):
    rows, classes = draw(st.integers(2, 40)), draw(st.integers(3, 5))
    truth = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    label = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    weights = draw(st.lists(st.integers(1, 20), min_size=rows * classes, max_size=rows * classes))
    raw = np.array(weights, dtype=np.float64).reshape(rows, classes)
    return truth, label, raw / raw.sum(axis=1, keepdims=True)


@st.composite
def regression_rows(draw):
    rows = draw(st.integers(2, 40))
    numbers = st.floats(-1e6, 1e6, allow_nan=False, width=32)
    truth = np.array(draw(st.lists(numbers, min_size=rows, max_size=rows)))
    return truth, np.array(draw(st.lists(numbers, min_size=rows, max_size=rows)))


@given(binary_rows())
@settings(max_examples=60, deadline=None)
def test_binary_metrics_agree_with_scikit_learn_also_with_ties(rows):
    truth, p = rows
    label = p > 0.5
    scores = np.stack([1 - p, p], axis=1)
    found = metrics.evaluate("binary", truth, label, scores, ("False", "True"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "log_loss": reference.log_loss(truth, scores),
            "roc_auc": reference.roc_auc_score(truth, p),
            "average_precision": reference.average_precision_score(truth, p),
            "brier": reference.brier_score_loss(truth, p),
            "accuracy": reference.accuracy_score(truth, label),
            "precision": reference.precision_score(truth, label),
            "recall": reference.recall_score(truth, label),
            "f1": reference.f1_score(truth, label),
        }
    calibration = found.pop("calibration_error")
    assert found == pytest.approx(expected, abs=1e-9)
    assert calibration == pytest.approx(_calibration_by_hand(truth, p))


def _calibration_by_hand(truth, p):
    place = np.minimum((p * 10).astype(int), 9)
    return sum(
        abs(p[place == index].mean() - truth[place == index].mean()) * (place == index).mean()
        for index in np.unique(place)
    )


@given(binary_rows())
@settings(max_examples=30, deadline=None)
def test_each_named_function_gives_the_figure_of_evaluate(rows):
    truth, p = rows
    label = p > 0.5
    found = metrics.evaluate("binary", truth, label, np.stack([1 - p, p], axis=1), ("False", "True"))
    by_name = {
        "log_loss": metrics.log_loss(truth, p),
        "roc_auc": metrics.roc_auc(truth, p),
        "average_precision": metrics.average_precision(truth, p),
        "brier": metrics.brier(truth, p),
        "calibration_error": metrics.calibration_error(truth, p),
        "accuracy": metrics.accuracy(truth, label),
        "precision": metrics.precision(truth, label),
        "recall": metrics.recall(truth, label),
        "f1": metrics.f1(truth, label),
    }
    assert by_name == pytest.approx(found)


@given(multiclass_rows())
@settings(max_examples=60, deadline=None)
def test_multiclass_metrics_agree_with_scikit_learn(rows):
    truth, label, scores = rows
    classes = tuple(str(index) for index in range(scores.shape[1]))
    found = metrics.evaluate("multiclass", truth, label, scores, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "log_loss": reference.log_loss(truth, scores, labels=range(len(classes))),
            "accuracy": reference.accuracy_score(truth, label),
            "macro_f1": reference.f1_score(truth, label, average="macro"),
        }
    assert found == pytest.approx(expected, abs=1e-9)


@given(regression_rows())
@settings(max_examples=60, deadline=None)
def test_regression_metrics_agree_with_scikit_learn(rows):
    truth, predicted = rows
    found = metrics.evaluate("regression", truth, predicted, None, ())
    expected = {
        "rmse": reference.root_mean_squared_error(truth, predicted),
        "mae": reference.mean_absolute_error(truth, predicted),
        "median_absolute_error": reference.median_absolute_error(truth, predicted),
    }
    if np.std(truth) > 1e-3 * max(1.0, abs(np.mean(truth))):
        assert found["r2"] == pytest.approx(reference.r2_score(truth, predicted), rel=1e-6, abs=1e-6)
    found.pop("r2", None)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_named_regression_functions_give_the_figures_of_evaluate():
    truth, predicted = np.array([1.0, 2.0, 4.0, 8.0]), np.array([1.5, 2.0, 3.0, 9.0])
    found = metrics.evaluate("regression", truth, predicted, None, ())
    assert metrics.rmse(truth, predicted) == pytest.approx(found["rmse"])
    assert metrics.mae(truth, predicted) == pytest.approx(found["mae"])
    assert metrics.r2(truth, predicted) == pytest.approx(found["r2"])
    assert metrics.median_absolute_error(truth, predicted) == pytest.approx(found["median_absolute_error"])


def test_a_metric_that_is_not_defined_is_left_out():
    p = np.array([0.2, 0.4, 0.9])
    found = metrics.evaluate("binary", np.ones(3, dtype=bool), None, np.stack([1 - p, p], axis=1), ("0", "1"))
    assert "roc_auc" not in found
    assert all(math.isfinite(value) for value in found.values())
    assert "r2" not in metrics.evaluate("regression", np.ones(3), p, None, ())
    assert math.isnan(metrics.roc_auc(np.ones(3), p))


def test_an_over_confident_float32_row_costs_what_scikit_learn_says():
    p = np.array([1.0, 0.25], dtype=np.float32)
    expected = reference.log_loss([0, 1], np.stack([1 - p, p], axis=1))
    assert metrics.log_loss(np.array([0, 1]), p) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [("False", "True"), ("0", "1"), ("0.0", "1.0"), ("false", "true")])
@pytest.mark.parametrize(
    "truth",
    [
        np.array([False, True, True]),
        np.array([0, 1, 1]),
        np.array([0, 1, 1], dtype=np.uint8),
        np.array([0.0, 1.0, 1.0]),
        np.array([0, 1, 1], dtype=np.float32),
        np.array(["False", "True", "True"], dtype=object),
        np.array(["0", "1", "1"], dtype=object),
        np.array([b"0", b"1", b"1"], dtype=object),
        np.array([False, 1, 1.0], dtype=object),
        np.array(["no", "yes", "yes"]) == "yes",
    ],
)
def test_a_label_is_known_however_it_is_written(truth, classes):
    assert metrics.class_index(truth, classes).tolist() == [0, 1, 1]


def test_exact_text_wins_where_two_classes_mean_the_same_number():
    classes = ("1", "1.0", "True", "b")
    truth = np.array(["1.0", "True", "1", "b"], dtype=object)
    assert metrics.class_index(truth, classes).tolist() == [1, 2, 0, 3]
    assert metrics.class_index(np.array([True, 1, 1.0], dtype=object), classes).tolist() == [2, 0, 1]
    with pytest.raises(BadInputError):
        metrics.class_index(np.array(["01"], dtype=object), classes)


def test_an_unknown_label_is_named_with_the_classes_that_are_known():
    with pytest.raises(BadInputError, match="'maybe'") as caught:
        metrics.class_index(np.array(["yes", "maybe"], dtype=object), ("no", "yes"))
    assert caught.value.code == "check.unknown-label"
    assert "'no', 'yes'" in caught.value.why
    assert metrics.known_labels(np.array(["yes", "maybe"], dtype=object), ("no", "yes")).tolist() == [True, False]


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=8, unique=True))
@settings(max_examples=60, deadline=None)
def test_every_class_finds_itself_by_its_own_name(classes):
    assert metrics.class_index(np.array(classes, dtype=object), classes).tolist() == list(range(len(classes)))


@pytest.mark.parametrize("truth", [np.array(["a", "b"], dtype=object), np.array([1.0, np.inf]), np.array([1, 1e200])])
def test_a_regression_truth_must_be_finite_numbers(truth):
    with pytest.raises(BadInputError) as caught:
        metrics.evaluate("regression", truth, np.array([1.0, 2.0]), None, ())
    assert caught.value.code == "check.not-a-number"


def test_every_metric_of_every_task_says_which_way_is_better():
    p = np.array([0.2, 0.8])
    scores = np.stack([1 - p, p], axis=1)
    named = {
        *metrics.statistics("binary", np.array([0, 1]), None, scores, ("0", "1")),
        *metrics.statistics("multiclass", np.array([0, 1]), None, scores, ("0", "1")),
        *metrics.statistics("regression", p, p, None, ()),
    }
    assert named == set(metrics.GREATER_IS_BETTER)
    assert set(metrics.PRIMARY.values()) <= named
