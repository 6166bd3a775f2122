"""What the server and the machine say of a round: the difference between a look before it and one after it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelwright.bench.door import Door
from modelwright.core.errors import ModelwrightError

Series = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]
ERRORS, SHED, RUNS = "modelwright_errors_total", "modelwright_shed_requests_total", "modelwright_runs_total"


@dataclass(frozen=True, slots=True)
class Look:
    """One look. Seconds of processor time since whatever began; ``metrics`` is None where they may not be read."""

    at: float
    metrics: Series | None
    statistics: Mapping[str, float]
    server_cpu: float | None
    machine_busy: float
    machine_stolen: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What a round cost, and where the time went.

    Shares are of one core (2.0: two cores). ``server_share`` is None for a server that is not on this machine;
    ``others_share`` is what neither it nor the generators used. ``runner_share`` are the model's own runs. Seconds are
    means per request. ``batch`` is the mean number of requests in a run, None where nothing was run.
    """

    server_share: float | None = None
    runner_share: float | None = None
    others_share: float | None = None
    stolen_share: float = 0.0
    queue_seconds: float | None = None
    run_seconds: float | None = None
    batch: float | None = None
    rows_per_run: float | None = None
    shed: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)


class Observer:
    """Looks at a server.

    Args:
        door: where it answers.
        model: whose statistics.
        pids: its processes, where they are on this machine.
        others: whose processor time is known too: the generators.
    """

    def __init__(self, door: Door, model: str, pids: Sequence[int], generators: Sequence[int]) -> None:
        self._door, self._model, self._pids, self._generators = door, model, tuple(pids), tuple(generators)

    def look(self) -> tuple[Look, float]:
        """The look, and the seconds of processor time of the generators."""
        metrics: Series | None = None
        statistics: dict[str, float] = {}
        with contextlib.suppress(ModelwrightError, ValueError):
            statistics = _statistics(self._door.ask(f"/v2/models/{self._model}/stats"))
            metrics = parse_metrics(self._door.ask("/metrics").decode())
        busy, stolen = _machine()
        server = sum(map(cpu_seconds, self._pids)) if self._pids else None
        look = Look(time.perf_counter(), metrics, statistics, server, busy, stolen)
        return look, sum(map(cpu_seconds, self._generators))


def between(before: tuple[Look, float], after: tuple[Look, float], seconds: float) -> Facts:
    """What happened between two looks around a load of so many seconds (warm-up and all)."""
    (first, own_before), (last, own_after) = before, after
    server = others = None
    if first.server_cpu is not None and last.server_cpu is not None:
        server = last.server_cpu - first.server_cpu
        others = max(0.0, last.machine_busy - first.machine_busy - server - own_after + own_before) / seconds
        server /= seconds
    made = {key: last.statistics.get(key, 0) - first.statistics.get(key, 0) for key in last.statistics}
    requests, runs = made.get("requests", 0), made.get("runs", 0)
    return Facts(
        server,
        made["run_seconds"] / seconds if runs else None,
        others,
        max(0.0, last.machine_stolen - first.machine_stolen) / seconds,
        made["queue_seconds"] / requests if requests else None,
        made["run_seconds"] / runs if runs else None,
        requests / runs if runs else None,
        made["rows"] / runs if runs else None,
        _counted(first.metrics, last.metrics, SHED, "reason"),
        _counted(first.metrics, last.metrics, ERRORS, "code"),
    )


def parse_metrics(text: str) -> Series:
    """Prometheus text as values by name and labels."""
    from prometheus_client.parser import text_string_to_metric_families  # lazy: 30 ms

    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _statistics(body: bytes) -> dict[str, float]:
    total: Counter[str] = Counter()
    for version in json.loads(body)["model_stats"]:
        stats = version["inference_stats"]
        total["requests"] += stats["success"]["count"]
        total["queue_seconds"] += stats["queue"]["ns"] / 1e9
        total["runs"] += version["execution_count"]
        total["rows"] += version["inference_count"]
        total["run_seconds"] += sum(size["compute_infer"]["ns"] for size in version["batch_stats"]) / 1e9
    return dict(total)


def _counted(before: Series | None, after: Series | None, name: str, label: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for key, value in (after or {}).items():
        if key[0] == name and (more := round(value - (before or {}).get(key, 0.0))):
            found[dict(key[1])[label]] += more
    return dict(found)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and its threads; 0 for one that is gone."""
    # the kernel's clock of that process (clock_getcpuclockid(3)): /proc/PID/stat has ticks, and misses short bursts
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)
    return 0.0


def _machine() -> tuple[float, float]:
    """Seconds of all cores: busy, and stolen by other machines on the same host."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        ticks = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, steal = fields
        return (user + nice + system + irq + softirq) / ticks, steal / ticks
    return 0.0, 0.0


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += family(int(child))
    return found
