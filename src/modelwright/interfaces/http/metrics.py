"""What the data plane counts, as Prometheus text: the sum over all processes that count together."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from modelwright.interfaces.http.exposition import Family, render
from modelwright.ports.counters import RESTARTS, Counters, Key, Part, Slots, added
from modelwright.serve.tally import (
    FALLBACKS,
    KILLS,
    LOADS,
    QUARANTINED,
    REFUSED_TABLES,
    REUSED,
    ROWS,
    RUNNER_RESTARTS,
    RUNS,
    SHED,
    SWAPS,
    WARNINGS,
)

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
CONTENT_TYPE = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"
LATENCY, ERRORS = "modelwright_request_seconds", "modelwright_errors"
Readings = Mapping[tuple[str, str, str], Callable[[], float]]
_NEW = (0.0,) * (len(BOUNDS) + 2)
_COUNTERS = (
    (ROWS, "Predicted rows.", ("model", "version", "role", "status")),
    (RUNS, "Runs by the requests in them, up to the next power of two.", ("model", "requests")),
    (WARNINGS, "Requests with values that the model has not seen.", ("model", "warning")),
    (FALLBACKS, "Requests that a fallback inside a graph answered.", ("model", "node", "reason")),
    (SHED, "Requests that were not run, by reason.", ("model", "reason")),
    (ERRORS, "Refused or failed requests.", ("code",)),
    (SWAPS, "Routing tables put in force.", ()),
    (REFUSED_TABLES, "Routing tables that could not be loaded.", ()),
    (REUSED, "Requests looked up in the cache: hit, miss, or joined to one under way.", ("model", "outcome")),
    (LOADS, "Versions loaded on demand, those that failed to, and those unloaded.", ("model", "outcome")),
    (RUNNER_RESTARTS, "Processes of native models started again.", ("model",)),
    (KILLS, "Processes of native models that ended, by reason.", ("model", "reason")),
    (QUARANTINED, "Requests that ended processes and are not run again.", ("model",)),
    (RESTARTS, "Processes of the server that died and were started again.", ("process",)),
)
_SUM = -1  # the last slot of a latency series; those before it count per bucket, the last bucket open


class Families(Protocol):
    """Metric families with labels, made from the counters of all processes."""

    def publish(self) -> None:
        """Let the other processes see this one's figures."""
        ...

    def collect(self, parts: Sequence[Part], total: Mapping[Key, Sequence[float]]) -> Iterator[Family]:
        """The families, from every process's figures and from the sum of them."""
        ...


class Metrics:
    """Plain counters on the hot path, turned into metric families when scraped.

    Args:
        counters: where to count, and what the other processes counted.
        readings: further figures by (name, help, kind), read when scraped and by :meth:`publish`. Over all processes a
            ``counter`` is summed, a ``gauge`` summed over those that live, and of a ``lowest`` the lowest is shown.
        of_plane: further families, with labels.
    """

    def __init__(self, counters: Counters, readings: Readings, of_plane: Families | None = None) -> None:
        self._counters, self._readings, self._of_plane = counters, dict(readings), of_plane
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
        if self._of_plane is not None:
            self._of_plane.publish()

    def render(self) -> bytes:
        """The text of a scrape."""
        return render(self.collect())

    def collect(self) -> Iterator[Family]:
        """Every metric family."""
        self.publish()
        parts = self._counters.parts()
        total: dict[Key, Sequence[float]] = {}
        for part in parts:
            total = added(total, part.values)
        yield Family(
            LATENCY,
            "Time from a request's last byte to its answer.",
            "histogram",
            ("model", "version", "status"),
            [one for one in series(total, LATENCY) if len(one[1]) == len(_NEW)],  # else of a release with other buckets
            BOUNDS,
        )
        for name, documentation, labels in _COUNTERS:
            yield Family(name, documentation, "counter", labels, series(total, name))
        yield from self._read(parts, total)
        if self._of_plane is not None:
            yield from self._of_plane.collect(parts, total)

    def _read(self, parts: Sequence[Part], total: Mapping[Key, Sequence[float]]) -> Iterator[Family]:
        for name, documentation, kind in self._readings:
            if kind == "counter":
                yield Family(name, documentation, "counter", (), [((), total[(name,)])])
                continue
            live = [part.values[(name,)][0] for part in parts if part.live and (name,) in part.values]
            yield Family(name, documentation, "gauge", (), [((), (min(live) if kind == "lowest" else sum(live),))])


def series(total: Mapping[Key, Sequence[float]], family: str) -> list[tuple[Key, Sequence[float]]]:
    """The values of the labels of a family, with the figures of each."""
    return [(key[1:], slots) for key, slots in total.items() if key[0] == family]
