"""One category against its reference: mix, unseen levels, constancy, missing values, and the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping

from modelwright.core.finding import Finding, Severity
from modelwright.core.signature import CategoryProfile
from modelwright.core.table import Column
from modelwright.stats import drift
from modelwright.stats.profile import level_counts
from modelwright.watch.evidence import Limits, Measured, Test, percent, shares
from modelwright.watch.nulls import null_finding, null_test

LEAST_SHARE = 0.005  # of rows with unseen levels, beyond what was expected
CONSTANT_ROWS = 10
NOTABLE_PSI = 0.1
SHOWN_LEVELS = 10
NAMED_LEVELS = 5


def measure_category(column: str, known: CategoryProfile, current: Column, limits: Limits) -> Measured:
    """All tests of one column of strings or booleans ([n])."""
    levels, nulls = level_counts(current)
    rows, present = sum(levels.values()), known.rows - known.nulls
    before, now = drift.category_bins(known, levels, dispersion=limits.dispersion)
    mix = drift.distance(before, now, dispersion=limits.dispersion)
    tests = [null_test(nulls, len(current), known.nulls, known.rows, limits)]
    if mix is not None:
        tests.append(Test("mix", mix.p_value, mix.effect >= limits.effect_floor, {"psi": mix.psi}))
    if rows and present:
        tests += [_unseen(known, levels, rows, limits), _constant(known, levels, rows, limits)]

    def diagnose(believed: Mapping[str, float]) -> tuple[Finding, ...]:
        by_name = {test.name: test for test in tests if test.name in believed}
        findings = []
        if "nulls" in by_name:
            findings.append(null_finding(column, by_name["nulls"], believed["nulls"]))
        about_values = {name: test for name, test in by_name.items() if name != "nulls"}
        if about_values:
            psi = mix.psi if mix else 0.0
            findings.append(_diagnosis(column, known, levels, about_values, believed, psi, limits))
        return tuple(findings)

    shown = list(known.levels)[:SHOWN_LEVELS]
    shown_before, shown_now = [known.levels[level] for level in shown], [levels.get(level, 0) for level in shown]
    return Measured(
        column=column,
        tests=tuple(tests),
        psi=mix.psi if mix else None,
        bins=mix.bins if mix else 1,
        reference_rows=present,
        rows=rows,
        diagnose=diagnose,
        labels=(*shown, "all others"),
        reference_shares=shares([*shown_before, present - sum(shown_before)]),
        current_shares=shares([*shown_now, rows - sum(shown_now)]),
    )


def _unseen(known: CategoryProfile, levels: Mapping[str, int], rows: int, limits: Limits) -> Test:
    """More rows of unseen levels than Good-Turing expects? Not asked of a capped profile, which does not list all."""
    hits = sum(count for level, count in levels.items() if level not in known.levels)
    expected = known.singletons / (known.rows - known.nulls)
    p_value = drift.unseen_levels(hits, rows, known, dispersion=limits.dispersion)
    matters = not known.other and hits / rows - expected >= LEAST_SHARE
    return Test("unseen", p_value, matters, {"share": hits / rows, "expected": expected})


def _constant(known: CategoryProfile, levels: Mapping[str, int], rows: int, limits: Limits) -> Test:
    """Did a column that varied stop varying?"""
    if rows < CONSTANT_ROWS or len(levels) != 1 or len(known.levels) < 2:
        return Test("constant", 1.0, matters=False)
    largest, present = next(iter(known.levels.values())), known.rows - known.nulls
    p_value = ((largest + 1) / (present + 1)) ** ((rows - 1) / limits.dispersion)
    return Test("constant", float(p_value), matters=True, evidence={"value": next(iter(levels))})


def _diagnosis(
    column: str,
    known: CategoryProfile,
    levels: Mapping[str, int],
    tests: Mapping[str, Test],
    believed: Mapping[str, float],
    psi: float,
    limits: Limits,
) -> Finding:
    """The most specific name for what happened to the mix."""
    rows = sum(levels.values())
    severity: Severity = "warning"
    effect = psi
    unseen = sorted(((n, level) for level, n in levels.items() if level not in known.levels), reverse=True)
    if "constant" in tests:
        kind, severity = "constant", "critical"
        says = f"{column} is {next(iter(levels))!r} in every row; it used to vary."
    elif "unseen" in tests and ("mix" not in tests or _explained(known, levels, limits)):
        kind, effect = "new-category", sum(count for count, _ in unseen) / rows
        named = ", ".join(f"{level!r} {percent(count / rows)}" for count, level in unseen[:NAMED_LEVELS])
        more = f" and {len(unseen) - NAMED_LEVELS} more" if len(unseen) > NAMED_LEVELS else ""
        says = f"{column} has {_many(len(unseen), 'new level')} in {percent(effect)} of the rows: {named}{more}."
    else:
        kind, severity = "drift", "warning" if psi >= NOTABLE_PSI else "info"
        says = _mix_words(column, known, levels)
    smallest = min(tests.values(), key=lambda test: test.p_value)
    return Finding(
        kind=kind,
        subject=column,
        severity=severity,
        says=says,
        effect=effect,
        p_value=smallest.p_value,
        q_value=believed[smallest.name],
        evidence={
            "psi": psi,
            "new_levels": {} if known.other else {level: count / rows for count, level in unseen[:NAMED_LEVELS]},
            "tests": {name: {"p_value": test.p_value, **test.evidence} for name, test in tests.items()},
        },
    )


def _explained(known: CategoryProfile, levels: Mapping[str, int], limits: Limits) -> bool:
    """True when the rows of known levels alone still look like the reference."""
    seen = {level: count for level, count in levels.items() if level in known.levels}
    left = drift.distance(*drift.category_bins(known, seen, dispersion=limits.dispersion), dispersion=limits.dispersion)
    return left is None or left.effect < limits.effect_floor or left.p_value > limits.alarm_rate


def _mix_words(column: str, known: CategoryProfile, levels: Mapping[str, int]) -> str:
    """Which levels grew and shrank most."""
    rows, present = sum(levels.values()), known.rows - known.nulls
    named = {*known.levels, *(() if known.other else levels)}
    gains = {level: (known.levels.get(level, 0) / present, levels.get(level, 0) / rows) for level in named}
    if known.other:
        unlisted = sum(count for level, count in levels.items() if level not in known.levels)
        gains["any rarer level"] = (known.other / present, unlisted / rows)
    ranked = sorted(gains.items(), key=lambda item: (item[1][1] - item[1][0], item[0]))
    grew = [item for item in reversed(ranked[-2:]) if item[1][1] - item[1][0] > 0]
    shrank = [item for item in ranked[:2] if item[1][1] - item[1][0] < 0]

    def words(items: list[tuple[str, tuple[float, float]]]) -> str:
        return ", ".join(f"{level!r} {percent(before)} -> {percent(now)}" for level, (before, now) in items)

    parts = [f"more {words(grew)}"] if grew else []
    parts += [f"less {words(shrank)}"] if shrank else []
    return f"{column} has another mix: {'; '.join(parts)}."


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
