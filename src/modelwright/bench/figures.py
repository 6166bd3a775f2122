"""Percentiles of what was measured, and rounds as median and spread."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Figures:
    """One round. Latencies are milliseconds.

    ``answers`` are the right ones to what was due in the round; ``rate`` are those per second that came within it (an
    overloaded server answers after the round too). ``late_p99``: milliseconds by which the generator sent requests
    after they were due although it could have.
    """

    answers: int
    rate: float
    p50: float
    p90: float
    p99: float
    p999: float
    most: float
    late_p99: float = 0.0


def percentile(ordered: NDArray[np.float64], share: float) -> float:
    """The smallest of the ascending figures that at least ``share`` percent do not exceed; NaN where there are none."""
    if not len(ordered):
        return math.nan
    # a share such as 99.9 has no exact float: what it misses by must not reach the next rank
    rank = math.ceil(share / 100 * len(ordered) - 1e-9)
    return float(ordered[min(max(rank, 1), len(ordered)) - 1])


def figures_of(latencies: NDArray[np.float64], lateness: NDArray[np.float64], unanswered: int, rate: float) -> Figures:
    """Figures of one round from seconds in any order; of the latencies ``unanswered`` belong to no answer."""
    ordered = np.sort(latencies) * 1000
    late = np.sort(lateness) * 1000
    answers = len(ordered) - unanswered
    p50, p90, p99, p999, most = (percentile(ordered, share) for share in (50, 90, 99, 99.9, 100))
    late_p99 = percentile(late, 99) if len(late) else 0.0
    return Figures(answers, rate, p50, p90, p99, p999, most, late_p99)


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the rounds, the least and the most."""

    median: float
    low: float
    high: float


def spread(rounds: Sequence[Figures], read: Callable[[Figures], float]) -> Spread:
    """One figure over the rounds; NaN rounds (nothing was answered) make it NaN."""
    values = [read(figures) for figures in rounds]
    if not values or any(math.isnan(value) for value in values):
        return Spread(math.nan, math.nan, math.nan)
    return Spread(statistics.median(values), min(values), max(values))
