"""Kept connections for asyncio: each carries one request at a time, many are open at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import cast

import httptools

from modelwright.client.address import Address
from modelwright.client.failures import late, lost, not_http, unreachable
from modelwright.client.wire import Buffer, Lost, Reader, Reply

_PART = 1 << 16


class _Connection(asyncio.Protocol):
    """One connection; ``used`` tells that it has carried an answer."""

    def __init__(self, url: str) -> None:
        self._url, self._reader = url, Reader()
        self._answer: asyncio.Future[Reply | Lost] | None = None
        self._transport: asyncio.Transport | None = None
        self.used = False

    @property
    def open(self) -> bool:
        """True when it can take a request."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, data: bytes) -> asyncio.Future[Reply | Lost]:
        """Send a request; the future gets its outcome."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._answer

    def close(self) -> None:
        """Drop the connection, and what may still come on it."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not registered as such

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            reply = self._reader.feed(data)
        except httptools.HttpParserError:
            self.close()
            self._settle(not_http(self._url))
            return
        if reply is not None:
            self._end(reply)
        elif self._answer is None:
            self.close()  # nothing was asked

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever still waits is told."""
        reply = None if exc else self._reader.end()
        if reply is not None:
            self._end(reply)
        else:
            self._settle(lost(self._url, begun=self._reader.begun))

    def _end(self, reply: Reply) -> None:
        if not self._reader.reusable or self._answer is None:
            self.close()
        self.used = True
        self._settle(reply)

    def _settle(self, outcome: Reply | Lost) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(outcome)


class StreamPool:
    """At most ``size`` connections to one server, made as they are needed; for one event loop at a time."""

    def __init__(self, address: Address, size: int) -> None:
        self._address, self._size = address, size
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[_Connection] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._busy = 0

    async def exchange(self, parts: list[Buffer], limit: float) -> Reply | Lost:
        """Send a request and wait for its answer, until the moment ``limit`` of ``time.monotonic``."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._busy = loop, 0  # connections belong to a loop, and that one has ended
            self._idle.clear()
            self._waiting.clear()
        started = loop.time()
        try:
            async with asyncio.timeout_at(limit):
                await self._take_place(loop)
                try:
                    return await self._exchange(loop, b"".join(parts))
                finally:
                    self._give_place()
        except TimeoutError:
            return late(self._address.url, limit - started)

    async def bytes_of(self, parts: list[Buffer], seconds: float) -> AsyncGenerator[bytes, None]:
        """What comes as the answer, over a connection of its own; empty at its end.

        Raises:
            UnavailableError, DeadlineError: ``client.*``; ``seconds`` passed without a byte.
        """
        address, writer = self._address, None
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(
                    address.host,
                    address.port,
                    ssl=address.context,
                    server_hostname=address.host if address.context else None,
                )
                writer.write(b"".join(parts))
                await writer.drain()
            while True:
                async with asyncio.timeout(seconds):
                    data = await reader.read(_PART)
                yield data
                if not data:
                    return
        except TimeoutError as error:
            raise late(address.url, seconds).error from error
        except OSError as error:
            failed = unreachable(address.url, error) if writer is None else lost(address.url, begun=True)
            raise failed.error from error
        finally:
            if writer is not None:
                writer.transport.abort()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    async def _take_place(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._busy < self._size:
            self._busy += 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_place()
            raise

    def _give_place(self) -> None:
        """Hand the place on to who has waited longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._busy -= 1

    async def _exchange(self, loop: asyncio.AbstractEventLoop, data: bytes) -> Reply | Lost:
        anew = False
        while True:
            connection = None if anew else self._take_idle()
            if connection is None:
                try:
                    connection = await self._connect(loop)
                except TimeoutError:
                    raise
                except OSError as error:
                    return unreachable(self._address.url, error)
            used = connection.used
            try:
                outcome = await connection.ask(data)
            except BaseException:
                connection.close()
                raise
            if connection.open:
                self._idle.append(connection)
            if isinstance(outcome, Lost) and outcome.again and used:
                self.close()  # closed by the server while it was idle, as the others may be: it may be in good health
                anew = True
                continue
            return outcome

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        return None

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        address = self._address
        _, connection = await loop.create_connection(
            lambda: _Connection(address.url),
            address.host,
            address.port,
            ssl=address.context,
            server_hostname=address.host if address.context else None,
        )
        return connection
