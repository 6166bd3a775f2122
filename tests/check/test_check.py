from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelwright.check import check, explain, split_target, verdict_from_json, verdict_json
from modelwright.check.gates import not_worse
from modelwright.core import package_codec
from modelwright.core.errors import BadInputError
from modelwright.core.package import Description, Golden, Package, Parity, canonical_json
from modelwright.core.signature import Feature, Signature, TensorSpec
from modelwright.core.table import Table
from modelwright.core.verdict import Comparison
from modelwright.stats.profile import profile


@dataclass(frozen=True)
class Logistic:
    """P(second class) = sigmoid(weight * x + bias), with labels ``no`` and ``yes``."""

    weight: float
    bias: float = 0.0
    column: str = "x"

    def run(self, inputs, outputs=None):
        p = 1 / (1 + np.exp(-(self.weight * inputs[self.column][:, 0].astype(np.float64) + self.bias)))
        label = np.where(p > 0.5, "yes", "no").astype(object)
        whole = {"label": label, "probabilities": np.stack([1 - p, p], axis=1).astype(np.float32)}
        return {name: whole[name] for name in outputs or whole}

    def close(self):
        pass


@dataclass(frozen=True)
class Linear:
    """value = weight * x."""

    weight: float

    def run(self, inputs, outputs=None):
        whole = {"value": (self.weight * inputs["x"]).astype(np.float32)}
        return {name: whole[name] for name in outputs or whole}

    def close(self):
        pass


def signature(task: str = "binary", column: str = "x", *, scored: bool = True) -> Signature:
    given = (TensorSpec(column, "FP64", (-1, 1), (column,)),)
    features = (Feature(column, "number"),)
    if task == "regression":
        return Signature(given, (TensorSpec("value", "FP32", (-1, 1)),), features, "regression", (), "value")
    outputs = (TensorSpec("label", "BYTES", (-1,)), TensorSpec("probabilities", "FP32", (-1, 2)))
    score = "probabilities" if scored else ""
    return Signature(given, outputs, features, "binary", ("no", "yes"), "label", score)


def golden_of(runner: Any, column: str = "x") -> Golden:
    values: NDArray[Any] = np.array([[-1.0], [0.5], [2.0]])
    given = runner.run({column: values})
    return Golden({column: values.tolist()}, {name: tensor.tolist() for name, tensor in given.items()}, 3)


def package(runner: Any, held: Signature, *, parity: Parity | None = None, golden: Golden | None = None) -> Package:
    files = {
        "package.json": package_codec.description_json(
            Description("delay", "none", "1", type(runner).__name__, "onnx", "2026-01-01T00:00:00Z", "3.11")
        ),
        "signature.json": package_codec.signature_json(held),
        "golden.json": package_codec.golden_json(golden or golden_of(runner, held.inputs[0].name)),
        "rule.txt": repr(runner).encode(),
    }
    if parity is not None:
        files["parity.json"] = package_codec.parity_json(parity)
    return package_codec.assemble("delay", files)


@pytest.fixture(scope="session")
def labelled():
    """2,000 rows whose truth is yes with probability sigmoid(1.5 x)."""
    random = np.random.default_rng(0)
    x = random.normal(size=2000)
    truth = np.where(random.random(2000) < 1 / (1 + np.exp(-1.5 * x)), "yes", "no").astype(object)
    return Table({"x": x, "unused": x * 2}), truth


@pytest.fixture(scope="session")
def certificate():
    held = Parity(100, 2e-7, 1e-8, 3, 0, 1e-5, holds=True, numeric_type="float32")
    return held, replace(held, holds=False, max_difference=0.038, label_flips=4)


GOOD, BROKEN = Logistic(1.5), Logistic(-1.5)


def _gate(verdict, name):
    return next(gate for gate in verdict.gates if gate.name == name)


def _refusals(verdict):
    return [gate.name for gate in verdict.refusals]


def _check(runner, labelled, *, held=None, **options):
    rows, truth = labelled
    return check(package(runner, held or signature()), rows, truth, runner=runner, **options)


def test_a_good_model_passes_every_gate_with_figures_and_intervals(labelled):
    verdict = _check(GOOD, labelled, data_digest="d1")
    assert verdict.passed
    assert [gate.name for gate in verdict.gates] == [
        "golden-reproduces",
        "latency",
        "rows-enough",
        "finite",
        "not-constant",
        "better-than-baseline",
    ]
    assert verdict.rows == 2000
    assert verdict.data_digest == "d1"
    loss = next(metric for metric in verdict.metrics if metric.name == "log_loss")
    assert loss.low < loss.value < loss.high < np.log(2)
    assert not loss.greater_is_better
    assert explain(verdict).startswith("Passed all 6 gates on 2000 rows: log_loss 0.")


