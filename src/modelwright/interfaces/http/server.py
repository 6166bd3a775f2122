"""The data plane's server: connections, one log write per turn of the event loop, limits, and the drain."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter

from modelwright.core.access import Actor, Permission
from modelwright.core.errors import InternalError, ModelwrightError, UnavailableError
from modelwright.interfaces.http.coding import compress, decompress
from modelwright.interfaces.http.connection import CLOSE, LINGER_SECONDS, Connection
from modelwright.interfaces.http.dialects import vertex
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
from modelwright.interfaces.http.metrics import Metrics
from modelwright.interfaces.http.observed import observe
from modelwright.interfaces.http.plane_metrics import PlaneMetrics
from modelwright.interfaces.http.routes import ROUTES, Router
from modelwright.ports.quota import Quota
from modelwright.serve.call import Answer
from modelwright.serve.observe import Observer
from modelwright.serve.prepare import Prepared
from modelwright.serve.quota import OwnQuota
from modelwright.serve.route import LiveArm
from modelwright.serve.turn import Turn
from modelwright.settings import Settings

SWEEP_SECONDS = 0.25
LATE_SECONDS = 0.1
"""Who is less late with the rest of a request is not dropped for a newcomer: it may be here, and not yet read."""
BACKLOG = 512
STARTING, STOPPING = "The server is starting.", "The server stops."

_logger = logging.getLogger(__name__)


class DataPlane:
    """Serves a plane over HTTP.

    Answers collect during one turn of the event loop, and leave at its end.

    Args:
        turn: what predicts, shared with the other interfaces of this process.
        limits: the settings; the limits among them are kept here.
        readings: further figures for ``/metrics``, by (name, help, kind).
        quota: counts the requests of tokens that have a rate; None: in this process alone.
        observer: is told of answered requests; None: nobody is.
    """

    def __init__(
        self,
        turn: Turn,
        limits: Settings,
        readings: Mapping[tuple[str, str, str], Callable[[], float]],
        quota: Quota | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer
        self.turn, self.plane, self.limits, self.dropped = turn, turn.plane, limits, 0
        own = {
            ("modelwright_gateways", "Gateway processes that serve.", "gauge"): lambda: 1,
            ("modelwright_connections", "Open connections.", "gauge"): lambda: len(self._connections),
            ("modelwright_dropped_connections", "Unfinished requests dropped to make room.", "counter"): (
                lambda: self.dropped
            ),
            ("modelwright_in_flight_requests", "Requests begun and not answered.", "gauge"): self._busy,
        }
        self.metrics = Metrics(turn.plane.tally.counters, {**own, **readings}, PlaneMetrics(turn.plane))
        self.draining = self._retiring = False
        self._routes = (*vertex.routes(limits), *ROUTES)
        self._gate, self._router = (
            Gate(quota or OwnQuota(), open_predictions=limits.open_predictions),
            Router(self._routes),
        )
        self._context = Context(
            turn.plane, turn.repository, self.metrics, self.unready, self.stopping, self._document, self._gate.may
        )
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._lingering: set[Connection] = set()
        self._late: list[tuple[float, Connection]] = []
        self._looked = 0.0
        self._outbox: list[Exchange] = []
        self.turn.on_end(self._leave)
        self._server: asyncio.Server | None = None
        self._handshake = 0.0
        self._sweeper: asyncio.TimerHandle | None = None

    def unready(self, model: str = "", version: str = "") -> list[str]:
        """Why this server, this model or this version would answer nothing now; empty when it would.

        That is before the first table, while draining (one who retires has a successor that is ready), and while a
        runner says so: of a whole server, while no model could be answered.

        Raises:
            NotFoundError: as :meth:`Plane.unready`.
        """
        if self.plane.table is None:
            return [STARTING]
        reasons = self.plane.unready(model, version) if model or not self.plane.able else []
        return [STOPPING] if self.stopping() else reasons

    def stopping(self) -> bool:
        """Whether the server is about to end, and nobody takes over."""
        return self.draining and not self._retiring

    def ready(self, model: str = "", version: str = "") -> bool:
        """Whether there is nothing in the way; raises as :meth:`unready`."""
        return not self.unready(model, version)

    def admit(self, authorization: bytes | None, permission: Permission, now: float, *, counted: bool = False) -> Actor:
        """The actor behind an ``Authorization`` value, for whoever serves the same plane beside this interface.

        Raises:
            UnavailableError: ``http.not-ready``.
            UnauthenticatedError: ``http.no-token``, ``http.unknown-token``.
            ForbiddenError: ``govern.forbidden``.
            ThrottledError: ``govern.rate-exceeded``.
        """
        return self._gate.admit(authorization, permission, now, counted=counted)

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept on a bound socket."""
        loop = asyncio.get_running_loop()
        self._handshake = LINGER_SECONDS if tls else 0.0
        self._server = await loop.create_server(
            lambda: Connection(self),
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self.limits.header_seconds if tls else None,
            ssl_shutdown_timeout=LINGER_SECONDS if tls else None,
        )
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    def commit(self, prepared: Prepared) -> None:
        """Put a prepared table in force: routes and tokens together."""
        self.plane.commit(prepared)
        self._gate.renew(prepared.table)
        self._context.forget()

    async def retire(self, seconds: float, over: asyncio.Event) -> None:
        """Stop accepting, but close no connection before it heard so: each gets one more answer, which says it.

        For a process whose successor accepts on the same socket already. Ends when no connection is left, after
        ``seconds``, or when ``over`` is set; the drain closes what is left.
        """
        self.draining = self._retiring = True
        if self._server is not None:
            self._server.close()
        began = time.monotonic()
        while not over.is_set() and (passed := time.monotonic() - began) < seconds:
            if not self._connections and passed >= self._handshake:  # a handshake under way is no connection yet
                break
            await asyncio.sleep(0.01)
        self._retiring = False

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let open requests finish (at most ``seconds``), then close what is left."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        deadline = time.monotonic() + seconds
        self.turn.end()  # an idle connection may have an answer of this turn waiting
        for connection in list(self._connections):
            connection.stop_when_idle()
        while (self._busy() or self._outbox) and time.monotonic() < deadline:  # noqa: ASYNC110 - many ends, one rare wait
            await asyncio.sleep(0.01)
        self.plane.end_streams()
        self.turn.end()  # their last events leave
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(0)
        self.plane.tally.statistics.publish()

    # Connections call these.

    def enter(self, connection: Connection) -> None:
        """Count a connection in; where there are too many, the one that is latest with its request makes room."""
        address, most = connection.address, self.limits.max_connections_per_address
        if most and self._addresses[address] >= most:
            self._turn_away(connection, _too_many(f"{most} from your address are open."))
        elif len(self._connections) >= self.limits.max_connections and not self._make_room():
            self._turn_away(connection, _too_many())
        else:
            self._connections.add(connection)
            self._addresses[address] += 1

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        self._lingering.discard(connection)
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self._addresses[connection.address] -= 1
        if not self._addresses[connection.address]:
            del self._addresses[connection.address]

    def _make_room(self) -> bool:
        """Turn away who has kept us waiting longest for the rest of a request; False when nobody has."""
        now = time.monotonic()
        if not self._late and now > self._looked + LATE_SECONDS / 4:  # one look at all of them serves many newcomers
            self._looked = now
            late = ((connection.late(now), connection) for connection in self._connections if not connection.exchanges)
            self._late = sorted((pair for pair in late if pair[0] > LATE_SECONDS), key=itemgetter(0))
        while self._late:
            connection = self._late.pop()[1]
            if connection in self._connections and connection.late(now) > LATE_SECONDS and not connection.exchanges:
                self.leave(connection)
                self._turn_away(connection, _too_many())
                self.dropped += 1
                return True
        return False

    def _turn_away(self, connection: Connection, error: UnavailableError) -> None:
        """Tell a connection that is not counted in why."""
        connection.turn_away(render(self.error(error), connection=CLOSE))

    def linger(self, connection: Connection) -> None:
        """Count out a connection that has its last answer; it lingers, while not too many do, so that it hears it."""
        self.leave(connection)
        if len(self._lingering) < self.limits.max_connections:
            self._lingering.add(connection)
        elif connection.transport is not None:
            connection.transport.close()

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
        self.turn.schedule()

    def error(self, error: ModelwrightError, shape: Callable[[ModelwrightError], Reply] = error_reply) -> Reply:
        """Count an error and make its answer."""
        self.metrics.count_error(error.code)
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
            exchange.ask(self.turn, outcome.call, self.limits.request_seconds, partial(self._one, exchange, outcome))
            return None
        if isinstance(outcome, AskedStream):
            stream = EventStream(exchange, outcome, self)
            exchange.ask_stream(self.turn, outcome.call, self.limits.stream_seconds, stream)
            return None
        if isinstance(outcome, AskedAll):
            if not outcome.calls:
                return outcome.finish([])
            done = partial(self._all, exchange, outcome)
            exchange.ask_all(self.turn, outcome.calls, self.limits.request_seconds, done)
            return None
        if isinstance(outcome, Later):
            outcome.begin(partial(self._later, exchange, outcome.reply))
            return None
        return outcome

    def goes_on(self, exchange: Exchange) -> None:
        """An answer in events has more to send."""
        self._outbox.append(exchange)
        self.turn.schedule()

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
            if model in self.plane.routes:
                reply.series = (model, "")
        return reply

    def _ready(self, exchange: Exchange, reply: Reply) -> None:
        request = exchange.request
        if request is not None and b"accept-encoding" in request.headers:
            compress(reply, request.headers[b"accept-encoding"])
        exchange.reply = reply
        self._outbox.append(exchange)
        self.turn.schedule()

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
                    self.metrics.observe(reply.series, reply.status, now - exchange.started)
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
            self.metrics.count_error(reply.error)
        if reply.series is not None:
            self.metrics.observe(reply.series, reply.status, now - exchange.started)
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

    def _document(self, arm: LiveArm | None) -> object:
        from modelwright.interfaces.http import openapi  # lazy: most gateways are never asked for it

        table = self.plane.table
        return openapi.document(arm, authenticate=table is None or table.authenticate, routes=self._routes)

    def _busy(self) -> int:
        return sum(connection.busy for connection in self._connections)

    def _sweep(self) -> None:
        now, self._late = time.monotonic(), []
        for connection in (*self._connections, *self._lingering):
            connection.sweep(now)
        self.turn.sweep()
        self.plane.tally.statistics.publish()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)


def _too_many(why: str = "") -> UnavailableError:
    return UnavailableError("http.too-many-connections", "Too many connections.", why=why, fix="Try again later.")
