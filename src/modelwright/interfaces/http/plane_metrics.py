"""The plane's own metric families: stages, runs, what waits, and which versions are in force."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from modelwright.interfaces.http.metrics import cumulated, series
from modelwright.ports.counters import Key, Part
from modelwright.serve import saturation, stages, statistics
from modelwright.serve.lane import MAX_ROWS
from modelwright.serve.plane import Plane

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BATCH_BOUNDS = tuple(2**power for power in range(MAX_ROWS.bit_length()))


class PlaneMetrics:
    """Labels are names of models, versions and stages, and nothing that a caller can choose."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._saturation = saturation.Saturation(plane.tally.counters, partial(saturation.waiting, plane))

    def publish(self) -> None:
        """Let the other processes see this one's figures."""
        self._plane.tally.statistics.publish()
        self._saturation.publish()

    def collect(self, parts: Sequence[Part], total: Mapping[Key, Sequence[float]]) -> Iterator[Metric]:
        """The families, from every process's figures and from the sum of them."""
        yield _stages(total)
        yield from _runs(statistics.together(parts))
        yield from _waiting(saturation.together(parts))
        yield self._arms()

    def _arms(self) -> Metric:
        from prometheus_client.core import GaugeMetricFamily  # lazy, as in :mod:`.metrics`

        family = GaugeMetricFamily(
            "modelwright_version_weight",
            "Share of a model's requests that a version in force answers.",
            labels=["model", "version", "role"],
        )
        table = self._plane.table
        for name, route in sorted(table.routes.items()) if table else ():
            for arm in route.arms:
                family.add_metric([name, arm.version, arm.role], arm.weight)
            for arm in route.shadows:
                family.add_metric([name, arm.version, "shadow"], 0.0)
        return family


def _stages(total: Mapping[Key, Sequence[float]]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily  # lazy, as above

    family = HistogramMetricFamily(
        stages.STAGE, "Time of an answered request in each stage.", labels=["model", "stage"]
    )
    for labels, slots in series(total, stages.STAGE):
        if len(slots) == stages.WIDTH:  # else of a dead process of a release with other buckets
            family.add_metric(labels, cumulated(stages.BOUNDS, slots[:-1]), slots[-1])
    return family


def _runs(served: Mapping[tuple[str, str], statistics.Served]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily  # lazy, as above

    buckets: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * (len(BATCH_BOUNDS) + 1))
    rows: defaultdict[str, int] = defaultdict(int)
    seconds: defaultdict[str, float] = defaultdict(float)
    for (model, _), one in served.items():
        for size, runs in one.batches.items():
            buckets[model][min(max(size - 1, 0).bit_length(), len(BATCH_BOUNDS))] += runs.runs
            rows[model] += runs.rows
            seconds[model] += runs.infer_seconds
    batches = HistogramMetricFamily("modelwright_batch_rows", "Rows that ran together.", labels=["model"])
    busy = CounterMetricFamily(
        "modelwright_run_seconds", "Time in the runner; its rate is the share.", labels=["model"]
    )
    for model, counts in buckets.items():
        batches.add_metric([model], cumulated(BATCH_BOUNDS, counts), rows[model])
        busy.add_metric([model], seconds[model])
    yield batches
    yield busy


def _waiting(now: Mapping[str, saturation.Waiting]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily  # lazy, as above

    requests = GaugeMetricFamily(
        "modelwright_waiting_requests", "Requests of a model that wait or run.", labels=["model"]
    )
    seconds = GaugeMetricFamily(
        "modelwright_wait_seconds", "Longest wait expected for a request that comes now.", labels=["model"]
    )
    for model, figures in now.items():
        requests.add_metric([model], figures.requests)
        seconds.add_metric([model], figures.seconds)
    yield requests
    yield seconds