def test_a_model_that_is_worse_than_the_base_rate_is_refused_with_both_figures(labelled):
    verdict = _check(BROKEN, labelled)
    assert _refusals(verdict) == ["better-than-baseline"]
    refused = _gate(verdict, "better-than-baseline")
    assert refused.figure > refused.threshold == pytest.approx(np.log(2), abs=0.01)
    words = explain(verdict)
    assert words.startswith("Refused by 1 of 6 gates on 2000 rows.")
    assert "better-than-baseline: log_loss" in words
    assert "check the target" in words


def test_a_constant_model_is_refused_as_constant(labelled):
    assert _refusals(_check(Logistic(0.0, 0.3), labelled)) == ["not-constant", "better-than-baseline"]


def test_a_candidate_in_the_wrong_unit_is_worse_than_the_champion_in_words(labelled):
    champion = ("3", GOOD, package(GOOD, signature()))
    verdict = _check(Logistic(150.0), labelled, champion=champion, margin=0.01)
    refused = _gate(verdict, "not-worse-than-champion")
    assert not refused.passed
    assert re.match(
        r"Worse by \d\.\d+ \[\d\.\d+, \d\.\d+\] log loss than version 3 on 2000 rows, "
        r"allowed to be worse by 0\.00\d+\.",
        refused.why,
    )
    assert verdict.comparison is not None
    assert verdict.comparison.low < verdict.comparison.difference < verdict.comparison.high
    assert refused.figure == verdict.comparison.high > refused.threshold == 0.01 * verdict.comparison.champion


def test_a_better_candidate_passes_and_says_by_how_much(labelled):
    verdict = _check(GOOD, labelled, champion=("1", Logistic(0.1), package(Logistic(0.1), signature())))
    assert verdict.passed
    assert verdict.comparison.high < 0
    assert _gate(verdict, "not-worse-than-champion").why.startswith("Better by 0.")


def test_the_champion_itself_is_not_worse_than_itself(labelled):
    verdict = _check(GOOD, labelled, champion=("1", GOOD, package(GOOD, signature())), margin=0.0)
    assert verdict.passed
    assert verdict.comparison.difference == 0.0
    assert _gate(verdict, "not-worse-than-champion").why == "No difference in log loss from version 1 on 2000 rows."


def test_a_champion_with_another_signature_answers_by_its_own(labelled):
    other = Logistic(0.75, column="unused")
    verdict = _check(GOOD, labelled, champion=("1", other, package(other, signature(column="unused"))), margin=0.0)
    assert verdict.passed
    assert verdict.comparison.difference == pytest.approx(0.0, abs=1e-6)


def test_a_champion_whose_columns_are_missing_cannot_be_compared_with_and_refuses(labelled):
    other = Logistic(1.0, column="gone")
    verdict = _check(GOOD, labelled, champion=("1", other, package(other, signature(column="gone"))))
    assert _refusals(verdict) == ["not-worse-than-champion"]
    assert "'gone'" in _gate(verdict, "not-worse-than-champion").why
    assert verdict.comparison is None


def test_a_champion_of_another_task_cannot_be_compared_with(labelled):
    champion = ("1", Linear(1.0), package(Linear(1.0), signature("regression")))
    verdict = _check(GOOD, labelled, champion=champion)
    assert "a regression model" in _gate(verdict, "not-worse-than-champion").why


def test_a_champion_that_gives_no_number_cannot_be_compared_with(labelled):
    sick = Logistic(float("nan"))
    champion = ("1", sick, package(sick, signature()))
    verdict = _check(GOOD, labelled, champion=champion)
    assert "are not finite" in _gate(verdict, "not-worse-than-champion").why


def test_rows_whose_label_the_champion_does_not_know_are_left_out_of_the_comparison(labelled):
    older = replace(signature(), classes=("never", "yes"))
    verdict = _check(GOOD, labelled, champion=("1", GOOD, package(GOOD, older)))
    known = int((labelled[1] == "yes").sum())
    assert known < 2000
    assert verdict.comparison.rows == known
    assert f"on {known} rows" in _gate(verdict, "not-worse-than-champion").why


def test_models_without_probabilities_are_compared_by_accuracy(labelled):
    bare = signature(scored=False)
    champion = ("1", GOOD, package(GOOD, signature()))
    verdict = _check(BROKEN, labelled, held=bare, champion=champion)
    assert verdict.comparison.metric == "accuracy"
    assert verdict.comparison.greater_is_better
    assert verdict.comparison.difference < 0
    refused = _gate(verdict, "not-worse-than-champion")
    assert refused.why.startswith("Worse by 0.")
    assert refused.figure == pytest.approx(-verdict.comparison.low)
    assert "most frequent class" in _gate(verdict, "better-than-baseline").why


