"""Two scrapes of a data plane's metrics as what happened between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Labels = Mapping[str, str]
_FAILED = 400


@dataclass(frozen=True, slots=True)
class Scrape:
    """Samples by name; ``at`` is a moment in seconds."""

    at: float
    samples: Mapping[str, list[tuple[Labels, float]]]

    def sum(self, name: str, **labels: str) -> float:
        """The sum of the samples of a name that have these labels; 0 where there are none."""
        return sum(value for _, value in self.each(name, **labels))

    def each(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """The samples of a name that have these labels."""
        wanted = labels.items()
        return ((own, value) for own, value in self.samples.get(name, ()) if wanted <= own.items())


@dataclass(frozen=True, slots=True)
class VersionFigures:
    """A version in force; ``share`` is its part of the model's requests."""

    version: str
    role: str
    share: float


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """A model between two scrapes; seconds and figures per second, None where nothing happened."""

    model: str
    requests: float
    errors: float
    shed: float
    p50: float | None
    p99: float | None
    batch_rows: float | None
    busy: float
    waiting: float
    wait: float
    versions: tuple[VersionFigures, ...] = ()


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """A server between two scrapes ``seconds`` apart."""

    seconds: float
    gateways: int
    connections: int
    epoch: int
    unlogged: float
    models: list[ModelFigures] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return asdict(self)


def parse(text: str, at: float) -> Scrape:
    """A scrape from Prometheus text; raises ValueError where it is none."""
    from prometheus_client.parser import text_string_to_metric_families  # lazy: other commands do not need it

    samples: defaultdict[str, list[tuple[Labels, float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name].append((sample.labels, sample.value))
    return Scrape(at, samples)


def between(before: Scrape, after: Scrape) -> ServerFigures:
    """What happened; a counter that went back (another server answers) counts from 0."""
    seconds = max(after.at - before.at, 1e-9)
    names = {labels["model"] for labels, _ in after.each("modelwright_version_weight")}
    names |= {labels["model"] for labels, _ in after.each("modelwright_request_seconds_count")}
    return ServerFigures(
        seconds,
        int(after.sum("modelwright_gateways")),
        int(after.sum("modelwright_connections")),
        int(after.sum("modelwright_routing_epoch")),
        _more(before, after, "modelwright_unlogged_predictions_total") / seconds,
        [_model(before, after, name, seconds) for name in sorted(names)],
    )


def _model(before: Scrape, after: Scrape, model: str, seconds: float) -> ModelFigures:
    name = "modelwright_request_seconds"
    statuses = {labels["status"] for labels, _ in after.each(f"{name}_count", model=model)}
    failed = [status for status in statuses if int(status) >= _FAILED]
    buckets = _buckets(before, after, f"{name}_bucket", model)
    batches = _more(before, after, "modelwright_batch_rows_count", model=model)
    rows = _more(before, after, "modelwright_batch_rows_sum", model=model)
    arms = [(labels, value) for labels, value in after.each("modelwright_version_weight", model=model)]
    return ModelFigures(
        model,
        _more(before, after, f"{name}_count", model=model) / seconds,
        sum(_more(before, after, f"{name}_count", model=model, status=status) for status in failed) / seconds,
        _more(before, after, "modelwright_shed_requests_total", model=model) / seconds,
        quantile(buckets, 0.5),
        quantile(buckets, 0.99),
        rows / batches if batches else None,
        _more(before, after, "modelwright_run_seconds_total", model=model) / seconds,
        after.sum("modelwright_waiting_requests", model=model),
        after.sum("modelwright_wait_seconds", model=model),
        tuple(VersionFigures(labels["version"], labels["role"], value) for labels, value in arms),
    )


def _more(before: Scrape, after: Scrape, name: str, **labels: str) -> float:
    now, then = after.sum(name, **labels), before.sum(name, **labels)
    return now - then if now >= then else now


def _buckets(before: Scrape, after: Scrape, name: str, model: str) -> list[tuple[float, float]]:
    """Upper bounds with the requests up to each, between the scrapes."""
    bounds = sorted({labels["le"] for labels, _ in after.each(name, model=model)}, key=float)
    return [(float(bound), _more(before, after, name, model=model, le=bound)) for bound in bounds]


def quantile(buckets: list[tuple[float, float]], share: float) -> float | None:
    """A quantile as Prometheus estimates it: evenly spread within its bucket; None where nothing was counted."""
    if not buckets or not buckets[-1][1]:
        return None
    wanted, low, seen = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted and count > seen:
            return low if bound == float("inf") else low + (bound - low) * (wanted - seen) / (count - seen)
        low, seen = bound, count
    return low
