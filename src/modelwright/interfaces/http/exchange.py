"""A request on its way to its answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.interfaces.http.message import Reply, Request
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.lane import Ticket
from modelwright.serve.several import submit_all
from modelwright.serve.turn import Turn

if TYPE_CHECKING:
    from modelwright.interfaces.http.route import HttpRoute

_TIMEOUT = b"modelwright-timeout-ms"
_ATTEMPT = b"x-envoy-attempt-count"


class Client(Protocol):
    """The connection that an exchange belongs to."""

    exchanges: deque[Exchange]

    def send_ready(self) -> None:
        """Send what is owed, in the order of the requests, as far as it is there."""
        ...

    def abort(self) -> None:
        """Drop the connection as it is."""
        ...


class Exchange:
    """What one connection owes one client; ``data`` is set once it may be sent. ``line`` is the connection header."""

    __slots__ = ("connection", "data", "head_only", "line", "reply", "request", "route", "started", "tickets")

    def __init__(self, connection: Client, line: bytes, request: Request | None = None) -> None:
        self.connection, self.line, self.request = connection, line, request
        self.route: HttpRoute | None = None
        self.reply: Reply | None = None
        self.data: bytes | None = None
        self.tickets: list[Ticket] = []
        self.started, self.head_only = (request.started, request.method == b"HEAD") if request else (0.0, False)

    def ask(
        self, turn: Turn, call: PredictCall, seconds: float, done: Callable[[Answer | ModelwrightError], object]
    ) -> None:
        """Submit a call, which is given up after so many seconds, or sooner where the client says so.

        Raises:
            ModelwrightError: as :meth:`Turn.predict`; BadInputError ``http.bad-timeout``.
        """
        assert self.request is not None
        headers = self.request.headers
        limit = self.started + seconds
        if _TIMEOUT in headers:
            limit = min(limit, self.started + _milliseconds(headers[_TIMEOUT]) / 1000)
        call.limit, call.started = min(call.limit, limit), self.started
        if _ATTEMPT in headers:
            call.retry = headers[_ATTEMPT].strip() not in (b"", b"0", b"1")
        self.tickets.append(turn.predict(call, done))

    def ask_all(
        self,
        turn: Turn,
        calls: Sequence[PredictCall],
        seconds: float,
        done: Callable[[Sequence[Answer | ModelwrightError]], object],
    ) -> None:
        """Submit several calls (at least one); ``done`` gets the outcome of each, in their order, with the last one."""
        submit_all(calls, lambda call, settle: self.ask(turn, call, seconds, settle), done)

    def cancel(self) -> None:
        """The client is gone: what has not begun is not run."""
        for ticket in self.tickets:
            ticket.cancelled = True
        self.tickets.clear()  # each knows this exchange: without them no cycle is left to be collected


def _milliseconds(text: bytes) -> int:
    if not text.isdigit() or len(text) > 12:
        raise BadInputError("http.bad-timeout", "Modelwright-Timeout-Ms is no whole number of milliseconds.")
    return int(text)