def test_regression_is_judged_by_rmse_against_the_mean():
    x = np.linspace(-1.0, 1.0, 100)
    rows, truth = Table({"x": x}), 2 * x + 0.1 * np.sin(40 * x)
    held = signature("regression")
    verdict = check(package(Linear(2.0), held), rows, truth, runner=Linear(2.0))
    assert verdict.passed
    assert {metric.name for metric in verdict.metrics} == {"rmse", "mae", "median_absolute_error", "r2"}
    refused = check(package(Linear(-2.0), held), rows, truth, runner=Linear(-2.0))
    assert _refusals(refused) == ["better-than-baseline"]
    assert _gate(refused, "better-than-baseline").threshold == pytest.approx(float(np.std(truth)))


def test_too_few_rows_or_one_class_only_are_refused(labelled):
    rows, truth = labelled
    few = check(package(GOOD, signature()), rows.take(slice(0, 20)), truth[:20], runner=GOOD)
    assert "rows-enough" in _refusals(few)
    positive = np.flatnonzero(truth == "yes")
    one = check(package(GOOD, signature()), rows.take(positive), truth[positive], runner=GOOD)
    assert _refusals(one) == ["rows-enough"]
    assert "of 1 class (needed: 30, of at least two classes)" in _gate(one, "rows-enough").why


def test_rows_without_truth_are_left_out_and_said(labelled):
    rows, truth = labelled
    partly = truth.copy()
    partly[:500] = None
    verdict = check(package(GOOD, signature()), rows, partly, runner=GOOD)
    assert verdict.rows == 1500
    assert verdict.notes["unlabelled"].startswith("500 rows")
    nothing = check(package(GOOD, signature()), rows, np.full(2000, None, dtype=object), runner=GOOD)
    assert _refusals(nothing) == ["rows-enough"]
    assert nothing.metrics == ()


def test_predictions_that_are_no_numbers_are_refused_and_not_measured(labelled):
    rows, truth = labelled
    holes = rows["x"].copy()
    holes[:7] = np.nan
    verdict = check(package(GOOD, signature()), Table({"x": holes}), truth, runner=GOOD)
    assert _refusals(verdict) == ["finite"]
    assert _gate(verdict, "finite").figure == 7
    assert verdict.metrics == ()


def test_golden_examples_that_are_not_reproduced_are_refused(labelled):
    rows, truth = labelled
    drifted = package(GOOD, signature(), golden=golden_of(Logistic(1.5, 0.001)))
    verdict = check(drifted, rows, truth, runner=GOOD)
    assert _refusals(verdict) == ["golden-reproduces"]
    assert 1e-5 < _gate(verdict, "golden-reproduces").figure < 1e-3
    flipped = package(GOOD, signature(), golden=golden_of(BROKEN))
    assert _gate(check(flipped, rows, truth, runner=GOOD), "golden-reproduces").figure is None


def test_a_certificate_that_does_not_hold_is_refused(labelled, certificate):
    rows, truth = labelled
    holds, broken = certificate
    assert check(package(GOOD, signature(), parity=holds), rows, truth, runner=GOOD).passed
    verdict = check(package(GOOD, signature(), parity=broken), rows, truth, runner=GOOD)
    assert _refusals(verdict) == ["parity"]
    assert "0.038" in _gate(verdict, "parity").why
    endless = replace(broken, max_difference=float("inf"))
    endless = check(package(GOOD, signature(), parity=endless), rows, truth, runner=GOOD)
    assert canonical_json(verdict_json(endless))


def test_a_model_over_its_latency_budget_is_refused(labelled):
    verdict = _check(GOOD, labelled, latency_budget_ms=1e-9)
    assert _refusals(verdict) == ["latency"]
    assert _gate(verdict, "latency").figure > 0


def test_gates_of_the_user_demand_at_least_for_gains_and_at_most_for_losses(labelled):
    verdict = _check(GOOD, labelled, gates={"roc_auc": 0.99, "log_loss": 0.1, "accuracy": 0.5, "r2": 0.5})
    assert _refusals(verdict) == ["metric-roc_auc", "metric-log_loss", "metric-r2"]
    assert "needed: at least 0.99" in _gate(verdict, "metric-roc_auc").why
    assert "needed: at most 0.1" in _gate(verdict, "metric-log_loss").why
    assert "cannot be measured" in _gate(verdict, "metric-r2").why


def test_a_gate_on_an_unknown_metric_is_bad_input_with_a_suggestion(labelled):
    with pytest.raises(BadInputError) as caught:
        _check(GOOD, labelled, gates={"logloss": 0.1})
    assert caught.value.code == "check.unknown-metric"
    assert "'log_loss'" in caught.value.fix


