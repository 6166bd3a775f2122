"""The data plane's server: what is in force, whether it is ready, and how it starts, retires and drains."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping

from modelwright.interfaces.http.connection import LINGER_SECONDS, Connection
from modelwright.interfaces.http.connections import Connections
from modelwright.interfaces.http.dialects import vertex
from modelwright.interfaces.http.dispatcher import Dispatcher
from modelwright.interfaces.http.endpoints import Context
from modelwright.interfaces.http.gate import Gate
from modelwright.interfaces.http.metrics import Metrics
from modelwright.interfaces.http.plane_metrics import PlaneMetrics
from modelwright.interfaces.http.routes import ROUTES, Router
from modelwright.ports.quota import Quota
from modelwright.serve.observe import Observer
from modelwright.serve.prepare import Prepared
from modelwright.serve.quota import OwnQuota
from modelwright.serve.route import LiveArm
from modelwright.serve.turn import Turn
from modelwright.settings import Settings

SWEEP_SECONDS = 0.25
BACKLOG = 512
STARTING, STOPPING = "The server is starting.", "The server stops."


class DataPlane:
    """Serves a plane over HTTP.

    ``gate`` knows the tokens of the table in force, for whoever serves the same plane beside this interface too.

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
        self.turn, self.plane, self._limits = turn, turn.plane, limits
        self.metrics = Metrics(turn.plane.tally.counters, {**self._readings(), **readings}, PlaneMetrics(turn.plane))
        self._routes = (*vertex.routes(limits), *ROUTES)
        self.gate = Gate(quota or OwnQuota(), open_predictions=limits.open_predictions)
        self._context = Context(
            turn.plane, turn.repository, self.metrics, self.unready, self.stopping, self._document, self.gate.may
        )
        self.dispatcher = Dispatcher(turn, limits, Router(self._routes), self.gate, self._context, observer)
        self.connections = Connections(limits, self.dispatcher.error)
        self._retiring = False
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
        return self.dispatcher.draining and not self._retiring

    def ready(self, model: str = "", version: str = "") -> bool:
        """Whether there is nothing in the way; raises as :meth:`unready`."""
        return not self.unready(model, version)

    async def start(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Accept on a bound socket."""
        loop = asyncio.get_running_loop()
        self._handshake = LINGER_SECONDS if tls else 0.0
        self._server = await loop.create_server(
            self.connection,
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self._limits.header_seconds if tls else None,
            ssl_shutdown_timeout=LINGER_SECONDS if tls else None,
        )
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)

    def connection(self) -> Connection:
        """A connection that is about to be made."""
        return Connection(self.dispatcher, self.connections)

    def commit(self, prepared: Prepared) -> None:
        """Put a prepared table in force: routes and tokens together."""
        self.plane.commit(prepared)
        self.gate.renew(prepared.table)
        self._context.forget()

    async def retire(self, seconds: float, over: asyncio.Event) -> None:
        """Stop accepting, but close no connection before it heard so: each gets one more answer, which says it.

        For a process whose successor accepts on the same socket already. Ends when no connection is left, after
        ``seconds``, or when ``over`` is set; the drain closes what is left.
        """
        self.dispatcher.draining = self._retiring = True
        if self._server is not None:
            self._server.close()
        began = time.monotonic()
        while not over.is_set() and (passed := time.monotonic() - began) < seconds:
            if not self.connections and passed >= self._handshake:  # a handshake under way is no connection yet
                break
            await asyncio.sleep(0.01)
        self._retiring = False

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let open requests finish (at most ``seconds``), then close what is left."""
        self.dispatcher.draining = True
        if self._server is not None:
            self._server.close()
        deadline = time.monotonic() + seconds
        self.turn.end()  # an idle connection may have an answer of this turn waiting
        self.connections.stop_idle()
        while self._owes() and time.monotonic() < deadline:  # noqa: ASYNC110 - many ends, one rare wait
            await asyncio.sleep(0.01)
        self.plane.end_streams()
        self.turn.end()  # their last events leave
        if self._sweeper is not None:
            self._sweeper.cancel()
        self.connections.close()
        await asyncio.sleep(0)
        self.plane.tally.statistics.publish()

    def _owes(self) -> bool:
        return self.connections.busy > 0 or self.dispatcher.holds_answers

    def _readings(self) -> dict[tuple[str, str, str], Callable[[], float]]:
        return {
            ("modelwright_gateways", "Gateway processes that serve.", "gauge"): lambda: 1,
            ("modelwright_connections", "Open connections.", "gauge"): lambda: len(self.connections),
            ("modelwright_dropped_connections", "Unfinished requests dropped to make room.", "counter"): (
                lambda: self.connections.dropped
            ),
            ("modelwright_in_flight_requests", "Requests begun and not answered.", "gauge"): (
                lambda: self.connections.busy
            ),
        }

    def _document(self, arm: LiveArm | None) -> object:
        from modelwright.interfaces.http import openapi  # lazy: most gateways are never asked for it

        table = self.plane.table
        return openapi.document(arm, authenticate=table is None or table.authenticate, routes=self._routes)

    def _sweep(self) -> None:
        self.connections.sweep()
        self.turn.sweep()
        self.plane.tally.statistics.publish()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
