"""The highest rate of an open loop at which a latency target still holds: bisection, then rounds that confirm it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

PRECISION = 1.05
"""The search ends when the lowest rate that failed is so close to the highest that held."""
CONFIRMATIONS = 3
STEP_DOWN = 0.93
LOWEST_RATE = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One round at a rate; ``holds`` tells whether the target was kept, ``why`` in words why not."""

    rate: float
    p99: float
    holds: bool
    why: str = ""


@dataclass(slots=True)
class Search:
    """What is known so far: the highest ``rate`` that held (0: none did), the lowest above it that ``failed``.

    ``confirmed`` counts the rounds that were made at ``rate`` after the search, ``holding`` those of them that held.
    ``failed`` is infinite where no rate failed: the time was over, or no more may be asked.
    """

    trials: list[Trial] = field(default_factory=list)
    rate: float = 0.0
    failed: float = math.inf
    confirmed: int = 0
    holding: int = 0
    confirmed_p99: float = math.nan

    @property
    def settled(self) -> bool:
        """True when rounds of their own have confirmed the rate."""
        return self.confirmed >= CONFIRMATIONS and self.holding * 2 > self.confirmed


def search(
    measure: Callable[[float], Trial],
    confirm: Callable[[float], Trial],
    *,
    start: float,
    most: float,
    time_left: Callable[[int], bool],
    into: Search,
) -> None:
    """Find it, as far as time allows; ``into`` holds what is known at every moment.

    One round is made in any case. A rate fails when two rounds of it fail: one may be the machine's.

    Args:
        measure: one round at a rate.
        confirm: a round that confirms it; it may take as long as two others.
        start: where to begin.
        most: no rate above is tried.
        time_left: False when so many further rounds would not end in time.
        into: filled.
    """
    keep = _Keeper(measure, lambda: not into.trials or time_left(1 + 2 * CONFIRMATIONS), into)
    rate = min(start, most)
    while keep.going and not keep.holds(rate) and rate > LOWEST_RATE:
        into.failed, rate = min(into.failed, rate), rate / 2
    while keep.going and into.failed == math.inf and into.rate < most:
        rate = min(into.rate * 2, most)
        if not keep.holds(rate) and keep.judged:
            into.failed = rate
    while keep.going and into.rate and into.failed / into.rate > PRECISION and into.failed < math.inf:
        rate = math.sqrt(into.rate * into.failed)
        if not keep.holds(rate) and keep.judged:
            into.failed = rate
    _confirm(_Keeper(confirm, lambda: time_left(2), into), into)


def _confirm(keep: _Keeper, into: Search) -> None:
    while keep.going and into.rate > LOWEST_RATE:
        rounds: list[Trial] = []
        while len(rounds) < CONFIRMATIONS and keep.going:
            rounds.append(keep.once(into.rate))
            into.confirmed, into.holding = len(rounds), sum(trial.holds for trial in rounds)
            into.confirmed_p99 = statistics.median(trial.p99 for trial in rounds)
        if len(rounds) < CONFIRMATIONS or into.settled:
            return
        _step_down(keep, into)


def _step_down(keep: _Keeper, into: Search) -> None:
    """To a lower rate that has held in some round: what no round has shown is never given."""
    failed, into.confirmed, into.holding = into.rate, 0, 0
    while True:
        lower = max((trial.rate for trial in into.trials if trial.holds and trial.rate < failed), default=0.0)
        into.failed, into.rate, next_one = failed, lower, failed * STEP_DOWN
        if lower >= next_one or next_one < LOWEST_RATE or not keep.going:
            return
        if keep.once(next_one).holds:
            into.rate = next_one
            return
        failed = next_one


class _Keeper:
    """Measures, and writes down what it means. ``judged``: the last rate had all the rounds it needed."""

    def __init__(self, measure: Callable[[float], Trial], time_left: Callable[[], bool], into: Search) -> None:
        self._measure, self._time_left, self._into = measure, time_left, into
        self.judged = True

    @property
    def going(self) -> bool:
        """True while another round may begin."""
        return self._time_left()

    def once(self, rate: float) -> Trial:
        """One round, kept."""
        trial = self._measure(rate)
        self._into.trials.append(trial)
        return trial

    def holds(self, rate: float) -> bool:
        """One round, or two where the first failed."""
        self.judged = True
        if not self.once(rate).holds:
            self.judged = self.going
            if not self.judged or not self.once(rate).holds:
                return False
        self._into.rate = max(self._into.rate, rate)
        return True
