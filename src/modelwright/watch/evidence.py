"""What one column's tests found, before anybody decides what to believe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from modelwright.core.finding import Finding

WATCHABLE = 0.1  # PSI of a change of about 0.3 standard deviations: quiet is only said where this would be found


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user asked for.

    ``alarm_rate`` is the chance of any finding in one look at unchanged data; ``effect_floor`` the least PSI that
    matters; ``dispersion`` how many rows carry the information of one independent row.
    """

    alarm_rate: float = 0.01
    effect_floor: float = 0.02
    dispersion: float = 1.0


@dataclass(frozen=True, slots=True)
class Test:
    """One test: its p-value, and whether what it measured is large enough to matter at all."""

    name: str
    p_value: float
    matters: bool
    evidence: dict[str, object] = field(default_factory=dict)


Diagnose = Callable[[Mapping[str, float]], tuple[Finding, ...]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One column measured. ``diagnose`` turns the believed tests (name to q-value) into findings."""

    column: str
    tests: tuple[Test, ...]
    psi: float | None
    bins: int
    reference_rows: int
    rows: int
    diagnose: Diagnose
    labels: tuple[str, ...] = ()
    reference_shares: tuple[float, ...] = ()
    current_shares: tuple[float, ...] = ()


def shares(counts: tuple[int, ...] | list[int]) -> tuple[float, ...]:
    """Counts as shares of their sum (zeros for an empty sample)."""
    total = max(1, sum(counts))
    return tuple(count / total for count in counts)


def percent(share: float) -> str:
    """A share in words: ``31 %``, ``0.4 %``, ``under 0.1 %``, ``over 99 %``; ``100 %`` is all of them."""
    if 0 < share < 0.001:
        return "under 0.1 %"
    if 0.995 <= share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %" if share >= 0.1 or not share else f"{100 * share:.1f} %"


def figure(value: float) -> str:
    """A number with four significant digits and no needless exponent."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e9 else text


def change(before: float, now: float) -> str:
    """``3.2 -> 3.4``, with as many digits as it takes to tell the two apart."""
    texts = figure(before), figure(now)
    for digits in range(5, 17):
        if texts[0] != texts[1] or before == now:
            break
        texts = f"{before:.{digits}g}", f"{now:.{digits}g}"
    return " -> ".join(texts)
