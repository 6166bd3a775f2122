"""A reference profile and a table in, named findings and one report per column out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from modelwright.core.finding import ColumnReport, Finding, Severity
from modelwright.core.signature import CategoryProfile, Reference
from modelwright.core.table import Column, Table, missing
from modelwright.stats import drift
from modelwright.stats.fdr import benjamini_hochberg
from modelwright.stats.profile import is_number
from modelwright.watch.categories import measure_category
from modelwright.watch.evidence import WATCHABLE, Limits, Measured
from modelwright.watch.numbers import measure_number

_SEVERITIES = ("critical", "warning", "info")
_FIRST = ("performance", "errors", "prediction-drift", "missing-column", "retyped-column")
FEW_ROWS = 30  # of one value do not make a constant
_SHARES = ("nulls-up", "nulls-down", "new-category", "out-of-range")


def compare(
    reference: Reference,
    current: Table,
    *,
    alarm_rate: float = 0.01,
    effect_floor: float = 0.02,
    dispersion: float = 1.0,
) -> tuple[tuple[Finding, ...], tuple[ColumnReport, ...]]:
    """Findings (by impact) and column reports (in the reference's order) of a table against a reference.

    A test is believed when its Benjamini-Hochberg q-value over all tests of this look is at most ``alarm_rate`` and
    its effect is large enough to matter. Severity: ``critical`` for what is broken (a column gone, retyped, constant,
    in another unit, or missing in half of the rows), ``info`` for drift below PSI 0.1 and for extra columns,
    ``warning`` for the rest.

    Args:
        reference: the profile to compare with.
        current: rows to look at; datetime columns are not compared.
        alarm_rate: chance of any finding when nothing changed.
        effect_floor: least PSI, beyond what chance gives, that counts as drift.
        dispersion: rows per independent row (see :func:`modelwright.stats.drift.overdispersion`).
    """
    limits = Limits(alarm_rate, effect_floor, dispersion)
    measured, findings, reports = measure(reference, current, limits)
    found, judged = judge(measured, limits)
    by_column = {report.column: report for report in (*reports, *judged)}
    order = [*reference.numbers, *reference.categories]
    order += [name for name in by_column if name not in order]
    return ranked((*findings, *found)), tuple(by_column[name] for name in order if name in by_column)


def measure(
    reference: Reference, current: Table, limits: Limits
) -> tuple[list[Measured], list[Finding], list[ColumnReport]]:
    """Every comparable column measured, and what the columns' names and types alone say."""
    measured: list[Measured] = []
    findings: list[Finding] = []
    reports: list[ColumnReport] = []

    def schema(kind: str, column: str, says: str) -> None:
        severity: Severity = "info" if kind == "extra-column" else "critical"
        findings.append(Finding(kind, column, severity, says, effect=1.0))
        rows = 0 if kind == "extra-column" else reference.rows
        here = 0 if kind == "missing-column" else len(current)
        reports.append(ColumnReport(column, "finding", None, None, None, rows, here, says))

    for name, number in reference.numbers.items():
        if name not in current:
            schema("missing-column", name, f"Column {name} is missing.")
        elif (column := _as_number(current[name])) is None:
            schema("retyped-column", name, f"Column {name} held numbers and holds {_holds(current[name])} now.")
        else:
            measured.append(measure_number(name, number, column, limits))
    for name, category in reference.categories.items():
        if name not in current:
            schema("missing-column", name, f"Column {name} is missing.")
        elif (column := _as_category(category, current[name])) is None:
            schema("retyped-column", name, f"Column {name} held text and holds {_holds(current[name])} now.")
        else:
            measured.append(measure_category(name, category, column, limits))
    for name, column in current.columns.items():
        if name not in reference.numbers and name not in reference.categories and column.dtype.kind != "M":
            schema("extra-column", name, f"Column {name} is new: the reference does not have it.")
    return measured, findings, reports


def judge(measured: Sequence[Measured], limits: Limits) -> tuple[list[Finding], list[ColumnReport]]:
    """One false-discovery correction over every test of the look, then each column's diagnosis."""
    tests = [test for one in measured for test in one.tests]
    q_values = benjamini_hochberg([test.p_value for test in tests]).tolist()
    findings: list[Finding] = []
    reports: list[ColumnReport] = []
    start = 0
    for one in measured:
        q_of = dict(zip((test.name for test in one.tests), q_values[start:], strict=False))
        start += len(one.tests)
        believed = {
            test.name: q_of[test.name] for test in one.tests if test.matters and q_of[test.name] <= limits.alarm_rate
        }
        found = one.diagnose(believed) if believed else ()
        findings.extend(found)
        reports.append(_report(one, q_of, found, limits, len(tests)))
    return findings, reports


def ranked(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings by impact, ranks from 1: severity, then what touches the answers, then size.

    Sizes are in the currency of PSI: a share s of rows counts about s ln(1 + s / 1 %), which is its own PSI against
    a reference where it was rare.
    """

    def impact(finding: Finding) -> tuple[int, bool, float]:
        size = abs(finding.effect)
        size *= math.log1p(100 * size) if finding.kind in _SHARES else 1.0
        return _SEVERITIES.index(finding.severity), finding.kind not in _FIRST, -size

    order = sorted(findings, key=impact)
    return tuple(replace(finding, rank=index) for index, finding in enumerate(order, start=1))


def _report(
    one: Measured, q_of: dict[str, float], found: Sequence[Finding], limits: Limits, tests: int
) -> ColumnReport:
    main = next((test for test in one.tests if test.name in {"shape", "mix"}), one.tests[0])
    if found:
        verdict, says = "finding", " ".join(finding.says for finding in found)
    else:
        verdict, says = _quiet(one, q_of, limits, tests)
    return ColumnReport(
        column=one.column,
        verdict=verdict,
        psi=one.psi,
        p_value=main.p_value,
        q_value=q_of[main.name],
        reference_rows=one.reference_rows,
        current_rows=one.rows,
        says=says,
        reference_shares=one.reference_shares,
        current_shares=one.current_shares,
        bins=one.labels,
    )


def _quiet(one: Measured, q_of: dict[str, float], limits: Limits, tests: int) -> tuple[str, str]:
    """``quiet`` only where a change worth knowing (PSI 0.1, or five floors) would have been found 8 times in 10."""
    if any(q <= limits.alarm_rate for q in q_of.values()):
        return "quiet", f"Differs by more than chance, but too little to matter (PSI {one.psi or 0.0:.3f})."
    if not one.rows and one.reference_rows:
        return "not-enough-data", "Not enough data: no values in this window."
    varied = sum(share > 0 for share in one.reference_shares) > 1
    if one.bins < 2 and not varied and (one.reference_rows >= FEW_ROWS or not one.rows):
        return "quiet", "No change."
    level = limits.alarm_rate / tests
    wanted = max(WATCHABLE, 5 * limits.effect_floor)
    smallest = drift.detectable(one.reference_rows, one.rows, max(2, one.bins), level, dispersion=limits.dispersion)
    if smallest <= wanted:
        return "quiet", f"No change beyond chance; PSI {smallest:.3f} would have been found."
    needed = drift.rows_needed(one.reference_rows, wanted, one.bins, level, dispersion=limits.dispersion)
    more = (
        f"about {needed:,} rows are needed to find a moderate change."
        if needed is not None
        else f"the reference has too few rows ({one.reference_rows:,}) to find a moderate change in any window."
    )
    return "not-enough-data", f"Not enough data: {one.rows:,} row{'' if one.rows == 1 else 's'}; {more}"


def _as_number(column: Column) -> Column | None:
    """The column as numbers, or None. Booleans are 0 and 1; a wholly missing column is a number that is missing."""
    if is_number(column):
        return column
    if column.dtype.kind == "b":
        return column.astype(np.float64)
    return np.full(len(column), np.nan) if missing(column).all() else None


def _as_category(known: CategoryProfile, column: Column) -> Column | None:
    """The column as levels, or None. Zeros and ones are booleans where the reference holds booleans."""
    if column.dtype.kind in "bOUS":
        return column
    if missing(column).all():
        return np.full(len(column), None, dtype=object)
    if not is_number(column) or not known.levels.keys() <= {"True", "False"}:
        return None
    absent = missing(column)
    if not np.isin(column[~absent], (0, 1)).all():
        return None
    return np.array([None if gone else str(bool(v)) for v, gone in zip(column, absent, strict=True)], dtype=object)


def _holds(column: Column) -> str:
    if is_number(column):
        return "numbers"
    return {"b": "booleans", "M": "times"}.get(column.dtype.kind, "text")
