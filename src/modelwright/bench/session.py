"""Loads on one server: each as several short rounds, interleaved, with what the server said of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from modelwright.bench.answers import Checked, Judge
from modelwright.bench.bodies import Request
from modelwright.bench.facts import Facts, Observer, between
from modelwright.bench.generators import Generators, Measured
from modelwright.bench.job import Load

WARM_SHARE = 0.15
"""Of a round, left out in front of it: connections are new and the queue is empty."""


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement, what it cost, and what the sampled answers were worth."""

    measured: Measured
    facts: Facts
    checked: Checked


@dataclass(slots=True)
class Point:
    """A load and its rounds so far."""

    load: Load
    rounds: list[Round] = field(default_factory=list)


class Session:
    """One server under one kind of request.

    Args:
        generators: who asks.
        observer: looks at the server.
        requests: what is asked, to check answers with.
        judge: compares answers.
    """

    def __init__(self, generators: Generators, observer: Observer, requests: Sequence[Request], judge: Judge) -> None:
        self._generators, self._observer, self._requests, self._judge = generators, observer, requests, judge
        self._seed = 0

    def warm_up(self, seconds: float) -> Round:
        """A load that is not reported: caches fill, the server learns how long a run takes."""
        return self.measure(Load(16, 0.0, seconds))

    def measure(self, load: Load) -> Round:
        """One round; every round draws other arrival times."""
        self._seed += 1
        warm = max(0.1, WARM_SHARE * load.seconds)
        given = replace(load, warm=warm, seed=self._seed)
        before = self._observer.look()
        measured = self._generators.measure(given)
        after = self._observer.look()
        facts = between(before, after, measured.lasted)
        checked = self._judge.check(measured.samples, self._requests)
        return Round(measured, facts, checked)

    def points(self, loads: Sequence[Load], *, rounds: int, tell: Callable[[str], object], into: list[Point]) -> None:
        """Every load so many times, interleaved, so that a busy moment of the machine hits them all.

        ``into`` holds the points from the start, for whoever is interrupted.
        """
        into += [Point(load) for load in loads]
        for number in range(rounds):
            for point in into[-len(loads) :]:
                tell(f"round {number + 1} of {rounds}: {said(point.load)} ...")
                point.rounds.append(self.measure(point.load))


def said(load: Load) -> str:
    """A load in words."""
    if load.rate:
        return f"{load.rate:,.0f} requests/s"
    return f"{load.connections} connection{'' if load.connections == 1 else 's'}"
