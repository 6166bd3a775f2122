"""What the data plane counts, as Prometheus text: the sum over all processes that count together."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from modelwright.ports.counters import Counters, Key, Part, Slots, added
from modelwright.serve.tally import FALLBACKS, REFUSED_TABLES, ROWS, RUNS, SHED, SWAPS, WARNINGS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
LATENCY, ERRORS = "modelwright_request_seconds", "modelwright_errors"
Readings = Mapping[tuple[str, str, str], Callable[[], float]]
_NEW = (0.0,) * (len(BOUNDS) + 2)
_SUM = -1  # the last slot of a latency series; those before it count per bucket, the last bucket open


class Metrics:
    """Plain counters on the hot path, turned into metric families when scraped.

    Args:
        counters: where to count, and what the other processes counted.
        readings: further figures by (name, help, kind), read when scraped and by :meth:`publish`. Over all processes a
            ``counter`` is summed, a ``gauge`` summed over those that live, and of a ``lowest`` the lowest is shown.
    """

    def __init__(self, counters: Counters, readings: Readings) -> None:
        self._counters, self._readings = counters, dict(readings)
        self._latency: dict[tuple[str, str, int], Slots] = {}
        self._errors: dict[str, Slots] = {}
        self._published: dict[str, Slots] = {}

    def observe(self, series: tuple[str, str], status: int, seconds: float) -> None:
        """Count one answered request of a (model, version)."""
        key = (*series, status)
        slots = self._latency.get(key)
        if slots is None:
            slots = self._latency[key] = self._counters.slots((LATENCY, *series, str(status)), _NEW)
        slots[bisect_left(BOUNDS, seconds)] += 1
        slots[_SUM] += seconds

    def count_error(self, code: str) -> None:
        """Count a refused or failed request."""
        slots = self._errors.get(code)
        if slots is None:
            slots = self._errors[code] = self._counters.slots((ERRORS, code), (0.0,))
        slots[0] += 1

    def publish(self) -> None:
        """Take the readings now, for whichever process is scraped."""
        for (name, _, _), read in self._readings.items():
            slots = self._published.get(name)
            if slots is None:
                self._published[name] = self._counters.slots((name,), (float(read()),))
            else:
                slots[0] = read()

    def render(self) -> bytes:
        """The text of a scrape."""
        # imported at the first scrape: it takes a third of the import time of a gateway
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """Metric families for prometheus-client."""
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        self.publish()
        parts = self._counters.parts()
        total: dict[Key, Sequence[float]] = {}
        for part in parts:
            total = added(total, part.values)
        latency = HistogramMetricFamily(
            LATENCY, "Time from a request's last byte to its answer.", labels=["model", "version", "status"]
        )
        for labels, slots in _series(total, LATENCY):
            if len(slots) != len(_NEW):  # of a dead process of a release with other buckets
                continue
            latency.add_metric(labels, _cumulated(slots[:_SUM]), slots[_SUM])
        yield latency
        for name, documentation, labels in (
            (ROWS, "Predicted rows.", ["model", "version", "role", "status"]),
            (RUNS, "Runs by the requests in them, up to the next power of two.", ["model", "requests"]),
            (WARNINGS, "Requests with values that the model has not seen.", ["model", "warning"]),
            (FALLBACKS, "Requests that a fallback inside a graph answered.", ["model", "node", "reason"]),
            (SHED, "Requests that were not run, by reason.", ["model", "reason"]),
            (ERRORS, "Refused or failed requests.", ["code"]),
            (SWAPS, "Routing tables put in force.", []),
            (REFUSED_TABLES, "Routing tables that could not be loaded.", []),
        ):
            family = CounterMetricFamily(name, documentation, labels=labels)
            for values, slots in _series(total, name):
                family.add_metric(values, slots[0])
            yield family
        yield from self._read(parts, total)

    def _read(self, parts: Sequence[Part], total: Mapping[Key, Sequence[float]]) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, documentation, kind in self._readings:
            if kind == "counter":
                yield CounterMetricFamily(name, documentation, value=total[(name,)][0])
                continue
            live = [part.values[(name,)][0] for part in parts if part.live and (name,) in part.values]
            yield GaugeMetricFamily(name, documentation, value=min(live) if kind == "lowest" else sum(live))


def _series(total: Mapping[Key, Sequence[float]], family: str) -> list[tuple[list[str], Sequence[float]]]:
    return [(list(key[1:]), slots) for key, slots in total.items() if key[0] == family]


def _cumulated(counts: Sequence[float]) -> list[tuple[str, float]]:
    reached, buckets = 0.0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        reached += count
        buckets.append((bound, reached))
    return buckets
