"""What is told of an answered prediction over gRPC."""

from __future__ import annotations

import logging
import time
from typing import Any

from modelwright.core.request_event import RequestEvent
from modelwright.interfaces.grpc.wire import Call
from modelwright.serve.lane import Ticket
from modelwright.serve.observe import Observer, with_predictions

_FAILED = 400
_logger = logging.getLogger(__name__)


class Asking:
    """A request on its way to its answer. ``size`` is that of its message, where it is known without measuring."""

    __slots__ = ("actor", "at", "began", "call", "request", "size", "tickets")

    def __init__(self, call: Call, request: Any = None, size: int = -1) -> None:
        self.call, self.request, self.size, self.actor = call, request, size, ""
        self.at, self.began = time.time(), time.perf_counter()
        self.tickets: list[Ticket] = []

    @property
    def model(self) -> str:
        """The model asked for; empty where the message could not be read."""
        return "" if self.request is None else str(self.request.model_name)


def observe(observer: Observer, asking: Asking, status: int, error: str, size: int, *, known: bool) -> str:
    """Tell of the request if it is chosen; its trace id, or an empty text. Never raises.

    ``size`` is that of the answer's message; ``known`` tells whether its model is served here: else it is not named.
    """
    try:
        sent = dict(asking.call.metadata)
        chosen = observer.choose(
            _bytes(sent.get("traceparent")), _bytes(sent.get("tracestate")) or b"", failed=status >= _FAILED
        )
        if chosen is None:
            return ""
        now = time.perf_counter()
        event = RequestEvent(
            asking.at,
            "grpc",
            "POST",
            asking.call.method.decode("ascii", "replace").removeprefix("/"),
            status,
            now - asking.began,
            error,
            asking.size if asking.size >= 0 or asking.request is None else asking.request.ByteSize(),
            size,
            asking.actor,
            asking.model if known else "",
            trace=chosen.trace,
        )
        observer.tell(chosen, with_predictions(event, asking.tickets, now))
    except Exception:  # an answer never depends on what is told of it
        _logger.exception("a request could not be told of")
        return ""
    return chosen.trace.trace_id if chosen.trace is not None else ""


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode(errors="replace") if isinstance(value, str) else value
