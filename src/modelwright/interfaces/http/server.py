"""The data plane's server: connections, one log write per turn of the event loop, limits, and the drain."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping

from modelwright.core.access import Actor, Permission
from modelwright.core.errors import InternalError, ModelwrightError, UnavailableError
from modelwright.interfaces.http.connection import LINGER_SECONDS, Connection
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.gate import Gate
from modelwright.interfaces.http.message import Logged, Reply, Request, compress, decompress, error_reply, render
from modelwright.interfaces.http.metrics import Metrics
from modelwright.interfaces.http.routes import Router
from modelwright.ports.record import RecordSink
from modelwright.serve.plane import Plane, Prepared
from modelwright.settings import Settings

SWEEP_SECONDS = 0.25
BACKLOG = 512

_logger = logging.getLogger(__name__)
_CLOSE = b"connection: close\r\n"
_Entry = tuple[Connection, Reply | bytes, bytes, bool, float]


class DataPlane:
    """Serves a plane over HTTP.

    Answers collect during one turn of the event loop; then the log is flushed once, and only then do they leave
    (promise D2). Shadows run after that.

    Args:
        plane: what predicts.
        sink: the plane's sink.
        limits: the settings; the limits among them are kept here.
        readings: further figures for ``/metrics``, by (name, help, type).
    """

    def __init__(
        self,
        plane: Plane,
        sink: RecordSink,
        limits: Settings,
        readings: Mapping[tuple[str, str, str], Callable[[], float]],
    ) -> None:
        self.plane, self.limits = plane, limits
        own = {
            ("modelwright_connections", "Open connections.", "gauge"): lambda: len(self._connections),
            ("modelwright_in_flight_requests", "Requests begun and not answered.", "gauge"): self._busy,
        }
        self.metrics = Metrics(plane.tally, {**own, **readings})
        self.draining = False
        self._sink, self._gate, self._router = sink, Gate(), Router()
        self._context = Context(plane, self.metrics, self.ready)
        self._connections: set[Connection] = set()
        self._outbox: list[_Entry] = []
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    def ready(self) -> bool:
        """True when a table is in force, until the drain begins."""
        return self.plane.table is not None and not self.draining

    def admit(self, authorization: bytes | None, permission: Permission, now: float) -> Actor:
        """The actor behind an ``Authorization`` value, for whoever serves the same plane beside this interface.

        Raises:
            UnavailableError: ``http.not-ready``.
            UnauthenticatedError: ``http.no-token``, ``http.unknown-token``.
            ForbiddenError: ``govern.forbidden``.
        """
        return self._gate.admit(authorization, permission, now)

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept on a bound socket."""
        loop = asyncio.get_running_loop()
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
        self._context.openings.clear()

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let open requests finish (at most ``seconds``), then close what is left."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        deadline = time.monotonic() + seconds
        self._flush()  # an idle connection may have an answer of this turn waiting
        for connection in list(self._connections):
            connection.stop_when_idle()
        while (self._busy() or self._outbox) and time.monotonic() < deadline:  # noqa: ASYNC110 - many ends, one rare wait
            await asyncio.sleep(0.01)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.close()
        await asyncio.sleep(0)

    # Connections call these.

    def enter(self, connection: Connection) -> bool:
        """Count a connection in; False when there are too many."""
        if len(self._connections) >= self.limits.max_connections:
            return False
        self._connections.add(connection)
        return True

    def leave(self, connection: Connection) -> None:
        """Count a connection out."""
        self._connections.discard(connection)

    def handle(self, connection: Connection, request: Request, connection_line: bytes) -> None:
        """Answer one request, in the order of arrival on its connection."""
        try:
            reply = self._answer(request)
        except ModelwrightError as error:
            reply = self.error(error)
        except Exception:
            _logger.exception("a request failed")
            reply = self.error(InternalError("http.internal", "The request failed here.", fix="See the server's log."))
        if b"accept-encoding" in request.headers:
            compress(reply, request.headers[b"accept-encoding"])
        self._post((connection, reply, connection_line, request.method == b"HEAD", request.started))

    def refuse(self, connection: Connection, error: ModelwrightError) -> None:
        """Answer a request that was not read to its end, and close."""
        self._post((connection, self.error(error), _CLOSE, False, time.perf_counter()))

    def send_bytes(self, connection: Connection, data: bytes, *, close: bool = False) -> None:
        """Write bytes that are no answer (100 Continue), after the answers before them; then close if asked to."""
        self._post((connection, data, _CLOSE if close else b"", False, 0.0))

    def error(self, error: ModelwrightError) -> Reply:
        """Count an error and make its answer."""
        self.metrics.errors[error.code] += 1
        return error_reply(error)

    def _answer(self, request: Request) -> Reply:
        route, request.parameters = self._router.match(request.method, request.target)
        if route.permission is not None:
            authorization = request.headers.get(b"authorization")
            request.actor = self._gate.admit(authorization, route.permission, request.received_at)
        if b"content-encoding" in request.headers:
            encoding = request.headers[b"content-encoding"]
            request.body = decompress(request.body, encoding, self.limits.max_body_bytes)
        if not route.timed:
            return route.endpoint(self._context, request)
        try:
            return route.endpoint(self._context, request)
        except ModelwrightError as error:
            reply = self.error(error)
            model = request.parameters["model"]
            if model in self.plane.routes:
                reply.series = (model, "")
            return reply

    def _post(self, entry: _Entry) -> None:
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(entry)

    def _flush(self) -> None:
        """The end of a turn: log first, then answers, then shadows."""
        entries, self._outbox = self._outbox, []
        written = self._write_log()
        now = time.perf_counter()
        for connection, reply, line, head_only, started in entries:
            if isinstance(reply, bytes):
                self._deliver(connection, reply, line)
                continue
            final = reply if written or reply.logged is Logged.NOTHING else self._unlogged(reply)
            if final.series is not None:
                self.metrics.observe(final.series, final.status, now - started)
            self._deliver(connection, render(final, connection=line, head_only=head_only), line)
        if self.plane.run_shadows():
            self._write_log()

    def _deliver(self, connection: Connection, data: bytes, line: bytes) -> None:
        """Write to one connection; whatever is wrong with it must not keep the others' answers back."""
        try:
            connection.write(data, close=line == _CLOSE)
        except Exception:
            _logger.exception("an answer could not be written")
            connection.abort()

    def _write_log(self) -> bool:
        try:
            return self._sink.flush()
        except Exception:
            _logger.exception("the prediction log failed")
            return False

    def _unlogged(self, reply: Reply) -> Reply:
        """What is said instead when the log could not be written (promise D3)."""
        if reply.logged is Logged.PREDICTION and not self.limits.log_required:
            return reply
        error = UnavailableError(
            "record.unwritable", "The prediction log cannot be written.", fix="Free disk space, then try again."
        )
        refused = self.error(error)
        refused.series = reply.series
        return refused

    def _busy(self) -> int:
        return sum(connection.busy for connection in self._connections)

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in list(self._connections):
            connection.sweep(now)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
