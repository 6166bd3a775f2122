"""The plane's own metric families: stages, runs, what waits, and which versions are in force."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from modelwright.interfaces.http.exposition import Family
from modelwright.interfaces.http.metrics import series
from modelwright.ports.counters import Key, Part
from modelwright.serve import saturation, stages, statistics
from modelwright.serve.lane import MAX_ROWS
from modelwright.serve.plane import Plane

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

    def collect(self, parts: Sequence[Part], total: Mapping[Key, Sequence[float]]) -> Iterator[Family]:
        """The families, from every process's figures and from the sum of them."""
        yield Family(
            stages.STAGE,
            "Time of an answered request in each stage.",
            "histogram",
            ("model", "stage"),
            [one for one in series(total, stages.STAGE) if len(one[1]) == stages.WIDTH],  # else of another release
            stages.BOUNDS,
        )
        yield from _runs(statistics.together(parts))
        yield from _waiting(saturation.together(parts))
        yield self._versions()
        yield self._instances()

    def _versions(self) -> Family:
        table = self._plane.table
        arms = [
            ((name, arm.version, arm.role), (arm.weight,))
            for name, route in (sorted(table.routes.items()) if table else ())
            for arm in (*route.arms, *(replace(shadow, role="shadow", weight=0.0) for shadow in route.shadows))
        ]
        labels = ("model", "version", "role")
        help_ = "Share of a model's requests that a version in force answers."
        return Family("modelwright_version_weight", help_, "gauge", labels, arms)

    def _instances(self) -> Family:
        found = {
            ((name, arm.version, device), (placement.instances / len(placement.names),))
            for name, route in self._plane.routes.items()
            for arm in route.by_version.values()
            if arm.loaded.runner is not None and (placement := arm.loaded.runner.placement)
            for device in placement.names
        }
        labels, help_ = ("model", "version", "device"), "Runs that a version in memory can make at once, by device."
        return Family("modelwright_version_instances", help_, "gauge", labels, sorted(found))


def _runs(served: Mapping[tuple[str, str], statistics.Served]) -> Iterator[Family]:
    counts: defaultdict[str, list[float]] = defaultdict(lambda: [0.0] * (len(BATCH_BOUNDS) + 2))
    seconds: defaultdict[str, float] = defaultdict(float)
    for (model, _), one in served.items():
        for size, runs in one.batches.items():
            counts[model][min(max(size - 1, 0).bit_length(), len(BATCH_BOUNDS))] += runs.runs
            counts[model][-1] += runs.rows
            seconds[model] += runs.infer_seconds
    batches = [((model,), figures) for model, figures in counts.items()]
    yield Family("modelwright_batch_rows", "Rows that ran together.", "histogram", ("model",), batches, BATCH_BOUNDS)
    busy = [((model,), (figure,)) for model, figure in seconds.items()]
    yield Family("modelwright_run_seconds", "Time in the runner; its rate is the share.", "counter", ("model",), busy)


def _waiting(now: Mapping[str, saturation.Waiting]) -> Iterator[Family]:
    figures = sorted(now.items())
    yield Family(
        "modelwright_waiting_requests",
        "Requests of a model that wait or run.",
        "gauge",
        ("model",),
        [((model,), (one.requests,)) for model, one in figures],
    )
    yield Family(
        "modelwright_wait_seconds",
        "Longest wait expected for a request that comes now.",
        "gauge",
        ("model",),
        [((model,), (one.seconds,)) for model, one in figures],
    )
