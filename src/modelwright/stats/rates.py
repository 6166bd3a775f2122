"""Shares in groups, and how far the groups lie apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Range:
    """A figure with a 95 % interval."""

    value: float
    low: float
    high: float


def share(hits: int, cases: int, level: float = LEVEL) -> Range:
    """A share of hits in cases with its score interval; cases >= 1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    from scipy.stats import binomtest  # lazy: half a second, and a check without slices needs it not

    low, high = binomtest(hits, cases).proportion_ci(level, method="wilson")
    value = hits / cases
    return Range(value, min(float(low), value), max(float(high), value))


def apart(groups: Sequence[tuple[int, int]]) -> tuple[Range, Range | None]:
    """Highest minus lowest share, and lowest over highest (None where every share is 0), of k groups (hits, cases).

    The highest of many differs from the lowest by chance alone, so the intervals come from score intervals that hold
    all k shares at once (each at level 1 - 0.05 / k; Bonferroni): the largest true share lies between the largest
    lower and the largest upper bound, the smallest between the smallest ones. The difference is thus at least 0 in its
    interval, and the ratio at most 1.
    """
    held = [share(hits, cases, 1 - (1 - LEVEL) / len(groups)) for hits, cases in groups]
    most, least = max(one.value for one in held), min(one.value for one in held)
    top = max(one.low for one in held), max(one.high for one in held)
    bottom = min(one.low for one in held), min(one.high for one in held)
    difference = Range(most - least, max(top[0] - bottom[1], 0.0), top[1] - bottom[0])
    if not most:
        return difference, None
    highest = min(bottom[1] / top[0], 1.0) if top[0] > 0 else 1.0
    return difference, Range(least / most, bottom[0] / top[1], highest)
