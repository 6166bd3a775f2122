"""When a report of watching is reason enough to renew a model."""

from __future__ import annotations

from datetime import UTC, datetime

from modelwright.core.finding import Finding, Order, WatchReport
from modelwright.ports.platform import ModelPolicy

_GRAVE = frozenset({"warning", "critical"})


def _key(report: WatchReport) -> str:
    """The same model and window, the same key: a store that keeps keys unique then keeps one order."""
    if report.window is None:
        return f"renew-{report.model}-finding-{report.version}-all"
    since, until = (f"{moment:.3f}".rstrip("0").rstrip(".") for moment in (report.window.since, report.window.until))
    return f"renew-{report.model}-finding-{since}-{until}"


def reasons(report: WatchReport, policy: ModelPolicy) -> tuple[Finding, ...]:
    """The findings that the policy renews on: kind listed, severity at least ``warning``; by rank."""
    grave = [f for f in report.findings if f.kind in policy.on_findings and f.severity in _GRAVE]
    return tuple(sorted(grave, key=lambda finding: finding.rank))


def due(report: WatchReport, policy: ModelPolicy, last_order_at: float | None, now: float) -> Order | None:
    """An order when the report holds a reason and the cool-down is over, else None.

    Args:
        report: one look.
        policy: the model's.
        last_order_at: Unix seconds of the model's last order, or None.
        now: Unix seconds. An order from the far future, by a clock that was wrong, holds nothing up.
    """
    found = reasons(report, policy)
    if not found:
        return None
    if last_order_at is not None and abs(now - last_order_at) < policy.cooldown_seconds:
        return None
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    at = datetime.fromtimestamp(now, UTC).isoformat()
    return Order(report.model, "finding", f"{found[0].says}{more}", at, _key(report))
