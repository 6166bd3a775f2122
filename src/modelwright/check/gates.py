"""The gates: each looks at one thing and says yes or no with the figure, the threshold and what to do."""

from __future__ import annotations

import difflib
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelwright.check.answers import Answers
from modelwright.check.skew import within_training
from modelwright.core.errors import BadInputError
from modelwright.core.metric import Metric
from modelwright.core.package import Package
from modelwright.core.package_codec import golden_tensors
from modelwright.core.table import Column, Table
from modelwright.core.verdict import Comparison, Gate
from modelwright.features.columns import feeds
from modelwright.ports.runner import Runner
from modelwright.stats import metrics

MINIMUM_ROWS = 30
GOLDEN_TOLERANCE = 1e-5  # relative to max(1, |value|): the same graph, maybe on another processor
SURE = (1.96 + 0.84) / 1.96  # half widths of a 95 % interval that leave a chance of 80 % to pass
LATENCY_RUNS = 100
LATENCY_SECONDS = 2.0  # a slow model is timed on fewer runs


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _distance(given: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest difference relative to max(1, |expected|); infinite when shapes or any label differ."""
    if given.shape != expected.shape:
        return float("inf")
    if given.dtype.kind not in "biuf":
        same = all(_text(a) == _text(b) for a, b in zip(given.reshape(-1), expected.reshape(-1), strict=True))
        return 0.0 if same else float("inf")
    left, right = given.astype(np.float64), expected.astype(np.float64)
    agree = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):  # inf - inf is settled by ``agree``
        gap = np.where(agree, 0.0, np.abs(left - right) / np.maximum(1.0, np.abs(right)))
    return float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0))


def golden_reproduces(package: Package, runner: Runner) -> Gate | None:
    """The package gives the answers it was packed with; None when it carries no golden examples."""
    if package.golden is None:
        return None
    given = runner.run(golden_tensors(package.signature.inputs, package.golden.inputs))
    expected = golden_tensors(package.signature.outputs, package.golden.outputs)
    worst = max(
        (_distance(given[name], held) if name in given else float("inf") for name, held in expected.items()),
        default=0.0,
    )
    passed = worst <= GOLDEN_TOLERANCE
    figure = worst if np.isfinite(worst) else None
    said = "reproduced" if passed else ("off by a label or a shape" if figure is None else f"off by up to {worst:.3g}")
    return Gate(
        "golden-reproduces",
        passed,
        figure,
        GOLDEN_TOLERANCE,
        f"{package.golden.rows} golden examples: {said} (allowed {GOLDEN_TOLERANCE:g}).",
        "" if passed else "Pack the model again on this machine; compare the ONNX Runtime versions.",
    )


def parity(package: Package) -> Gate | None:
    """The certificate holds; None when there is none (a model that was ONNX from the start)."""
    certificate = package.parity
    if certificate is None:
        return None
    made = "packed" if package.native else "converted"
    said = (
        f"Original and {made} model differ by up to {certificate.max_difference:.3g} on {certificate.rows} rows "
        f"(allowed {certificate.tolerance:g}), with {certificate.label_flips} label flips."
    )
    fix = "" if certificate.holds else "Replace the part that does not convert exactly, and pack again."
    figure = certificate.max_difference if math.isfinite(certificate.max_difference) else None
    return Gate("parity", certificate.holds, figure, certificate.tolerance, said, fix)


def unlabelled(package: Package, runner: Runner, rows: Table, budget_ms: float) -> tuple[Gate, ...]:
    """The gates that need no truth: golden examples, certificate, range of the rows, latency; each where it applies."""
    found = (
        golden_reproduces(package, runner),
        parity(package),
        within_training(package, rows),
        latency(package, runner, rows, budget_ms),
    )
    return tuple(one for one in found if one is not None)


def rows_enough(task: str, truth: Column, classes: tuple[str, ...]) -> Gate:
    """At least 30 labelled rows, and for a classifier at least two classes among them."""
    rows, classifier = len(truth), task in {"binary", "multiclass"}
    present = len(np.unique(metrics.class_index(truth, classes))) if classifier and rows else None
    passed = rows >= MINIMUM_ROWS and (present is None or present >= 2)
    kinds = "" if present is None else f" of {present} class{'' if present == 1 else 'es'}"
    need = f"needed: {MINIMUM_ROWS}" + (", of at least two classes" if classifier else "")
    more = "Give more labelled rows" + (", from a period that holds both outcomes." if classifier else ".")
    said = f"{rows} labelled row{'' if rows == 1 else 's'}{kinds} ({need})."
    return Gate("rows-enough", passed, float(rows), float(MINIMUM_ROWS), said, "" if passed else more)


def finite(answers: Answers) -> Gate:
    """No prediction is NaN or infinite."""
    bad = answers.unusable()
    fix = "" if not bad else "Find the rows (often a missing value the model cannot take) and fix the pipeline."
    return Gate("finite", bad == 0, float(bad), 0.0, f"{bad} predictions are not finite (allowed: none).", fix)


def not_constant(answers: Answers) -> Gate:
    """The predictions vary over the rows."""
    values = answers.principal()
    kinds = len(np.unique(values, axis=0))
    said = f"Distinct predictions: {kinds} on {len(values)} row{'' if len(values) == 1 else 's'} (needed: 2)."
    fix = "" if kinds > 1 else "The model ignores its input: look at the training data and at the columns' units."
    if len(values) == 1:
        fix = "Give more rows: one row has one prediction."
    return Gate("not-constant", kinds > 1, float(kinds), 2.0, said, fix)


def single_feeds(package: Package, rows: Table) -> list[dict[str, NDArray[Any]]]:
    """Requests of one row: of the given rows, else of the golden examples (whole where the graph fixes the batch)."""
    inputs = package.signature.inputs
    if len(rows):
        tensors = feeds(package.signature, rows.take(slice(0, LATENCY_RUNS)))
    elif package.golden is not None:
        tensors = golden_tensors(inputs, package.golden.inputs)
    else:
        return []
    if any(spec.shape and spec.shape[0] > 1 for spec in inputs):
        return [tensors]
    count = min(len(tensor) for tensor in tensors.values())
    return [{name: tensor[index : index + 1] for name, tensor in tensors.items()} for index in range(count)]


def latency(package: Package, runner: Runner, rows: Table, budget_ms: float) -> Gate | None:
    """Median time of single-row runs (up to 100, after one to warm up) within the budget in milliseconds.

    None when there is nothing to run: neither a row nor a golden example.
    """
    single = single_feeds(package, rows)
    if not single:
        return None
    runner.run(single[0])
    spent: list[float] = []
    while len(spent) < LATENCY_RUNS and sum(spent) < LATENCY_SECONDS:
        began = time.perf_counter()
        runner.run(single[len(spent) % len(single)])
        spent.append(time.perf_counter() - began)
    figure = float(np.median(spent)) * 1000
    passed = figure <= budget_ms
    said = f"One row takes {figure:.3g} ms (median of {len(spent)} runs; budget {budget_ms:g} ms)."
    fix = "" if passed else "Train a smaller model, or raise latency_budget_ms in modelwright.yaml."
    return Gate("latency", passed, figure, budget_ms, said, fix)


def better_than_baseline(task: str, truth: Column, classes: tuple[str, ...], figure: Metric) -> Gate:
    """Better than the best answer that ignores the input: the rows' base rates, most frequent class, or mean."""
    if task == "regression":
        held = metrics.numbers(truth)
        baseline, what = float(np.std(held)) if np.ptp(held) else 0.0, "always predicting the mean"
    else:
        shares = np.bincount(metrics.class_index(truth, classes), minlength=len(classes)) / len(truth)
        if figure.name == "log_loss":
            held = shares[shares > 0]
            baseline, what = float(-(held * np.log(held)).sum()), "always predicting the base rate"
        else:
            baseline, what = float(shares.max()), "always predicting the most frequent class"
    passed = figure.value > baseline if figure.greater_is_better else figure.value < baseline
    said = f"{figure.name} {figure.value:.4g}, against {baseline:.4g} for {what}."
    fix = "" if passed else "The model knows less than a constant: check the target, the columns and their units."
    if not passed and not baseline and task == "regression":
        fix = "The truth is the same in every row, so nothing can be learnt about the model: give rows where it varies."
    return Gate("better-than-baseline", passed, figure.value, baseline, said, fix)


def require_metric(name: str) -> None:
    """Check that there is such a metric.

    Raises:
        BadInputError: ``check.unknown-metric``.
    """
    if name not in metrics.GREATER_IS_BETTER:
        near = difflib.get_close_matches(name, metrics.GREATER_IS_BETTER, 1)
        raise BadInputError(
            "check.unknown-metric",
            f"{name!r} is no metric.",
            why=f"The metrics are {', '.join(metrics.GREATER_IS_BETTER)}.",
            fix=f"Did you mean {near[0]!r}?" if near else "Correct the gates of the model's policy.",
        )


def user_gates(found: Mapping[str, Metric], gates: Mapping[str, float]) -> list[Gate]:
    """One gate per metric named in the policy: value >= threshold, or value <= threshold for a loss.

    Raises:
        BadInputError: ``check.unknown-metric``.
    """
    made = []
    for name, threshold in gates.items():
        require_metric(name)
        up = metrics.GREATER_IS_BETTER[name]
        need = f"{'at least' if up else 'at most'} {threshold:g}"
        metric = found.get(name)
        if metric is None:
            said = f"{name} cannot be measured on these rows by this model (needed: {need})."
            made.append(Gate(f"metric-{name}", False, None, threshold, said, "Gate on a metric of the model's task."))
            continue
        passed = metric.value >= threshold if up else metric.value <= threshold
        said = f"{name} {metric.value:.4g} [{metric.low:.4g}, {metric.high:.4g}] (needed: {need})."
        fix = "" if passed else "Improve the model, or change the gate with a reason."
        made.append(Gate(f"metric-{name}", passed, metric.value, threshold, said, fix))
    return made


def not_worse(comparison: Comparison, margin: float) -> Gate:
    """Upper 95 % bound of the paired difference, in the direction of worse, within margin x |champion's figure|."""
    sign = -1.0 if comparison.greater_is_better else 1.0
    worse = sign * comparison.difference
    low, high = sorted((sign * comparison.low, sign * comparison.high))
    allowed = margin * abs(comparison.champion)
    passed = high <= allowed
    unit = comparison.metric.replace("_", " ")
    size, span = (abs(worse), (low, high)) if worse >= 0 else (abs(worse), (-high, -low))
    if size == 0:
        said = f"No difference in {unit} from version {comparison.champion_version} on {comparison.rows} rows."
    else:
        said = (
            f"{'Worse' if worse > 0 else 'Better'} by {size:.3g} [{span[0]:.3g}, {span[1]:.3g}] {unit} than version "
            f"{comparison.champion_version} on {comparison.rows} rows, allowed to be worse by {allowed:.3g}."
        )
    fix = "" if passed else _worse_fix(comparison.rows, low, high, allowed)
    return Gate("not-worse-than-champion", passed, high, allowed, said, fix)


def _worse_fix(rows: int, low: float, high: float, allowed: float) -> str:
    """What to do about a refusal: surely worse, or too few rows to tell, and then how many would settle it.

    The half width of the interval shrinks with the square root of the rows; two equally good versions pass 8 times in
    10 where the margin is (1.96 + 0.84) / 1.96 half widths.
    """
    if low > allowed or not allowed:
        return "Keep the champion; look at the candidate's data and units."
    needed = rows * ((high - low) / 2 / allowed * SURE) ** 2
    if needed <= rows:
        return "Keep the champion; on these rows the candidate may be worse by more than the margin."
    scale = 10 ** (int(math.log10(needed)) - 1)
    return (
        f"Too few rows to tell: the interval reaches beyond the margin. If both are equally good, about "
        f"{math.ceil(needed / scale) * scale:,} labelled rows would show it (8 times in 10)."
    )
