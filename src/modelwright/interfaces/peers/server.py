"""Answers what other gateways of this server pass on: the requests of sequences that live here."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec

from modelwright.core.errors import ModelwrightError, UnavailableError
from modelwright.interfaces.peers.frames import Frames, call_of, decode_ask, frame, told_of
from modelwright.serve.call import Answer
from modelwright.serve.turn import Turn

Take = Callable[["Connection", bytes], None]

_logger = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """From one other gateway; ``open`` counts its requests that are not answered yet."""

    def __init__(self, take: Take, all_of_them: set[Connection]) -> None:
        self._take, self._all, self._frames = take, all_of_them, Frames()
        self.transport: asyncio.Transport | None = None
        self.open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self.transport = cast("asyncio.Transport", transport)
        self._all.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """It is gone."""
        self.transport = None
        self._all.discard(self)

    def data_received(self, data: bytes) -> None:
        """Requests."""
        try:
            for body in self._frames.feed(data):
                self._take(self, body)
        except (msgspec.MsgspecError, ValueError, TypeError):
            _logger.exception("another gateway sent what is no request")
            if self.transport is not None:
                self.transport.abort()


class PeerServer:
    """Answers over a socket that only gateways of this server reach.

    Args:
        turn: what predicts.
        log_required: no unlogged answer is given.
    """

    def __init__(self, turn: Turn, *, log_required: bool) -> None:
        self._turn, self._log_required = turn, log_required
        self._connections: set[Connection] = set()
        self._settled: list[tuple[Connection, int, Answer | ModelwrightError]] = []
        self._server: asyncio.Server | None = None
        turn.on_end(self._leave)

    async def start(self, listener: socket.socket) -> None:
        """Accept on a listening unix socket."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self._take, self._connections), sock=listener)

    async def stop(self, seconds: float) -> None:
        """Accept no more, answer what is open (at most ``seconds``), and close; the others ask the next process."""
        if self._server is not None:
            self._server.close()
        deadline = time.monotonic() + seconds
        while True:
            for connection in list(self._connections):
                if connection.transport is not None and (not connection.open or time.monotonic() > deadline):
                    connection.transport.close()
                    self._connections.discard(connection)
            if not self._connections:
                return
            await asyncio.sleep(0.01)

    def _take(self, connection: Connection, body: bytes) -> None:
        ask = decode_ask(body)
        call = call_of(ask)
        connection.open += 1
        settle = partial(self._settle, connection, ask.number)
        try:
            self._turn.predict_here(call, settle)
        except ModelwrightError as error:
            settle(error)
        self._turn.schedule()

    def _settle(self, connection: Connection, number: int, outcome: Answer | ModelwrightError) -> None:
        self._settled.append((connection, number, outcome))

    def _leave(self, written: bool) -> None:
        settled, self._settled = self._settled, []
        for connection, number, outcome in settled:
            connection.open -= 1
            if connection.transport is not None:
                told = outcome if written or not self._log_required else _unwritable()
                connection.transport.write(frame(told_of(number, told)))


def _unwritable() -> UnavailableError:
    return UnavailableError(
        "record.unwritable", "The prediction log cannot be written.", fix="Free disk space, then try again."
    )
