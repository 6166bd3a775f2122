"""What the data plane counts, as Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from modelwright.serve.plane import Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"


class Latency:
    """Counts per bucket (seconds, upper bounds :data:`BOUNDS`, the last one open) and their sum."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts, self.total = [0] * (len(BOUNDS) + 1), 0.0

    def observe(self, seconds: float) -> None:
        """Count one request."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Metrics:
    """Plain counters on the hot path, turned into metric families when scraped.

    Args:
        tally: what the plane counts.
        readings: further gauges and counters by (name, help, type), read when scraped.
    """

    def __init__(self, tally: Tally, readings: Mapping[tuple[str, str, str], Callable[[], float]]) -> None:
        self._tally, self._readings = tally, dict(readings)
        self._latency: dict[tuple[str, str, int], Latency] = {}
        self.errors: Counter[str] = Counter()

    def observe(self, series: tuple[str, str], status: int, seconds: float) -> None:
        """Count one answered request of a (model, version)."""
        key = (*series, status)
        latency = self._latency.get(key)
        if latency is None:
            latency = self._latency[key] = Latency()
        latency.observe(seconds)

    def render(self) -> bytes:
        """The text of a scrape."""
        # imported at the first scrape: it takes a third of the import time of a gateway
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Metric families for prometheus-client."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        latency = HistogramMetricFamily(
            "modelwright_request_seconds",
            "Time from a request's last byte to its answer.",
            labels=["model", "version", "status"],
        )
        for (model, version, status), counted in self._latency.items():
            reached, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), counted.counts, strict=True):
                reached += count
                buckets.append((bound, float(reached)))
            latency.add_metric([model, version, str(status)], buckets, counted.total)
        yield latency
        rows = CounterMetricFamily(
            "modelwright_predictions", "Predicted rows.", labels=["model", "version", "role", "status"]
        )
        for labels, count in self._tally.rows.items():
            rows.add_metric(list(labels), count)
        yield rows
        errors = CounterMetricFamily("modelwright_errors", "Refused or failed requests.", labels=["code"])
        for code, count in self.errors.items():
            errors.add_metric([code], count)
        yield errors
        yield CounterMetricFamily("modelwright_swaps", "Routing tables put in force.", value=self._tally.swaps)
        yield CounterMetricFamily(
            "modelwright_refused_tables", "Routing tables that could not be loaded.", value=self._tally.refused_tables
        )
        families = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}
        for (name, documentation, kind), read in self._readings.items():
            yield families[kind](name, documentation, value=read())
