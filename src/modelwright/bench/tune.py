"""Which settings to try on a server, and which of them the rounds show to be better."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from modelwright.bench.session import Round

Changes = Mapping[str, object]
LEAST_GAIN = 1.03
"""What gains less than 3 % is not worth a setting, even where the rounds can tell it."""


@dataclass(slots=True)
class Candidate:
    """Settings, what they are in words, and the rounds of a server that had them."""

    changes: Changes
    rounds: list[Round] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The changes in words."""
        return ", ".join(f"{name}={value}" for name, value in self.changes.items()) or "as it is set"

    @property
    def rates(self) -> list[float]:
        """Right answers per second, of each round."""
        return [each.measured.figures.rate for each in self.rounds]

    @property
    def p99s(self) -> list[float]:
        """Milliseconds, of each round."""
        return [each.measured.figures.p99 for each in self.rounds]


@dataclass(frozen=True, slots=True)
class Compared:
    """A candidate against the settings as they are: medians of the ratios of the same rounds.

    ``better``: the rounds show it, beyond their spread.
    """

    candidate: Candidate
    rate_ratio: float
    p99_ratio: float
    better: bool


def alternatives(now: Mapping[str, object], *, cores: int, open_loop: bool, native: bool) -> list[Changes]:
    """One change at a time from the settings ``now``: what could make a difference under this kind of load.

    Args:
        now: the settings' values.
        cores: those that the server may use.
        open_loop: the load does not wait for the server, so that a queue can grow.
        native: the model runs in processes of its own.
    """
    tried: list[Changes] = [{"workers": count} for count in _counts(cores)]
    if native and "native_instances" in now:
        tried += [{"native_instances": count} for count in _counts(cores)]
    elif not native:
        tried += [{"threads": count} for count in _counts(cores)]
    if open_loop:
        tried += [{"queue_seconds": seconds} for seconds in (0.05, 0.3, 1.0)]
    return [changes for changes in tried if all(now.get(name) != value for name, value in changes.items())]


def _counts(cores: int) -> list[int]:
    return [count for count in (1, 2, 4, 8, 16, 32) if count <= cores]


def compare(baseline: Candidate, candidate: Candidate, *, open_loop: bool) -> Compared:
    """What its rounds say against those of the baseline.

    Under a closed loop the rate decides. Under an open loop the rate is given, so the latency decides, unless more is
    answered.
    """
    rate = _ratio(candidate.rates, baseline.rates)
    p99 = _ratio(candidate.p99s, baseline.p99s)
    faster = rate >= LEAST_GAIN and min(candidate.rates) > max(baseline.rates)
    sooner = open_loop and p99 <= 1 / LEAST_GAIN and max(candidate.p99s) < min(baseline.p99s) and rate > 1 / LEAST_GAIN
    return Compared(candidate, rate, p99, faster or sooner)


def merged(better: Sequence[Compared], *, open_loop: bool) -> Changes:
    """The best value of every setting that had a better one; empty where none had."""
    chosen: dict[str, object] = {}
    ranked = sorted(better, key=lambda one: one.p99_ratio if open_loop else -one.rate_ratio)
    for one in ranked:
        for name, value in one.candidate.changes.items():
            chosen.setdefault(name, value)
    return chosen


def best(compared: Sequence[Compared], *, open_loop: bool) -> Compared | None:
    """The one to choose: of those that are better, the one with the highest rate (open loop: the lowest p99)."""
    better = [one for one in compared if one.better]
    if not better:
        return None
    return min(better, key=lambda one: one.p99_ratio if open_loop else -one.rate_ratio)


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(our / their if their else float("nan") for our, their in zip(ours, theirs, strict=True))
