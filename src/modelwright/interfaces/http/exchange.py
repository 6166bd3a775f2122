"""A request on its way to its answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from modelwright.core.errors import BadInputError, ModelwrightError
from modelwright.interfaces.http.message import Reply, Request
from modelwright.serve.call import Answer, PredictCall
from modelwright.serve.lane import Ticket
from modelwright.serve.sequences import mark_of
from modelwright.serve.several import submit_all
from modelwright.serve.streaming import Listener, Streaming
from modelwright.serve.turn import Turn

if TYPE_CHECKING:
    from modelwright.interfaces.http.route import HttpRoute

_TIMEOUT = b"modelwright-timeout-ms"
_ATTEMPT = b"x-envoy-attempt-count"
_SEQUENCE, _SEQUENCE_START = b"modelwright-sequence-id", b"modelwright-sequence-start"
_SEQUENCE_END = b"modelwright-sequence-end"


class Events(Listener, Protocol):
    """An answer in events, as a connection and the request behind it know it."""

    open: bool
    """While more follows what was sent."""
    begun: bool

    def begin(self, streaming: Streaming) -> None:
        """The request is submitted."""
        ...

    def leave(self, lost: ModelwrightError | None) -> None:
        """Hand over what there is to send; ``lost``: the record could not be written."""
        ...

    def sent(self, *, paused: bool) -> None:
        """What was handed over is written; ``paused``: the client reads too slowly."""
        ...

    def resumed(self) -> None:
        """The client has caught up."""
        ...

    def cancel(self) -> None:
        """The client is gone."""
        ...

    def told(self) -> Reply | None:
        """Once, when it is over: the reply that figures and logs are told of."""
        ...

    @property
    def nothing(self) -> bytes:
        """Bytes that say nothing."""
        ...


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
    """What one connection owes one client; ``data`` is set once it may be sent. ``line`` is the connection header.

    ``stream`` is an answer in events; while it is open, more follows what is sent.
    """

    __slots__ = ("connection", "data", "head_only", "line", "reply", "request", "route", "started", "stream", "tickets")

    def __init__(self, connection: Client, line: bytes, request: Request | None = None) -> None:
        self.connection, self.line, self.request = connection, line, request
        self.route: HttpRoute | None = None
        self.stream: Events | None = None
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
        self._give_up_after(call, seconds)
        self.tickets.append(turn.predict(call, done))

    def ask_stream(self, turn: Turn, call: PredictCall, seconds: float, stream: Events) -> None:
        """Submit a call whose answer ``stream`` wants in chunks; raises as :meth:`ask`."""
        self._give_up_after(call, seconds)
        self.stream = stream
        try:
            streaming = turn.stream(call, stream)
        except BaseException:
            self.stream = None
            raise
        stream.begin(streaming)
        self.tickets.append(streaming.ticket)

    def _give_up_after(self, call: PredictCall, seconds: float) -> None:
        assert self.request is not None
        headers = self.request.headers
        limit = self.started + seconds
        if _TIMEOUT in headers:
            limit = min(limit, self.started + _milliseconds(headers[_TIMEOUT]) / 1000)
        call.limit, call.started = min(call.limit, limit), self.started
        if _SEQUENCE in headers and call.sequence is None:
            call.sequence = mark_of(
                headers[_SEQUENCE].decode("latin-1").strip(),
                headers.get(_SEQUENCE_START) == b"true",
                headers.get(_SEQUENCE_END) == b"true",
            )
        if _ATTEMPT in headers:
            call.retry = headers[_ATTEMPT].strip() not in (b"", b"0", b"1")

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
        if self.stream is not None:
            self.stream.cancel()
        self.tickets.clear()  # each knows this exchange: without them no cycle is left to be collected


def _milliseconds(text: bytes) -> int:
    if not text.isdigit() or len(text) > 12:
        raise BadInputError("http.bad-timeout", "Modelwright-Timeout-Ms is no whole number of milliseconds.")
    return int(text)
