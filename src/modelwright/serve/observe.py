"""Which requests are told of, and to whom: the access log and the traces."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelwright.core.request_event import RequestEvent, StageSeconds
from modelwright.core.trace_context import TraceContext, begun, continued
from modelwright.ports.events import EventSink
from modelwright.serve.lane import Ticket


@dataclass(frozen=True, slots=True)
class Chosen:
    """A request that is told of; ``trace`` is its place in a trace, if it has one."""

    trace: TraceContext | None
    logged: bool
    traced: bool


@dataclass(frozen=True, slots=True)
class Observer:
    """Shared by the interfaces of a process.

    ``access`` gets every failed request and a share ``access_ratio`` of the others. ``traces`` get the requests whose
    caller says that their trace is sampled, none of those whose caller says that it is not, and a share
    ``trace_ratio`` of those who say nothing. ``dice`` gives numbers in [0, 1).
    """

    access: EventSink | None = None
    access_ratio: float = 1.0
    traces: EventSink | None = None
    trace_ratio: float = 0.0
    dice: Callable[[], float] = random.random

    def choose(self, traceparent: bytes | None, tracestate: bytes, *, failed: bool) -> Chosen | None:
        """Whether a request is told of; None where it is not. The headers are the caller's."""
        trace = None if traceparent is None else continued(traceparent, tracestate)
        traced = False
        if self.traces is not None:
            if trace is not None:
                traced = trace.sampled
            elif self.dice() < self.trace_ratio:
                trace, traced = begun(), True
        logged = self.access is not None and (failed or self.dice() < self.access_ratio)
        return Chosen(trace, logged, traced) if logged or traced else None

    def tell(self, chosen: Chosen, event: RequestEvent) -> None:
        """Hand the event to whom it was chosen for."""
        if chosen.logged and self.access is not None:
            self.access.put(event)
        if chosen.traced and self.traces is not None:
            self.traces.put(event)

    def close(self) -> None:
        """Deliver what waits."""
        for sink in (self.access, self.traces):
            if sink is not None:
                sink.close()


def with_predictions(event: RequestEvent, tickets: Sequence[Ticket], now: float) -> RequestEvent:
    """The event with what is known of the predictions that its request asked for; it is answered ``now``."""
    if not tickets:
        return event
    first = tickets[0]
    ran, stages = first.ran, None
    if ran is not None:
        decode, queue = first.queued - (first.started or first.arrived), ran.began - first.queued
        stages = StageSeconds(decode, queue, ran.ended - ran.began, now - ran.ended)
    return event._replace(
        model=first.arm.model,
        version=first.arm.version,
        role=first.arm.role,
        rows=sum(ticket.rows for ticket in tickets),
        batch=0 if ran is None else ran.requests,
        prediction_id=first.call.prediction_id,
        stages=stages,
    )
