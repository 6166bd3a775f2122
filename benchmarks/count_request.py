"""Nanoseconds to count one request (its latency and its row): in this process, and in a file that all gateways read.

    python benchmarks/count_request.py

The limit is the same increments on plain lists.
"""

import tempfile
import timeit
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path

from kit.figures import machine, ratio, rounds_of, row
from modelwright.adapters.counters.mapped import MappedCounters
from modelwright.interfaces.http.metrics import BOUNDS, Metrics
from modelwright.ports.counters import Counters
from modelwright.serve.tally import OwnCounters, Tally

TIMES, ROUNDS = 200_000, 7


def counting(counters: Counters) -> Callable[[], float]:
    """Measures what the server does for each request."""
    tally, metrics, series = Tally(counters), Metrics(counters, {}), ("linear", "1")

    def count() -> None:
        tally.count("linear", "1", "champion", "ok", 1)
        metrics.observe(series, 200, 0.00031)

    return lambda: timeit.timeit(count, number=TIMES) / TIMES * 1e9


def limit() -> float:
    latency, rows = [0.0] * (len(BOUNDS) + 2), [0.0]

    def count() -> None:
        rows[0] += 1
        latency[bisect_left(BOUNDS, 0.00031)] += 1
        latency[-1] += 0.00031

    return timeit.timeit(count, number=TIMES) / TIMES * 1e9


def main() -> None:
    machine()
    with tempfile.TemporaryDirectory() as folder:
        measures = {
            "limit: three increments of lists": limit,
            "in this process": counting(OwnCounters()),
            "in a mapped file": counting(MappedCounters(Path(folder), "bench")),
        }
        figures = rounds_of(ROUNDS, measures)
    for label, times in figures.items():
        row(label, times, "ns", note=f"{ratio(times, figures['in this process'])} in this process")


if __name__ == "__main__":
    main()
