"""Missing values: the share of them, in both directions."""

from __future__ import annotations

from modelwright.core.finding import Finding
from modelwright.stats import drift
from modelwright.watch.evidence import Limits, Test, percent

LEAST_CHANGE = 0.01  # one percentage point
MOST_ROWS = 0.5  # a column that is mostly missing is broken


def null_test(nulls: int, rows: int, known_nulls: int, known_rows: int, limits: Limits) -> Test:
    """Was the share of missing values the same? It matters from one percentage point."""
    before, now = known_nulls / max(1, known_rows), nulls / max(1, rows)
    return Test(
        "nulls",
        drift.share_changed(nulls, rows, known_nulls, known_rows, dispersion=limits.dispersion),
        abs(now - before) >= LEAST_CHANGE,
        {"before": before, "now": now},
    )


def null_finding(column: str, test: Test, q_value: float, *, endless: bool = False) -> Finding:
    """``nulls-up`` or ``nulls-down``; critical when half of the rows or more are missing now.

    ``endless``: some of what counts as missing is infinite.
    """
    before, now = float(str(test.evidence["before"])), float(str(test.evidence["now"]))
    up = now > before
    gone = "missing or infinite" if endless else "missing"
    return Finding(
        kind="nulls-up" if up else "nulls-down",
        subject=column,
        severity="critical" if up and now >= MOST_ROWS else "warning",
        says=f"{column} is {gone} in {percent(now)} of the rows; it was missing in {percent(before)}.",
        effect=now - before,
        p_value=test.p_value,
        q_value=q_value,
        evidence=dict(test.evidence),
    )
