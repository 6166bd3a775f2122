"""Two tables in, a report out: watching with no model and no server."""

from __future__ import annotations

from collections.abc import Sequence

from modelwright.core.errors import BadInputError
from modelwright.core.finding import ColumnReport, Finding, WatchReport
from modelwright.core.table import Table
from modelwright.stats.profile import profile
from modelwright.watch.compare import FEW_ROWS, compare
from modelwright.watch.time_like import by_construction


def compare_tables(
    reference: Table,
    current: Table,
    *,
    alarm_rate: float = 0.01,
    effect_floor: float = 0.02,
    dispersion: float = 1.0,
) -> WatchReport:
    """Findings and column reports of two tables, with a summary in words.

    Columns of times and identifiers get the verdict ``time`` or ``identifier`` and are not compared (the rules are
    those of :func:`modelwright.watch.time_like.by_construction`). Arguments as in
    :func:`modelwright.watch.compare.compare`.

    Raises:
        BadInputError: ``watch.empty``, ``watch.no-common-columns``.
    """
    for which, table in (("reference", reference), ("current", current)):
        if not len(table):
            raise BadInputError("watch.empty", f"The {which} table has no rows.", fix="Give a file with rows.")
    common = [name for name in reference.names if name in current]
    if not common:
        raise BadInputError(
            "watch.no-common-columns",
            "The two tables have no column in common.",
            why=f"The reference has {_listed(reference.names)}; the current table has {_listed(current.names)}.",
            fix="Compare files of the same rows, or rename the columns.",
        )
    aside = {}
    for name in common:
        reason = by_construction(name, reference[name], current[name])
        if reason is not None:
            aside[name] = ColumnReport(name, reason[0], None, None, None, len(reference), len(current), reason[1])
    findings, columns = compare(
        profile(reference.without(*aside), level_cap=len(reference)),
        current.without(*aside),
        alarm_rate=alarm_rate,
        effect_floor=effect_floor,
        dispersion=dispersion,
    )
    by_name = {report.column: report for report in columns} | aside
    order = [*reference.names, *(name for name in by_name if name not in reference)]
    return WatchReport(
        model="",
        version="",
        window=None,
        rows=len(current),
        truths=0,
        findings=findings,
        columns=tuple(by_name[name] for name in order if name in by_name),
        says=summary(findings, tuple(by_name.values()), len(current)),
    )


def summary(findings: Sequence[Finding], columns: Sequence[ColumnReport], rows: int) -> str:
    """One sentence or two for a person in a hurry."""
    short = sum(report.verdict == "not-enough-data" for report in columns)
    lacking = f" {short} of {len(columns)} columns have too few rows to be sure." if short and len(columns) > 1 else ""
    looked = f"{rows:,} row{'' if rows == 1 else 's'}"
    if not findings:
        held = f"{looked} and {len(columns)} column{'' if len(columns) == 1 else 's'}"
        fewest = [min(one.reference_rows, one.current_rows) for one in columns if one.verdict == "not-enough-data"]
        compared = sum(report.verdict not in {"time", "identifier"} for report in columns)
        if columns and not compared:
            return f"Nothing was compared: every column of {held} holds times or identifiers."
        if fewest and len(fewest) == compared and max(fewest) < FEW_ROWS:
            return f"Not enough data to tell whether anything changed: {held}."
        return f"Nothing changed beyond chance in {held}.{lacking}"
    subjects = list(dict.fromkeys(finding.subject for finding in findings))
    more = f" and {len(subjects) - 3} more" if len(subjects) > 3 else ""
    count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    return f"{count} in {looked}: {', '.join(subjects[:3])}{more}. First: {findings[0].says}{lacking}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "no columns"