def test_truths_and_rows_of_different_length_are_bad_input(labelled):
    with pytest.raises(BadInputError) as caught:
        check(package(GOOD, signature()), labelled[0], labelled[1][:-1], runner=GOOD)
    assert caught.value.code == "check.length-mismatch"


def test_the_wrong_target_is_bad_input(labelled):
    rows, truth = labelled
    with pytest.raises(BadInputError) as caught:
        check(package(GOOD, signature()), rows, np.where(truth == "yes", "late", "early"), runner=GOOD)
    assert caught.value.code == "check.unknown-label"


def test_splitting_the_target_off_names_a_near_miss(labelled):
    rows, truth = labelled
    whole = Table({**rows.columns, "late": truth})
    features, target = split_target(whole, "late")
    assert features.names == ("x", "unused")
    assert target is truth
    with pytest.raises(BadInputError, match="Did you mean 'late'") as caught:
        split_target(whole, "lat")
    assert caught.value.code == "check.no-target"


def test_a_model_without_a_task_is_checked_for_what_it_carries_only(labelled):
    rows, truth = labelled
    bare = replace(signature(), task="none", classes=(), label_output="", score_output="")
    verdict = check(package(GOOD, bare), rows, truth, runner=GOOD)
    assert [gate.name for gate in verdict.gates] == ["golden-reproduces", "latency"]
    assert verdict.passed
    assert "no task" in verdict.notes["task"]


def test_a_verdict_survives_json(labelled):
    champion = ("1", Logistic(0.1), package(Logistic(0.1), signature()))
    verdict = _check(BROKEN, labelled, champion=champion, data_digest="d1")
    body = verdict_json(verdict)
    text = canonical_json(body)
    assert body["passed"] is False
    assert verdict_from_json(json.loads(text)) == verdict
    without = _check(GOOD, labelled)
    assert verdict_from_json(json.loads(canonical_json(verdict_json(without)))) == without


def test_the_same_check_says_the_same_again(labelled):
    first, again = (_check(GOOD, labelled) for _ in range(2))
    assert first.metrics == again.metrics


def test_more_rows_than_intervals_are_drawn_on_are_said():
    random = np.random.default_rng(1)
    x = random.normal(size=25_000)
    truth = random.random(25_000) < 1 / (1 + np.exp(-1.5 * x))
    held = replace(signature(), classes=("False", "True"), label_output="")
    verdict = check(package(GOOD, held), Table({"x": x}), truth, runner=GOOD)
    assert verdict.passed
    assert verdict.notes["intervals"].startswith("Intervals were drawn on 20000 of 25000 rows")


@pytest.mark.parametrize(
    ("rows", "half", "said"),
    [(500, 0.02, "about 4,100 labelled rows would show it"), (5000, 0.012, "about 15,000 labelled rows would show it")],
)
def test_a_comparison_on_too_few_rows_says_how_many_would_settle_it(rows, half, said):
    gate = not_worse(Comparison("1", "log_loss", 1.0, 1.004, 0.004, 0.004 - half, 0.004 + half, False, rows), 0.01)
    assert not gate.passed
    assert said in gate.fix


def test_a_candidate_that_is_surely_worse_is_not_told_to_bring_more_rows():
    gate = not_worse(Comparison("1", "log_loss", 1.0, 1.1, 0.1, 0.09, 0.11, False, 500), 0.01)
    assert not gate.passed
    assert "rows" not in gate.fix


def test_a_truth_that_never_varies_is_named_as_the_reason():
    held, rows = signature("regression"), Table({"x": np.linspace(-1.0, 1.0, 100)})
    verdict = check(package(Linear(2.0), held), rows, np.full(100, 0.1), runner=Linear(2.0))
    assert "same in every row" in _gate(verdict, "better-than-baseline").fix
    assert "r2" not in {metric.name for metric in verdict.metrics}


@pytest.mark.parametrize(("column", "passed"), [("year", True), ("odometer", False)])
def test_rows_beyond_the_training_rows_are_refused_except_for_the_calendar(labelled, column, passed):
    rows, truth = labelled
    trained = profile(Table({column: np.linspace(100.0, 101.0, 50)}))
    runner = Logistic(GOOD.weight, column=column)
    held = replace(package(runner, signature(column=column)), reference=trained)
    verdict = check(held, Table({column: rows["x"]}), truth, runner=runner)
    gates = [gate for gate in verdict.gates if gate.name == "within-training"]
    assert all(gate.passed for gate in gates) is passed
    assert passed or ("unit" in gates[0].fix and "counter" in gates[0].fix)
