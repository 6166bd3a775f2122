"""The charts of a model page: each name with its rows (for table and CSV) and its Vega-Lite specification."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from modelwright.adapters.charts import altair as charts
from modelwright.core.errors import NotFoundError
from modelwright.core.finding import ColumnReport, WatchReport
from modelwright.interfaces.console.words import moment, words
from modelwright.ports.platform import Platform

# What a page shows first when a report holds several metrics: proper scores, then ranking, then the rest.
PREFERRED = ("log_loss", "rmse", "brier", "mae", "roc_auc", "accuracy")
MOST_REPORTS, LEAST_ROWS = 1000, 30
LAST_SECOND = 253_402_300_799.0  # of the year 9999; a date cannot be later
MOST_COLUMN_CHARTS = 6


@dataclass(frozen=True, slots=True)
class Chart:
    """Rows of equal keys, a title that is also the alternative text, and how to draw them."""

    name: str
    title: str
    rows: Sequence[Mapping[str, Any]]
    draw: Callable[[], dict[str, Any]]

    def csv(self) -> str:
        """The rows as CSV with a header line."""
        out = io.StringIO()
        writer = csv.DictWriter(out, fieldnames=list(self.rows[0]) if self.rows else [])
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()


def reports_of(platform: Platform, model: str) -> Sequence[WatchReport]:
    """The model's reports over enough rows to tell anything (any row, where none has enough), newest first.

    The keeper looks once a minute, also when hardly anything came in.
    """
    reports = [report for report in platform.findings.reports(model, limit=MOST_REPORTS) if report.rows]
    return [report for report in reports if report.rows >= LEAST_ROWS] or reports


def metric_names(reports: Sequence[WatchReport]) -> tuple[str, ...]:
    """Metrics that the reports hold, the preferred ones first."""
    found = {name for report in reports for name in report.performance}
    return (*(name for name in PREFERRED if name in found), *sorted(found - set(PREFERRED)))


def _at(report: WatchReport) -> str:
    """The window's middle, so that a month's figure stands in its month; its end, where it is open to the past."""
    if report.window is None:
        return ""
    since, until = report.window.since, report.window.until
    at = (since + until) / 2 if since > 0 else until
    return datetime.fromtimestamp(min(max(at, 0.0), LAST_SECOND), UTC).isoformat()


def performance(reports: Sequence[WatchReport], metric: str) -> Chart:
    """The metric of what answered, with its interval, by window, oldest first."""
    rows = [
        {
            "at": _at(report),
            "since": moment(report.window.since) if report.window.since > 0 else "the first prediction",
            "until": moment(report.window.until),
            "version": report.version,
            "value": report.performance[metric][0],
            "low": report.performance[metric][1],
            "high": report.performance[metric][2],
            "rows": report.truths,
        }
        for report in reversed(reports)
        if report.window is not None and metric in report.performance
    ]
    rows.sort(key=lambda row: str(row["at"]))
    title = f"{words(metric).capitalize()} by window with its 95 % interval"
    return Chart("performance", title, rows, lambda: charts.performance_spec(rows, metric=words(metric)))


def base_rate(reports: Sequence[WatchReport]) -> Chart:
    """The share of the positive class by window, oldest first."""
    rates = {_at(report): report.base_rate for report in reversed(reports) if report.window and report.base_rate}
    rows = [{"at": at, "value": value} for at, value in rates.items()]
    return Chart("base-rate", "Base rate by window", rows, lambda: charts.base_rate_spec(rows))


def traffic(platform: Platform, model: str) -> Chart:
    """Requests by version and role since the log began."""
    rows = [
        {"version": arm.version, "role": arm.role, "requests": arm.ok + arm.failed}
        for arm in platform.log.arms(model, since=0.0)
    ]
    return Chart("traffic", "Requests by version and role", rows, lambda: charts.traffic_spec(rows))


def column(report: ColumnReport) -> Chart:
    """One column, reference beside window."""
    before, now = report.reference_shares, report.current_shares
    rows = [
        {"bin": name, "reference": share, "window": share_now}
        for name, share, share_now in zip(report.bins, before, now, strict=True)
    ]
    title = f"{report.column}: reference and window"
    return Chart(
        f"column.{report.column}", title, rows, lambda: charts.columns_spec(report.column, report.bins, before, now)
    )


def ranked_columns(report: WatchReport) -> list[ColumnReport]:
    """Columns with a finding first, then by population stability index."""
    return sorted(report.columns, key=lambda one: (one.verdict != "finding", -(one.psi or 0.0), one.column))


def by_name(platform: Platform, model: str, name: str, *, metric: str) -> Chart:
    """The chart of that name.

    Raises:
        NotFoundError: ``console.no-such-chart``.
    """
    reports = reports_of(platform, model)
    chosen = metric or next(iter(metric_names(reports)), "")
    if name == "performance":
        return performance(reports, chosen)
    if name == "base-rate":
        return base_rate(reports)
    if name == "traffic":
        return traffic(platform, model)
    latest = latest_report(platform, model, reports)
    for one in latest.columns if latest and name.startswith("column.") else ():
        if one.column == name.removeprefix("column."):
            return column(one)
    raise NotFoundError("console.no-such-chart", f"Model {model} has no chart {name!r}.")


def latest_report(platform: Platform, model: str, reports: Sequence[WatchReport]) -> WatchReport | None:
    """The newest report about the champion; the newest at all where there is none of it."""
    champion = platform.versions.alias(model, "champion")
    return next((report for report in reports if report.version == champion), next(iter(reports), None))
