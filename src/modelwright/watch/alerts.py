"""Findings -> one alert per look: grouped, in words, as severe as the worst of them."""

from __future__ import annotations

from datetime import UTC, datetime

from modelwright.core.finding import Alert, WatchReport

SEVERITIES = ("info", "warning", "critical")
_SHOWN = 10


def alert_of(report: WatchReport, at: float) -> Alert | None:
    """What the channels are told; None without findings.

    Args:
        report: the look.
        at: when it was made, in Unix seconds (UTC).
    """
    if not report.findings:
        return None
    findings = tuple(sorted(report.findings, key=lambda finding: finding.rank))
    worst = max((finding.severity for finding in findings), key=SEVERITIES.index)
    subject = report.model or "data"
    version = f" version {report.version}" if report.version else ""
    count = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    lines = [f"In {report.rows:,} rows, {report.truths:,} with ground truth{_period(report)}:"]
    for severity in reversed(SEVERITIES):
        lines += [f"- {severity}: {finding.says}" for finding in findings if finding.severity == severity]
    if len(lines) > _SHOWN + 1:
        lines = [*lines[: _SHOWN + 1], f"- and {len(lines) - 1 - _SHOWN} more"]
    moment = datetime.fromtimestamp(at, tz=UTC).isoformat()
    return Alert(report.model, worst, f"{subject}{version}: {count}, {worst}", "\n".join(lines), moment, findings)


def _period(report: WatchReport) -> str:
    if report.window is None:
        return ""
    since, until = (
        datetime.fromtimestamp(moment, tz=UTC).strftime("%Y-%m-%d %H:%M")
        for moment in (report.window.since, report.window.until)
    )
    return f", from {since} to {until} UTC"
