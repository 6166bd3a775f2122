"""One look at a deployed model: inputs, predictions and realised performance of a window of recorded rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from modelwright.core.finding import ColumnReport, Finding, WatchReport, Window
from modelwright.core.package import Package
from modelwright.core.signature import Reference, Signature
from modelwright.core.table import Column, Table, missing
from modelwright.features.columns import score_column
from modelwright.stats import bootstrap, metrics
from modelwright.watch.compare import judge, measure, ranked
from modelwright.watch.evidence import Limits, Measured
from modelwright.watch.numbers import measure_number
from modelwright.watch.tables import summary

LEAST_TRUTHS = 50  # a bootstrap interval of fewer rows is too narrow to accuse a model on

Figures = Mapping[str, tuple[float, float, float]]


def look(
    package: Package,
    rows: Table,
    *,
    model: str = "",
    version: str = "",
    window: Window | None = None,
    expected: Figures | None = None,
    alarm_rate: float = 0.01,
    effect_floor: float = 0.02,
    dispersion: float = 1.0,
) -> WatchReport:
    """Everything one look found.

    Inputs (``input.*``) and predictions are compared with the package's reference under one false-discovery
    correction; where the truth is known, every metric gets its 95 % bootstrap interval, and a ``performance`` finding
    says when the task's primary metric is worse than expected by more than both intervals allow.

    Args:
        package: its signature and reference are used.
        rows: as :meth:`modelwright.ports.record.PredictionLog.joined` gives them; rows that failed are left out.
        model: name for the report; the package's own when empty.
        version: number for the report.
        window: event-time window the rows come from.
        expected: metric name to (value, low, high), as the version's check measured them.
        alarm_rate: chance of any data or prediction finding when nothing changed.
        effect_floor: least PSI that counts as drift.
        dispersion: rows per independent row.
    """
    signature, reference = package.signature, package.reference
    answered = rows.take(rows["status"] == "ok") if "status" in rows else rows
    limits = Limits(alarm_rate, effect_floor, dispersion)
    inputs = Table({name[6:]: column for name, column in answered.columns.items() if name.startswith("input.")})
    findings: list[Finding] = []
    reports: list[ColumnReport] = []
    if reference is not None and len(answered):
        measured, found, reports = measure(_fed(reference, signature), inputs, limits)
        judged, columns = judge([*measured, *_predictions(signature, reference, answered, limits)], limits)
        findings = [*found, *(_about_predictions(finding) for finding in judged)]
        reports += columns
    figures, truths, base_rate = _performance(signature, answered)
    rates = (reference.base_rate if reference else None, base_rate)
    findings += _worse(signature, figures, expected or {}, truths, rates)
    ordered = ranked(findings)
    return WatchReport(
        model=model or package.name,
        version=version,
        window=window,
        rows=len(answered),
        truths=truths,
        findings=ordered,
        columns=tuple(reports),
        performance=figures,
        base_rate=base_rate,
        says=summary(ordered, reports, len(answered)) if len(answered) else "No predictions in this window.",
    )


def _fed(reference: Reference, signature: Signature) -> Reference:
    """The reference of the columns that reach the model."""
    names = {feature.name for feature in signature.features}
    return replace(
        reference,
        numbers={name: known for name, known in reference.numbers.items() if name in names},
        categories={name: known for name, known in reference.categories.items() if name in names},
    )


def _predictions(signature: Signature, reference: Reference, rows: Table, limits: Limits) -> list[Measured]:
    """The prediction column, or every profiled output where the signature names none."""
    main = score_column(signature)
    names = [main] if main in reference.predictions else list(reference.predictions)
    return [
        measure_number(column, reference.predictions[name], rows[column], limits)
        for name in names
        if (column := f"output.{name}") in rows and rows[column].dtype.kind in "biuf"
    ]


def _about_predictions(finding: Finding) -> Finding:
    """A drifted output is ``prediction-drift``, however it drifted."""
    if not finding.subject.startswith("output.") or finding.kind in {"constant", "nulls-up", "nulls-down"}:
        return finding
    return replace(finding, kind="prediction-drift", severity="warning", says=f"The prediction moved: {finding.says}")


def _performance(signature: Signature, rows: Table) -> tuple[dict[str, tuple[float, float, float]], int, float | None]:
    """Metrics with intervals on the rows with truth, how many those are, and the share of the positive class."""
    if signature.task == "none" or "truth" not in rows or not len(rows):
        return {}, 0, None
    known = ~missing(rows["truth"])
    if signature.task != "regression":
        known &= metrics.known_labels(rows["truth"], signature.classes)
    labelled = rows.take(known)
    truths = len(labelled)
    label, scores = _outputs(signature, labelled)
    if not truths or (label is None and scores is None):
        return {}, truths, None
    truth = labelled["truth"]
    found = bootstrap.evaluate(signature.task, truth, label, scores, signature.classes)
    base_rate = None
    if signature.task == "binary":
        base_rate = float((metrics.class_index(truth, signature.classes) == 1).mean())
    return {name: (one.value, one.low, one.high) for name, one in found.items()}, truths, base_rate


def _outputs(signature: Signature, rows: Table) -> tuple[Column | None, NDArray[np.float64] | None]:
    """Predicted labels or values [n], and class probabilities [n, k], as far as they were recorded."""
    label = f"output.{signature.label_output}"
    scored = [f"output.{signature.score_output}.{name}" for name in signature.classes]
    scores = None
    if signature.score_output and scored and all(name in rows for name in scored):
        scores = np.stack([rows[name].astype(np.float64) for name in scored], axis=1)
    return (rows[label] if signature.label_output and label in rows else None), scores


def _worse(
    signature: Signature,
    figures: Figures,
    expected: Figures,
    truths: int,
    base_rates: tuple[float | None, float | None],
) -> list[Finding]:
    """A ``performance`` finding when the two intervals of the primary metric do not meet, on the worse side."""
    primary = metrics.PRIMARY.get(signature.task, "")
    name = primary if primary in figures and primary in expected else "accuracy"
    if name not in figures or name not in expected or truths < LEAST_TRUTHS:
        return []
    (value, low, high), (before, before_low, before_high) = figures[name], expected[name]
    worse = high < before_low if metrics.GREATER_IS_BETTER[name] else low > before_high
    if not worse:
        return []
    says = (
        f"{name} is {value:.4g} ({low:.4g} to {high:.4g}) on {truths:,} rows with ground truth; "
        f"{before:.4g} ({before_low:.4g} to {before_high:.4g}) was expected."
    )
    if None not in base_rates:
        says += " The base rate is {1:.3g}; it was {0:.3g}.".format(*base_rates)
    evidence: dict[str, object] = {
        "now": [value, low, high],
        "expected": [before, before_low, before_high],
        "base_rate_before": base_rates[0],
        "base_rate_now": base_rates[1],
    }
    return [Finding("performance", name, "critical", says, effect=value - before, evidence=evidence)]
