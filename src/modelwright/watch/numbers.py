"""One number against its reference: shape, tails, point masses, constancy, missing values, and the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from modelwright.core.finding import Finding, Severity
from modelwright.core.signature import NumberProfile
from modelwright.core.table import Column
from modelwright.stats import drift
from modelwright.stats.profile import POINT_SHARE, TAIL, finite_values, number_counts
from modelwright.watch.evidence import Limits, Measured, Test, change, figure, percent, shares
from modelwright.watch.nulls import null_finding, null_test
from modelwright.watch.units import unit_change

LEAST_SHARE = 0.005  # of rows beyond the reference's tails, or gained by one value
LEAST_SHIFT = 0.04  # as PSI 0.02: about 0.14 standard deviations
GREW = 3.0  # times, for a value that was there before
POINT_CANDIDATE = 0.01
LEAST_REPEATS = 5
CONSTANT_ROWS = 10
NOTABLE_PSI = 0.1
SAME_SPREAD = (0.8, 1.25)  # standard deviation now over before
MOVED = 0.1  # standard deviations: less than this is not called higher or lower


def measure_number(column: str, known: NumberProfile, current: Column, limits: Limits) -> Measured:
    """All tests of one numeric column ([n]; NaN and infinities count as missing)."""
    values = finite_values(current)
    nulls = len(current) - len(values)
    endless = bool(current.dtype.kind == "f" and np.isinf(current).any())
    counts = number_counts(known, values)
    before = np.asarray(known.counts)
    merged_before, merged_now = drift.merged(before, counts, dispersion=limits.dispersion)
    shape = drift.distance(merged_before, merged_now, dispersion=limits.dispersion)
    tests = [null_test(nulls, len(current), known.nulls, known.rows, limits)]
    if shape is not None:
        tests.append(Test("shape", shape.p_value, shape.effect >= limits.effect_floor, {"effect": shape.effect}))
    moved = drift.shift(before, counts, dispersion=limits.dispersion)
    if moved is not None:
        tests.append(Test("shift", moved.p_value, abs(moved.effect) >= LEAST_SHIFT, {"effect": moved.effect}))
    if len(values) and known.rows > known.nulls:
        tests += [_tails(known, values, limits), _point(known, values, limits), _constant(known, values, limits)]

    def diagnose(believed: Mapping[str, float]) -> tuple[Finding, ...]:
        by_name = {test.name: test for test in tests if test.name in believed}
        findings = []
        if "nulls" in by_name:
            findings.append(null_finding(column, by_name["nulls"], believed["nulls"], endless=endless))
        about_values = {name: test for name, test in by_name.items() if name != "nulls"}
        if about_values:
            findings.append(_diagnosis(column, known, values, about_values, believed, limits))
        return tuple(findings)

    return Measured(
        column=column,
        tests=tuple(tests),
        psi=shape.psi if shape else None,
        bins=shape.bins if shape else 1,
        reference_rows=known.rows - known.nulls,
        rows=len(values),
        diagnose=diagnose,
        labels=bin_labels(known),
        reference_shares=shares(known.counts),
        current_shares=shares(counts.tolist()),
    )


def bin_labels(known: NumberProfile) -> tuple[str, ...]:
    """A label for each bin: the value where a bin holds one value, else its bounds."""
    edges, points = known.edges, dict(known.points)
    if not edges:
        return (figure(known.low) if known.low == known.high else f"{figure(known.low)} to {figure(known.high)}",)
    labels = []
    for index, count in enumerate(known.counts):
        low = edges[index - 1] if index else -np.inf
        high = edges[index] if index < len(edges) else np.inf
        single = [value for value, rows in points.items() if low <= value < high and rows == count]
        if single:
            labels.append(figure(single[0]))
        elif not index:
            labels.append(f"below {figure(high)}")
        elif index == len(edges):
            labels.append(f"{figure(low)} and above")
        else:
            labels.append(f"{figure(low)} to {figure(high)}")
    return tuple(labels)


def _tails(known: NumberProfile, values: NDArray[np.float64], limits: Limits) -> Test:
    """More rows than expected beyond the reference's 0.1 % or 99.9 % order statistic, or beyond its extremes?

    Four exact tests in one, so the smallest p-value counts four times.
    """
    present, rows = known.rows - known.nulls, len(values)
    beyond = int(TAIL * present)
    below, above = _outside(values, known.tail_low, known.tail_high)
    lowest, highest = _outside(values, known.low, known.high)
    p_value = 4 * min(
        drift.more_than_expected(hits, rows, known_hits, present, dispersion=limits.dispersion)
        for hits, known_hits in ((below, beyond), (above, beyond), (lowest, 0), (highest, 0))
    )
    share = max(below, above) / rows
    return Test("tails", min(1.0, p_value), share - TAIL >= LEAST_SHARE, {"below": below / rows, "above": above / rows})


def _outside(values: NDArray[np.float64], low: float, high: float) -> tuple[int, int]:
    """Rows below ``low`` and above ``high``, with room for the rounding of float32."""
    room = 1e-6
    return int((values < low - room * abs(low)).sum()), int((values > high + room * abs(high)).sum())


def _point(known: NumberProfile, values: NDArray[np.float64], limits: Limits) -> Test:
    """Does one value hold more rows than it should (a sentinel, a default, a stuck sensor)?

    Corrected for the number of values looked at: the listed ones, and for the others the worst case that each holds
    the largest share that is not listed. Values are matched as float32.
    """
    present, rows = known.rows - known.nulls, len(values)
    listed = {float(np.float32(value)): count for value, count in known.points}
    unlisted = max(1.0, min(listed.values())) if len(listed) >= 200 else max(1.0, POINT_SHARE * present)
    repeated, counts = np.unique(values.astype(np.float32), return_counts=True)
    best = Test("point", 1.0, matters=False)
    candidates = np.flatnonzero(counts >= max(LEAST_REPEATS, POINT_CANDIDATE * rows))
    for value, count in zip(repeated[candidates].tolist(), counts[candidates].tolist(), strict=True):
        before = listed.get(value)
        expected, looked_at = (unlisted, present / unlisted) if before is None else (float(before), len(listed))
        p_value = drift.more_than_expected(count, rows, expected, present, dispersion=limits.dispersion)
        p_value = min(1.0, 2 * looked_at * p_value)
        if p_value < best.p_value:
            share, share_before = count / rows, (before or 0) / present
            matters = share - share_before >= LEAST_SHARE and share >= GREW * share_before
            best = Test("point", p_value, matters, {"value": value, "share": share, "before": share_before})
    return best


def _constant(known: NumberProfile, values: NDArray[np.float64], limits: Limits) -> Test:
    """Did a column that varied stop varying?"""
    if len(values) < CONSTANT_ROWS or not known.edges or values.min() != values.max():
        return Test("constant", 1.0, matters=False)
    present = known.rows - known.nulls
    largest = max((count for _, count in known.points), default=POINT_SHARE * present)
    p_value = ((largest + 1) / (present + 1)) ** ((len(values) - 1) / limits.dispersion)
    return Test("constant", float(p_value), matters=True, evidence={"value": float(values[0])})


def _diagnosis(
    column: str,
    known: NumberProfile,
    values: NDArray[np.float64],
    tests: Mapping[str, Test],
    believed: Mapping[str, float],
    limits: Limits,
) -> Finding:
    """The most specific name for what happened to the values."""
    before, now = np.asarray(known.counts), number_counts(known, values)
    shape = drift.distance(before, now, dispersion=limits.dispersion)
    psi = shape.psi if shape else 0.0
    kind, severity, says = _named(column, known, values, tests, limits)
    if not says:
        kind, severity, says = "drift", _drift_severity(psi), _drift_words(column, known, values)
    smallest = min(tests.values(), key=lambda test: test.p_value)
    outside = sum(_outside(values, known.low, known.high)) / len(values)
    evidence: dict[str, object] = {
        "psi": psi,
        "mean_before": known.mean,
        "mean_now": float(values.mean()),
        "std_before": known.std,
        "std_now": float(values.std()),
        "median_before": known.median,
        "median_now": float(np.median(values)),
        "outside_reference_range": outside,
        "tests": {name: {"p_value": test.p_value, **test.evidence} for name, test in tests.items()},
    }
    return Finding(
        kind=kind,
        subject=column,
        severity=severity,
        says=says,
        effect=outside if kind == "out-of-range" else psi,
        p_value=smallest.p_value,
        q_value=believed[smallest.name],
        evidence=evidence,
    )


def _named(
    column: str, known: NumberProfile, values: NDArray[np.float64], tests: Mapping[str, Test], limits: Limits
) -> tuple[str, Severity, str]:
    """A name more specific than drift, with its severity and words; empty words where there is none."""
    if "constant" in tests:
        return "constant", "critical", f"{column} is {figure(values[0])} in every row; it used to vary."
    conversion = unit_change(known, values) if tests.keys() & {"shape", "shift"} else None
    if conversion is not None:
        medians = f"median {change(known.median, float(np.median(values)))}"
        return "unit-change", "critical", f"{column}: {conversion.says} ({medians})."
    if known.low == known.high and tests.keys() & {"point", "tails"}:
        low, high = figure(float(values.min())), figure(float(values.max()))
        now = f"is {low} in every row" if low == high else f"lies between {low} and {high}"
        return "out-of-range", "warning", f"{column} {now}; it was {figure(known.low)} in every row."
    if "point" in tests:
        evidence = tests["point"].evidence
        value, share, before = (float(str(evidence[key])) for key in ("value", "share", "before"))
        if _explains(known, values, values.astype(np.float32) != np.float32(value), limits):
            outside = bool(sum(_outside(np.array([value]), known.low, known.high)))
            words = f"{column} is {figure(value)} in {percent(share)} of the rows; it was in {percent(before)}"
            if outside:
                words += f", and values lay between {figure(known.low)} and {figure(known.high)}: a placeholder?"
                return "out-of-range", "warning", words
            return "drift", "warning", f"{words}: a default or a stuck value?"
    if "tails" in tests:
        inside = (values >= known.low) & (values <= known.high)
        share = 1 - float(inside.mean())
        if share >= LEAST_SHARE and _explains(known, values, inside, limits):
            bounds = f"{figure(known.low)} and {figure(known.high)}"
            extremes = f"now {figure(float(values.min()))} to {figure(float(values.max()))}"
            return (
                "out-of-range",
                "warning",
                f"{column}: {percent(share)} of the rows lie outside {bounds} ({extremes}).",
            )
        if not tests.keys() & {"shape", "shift"}:
            below, above = (float(str(tests["tails"].evidence[key])) for key in ("below", "above"))
            words = (
                f"{column} has heavier tails: {percent(below)} lie below {figure(known.tail_low)} and {percent(above)}"
            )
            return "drift", "warning", f"{words} above {figure(known.tail_high)}, where 0.1 % did on each side."
    return "drift", "info", ""


def _explains(known: NumberProfile, values: NDArray[np.float64], rest: NDArray[np.bool_], limits: Limits) -> bool:
    """True when the other rows alone still look like the reference."""
    before, now = drift.merged(np.asarray(known.counts), number_counts(known, values[rest]))
    left = drift.distance(before, now, dispersion=limits.dispersion)
    return left is None or left.effect < limits.effect_floor or left.p_value > limits.alarm_rate


def _drift_severity(psi: float) -> Severity:
    return "warning" if psi >= NOTABLE_PSI else "info"


def _drift_words(column: str, known: NumberProfile, values: NDArray[np.float64]) -> str:
    """Which way it moved and by how much.

    Mean and standard deviation follow a few far values; they name the direction only where the bins agree.
    """
    if len(known.counts) == 2 and set(dict(known.points)) == {known.low, known.high}:  # one of two values
        share, was = float((values == known.high).mean()), known.counts[1] / sum(known.counts)
        return f"{column} is {figure(known.high)} in {percent(share)} of the rows; it was in {percent(was)}."
    mean, std, median = float(values.mean()), float(values.std()), float(np.median(values))
    moved = (mean - known.mean) / known.std if known.std else 0.0
    figures = f"mean {change(known.mean, mean)}"
    if median != known.median:
        figures += f", median {change(known.median, median)}"
    wider = _spread_words(known, values, median, std)
    before, now = np.asarray(known.counts), number_counts(known, values)
    rank = drift.shift(before, now)
    if abs(moved) >= MOVED and (rank is None or rank.effect * moved >= 0):
        way = "higher" if moved > 0 else "lower"
        also = f"; it spreads {wider}" if wider else ""
        return f"{column} is {way}: {figures} ({moved:+.1f} standard deviations){also}."
    if wider:
        return f"{column} spreads {wider}; {figures}."
    smoothed, held = (before + 0.5) / (before + 0.5).sum(), (now + 0.5) / (now + 0.5).sum()
    most = int(np.argmax((held - smoothed) * np.log(held / smoothed)))  # the bin that adds most to PSI
    return (
        f"{column} is distributed differently: {bin_labels(known)[most]} was {percent(shares(known.counts)[most])} "
        f"of the rows and is {percent(shares(now.tolist())[most])}; {figures}."
    )


def _spread_words(known: NumberProfile, values: NDArray[np.float64], median: float, std: float) -> str:
    """``wider`` or ``narrower`` with both standard deviations; empty where the bins do not say the same."""
    if not known.std or SAME_SPREAD[0] < std / known.std < SAME_SPREAD[1]:
        return ""
    outer = np.array([0, -1])
    was = np.asarray(shares(known.counts))[outer].sum()
    now = np.asarray(shares(number_counts(known, values - (median - known.median)).tolist()))[outer].sum()
    if (std > known.std) != (now > was):
        return ""
    return f"{'wider' if std > known.std else 'narrower'}: standard deviation {change(known.std, std)}"
