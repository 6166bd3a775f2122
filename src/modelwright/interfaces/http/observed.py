"""What is told of an answered HTTP request."""

from __future__ import annotations

import logging
import time

from modelwright.core.request_event import RequestEvent
from modelwright.interfaces.http.exchange import Exchange
from modelwright.interfaces.http.message import Reply, Request
from modelwright.serve.observe import Chosen, Observer, with_predictions

_FAILED = 400
_logger = logging.getLogger(__name__)


def observe(observer: Observer, exchange: Exchange, reply: Reply, now: float) -> None:
    """Tell of the request if it is chosen, and name its trace in the reply; never raises."""
    request = exchange.request
    headers = request.headers if request is not None else {}
    try:
        chosen = observer.choose(
            headers.get(b"traceparent"), headers.get(b"tracestate", b""), failed=reply.status >= _FAILED
        )
        if chosen is not None:
            if chosen.trace is not None:
                reply.headers += b"modelwright-trace-id: %b\r\n" % chosen.trace.trace_id.encode()
            event = _event(chosen, exchange, request, reply, now)
            observer.tell(chosen, with_predictions(event, exchange.tickets, now))
    except Exception:  # an answer never depends on what is told of it
        _logger.exception("a request could not be told of")


def _event(chosen: Chosen, exchange: Exchange, request: Request | None, reply: Reply, now: float) -> RequestEvent:
    route = exchange.route
    if request is None:  # it was refused before its end
        return RequestEvent(time.time(), "http", "", "", reply.status, 0.0, reply.error, trace=chosen.trace)
    return RequestEvent(
        request.received_at,
        "http",
        request.method.decode("ascii", "replace"),
        route.pattern if route is not None else "",
        reply.status,
        now - exchange.started,
        reply.error,
        len(request.body) if request.long is None else len(request.long),
        len(reply.body),
        request.actor.subject,
        reply.series[0] if reply.series is not None else "",
        trace=chosen.trace,
    )
