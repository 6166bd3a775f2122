"""A plain pipelining HTTP/1.1 client: what a departure board that asks for many flights at once would be."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import httptools

from modelwright.core.errors import UnavailableError


@dataclass(slots=True)
class Connection(asyncio.Protocol):
    """One keep-alive connection; answers come back in the order of the requests."""

    waiting: deque[asyncio.Future[tuple[int, bytes]]] = field(default_factory=deque)
    transport: asyncio.Transport | None = None
    _parser: httptools.HttpResponseParser | None = None
    _body: list[bytes] = field(default_factory=list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self._parser = transport, httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        assert self._parser is not None
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        """Collect a part of an answer."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer to whoever asked first."""
        assert self._parser is not None
        body, self._body = b"".join(self._body), []
        answer = self.waiting.popleft()
        if not answer.done():
            answer.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, _exc: Exception | None) -> None:
        """Whoever still waits is told."""
        while self.waiting:
            answer = self.waiting.popleft()
            if not answer.done():
                answer.set_exception(UnavailableError("demo.connection-lost", "The server closed the connection."))


class Client:
    """A few connections to one server; requests are spread over them in turn."""

    def __init__(self, host: str, port: int, token: str, connections: int = 4) -> None:
        self.host, self.port, self._count = host, port, connections
        self._head = f"Host: {host}:{port}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._connections: list[Connection] = []

    async def __aenter__(self) -> Self:
        self._connections = [await self._connect() for _ in range(self._count)]
        return self

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self.host, self.port)
        return connection

    async def __aexit__(self, *_: object) -> None:
        for connection in self._connections:
            if connection.transport is not None:
                connection.transport.close()

    async def post_all(self, path: str, bodies: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Send every body at once (pipelined over the connections) and wait for (status, answer) of each, in order."""
        if not bodies:
            return []
        loop = asyncio.get_running_loop()
        for slot, connection in enumerate(self._connections):
            if connection.transport is None or connection.transport.is_closing():  # the server closes idle ones
                self._connections[slot] = await self._connect()
        head = f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: ".encode()
        answers: list[asyncio.Future[tuple[int, bytes]]] = []
        written: list[list[bytes]] = [[] for _ in self._connections]
        for index, body in enumerate(bodies):
            slot = index % len(self._connections)
            answer = loop.create_future()
            self._connections[slot].waiting.append(answer)
            answers.append(answer)
            written[slot].append(b"%b%d\r\n\r\n%b" % (head, len(body), body))
        for connection, parts in zip(self._connections, written, strict=True):
            if parts and connection.transport is not None:
                connection.transport.write(b"".join(parts))
        return list(await asyncio.gather(*answers))
