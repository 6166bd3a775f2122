"""Slices of real, tiny models: one that knows less of one airport than of the others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import modelwright as mw
from modelwright.check import verdict_from_json, verdict_json
from modelwright.core.errors import BadInputError
from modelwright.core.package import canonical_json

AIRPORTS = np.array(["EWR", "JFK", "LGA"], dtype=object)


def _rows(rows, seed=0):
    """x, the airport (no feature), and a truth that follows x, but at LGA is a coin."""
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    airport = AIRPORTS[random.integers(0, 3, rows)]
    likely = 1 / (1 + np.exp(-2.5 * x))
    truth = random.random(rows) < np.where(airport == "LGA", 0.5, likely)
    return {"x": x, "airport": airport}, truth.astype(int)


@pytest.fixture(scope="module")
def model():
    rows, truth = _rows(600, seed=1)
    known = rows["airport"] != "LGA"
    fitted = LogisticRegression().fit(rows["x"][known][:, None], truth[known])
    return mw.pack(fitted, name="late", examples={"x0": rows["x"][:50]}, labels=truth[:50])


def _check(model, rows, truth, **options):
    return model.check({"x0": rows["x"], **{name: rows[name] for name in rows if name != "x"}}, truth, **options)


@pytest.fixture(scope="module")
def sliced(model):
    rows, truth = _rows(1500)
    rows["tiny"] = np.where(np.arange(1500) < 20, "few", "many").astype(object)
    return _check(model, rows, truth, slices=("airport", "tiny", "x0"))


def _group(verdict, column, name):
    return next(group for one in verdict.slices if one.column == column for group in one.groups if group.name == name)


def _gap(group, metric):
    return next(gap for gap in group.gaps if gap.metric == metric)


def test_a_group_that_the_model_knows_less_of_has_a_gap_beyond_chance(sliced):
    gap = _gap(_group(sliced, "airport", "LGA"), "accuracy")
    assert gap.beyond_chance
    assert gap.low < gap.value < gap.high < -0.1
    assert gap.worse == -gap.value
    assert _gap(_group(sliced, "airport", "JFK"), "accuracy").worse < 0


def test_a_group_has_every_metric_with_its_rows_and_interval(sliced):
    group = _group(sliced, "airport", "EWR")
    assert {metric.name for metric in group.metrics} == {metric.name for metric in sliced.metrics}
    assert all(metric.low <= metric.value <= metric.high for metric in group.metrics)
    assert {metric.rows for metric in group.metrics} == {group.rows}


def test_a_group_with_too_few_rows_has_no_figures(sliced):
    group = _group(sliced, "tiny", "few")
    assert (group.rows, group.metrics, group.gaps) == (20, (), ())
    assert _group(sliced, "tiny", "many").gaps == ()


def test_a_number_that_the_model_uses_is_sliced_by_its_ranges(sliced):
    (one,) = (one for one in sliced.slices if one.column == "x0")
    assert [group.kind for group in one.groups] == ["range"] * 5


def test_a_metric_that_too_few_of_the_rows_decide_is_left_out(model):
    rows, truth = _rows(600)
    rows["kind"] = np.where((truth == 1) & (np.arange(600) > 20), "a", "b").astype(object)
    verdict = _check(model, rows, truth, slices=["kind"])
    names = {metric.name for metric in _group(verdict, "kind", "a").metrics}
    assert "accuracy" in names
    assert "roc_auc" not in names


def test_slices_change_no_outcome_unless_one_asks_for_it(model):
    rows, truth = _rows(1500)
    plain, sliced = (_check(model, rows, truth, slices=columns) for columns in ((), ("airport",)))
    assert [gate.name for gate in plain.gates] == [gate.name for gate in sliced.gates]
    assert plain.metrics == sliced.metrics
    assert plain.slices == ()


def test_a_gap_above_the_allowed_one_refuses_with_the_group_the_gap_and_its_interval(model):
    rows, truth = _rows(1500)
    verdict = _check(model, rows, truth, slices=["airport"], max_slice_gap={"accuracy": 0.05, "roc_auc": 0.9})
    (refused,) = verdict.refusals
    gap = _gap(_group(verdict, "airport", "LGA"), "accuracy")
    assert refused.name == "slice-gap-accuracy"
    assert refused.figure == gap.worse > refused.threshold == 0.05
    assert f"airport LGA ({_group(verdict, 'airport', 'LGA').rows} rows) by {gap.worse:.3g} [" in refused.why


def test_a_gap_that_chance_explains_does_not_refuse(model):
    rows, truth = _rows(1500)
    rows["coin"] = np.random.default_rng(3).integers(0, 12, 1500)
    verdict = _check(model, rows, truth, slices=["coin"], max_slice_gap={"log_loss": 0.0})
    (gate,) = (gate for gate in verdict.gates if gate.name == "slice-gap-log_loss")
    assert gate.passed
    assert gate.figure > 0


def test_a_gap_that_cannot_be_measured_refuses(model):
    rows, truth = _rows(300)
    rows["row"] = np.array([f"r{place}" for place in range(300)], dtype=object)
    verdict = _check(model, {**rows, "one": np.zeros(300, dtype=int)}, truth, slices=["one"], max_slice_gap={"f1": 0.1})
    assert "cannot be compared in any group" in verdict.refusals[0].why


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"slices": ["airprt"]}, "check.no-slice-column"),
        ({"slices": ["airport"], "max_slice_gap": {"acuracy": 0.1}}, "check.unknown-metric"),
        ({"slices": ["airport"], "max_slice_gap": {"accuracy": -0.1}}, "check.bad-slice-gap"),
        ({"slices": ["airport"], "max_slice_gap": {"accuracy": float("nan")}}, "check.bad-slice-gap"),
    ],
)
def test_what_cannot_be_sliced_is_bad_input(model, options, code):
    rows, truth = _rows(100)
    with pytest.raises(BadInputError) as caught:
        _check(model, rows, truth, **options)
    assert caught.value.code == code
    assert caught.value.fix


def test_a_verdict_with_slices_survives_json(sliced):
    body = json.loads(canonical_json(verdict_json(sliced)))
    assert verdict_from_json(body) == sliced


def test_a_verdict_of_before_slices_has_none(sliced):
    body = verdict_json(sliced)
    del body["slices"]
    assert verdict_from_json(body).slices == ()


def test_the_same_check_says_the_same_of_slices_again(model):
    rows, truth = _rows(300)
    first, again = (_check(model, rows, truth, slices=["airport"]).slices for _ in range(2))
    assert first == again


def test_rates_of_groups_are_those_of_the_predictions(model):
    rows, truth = _rows(1500)
    rows["sign"] = np.where(rows["x"] > 0, "up", "down").astype(object)
    verdict = _check(model, rows, truth, slices=["sign"])
    selection, *_ = (one for one in verdict.slices[0].fairness if one.rate == "selection_rate")
    said = model.predict({"x0": rows["x"]})["label"].astype(int)
    held = {group.group: group.value for group in selection.groups}
    assert held["up"] == pytest.approx(said[rows["x"] > 0].mean())
    assert (selection.lowest, selection.highest, selection.positive) == ("down", "up", "1")
    assert selection.difference.value == pytest.approx(held["up"] - held["down"])
    assert selection.difference.low > 0.5
    assert selection.ratio.value == pytest.approx(held["down"] / held["up"])
    truths = next(one for one in verdict.slices[0].fairness if one.rate == "true_positive_rate")
    assert sum(group.cases for group in truths.groups) == truth.sum()


def test_a_model_of_several_classes_has_rates_for_each(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 2))
    truth = np.argmax(np.stack([x[:, 0], x[:, 1], -x.sum(axis=1)], axis=1) + random.normal(size=(600, 3)) / 2, axis=1)
    packed = mw.pack(LogisticRegression().fit(x, truth), name="three", examples=x[:50], labels=truth[:50])
    rows = {"x0": x[:, 0], "x1": x[:, 1], "side": np.where(random.random(600) < 0.5, "a", "b").astype(object)}
    (one,) = packed.check(rows, truth, slices=["side"]).slices
    assert {each.positive for each in one.fairness} == {"0", "1", "2"}
    assert {metric.name for metric in one.groups[0].metrics} == {"log_loss", "accuracy", "macro_f1"}


def test_a_regression_is_sliced_without_rates():
    random = np.random.default_rng(0)
    x = random.normal(size=600)
    wide = np.arange(600) % 2 == 0
    truth = 2 * x + random.normal(size=600) * np.where(wide, 2.0, 0.5)
    packed = mw.pack(LinearRegression().fit(x[:, None], truth), name="line", examples={"x0": x[:50]}, labels=truth[:50])
    (one,) = packed.check({"x0": x, "wide": wide}, truth, slices=["wide"]).slices
    assert one.fairness == ()
    assert _gap(one.groups[1], "rmse").low > 1
    assert _gap(one.groups[1], "rmse").beyond_chance


def test_an_array_is_checked_by_the_order_of_its_columns(model):
    rows, truth = _rows(300)
    assert model.check(rows["x"][:, None], truth).metrics == model.check({"x0": rows["x"]}, truth).metrics
