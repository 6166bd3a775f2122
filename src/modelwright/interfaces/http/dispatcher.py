"""Requests to endpoints, and replies back to connections: what waits for the end of a turn of the event loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from modelwright.core.errors import InternalError, ModelwrightError, UnavailableError
from modelwright.interfaces.http.coding import compress, decompress
from modelwright.interfaces.http.connection import CLOSE, Connection
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.event_stream import EventStream
from modelwright.interfaces.http.exchange import Events, Exchange
from modelwright.interfaces.http.gate import Gate
from modelwright.interfaces.http.message import (
    Asked,
    AskedAll,
    AskedStream,
    Later,
    Logged,
    Reply,
    Request,
    error_reply,
    render,
)
from modelwright.interfaces.http.observed import observe
from modelwright.interfaces.http.routes import Router
from modelwright.serve.call import Answer
from modelwright.serve.observe import Observer
from modelwright.serve.turn import Turn
from modelwright.settings import Settings

_logger = logging.getLogger(__name__)


class Dispatcher:
    """Takes the requests of all connections, and gives each its reply.

    Replies collect during one turn of the event loop, and leave at its end, when the log holds what they tell of. While
    ``draining``, an answer that no other follows closes its connection.

    Args:
        turn: what predicts.
        limits: the settings; the limits among them are kept here.
        router: finds the route of a request.
        gate: lets callers in.
        context: what the endpoints reach.
        observer: is told of answered requests; None: nobody is.
    """

    def __init__(
        self, turn: Turn, limits: Settings, router: Router, gate: Gate, context: Context, observer: Observer | None
    ) -> None:
        self.limits, self.draining = limits, False
        self._turn, self._plane, self._router, self._gate, self._context = turn, turn.plane, router, gate, context
        self._metrics, self._observer = context.metrics, observer
        self._outbox: list[Exchange] = []
        turn.on_end(self._leave)

    @property
    def holds_answers(self) -> bool:
        """Whether something waits for the end of the turn."""
        return bool(self._outbox)

    # Connections call these.

    def handle(self, connection: Connection, request: Request, connection_line: bytes) -> None:
        """Take one request; its answer leaves after those of the requests before it on the connection."""
        exchange = Exchange(connection, connection_line, request)
        connection.exchanges.append(exchange)
        try:
            reply = self._begin(exchange, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
            reply = self._failed(exchange, error)
        if reply is not None:
            self._ready(exchange, reply)

    def refuse(self, connection: Connection, error: ModelwrightError) -> None:
        """Answer a request that was not read to its end, and close."""
        exchange = Exchange(connection, CLOSE)
        connection.exchanges.append(exchange)
        self._ready(exchange, self.error(error))

    def send_bytes(self, connection: Connection, data: bytes, *, close: bool = False) -> None:
        """Write bytes that are no answer (100 Continue), after the answers before them; then close if asked to."""
        exchange = Exchange(connection, CLOSE if close else b"")
        connection.exchanges.append(exchange)
        exchange.data = data
        self._outbox.append(exchange)
        self._turn.schedule()

    def error(self, error: ModelwrightError, shape: Callable[[ModelwrightError], Reply] = error_reply) -> Reply:
        """Count an error and make its answer."""
        self._metrics.count_error(error.code)
        reply = shape(error)
        reply.error = error.code
        return reply

    def _begin(self, exchange: Exchange, request: Request) -> Reply | None:
        """The reply; None where it comes with a prediction."""
        route, request.parameters = self._router.match(request.method, request.target)
        exchange.route = route
        headers = request.headers
        if route.permission is not None:
            authorization = headers.get(b"authorization")
            request.actor = self._gate.admit(
                authorization, route.permission, request.received_at, counted=route.timed or route.counted
            )
        if request.long is not None and (b"content-encoding" in headers or not route.long):
            request.body, request.long = bytes(request.long), None
        if b"content-encoding" in headers:
            request.body = decompress(request.body, headers[b"content-encoding"], self.limits.max_body_bytes)
        outcome = route.endpoint(self._context, request)
        if isinstance(outcome, Asked):
            exchange.ask(self._turn, outcome.call, self.limits.request_seconds, partial(self._one, exchange, outcome))
            return None
        if isinstance(outcome, AskedStream):
            stream = EventStream(exchange, outcome, self)
            exchange.ask_stream(self._turn, outcome.call, self.limits.stream_seconds, stream)
            return None
        if isinstance(outcome, AskedAll):
            if not outcome.calls:
                return outcome.finish([])
            done = partial(self._all, exchange, outcome)
            exchange.ask_all(self._turn, outcome.calls, self.limits.request_seconds, done)
            return None
        if isinstance(outcome, Later):
            outcome.begin(partial(self._later, exchange, outcome.reply))
            return None
        return outcome

    def goes_on(self, exchange: Exchange) -> None:
        """An answer in events has more to send."""
        self._outbox.append(exchange)
        self._turn.schedule()

    def fails(self, exchange: Exchange, error: ModelwrightError) -> None:
        """An answer in events fails before its first one."""
        self._ready(exchange, self._failed(exchange, error))

    def _later(self, exchange: Exchange, reply: Reply, error: ModelwrightError | None) -> None:
        """What a reply waited for is done."""
        self._ready(exchange, reply if error is None else self._failed(exchange, error))

    def _one(self, exchange: Exchange, asked: Asked, outcome: Answer | ModelwrightError) -> None:
        """A prediction has come."""
        try:
            reply = self._failed(exchange, outcome) if isinstance(outcome, ModelwrightError) else asked.finish(outcome)
        except Exception as error:  # noqa: BLE001 - as above
            reply = self._failed(exchange, error)
        self._ready(exchange, reply)

    def _all(self, exchange: Exchange, asked: AskedAll, outcomes: Sequence[Answer | ModelwrightError]) -> None:
        """The last of several predictions has come."""
        try:
            reply = asked.finish(outcomes)
        except Exception as error:  # noqa: BLE001 - as above
            reply = self._failed(exchange, error)
        self._ready(exchange, reply)

    def _failed(self, exchange: Exchange, error: Exception) -> Reply:
        if not isinstance(error, ModelwrightError):
            _logger.error("a request failed", exc_info=error)
            error = InternalError("http.internal", "The request failed here.", fix="See the server's log.")
        route = exchange.route
        if route is None:
            return self.error(error)
        reply = self.error(error, route.errors)
        if route.timed and exchange.request is not None:
            model = exchange.request.parameters.get("model", "")
            if model in self._plane.routes:
                reply.series = (model, "")
        return reply

    def _ready(self, exchange: Exchange, reply: Reply) -> None:
        request = exchange.request
        if request is not None and b"accept-encoding" in request.headers:
            compress(reply, request.headers[b"accept-encoding"])
        exchange.reply = reply
        self._outbox.append(exchange)
        self._turn.schedule()

    def _leave(self, written: bool) -> None:
        """The end of a turn: the log is written, so answers may go."""
        entries, self._outbox = self._outbox, []
        now = time.perf_counter()
        for exchange in entries:
            reply = exchange.reply
            if exchange.stream is not None:
                self._leave_stream(exchange, exchange.stream, now, written=written)
            elif reply is not None:
                if not written and reply.logged is not Logged.NOTHING:
                    reply = self._unlogged(reply)
                if reply.series is not None:
                    self._metrics.observe(reply.series, reply.status, now - exchange.started)
                if self._observer is not None:
                    observe(self._observer, exchange, reply, now)
                exchange.tickets.clear()
                if self.draining and len(exchange.connection.exchanges) == 1:
                    exchange.line = CLOSE
                exchange.data = render(reply, connection=exchange.line, head_only=exchange.head_only)
            try:
                exchange.connection.send_ready()
            except Exception:  # whatever is wrong with one must not keep the others' answers back
                _logger.exception("an answer could not be written")
                exchange.connection.abort()

    def _leave_stream(self, exchange: Exchange, stream: Events, now: float, *, written: bool) -> None:
        """What an answer in events has to send; its last event only leaves with its record in the log."""
        stream.leave(lost=self._lost() if not written and self.limits.log_required else None)
        if self.draining and not stream.open and len(exchange.connection.exchanges) == 1:
            exchange.line = CLOSE
        reply = stream.told()
        if reply is None:
            return
        if reply.error:
            self._metrics.count_error(reply.error)
        if reply.series is not None:
            self._metrics.observe(reply.series, reply.status, now - exchange.started)
        if self._observer is not None:
            observe(self._observer, exchange, reply, now)
        exchange.tickets.clear()

    def _unlogged(self, reply: Reply) -> Reply:
        """What is said instead when the log could not be written (promise D3)."""
        if reply.logged is Logged.PREDICTION and not self.limits.log_required:
            return reply
        refused = self.error(self._lost())
        refused.series = reply.series
        return refused

    def _lost(self) -> ModelwrightError:
        return UnavailableError(
            "record.unwritable", "The prediction log cannot be written.", fix="Free disk space, then try again."
        )
