"""Traces for an OpenTelemetry collector, as OTLP over HTTP: the spans of a request are made when it is answered."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from modelwright.adapters.observers.background import BOUND, Background
from modelwright.core.about import __version__
from modelwright.core.request_event import RequestEvent
from modelwright.core.trace_context import TraceContext, new_span_id

EVERY_SECONDS = 0.5
TIMEOUT_SECONDS = 5.0
EVENTS_AT_ONCE = 256
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_SERVER_ERROR = 500
Value = str | int


class OtlpTraces(Background[RequestEvent]):
    """Exports the events that have a trace.

    Args:
        endpoint: the collector's address, for example ``http://127.0.0.1:4318``; ``/v1/traces`` is added.
        instance: which process this is.
        bound: events that may wait while the collector is away.
    """

    def __init__(self, endpoint: str, instance: str, *, bound: int = BOUND) -> None:
        logging.getLogger("opentelemetry").setLevel(
            logging.CRITICAL
        )  # it speaks at each try; we do when it begins and ends
        self._host = urlsplit(endpoint).hostname or ""  # without a password that may stand there
        self._resource = Resource.create(
            {"service.name": "modelwright", "service.version": __version__, "service.instance.id": instance}
        )
        self._scope = InstrumentationScope("modelwright", __version__)
        self._exporter: Any = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=TIMEOUT_SECONDS)
        super().__init__("traces", self._export, every=EVERY_SECONDS, batch=EVENTS_AT_ONCE, bound=bound)

    def put(self, event: RequestEvent) -> None:
        """Take an event."""
        self.take(event)

    def close(self) -> None:
        """Export what waits."""
        super().close()
        self._exporter.shutdown()

    def _export(self, events: Sequence[RequestEvent]) -> None:
        spans = [span for event in events if event.trace is not None for span in self._spans(event, event.trace)]
        if self._exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise ConnectionError(f"The collector at {self._host} did not take the spans.")

    def _spans(self, event: RequestEvent, trace: TraceContext) -> Iterator[ReadableSpan]:
        """The request, and under it its time in the queue and its run."""
        state = TraceState.from_header([trace.state]) if trace.state else None
        own = _context(trace.trace_id, trace.span_id, state)
        caller = _context(trace.trace_id, trace.parent_id, state, remote=True) if trace.parent_id else None
        name = f"{event.method} {event.route}" if event.protocol == "http" else event.route
        failed = Status(StatusCode.ERROR) if event.status >= _SERVER_ERROR else Status()
        ends = event.at + event.seconds
        yield self._span(name, own, caller, SpanKind.SERVER, _attributes(event), failed, (event.at, ends))
        if event.stages is None:
            return
        queued = event.at + event.stages.decode
        began = queued + event.stages.queue
        model: dict[str, Value] = {"modelwright.model": event.model, "modelwright.version": event.version}
        run: dict[str, Value] = {"modelwright.rows": event.rows, "modelwright.batch_requests": event.batch}
        for stage, attributes, times in (
            ("queue", model, (queued, began)),
            ("run", model | run, (began, began + event.stages.infer)),
        ):
            context = _context(trace.trace_id, new_span_id(), state)
            yield self._span(stage, context, own, SpanKind.INTERNAL, attributes, Status(), times)

    def _span(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, Value],
        status: Status,
        times: tuple[float, float],
    ) -> ReadableSpan:
        start, end = (int(moment * 1e9) for moment in times)
        return ReadableSpan(
            name,
            context,
            parent,
            self._resource,
            attributes,
            kind=kind,
            status=status,
            start_time=start,
            end_time=end,
            instrumentation_scope=self._scope,
        )


def _context(trace_id: str, span_id: str, state: TraceState | None, *, remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), remote, _SAMPLED, state)


def _attributes(event: RequestEvent) -> dict[str, Value]:
    """In OpenTelemetry's names where it has one."""
    found: dict[str, Value] = {
        "http.route" if event.protocol == "http" else "rpc.method": event.route,
        "http.response.status_code": event.status,
        "modelwright.model": event.model,
        "modelwright.version": event.version,
        "modelwright.role": event.role,
        "modelwright.prediction_id": event.prediction_id,
        "modelwright.rows": event.rows,
        "error.type": event.error,
    }
    if event.protocol == "http":
        found["http.request.method"] = event.method
    return {name: value for name, value in found.items() if value not in ("", 0)}
