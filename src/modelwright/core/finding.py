"""What watching says: findings, alerts, and the orders that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["info", "warning", "critical"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A named diagnosis about one subject (a column, the predictions, a metric).

    ``kind``: ``drift``, ``nulls-up``, ``nulls-down``, ``new-category``, ``constant``, ``unit-change``,
    ``out-of-range``, ``missing-column``, ``extra-column``, ``retyped-column``, ``prediction-drift``, ``performance``,
    ``errors``.
    ``p_value`` is before, ``q_value`` after Benjamini-Hochberg; ``effect`` is the kind's own size (PSI for drift,
    a share for nulls and categories, the metric's difference for performance). ``rank`` orders by impact, 1 first.
    """

    kind: str
    subject: str
    severity: Severity
    says: str
    effect: float
    p_value: float | None = None
    q_value: float | None = None
    rank: int = 0
    evidence: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column compared, finding or not. ``verdict``: ``finding``, ``quiet`` or ``not-enough-data``."""

    column: str
    verdict: str
    psi: float | None
    p_value: float | None
    q_value: float | None
    reference_rows: int
    current_rows: int
    says: str
    reference_shares: tuple[float, ...] = ()
    current_shares: tuple[float, ...] = ()
    bins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """Half-open event-time window [since, until) in Unix seconds (UTC)."""

    since: float
    until: float


@dataclass(frozen=True, slots=True)
class WatchReport:
    """Everything one look found. ``performance`` maps metric name to (value, low, high); empty without truth."""

    model: str
    version: str
    window: Window | None
    rows: int
    truths: int
    findings: tuple[Finding, ...]
    columns: tuple[ColumnReport, ...]
    performance: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    base_rate: float | None = None
    says: str = ""

    @property
    def ends(self) -> float:
        """Where its window ends, in Unix seconds; 0 where it has none."""
        return self.window.until if self.window else 0.0


@dataclass(frozen=True, slots=True)
class Alert:
    """What a channel sends: findings of one model, one look."""

    model: str
    severity: Severity
    title: str
    body: str
    at: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Order:
    """A decision to renew a model. ``cause``: ``manual``, ``schedule`` or ``finding``."""

    model: str
    cause: str
    reason: str
    at: str
    key: str
